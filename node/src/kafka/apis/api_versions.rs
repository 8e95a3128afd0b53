//! ApiVersions: what is served, and the features of broker and cluster (KIP-35, KIP-511, KIP-584).

use kraft_model::ErrorCode;
use proto_kafka::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use proto_kafka::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::wire::string;
use super::{Context, table};
use crate::kafka::backend::Backend;

pub async fn handle<B: Backend>(
    context: &Context<B>,
    request: ApiVersionsRequest,
    version: i16,
) -> ApiVersionsResponse {
    if version >= 3
        && !(is_software(&request.client_software_name)
            && is_software(&request.client_software_version))
    {
        return listed(ErrorCode::InvalidRequest.code());
    }
    let image = context.backend.image();
    let finalized = image.features.iter().map(|(name, &level)| {
        FinalizedFeatureKey::default()
            .with_name(string(name))
            .with_min_version_level(level)
            .with_max_version_level(level)
    });
    let own = image.brokers.get(&context.backend.config().node_id);
    let supported = own.into_iter().flat_map(|broker| &broker.features);
    // Before version 4 clients choke on a feature whose range begins at 0 (KIP-1022).
    let supported =
        supported.filter(|(_, min, _)| version >= 4 || *min > 0).map(|(name, min, max)| {
            SupportedFeatureKey::default()
                .with_name(string(name))
                .with_min_version(*min)
                .with_max_version(*max)
        });
    listed(super::wire::NONE)
        .with_supported_features(supported.collect())
        .with_finalized_features(finalized.collect())
        .with_finalized_features_epoch(image.end.0)
}

/// The answer to a version that we do not know, in version 0: which versions we do know.
pub fn unknown_version() -> ApiVersionsResponse {
    listed(ErrorCode::UnsupportedVersion.code())
}

fn listed(error: i16) -> ApiVersionsResponse {
    let keys = table().iter().map(|api| {
        ApiVersion::default()
            .with_api_key(api.key)
            .with_min_version(api.advertised_min())
            .with_max_version(api.max)
    });
    ApiVersionsResponse::default().with_error_code(error).with_api_keys(keys.collect())
}

/// A client's name or version by KIP-511: letters, digits, dots and dashes, a letter or digit at
/// both ends.
fn is_software(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|&b| plain(b))
        && bytes.last().is_some_and(|&b| plain(b))
        && bytes.iter().all(|&b| plain(b) || b == b'.' || b == b'-')
}

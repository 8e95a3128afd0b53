//! Which version of each API two ends speak.

use std::collections::BTreeMap;

use proto_kafka::messages::{ApiKey, ApiVersionsResponse};
use proto_kafka::protocol::VersionRange;

/// From these versions on, Produce and Fetch name topics by id only (KIP-516); this client routes
/// by name.
const LAST_FETCH_BY_NAME: i16 = 12;
const LAST_PRODUCE_BY_NAME: i16 = 11;

/// What a broker said that it speaks, by API.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    ranges: BTreeMap<i16, VersionRange>,
}

impl Versions {
    pub fn new(response: &ApiVersionsResponse) -> Versions {
        let range = |min, max| VersionRange { min, max };
        let keys = response.api_keys.iter();
        Versions {
            ranges: keys
                .map(|key| (key.api_key, range(key.min_version, key.max_version)))
                .collect(),
        }
    }

    /// The highest version that both ends speak.
    pub fn negotiate(&self, api: ApiKey) -> Option<i16> {
        let theirs = self.ranges.get(&(api as i16))?;
        let common = theirs.intersect(&ours(api));
        (!common.is_empty()).then_some(common.max)
    }
}

fn ours(api: ApiKey) -> VersionRange {
    let VersionRange { min, max } = api.valid_versions();
    let max = match api {
        ApiKey::Fetch => LAST_FETCH_BY_NAME,
        ApiKey::Produce => LAST_PRODUCE_BY_NAME,
        _ => max,
    };
    VersionRange { min, max }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto_kafka::messages::api_versions_response::ApiVersion;

    fn speaking(api: ApiKey, min: i16, max: i16) -> Versions {
        let key = ApiVersion::default()
            .with_api_key(api as i16)
            .with_min_version(min)
            .with_max_version(max);
        Versions::new(&ApiVersionsResponse::default().with_api_keys(vec![key]))
    }

    #[test]
    fn the_highest_common_version_is_spoken() {
        assert_eq!(speaking(ApiKey::Metadata, 0, 7).negotiate(ApiKey::Metadata), Some(7));
        assert_eq!(speaking(ApiKey::Produce, 0, 13).negotiate(ApiKey::Produce), Some(11));
        assert_eq!(speaking(ApiKey::Fetch, 4, 18).negotiate(ApiKey::Fetch), Some(12));
    }

    #[test]
    fn no_common_version_is_no_version() {
        assert_eq!(speaking(ApiKey::Produce, 0, 2).negotiate(ApiKey::Produce), None);
        assert_eq!(speaking(ApiKey::Produce, 0, 13).negotiate(ApiKey::Fetch), None);
    }
}

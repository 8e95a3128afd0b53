//! InitProducerId: an id for an idempotent producer (KIP-98, K6).

use kraft_model::ErrorCode;
use proto_kafka::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::Context;
use crate::kafka::backend::Backend;

/// A transactional id is refused with UNSUPPORTED_VERSION: every client takes that as fatal and
/// says so, where the coordinator's errors would be retried without end. Most clients never come
/// here, because FindCoordinator is not advertised either.
pub async fn handle<B: Backend>(
    context: &Context<B>,
    request: InitProducerIdRequest,
    _version: i16,
) -> InitProducerIdResponse {
    let id = match request.transactional_id {
        Some(_) => Err(ErrorCode::UnsupportedVersion),
        None => context.backend.producer_id().await,
    };
    match id {
        Ok(id) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(0),
        Err(error) => InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

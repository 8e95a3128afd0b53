//! Record batches as bytes: written without an allocation per record, read in place.

mod build;
mod read;
mod varint;

pub use build::{BatchBuilder, Identity, SealedBatch};
pub use read::{BatchIter, BatchView, Record, RecordError};

//! Record batches for tests.

use kraft_model::Offset;

use crate::storage::Records;

/// One batch at `base` in `epoch` with a record for each value.
pub(crate) fn batch(base: i64, epoch: i32, values: &[&[u8]]) -> Records {
    Records::build(Offset(base), epoch, 1_000, false, values.iter().copied())
}

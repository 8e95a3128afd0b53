//! What a leader sent is checked before it is appended: whole batches, consecutive, unharmed.

use kraft_model::Offset;

use crate::storage::{BatchError, RecordBatch, Records};

/// Checks every batch of `records`: form, CRC, ascending offsets, and that the extent that was
/// announced is the one that the bytes have.
pub(crate) fn verify(records: &Records) -> Result<(), BatchError> {
    let mut rest = &records.bytes[..];
    let mut next: Option<Offset> = None;
    let mut last_epoch = -1;
    while !rest.is_empty() {
        let batch = RecordBatch::read(rest)?;
        batch.verify(rest)?;
        match next {
            None if batch.base != records.base => {
                return Err(BatchError::Malformed("the first batch is not where it should be"));
            }
            Some(end) if batch.base < end => {
                return Err(BatchError::Malformed("batches overlap"));
            }
            _ => {}
        }
        next = Some(batch.end());
        last_epoch = batch.leader_epoch.0;
        rest = &rest[batch.size..];
    }
    if next != Some(records.end) || last_epoch != records.last_epoch {
        return Err(BatchError::Malformed("the batches do not end where they should"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::shard::testing::batch;

    #[test]
    fn records_with_a_flipped_bit_are_refused() {
        let good = batch(7, 3, 2, b"payload");
        assert_eq!(verify(&good), Ok(()));
        let mut bytes = good.bytes.to_vec();
        *bytes.last_mut().expect("the batch has a payload") ^= 1;
        let bad = Records { bytes: bytes.into(), ..good };
        assert!(matches!(verify(&bad), Err(BatchError::Crc { .. })));
    }

    #[test]
    fn records_whose_extent_is_not_the_announced_one_are_refused() {
        let good = batch(7, 3, 2, b"payload");
        for bad in [
            Records { base: Offset(6), ..good.clone() },
            Records { end: Offset(11), ..good.clone() },
            Records { last_epoch: 3, ..good.clone() },
            Records { bytes: good.bytes.slice(..good.bytes.len() - 1), ..good.clone() },
        ] {
            assert!(verify(&bad).is_err(), "{bad:?}");
        }
    }
}

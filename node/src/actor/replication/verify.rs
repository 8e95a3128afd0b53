//! What a leader sent is checked before it is appended: whole batches, consecutive, unharmed.

use crate::storage::{BatchError, Records};

/// Checks every batch of `records`: form, CRC, offsets, and that the extent that was announced is
/// the one that the bytes have.
///
/// # Errors
/// What is wrong with the first batch that is not right.
pub(crate) fn verify(records: &Records) -> Result<(), BatchError> {
    let found = Records::parse(records.bytes.clone())?;
    if (found.base, found.end, found.last_epoch) != (records.base, records.end, records.last_epoch)
    {
        return Err(BatchError::Malformed("the batches are not the ones that were announced"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::shard::testing::batch;
    use kraft_model::Offset;

    #[test]
    fn records_with_a_flipped_bit_are_refused() {
        let good = batch(7, 2, &[b"payload"]);
        assert_eq!(verify(&good), Ok(()));
        let mut bytes = good.bytes.to_vec();
        *bytes.last_mut().expect("the batch has a payload") ^= 1;
        let bad = Records { bytes: bytes.into(), ..good };
        assert!(matches!(verify(&bad), Err(BatchError::Crc { .. })));
    }

    #[test]
    fn records_whose_extent_is_not_the_announced_one_are_refused() {
        let good = batch(7, 2, &[b"payload"]);
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

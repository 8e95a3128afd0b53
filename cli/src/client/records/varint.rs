//! Zigzag varints, as record fields use them.

use bytes::{BufMut, BytesMut};

/// Bytes that `value` takes.
pub fn size(value: i64) -> usize {
    let bits = 64 - zigzag(value).leading_zeros() as usize;
    bits.max(1).div_ceil(7)
}

pub fn put(out: &mut BytesMut, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// Takes a varint off the front; `None` if the bytes end first or it is longer than 64 bits.
pub fn take(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_comes_back_and_takes_the_size_it_said() {
        for value in [0, -1, 1, 63, 64, -64, -65, 8_191, 8_192, i64::MAX, i64::MIN] {
            let mut out = BytesMut::new();
            put(&mut out, value);
            assert_eq!(out.len(), size(value), "{value}");
            let mut rest = &out[..];
            assert_eq!(take(&mut rest), Some(value));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_varint_without_end_is_refused() {
        assert_eq!(take(&mut &[0x80u8; 11][..]), None);
        assert_eq!(take(&mut &[0x80u8][..]), None);
    }
}

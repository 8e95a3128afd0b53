//! CBOR with bounds. The only module that names the crate behind it, which nobody maintains any
//! more: two functions are the way in and out, and the way to another crate.
//!
//! What is decoded has been walked once before, without recursion and without allocation: nesting,
//! the number of items and every declared length are bounded there, and what we never write (tags,
//! floats, indefinite lengths, bytes after the end) is refused. Structs and enums are written by
//! the position of their fields and variants, so reordering those changes the format; golden files
//! notice.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{CBOR_DEPTH, CBOR_ITEMS};

/// Why bytes are not the CBOR of what was expected.
#[derive(Debug, thiserror::Error)]
pub enum CborError {
    #[error("encoding failed: {0}")]
    Encode(#[source] serde_cbor::Error),
    #[error("decoding failed: {0}")]
    Decode(#[source] serde_cbor::Error),
    #[error("the value ends early, at byte {at}")]
    Short { at: usize },
    #[error("{count} bytes follow the value")]
    Trailing { count: usize },
    #[error("nested deeper than {CBOR_DEPTH} levels, at byte {at}")]
    Deep { at: usize },
    #[error("more than {CBOR_ITEMS} items, at byte {at}")]
    Items { at: usize },
    #[error("{what} at byte {at}, which kraft never writes")]
    Foreign { what: &'static str, at: usize },
}

/// The encoding of `value`.
///
/// # Errors
/// [`CborError::Encode`] for types that CBOR cannot hold.
pub fn encode<T: Serialize>(value: &T) -> Result<Bytes, CborError> {
    let mut bytes = Vec::with_capacity(128);
    let mut serializer = serde_cbor::Serializer::new(&mut bytes).packed_format();
    value.serialize(&mut serializer).map_err(CborError::Encode)?;
    Ok(bytes.into())
}

/// The value that is exactly `bytes`.
///
/// # Errors
/// What the bounds refuse, and what is not a `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    scan(bytes)?;
    // A fresh deserializer each time: its own depth counter is not restored after a failure.
    let mut deserializer = serde_cbor::Deserializer::from_slice(bytes).disable_legacy_enums();
    let value = T::deserialize(&mut deserializer).map_err(CborError::Decode)?;
    deserializer.end().map_err(CborError::Decode)?;
    Ok(value)
}

/// The same as a tokio-serde format, for framed transports.
#[derive(Clone, Copy, Default, Debug)]
pub struct Cbor;

impl<T: Serialize> tokio_serde::Serializer<T> for Cbor {
    type Error = CborError;

    fn serialize(self: Pin<&mut Self>, item: &T) -> Result<Bytes, CborError> {
        encode(item)
    }
}

impl<T: DeserializeOwned> tokio_serde::Deserializer<T> for Cbor {
    type Error = CborError;

    fn deserialize(self: Pin<&mut Self>, src: &BytesMut) -> Result<T, CborError> {
        decode(src)
    }
}

/// Walks one value and checks that nothing follows it.
fn scan(bytes: &[u8]) -> Result<(), CborError> {
    // Items that are still due on each level; the outermost is the value itself.
    let mut due = [0_u64; CBOR_DEPTH + 1];
    let mut level = 0;
    due[0] = 1;
    let mut items = 0;
    let mut at = 0;
    loop {
        while due[level] == 0 {
            if level == 0 {
                let count = bytes.len() - at;
                return if count == 0 { Ok(()) } else { Err(CborError::Trailing { count }) };
            }
            level -= 1;
        }
        due[level] -= 1;
        items += 1;
        if items > CBOR_ITEMS {
            return Err(CborError::Items { at });
        }
        let start = at;
        let (major, argument) = head(bytes, &mut at)?;
        let inner = match major {
            2 | 3 => {
                let left = (bytes.len() - at) as u64;
                if argument > left {
                    return Err(CborError::Short { at: start });
                }
                at += argument as usize;
                0
            }
            4 => argument,
            5 => argument.saturating_mul(2),
            _ => 0,
        };
        if inner > 0 {
            // Every item takes a byte, so a longer list cannot be there.
            if inner > (bytes.len() - at) as u64 {
                return Err(CborError::Short { at: start });
            }
            if level == CBOR_DEPTH {
                return Err(CborError::Deep { at: start });
            }
            level += 1;
            due[level] = inner;
        }
    }
}

/// An item's major type and argument; moves `at` behind them.
fn head(bytes: &[u8], at: &mut usize) -> Result<(u8, u64), CborError> {
    let start = *at;
    let first = *bytes.get(start).ok_or(CborError::Short { at: start })?;
    let (major, low) = (first >> 5, first & 31);
    let foreign = |what| Err(CborError::Foreign { what, at: start });
    match (major, low) {
        (6, _) => return foreign("a tag"),
        (7, 20..=22) => {}
        (7, 25..=27) => return foreign("a float"),
        (7, 31) => return foreign("a break"),
        (7, _) => return foreign("a simple value"),
        (_, 28..=30) => return foreign("a reserved length"),
        (_, 31) => return foreign("an indefinite length"),
        _ => {}
    }
    let width = match low {
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => 0,
    };
    *at = start + 1 + width;
    let wide = bytes.get(start + 1..*at).ok_or(CborError::Short { at: start })?;
    let argument = wide.iter().fold(0, |value, &byte| (value << 8) | u64::from(byte));
    Ok((major, if width == 0 { u64::from(low) } else { argument }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> CborError {
        decode::<serde::de::IgnoredAny>(bytes).expect_err("must be refused")
    }

    #[test]
    fn what_is_written_is_read_back() {
        let value = (1_u64, "two".to_owned(), Some(vec![-3_i32]), None::<bool>);
        let bytes = encode(&value).expect("plain types");
        assert_eq!(
            decode::<(u64, String, Option<Vec<i32>>, Option<bool>)>(&bytes).ok(),
            Some(value)
        );
    }

    #[test]
    fn nesting_is_bounded_before_anything_recurses() {
        assert!(matches!(refused(&vec![0x81; 200_000]), CborError::Deep { at: CBOR_DEPTH }));
        let mut deepest = vec![0x81; CBOR_DEPTH];
        deepest.push(0);
        assert!(decode::<serde::de::IgnoredAny>(&deepest).is_ok());
    }

    #[test]
    fn declared_lengths_are_held_against_what_is_there() {
        for major in [0x5b, 0x7b, 0x9b, 0xbb] {
            for length in [u64::MAX, 1 << 63, 100] {
                let mut bytes = vec![major];
                bytes.extend(length.to_be_bytes());
                assert!(matches!(refused(&bytes), CborError::Short { at: 0 }));
            }
        }
    }

    #[test]
    fn items_are_counted_across_levels() {
        let mut bytes = vec![0x9a];
        bytes.extend((CBOR_ITEMS as u32).to_be_bytes());
        bytes.extend(vec![0; CBOR_ITEMS]);
        assert!(matches!(refused(&bytes), CborError::Items { .. }));
    }

    #[test]
    fn what_is_never_written_is_refused() {
        let foreign: [&[u8]; 6] =
            [&[0xd1; 1000], &[0xf9, 0, 0], &[0x9f, 0xff], &[0x5f, 0xff], &[0xf7], &[0x1c]];
        for bytes in foreign {
            assert!(matches!(refused(bytes), CborError::Foreign { at: 0, .. }), "{bytes:02x?}");
        }
        assert!(matches!(refused(&[0, 0]), CborError::Trailing { count: 1 }));
        assert!(matches!(refused(&[]), CborError::Short { at: 0 }));
    }

    #[test]
    fn a_field_that_stands_twice_is_refused() {
        #[derive(serde::Deserialize, Debug)]
        struct One {
            #[allow(dead_code)]
            field: u8,
        }
        assert!(decode::<One>(&[0xa1, 0x00, 0x05]).is_ok());
        assert!(decode::<One>(&[0xa2, 0x00, 0x05, 0x00, 0x06]).is_err());
    }

    #[test]
    fn no_other_module_names_the_crate() {
        let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let crate_name = ["serde", "cbor"].join("_");
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("our own sources") {
                let path = entry.expect("our own sources").path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("peer/cbor.rs") {
                    let text = std::fs::read_to_string(&path).unwrap_or_default();
                    assert!(!text.contains(&crate_name), "{} names it", path.display());
                }
            }
        }
    }
}

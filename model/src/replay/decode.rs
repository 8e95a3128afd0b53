//! The way back from [`super::encode`]'s bytes. Whatever they hold, a length is held against what is
//! there before anything is made of it.

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};

/// Bytes that are not the encoding of what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the value ends early")]
    Short,
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    #[error("{0}")]
    Form(String),
}

impl de::Error for DecodeError {
    fn custom<T: std::fmt::Display>(message: T) -> DecodeError {
        DecodeError::Form(message.to_string())
    }
}

/// The value that is exactly `bytes`.
///
/// # Errors
/// If they are something else.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut decoder = Decoder { rest: bytes };
    let value = T::deserialize(&mut decoder)?;
    match decoder.rest.len() {
        0 => Ok(value),
        more => Err(DecodeError::Trailing(more)),
    }
}

struct Decoder<'de> {
    rest: &'de [u8],
}

impl<'de> Decoder<'de> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&first, rest) = self.rest.split_first().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(first)
    }

    fn unsigned(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            value |= bits << shift;
            if bits << shift >> shift != bits {
                break;
            }
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Form("a number of more than 64 bits".to_owned()))
    }

    fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A length. Nothing that is counted is shorter than a byte, but for units.
    fn length(&mut self) -> Result<usize, DecodeError> {
        let length = usize::try_from(self.unsigned()?).map_err(|_| DecodeError::Short)?;
        if length > self.rest.len() { Err(DecodeError::Short) } else { Ok(length) }
    }

    fn bytes(&mut self) -> Result<&'de [u8], DecodeError> {
        let length = self.length()?;
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $read:ident $type:ty;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            let value = <$type>::try_from(self.$read()?);
            let value = value.map_err(|_| DecodeError::Form("a number out of range".to_owned()))?;
            visitor.$visit(value)
        })*
    };
}

macro_rules! unknown {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
            Err(DecodeError::Form("the encoding says nothing about types".to_owned()))
        })*
    };
}

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = DecodeError;

    numbers! {
        deserialize_u8 visit_u8 unsigned u8;
        deserialize_u16 visit_u16 unsigned u16;
        deserialize_u32 visit_u32 unsigned u32;
        deserialize_u64 visit_u64 unsigned u64;
        deserialize_i8 visit_i8 signed i8;
        deserialize_i16 visit_i16 signed i16;
        deserialize_i32 visit_i32 signed i32;
        deserialize_i64 visit_i64 signed i64;
    }

    unknown! {
        deserialize_any
        deserialize_f32
        deserialize_f64
        deserialize_char
        deserialize_identifier
        deserialize_ignored_any
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            other => Err(DecodeError::Form(format!("{other} is neither true nor false"))),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let text = std::str::from_utf8(self.bytes()?);
        let text = text.map_err(|error| DecodeError::Form(error.to_string()))?;
        visitor.visit_borrowed_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            other => Err(DecodeError::Form(format!("{other} is neither something nor nothing"))),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let due = self.length()?;
        visitor.visit_seq(Elements { decoder: self, due })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        due: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Elements { decoder: self, due })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        due: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Elements { decoder: self, due })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let due = self.length()?;
        visitor.visit_map(Elements { decoder: self, due })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Elements { decoder: self, due: fields.len() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Elements that are still to come.
struct Elements<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    due: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(due) = self.due.checked_sub(1) else { return Ok(None) };
        self.due = due;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.due)
    }
}

impl<'de> de::MapAccess<'de> for Elements<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        seed.deserialize(&mut *self.decoder)
    }
}

impl<'de> de::EnumAccess<'de> for &mut Decoder<'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        let variant = u32::try_from(self.unsigned()?);
        let variant = variant.map_err(|_| DecodeError::Form("no such variant".to_owned()))?;
        let value =
            seed.deserialize(IntoDeserializer::<DecodeError>::into_deserializer(variant))?;
        Ok((value, self))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Decoder<'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        due: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        de::Deserializer::deserialize_tuple(self, due, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        de::Deserializer::deserialize_tuple(self, fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::encode;
    use super::*;
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    enum Shape {
        Point,
        Circle(i64),
        Box { wide: u8, high: Option<i32> },
        Pair(u64, String),
    }

    fn bytes_of(value: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, value).expect("a value that it can hold");
        bytes
    }

    #[test]
    fn what_is_written_is_read_back_and_is_short() {
        let shapes = vec![
            Shape::Point,
            Shape::Circle(i64::MIN),
            Shape::Box { wide: 3, high: Some(-1) },
            Shape::Pair(u64::MAX, "two".to_owned()),
        ];
        assert_eq!(decode::<Vec<Shape>>(&bytes_of(&shapes)), Ok(shapes));
        let map: BTreeMap<String, (bool, i8)> = [("a".to_owned(), (true, -128))].into();
        assert_eq!(decode::<BTreeMap<String, (bool, i8)>>(&bytes_of(&map)), Ok(map));
        assert_eq!(bytes_of(&Shape::Circle(-3)), [1, 5]);
        assert_eq!(bytes_of(&300_u16), [0xac, 2]);
    }

    #[test]
    fn a_length_that_is_not_there_is_refused_before_anything_is_made_of_it() {
        let mut bytes = Vec::new();
        encode(&mut bytes, &u64::MAX).expect("a number");
        assert_eq!(decode::<Vec<u8>>(&bytes), Err(DecodeError::Short));
        assert_eq!(decode::<String>(&[5, b'a']), Err(DecodeError::Short));
    }

    #[test]
    fn bytes_that_are_something_else_are_refused() {
        assert_eq!(decode::<u8>(&[1, 2]), Err(DecodeError::Trailing(1)));
        assert!(decode::<u8>(&[0x80, 2]).is_err(), "256 is no u8");
        assert!(decode::<bool>(&[2]).is_err());
        assert!(decode::<u64>(&[0xff; 10]).is_err(), "more than 64 bits");
        assert!(decode::<Shape>(&[9]).is_err(), "no such variant");
    }
}

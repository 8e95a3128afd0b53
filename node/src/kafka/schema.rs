//! The shapes of requests, and a walk over a request's bytes that allocates nothing.
//!
//! The codec reserves room for as many elements as an array declares, checked only against the
//! bytes that are left: eight bytes of frame can ask for a hundred bytes of struct each. So every
//! body is walked first. The walk visits each element that the codec will visit; a frame that
//! declares more than it brings fails here, before anything is reserved, and the number of
//! elements is counted against [`crate::limits::REQUEST_ITEMS`].

use crate::limits::REQUEST_ITEMS;

/// A request's body: its fields in order, and the first version in the flexible encoding (compact
/// lengths, tagged fields).
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    pub flexible_from: i16,
    pub fields: &'static [Field],
}

/// One field, present from version `from` to version `to`.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    kind: Kind,
    from: i16,
    to: i16,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string, nullable or not.
    Text,
    /// A byte string, nullable or not.
    Bytes,
    /// An array, nullable or not, of values that are no structs.
    Values(&'static Field),
    /// An array, nullable or not, of structs.
    Structs(&'static [Field]),
    /// A struct behind a byte that is negative where it is absent.
    Optional(&'static [Field]),
}

const fn field(kind: Kind) -> Field {
    Field { kind, from: 0, to: i16::MAX }
}

/// A number or flag of `size` bytes.
pub const fn fixed(size: usize) -> Field {
    field(Kind::Fixed(size))
}

pub const fn text() -> Field {
    field(Kind::Text)
}

pub const fn bytes() -> Field {
    field(Kind::Bytes)
}

pub const fn uuid() -> Field {
    fixed(16)
}

pub const fn values(of: &'static Field) -> Field {
    field(Kind::Values(of))
}

pub const fn structs(fields: &'static [Field]) -> Field {
    field(Kind::Structs(fields))
}

pub const fn optional(fields: &'static [Field]) -> Field {
    field(Kind::Optional(fields))
}

impl Field {
    /// From this version on.
    pub const fn since(self, version: i16) -> Field {
        Field { from: version, ..self }
    }

    /// Up to and including this version.
    pub const fn until(self, version: i16) -> Field {
        Field { to: version, ..self }
    }
}

/// Why a body does not have the form of its API and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("the request ends {missing} bytes too early")]
    Short { missing: usize },
    #[error("a length of {0} is impossible")]
    Length(i64),
    #[error("an array declares {declared} elements in {left} bytes")]
    Array { declared: usize, left: usize },
    #[error("the request holds more than {REQUEST_ITEMS} elements")]
    Items,
    #[error("a variable-length number does not end")]
    Varint,
}

/// A place in a request's bytes, and how many elements were passed on the way.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    left: &'a [u8],
    items: usize,
    flexible: bool,
    version: i16,
}

impl<'a> Walk<'a> {
    pub fn new(bytes: &'a [u8], version: i16, flexible: bool) -> Walk<'a> {
        Walk { left: bytes, items: 0, flexible, version }
    }

    /// Array elements and tagged fields so far.
    pub fn items(&self) -> usize {
        self.items
    }

    /// What has not been walked over.
    pub fn left(&self) -> &'a [u8] {
        self.left
    }

    /// Walks over one struct: its fields, then its tagged fields.
    pub fn fields(&mut self, fields: &[Field]) -> Result<(), SchemaError> {
        for field in fields {
            if (field.from..=field.to).contains(&self.version) {
                self.field(field.kind)?;
            }
        }
        if self.flexible { self.tagged() } else { Ok(()) }
    }

    fn field(&mut self, kind: Kind) -> Result<(), SchemaError> {
        match kind {
            Kind::Fixed(size) => self.skip(size),
            Kind::Text => {
                let length = if self.flexible { self.compact()? } else { self.i16()? };
                self.skip(length.unwrap_or(0))
            }
            Kind::Bytes => {
                let length = self.length()?;
                self.skip(length.unwrap_or(0))
            }
            Kind::Values(of) => self.elements(|walk| walk.field(of.kind)),
            Kind::Structs(fields) => self.elements(|walk| walk.fields(fields)),
            Kind::Optional(fields) => match self.byte()? as i8 {
                0.. => self.fields(fields),
                _ => Ok(()),
            },
        }
    }

    fn elements(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), SchemaError>,
    ) -> Result<(), SchemaError> {
        let declared = self.length()?.unwrap_or(0);
        if declared > self.left.len() {
            return Err(SchemaError::Array { declared, left: self.left.len() });
        }
        self.count(declared)?;
        (0..declared).try_for_each(|_| each(self))
    }

    fn tagged(&mut self) -> Result<(), SchemaError> {
        let declared = self.varint()? as usize;
        if declared > self.left.len() {
            return Err(SchemaError::Array { declared, left: self.left.len() });
        }
        self.count(declared)?;
        for _ in 0..declared {
            self.varint()?;
            let size = self.varint()?;
            self.skip(size as usize)?;
        }
        Ok(())
    }

    fn count(&mut self, more: usize) -> Result<(), SchemaError> {
        self.items += more;
        if self.items > REQUEST_ITEMS { Err(SchemaError::Items) } else { Ok(()) }
    }

    fn skip(&mut self, size: usize) -> Result<(), SchemaError> {
        match self.left.split_at_checked(size) {
            Some((_, left)) => {
                self.left = left;
                Ok(())
            }
            None => Err(SchemaError::Short { missing: size - self.left.len() }),
        }
    }

    fn byte(&mut self) -> Result<u8, SchemaError> {
        let (&byte, left) = self.left.split_first().ok_or(SchemaError::Short { missing: 1 })?;
        self.left = left;
        Ok(byte)
    }

    fn i16(&mut self) -> Result<Option<usize>, SchemaError> {
        let value = i16::from_be_bytes([self.byte()?, self.byte()?]);
        length(i64::from(value))
    }

    /// The length of a byte string or an array.
    fn length(&mut self) -> Result<Option<usize>, SchemaError> {
        if self.flexible {
            return self.compact();
        }
        let value = i32::from_be_bytes([self.byte()?, self.byte()?, self.byte()?, self.byte()?]);
        length(i64::from(value))
    }

    /// A compact length: one more than the length, 0 for null.
    fn compact(&mut self) -> Result<Option<usize>, SchemaError> {
        let raw = self.varint()?;
        if raw > i32::MAX as u32 {
            return Err(SchemaError::Length(i64::from(raw)));
        }
        length(i64::from(raw) - 1)
    }

    fn varint(&mut self) -> Result<u32, SchemaError> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            if shift == 28 && byte > 0x0f {
                return Err(SchemaError::Varint);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(SchemaError::Varint)
    }
}

fn length(value: i64) -> Result<Option<usize>, SchemaError> {
    match value {
        -1 => Ok(None),
        0.. => Ok(Some(value as usize)),
        _ => Err(SchemaError::Length(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[Field] = &[structs(&[text(), values(&fixed(4))]), fixed(1).since(2)];

    fn walk(bytes: &[u8], version: i16, flexible: bool) -> Result<usize, SchemaError> {
        let mut walk = Walk::new(bytes, version, flexible);
        walk.fields(NAMES)?;
        Ok(walk.items())
    }

    #[test]
    fn a_whole_body_is_walked_to_its_end_and_its_elements_are_counted() {
        assert_eq!(walk(&[0, 0, 0, 1, 0, 1, b'x', 0, 0, 0, 1, 0, 0, 0, 9], 1, false), Ok(2));
        assert_eq!(walk(&[2, 2, b'x', 2, 0, 0, 0, 9, 0, 1, 0], 2, true), Ok(2));
    }

    #[test]
    fn an_array_that_declares_more_than_the_bytes_bring_is_refused() {
        let declared = i32::MAX as usize;
        let lying = [0x7f, 0xff, 0xff, 0xff];
        assert_eq!(walk(&lying, 1, false), Err(SchemaError::Array { declared, left: 0 }));
        let mut many = vec![0, 0, 4, 0];
        many.resize(4 + 1024, 0);
        assert!(matches!(walk(&many, 1, false), Err(SchemaError::Short { .. })));
    }

    #[test]
    fn more_elements_than_the_bound_are_refused_though_the_bytes_are_there() {
        let mut many = Vec::from((REQUEST_ITEMS as u32 + 1).to_be_bytes());
        many.resize(4 + 6 * (REQUEST_ITEMS + 1), 0);
        assert_eq!(walk(&many, 1, false), Err(SchemaError::Items));
    }

    #[test]
    fn a_number_that_never_ends_and_a_negative_length_are_refused() {
        assert_eq!(walk(&[0xff; 9], 1, true), Err(SchemaError::Varint));
        assert_eq!(walk(&[0xff, 0xff, 0xff, 0xfe], 1, false), Err(SchemaError::Length(-2)));
    }
}

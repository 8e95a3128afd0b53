//! A 64-bit digest of what a machine said and of what it is.

use std::hash::{Hash, Hasher};

/// A hasher that is quick, and the same on every machine: it multiplies word by word and folds the
/// product. Against accidents, not against forgers. Two builds agree if the types are the same,
/// which is why a trace names the version that wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Digest(u64);

impl Digest {
    /// The digest of one value.
    pub fn of(value: &(impl Hash + ?Sized)) -> u64 {
        let mut digest = Digest::default();
        value.hash(&mut digest);
        digest.finish()
    }

    fn fold(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        self.0 = (wide as u64 ^ (wide >> 64) as u64).wrapping_add(0x2545_f491_4f6c_dd1d);
    }
}

impl Default for Digest {
    fn default() -> Digest {
        Digest(0x6a09_e667_f3bc_c908)
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        let mut last = *self;
        last.fold(0xff);
        last.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut eight = [0; 8];
            eight.copy_from_slice(word);
            self.fold(u64::from_le_bytes(eight));
        }
        let rest = words.remainder();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.fold(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, value: u8) {
        self.fold(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.fold(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.fold(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.fold(value);
    }

    fn write_u128(&mut self, value: u128) {
        self.fold(value as u64);
        self.fold((value >> 64) as u64);
    }

    fn write_usize(&mut self, value: usize) {
        self.fold(value as u64);
    }

    fn write_i8(&mut self, value: i8) {
        self.fold(value as u64);
    }

    fn write_i16(&mut self, value: i16) {
        self.fold(value as u64);
    }

    fn write_i32(&mut self, value: i32) {
        self.fold(value as u64);
    }

    fn write_i64(&mut self, value: i64) {
        self.fold(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.fold(value as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_differ_anywhere_have_different_digests() {
        let values: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"a", b"ab", b"12345678", b"12345678\0"];
        let mut digests: Vec<u64> = values.iter().map(|value| Digest::of(*value)).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), values.len());
        assert_ne!(Digest::of(&(1_u8, 2_u8)), Digest::of(&(2_u8, 1_u8)));
    }
}

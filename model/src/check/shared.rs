//! A part of a state that its successors share until they change it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A value behind a pointer, with its digest: most steps change one broker of three, so copying
/// and hashing the others is most of what a flat state would cost. The digest covers the whole
/// value, and is taken when it is first asked for after a change.
#[derive(Clone)]
pub struct Shared<T>(Arc<Digested<T>>);

struct Digested<T> {
    /// [`UNKNOWN`] until it is asked for.
    digest: AtomicU64,
    value: T,
}

const UNKNOWN: u64 = 0;

/// A copy is made in order to be changed.
impl<T: Clone> Clone for Digested<T> {
    fn clone(&self) -> Self {
        Digested { digest: AtomicU64::new(UNKNOWN), value: self.value.clone() }
    }
}

impl<T> Shared<T> {
    pub fn new(value: T) -> Shared<T> {
        Shared(Arc::new(Digested { digest: AtomicU64::new(UNKNOWN), value }))
    }
}

impl<T: Clone> Shared<T> {
    /// Changes the value, for this owner only.
    pub fn change<A>(&mut self, change: impl FnOnce(&mut T) -> A) -> A {
        let own = Arc::make_mut(&mut self.0);
        *own.digest.get_mut() = UNKNOWN;
        change(&mut own.value)
    }
}

impl<T: Hash> Shared<T> {
    /// A word for a part that may be there: no digest is [`UNKNOWN`].
    pub fn hash_if_some(part: &Option<Shared<T>>, state: &mut impl Hasher) {
        state.write_u64(part.as_ref().map_or(UNKNOWN, Shared::digest));
    }

    fn digest(&self) -> u64 {
        let known = self.0.digest.load(Ordering::Relaxed);
        if known != UNKNOWN {
            return known;
        }
        let mut digest = Digest::default();
        self.0.value.hash(&mut digest);
        let taken = digest.finish().max(UNKNOWN + 1);
        self.0.digest.store(taken, Ordering::Relaxed);
        taken
    }
}

/// Sixty-four bits that depend on every word and its place: each is mixed in by a multiplication
/// whose two halves are folded into one.
#[derive(Default)]
pub(super) struct Digest(u64);

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let product = u128::from(mixed) * 0xd6e8_feb8_6659_fd93_u128;
        self.0 = (product as u64 ^ (product >> 64) as u64).rotate_left(29);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: PartialEq + Hash> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.digest() == other.digest() && self.0.value == other.0.value)
    }
}

impl<T: Eq + Hash> Eq for Shared<T> {}

impl<T: Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest());
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_the_owners_own_and_shows_in_the_digest() {
        let before = Shared::new(1);
        let mut after = before.clone();
        after.change(|value| *value = 2);
        assert_eq!((*before, *after), (1, 2));
        assert_ne!(before.digest(), after.digest());
        after.change(|value| *value = 1);
        assert_eq!(before, after);
        assert_eq!(before.digest(), after.digest());
    }

    #[test]
    fn small_values_in_every_order_have_digests_of_their_own() {
        let triples = (0..40_u64 * 40 * 40).map(|n| [n % 40, n / 40 % 40, n / 1600]);
        let digests: std::collections::BTreeSet<u64> =
            triples.map(|triple| Shared::new(triple).digest()).collect();
        assert_eq!(digests.len(), 64_000);
    }
}

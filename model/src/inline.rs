//! Small sequences that live inside their owner: `Copy`, hashed by what they hold.
//!
//! Quorums and replica sets are bounded ([`crate::limits`]), so they need no heap. A flat state is
//! what lets the checker visit millions of states a second, and production profits as well.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::NodeId;
use crate::limits::MAX_REPLICAS;

/// Up to `N` values in order, without a heap allocation.
#[derive(Clone, Copy)]
pub struct InlineVec<T, const N: usize> {
    len: u8,
    items: [T; N],
}

/// The brokers of one partition: its replicas in order, its ISR, its ELR.
pub type Nodes = InlineVec<NodeId, MAX_REPLICAS>;

/// More values than the sequence has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {0} elements")]
pub struct Full(pub usize);

impl<T: Copy + Default, const N: usize> InlineVec<T, N> {
    pub fn new() -> Self {
        InlineVec { len: 0, items: [T::default(); N] }
    }

    pub fn try_push(&mut self, value: T) -> Result<(), Full> {
        match self.items.get_mut(self.len as usize) {
            Some(slot) => {
                *slot = value;
                self.len += 1;
                Ok(())
            }
            None => Err(Full(N)),
        }
    }

    /// Appends `value`; the caller has checked that there is room.
    ///
    /// # Panics
    /// If the sequence is full.
    pub fn push(&mut self, value: T) {
        assert!(self.try_push(value).is_ok(), "an inline sequence holds at most {N}");
    }

    /// Takes out the value at `index` and closes the gap. What is left behind the end is reset, so
    /// that equal sequences are equal bytes.
    pub fn remove(&mut self, index: usize) -> T {
        let value = self.items[..self.len as usize][index];
        self.items.copy_within(index + 1..self.len as usize, index);
        self.len -= 1;
        self.items[self.len as usize] = T::default();
        value
    }

    pub fn clear(&mut self) {
        *self = Self::new();
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let before = *self;
        self.clear();
        before.iter().filter(|item| keep(item)).for_each(|&item| self.push(item));
    }

    pub fn try_from_slice(values: &[T]) -> Result<Self, Full> {
        let mut all = Self::new();
        values.iter().try_for_each(|&value| all.try_push(value))?;
        Ok(all)
    }
}

impl<T: Copy + Default + PartialEq, const N: usize> InlineVec<T, N> {
    /// Whether every value of this sequence is in `other`.
    pub fn is_subset(&self, other: &[T]) -> bool {
        self.iter().all(|item| other.contains(item))
    }

    /// This sequence without the values in `other`, in this order.
    #[must_use]
    pub fn without(mut self, other: &[T]) -> Self {
        self.retain(|item| !other.contains(item));
        self
    }

    /// The values that are in `other` as well, in this order.
    #[must_use]
    pub fn intersect(mut self, other: &[T]) -> Self {
        self.retain(|item| other.contains(item));
        self
    }

    /// Appends `value` unless it is there already.
    pub fn insert(&mut self, value: T) {
        if !self.contains(&value) {
            self.push(value);
        }
    }
}

impl<T: Copy + Default, const N: usize> Default for InlineVec<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Deref for InlineVec<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..self.len as usize]
    }
}

impl<T, const N: usize> DerefMut for InlineVec<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..self.len as usize]
    }
}

impl<T: PartialEq, const N: usize> PartialEq for InlineVec<T, N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq, const N: usize> Eq for InlineVec<T, N> {}

impl<T: PartialOrd, const N: usize> PartialOrd for InlineVec<T, N> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (**self).partial_cmp(&**other)
    }
}

impl<T: Ord, const N: usize> Ord for InlineVec<T, N> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: Hash, const N: usize> Hash for InlineVec<T, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for InlineVec<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Copy + Default, const N: usize> FromIterator<T> for InlineVec<T, N> {
    /// # Panics
    /// If there are more than `N` values; what comes from outside goes through
    /// [`InlineVec::try_from_slice`].
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        let mut all = Self::new();
        iter.into_iter().for_each(|value| all.push(value));
        all
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a InlineVec<T, N> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Serialize, const N: usize> Serialize for InlineVec<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, T: Deserialize<'de> + Copy + Default, const N: usize> Deserialize<'de>
    for InlineVec<T, N>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const N: usize>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Copy + Default, const N: usize> Visitor<'de> for Items<T, N> {
            type Value = InlineVec<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {N} elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = InlineVec::new();
                while let Some(item) = seq.next_element()? {
                    all.try_push(item).map_err(A::Error::custom)?;
                }
                Ok(all)
            }
        }

        deserializer.deserialize_seq(Items(std::marker::PhantomData))
    }
}

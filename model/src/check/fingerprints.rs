//! A set of 64-bit fingerprints in one flat table.

/// Open addressing with linear probing; a slot is eight bytes and 0 means empty. At 10^7 states
/// two different ones share a fingerprint with a chance of 3 in a million.
pub(super) struct Fingerprints {
    slots: Vec<u64>,
    used: usize,
}

impl Fingerprints {
    pub(super) fn new() -> Self {
        Fingerprints { slots: vec![0; 1 << 12], used: 0 }
    }

    /// Whether `fingerprint` is new to the set.
    pub(super) fn insert(&mut self, fingerprint: u64) -> bool {
        if self.used * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let inserted = Self::place(&mut self.slots, fingerprint.max(1));
        self.used += usize::from(inserted);
        inserted
    }

    fn place(slots: &mut [u64], fingerprint: u64) -> bool {
        let mask = slots.len() - 1;
        let mut at = fingerprint as usize & mask;
        while slots[at] != 0 {
            if slots[at] == fingerprint {
                return false;
            }
            at = (at + 1) & mask;
        }
        slots[at] = fingerprint;
        true
    }

    fn grow(&mut self) {
        let mut slots = vec![0; self.slots.len() * 2];
        for &fingerprint in self.slots.iter().filter(|&&slot| slot != 0) {
            Self::place(&mut slots, fingerprint);
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_new_once_however_far_the_table_grows() {
        let mut set = Fingerprints::new();
        let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert!((0..20_000).all(|n| set.insert(spread(n))));
        assert!(!(0..20_000).any(|n| set.insert(spread(n))));
    }
}

//! The simulator's one source of chance: a small seeded generator, so that a seed is a whole run.

/// SplitMix64 (Steele, Lea and Flood, 2014): one word of state, every seed a good one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random(u64);

impl Random {
    /// A stream of its own, so that what one part draws does not shift what another one gets.
    pub fn stream(seed: u64, label: u64) -> Random {
        let mut random = Random(seed ^ label.wrapping_mul(0xD1B5_4A32_D192_ED03));
        random.next();
        Random(random.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to, but not including, `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias of a 128-bit product is below 2^-40 for all that is asked here.
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True `per_mille` times in a thousand.
    pub fn per_mille(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1_000) < u64::from(per_mille)
    }

    /// An index into something of this length, which is not empty.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.index(from.len())]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_sequence_and_streams_differ() {
        let draw = |mut random: Random| [random.next(), random.below(10), random.between(3, 5)];
        assert_eq!(draw(Random::stream(7, 0)), draw(Random::stream(7, 0)));
        assert_ne!(draw(Random::stream(7, 1)), draw(Random::stream(7, 2)));
        let mut random = Random::stream(1, 0);
        assert!((0..1_000).all(|_| (3..=5).contains(&random.between(3, 5))));
        assert_eq!(random.below(0), 0);
        assert!(!random.per_mille(0) && random.per_mille(1_000));
    }
}

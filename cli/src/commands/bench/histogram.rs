//! Latencies in buckets: a fixed size whatever the number of samples, 1.6 % wide at most.

use serde::Serialize;

/// Buckets per power of two.
const SUB: usize = 64;
const SUB_BITS: u32 = SUB.trailing_zeros();
/// Powers of two beyond the linear part: up to 2^40 us, twelve days.
const POWERS: usize = 40;

/// Counts of microseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

/// In milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: vec![0; SUB * POWERS], count: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    pub fn record(&mut self, micros: u64) {
        let last = self.buckets.len() - 1;
        self.buckets[bucket(micros).min(last)] += 1;
        self.count += 1;
        self.sum += u128::from(micros);
        self.max = self.max.max(micros);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value that `share` of the samples do not pass, in microseconds.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(index).min(self.max);
            }
        }
        self.max
    }

    pub fn percentiles(&self) -> Percentiles {
        let ms = |micros: u64| micros as f64 / 1_000.0;
        let mean = if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 };
        Percentiles {
            mean: super::rounded(mean / 1_000.0),
            p50: ms(self.quantile(0.5)),
            p90: ms(self.quantile(0.9)),
            p95: ms(self.quantile(0.95)),
            p99: ms(self.quantile(0.99)),
            p999: ms(self.quantile(0.999)),
            max: ms(self.max),
        }
    }
}

/// Exact below [`SUB`]; above it the power of two, divided into [`SUB`] equal parts.
fn bucket(micros: u64) -> usize {
    if micros < SUB as u64 {
        return micros as usize;
    }
    let power = micros.ilog2() - SUB_BITS;
    let part = (micros >> power) as usize - SUB;
    (power as usize + 1) * SUB + part
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let power = (bucket / SUB - 1) as u32;
    let part = (bucket % SUB + SUB) as u64;
    ((part + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_near_its_end() {
        for micros in [0, 1, 63, 64, 65, 127, 128, 1_000, 123_456, 9_999_999_999] {
            let upper = upper(bucket(micros));
            assert!(upper >= micros, "{micros}");
            assert!(upper as f64 <= micros as f64 * 1.016 + 1.0, "{micros} became {upper}");
        }
    }

    #[test]
    fn quantiles_count_samples() {
        let mut histogram = Histogram::default();
        for micros in 1..=1_000 {
            histogram.record(micros);
        }
        assert!((500..=508).contains(&histogram.quantile(0.5)));
        assert!((990..=1_000).contains(&histogram.quantile(0.99)));
        assert_eq!(histogram.quantile(1.0), 1_000);
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }
}

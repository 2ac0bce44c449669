//! Counts of durations in buckets whose width grows with the value: any value is known to within
//! 1/128. A fixed size, so that recording allocates nothing.

const SUB_BITS: u32 = 7;
const SUB_COUNT: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB_COUNT;

pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counts: vec![0; BUCKETS],
            count: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }
}

/// Values below 128 have a bucket each; above, every power of two is cut into 128.
fn index_of(value: u64) -> usize {
    if value < SUB_COUNT as u64 {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - SUB_BITS;
    (shift as usize + 1) * SUB_COUNT + (value >> shift) as usize - SUB_COUNT
}

/// The largest value of a bucket.
fn upper_edge(index: usize) -> u64 {
    if index < SUB_COUNT {
        return index as u64;
    }
    let shift = (index / SUB_COUNT - 1) as u32;
    let low = ((index % SUB_COUNT + SUB_COUNT) as u64) << shift;
    low + ((1u64 << shift) - 1)
}

impl Histogram {
    pub fn record(&mut self, value: u64) {
        self.counts[index_of(value)] += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn sum_ns(&self) -> u128 {
        self.sum
    }

    /// The smallest recorded value that at least `quantile` (0 to 1) of all values do not exceed, to
    /// within the bucket's width and never above the maximum. 0 when nothing was recorded.
    pub fn quantile(&self, quantile: f64) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let rank = ((quantile * self.count as f64).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_edge(index).min(self.max);
            }
        }
        self.max
    }

    /// Nanoseconds recorded, microseconds written, as a JSON object.
    pub fn to_json_micros(&self) -> String {
        let micros = |ns: u64| ns as f64 / 1000.0;
        let mean = if self.count == 0 {
            0.0
        } else {
            self.sum as f64 / self.count as f64 / 1000.0
        };
        let min = if self.count == 0 { 0 } else { self.min };
        format!(
            "{{\"count\":{},\"min\":{:.1},\"mean\":{:.1},\"p50\":{:.1},\"p90\":{:.1},\
             \"p99\":{:.1},\"p999\":{:.1},\"max\":{:.1}}}",
            self.count,
            micros(min),
            mean,
            micros(self.quantile(0.5)),
            micros(self.quantile(0.9)),
            micros(self.quantile(0.99)),
            micros(self.quantile(0.999)),
            micros(self.max),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_of_is_dense_and_upper_edge_is_its_inverse() {
        let mut previous = 0;
        for value in 0..1_000_000u64 {
            let index = index_of(value);
            assert!(index == previous || index == previous + 1, "gap at {value}");
            assert!(upper_edge(index) >= value);
            assert!(index == 0 || upper_edge(index - 1) < value);
            previous = index;
        }
        assert!(index_of(u64::MAX) == BUCKETS - 1 && upper_edge(BUCKETS - 1) == u64::MAX);
    }

    #[test]
    fn quantile_agrees_with_a_sorted_list() {
        let mut histogram = Histogram::default();
        let mut values: Vec<u64> = (0..5000u64)
            .map(|i| (i * 2_654_435_761) % 90_000_017)
            .collect();
        for value in &values {
            histogram.record(*value);
        }
        values.sort_unstable();
        for quantile in [0.001, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = values[((quantile * 5000.0f64).ceil() as usize).max(1) - 1];
            let found = histogram.quantile(quantile);
            assert!(found >= exact && found as f64 <= exact as f64 * (1.0 + 1.0 / 64.0) + 1.0);
        }
    }

    #[test]
    fn quantile_is_zero_when_nothing_was_recorded() {
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }
}

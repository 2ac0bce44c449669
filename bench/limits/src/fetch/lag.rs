//! How far behind a consumer is in time, from what responses say alone.
//!
//! A response tells the high watermark of its instant. So the instant at which the high watermark
//! passed an offset lies between two responses: the last that had it at or below the offset and the
//! first that had it above. In between it is taken to have moved evenly. The lag is the time from
//! then to now; nothing that the broker or the batches say of time is used.

use std::collections::VecDeque;

/// Responses remembered for each partition; beyond, every second one is forgotten.
const SAMPLES_MAX: usize = 16 * 1024;

#[derive(Clone, Copy)]
struct Sample {
    high_watermark: i64,
    /// When a response said so first, and last.
    first_ns: u64,
    last_ns: u64,
}

/// The high watermark of one partition over time.
#[derive(Default)]
pub struct Watermark {
    samples: VecDeque<Sample>,
}

#[derive(Debug, PartialEq)]
pub struct Lag {
    pub ns: u64,
    /// The offset was passed before anything was known: the lag is that or more.
    pub is_lower_bound: bool,
}

impl Watermark {
    /// Notes what a response said. One that is behind an earlier one changes nothing.
    pub fn note(&mut self, now_ns: u64, high_watermark: i64) {
        match self.samples.back_mut() {
            Some(last) if last.high_watermark == high_watermark => last.last_ns = now_ns,
            Some(last) if last.high_watermark > high_watermark => {}
            _ => {
                if self.samples.len() == SAMPLES_MAX {
                    self.thin_out();
                }
                self.samples.push_back(Sample {
                    high_watermark,
                    first_ns: now_ns,
                    last_ns: now_ns,
                });
            }
        }
    }

    /// The highest that any response said; −1 before the first.
    pub fn highest(&self) -> i64 {
        self.samples.back().map_or(-1, |last| last.high_watermark)
    }

    /// How long the event at `position` has been there to be read.
    pub fn lag(&self, position: i64, now_ns: u64) -> Lag {
        let above = self
            .samples
            .partition_point(|sample| sample.high_watermark <= position);
        let Some(next) = self.samples.get(above) else {
            return Lag {
                ns: 0,
                is_lower_bound: false,
            };
        };
        let passed_ns = match above.checked_sub(1) {
            None => next.first_ns,
            Some(before) => {
                let before = &self.samples[before];
                let way = (next.high_watermark - before.high_watermark) as f64;
                let part = (position - before.high_watermark) as f64 / way;
                before.last_ns + (part * (next.first_ns - before.last_ns) as f64) as u64
            }
        };
        Lag {
            ns: now_ns.saturating_sub(passed_ns),
            is_lower_bound: above == 0,
        }
    }

    /// Forgets what no consumer at `lowest_position` or above needs.
    pub fn forget_below(&mut self, lowest_position: i64) {
        while self
            .samples
            .get(1)
            .is_some_and(|second| second.high_watermark <= lowest_position)
        {
            self.samples.pop_front();
        }
    }

    fn thin_out(&mut self) {
        let mut index = 0;
        // The first is where knowledge begins: it stays.
        self.samples.retain(|_| {
            index += 1;
            index % 2 == 1
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watermark(samples: &[(u64, i64)]) -> Watermark {
        let mut watermark = Watermark::default();
        for (at, high_watermark) in samples {
            watermark.note(*at, *high_watermark);
        }
        watermark
    }

    #[test]
    fn lag_is_the_time_since_the_watermark_passed_the_position() {
        let watermark = watermark(&[(1000, 0), (2000, 100), (3000, 100), (4000, 200)]);
        let lag = |position| watermark.lag(position, 5000).ns;
        assert_eq!(lag(0), 4000);
        assert_eq!(lag(50), 3500, "half of the way between two responses");
        assert_eq!(lag(100), 2000, "it stood at 100 until 3000 at least");
        assert_eq!(lag(150), 1500);
        assert_eq!(lag(200), 0, "nothing is known above");
    }

    #[test]
    fn lag_from_before_the_first_response_is_a_lower_bound() {
        let watermark = watermark(&[(1000, 500), (2000, 600)]);
        let lag = watermark.lag(400, 3000);
        assert!(lag.is_lower_bound);
        assert_eq!(lag.ns, 2000);
        assert!(!watermark.lag(500, 3000).is_lower_bound);
    }

    #[test]
    fn note_ignores_a_response_that_is_overtaken() {
        let mut overtaken = watermark(&[(1000, 10), (2000, 30), (3000, 20)]);
        assert_eq!(overtaken.highest(), 30);
        overtaken.note(4000, 40);
        assert_eq!(overtaken.lag(30, 4000).ns, 2000);
    }

    #[test]
    fn forget_below_keeps_what_the_slowest_needs() {
        let mut watermark = watermark(&[(1000, 10), (2000, 20), (3000, 30), (4000, 40)]);
        watermark.forget_below(25);
        assert_eq!(watermark.samples.len(), 3);
        assert_eq!(watermark.lag(25, 4000).ns, 1500);
        assert!(!watermark.lag(25, 4000).is_lower_bound);
    }

    #[test]
    fn note_stays_bounded_and_lag_stays_near() {
        let mut watermark = Watermark::default();
        let count = 5 * SAMPLES_MAX as u64;
        for at in 0..count {
            watermark.note(at * 1000, at as i64);
        }
        assert!(watermark.samples.len() <= SAMPLES_MAX);
        for position in [0, 1000, count - 10] {
            let exact = (count - position) * 1000;
            let found = watermark.lag(position as i64, count * 1000).ns;
            assert!(found.abs_diff(exact) <= 1000, "{found} for {exact}");
        }
    }
}

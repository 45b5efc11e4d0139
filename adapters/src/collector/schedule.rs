//! When to poll and when to connect again: pure functions of instants, so that they can be tested without waiting.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

/// Absolute deadlines at a fixed interval. Invariant: a deadline that was missed is skipped, never made up for in a burst.
#[derive(Debug, Clone, Copy)]
pub struct Timebase {
    interval: Duration,
    next: Instant,
}

impl Timebase {
    /// Deadlines at `first` and every `interval` after it.
    pub fn new(first: Instant, interval: Duration) -> Self {
        Self { interval, next: first }
    }

    /// The deadline to wait for.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Moves past `now`, unless that is still to come, and says how many deadlines were missed beyond the one that was due.
    pub fn advance(&mut self, now: Instant) -> u64 {
        let Some(late) = now.checked_duration_since(self.next) else { return 0 };
        let missed = (late.as_nanos() / self.interval.as_nanos().max(1)) as u64;
        self.next += self.interval * u32::try_from(missed + 1).unwrap_or(u32::MAX);
        missed
    }
}

/// The phase of the device at `place` among `count` with the same start: equal shares of the interval.
pub fn phase(place: usize, count: usize, interval: Duration) -> Duration {
    interval.mul_f64(place as f64 / count.max(1) as f64)
}

/// Waiting times between attempts: doubling from `first` to `last`, each shortened by up to half at random, so that
/// many collectors do not knock at once on a gateway that comes back.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    attempts: u32,
    random: SmallRng,
}

impl Backoff {
    /// Waits between `first` and `last`.
    pub fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, attempts: 0, random: SmallRng::from_os_rng() }
    }

    /// How long to wait after one more failure.
    pub fn failed(&mut self) -> Duration {
        let chance = self.random.random();
        self.failed_with(chance)
    }

    /// An attempt succeeded: begin with the shortest wait again.
    pub fn succeeded(&mut self) {
        self.attempts = 0;
    }

    /// `chance` is in 0..1.
    fn failed_with(&mut self, chance: f64) -> Duration {
        let full = self.first.saturating_mul(1 << self.attempts.min(20)).min(self.last);
        self.attempts = self.attempts.saturating_add(1);
        full.mul_f64(1.0 - chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn deadlines_are_absolute_and_missed_ones_are_skipped() {
        let start = Instant::now();
        let mut timebase = Timebase::new(start + SECOND / 4, SECOND);
        assert_eq!(timebase.next(), start + SECOND / 4);
        // A little late does not move the grid.
        assert_eq!(timebase.advance(start + SECOND / 2), 0);
        assert_eq!(timebase.next(), start + SECOND + SECOND / 4);
        // Three and a half seconds late: three deadlines passed unserved.
        assert_eq!(timebase.advance(timebase.next() + SECOND * 7 / 2), 3);
        assert_eq!(timebase.next(), start + SECOND * 5 + SECOND / 4);
        // A poll before its time, as after a reconnect, leaves the deadline where it is.
        let next = timebase.next();
        assert_eq!((timebase.advance(start), timebase.next()), (0, next));
    }

    #[test]
    fn phases_share_the_interval() {
        assert_eq!([0, 1, 2, 3].map(|place| phase(place, 4, SECOND)), [0, 250, 500, 750].map(Duration::from_millis));
        assert_eq!(phase(0, 0, SECOND), Duration::ZERO);
    }

    #[test]
    fn waits_double_up_to_the_cap_and_start_over() {
        let mut backoff = Backoff::new(SECOND / 10, SECOND * 2);
        let waits: Vec<u128> = (0..7).map(|_| backoff.failed_with(0.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        backoff.succeeded();
        assert_eq!(backoff.failed_with(0.999).as_millis(), 50);
        for _ in 0..100 {
            assert!((SECOND..=SECOND * 2).contains(&backoff.failed()) || backoff.attempts < 6);
        }
    }
}

//! How soon after a commit the next transaction may begin.
//!
//! Kafka answers a commit before it has written the transaction's marker. A transaction that begins in between is put off by the broker,
//! and librdkafka 2.12 asks again after a fixed 20 ms. Waiting the few milliseconds that the marker takes is quicker. How many they are
//! depends on the brokers and their disks, so it is learned: more after each transaction that was put off, a little less after each
//! that was not. A transaction that comes later than that anyway does not wait.

use std::time::{Duration, Instant};

/// An acknowledgement that takes this long has been put off.
const PUT_OFF: Duration = Duration::from_millis(18);

/// What a transaction that was put off adds, and the most that it can add up to: beyond, waiting costs what it saves.
const STEP: Duration = Duration::from_micros(500);
const LONGEST: Duration = Duration::from_millis(8);

/// Each transaction that was not put off takes away one part in so many.
const DECAY: u32 = 200;

#[derive(Debug, Default)]
pub(super) struct Pace {
    gap: Duration,
    committed: Option<Instant>,
    tight: bool,
}

impl Pace {
    /// How long to wait before beginning now.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let since = self.committed.map(|committed| now.duration_since(committed));
        // Only a transaction that comes close behind another can tell whether the gap is right.
        self.tight = since.is_some_and(|since| since < LONGEST);
        since.map_or(Duration::ZERO, |since| self.gap.saturating_sub(since))
    }

    /// Learns from a transaction whose acknowledgements took so long, committed now.
    pub(super) fn committed(&mut self, acknowledged_in: Duration, now: Instant) {
        if self.tight {
            self.gap = if acknowledged_in >= PUT_OFF {
                (self.gap + STEP).min(LONGEST)
            } else {
                self.gap.saturating_sub(self.gap / DECAY)
            };
        }
        self.committed = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(3);
    const SLOW: Duration = Duration::from_millis(24);

    #[test]
    fn learns_the_gap_and_forgets_it() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.wait(now), Duration::ZERO, "nothing to wait for before the first commit");
        pace.committed(SLOW, now);
        assert_eq!(pace.wait(now), Duration::ZERO, "a slow first transaction says nothing");
        for _ in 0..3 {
            pace.wait(now);
            pace.committed(SLOW, now);
        }
        assert_eq!(pace.wait(now), STEP * 3);
        now += STEP;
        assert_eq!(pace.wait(now), STEP * 2, "the time since the commit counts");
        for _ in 0..2_000 {
            pace.wait(now);
            pace.committed(QUICK, now);
        }
        assert!(pace.wait(now) < Duration::from_micros(10));
    }

    #[test]
    fn is_bounded_and_ignores_transactions_far_apart() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.wait(now);
            pace.committed(SLOW, now);
        }
        assert_eq!(pace.wait(now), LONGEST);
        for _ in 0..1_000 {
            now += LONGEST;
            assert_eq!(pace.wait(now), Duration::ZERO);
            pace.committed(QUICK, now);
        }
        assert_eq!(pace.wait(now), LONGEST);
    }
}

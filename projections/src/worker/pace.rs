//! How many records to ask for: what is there when live, as much as memory allows in catch-up.

use std::time::Duration;

/// How long a read waits for records. An idle worker notices within this that the log skipped markers.
pub(super) const READ_WAIT: Duration = Duration::from_millis(250);

const FIRST: usize = 500;

/// The size of the next read.
pub(super) struct Pace {
    records: usize,
    max_records: usize,
    max_bytes: usize,
}

impl Pace {
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self { records: FIRST.min(max_records), max_records, max_bytes }
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// Learns from a read: full ones grow the next, large records shrink it.
    pub(super) fn learn(&mut self, records: usize, bytes: usize) {
        if records == 0 {
            return;
        }
        let fitting = self.max_bytes / (bytes / records).max(1);
        let wanted = if records >= self.records { self.records * 2 } else { self.records };
        self.records = wanted.min(fitting).clamp(1, self.max_records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_when_full_and_shrinks_for_large_records() {
        let mut pace = Pace::new(5_000, 10_000_000);
        pace.learn(500, 500_000);
        assert_eq!(pace.records(), 1_000);
        pace.learn(1, 1_000);
        assert_eq!(pace.records(), 1_000);
        for _ in 0..5 {
            let full = pace.records();
            pace.learn(full, full * 1_000);
        }
        assert_eq!(pace.records(), 5_000);
        pace.learn(10, 10_000_000);
        assert_eq!(pace.records(), 10);
        pace.learn(10, 1_000_000_000);
        assert_eq!(pace.records(), 1);
    }
}

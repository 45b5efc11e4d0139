//! Counts by the minute over an hour.

use std::time::Duration;

/// What is looked back on.
pub(super) const HOUR: Duration = Duration::from_hours(1);
/// Sixty full minutes and the one that runs: a count is kept for an hour at least.
const SLOTS: u64 = 61;

/// The counts. `now` is the time since any fixed moment, and never goes back.
pub(super) struct Window {
    slots: [u32; SLOTS as usize],
    total: u32,
    minute: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { slots: [0; SLOTS as usize], total: 0, minute: 0 }
    }
}

impl Window {
    /// Lets go of what is older than an hour.
    pub(super) fn advance(&mut self, now: Duration) {
        let minute = now.as_secs() / 60;
        let passed = minute.saturating_sub(self.minute).min(SLOTS);
        for step in 1..=passed {
            self.total -= std::mem::take(&mut self.slots[((self.minute + step) % SLOTS) as usize]);
        }
        self.minute = self.minute.max(minute);
    }

    /// Counts one.
    pub(super) fn count(&mut self) {
        self.slots[(self.minute % SLOTS) as usize] += 1;
        self.total += 1;
    }

    /// All of the hour.
    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// How long until the oldest count is let go of; nothing when there is none.
    pub(super) fn reset(&self, now: Duration) -> Duration {
        let ages = (0..SLOTS.min(self.minute + 1)).rev();
        let oldest = ages.map(|age| self.minute - age).find(|minute| self.slots[(minute % SLOTS) as usize] > 0);
        oldest.map_or(Duration::ZERO, |minute| {
            let seconds = ((minute + SLOTS) * 60).saturating_sub(now.as_secs());
            Duration::from_secs(seconds)
        })
    }
}

//! The one source of chance in a simulated world: everything that is not decided is drawn here, so a seed is a history.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Draws by seed. Tasks of a world run on one thread and in one order, so they draw in one order too.
pub(crate) struct Chance(Mutex<SmallRng>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed)))
    }

    fn source(&self) -> MutexGuard<'_, SmallRng> {
        self.0.lock().expect("nothing panics under this lock")
    }

    /// True so often, of one.
    pub(crate) fn odds(&self, of_one: f64) -> bool {
        of_one > 0.0 && self.source().random_bool(of_one.min(1.0))
    }

    /// From `least` up to and with `most`.
    pub(crate) fn between(&self, least: u64, most: u64) -> u64 {
        self.source().random_range(least..=most)
    }

    pub(crate) fn below(&self, end: usize) -> usize {
        self.source().random_range(0..end)
    }

    pub(crate) fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    pub(crate) fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Anything, for the parts of ids that nobody reads.
    pub(crate) fn bits(&self) -> u128 {
        self.source().random()
    }
}

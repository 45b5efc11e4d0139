//! How long things take, compared so that a loaded machine does not matter: they take turns, and the least is compared, which is what a thing costs when
//! nothing disturbs it; not closely, and with more turns until it shows.

use std::time::{Duration, Instant};

/// Rounds of turns within which two things that cost the same have to show it.
pub const ROUNDS: usize = 12;

/// How long a future takes.
pub async fn timed<T>(future: impl Future<Output = T>) -> (Duration, T) {
    let started = Instant::now();
    let done = future.await;
    (started.elapsed(), done)
}

/// The least of some times.
///
/// # Panics
/// When there are none.
pub fn least(times: &[Duration]) -> Duration {
    *times.iter().min().expect("something was measured")
}

/// Whether neither of two costs more than twice as much as the other.
pub fn alike(one: &[Duration], other: &[Duration]) -> bool {
    let ratio = least(one).as_secs_f64() / least(other).as_secs_f64();
    (0.5..=2.0).contains(&ratio)
}

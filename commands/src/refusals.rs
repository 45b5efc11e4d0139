//! Keeps a faulty client from filling the ledger with refusals.
//!
//! Each actor has so many recorded refusals per window. Past that they are answered as before but only counted, and one
//! `lotline.refusals.suppressed.v1` per actor and window says how many. Windows go by the clock, not by the stream's time, which may be years
//! ahead for good after the clock has jumped. The counts live in memory: a crash loses those of the current window.

use std::collections::HashMap;

use lotline_domain::id::{ActorId, StreamKey};
use lotline_domain::refusal::RefusalsSuppressed;
use lotline_domain::timestamp::Timestamp;

/// Counts refusals per stream and actor.
#[derive(Debug)]
pub struct RefusalLimiter {
    limit: u64,
    window_micros: i64,
    windows: HashMap<(StreamKey, ActorId), Window>,
}

#[derive(Debug)]
struct Window {
    from: Timestamp,
    recorded: u64,
    suppressed: u64,
}

impl RefusalLimiter {
    /// Records at most `limit` refusals of an actor within `window_micros`.
    pub fn new(limit: u64, window_micros: i64) -> Self {
        Self { limit, window_micros, windows: HashMap::new() }
    }

    /// Whether a refusal is to be recorded; when not, it has been counted.
    pub fn admit(&mut self, stream: &StreamKey, actor: &ActorId, now: Timestamp) -> bool {
        let window = self.windows.entry((stream.clone(), actor.clone())).or_insert(Window {
            from: now,
            recorded: 0,
            suppressed: 0,
        });
        if window.suppressed == 0 && window.is_over(now, self.window_micros) {
            *window = Window { from: now, recorded: 0, suppressed: 0 };
        }
        if window.recorded < self.limit {
            window.recorded += 1;
            return true;
        }
        window.suppressed += 1;
        false
    }

    /// Takes the windows that have ended, with what was suppressed in them.
    pub fn ended(&mut self, now: Timestamp) -> Vec<(StreamKey, RefusalsSuppressed)> {
        let mut ended = Vec::new();
        let width = self.window_micros;
        self.windows.retain(|(stream, actor), window| {
            if !window.is_over(now, width) {
                return true;
            }
            let until = window.from.plus_micros(width);
            if window.suppressed > 0 {
                let (actor, count, from) = (actor.clone(), window.suppressed, window.from);
                ended.push((stream.clone(), RefusalsSuppressed { actor, count, from, until }));
            }
            false
        });
        // In one order everywhere: a map gives its entries in another one each time.
        ended.sort_by(|(a, one), (b, other)| (a.as_str(), &one.actor).cmp(&(b.as_str(), &other.actor)));
        ended
    }
}

impl Window {
    /// A clock that went back ends a window too: else nothing would be recorded until it has caught up.
    fn is_over(&self, now: Timestamp, width_micros: i64) -> bool {
        now < self.from || now > self.from.plus_micros(width_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_past_the_limit_and_reports_once_per_window() {
        let mut limiter = RefusalLimiter::new(2, 1_000);
        let actor = ActorId::new("robot").unwrap();
        let at = Timestamp::from_micros;
        let admitted: Vec<bool> = (0..5).map(|i| limiter.admit(&StreamKey::Tenant, &actor, at(i))).collect();
        assert_eq!(admitted, [true, true, false, false, false]);
        assert!(limiter.ended(at(1_000)).is_empty());
        let ended = limiter.ended(at(1_001));
        assert_eq!(ended.len(), 1);
        assert_eq!((ended[0].1.count, ended[0].1.from, ended[0].1.until), (3, at(0), at(1_000)));
        assert!(limiter.ended(at(9_000)).is_empty());
        assert!(limiter.admit(&StreamKey::Tenant, &actor, at(9_001)));
    }

    #[test]
    fn a_clock_that_went_back_ends_the_window() {
        let mut limiter = RefusalLimiter::new(1, 1_000);
        let actor = ActorId::new("robot").unwrap();
        let at = Timestamp::from_micros;
        assert!(limiter.admit(&StreamKey::Tenant, &actor, at(1_000_000)));
        assert!(!limiter.admit(&StreamKey::Tenant, &actor, at(1_000_001)));
        assert_eq!(limiter.ended(at(5)).len(), 1, "what was counted is reported");
        assert!(limiter.admit(&StreamKey::Tenant, &actor, at(6)));
        assert!(limiter.admit(&StreamKey::Tenant, &actor, at(3)), "nothing was counted, so a new window begins");
    }
}

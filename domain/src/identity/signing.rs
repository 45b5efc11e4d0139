//! When signing keys change: the next one is published before it signs, and an old one stays until its last token is over.
//!
//! ```text
//! key 1  |signs ────────────────────────|verifies|
//! key 2                     |published  |signs ──────────────
//!                            ←── lead ──→
//! ```
//!
//! Keys are numbered. Two servers that find the next key due both make the one with the next number, and the database keeps whichever comes first.

use std::time::Duration;

use crate::timestamp::Timestamp;

/// When a key begins to sign. It ends where the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTime {
    /// Number of the key, from 1.
    pub generation: u32,
    /// Its begin.
    pub signs_from: Timestamp,
}

/// How keys change.
#[derive(Debug, Clone, Copy)]
pub struct RotationPolicy {
    /// How long a key signs.
    pub period: Duration,
    /// How long before that it is published, so that whoever caches the set has it in time.
    pub lead: Duration,
    /// How long after that it still verifies: longer than its last token lives.
    pub keep: Duration,
}

impl Default for RotationPolicy {
    /// 30 days, a day ahead, an hour behind.
    fn default() -> Self {
        Self { period: Duration::from_hours(30 * 24), lead: Duration::from_hours(24), keep: Duration::from_hours(1) }
    }
}

/// The key that signs now. Before the first one's time, as a clock that is behind sees it, the first one.
pub fn signing(keys: &[KeyTime], now: Timestamp) -> Option<KeyTime> {
    let begun = keys.iter().filter(|key| key.signs_from <= now).max_by_key(|key| key.generation);
    begun.or_else(|| keys.iter().min_by_key(|key| key.generation)).copied()
}

/// The key that has to be made now, if one has.
pub fn due(keys: &[KeyTime], now: Timestamp, policy: &RotationPolicy) -> Option<KeyTime> {
    let Some(last) = keys.iter().max_by_key(|key| key.generation) else {
        return Some(KeyTime { generation: 1, signs_from: now });
    };
    let planned = plus(last.signs_from, policy.period);
    let published = plus(now, policy.lead);
    (published >= planned).then(|| KeyTime { generation: last.generation + 1, signs_from: planned.max(published) })
}

/// The keys whose tokens are all over.
pub fn retired(keys: &[KeyTime], now: Timestamp, policy: &RotationPolicy) -> Vec<u32> {
    let superseded = |key: &&KeyTime| {
        keys.iter().any(|later| later.generation > key.generation && plus(later.signs_from, policy.keep) <= now)
    };
    keys.iter().filter(superseded).map(|key| key.generation).collect()
}

fn plus(time: Timestamp, length: Duration) -> Timestamp {
    time.plus_micros(i64::try_from(length.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(hours: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + hours * 3_600_000)
    }

    fn key(generation: u32, hours: i64) -> KeyTime {
        KeyTime { generation, signs_from: hour(hours) }
    }

    const MONTH: i64 = 30 * 24;

    #[test]
    fn given_no_key_then_the_first_signs_at_once() {
        assert_eq!(due(&[], hour(5), &RotationPolicy::default()), Some(key(1, 5)));
        assert_eq!(signing(&[], hour(5)), None);
    }

    #[test]
    fn given_a_key_then_the_next_is_published_a_day_before_it_signs() {
        let policy = RotationPolicy::default();
        assert_eq!(due(&[key(1, 0)], hour(MONTH - 25), &policy), None);
        assert_eq!(due(&[key(1, 0)], hour(MONTH - 24), &policy), Some(key(2, MONTH)));
        let both = [key(1, 0), key(2, MONTH)];
        assert_eq!(due(&both, hour(MONTH - 1), &policy), None, "made once");
        assert_eq!(signing(&both, hour(MONTH - 1)), Some(both[0]));
        assert_eq!(signing(&both, hour(MONTH)), Some(both[1]));
    }

    #[test]
    fn given_a_long_stop_then_the_next_is_still_published_first() {
        let late = due(&[key(1, 0)], hour(5 * MONTH), &RotationPolicy::default());
        assert_eq!(late, Some(key(2, 5 * MONTH + 24)));
    }

    #[test]
    fn a_key_goes_when_its_tokens_are_over() {
        let policy = RotationPolicy::default();
        let keys = [key(1, 0), key(2, MONTH), key(3, 2 * MONTH)];
        assert_eq!(retired(&keys, hour(MONTH), &policy), Vec::<u32>::new());
        assert_eq!(retired(&keys, hour(MONTH + 1), &policy), [1]);
        assert_eq!(retired(&keys, hour(2 * MONTH + 1), &policy), [1, 2]);
    }

    #[test]
    fn a_clock_that_is_behind_signs_with_the_first_key() {
        assert_eq!(signing(&[key(1, 0)], hour(-1)), Some(key(1, 0)));
    }
}

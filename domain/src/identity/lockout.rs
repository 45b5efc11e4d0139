//! What wrong passwords cost: a lock of the login name that doubles, and a limit per address.
//!
//! Names that nobody has are counted like the others, so that a lock does not tell which names exist. The lock is short at first and an hour at
//! most: who wants to lock a person out for ever can't, and the person can get in by a reset link.

use std::net::IpAddr;
use std::time::Duration;

use crate::timestamp::Timestamp;

/// Wrong passwords in a row that cost nothing.
pub const FREE_FAILURES: u32 = 4;

/// The longest lock.
pub const LONGEST_LOCK: Duration = Duration::from_hours(1);

/// Failures are forgotten after a day without one.
pub const FORGOTTEN_AFTER: Duration = Duration::from_hours(24);

/// How a login name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strikes {
    /// Wrong passwords in a row.
    pub failures: u32,
    /// When the last one was.
    pub last_failed_at: Timestamp,
    /// Until when no password is looked at.
    pub locked_until: Timestamp,
}

/// No password is looked at before then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locked {
    /// When the next try is.
    pub until: Timestamp,
}

/// How long the name is locked after so many failures in a row: nothing, then 1 s, 2 s, 4 s, … up to [`LONGEST_LOCK`].
pub fn lock_after(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES + 1) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs(1_u64 << doublings.min(20)).min(LONGEST_LOCK),
    }
}

/// A try is counted as a failure before the password is looked at, and forgiven when it was right. Otherwise a
/// thousand tries at the same moment would all count as the first.
///
/// # Errors
/// [`Locked`], when no password is to be looked at now; such a try does not count.
pub fn charge(before: Option<Strikes>, now: Timestamp) -> Result<Strikes, Locked> {
    let failures = match before {
        Some(strikes) if strikes.locked_until > now => return Err(Locked { until: strikes.locked_until }),
        Some(strikes) if plus(strikes.last_failed_at, FORGOTTEN_AFTER) > now => strikes.failures.saturating_add(1),
        _ => 1,
    };
    Ok(Strikes { failures, last_failed_at: now, locked_until: plus(now, lock_after(failures)) })
}

/// The limit on failures from one address, whatever names they try.
#[derive(Debug, Clone, Copy)]
pub struct AddressLimit {
    /// Failures that are let through.
    pub failures: u32,
    /// In which time.
    pub window: Duration,
}

impl Default for AddressLimit {
    /// 30 in 5 minutes: an office behind one address mistypes less than that.
    fn default() -> Self {
        Self { failures: 30, window: Duration::from_mins(5) }
    }
}

/// Whom an address stands for: itself, or the /64 network of IPv6, of which one customer has all.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn plus(time: Timestamp, length: Duration) -> Timestamp {
    time.plus_micros(i64::try_from(length.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
    }

    #[test]
    fn locks_double_up_to_an_hour() {
        let seconds: Vec<_> = (0..20).map(|failures| lock_after(failures).as_secs()).collect();
        assert_eq!(seconds[..8], [0, 0, 0, 0, 0, 1, 2, 4]);
        assert_eq!(seconds[16..], [2_048, 3_600, 3_600, 3_600]);
        assert_eq!(lock_after(u32::MAX), LONGEST_LOCK);
    }

    #[test]
    fn given_four_failures_when_the_fifth_comes_then_the_sixth_waits() {
        let mut strikes = None;
        for _ in 0..5 {
            strikes = Some(charge(strikes, second(0)).unwrap());
        }
        assert_eq!(charge(strikes, second(0)), Err(Locked { until: second(1) }));
        let sixth = charge(strikes, second(1)).unwrap();
        assert_eq!((sixth.failures, sixth.locked_until), (6, second(3)));
    }

    #[test]
    fn given_a_day_of_quiet_when_one_fails_then_it_is_the_first() {
        let old = Strikes { failures: 9, last_failed_at: second(0), locked_until: second(16) };
        assert_eq!(charge(Some(old), second(86_399)).unwrap().failures, 10);
        assert_eq!(charge(Some(old), second(86_400)).unwrap().failures, 1);
    }

    #[test]
    fn neighbours_share_a_limit() {
        let of = |text: &str| neighbourhood(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}

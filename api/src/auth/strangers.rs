//! How often one address may come with what nobody has: each API key, link or refresh token that is not known is a query.
//!
//! A look-up is charged before it is made, and given back when it was good. Otherwise a thousand at the same moment would all count as the
//! first, and whoever hangs up before the answer would not count at all. Failures are forgotten five minutes after the first of them.
//!
//! Whoever is known is not held up by a stranger behind the same address. What was good here before, and each key, link and refresh token that was handed
//! out here, is remembered by SHA-256 and looked up whatever the address has done; a browser that refreshes by its cookie is charged by the session in
//! its signed CSRF text, not by its address. What is left: a good key, link or refresh token that comes to this node for the first time, such as
//! after a start, from an address at its limit, is told when to come again.
//!
//! Counts are of this node alone and in memory. Time is monotonic, since a clock that jumps must lock nobody out.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use lotline_domain::id::SessionId;
use lotline_domain::identity::lockout::neighbourhood;
use lotline_domain::identity::secret::SecretDigest;
use lotline_domain::trail::AttemptKind;
use tokio::time::Instant;

use crate::trail::attempts::Attempt;
use crate::transport::problem::Problem;

/// In which time the failures count.
const WINDOW: Duration = Duration::from_mins(5);
/// What to wait for when it is only look-ups under way that fill the limit.
const MOMENT: Duration = Duration::from_secs(1);
/// Most addresses and sessions with a count of their own, some 100 bytes each. Beyond it the newcomers share one.
const MAX_COUNTS: usize = 20_000;
/// Secrets that are remembered to have been good, in halves of 32 bytes each.
const MAX_KNOWN: usize = 20_000;

/// To whose account a look-up goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Account {
    /// An address, or its /64 of IPv6.
    Network(IpAddr),
    /// A session that has been here.
    Session(SessionId),
    /// All who found no room.
    Others,
}

impl Account {
    /// Of a request. Those whose address can't be told share one.
    pub(super) fn of(address: Option<IpAddr>) -> Self {
        Self::Network(neighbourhood(address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))))
    }
}

/// What has failed lately.
pub struct Strangers {
    /// Failures that are let through. 0: any number.
    limit: u32,
    begun: Instant,
    counts: Mutex<Counts>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Counts {
    windows: HashMap<Account, Window>,
    /// The minute in which those that are over were looked for.
    swept: u64,
}

#[derive(Default)]
struct Window {
    ends: Duration,
    failures: u32,
    /// Look-ups under way.
    pending: u32,
}

/// All of the last [`MAX_KNOWN`] digests that were put in, and at most twice as many.
#[derive(Default)]
struct Known {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

/// A look-up that may be made. Dropped without a verdict, because whoever asked hung up, it is charged.
#[must_use]
pub(super) struct LookUp<'a> {
    strangers: &'a Strangers,
    /// Nothing for who is known.
    account: Option<Account>,
    digest: SecretDigest,
    failed: bool,
}

impl Strangers {
    /// Nothing counted yet. `limit` failures are let through; 0: any number.
    pub fn new(limit: u32) -> Self {
        Self { limit, begun: Instant::now(), counts: Mutex::default(), known: Mutex::default() }
    }

    /// Charges the look-up of a secret.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub(super) fn charge(&self, account: Account, secret: &str) -> Result<LookUp<'_>, Problem> {
        let digest = SecretDigest::of(secret.as_bytes());
        let free = self.limit == 0 || self.known().has(digest.as_bytes());
        let account = if free { None } else { Some(self.take(account, self.begun.elapsed(), MAX_COUNTS)) };
        let account = account.transpose().map_err(too_many)?;
        Ok(LookUp { strangers: self, account, digest, failed: true })
    }

    /// Remembers a secret that was handed out.
    pub(crate) fn remember(&self, secret: &str) {
        self.known().put(*SecretDigest::of(secret.as_bytes()).as_bytes());
    }

    fn take(&self, account: Account, now: Duration, most: usize) -> Result<Account, Duration> {
        let mut counts = self.counts();
        let Counts { windows, swept } = &mut *counts;
        let minute = now.as_secs() / 60;
        if windows.len() >= most && *swept != minute {
            *swept = minute;
            windows.retain(|_, window| window.ends > now || window.pending > 0);
        }
        let room = windows.len() < most || windows.contains_key(&account);
        let account = if room { account } else { Account::Others };
        let window = windows.entry(account).or_default();
        if window.ends <= now {
            (window.failures, window.ends) = (0, now + WINDOW);
        }
        if window.failures >= self.limit {
            return Err(window.ends.saturating_sub(now));
        }
        if window.failures + window.pending >= self.limit {
            return Err(MOMENT);
        }
        window.pending += 1;
        Ok(account)
    }

    fn settle(&self, account: Account, failed: bool) {
        let mut counts = self.counts();
        let Some(window) = counts.windows.get_mut(&account) else { return };
        window.pending = window.pending.saturating_sub(1);
        window.failures = window.failures.saturating_add(u32::from(failed));
        if window.pending == 0 && window.failures == 0 {
            counts.windows.remove(&account);
        }
    }

    // Both are changed whole, so they are good even after a panic elsewhere.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LookUp<'_> {
    /// Somebody has it.
    pub(super) fn good(mut self) {
        self.failed = false;
        self.strangers.known().put(*self.digest.as_bytes());
    }

    /// Nobody has it, or has it any more.
    pub(super) fn bad(self) {
        self.strangers.known().forget(self.digest.as_bytes());
    }

    /// It says nothing about who asked: there was no answer, or nothing was asked.
    pub(super) fn void(mut self) {
        self.failed = false;
    }
}

impl Drop for LookUp<'_> {
    fn drop(&mut self) {
        if let Some(account) = self.account {
            self.strangers.settle(account, self.failed);
        }
    }
}

impl Known {
    fn has(&self, digest: &[u8; 32]) -> bool {
        self.young.contains(digest) || self.old.contains(digest)
    }

    fn put(&mut self, digest: [u8; 32]) {
        if self.young.len() >= MAX_KNOWN && !self.young.contains(&digest) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest);
    }

    fn forget(&mut self, digest: &[u8; 32]) {
        self.young.remove(digest);
        self.old.remove(digest);
    }
}

fn too_many(wait: Duration) -> Problem {
    metrics::counter!("lotline_requests_limited_total", "limit" => "unknown_credentials").increment(1);
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let message = format!(
        "too many API keys, links or refresh tokens that nobody has have come from here; try again in {seconds} s"
    );
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_UNKNOWN_CREDENTIALS", message);
    let problem = problem.of(Attempt::unknown(AttemptKind::Throttled));
    Problem { header: Some((header::RETRY_AFTER, HeaderValue::from(seconds))), ..problem }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn network(text: &str) -> Account {
        Account::of(Some(text.parse().unwrap()))
    }

    fn fails(strangers: &Strangers, account: Account, seconds: u64) -> Result<(), u64> {
        let taken = strangers.take(account, Duration::from_secs(seconds), 3).map_err(|wait| wait.as_secs());
        taken.map(|account| strangers.settle(account, true))
    }

    #[test]
    fn an_address_waits_after_its_failures_until_they_are_forgotten() {
        let strangers = Strangers::new(2);
        let (one, other) = (network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!([fails(&strangers, one, 0), fails(&strangers, one, 100)], [Ok(()), Ok(())]);
        assert_eq!(fails(&strangers, one, 100), Err(200));
        assert_eq!(fails(&strangers, other, 100), Ok(()));
        assert_eq!(fails(&strangers, one, 299), Err(1));
        assert_eq!([fails(&strangers, one, 300), fails(&strangers, one, 300)], [Ok(()), Ok(())]);
        assert_eq!(fails(&strangers, one, 300), Err(300));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let strangers = Strangers::new(1);
        fails(&strangers, network("2001:db8:1:2::1"), 0).unwrap();
        assert!(fails(&strangers, network("2001:db8:1:2:ffff::9"), 0).is_err());
        assert!(fails(&strangers, network("2001:db8:1:3::1"), 0).is_ok());
        fails(&strangers, network("192.0.2.1"), 0).unwrap();
        assert!(fails(&strangers, network("::ffff:192.0.2.1"), 0).is_err());
    }

    #[test]
    fn what_is_under_way_counts_and_what_was_good_does_not() {
        let strangers = Strangers::new(2);
        let account = network("192.0.2.1");
        let (first, second) = (strangers.charge(account, "a").unwrap(), strangers.charge(account, "b").unwrap());
        let third = strangers.charge(account, "c").map(|_| ()).unwrap_err();
        assert_eq!((third.status.as_u16(), third.code), (429, "TOO_MANY_UNKNOWN_CREDENTIALS"));
        assert_eq!(third.header, Some((header::RETRY_AFTER, HeaderValue::from(1))), "in a moment");
        first.good();
        second.void();
        assert!(strangers.counts().windows.is_empty(), "nothing is left of them");
        // Whoever hangs up before the answer is charged all the same.
        drop(strangers.charge(account, "d").unwrap());
        drop(strangers.charge(account, "e").unwrap());
        let refused = strangers.charge(account, "f").map(|_| ()).unwrap_err();
        assert!(refused.header.is_some_and(|(_, wait)| wait.to_str().unwrap().parse::<u64>().unwrap() > 200));
    }

    #[test]
    fn whoever_is_known_is_not_held_up_until_they_fail() {
        let strangers = Strangers::new(1);
        let account = network("192.0.2.1");
        strangers.charge(account, "key").unwrap().good();
        strangers.remember("next");
        drop(strangers.charge(account, "guess").unwrap());
        assert!(strangers.charge(account, "other").is_err());
        for _ in 0..3 {
            strangers.charge(account, "key").unwrap().good();
        }
        strangers.charge(account, "next").unwrap().good();
        // It was revoked: the first time that is a look-up, from then on it is a stranger's.
        strangers.charge(account, "key").unwrap().bad();
        assert!(strangers.charge(account, "key").is_err());
        // Whoever hangs up has said nothing about what was known before.
        drop(strangers.charge(account, "next").unwrap());
        strangers.charge(account, "next").unwrap().good();
        let session = Account::Session(SessionId(Uuid::from_u128(1)));
        assert!(strangers.charge(session, "other").is_ok(), "a session has an account of its own");
        let off = Strangers::new(0);
        assert!((0..9).all(|_| off.charge(account, "guess").is_ok()));
    }

    #[test]
    fn memory_is_bounded_and_nobody_is_pushed_out() {
        let strangers = Strangers::new(1);
        for last in 1..=3 {
            fails(&strangers, network(&format!("192.0.2.{last}")), 0).unwrap();
        }
        assert!(fails(&strangers, network("192.0.2.4"), 60).is_ok(), "the first of those who share one");
        assert!(fails(&strangers, network("192.0.2.5"), 60).is_err(), "and the second");
        assert!(fails(&strangers, network("192.0.2.1"), 60).is_err(), "and the others are still counted");
        assert_eq!(strangers.counts().windows.len(), 4);
        assert!(fails(&strangers, network("192.0.2.5"), 400).is_ok(), "what is over makes room");
        assert_eq!(strangers.counts().windows.len(), 1);
        let mut known = Known::default();
        for number in 0..=2 * MAX_KNOWN {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            known.put(digest);
        }
        assert!(known.young.len() + known.old.len() <= 2 * MAX_KNOWN);
    }
}

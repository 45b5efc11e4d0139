//! Sessions as families of refresh tokens: each token is good once, and gives the next one. RFC 9700 section 4.14.2.
//!
//! A token that was used already and comes again has been copied: by whom can't be told, so the whole family ends and the person signs in
//! again. Except for a moment after its use, when a browser with two tabs sends it twice: then it is refused and the family
//! goes on. Refused, never answered: the one that came second gets no token, so a thief gains nothing by that moment, and whoever of thief and
//! owner lost is found out when they try again.

use std::time::Duration;

use thiserror::Error;

use crate::timestamp::Timestamp;

/// How long sessions last.
#[derive(Debug, Clone, Copy)]
pub struct SessionPolicy {
    /// A refresh token from its issue.
    pub refresh_lifetime: Duration,
    /// A session from signing in, however often it is refreshed.
    pub session_lifetime: Duration,
    /// After the use of a token, the time in which its second use does not end the family.
    pub grace: Duration,
}

impl Default for SessionPolicy {
    /// 7 days, 30 days (NIST SP 800-63B-4 section 2.1.3), 10 s.
    fn default() -> Self {
        Self {
            refresh_lifetime: Duration::from_hours(7 * 24),
            session_lifetime: Duration::from_hours(30 * 24),
            grace: Duration::from_secs(10),
        }
    }
}

/// How a family stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Number of the token that is good now; they count from 1.
    pub generation: u32,
    /// When that token was made.
    pub refreshed_at: Timestamp,
    /// Until when it is good.
    pub token_expires_at: Timestamp,
    /// Until when the session lasts at most.
    pub expires_at: Timestamp,
    /// Whether somebody has ended it.
    pub ended: bool,
}

/// Why a session was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The person signed out here.
    SignedOut,
    /// The person, or an administrator, signed out everywhere.
    SignedOutEverywhere,
    /// A refresh token came a second time.
    Reused,
    /// The password was set by a link, or changed.
    PasswordChanged,
    /// The person may not come in any more.
    Deactivated,
}

impl EndReason {
    /// The word by which it is kept.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::SignedOutEverywhere => "signed_out_everywhere",
            Self::Reused => "reused",
            Self::PasswordChanged => "password_changed",
            Self::Deactivated => "deactivated",
        }
    }
}

/// Why a refresh token gives no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RefreshRefusal {
    /// There is no such token.
    #[error("this is no refresh token")]
    Unknown,
    /// Too old, or the session is.
    #[error("the session has expired")]
    Expired,
    /// The session was ended.
    #[error("the session has ended")]
    Ended,
    /// Used a moment ago: its successor is on its way to whoever was first.
    #[error("the refresh token was used a moment ago; go on with the one that replaced it")]
    Superseded,
    /// Used before: the family has ended.
    #[error("the refresh token was used before; the session has ended")]
    Reused,
}

/// What is to happen with a token that was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshDecision {
    /// It is replaced: the family as it stands then.
    Rotate(Family),
    /// Nothing changes.
    Refuse(RefreshRefusal),
    /// The family ends.
    EndFamily,
}

impl Family {
    /// The family of somebody who has just signed in.
    pub fn begin(now: Timestamp, policy: &SessionPolicy) -> Self {
        let expires_at = plus(now, policy.session_lifetime);
        let token_expires_at = plus(now, policy.refresh_lifetime).min(expires_at);
        Self { generation: 1, refreshed_at: now, token_expires_at, expires_at, ended: false }
    }

    /// Decides about the family's token with the number `presented`.
    pub fn refresh(self, presented: u32, now: Timestamp, policy: &SessionPolicy) -> RefreshDecision {
        if self.ended {
            return RefreshDecision::Refuse(RefreshRefusal::Ended);
        }
        if presented != self.generation {
            let just_now =
                presented.checked_add(1) == Some(self.generation) && now < plus(self.refreshed_at, policy.grace);
            return if just_now {
                RefreshDecision::Refuse(RefreshRefusal::Superseded)
            } else {
                RefreshDecision::EndFamily
            };
        }
        if now >= self.token_expires_at || now >= self.expires_at {
            return RefreshDecision::Refuse(RefreshRefusal::Expired);
        }
        RefreshDecision::Rotate(Self {
            generation: self.generation + 1,
            refreshed_at: now,
            token_expires_at: plus(now, policy.refresh_lifetime).min(self.expires_at),
            ..self
        })
    }
}

fn plus(time: Timestamp, length: Duration) -> Timestamp {
    time.plus_micros(i64::try_from(length.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn second(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
    }

    /// A family begun at second 0 whose tokens were used at these seconds.
    fn given(uses: &[i64]) -> Family {
        let policy = SessionPolicy::default();
        uses.iter().fold(Family::begin(second(0), &policy), |family, at| {
            match family.refresh(family.generation, second(*at), &policy) {
                RefreshDecision::Rotate(next) => next,
                other => panic!("{other:?} at {at}"),
            }
        })
    }

    fn when(family: Family, presented: u32, at: i64) -> RefreshDecision {
        family.refresh(presented, second(at), &SessionPolicy::default())
    }

    #[test]
    fn each_use_gives_the_next_token() {
        let family = given(&[100, 200]);
        assert_eq!((family.generation, family.refreshed_at), (3, second(200)));
        assert_eq!(family.token_expires_at, second(200 + 7 * DAY));
        assert_eq!(family.expires_at, second(30 * DAY));
    }

    #[test]
    fn a_used_token_ends_the_family() {
        assert_eq!(when(given(&[100]), 1, 110), RefreshDecision::EndFamily);
        assert_eq!(when(given(&[100, 200]), 1, 201), RefreshDecision::EndFamily, "grace is for the last one only");
        assert_eq!(when(given(&[100, 200]), 1, 40 * DAY), RefreshDecision::EndFamily, "also when all has expired");
        assert_eq!(when(given(&[]), 7, 1), RefreshDecision::EndFamily, "a number that was never given out");
    }

    #[test]
    fn two_at_once_leave_one_with_a_token_and_the_family_alive() {
        assert_eq!(when(given(&[100]), 1, 109), RefreshDecision::Refuse(RefreshRefusal::Superseded));
    }

    #[test]
    fn tokens_and_sessions_expire() {
        let expired = RefreshDecision::Refuse(RefreshRefusal::Expired);
        assert_eq!(when(given(&[]), 1, 7 * DAY), expired);
        assert!(matches!(when(given(&[]), 1, 7 * DAY - 1), RefreshDecision::Rotate(_)));
        let busy = given(&[5 * DAY, 10 * DAY, 15 * DAY, 20 * DAY, 25 * DAY]);
        assert_eq!(busy.token_expires_at, second(30 * DAY), "a token does not outlive its session");
        assert_eq!(when(busy, 6, 30 * DAY), expired);
    }

    #[test]
    fn an_ended_family_gives_nothing() {
        let ended = Family { ended: true, ..given(&[100]) };
        for presented in [1, 2, 3] {
            assert_eq!(when(ended, presented, 101), RefreshDecision::Refuse(RefreshRefusal::Ended));
        }
    }
}

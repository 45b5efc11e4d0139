//! How many requests an hour: of the workspace, and of each user and API key in it.
//!
//! A window that slides by the minute, sixty full minutes and the one that runs, so that no hour whatever holds more than was allowed. A token
//! bucket that holds an hour's worth would let twice as much through in its first hour, and both limits have to be asked before either is
//! taken, which is why this is not the crate `governor`.
//!
//! ```text
//! RateLimit-Policy: "actor";q=5000;w=3600, "workspace";q=5000;w=3600      what is allowed
//! RateLimit: "actor";r=4999;t=3600, "workspace";r=4711;t=120              what is left, and seconds until some of it comes back
//! ```
//! The fields of draft-ietf-httpapi-ratelimit-headers-09, the form that can speak of two limits at once.
//!
//! Counts are of this node alone and in memory: behind `n` nodes a client may have `n` times as much, and a start forgets them. A refused
//! request is not counted. Time is monotonic, since a clock that jumps must lock nobody out.

mod window;

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use lotline_domain::id::ActorId;
use tokio::time::Instant;

use crate::config::Limits;
use crate::transport::problem::Problem;
use window::{HOUR, Window};

/// Most users and keys with a window of their own, some 300 bytes each. Beyond it, and with none that has been idle for an hour, the
/// newcomers share one.
const MAX_ACTORS: usize = 20_000;

/// What is allowed.
pub(crate) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left.
pub(crate) const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// One limit, as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    name: &'static str,
    limit: u32,
    left: u32,
    /// Until some of it comes back.
    reset: Duration,
}

/// Both limits; one that is off is absent.
pub type Standing = [Option<Quota>; 2];

/// A limit has been reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    name: &'static str,
    limit: u32,
    /// Until a request is taken again.
    pub retry_after: Duration,
}

/// Where the router reads how a request's limits stand, once somebody has counted it.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<OnceLock<Standing>>);

/// What has been asked in the last hour.
pub struct Rates {
    workspace_limit: u32,
    actor_limit: u32,
    begun: Instant,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    workspace: Window,
    actors: HashMap<ActorId, Window>,
    /// Of those who found no room.
    others: Window,
    /// The minute in which idle windows were looked for.
    swept: u64,
}

impl Rates {
    /// Nothing counted yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            workspace_limit: limits.requests_per_hour,
            actor_limit: limits.requests_per_hour_by_actor,
            begun: Instant::now(),
            counted: Mutex::default(),
        }
    }

    /// Counts a request, of the actor and of the workspace, or of neither.
    ///
    /// # Errors
    /// Which limit has been reached, and until when.
    pub fn take(&self, actor: &ActorId, meter: &Meter) -> Result<(), Exceeded> {
        if self.workspace_limit == 0 && self.actor_limit == 0 {
            return Ok(());
        }
        let (standing, taken) = self.take_at(actor, self.begun.elapsed(), MAX_ACTORS);
        // A request is counted once; whoever counted it first is right.
        let _first = meter.0.set(standing);
        if let Err(exceeded) = &taken {
            metrics::counter!("lotline_requests_limited_total", "limit" => exceeded.name).increment(1);
        }
        taken
    }

    fn take_at(&self, actor: &ActorId, now: Duration, max_actors: usize) -> (Standing, Result<(), Exceeded>) {
        // Windows are changed whole, so they are good even after a panic elsewhere.
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let Counted { workspace, actors, others, swept } = &mut *counted;
        workspace.advance(now);
        let minute = now.as_secs() / 60;
        if self.actor_limit > 0 && actors.len() >= max_actors && *swept != minute && !actors.contains_key(actor) {
            *swept = minute;
            actors.retain(|_, window| {
                window.advance(now);
                window.total() > 0
            });
        }
        let room = self.actor_limit > 0 && (actors.contains_key(actor) || actors.len() < max_actors);
        let own = if room { actors.entry(actor.clone()).or_default() } else { others };
        own.advance(now);
        let limits = [("actor", self.actor_limit, &*own), ("workspace", self.workspace_limit, &*workspace)];
        for (name, limit, window) in limits {
            if limit > 0 && window.total() >= limit {
                let retry_after = window.reset(now);
                return (self.standing(own, workspace, now), Err(Exceeded { name, limit, retry_after }));
            }
        }
        own.count();
        workspace.count();
        (self.standing(own, workspace, now), Ok(()))
    }

    fn standing(&self, own: &Window, workspace: &Window, now: Duration) -> Standing {
        [("actor", self.actor_limit, own), ("workspace", self.workspace_limit, workspace)].map(
            |(name, limit, window)| {
                let left = limit.saturating_sub(window.total());
                (limit > 0).then(|| Quota { name, limit, left, reset: window.reset(now) })
            },
        )
    }
}

impl Meter {
    /// Says in an answer how the limits stand, if the request was counted.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Some(standing) = self.0.get() else { return };
        let (mut policy, mut left) = (String::new(), String::new());
        for quota in standing.iter().flatten() {
            let comma = if policy.is_empty() { "" } else { ", " };
            let Quota { name, limit, left: rest, reset } = quota;
            let seconds = reset.as_secs();
            write!(policy, "{comma}\"{name}\";q={limit};w={}", HOUR.as_secs()).expect("invariant: a String takes text");
            write!(left, "{comma}\"{name}\";r={rest};t={seconds}").expect("invariant: a String takes text");
        }
        for (name, text) in [(POLICY, policy), (LEFT, left)] {
            headers.insert(name, HeaderValue::try_from(text).expect("invariant: names and digits are visible ASCII"));
        }
    }
}

impl Exceeded {
    /// The sentence.
    pub(crate) fn message(&self) -> String {
        let Self { name, limit, retry_after } = self;
        let whose = if *name == "actor" { "this user or key" } else { "the workspace" };
        format!(
            "{whose} has made {limit} requests within an hour, which is the limit; try again in {} s",
            retry_after.as_secs()
        )
    }
}

impl From<Exceeded> for Problem {
    fn from(exceeded: Exceeded) -> Self {
        let wait = HeaderValue::from(exceeded.retry_after.as_secs());
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", exceeded.message());
        Problem { header: Some((header::RETRY_AFTER, wait)), ..problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(workspace: u32, actor: u32) -> Rates {
        Rates::new(&Limits { requests_per_hour: workspace, requests_per_hour_by_actor: actor, ..Limits::default() })
    }

    fn actor(name: &str) -> ActorId {
        ActorId::new(name).unwrap()
    }

    fn fine(rates: &Rates, name: &str, seconds: u64) -> bool {
        rates.take_at(&actor(name), Duration::from_secs(seconds), 3).1.is_ok()
    }

    #[test]
    fn each_actor_has_its_own_and_all_have_the_workspaces() {
        let rates = rates(5, 3);
        assert!((0..3).all(|_| fine(&rates, "ann", 0)));
        let (standing, taken) = rates.take_at(&actor("ann"), Duration::from_secs(30), 3);
        let exceeded = taken.unwrap_err();
        assert_eq!((exceeded.name, exceeded.retry_after.as_secs()), ("actor", 61 * 60 - 30));
        assert_eq!(standing.map(|quota| quota.unwrap().left), [0, 2], "what is refused is not counted");
        assert!(fine(&rates, "bob", 40) && fine(&rates, "bob", 40));
        let (_, taken) = rates.take_at(&actor("bob"), Duration::from_secs(50), 3);
        assert_eq!(taken.unwrap_err().name, "workspace");
        assert!(fine(&rates, "bob", 61 * 60), "after the hour there is room again");
    }

    #[test]
    fn no_hour_holds_more_than_the_limit() {
        let rates = rates(0, 10);
        let mut taken: Vec<u64> = Vec::new();
        for second in (0..20_000).step_by(7) {
            if fine(&rates, "ann", second) {
                taken.push(second);
            }
        }
        assert!(taken.len() > 40, "{}", taken.len());
        for first in &taken {
            let within = taken.iter().filter(|at| (*first..first + 3_600).contains(*at)).count();
            assert!(within <= 10, "{within} from {first} s on");
        }
    }

    #[test]
    fn whoever_finds_no_room_shares_a_window_and_cannot_push_others_out() {
        let rates = rates(0, 2);
        for name in ["a", "b", "c"] {
            assert!(fine(&rates, name, 0) && fine(&rates, name, 0) && !fine(&rates, name, 0), "{name}");
        }
        assert!(fine(&rates, "d", 60) && fine(&rates, "e", 60) && !fine(&rates, "f", 60), "they share one");
        assert!(!fine(&rates, "a", 60), "and a is still counted");
        assert_eq!(rates.counted.lock().unwrap().actors.len(), 3);
        assert!(fine(&rates, "f", 4_000), "idle windows make room");
        assert_eq!(rates.counted.lock().unwrap().actors.len(), 1);
    }

    #[test]
    fn limits_that_are_off_are_not_spoken_of() {
        let (rates, meter) = (rates(0, 0), Meter::default());
        rates.take(&actor("ann"), &meter).unwrap();
        let mut headers = HeaderMap::new();
        meter.write(&mut headers);
        assert!(headers.is_empty());
        let rates = self::rates(0, 7);
        rates.take(&actor("ann"), &meter).unwrap();
        meter.write(&mut headers);
        assert_eq!(headers[POLICY], "\"actor\";q=7;w=3600");
        assert!(headers[LEFT].to_str().unwrap().starts_with("\"actor\";r=6;t=36"), "{headers:?}");
    }
}

//! What this node knows by itself, so that a request needs no query: the signing keys, and which sessions have ended.
//!
//! It looks every second. Of the sessions it reads all that ended within the life of an access token, each time: there are few, and so nothing
//! depends on the order in which transactions commit. When it has seen nothing for [`STALE_AFTER`], tokens do not count any more: better nobody
//! gets in than somebody whose session was ended.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lotline_domain::id::SessionId;
use lotline_domain::identity::port::StoreError;
use lotline_domain::identity::token::TokenPolicy;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::signing_key::{KeySet, SigningKeys};
use super::store::{Store, broken, earlier};

/// How often it looks.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// After how long without a look tokens do not count any more, unless configured otherwise.
pub const STALE_AFTER: Duration = Duration::from_secs(5);

/// How far apart the clocks of two nodes may be before the end of a session is overlooked: generous, for it costs only memory.
const CLOCKS_APART: Duration = Duration::from_mins(5);

/// What is known.
pub(super) struct Watch {
    store: Store,
    keys: SigningKeys,
    /// Access tokens are over this long after the end of their session at the latest.
    remembered: Duration,
    known: RwLock<Known>,
    stale_after: Duration,
    looking: Mutex<()>,
}

#[derive(Clone)]
struct Known {
    keys: Arc<KeySet>,
    ended: Arc<HashSet<SessionId>>,
    /// When the look began that found this.
    seen_at: Instant,
}

impl Watch {
    /// Looks for the first time.
    pub(super) async fn open(
        store: Store,
        keys: SigningKeys,
        policy: &TokenPolicy,
        stale_after: Duration,
    ) -> Result<Self, StoreError> {
        let remembered = policy.lifetime + policy.leeway + CLOCKS_APART;
        let known = Known { keys: Arc::default(), ended: Arc::default(), seen_at: Instant::now() };
        let watch = Self { store, keys, remembered, known: RwLock::new(known), stale_after, looking: Mutex::new(()) };
        watch.look().await?;
        Ok(watch)
    }

    /// Looks again and again.
    pub(super) async fn run(&self, cancel: &CancellationToken) {
        let mut answers = true;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
            let looked = tokio::select! {
                () = cancel.cancelled() => return,
                looked = timeout(self.stale_after, self.look()) => looked,
            };
            let fault = match looked {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(chain(&error)),
                Err(_) => Some("PostgreSQL does not answer".to_owned()),
            };
            if let (Some(error), true) = (&fault, answers) {
                tracing::warn!(error, "ended sessions and signing keys can't be read; soon no token will count");
            }
            answers = fault.is_none();
        }
    }

    /// Looks at once, so that what was just ended is ended here. If it can't, the next look will.
    pub(super) async fn look_now(&self) {
        if let Err(error) = self.look().await {
            tracing::debug!(error = chain(&error), "the next look will tell");
        }
    }

    /// One look. Those that come at the same time wait for each other, so that an older one never replaces a newer one.
    pub(super) async fn look(&self) -> Result<(), StoreError> {
        let _turn = self.looking.lock().await;
        let seen_at = Instant::now();
        let ended = self.ended().await?;
        let before = self.keys();
        let keys = self.keys.look(&before).await?.map_or(before, Arc::new);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known { keys, ended: Arc::new(ended), seen_at };
        Ok(())
    }

    /// Changes every signing key.
    pub(super) async fn replace_keys(&self) -> Result<(), StoreError> {
        self.keys.replace_all().await?;
        self.look().await
    }

    async fn ended(&self) -> Result<HashSet<SessionId>, StoreError> {
        let since = earlier(self.store.now(), self.remembered);
        let ended = sqlx::query_scalar!(
            "SELECT session FROM access.session WHERE tenant = $1 AND ended_at > $2",
            self.store.tenant(),
            since.to_utc(),
        )
        .fetch_all(&self.store.pool)
        .await
        .map_err(broken("read which sessions have ended"))?;
        Ok(ended.into_iter().map(SessionId).collect())
    }

    pub(super) fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.read().keys)
    }

    /// The keys, unless what is known here is too old, and whether a session has ended.
    pub(super) fn current(&self) -> Option<(Arc<KeySet>, Arc<HashSet<SessionId>>)> {
        let known = self.read();
        let fresh = known.seen_at.elapsed() <= self.stale_after;
        fresh.then(|| (Arc::clone(&known.keys), Arc::clone(&known.ended)))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        // What is known is replaced as a whole, so it is good even after a panic elsewhere.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn chain(error: &StoreError) -> String {
    format!("{error}: {}", error.source)
}

//! Who may do what, for those who ask before there is a command: the API at its door.
//!
//! The answer comes from the same fold on which the writers of this process decide. It is there once the tenant's stream has been read, and
//! gone when what is in it can't be trusted: then nobody can be let in. While the log can't be reached it stays as it was, so that queries go on;
//! nothing can be decided here meanwhile. But once somebody knows for certain that others have read on, it is not given any more: they may
//! have taken a role away.

use std::sync::Arc;
use std::time::Duration;

use lotline_domain::access::state::SharedAccess;
use lotline_domain::id::TenantId;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bus::Ports;
use crate::follower::TenantFollower;
use crate::tenant::TenantView;

/// Pause after the tenant's stream could not be followed.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What this process knows of the tenant's access. Cheap to clone; an answer needs no query.
#[derive(Debug, Clone)]
pub struct AccessView {
    tenant: TenantId,
    view: Arc<TenantView>,
}

impl AccessView {
    pub(crate) fn new(tenant: TenantId, view: Arc<TenantView>) -> Self {
        Self { tenant, view }
    }

    /// Who may do what at this moment; nothing while that is not known.
    pub fn now(&self) -> Option<SharedAccess> {
        if self.view.is_outdated() {
            return None;
        }
        self.view.known().map(|known| known.facts.access)
    }

    /// Up to which sequence this process knows the tenant's stream; nothing while it does not.
    pub fn sequence(&self) -> Option<u64> {
        self.view.known().map(|known| known.sequence)
    }

    /// Says whether others have read on for so long that what is known here must not be gone by. True if that is news.
    pub fn outdate(&self, outdated: bool) -> bool {
        self.view.outdate(outdated)
    }

    /// Returns once the stream has been read for the first time.
    pub async fn known(&self) -> SharedAccess {
        loop {
            self.view.reached(0).await;
            if let Some(access) = self.now() {
                return access;
            }
        }
    }

    /// Returns once the tenant's stream is known up to a sequence, such as that of a decision that has just been made.
    pub async fn reached(&self, sequence: u64) {
        self.view.reached(sequence).await;
    }

    /// Keeps it known in a process that writes no partition, until cancelled. One with writers does so by itself.
    pub async fn follow(self, ports: Ports, cancel: CancellationToken) {
        let follower = TenantFollower::new(self.tenant, ports, self.view);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                error = follower.follow() => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the tenant's stream can't be followed; trying again");
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(TRY_AGAIN) => {}
            }
        }
    }
}

//! The tenant's own stream as the writers of one process know it: how far it is, and what sites decide on by then.
//!
//! Decisions of a site record the sequence of the tenant's stream on which they were made, so that they can be judged again from the log
//! alone. Invariant: sequence and facts are of the same moment, and a writer decides on nothing older than what its stream has recorded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use lotline_domain::access::state::SharedAccess;
use lotline_domain::event::Event;
use lotline_domain::master::SharedMaster;
use lotline_domain::scenario::state::SharedScenarios;
use lotline_domain::state::{OfTenant, StreamState};
use tokio::sync::Notify;

/// What sites decide on of the tenant's stream. Cheap to clone. To add something: a field here, shared like these.
#[derive(Debug, Clone, Default)]
pub(crate) struct TenantFacts {
    /// Who may do what.
    pub(crate) access: SharedAccess,
    /// From what runs start.
    pub(crate) scenarios: SharedScenarios,
    /// What is made and used, and who it comes from and goes to.
    pub(crate) master: SharedMaster,
}

/// The tenant's stream at one moment.
#[derive(Debug, Clone)]
pub(crate) struct TenantAt {
    /// Its last event then.
    pub(crate) sequence: u64,
    /// What it said then.
    pub(crate) facts: TenantFacts,
}

impl TenantFacts {
    /// Those of the folded stream.
    pub(crate) fn of(state: &StreamState) -> Self {
        Self { access: state.access.clone(), scenarios: state.scenarios.clone(), master: state.master.clone() }
    }

    /// As the rules of sites want them.
    pub(crate) fn for_sites(&self) -> OfTenant<'_> {
        OfTenant { scenarios: &self.scenarios, master: &self.master }
    }

    /// Applies an event that stands at `sequence` in the tenant's stream.
    pub(crate) fn evolve(&mut self, event: &Event, sequence: u64) {
        self.access.evolve(event, sequence);
        self.scenarios.evolve(event, sequence);
        self.master.evolve(event, sequence);
    }
}

/// What is known of the tenant's stream: nothing at first, and then it only goes forward. Those who wait for it are woken in the order in
/// which they came.
#[derive(Debug, Default)]
pub(crate) struct TenantView {
    known: Mutex<Option<TenantAt>>,
    moved: Notify,
    /// Others have read on long ago.
    outdated: AtomicBool,
}

impl TenantView {
    /// Nothing until the tenant's partition has been recovered or read once.
    pub(crate) fn known(&self) -> Option<TenantAt> {
        self.lock().clone()
    }

    /// Makes a later moment known; an earlier one changes nothing.
    pub(crate) fn advance(&self, sequence: u64, facts: &TenantFacts) {
        let mut known = self.lock();
        if known.as_ref().is_none_or(|known| known.sequence < sequence) {
            *known = Some(TenantAt { sequence, facts: facts.clone() });
        }
        drop(known);
        self.moved.notify_waiters();
    }

    /// Nothing is known any more: what comes next in the stream can't be read or trusted, and deciding without it could break a rule.
    pub(crate) fn withdraw(&self) {
        *self.lock() = None;
    }

    /// Says whether others have read on long ago, and whether that is news.
    pub(crate) fn outdate(&self, outdated: bool) -> bool {
        self.outdated.swap(outdated, Ordering::Relaxed) != outdated
    }

    /// See [`TenantView::outdate`].
    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }

    /// Returns once the stream is known up to a sequence.
    pub(crate) async fn reached(&self, sequence: u64) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Listening before looking, so that nothing is missed between the two.
            moved.as_mut().enable();
            if self.lock().as_ref().is_some_and(|known| known.sequence >= sequence) {
                return;
            }
            moved.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<TenantAt>> {
        self.known.lock().expect("invariant: nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_waited_for_and_never_goes_back() {
        let view = TenantView::default();
        let facts = TenantFacts::default();
        let ((), ()) = tokio::join!(view.reached(0), async { view.advance(3, &facts) });
        view.advance(2, &facts);
        view.reached(3).await;
        assert_eq!(view.known().map(|known| known.sequence), Some(3));
        let ((), ()) = tokio::join!(view.reached(5), async {
            view.advance(4, &facts);
            tokio::task::yield_now().await;
            view.advance(5, &facts);
        });
        view.withdraw();
        assert!(view.known().is_none());
    }
}

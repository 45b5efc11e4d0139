//! The tenant's own stream as the writers of one process know it: how far it is, and who may do what by then.
//!
//! Decisions of a site record the sequence of the tenant's stream on which they were made, so that they can be judged again from the log
//! alone. Invariant: sequence and access are of the same moment, and a writer decides on nothing older than what its stream has recorded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use lotline_domain::access::state::SharedAccess;
use tokio::sync::Notify;

/// The tenant's stream at one moment.
#[derive(Debug, Clone)]
pub(crate) struct TenantAt {
    /// Its last event then.
    pub(crate) sequence: u64,
    /// Who might do what then.
    pub(crate) access: SharedAccess,
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
    pub(crate) fn advance(&self, sequence: u64, access: &SharedAccess) {
        let mut known = self.lock();
        if known.as_ref().is_none_or(|known| known.sequence < sequence) {
            *known = Some(TenantAt { sequence, access: access.clone() });
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
        let access = SharedAccess::default();
        let ((), ()) = tokio::join!(view.reached(0), async { view.advance(3, &access) });
        view.advance(2, &access);
        view.reached(3).await;
        assert_eq!(view.known().map(|known| known.sequence), Some(3));
        let ((), ()) = tokio::join!(view.reached(5), async {
            view.advance(4, &access);
            tokio::task::yield_now().await;
            view.advance(5, &access);
        });
        view.withdraw();
        assert!(view.known().is_none());
    }
}

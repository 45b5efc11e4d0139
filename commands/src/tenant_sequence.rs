//! How far the tenant's own stream is, as the writers of one process know it.
//!
//! Decisions of a site record the sequence on which they were made, so no writer decides before this is known.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

/// A sequence that is unknown at first and then only grows. Those who wait for it are woken in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct TenantSequence {
    known: Mutex<Option<u64>>,
    arrived: Notify,
}

impl TenantSequence {
    /// Nothing until the tenant's partition has been recovered or read once.
    pub(crate) fn known(&self) -> Option<u64> {
        *self.lock()
    }

    /// Makes a sequence known; a lower one than before changes nothing.
    pub(crate) fn advance(&self, reached: u64) {
        let mut known = self.lock();
        *known = (*known).max(Some(reached));
        drop(known);
        self.arrived.notify_waiters();
    }

    /// Returns once there is one.
    pub(crate) async fn arrived(&self) {
        let arrived = self.arrived.notified();
        tokio::pin!(arrived);
        // Listening before looking, so that nothing is missed between the two.
        arrived.as_mut().enable();
        if self.known().is_none() {
            arrived.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<u64>> {
        self.known.lock().expect("invariant: nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_waited_for_and_never_goes_back() {
        let sequence = TenantSequence::default();
        let ((), ()) = tokio::join!(sequence.arrived(), async { sequence.advance(3) });
        sequence.advance(2);
        sequence.arrived().await;
        assert_eq!(sequence.known(), Some(3));
    }
}

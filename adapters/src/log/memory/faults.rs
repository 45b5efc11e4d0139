//! Faults that a test injects into a [`super::MemoryLog`], in the order in which they are to happen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

/// What happens to an append.
#[derive(Clone)]
pub enum Fault {
    /// It fails before it lands, and the writer does not know.
    Lost,
    /// It lands, but the writer does not hear of it.
    Unacknowledged,
    /// The writer gives up waiting for it, and it lands so much later, unless there is another writer by then.
    Late(Duration),
    /// Somebody has taken the partition in the meantime.
    Fenced,
    /// So many offsets are skipped before it, as control markers and aborted records do in Kafka. The next fault happens to the same append.
    Gap(u32),
    /// It takes so long before it lands. The next fault happens to the same append.
    Delay(Duration),
    /// It waits at the gate before it lands, as a paused process does. The next fault happens to the same append.
    Hold(Gate),
}

/// Faults of the appends to come; shared with the log.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<VecDeque<Fault>>>);

impl Faults {
    /// Queues a fault for the next append that has none yet.
    pub fn push(&self, fault: Fault) {
        self.queue().push_back(fault);
    }

    pub(super) fn take(&self) -> Option<Fault> {
        self.queue().pop_front()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Fault>> {
        self.0.lock().expect("invariant: nothing panics while it holds this lock")
    }
}

/// Where appends wait until the test opens it.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<Passage>>);

#[derive(Clone, Copy, Default)]
struct Passage {
    open: bool,
    reached: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Passage::default())))
    }
}

impl Gate {
    /// Lets everything through from now on.
    pub fn open(&self) {
        self.0.send_modify(|passage| passage.open = true);
    }

    /// Returns once an append has come to the gate.
    pub async fn reached(&self) {
        self.wait(|passage| passage.reached).await;
    }

    pub(super) async fn pass(&self) {
        self.0.send_modify(|passage| passage.reached = true);
        self.wait(|passage| passage.open).await;
    }

    async fn wait(&self, condition: impl FnMut(&Passage) -> bool) {
        self.0.subscribe().wait_for(condition).await.expect("invariant: the gate holds its own sender");
    }
}

//! Snapshots in memory, for simulation. Clones share them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use lotline_domain::port::{BoxFuture, LogError, Snapshot, SnapshotStore};

type Place = (String, u32, u32);

/// The newest snapshot of each topic, partition and format.
#[derive(Debug, Clone, Default)]
pub struct MemorySnapshots(Arc<Mutex<BTreeMap<Place, Snapshot>>>);

impl MemorySnapshots {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Snapshot>> {
        self.0.lock().expect("invariant: nothing panics while it holds this lock")
    }
}

impl SnapshotStore for MemorySnapshots {
    fn save<'a>(&'a self, topic: &'a str, partition: u32, snapshot: Snapshot) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            let place = (topic.to_owned(), partition, snapshot.format);
            let mut kept = self.lock();
            if kept.get(&place).is_none_or(|older| older.position <= snapshot.position) {
                kept.insert(place, snapshot);
            }
            Ok(())
        })
    }

    fn load<'a>(
        &'a self,
        topic: &'a str,
        partition: u32,
        format: u32,
    ) -> BoxFuture<'a, Result<Option<Snapshot>, LogError>> {
        Box::pin(async move { Ok(self.lock().get(&(topic.to_owned(), partition, format)).cloned()) })
    }
}

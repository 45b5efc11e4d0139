//! The stores that the suite runs against, each with topics of its own.

use lotline_adapters::log::memory::MemoryLog;
use lotline_domain::port::{BoxFuture, EventLog, LogError, SignalLog};
use lotline_domain::record::Record;
use std::sync::OnceLock;

use super::Subject;

/// In memory: a "process" is a clone.
#[derive(Default)]
pub struct Memory {
    ledger: OnceLock<MemoryLog>,
    signals: OnceLock<MemoryLog>,
}

impl Memory {
    /// A store without topics.
    pub async fn new() -> Self {
        Self::default()
    }
}

fn open_in_memory(place: &OnceLock<MemoryLog>, partitions: u32) -> Result<MemoryLog, LogError> {
    place.get_or_init(|| MemoryLog::new("lotline.dairy.test", partitions)).reopen(partitions)
}

impl Subject for Memory {
    fn ledger(&self, partitions: u32) -> BoxFuture<'_, Result<Box<dyn EventLog>, LogError>> {
        Box::pin(async move { Ok(Box::new(open_in_memory(&self.ledger, partitions)?) as Box<dyn EventLog>) })
    }

    fn signals(&self, partitions: u32) -> BoxFuture<'_, Result<Box<dyn SignalLog>, LogError>> {
        Box::pin(async move { Ok(Box::new(open_in_memory(&self.signals, partitions)?) as Box<dyn SignalLog>) })
    }

    fn append_foreign(&self, partition: u32, record: Record) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let ledger = self.ledger.get().expect("the test opened the ledger");
            ledger.append_foreign(partition, record).expect("the partition exists");
        })
    }
}

//! A log in memory, for simulation: the same contract as the real ones, and faults exactly when a test asks for them.
//!
//! Clones share one log, so a clone that outlives a "process" is what a restarted one finds again.
//! Nothing here reads a clock: readers are woken by the append itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lotline_domain::partition::partition_of;
use lotline_domain::port::{AppendError, BoxFuture, EventLog, LogError, LogRead, LogReader, LogWriter, SignalLog};
use lotline_domain::record::{Offset, ReadBatch, Record, StoredRecord};
use thiserror::Error;
use tokio::sync::Notify;

use super::{MAX_RECORD_BYTES, check_offset, check_partition, check_published_sizes, check_sizes, spent};

mod faults;

pub use faults::{Fault, Faults, Gate};

/// An injected failure.
#[derive(Debug, Error)]
#[error("an injected fault: {0}")]
pub struct Injected(&'static str);

/// A topic that lives as long as its last clone.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

struct Shared {
    topic: String,
    max_record_bytes: usize,
    partitions: Vec<Partition>,
    faults: Faults,
}

struct Partition {
    state: Mutex<State>,
    /// Tells waiting readers that the end has moved, in the order in which they came: a simulation must run the same way each time.
    moved: Notify,
}

#[derive(Default)]
struct State {
    epoch: u64,
    next: Offset,
    records: BTreeMap<Offset, Record>,
}

impl MemoryLog {
    /// An empty topic. There is at least one partition.
    pub fn new(topic: impl Into<String>, partitions: u32) -> Self {
        Self::with_limit(topic, partitions, MAX_RECORD_BYTES)
    }

    /// An empty topic with its own limit on the size of a record.
    pub fn with_limit(topic: impl Into<String>, partitions: u32, max_record_bytes: usize) -> Self {
        let partition = || Partition { state: Mutex::default(), moved: Notify::new() };
        let partitions = (0..partitions.max(1)).map(|_| partition()).collect();
        let shared = Shared { topic: topic.into(), max_record_bytes, partitions, faults: Faults::default() };
        Self { shared: Arc::new(shared) }
    }

    /// What a restarted process does with its configured partition count.
    ///
    /// # Errors
    /// [`LogError::PartitionCount`].
    pub fn reopen(&self, expected: u32) -> Result<Self, LogError> {
        let actual = self.partitions();
        if actual == expected {
            Ok(self.clone())
        } else {
            Err(LogError::PartitionCount { topic: self.shared.topic.clone(), expected, actual })
        }
    }

    /// The handle that makes appends fail.
    pub fn faults(&self) -> Faults {
        self.shared.faults.clone()
    }

    /// Appends past all fencing, as a foreign producer with access to the topic would.
    ///
    /// # Errors
    /// [`LogError::NoPartition`].
    pub fn append_foreign(&self, partition: u32, record: Record) -> Result<Offset, LogError> {
        Ok(self.shared.partition(partition)?.land(vec![record]))
    }
}

impl Shared {
    fn partition(&self, partition: u32) -> Result<&Partition, LogError> {
        check_partition(&self.topic, self.partitions.len() as u32, partition)?;
        Ok(&self.partitions[partition as usize])
    }
}

impl Partition {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("invariant: nothing panics while it holds this lock")
    }

    /// Appends and gives the offset of the last record.
    fn land(&self, records: Vec<Record>) -> Offset {
        self.land_in(&mut self.lock(), records)
    }

    fn land_in(&self, state: &mut State, records: Vec<Record>) -> Offset {
        for record in records {
            let offset = state.next;
            state.records.insert(offset, record);
            state.next += 1;
        }
        self.moved.notify_waiters();
        state.next - 1
    }

    fn skip(&self, offsets: u32) {
        let mut state = self.lock();
        state.next += Offset::from(offsets);
        self.moved.notify_waiters();
    }
}

impl LogRead for MemoryLog {
    fn topic(&self) -> &str {
        &self.shared.topic
    }

    fn partitions(&self) -> u32 {
        self.shared.partitions.len() as u32
    }

    fn end(&self, partition: u32) -> BoxFuture<'_, Result<Offset, LogError>> {
        Box::pin(async move { Ok(self.shared.partition(partition)?.lock().next) })
    }

    fn reader(&self, partition: u32, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        Box::pin(async move {
            let place = self.shared.partition(partition)?;
            check_offset(&self.shared.topic, partition, from, 0, place.lock().next)?;
            let reader = MemoryReader { shared: Arc::clone(&self.shared), partition, next: from };
            Ok(Box::new(reader) as Box<dyn LogReader>)
        })
    }
}

impl EventLog for MemoryLog {
    fn max_record_bytes(&self) -> usize {
        self.shared.max_record_bytes
    }

    fn writer(&self, partition: u32) -> BoxFuture<'_, Result<Box<dyn LogWriter>, LogError>> {
        Box::pin(async move {
            let mut state = self.shared.partition(partition)?.lock();
            state.epoch += 1;
            let writer = MemoryWriter { shared: Arc::clone(&self.shared), partition, epoch: state.epoch, usable: true };
            Ok(Box::new(writer) as Box<dyn LogWriter>)
        })
    }
}

impl SignalLog for MemoryLog {
    fn publish(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            check_published_sizes(&records, self.shared.max_record_bytes)?;
            for record in records {
                let partition = partition_of(&record.key, self.partitions());
                self.shared.partition(partition)?.land(vec![record]);
            }
            Ok(())
        })
    }
}

struct MemoryWriter {
    shared: Arc<Shared>,
    partition: u32,
    epoch: u64,
    /// False while an append is under way, so one that is cancelled leaves it so.
    usable: bool,
}

impl MemoryWriter {
    async fn append_now(&mut self, records: Vec<Record>) -> Result<Offset, AppendError> {
        let place = &self.shared.partitions[self.partition as usize];
        let mut acknowledge = true;
        while let Some(fault) = self.shared.faults.take() {
            match fault {
                Fault::Lost => return Err(AppendError::Unknown(Box::new(Injected("the append was lost")))),
                Fault::Unacknowledged => acknowledge = false,
                Fault::Late(duration) => {
                    self.land_later(records, duration);
                    return Err(AppendError::Unknown(Box::new(Injected("the append is late"))));
                }
                Fault::Fenced => place.lock().epoch += 1,
                Fault::Gap(offsets) => {
                    place.skip(offsets);
                    continue;
                }
                Fault::Delay(duration) => {
                    tokio::time::sleep(duration).await;
                    continue;
                }
                Fault::Hold(gate) => {
                    gate.pass().await;
                    continue;
                }
            }
            break;
        }
        let last = {
            let mut state = place.lock();
            if state.epoch != self.epoch {
                return Err(AppendError::Fenced);
            }
            place.land_in(&mut state, records)
        };
        if acknowledge {
            Ok(last)
        } else {
            Err(AppendError::Unknown(Box::new(Injected("the acknowledgement was lost"))))
        }
    }
}

impl MemoryWriter {
    /// Lands the records after a while, unless the partition has another writer by then.
    fn land_later(&self, records: Vec<Record>, after: Duration) {
        let (shared, partition, epoch) = (Arc::clone(&self.shared), self.partition as usize, self.epoch);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let place = &shared.partitions[partition];
            let mut state = place.lock();
            if state.epoch == epoch {
                place.land_in(&mut state, records);
            }
        });
    }
}

impl LogWriter for MemoryWriter {
    fn append(&mut self, records: Vec<Record>) -> BoxFuture<'_, Result<Offset, AppendError>> {
        Box::pin(async move {
            check_sizes(&records, self.shared.max_record_bytes)?;
            if !std::mem::take(&mut self.usable) {
                return Err(spent());
            }
            let result = self.append_now(records).await;
            self.usable = result.is_ok();
            result
        })
    }
}

struct MemoryReader {
    shared: Arc<Shared>,
    partition: u32,
    next: Offset,
}

impl MemoryReader {
    fn take(&mut self, max: usize) -> ReadBatch {
        let state = self.shared.partitions[self.partition as usize].lock();
        let found = state.records.range(self.next..).take(max);
        let stored = found.map(|(offset, record)| StoredRecord { offset: *offset, record: record.clone() });
        let records: Vec<_> = stored.collect();
        self.next = match records.last() {
            Some(last) if records.len() == max => last.offset + 1,
            Some(_) | None => state.next,
        };
        ReadBatch { records, next: self.next }
    }
}

impl LogReader for MemoryReader {
    fn read(&mut self, max: usize, wait: Duration) -> BoxFuture<'_, Result<ReadBatch, LogError>> {
        Box::pin(async move {
            let from = self.next;
            let shared = Arc::clone(&self.shared);
            let moved = shared.partitions[self.partition as usize].moved.notified();
            tokio::pin!(moved);
            // Listening before looking, so that nothing is missed between the two.
            moved.as_mut().enable();
            let batch = self.take(max.max(1));
            if batch.next > from {
                return Ok(batch);
            }
            // An elapsed wait and a new end look alike: the log is read again.
            let _ = tokio::time::timeout(wait, moved).await;
            Ok(self.take(max.max(1)))
        })
    }
}

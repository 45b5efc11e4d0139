//! Reading a partition: its stream, forwards, without the markers.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{Error, StreamPosition};
use lotline_domain::port::{BoxFuture, LogError, LogReader};
use lotline_domain::record::{Offset, ReadBatch, StoredRecord};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::event::decode;
use super::{FENCE, Shared, offset, reading};

/// How long a reader sleeps at most before it looks without having been woken.
const FALLBACK_POLL: Duration = Duration::from_millis(250);

pub(super) struct EventStoreReader {
    shared: Arc<Shared>,
    partition: u32,
    next: Offset,
    wakeup: watch::Receiver<u64>,
}

impl EventStoreReader {
    pub(super) fn new(shared: Arc<Shared>, partition: u32, next: Offset) -> Self {
        let wakeup = shared.wakeups.subscribe(partition);
        Self { shared, partition, next, wakeup }
    }

    /// What is there from `next` on: at most `max` events, of which some may be markers. A read that fails has moved nothing.
    async fn take(&mut self, max: usize) -> Result<ReadBatch, Error> {
        let from = u64::try_from(self.next).expect("invariant: offsets of this log are revisions");
        let options = reading().position(StreamPosition::Position(from)).max_count(max);
        let mut found = match self.shared.client.read_stream(self.shared.stream(self.partition), &options).await {
            Ok(found) => found,
            Err(Error::ResourceNotFound) => return Ok(ReadBatch { records: Vec::new(), next: self.next }),
            Err(error) => return Err(error),
        };
        let (mut records, mut next) = (Vec::new(), self.next);
        loop {
            let event = match found.next().await {
                Ok(Some(event)) => event,
                Ok(None) | Err(Error::ResourceNotFound) => break,
                Err(error) => return Err(error),
            };
            let event = event.get_original_event();
            next = offset(event.revision) + 1;
            if event.event_type != FENCE {
                records.push(StoredRecord { offset: offset(event.revision), record: decode(event) });
            }
        }
        self.next = next;
        Ok(ReadBatch { records, next })
    }
}

impl LogReader for EventStoreReader {
    fn read(&mut self, max: usize, wait: Duration) -> BoxFuture<'_, Result<ReadBatch, LogError>> {
        Box::pin(async move {
            let deadline = Instant::now() + wait;
            let from = self.next;
            loop {
                // Marked before the stream is read: an append in between wakes this reader up again.
                self.wakeup.mark_unchanged();
                let batch = self.take(max.max(1)).await.map_err(|error| LogError::broken("read the log", error))?;
                if batch.next > from || Instant::now() >= deadline {
                    return Ok(batch);
                }
                let look_again = deadline.min(Instant::now() + FALLBACK_POLL);
                // Woken, or time to look: both mean to read again.
                let _ = timeout_at(look_again, self.wakeup.changed()).await;
            }
        })
    }
}

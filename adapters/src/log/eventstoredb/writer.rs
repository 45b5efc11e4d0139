//! The exclusive right to append to a partition: the knowledge of the revision that the next append follows.

use std::sync::Arc;

use eventstore::{Error, EventData, ExpectedRevision};
use lotline_domain::port::{AppendError, BoxFuture, LogWriter};
use lotline_domain::record::{Offset, Record};

use super::super::{check_sizes, spent};
use super::{Shared, append, offset};

pub(super) struct EventStoreWriter {
    shared: Arc<Shared>,
    partition: u32,
    /// The last revision of the stream, as long as nobody else has appended.
    last: u64,
    /// False while an append is under way, so one that is cancelled leaves it so.
    usable: bool,
}

/// A batch that the server would refuse as a whole.
#[derive(Debug, thiserror::Error)]
#[error("the batch is larger than the {max} bytes that the server takes in one append; nothing was sent")]
struct TooMuchAtOnce {
    max: usize,
}

impl EventStoreWriter {
    /// `last` is the revision of this writer's own marker.
    pub(super) fn new(shared: Arc<Shared>, partition: u32, last: u64) -> Self {
        Self { shared, partition, last, usable: true }
    }

    async fn append_now(&mut self, events: Vec<EventData>) -> Result<Offset, AppendError> {
        let (stream, expected) = (self.shared.stream(self.partition), ExpectedRevision::Exact(self.last));
        match append(&self.shared.client, &stream, expected, events).await {
            Ok(written) => {
                self.last = written.next_expected_version;
                Ok(offset(self.last))
            }
            // The server compares before it writes anything.
            Err(Error::WrongExpectedVersion { .. }) => Err(AppendError::Fenced),
            Err(error) => Err(AppendError::Unknown(Box::new(error))),
        }
    }
}

impl LogWriter for EventStoreWriter {
    fn append(&mut self, records: Vec<Record>) -> BoxFuture<'_, Result<Offset, AppendError>> {
        Box::pin(async move {
            check_sizes(&records, self.shared.options.max_record_bytes)?;
            if !std::mem::take(&mut self.usable) {
                return Err(spent());
            }
            let mut parts = self.shared.parts(records);
            let events = parts.pop().unwrap_or_default();
            if !parts.is_empty() {
                let max = self.shared.options.max_append_bytes;
                return Err(AppendError::Unknown(Box::new(TooMuchAtOnce { max })));
            }
            let result = self.append_now(events).await;
            self.usable = result.is_ok();
            result
        })
    }
}

//! EventStoreDB as a log. **Not proved:** no server was at hand when this was written. The contract suite (`tests/src/contract.rs`) runs
//! against it when `EVENTSTORE_URL` names one and says "not proved" otherwise, and until it has passed `log.kind` does not offer it.
//!
//! EventStoreDB knows streams with revisions, no partitions:
//!
//! | port | EventStoreDB |
//! |---|---|
//! | partition 3 of topic `t` | the stream `t-3`; of many sites, as everywhere else |
//! | offset | the revision in that stream. Markers (below) take revisions too, so records leave gaps |
//! | key and headers | the event's custom metadata, JSON; the value's bytes are the event's data, as they are |
//! | number of partitions | the one event of the stream `t-topic`, appended on the condition that there is no such stream yet |
//! | atomic append | one Append call: the server writes its events together or not at all |
//! | fencing | the expected revision: each append names the revision that it follows |
//! | wake-ups | a catch-up subscription to `$all`, filtered by the prefix `t-` |
//!
//! **Fencing.** Who appends names the last revision that it knows, so of two writers one fails with WrongExpectedVersion. That alone does
//! not fence an old writer that knows the end as well as its successor does. So a new writer first appends a marker ([`FENCE`]) after the
//! last revision, and tries again when somebody was faster. After that no earlier writer's revision fits any more: what such a writer had in
//! flight came before the marker, where a reader up to the end sees it, or never will. Readers skip markers.
//!
//! Event ids are fresh for each try. The server takes an append for a repetition when its ids are already there, and would then acknowledge
//! what a fenced writer sends.
//!
//! **Size.** The server refuses an append beyond its `MaxAppendSize` (1 MiB by default, 16 MiB at most) as a whole. [`Options`] must say what
//! it is set to; a batch beyond it is not sent and counts as an unknown outcome, after which the commands' writer makes smaller ones.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{
    AppendToStreamOptions, Client, ClientSettings, CurrentRevision, Error, EventData, ExpectedRevision,
    ReadStreamOptions, StreamPosition, WriteResult,
};
use lotline_domain::partition::partition_of;
use lotline_domain::port::{BoxFuture, EventLog, LogError, LogRead, LogReader, LogWriter, SignalLog};
use lotline_domain::record::{Offset, Record};
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

use super::{MAX_RECORD_BYTES, check_offset, check_partition, check_published_sizes};

mod event;
mod reader;
mod wakeup;
mod writer;

use event::{RECORD_OVERHEAD, encode};
use reader::EventStoreReader;
use wakeup::Wakeups;
use writer::EventStoreWriter;

/// Type of the events that only move a stream's revision, so that earlier writers are fenced. They are no records.
pub const FENCE: &str = "lotline-fence";
/// Type of the event that says how many partitions a topic has.
const TOPIC: &str = "lotline-topic";

/// How long the server may take for one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a new writer tries to put its marker before one who appends all the time.
const FENCE_TRIES: usize = 100;

/// Where the server is, and what it takes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connection string, such as `esdb://admin:changeit@127.0.0.1:2113?tls=false`.
    pub url: String,
    /// The server's `MaxAppendSize` in bytes. Appends of many records need much of it.
    pub max_append_bytes: usize,
    /// Largest [`Record::size`] that is accepted.
    pub max_record_bytes: usize,
}

impl Options {
    /// For a server that takes 16 MiB in one append.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), max_append_bytes: 16 * 1024 * 1024, max_record_bytes: MAX_RECORD_BYTES }
    }
}

/// A connection string that can't be used; it may hold a password and is not repeated.
#[derive(Debug, ThisError)]
#[error("the connection string of EventStoreDB can't be used")]
struct BadUrl;

/// A topic in EventStoreDB.
pub struct EventStoreLog {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    topic: String,
    partitions: u32,
    options: Options,
    wakeups: Wakeups,
}

/// What the stream of a topic says.
#[derive(Serialize, Deserialize)]
struct Topic {
    partitions: u32,
}

impl EventStoreLog {
    /// Opens a topic, and creates it when it is not there.
    ///
    /// # Errors
    /// [`LogError::PartitionCount`] when it was created with another count.
    pub async fn open(options: Options, topic: &str, partitions: u32) -> Result<Self, LogError> {
        let client = connect(&options)?;
        let wanted = EventData::json(TOPIC, &Topic { partitions })
            .map_err(|error| LogError::broken("describe the topic", error))?;
        let created = append(&client, &topic_stream(topic), ExpectedRevision::NoStream, vec![wanted]).await;
        match created {
            Ok(_) | Err(Error::WrongExpectedVersion { .. }) => {}
            Err(error) => return Err(LogError::broken("create the topic", error)),
        }
        let actual = partitions_of(&client, topic).await?;
        match actual {
            Some(actual) if actual == partitions => {}
            Some(actual) => {
                return Err(LogError::PartitionCount { topic: topic.to_owned(), expected: partitions, actual });
            }
            None => return Err(LogError::broken("find the topic", Error::ResourceNotFound)),
        }
        let wakeups = Wakeups::listen(&client, topic, partitions);
        let shared = Shared { client, topic: topic.to_owned(), partitions, options, wakeups };
        Ok(Self { shared: Arc::new(shared) })
    }
}

/// A client, which connects when it is used.
fn connect(options: &Options) -> Result<Client, LogError> {
    // The crate brings a second provider of cryptography along, and rustls wants to be told which one is meant. Refused when somebody has
    // already said so, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let settings: ClientSettings =
        options.url.parse().map_err(|_| LogError::broken("connect to EventStoreDB", BadUrl))?;
    Client::new(settings).map_err(|error| LogError::broken("connect to EventStoreDB", error))
}

fn topic_stream(topic: &str) -> String {
    format!("{topic}-topic")
}

async fn partitions_of(client: &Client, topic: &str) -> Result<Option<u32>, LogError> {
    let options = reading().position(StreamPosition::Start).max_count(1);
    let broken = |error| LogError::broken("look for the topic", error);
    let Some(event) = first(client, &topic_stream(topic), &options).await.map_err(broken)? else { return Ok(None) };
    let found: Topic =
        serde_json::from_slice(&event.data).map_err(|error| LogError::broken("read what the topic is", error))?;
    Ok(Some(found.partitions))
}

/// Followers may lag; what was acknowledged is on the leader.
fn reading() -> ReadStreamOptions {
    ReadStreamOptions::default().requires_leader(true).deadline(CALL_TIMEOUT)
}

/// The first event that a read gives; nothing when the stream is not there.
async fn first(
    client: &Client,
    stream: &str,
    options: &ReadStreamOptions,
) -> Result<Option<eventstore::RecordedEvent>, Error> {
    let mut found = match client.read_stream(stream, options).await {
        Ok(found) => found,
        Err(Error::ResourceNotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    match found.next().await {
        Ok(event) => Ok(event.and_then(|event| event.link.or(event.event))),
        Err(Error::ResourceNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn append(
    client: &Client,
    stream: &str,
    expected: ExpectedRevision,
    events: Vec<EventData>,
) -> Result<WriteResult, Error> {
    let options =
        AppendToStreamOptions::default().expected_revision(expected).requires_leader(true).deadline(CALL_TIMEOUT);
    client.append_to_stream(stream, &options, events).await
}

impl Shared {
    fn stream(&self, partition: u32) -> String {
        format!("{}-{partition}", self.topic)
    }

    /// The last revision of a partition's stream; nothing when it is empty.
    async fn last(&self, partition: u32) -> Result<Option<u64>, Error> {
        let options = reading().position(StreamPosition::End).max_count(1);
        Ok(first(&self.client, &self.stream(partition), &options).await?.map(|event| event.revision))
    }

    async fn end(&self, partition: u32) -> Result<Offset, LogError> {
        check_partition(&self.topic, self.partitions, partition)?;
        let last = self.last(partition).await.map_err(|error| LogError::broken("find the end of the log", error))?;
        Ok(last.map_or(0, |last| offset(last) + 1))
    }

    /// Puts a marker behind the last revision. After it no earlier writer's revision fits. Gives the marker's.
    async fn fence(&self, partition: u32) -> Result<u64, LogError> {
        let broken = |error| LogError::broken("fence earlier writers", error);
        let mut last = self.last(partition).await.map_err(broken)?;
        for _ in 0..FENCE_TRIES {
            let expected = last.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
            let marker = EventData::binary(FENCE, bytes::Bytes::new());
            match append(&self.client, &self.stream(partition), expected, vec![marker]).await {
                Ok(written) => return Ok(written.next_expected_version),
                Err(Error::WrongExpectedVersion { current, .. }) => {
                    last = match current {
                        CurrentRevision::Current(revision) => Some(revision),
                        CurrentRevision::NoStream => None,
                    };
                }
                Err(error) => return Err(broken(error)),
            }
        }
        Err(LogError::broken("fence earlier writers", Crowded))
    }

    /// Cuts records into parts that the server takes in one append each.
    fn parts(&self, records: Vec<Record>) -> Vec<Vec<EventData>> {
        let mut parts: Vec<Vec<EventData>> = Vec::new();
        let mut room = 0;
        for record in records {
            let size = record.size() + RECORD_OVERHEAD;
            if size > room || parts.is_empty() {
                parts.push(Vec::new());
                room = self.options.max_append_bytes;
            }
            room = room.saturating_sub(size);
            parts.last_mut().expect("invariant: a part was begun above").push(encode(&record));
        }
        parts
    }
}

/// Somebody else appended before each try.
#[derive(Debug, ThisError)]
#[error("others append to the stream faster than {FENCE_TRIES} tries to come between them")]
struct Crowded;

fn offset(revision: u64) -> Offset {
    Offset::try_from(revision).expect("invariant: EventStoreDB's revisions are 64-bit signed numbers inside the server")
}

impl LogRead for EventStoreLog {
    fn topic(&self) -> &str {
        &self.shared.topic
    }

    fn partitions(&self) -> u32 {
        self.shared.partitions
    }

    fn end(&self, partition: u32) -> BoxFuture<'_, Result<Offset, LogError>> {
        Box::pin(self.shared.end(partition))
    }

    fn reader(&self, partition: u32, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        Box::pin(async move {
            let end = self.shared.end(partition).await?;
            check_offset(&self.shared.topic, partition, from, 0, end)?;
            Ok(Box::new(EventStoreReader::new(Arc::clone(&self.shared), partition, from)) as Box<dyn LogReader>)
        })
    }
}

impl EventLog for EventStoreLog {
    fn max_record_bytes(&self) -> usize {
        self.shared.options.max_record_bytes
    }

    fn writer(&self, partition: u32) -> BoxFuture<'_, Result<Box<dyn LogWriter>, LogError>> {
        Box::pin(async move {
            check_partition(&self.shared.topic, self.shared.partitions, partition)?;
            let last = self.shared.fence(partition).await?;
            Ok(Box::new(EventStoreWriter::new(Arc::clone(&self.shared), partition, last)) as Box<dyn LogWriter>)
        })
    }
}

impl SignalLog for EventStoreLog {
    fn publish(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            check_published_sizes(&records, self.shared.options.max_record_bytes)?;
            let mut by_partition = vec![Vec::new(); self.shared.partitions as usize];
            for record in records {
                by_partition[partition_of(&record.key, self.shared.partitions) as usize].push(record);
            }
            for (partition, records) in (0..).zip(by_partition) {
                for part in self.shared.parts(records) {
                    let stream = self.shared.stream(partition);
                    append(&self.shared.client, &stream, ExpectedRevision::Any, part)
                        .await
                        .map_err(|error| LogError::broken("publish signals", error))?;
                }
            }
            Ok(())
        })
    }
}

//! The log in Apache Kafka: the system of record in production.
//!
//! | part | how |
//! |---|---|
//! | writer | a few transactional producers per partition, used in turn; `transactional.id` is `<topic>-<partition>[-<number>]`, so the broker fences |
//! | reader | one consumer on a thread of its own, `assign()`ed, `read_committed`, no group |
//! | group | one consumer that is assigned partitions and reads none, so that several nodes share them |
//! | end | the last stable offset, once all that was written before the question is decided |
//! | signals | one plain idempotent producer |
//!
//! librdkafka blocks and polls, so whatever talks to it lives on threads of its own and reaches the async side through channels.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lotline_domain::port::{BoxFuture, EventLog, LogError, LogRead, LogReader, LogWriter, SignalLog};
use lotline_domain::position::TopicKind;
use lotline_domain::record::{Offset, Record};
use tokio::sync::OnceCell;

use super::{MAX_RECORD_BYTES, check_offset, check_partition, check_published_sizes};

mod doubt;
mod durability;
mod ends;
mod group;
mod publisher;
mod reader;
mod record;
mod rotation;
mod settings;
mod terms;
mod threads;
mod topic;
mod transaction;
mod trouble;
mod writer;

pub use durability::{KafkaDurability, TopicDurability};
pub use group::KafkaGroup;
pub use threads::wait_until_closed;

use ends::Ends;
use publisher::Publisher;
use reader::KafkaReader;
use writer::KafkaWriter;

/// How long the broker keeps a transaction open whose producer is silent. Readers wait for it, so it is short.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// While the markers of one id are written, the next is used.
const TRANSACTIONAL_IDS: u32 = 3;

/// How long a request to the broker may take before it counts as failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a topic or a transactional id may take to become usable. A broker that has just started needs some seconds.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the topic is and how it is made.
#[derive(Clone)]
pub struct KafkaOptions {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Topic name, such as `lotline.dairy.ledger.v1`.
    pub topic: String,
    /// Partition count, fixed when the topic is created.
    pub partitions: u32,
    /// Copies of each partition, used when the topic is created. From three copies on, two must be in sync for a write to count.
    pub replication: u32,
    /// Flush each batch to disk (`flush.messages=1`), so that a single broker survives power loss. Used when the topic is created.
    pub flush_each_batch: bool,
    /// Transactional ids of each partition's writer, used in turn.
    pub transactional_ids: u32,
    /// Limit on [`Record::size`]; the topic's own limit is set to fit when it is created.
    pub max_record_bytes: usize,
    /// How long signals are kept, used when their topic is created; nothing for the broker's default. A ledger is kept forever.
    pub signal_retention: Option<Duration>,
    /// Any option of librdkafka, such as those of its security section. What the log's guarantees rest on is set over them.
    pub client: BTreeMap<String, String>,
}

impl KafkaOptions {
    /// One copy, no flush per batch, the usual size limit, no further options.
    pub fn new(brokers: impl Into<String>, topic: impl Into<String>, partitions: u32) -> Self {
        Self {
            brokers: brokers.into(),
            topic: topic.into(),
            partitions,
            replication: 1,
            flush_each_batch: false,
            transactional_ids: TRANSACTIONAL_IDS,
            max_record_bytes: MAX_RECORD_BYTES,
            signal_retention: None,
            client: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for KafkaOptions {
    /// The names of the client's options only: among their values are passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<&String> = self.client.keys().collect();
        f.debug_struct("KafkaOptions")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("client", &options)
            .finish_non_exhaustive()
    }
}

/// A topic in Kafka.
pub struct KafkaLog {
    options: Arc<KafkaOptions>,
    ends: Ends,
    publisher: OnceCell<Publisher>,
}

impl KafkaLog {
    /// Opens a topic, and creates it when it is not there.
    ///
    /// # Errors
    /// [`LogError::PartitionCount`] when it has another count; [`LogError::Broken`] when the brokers can't be reached, or when the
    /// topic is to be a ledger and was made with settings that would lose events. Its source names them and the repair.
    pub async fn open(options: KafkaOptions, kind: TopicKind) -> Result<Self, LogError> {
        let options = Arc::new(options);
        let ends = Ends::new(&options)?;
        topic::ensure(&options, kind, &ends).await?;
        Ok(Self { options, ends, publisher: OnceCell::new() })
    }

    /// Joins the group of nodes that share the writing of this topic.
    ///
    /// # Errors
    /// [`LogError::Broken`] when no client can be made.
    pub fn join(&self) -> Result<KafkaGroup, LogError> {
        KafkaGroup::join(&self.options)
    }

    /// Opens a topic that is there, to be read, and creates nothing; nothing when it is not there, or has no leader at the moment. How it is
    /// set is not judged: what is in an unsafe topic can still be read.
    ///
    /// # Errors
    /// [`LogError::PartitionCount`] when it has another count; [`LogError::Broken`] when the brokers can't be reached.
    pub async fn find(options: KafkaOptions) -> Result<Option<Self>, LogError> {
        let options = Arc::new(options);
        let ends = Ends::new(&options)?;
        let there = topic::find(&options, &ends).await?;
        Ok(there.then(|| Self { options, ends, publisher: OnceCell::new() }))
    }

    /// Whether a ledger lasts in the topic as it is set now.
    ///
    /// # Errors
    /// [`LogError::Broken`] when not; its source names the settings and the repair.
    pub async fn check_terms(&self) -> Result<(), LogError> {
        terms::check(&self.options).await
    }

    /// What the brokers do to keep what is acknowledged, in this topic and in the one where commits are decided.
    ///
    /// # Errors
    /// [`LogError::Broken`] when they can't be asked.
    pub async fn durability(&self) -> Result<KafkaDurability, LogError> {
        durability::ask(&self.options, &self.ends).await
    }

    fn check(&self, partition: u32) -> Result<(), LogError> {
        check_partition(&self.options.topic, self.options.partitions, partition)
    }
}

impl LogRead for KafkaLog {
    fn topic(&self) -> &str {
        &self.options.topic
    }

    fn partitions(&self) -> u32 {
        self.options.partitions
    }

    fn end(&self, partition: u32) -> BoxFuture<'_, Result<Offset, LogError>> {
        Box::pin(async move {
            self.check(partition)?;
            self.ends.stable(partition).await
        })
    }

    fn reader(&self, partition: u32, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        Box::pin(async move {
            self.check(partition)?;
            let (start, end) = self.ends.written(partition).await?;
            check_offset(&self.options.topic, partition, from, start, end)?;
            Ok(Box::new(KafkaReader::open(&self.options, partition, from)?) as Box<dyn LogReader>)
        })
    }
}

impl EventLog for KafkaLog {
    fn max_record_bytes(&self) -> usize {
        self.options.max_record_bytes
    }

    fn writer(&self, partition: u32) -> BoxFuture<'_, Result<Box<dyn LogWriter>, LogError>> {
        Box::pin(async move {
            self.check(partition)?;
            Ok(Box::new(KafkaWriter::open(&self.options, partition).await?) as Box<dyn LogWriter>)
        })
    }
}

impl SignalLog for KafkaLog {
    fn publish(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            check_published_sizes(&records, self.options.max_record_bytes)?;
            let publisher = self.publisher.get_or_try_init(|| async { Publisher::new(&self.options) }).await?;
            publisher.publish(&records).await
        })
    }
}

/// Destroys a client on a thread of its own: librdkafka waits for its threads to end, which must not hold up the async side.
fn destroy(client: impl Send + 'static) {
    // Without a thread to be had, it is destroyed here.
    let _ = threads::spawn("kafka-close".to_owned(), move || drop(client));
}

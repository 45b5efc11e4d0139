//! A reader of a partition: a thread that owns a consumer, and the handle that takes what it has read.
//!
//! The consumer says nothing when it skips a control marker or an aborted record; its position moves all the same. So the position is
//! asked for after each poll, and polls are short right after something has happened and long when nothing does.
//!
//! A client may stop fetching for good and say nothing, as librdkafka has done after brokers had come and gone. So whoever has heard nothing for
//! a while asks where the log ends, and takes another client when that is elsewhere: see [`doubt`](super::doubt).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lotline_domain::port::{BoxFuture, LogError, LogReader};
use lotline_domain::record::{Offset, ReadBatch, StoredRecord};
use metrics::counter;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use tracing::{debug, warn};

use super::doubt::{Doubt, LISTEN, Verdict};
use super::record::stored_record;
use super::trouble::{Witness, explain};
use super::{KafkaOptions, settings, threads};

/// A chunk ends with this many records, or with the one that makes it this large.
const CHUNK_RECORDS: usize = 256;
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks between the thread and the handle: with a record of the largest size in each, what one reader holds in memory. Whoever catches up gets
/// so much at once, and the more a projection folds before it writes, the less it writes.
const CHUNKS: usize = 32;

/// How long a poll waits when something has just happened, and when nothing has for a while.
const SHORT_POLL: Duration = Duration::from_millis(1);
const LONG_POLL: Duration = Duration::from_millis(250);

/// How long the question for the end of the log may keep the thread from polling.
const QUESTION: Duration = Duration::from_secs(2);

/// The thread is gone after a failure that it has reported.
#[derive(Debug, thiserror::Error)]
#[error("the reader has failed before; open a new one")]
struct Ended;

struct Chunk {
    records: Vec<StoredRecord>,
    next: Offset,
}

pub(super) struct KafkaReader {
    /// Dropping it ends the thread, which closes the consumer.
    chunks: mpsc::Receiver<Result<Chunk, LogError>>,
    ready: VecDeque<StoredRecord>,
    /// Where the chunks taken so far end, at or behind the last record in `ready`.
    taken: Offset,
}

impl KafkaReader {
    pub(super) fn open(options: &Arc<KafkaOptions>, partition: u32, from: Offset) -> Result<Self, LogError> {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let options = Arc::clone(options);
        threads::spawn(format!("log-reader-{partition}"), move || run(&options, partition, from, &sender))
            .map_err(|error| LogError::broken("start the reader's thread", error))?;
        Ok(Self { chunks, ready: VecDeque::new(), taken: from })
    }

    fn accept(&mut self, chunk: Result<Chunk, LogError>) -> Result<(), LogError> {
        let chunk = chunk?;
        self.ready.extend(chunk.records);
        self.taken = chunk.next;
        Ok(())
    }
}

impl LogReader for KafkaReader {
    fn read(&mut self, max: usize, wait: Duration) -> BoxFuture<'_, Result<ReadBatch, LogError>> {
        Box::pin(async move {
            let max = max.max(1);
            if self.ready.is_empty() {
                match timeout_at(tokio::time::Instant::now() + wait, self.chunks.recv()).await {
                    Ok(Some(chunk)) => self.accept(chunk)?,
                    Ok(None) => return Err(LogError::broken("read the log", Ended)),
                    Err(_) => return Ok(ReadBatch { records: Vec::new(), next: self.taken }),
                }
            }
            while self.ready.len() < max
                && let Ok(chunk) = self.chunks.try_recv()
            {
                self.accept(chunk)?;
            }
            let count = max.min(self.ready.len());
            let records: Vec<_> = self.ready.drain(..count).collect();
            let next = self.ready.front().map_or(self.taken, |following| following.offset);
            Ok(ReadBatch { records, next })
        })
    }
}

fn run(options: &KafkaOptions, partition: u32, from: Offset, chunks: &mpsc::Sender<Result<Chunk, LogError>>) {
    let mut next = from;
    let outcome = loop {
        let followed = match assign(options, partition, next) {
            Ok(consumer) => follow(&consumer, options, partition, &mut next, chunks),
            Err(error) => Err(LogError::broken("open a reader", explain(error, &Witness::default()))),
        };
        match followed {
            Ok(Left::Deaf) => {
                counter!("lotline_log_readers_replaced_total").increment(1);
                warn!(
                    topic = options.topic,
                    partition,
                    offset = next,
                    "a Kafka client brings no records, or does not say whether there are any; taking another"
                );
            }
            Ok(Left::Dropped) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if let Err(error) = outcome {
        // The handle may have gone.
        let _ = chunks.blocking_send(Err(error));
    }
    debug!(topic = options.topic, partition, "the reader's consumer is closed");
}

fn assign(options: &KafkaOptions, partition: u32, from: Offset) -> KafkaResult<BaseConsumer> {
    let consumer: BaseConsumer = settings::consumer(options).create()?;
    let mut place = TopicPartitionList::with_capacity(1);
    place.add_partition_offset(&options.topic, partition as i32, KafkaOffset::Offset(from))?;
    consumer.assign(&place)?;
    Ok(consumer)
}

/// Why a client is read from no more.
enum Left {
    /// Nobody wants to read on.
    Dropped,
    /// Others can read more than it brings.
    Deaf,
}

/// Reads on from `next`, which goes along.
fn follow(
    consumer: &BaseConsumer,
    options: &KafkaOptions,
    partition: u32,
    next: &mut Offset,
    chunks: &mpsc::Sender<Result<Chunk, LogError>>,
) -> Result<Left, LogError> {
    let (mut wait, mut doubt, mut heard) = (SHORT_POLL, Doubt::default(), Instant::now());
    while !chunks.is_closed() {
        let (records, failure) = poll(consumer, wait);
        let reached = position(consumer).max(records.last().map(|last| last.offset + 1)).unwrap_or(*next);
        if reached > *next {
            (*next, wait) = (reached, SHORT_POLL);
            if chunks.blocking_send(Ok(Chunk { records, next: reached })).is_err() {
                break;
            }
            (doubt, heard) = (Doubt::default(), Instant::now());
        } else {
            wait = (wait * 2).min(LONG_POLL);
        }
        if let Some(error) = failure {
            refuse(error, options, partition, *next)?;
        }
        if heard.elapsed() >= LISTEN {
            // As far as committed records go, which is as far as this client may read.
            let end = consumer.fetch_watermarks(&options.topic, partition as i32, QUESTION).ok().map(|(_, end)| end);
            if doubt.told(*next, end) == Verdict::Replace {
                return Ok(Left::Deaf);
            }
            heard = Instant::now();
        }
    }
    Ok(Left::Dropped)
}

/// What has arrived, waiting for the first of it, up to a failure or the end of the partition.
fn poll(consumer: &BaseConsumer, wait: Duration) -> (Vec<StoredRecord>, Option<KafkaError>) {
    let (mut records, mut bytes) = (Vec::new(), 0);
    let mut wait = wait;
    while records.len() < CHUNK_RECORDS && bytes < CHUNK_BYTES {
        match consumer.poll(wait) {
            Some(Ok(message)) => {
                let stored = stored_record(&message);
                bytes += stored.record.size();
                records.push(stored);
            }
            Some(Err(KafkaError::PartitionEOF(_))) | None => return (records, None),
            Some(Err(error)) => return (records, Some(error)),
        }
        wait = Duration::ZERO;
    }
    (records, None)
}

/// Where the consumer stands, markers included; nothing before it has read anything.
fn position(consumer: &BaseConsumer) -> Option<Offset> {
    let places = consumer.position().ok()?;
    match places.elements().first()?.offset() {
        KafkaOffset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// Ends the reader for what does not go away by itself. librdkafka goes on trying for the rest, such as lost connections.
fn refuse(error: KafkaError, options: &KafkaOptions, partition: u32, offset: Offset) -> Result<(), LogError> {
    let code = error.rdkafka_error_code();
    match code {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
            Err(LogError::OffsetOutOfRange { topic: options.topic.clone(), partition, offset })
        }
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed,
        ) => Err(LogError::broken("read the log", explain(error, &Witness::default()))),
        _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => Err(LogError::broken("read the log", error)),
        // Somebody has changed a password or a certificate while we run. It may be changed back.
        Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => {
            warn!(topic = options.topic, partition, %error, "the brokers refuse the reader's connection; it goes on trying");
            Ok(())
        }
        _ => {
            debug!(topic = options.topic, partition, %error, "the reader waits for the brokers");
            Ok(())
        }
    }
}

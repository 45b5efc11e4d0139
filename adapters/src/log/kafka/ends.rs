//! Where partitions start and end, asked of the brokers.
//!
//! Kafka answers a commit before its marker is in the partition, so right after an acknowledgement the last stable offset may still
//! be before the acknowledged record. Invariant of the port: reading up to the end sees all that was acknowledged before the question.
//! Hence the end is the last stable offset once it has reached what was *written* when the question came: by then each transaction
//! among it is decided. Usually that is at once or some milliseconds later; a transaction that hangs holds the answer up until the
//! broker aborts it.

use std::sync::Arc;
use std::time::Duration;

use lotline_domain::port::LogError;
use lotline_domain::record::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{IsError, KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use super::trouble::{Witness, explain};
use super::{KafkaOptions, REQUEST_TIMEOUT, TRANSACTION_TIMEOUT, destroy, settings};

/// The broker looks for transactions that hang every 10 s.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(TRANSACTION_TIMEOUT.as_secs() + 15);

/// How long the topic is looked for before it counts as failed, in tries that grow. Between two of them it shows whether the brokers are
/// only slow, or whether we will never be let in.
const LOOKS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)];

/// How long the leader of a partition may take before another is looked for.
const FIRST_TRY: Duration = Duration::from_secs(3);

/// The first wait for a transaction to be decided; each further wait is longer, up to the second.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// A stranger's transaction, or one whose producer has died with a longer timeout than ours.
#[derive(Debug, thiserror::Error)]
#[error("a transaction before offset {written} has been open for too long; the log is readable up to {stable}")]
struct OpenTransaction {
    written: Offset,
    stable: Offset,
}

pub(super) struct Ends {
    topic: Arc<str>,
    /// Both present until this is dropped.
    observers: Option<Observers>,
}

/// How long to wait for what the client reports after a failure. It is there already; a poll without time gives up at the first log line.
const HEARING: Duration = Duration::from_millis(50);

type Observer = BaseConsumer<Witness>;

#[derive(Clone)]
struct Observers {
    committed: Arc<Observer>,
    written: Arc<Observer>,
}

impl Ends {
    pub(super) fn new(options: &KafkaOptions) -> Result<Self, LogError> {
        let observer = |isolation| {
            let witness = Witness::default();
            let created: KafkaResult<Observer> =
                settings::observer(options, isolation).create_with_context(witness.clone());
            created.map(Arc::new).map_err(|error| LogError::broken("create a Kafka client", explain(error, &witness)))
        };
        let observers = Observers { committed: observer("read_committed")?, written: observer("read_uncommitted")? };
        Ok(Self { topic: options.topic.as_str().into(), observers: Some(observers) })
    }

    /// The end for readers that see committed records only.
    pub(super) async fn stable(&self, partition: u32) -> Result<Offset, LogError> {
        let (_, written) = self.written(partition).await?;
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        let mut wait = FIRST_WAIT;
        loop {
            let (_, stable) = self.watermarks(&self.observers().committed, partition).await?;
            if stable >= written {
                return Ok(stable);
            }
            if Instant::now() >= deadline {
                return Err(LogError::broken("find the end of the log", OpenTransaction { written, stable }));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// The first offset that is kept, and the one after the last record that was written, whether committed or not.
    pub(super) async fn written(&self, partition: u32) -> Result<(Offset, Offset), LogError> {
        self.watermarks(&self.observers().written, partition).await
    }

    async fn watermarks(&self, observer: &Arc<Observer>, partition: u32) -> Result<(Offset, Offset), LogError> {
        let topic = Arc::clone(&self.topic);
        let ask = move |observer: &Observer| {
            let first = observer.fetch_watermarks(&topic, partition as i32, FIRST_TRY);
            first.or_else(|_| {
                // The client goes on asking the leader that it remembers, be it dead: only new metadata tells it of another.
                observer.fetch_metadata(Some(&topic), REQUEST_TIMEOUT)?;
                observer.fetch_watermarks(&topic, partition as i32, REQUEST_TIMEOUT)
            })
        };
        let found = ask_blocking(observer, ask).await;
        found.map_err(|error| LogError::broken("find the end of the log", explain(error, observer.context())))
    }

    /// How many partitions the topic has; nothing when it does not exist, or not everywhere yet.
    pub(super) async fn partitions(&self) -> Result<Option<u32>, LogError> {
        let observer = &self.observers().committed;
        let mut found = Err(KafkaError::Canceled);
        for patience in LOOKS {
            let topic = Arc::clone(&self.topic);
            found = ask_blocking(observer, move |observer| count(observer, &topic, patience)).await;
            let is_late = matches!(
                found,
                Err(KafkaError::MetadataFetch(
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut
                ))
            );
            if !is_late || observer.context().is_refused() {
                break;
            }
        }
        found.map_err(|error| LogError::broken("look for the topic", explain(error, observer.context())))
    }

    /// The fewest copies that a partition of a topic has; nothing when the topic does not exist.
    pub(super) async fn copies(&self, topic: &str) -> Result<Option<usize>, LogError> {
        let topic = topic.to_owned();
        let ask = move |observer: &Observer| {
            let metadata = observer.fetch_metadata(Some(&topic), REQUEST_TIMEOUT)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            Ok(found.and_then(|found| found.partitions().iter().map(|partition| partition.replicas().len()).min()))
        };
        let observer = &self.observers().committed;
        let found = ask_blocking(observer, ask).await;
        found.map_err(|error| LogError::broken("look for the topic", explain(error, observer.context())))
    }

    fn observers(&self) -> &Observers {
        self.observers.as_ref().expect("invariant: the observers are there until this is dropped")
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        destroy(self.observers.take());
    }
}

fn count(observer: &Observer, topic: &str, patience: Duration) -> KafkaResult<Option<u32>> {
    let metadata = observer.fetch_metadata(Some(topic), patience)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    let without_leader = found.partitions().iter().any(|partition| partition.leader() < 0);
    match found.error().filter(IsError::is_error).map(RDKafkaErrorCode::from) {
        None if without_leader || found.partitions().is_empty() => Ok(None),
        None => Ok(Some(found.partitions().len() as u32)),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::LeaderNotAvailable) => Ok(None),
        Some(code) => Err(KafkaError::MetadataFetch(code)),
    }
}

async fn ask_blocking<T: Send + 'static>(
    observer: &Arc<Observer>,
    ask: impl FnOnce(&Observer) -> KafkaResult<T> + Send + 'static,
) -> KafkaResult<T> {
    let observer = Arc::clone(observer);
    let asking = tokio::task::spawn_blocking(move || {
        // Nobody else polls an observer, so what its client reports is let go here, and heard by its witness when there is a failure.
        while observer.poll(Duration::ZERO).is_some() {}
        let answer = ask(&observer);
        match &answer {
            Ok(_) => observer.context().forget(),
            Err(_) => while observer.poll(HEARING).is_some() {},
        }
        answer
    });
    asking.await.unwrap_or(Err(KafkaError::Canceled))
}

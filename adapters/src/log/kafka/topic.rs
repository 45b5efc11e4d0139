//! Creating a topic, or checking the one that is there.

use std::time::Duration;

use lotline_domain::port::LogError;
use lotline_domain::position::TopicKind;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use super::ends::Ends;
use super::trouble::{Witness, explain};
use super::{KafkaOptions, OPEN_TIMEOUT, REQUEST_TIMEOUT, destroy, settings, terms};

/// How long to wait before the brokers are asked again whether the topic is there.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A topic that is still not there after it was created.
#[derive(Debug, thiserror::Error)]
#[error("the brokers have not made the topic available in time")]
struct NotAvailable;

/// Who made the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    Us,
    SomebodyElse,
}

/// Makes sure that the topic is there with the partitions that are configured, and that a ledger lasts in it.
pub(super) async fn ensure(options: &KafkaOptions, kind: TopicKind, ends: &Ends) -> Result<(), LogError> {
    let mut found = ends.partitions().await?;
    let mut maker = Maker::SomebodyElse;
    if found.is_none() {
        maker = create(options, kind).await?;
        let deadline = Instant::now() + OPEN_TIMEOUT;
        while found.is_none() {
            if Instant::now() >= deadline {
                return Err(LogError::broken("create the topic", NotAvailable));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            found = ends.partitions().await?;
        }
    }
    if let Some(actual) = found {
        check_count(options, actual)?;
    }
    if (kind, maker) == (TopicKind::Ledger, Maker::SomebodyElse) { terms::check(options).await } else { Ok(()) }
}

/// Whether the topic is there, with the partitions that are configured. Nothing is created.
pub(super) async fn find(options: &KafkaOptions, ends: &Ends) -> Result<bool, LogError> {
    let Some(actual) = ends.partitions().await? else { return Ok(false) };
    check_count(options, actual)?;
    Ok(true)
}

fn check_count(options: &KafkaOptions, actual: u32) -> Result<(), LogError> {
    if actual == options.partitions {
        Ok(())
    } else {
        Err(LogError::PartitionCount { topic: options.topic.clone(), expected: options.partitions, actual })
    }
}

async fn create(options: &KafkaOptions, kind: TopicKind) -> Result<Maker, LogError> {
    let witness = Witness::default();
    let broken = |error: KafkaError| LogError::broken("create the topic", explain(error, &witness));
    let admin: AdminClient<Witness> = settings::client(options).create_with_context(witness.clone()).map_err(broken)?;
    let (copies, in_sync) = (options.replication.max(1), if options.replication >= 3 { "2" } else { "1" });
    let max_batch_bytes = settings::max_batch_bytes(options).to_string();
    let mut topic = NewTopic::new(&options.topic, options.partitions as i32, TopicReplication::Fixed(copies as i32))
        .set("min.insync.replicas", in_sync)
        .set(terms::MAX_MESSAGE_BYTES, &max_batch_bytes);
    let retention = options.signal_retention.map(|kept| kept.as_millis().to_string());
    match kind {
        TopicKind::Ledger => {
            topic = terms::LEDGER.into_iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        }
        TopicKind::Signals => {
            topic = topic.set("cleanup.policy", "delete").set("unclean.leader.election.enable", "false");
            if let Some(retention) = &retention {
                topic = topic.set("retention.ms", retention);
            }
        }
    }
    if options.flush_each_batch {
        topic = topic.set(terms::FLUSH_MESSAGES, "1");
    }
    let timeouts = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    let results = admin.create_topics([&topic], &timeouts).await;
    destroy(admin);
    match results.map_err(broken)?.into_iter().next() {
        Some(Ok(_)) => Ok(Maker::Us),
        // Another process was faster; what it made is checked like any topic that is there.
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => Ok(Maker::SomebodyElse),
        Some(Err((_, code))) => Err(broken(KafkaError::AdminOp(code))),
    }
}

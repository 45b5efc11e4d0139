//! Creating a topic, or checking the one that is there.

use std::time::Duration;

use lotline_domain::port::LogError;
use lotline_domain::position::TopicKind;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use super::ends::Ends;
use super::{KafkaOptions, OPEN_TIMEOUT, REQUEST_TIMEOUT, destroy, settings};

/// How long to wait before the brokers are asked again whether the topic is there.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A topic that is still not there after it was created.
#[derive(Debug, thiserror::Error)]
#[error("the brokers have not made the topic available in time")]
struct NotAvailable;

/// Makes sure that the topic is there with the partitions that are configured.
pub(super) async fn ensure(options: &KafkaOptions, kind: TopicKind, ends: &Ends) -> Result<(), LogError> {
    let mut found = ends.partitions().await?;
    if found.is_none() {
        create(options, kind).await?;
        let deadline = Instant::now() + OPEN_TIMEOUT;
        while found.is_none() {
            if Instant::now() >= deadline {
                return Err(LogError::broken("create the topic", NotAvailable));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            found = ends.partitions().await?;
        }
    }
    match found {
        Some(actual) if actual != options.partitions => {
            Err(LogError::PartitionCount { topic: options.topic.clone(), expected: options.partitions, actual })
        }
        Some(_) | None => Ok(()),
    }
}

async fn create(options: &KafkaOptions, kind: TopicKind) -> Result<(), LogError> {
    let broken = |error: KafkaError| LogError::broken("create the topic", error);
    let admin: AdminClient<DefaultClientContext> = settings::client(options).create().map_err(broken)?;
    let (copies, in_sync) = (options.replication.max(1), if options.replication >= 3 { "2" } else { "1" });
    let max_batch_bytes = settings::max_batch_bytes(options).to_string();
    let retention = match (kind, options.signal_retention) {
        (TopicKind::Ledger, _) => Some("-1".to_owned()),
        (TopicKind::Signals, kept) => kept.map(|kept| kept.as_millis().to_string()),
    };
    let mut topic = NewTopic::new(&options.topic, options.partitions as i32, TopicReplication::Fixed(copies as i32))
        .set("cleanup.policy", "delete")
        .set("min.insync.replicas", in_sync)
        .set("unclean.leader.election.enable", "false")
        .set("max.message.bytes", &max_batch_bytes);
    if let Some(retention) = &retention {
        topic = topic.set("retention.ms", retention);
    }
    if kind == TopicKind::Ledger {
        topic = topic.set("retention.bytes", "-1");
    }
    if options.flush_each_batch {
        topic = topic.set("flush.messages", "1");
    }
    let timeouts = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    let results = admin.create_topics([&topic], &timeouts).await.map_err(broken)?;
    destroy(admin);
    match results.into_iter().next() {
        // Another process was faster; what it made is checked like any topic that is there.
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists)) | Ok(_)) | None => Ok(()),
        Some(Err((_, code))) => Err(LogError::broken("create the topic", KafkaError::AdminOp(code))),
    }
}

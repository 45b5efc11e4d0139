//! What the brokers do to keep what they have acknowledged, asked of them rather than of the configuration.
//!
//! A topic is made once, by whatever the configuration said that day, and its settings can be changed since; so only the brokers know. An
//! acknowledged append stands in two topics: its records in the ledger, and the decision to commit them in `__transaction_state`. The markers in
//! the ledger come after the acknowledgement, so a broker that forgets the decision forgets the append. Both topics count.

use lotline_domain::port::LogError;

use super::KafkaOptions;
use super::ends::Ends;
use super::terms::{FLUSH_MESSAGES, describe};

/// Where the brokers keep the decisions of transactions.
const TRANSACTIONS: &str = "__transaction_state";

/// The two topics that an acknowledged append stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaDurability {
    /// The topic of the log.
    pub log: TopicDurability,
    /// Where commits are decided; nothing before the first transaction.
    pub transactions: Option<TopicDurability>,
}

/// How a topic is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDurability {
    /// Its name.
    pub topic: String,
    /// Copies of the partition that has the fewest.
    pub copies: usize,
    /// Copies that must have a record before it is acknowledged (`min.insync.replicas`).
    pub in_sync: usize,
    /// Whether each batch is on the disk before it is acknowledged (`flush.messages=1`).
    pub flushed: bool,
    /// Whether a copy that lacks acknowledged records may become the leader (`unclean.leader.election.enable`).
    pub unclean_election: bool,
}

pub(super) async fn ask(options: &KafkaOptions, ends: &Ends) -> Result<KafkaDurability, LogError> {
    let log =
        of_topic(options, ends, &options.topic).await?.ok_or_else(|| LogError::broken("look for the topic", Gone))?;
    Ok(KafkaDurability { log, transactions: of_topic(options, ends, TRANSACTIONS).await? })
}

/// The topic was there when the log was opened.
#[derive(Debug, thiserror::Error)]
#[error("the topic is not there any more")]
struct Gone;

async fn of_topic(options: &KafkaOptions, ends: &Ends, topic: &str) -> Result<Option<TopicDurability>, LogError> {
    let Some(copies) = ends.copies(topic).await? else { return Ok(None) };
    let described = describe(options, topic).await?;
    let found = described.entry_map();
    let value = |name: &str| found.get(name).and_then(|entry| entry.value.as_deref());
    Ok(Some(TopicDurability {
        topic: topic.to_owned(),
        copies,
        in_sync: value("min.insync.replicas").and_then(|count| count.parse().ok()).unwrap_or(1),
        flushed: value(FLUSH_MESSAGES) == Some("1"),
        unclean_election: value("unclean.leader.election.enable") != Some("false"),
    }))
}

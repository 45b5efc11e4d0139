//! The terms on which a topic can be the system of record, asked of a topic that somebody else has made.
//!
//! Lotline creates its ledger with all of them. A topic that was made by hand, or whose settings were changed since, might delete
//! or compact events, lose acknowledged ones when a replica behind the others becomes leader, or refuse a record within the limit.
//! None of this shows until the events are missing, so the ledger is not opened at all.

use std::fmt;

use lotline_domain::port::LogError;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::error::KafkaError;

use super::trouble::{Witness, explain};
use super::{KafkaOptions, REQUEST_TIMEOUT, destroy, settings};

/// The setting that makes a broker flush each batch.
pub(super) const FLUSH_MESSAGES: &str = "flush.messages";

/// The topic's own limit on a record batch.
pub(super) const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// What every ledger needs word by word, besides room for its largest record. Creation sets the same.
pub(super) const LEDGER: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("unclean.leader.election.enable", "false"),
];

/// A topic that can't be a ledger as it is set.
#[derive(Debug, thiserror::Error)]
#[error(
    "topic {topic} is not safe for a ledger: {}; records that are already gone do not come back, so compare the topic with a backup, \
     then repair it with `kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {topic} \
     --add-config {}`",
    join(broken, "; "),
    join(broken.iter().map(|term| format!("{}={}", term.name, term.needed)), ",")
)]
struct UnsafeTopic {
    topic: String,
    brokers: String,
    broken: Vec<BrokenTerm>,
}

/// A setting that is not what it must be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name} is {} but must be {}{needed}",
    found.as_deref().unwrap_or("not reported"),
    if *.at_least { "at least " } else { "" }
)]
struct BrokenTerm {
    name: &'static str,
    found: Option<String>,
    needed: String,
    at_least: bool,
}

/// The brokers' answer has no topic in it, or nothing about the topic: rdkafka does not hand on why.
#[derive(Debug, thiserror::Error)]
#[error(
    "the brokers have not described the topic; mostly this user lacks DescribeConfigs on it, which infra/deploy/kafka-acls.sh gives"
)]
struct NotDescribed;

/// Asks how the topic is set, and refuses it when a ledger in it would not last.
pub(super) async fn check(options: &KafkaOptions) -> Result<(), LogError> {
    let topic = describe(options, &options.topic).await?;
    let found = topic.entry_map();
    let value = |name: &str| found.get(name).and_then(|entry| entry.value.as_deref());
    let terms = broken_terms(value, settings::max_batch_bytes(options));
    if !terms.is_empty() {
        let refused = UnsafeTopic { topic: options.topic.clone(), brokers: options.brokers.clone(), broken: terms };
        return Err(LogError::broken("open the topic", refused));
    }
    if options.flush_each_batch && value(FLUSH_MESSAGES) != Some("1") {
        tracing::warn!(
            log.topic = options.topic,
            flush.messages = value(FLUSH_MESSAGES),
            "each batch is to be flushed, but the topic was created without it; set flush.messages=1 on the topic"
        );
    }
    Ok(())
}

/// Every setting that holds for a topic, whether it was set there or is the broker's default.
pub(super) async fn describe(options: &KafkaOptions, topic: &str) -> Result<ConfigResource, LogError> {
    const ACTION: &str = "read the topic's settings";
    let witness = Witness::default();
    let broken = |error: KafkaError| LogError::broken(ACTION, explain(error, &witness));
    let admin: AdminClient<Witness> = settings::client(options).create_with_context(witness.clone()).map_err(broken)?;
    let timeouts = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
    let described = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &timeouts).await;
    destroy(admin);
    match described.map_err(broken)?.into_iter().next() {
        Some(Ok(topic)) if !topic.entries.is_empty() => Ok(topic),
        Some(Err(code)) => Err(broken(KafkaError::AdminOp(code))),
        Some(Ok(_)) | None => Err(LogError::broken(ACTION, NotDescribed)),
    }
}

fn broken_terms<'a>(value: impl Fn(&str) -> Option<&'a str>, max_batch_bytes: usize) -> Vec<BrokenTerm> {
    let found = |name| value(name).map(str::to_owned);
    let exact = LEDGER.into_iter().filter(|(name, needed)| value(name) != Some(needed));
    let mut terms: Vec<_> = exact
        .map(|(name, needed)| BrokenTerm { name, found: found(name), needed: needed.to_owned(), at_least: false })
        .collect();
    let limit = value(MAX_MESSAGE_BYTES).and_then(|limit| limit.parse::<usize>().ok());
    if limit.is_none_or(|limit| limit < max_batch_bytes) {
        let (name, needed) = (MAX_MESSAGE_BYTES, max_batch_bytes.to_string());
        terms.push(BrokenTerm { name, found: found(name), needed, at_least: true });
    }
    terms
}

fn join(parts: impl IntoIterator<Item = impl fmt::Display>, separator: &str) -> String {
    parts.into_iter().map(|part| part.to_string()).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(changed: &str, to: Option<&'static str>) -> Vec<String> {
        let value = |name: &str| match name {
            _ if name == changed => to,
            MAX_MESSAGE_BYTES => Some("1000"),
            _ => LEDGER.iter().find(|(term, _)| *term == name).map(|(_, needed)| *needed),
        };
        broken_terms(value, 1_000).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_creation_sets_is_accepted() {
        assert!(broken("", None).is_empty());
        assert!(broken(MAX_MESSAGE_BYTES, Some("1001")).is_empty());
    }

    #[test]
    fn each_term_counts() {
        for (name, found, expected) in [
            ("cleanup.policy", Some("compact,delete"), "cleanup.policy is compact,delete but must be delete"),
            ("retention.ms", Some("604800000"), "retention.ms is 604800000 but must be -1"),
            ("retention.bytes", None, "retention.bytes is not reported but must be -1"),
            (
                "unclean.leader.election.enable",
                Some("true"),
                "unclean.leader.election.enable is true but must be false",
            ),
            (MAX_MESSAGE_BYTES, Some("999"), "max.message.bytes is 999 but must be at least 1000"),
            (MAX_MESSAGE_BYTES, None, "max.message.bytes is not reported but must be at least 1000"),
        ] {
            assert_eq!(broken(name, found), [expected]);
        }
    }

    #[test]
    fn the_refusal_says_how_to_repair() {
        let term = |name, needed: &str| BrokenTerm { name, found: None, needed: needed.to_owned(), at_least: false };
        let broken = vec![term("cleanup.policy", "delete"), term("retention.ms", "-1")];
        let refused = UnsafeTopic { topic: "ledger".to_owned(), brokers: "kafka:9092".to_owned(), broken };
        let command = "kafka-configs.sh --bootstrap-server kafka:9092 --alter --entity-type topics --entity-name ledger \
                       --add-config cleanup.policy=delete,retention.ms=-1`";
        assert!(refused.to_string().ends_with(command), "{refused}");
    }
}

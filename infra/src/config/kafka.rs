//! Section `[kafka]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Apache Kafka.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSection {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Replicas of a topic that Lotline creates. 3 in production, with `min.insync.replicas=2` at the broker.
    pub replication: u32,
    /// Create topics with `flush.messages=1`: survives power loss on a single broker, at a price that `make bench` shows.
    pub flush_each_batch: bool,
    /// Passed to librdkafka as they are: `security.protocol`, `sasl.mechanism`, `ssl.ca.location` and so on.
    pub client: BTreeMap<String, String>,
}

impl Default for KafkaSection {
    fn default() -> Self {
        Self { brokers: "127.0.0.1:9092".into(), replication: 1, flush_each_batch: false, client: BTreeMap::new() }
    }
}

//! What each kind of client is told. Operators may set anything else, but not what the log's guarantees rest on.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::{KafkaOptions, TRANSACTION_TIMEOUT};

/// What a record batch needs beyond key, headers and value.
const BATCH_OVERHEAD: usize = 64 * 1024;

/// Largest record batch, on the wire and in the topic.
pub(super) fn max_batch_bytes(options: &KafkaOptions) -> usize {
    options.max_record_bytes + BATCH_OVERHEAD
}

/// A `transactional.id` of a partition's writers.
pub(super) fn transactional_id(options: &KafkaOptions, partition: u32, number: u32) -> String {
    match number {
        0 => format!("{}-{partition}", options.topic),
        _ => format!("{}-{partition}-{number}", options.topic),
    }
}

/// A client that may be told more.
pub(super) fn client(options: &KafkaOptions) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("client.id", "lotline").set("socket.nagle.disable", "true");
    config.extend(options.client.clone());
    config.set("bootstrap.servers", &options.brokers);
    config
}

/// One of the ids of a partition's writer.
pub(super) fn transactional_producer(options: &KafkaOptions, partition: u32, number: u32) -> ClientConfig {
    let mut config = producer(options);
    config
        .set("transactional.id", transactional_id(options, partition, number))
        .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string());
    config
}

/// A producer that neither loses nor doubles nor reorders what it sends.
pub(super) fn producer(options: &KafkaOptions) -> ClientConfig {
    let mut config = client(options);
    if !options.client.contains_key("linger.ms") {
        config.set("linger.ms", "0");
    }
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.max.bytes", max_batch_bytes(options).to_string());
    config
}

/// Asks for metadata and offsets, never consumes.
pub(super) fn observer(options: &KafkaOptions, isolation: &str) -> ClientConfig {
    let mut config = client(options);
    config.set("isolation.level", isolation).set("allow.auto.create.topics", "false");
    // Its witness listens for lost connections.
    config.set_log_level(RDKafkaLogLevel::Info);
    config
}

/// The consumer of a reader. The group id is asked for by librdkafka; no group is joined and nothing is committed.
pub(super) fn consumer(options: &KafkaOptions) -> ClientConfig {
    let mut config = observer(options, "read_committed");
    if !options.client.contains_key("group.id") {
        config.set("group.id", format!("{}-reader", options.topic));
    }
    for (name, value) in [("queued.max.messages.kbytes", "16384"), ("fetch.queue.backoff.ms", "10")] {
        if !options.client.contains_key(name) {
            config.set(name, value);
        }
    }
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        // A place that is not there is an error, not a reason to start elsewhere.
        .set("auto.offset.reset", "error");
    config
}

/// A member of the group of writers. It is assigned partitions and consumes none of them.
pub(super) fn member(options: &KafkaOptions) -> ClientConfig {
    let mut config = client(options);
    for (name, value) in [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "1500")] {
        if !options.client.contains_key(name) {
            config.set(name, value);
        }
    }
    config
        .set("group.id", format!("{}-writers", options.topic))
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "latest");
    config
}

//! A Kafka client that is connected, is answered whatever else it asks, and brings no records any more: another takes its place.

use std::time::Duration;

use lotline_adapters::log::kafka::{KafkaLog, KafkaOptions};
use lotline_domain::port::{EventLog, LogRead, LogReader};
use lotline_domain::position::TopicKind;
use lotline_tests::contract::plain;
use lotline_tests::proxy::Proxy;
use lotline_tests::stack::{self, Services};
use tokio::time::Instant;

/// Kafka's `Fetch`.
const FETCH: i16 = 1;
/// Much less than the client waits for an answer, and much more than it takes to doubt it.
const PATIENCE: Duration = Duration::from_mins(2);
const CLIENT_WAITS_MS: &str = "300000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_brings_nothing_is_replaced() {
    let proxy = Proxy::of_kafka().await;
    let kafka = Services::start("deaf", &["--detour", &proxy.port.to_string(), "kafka"]).await;
    proxy.lead_to(&kafka.setting("STACK_KAFKA_DETOUR").await);
    let topic = stack::unique("deaf.ledger.v1");
    let options = KafkaOptions::new(kafka.setting("STACK_KAFKA_BROKERS").await, topic.as_str(), 1);
    let direct = KafkaLog::open(options, TopicKind::Ledger).await.unwrap();
    let mut options = KafkaOptions::new(format!("127.0.0.1:{}", proxy.port), topic.as_str(), 1);
    options.client.insert("socket.timeout.ms".into(), CLIENT_WAITS_MS.into());
    let detoured = KafkaLog::open(options, TopicKind::Ledger).await.unwrap();
    let mut writer = direct.writer(0).await.unwrap();
    let mut reader = detoured.reader(0, 0).await.unwrap();
    writer.append(vec![plain("a")]).await.unwrap();
    assert_eq!(read(reader.as_mut(), 1).await, ["a"]);

    proxy.withhold(FETCH);
    // A question that is under way is answered still; the next one is not.
    writer.append(vec![plain("b")]).await.unwrap();
    assert_eq!(read(reader.as_mut(), 1).await, ["b"]);
    writer.append(vec![plain("c")]).await.unwrap();
    writer.append(vec![plain("d")]).await.unwrap();
    assert_eq!(read(reader.as_mut(), 2).await, ["c", "d"], "nothing is lost or told twice");
}

async fn read(reader: &mut dyn LogReader, records: usize) -> Vec<String> {
    let (mut found, until) = (Vec::new(), Instant::now() + PATIENCE);
    while found.len() < records {
        assert!(Instant::now() < until, "the reader brings nothing after {found:?}");
        let batch = reader.read(records, Duration::from_secs(1)).await.unwrap();
        found.extend(batch.records.iter().map(|stored| String::from_utf8(stored.record.value.to_vec()).unwrap()));
    }
    found
}

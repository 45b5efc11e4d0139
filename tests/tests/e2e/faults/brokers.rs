//! Kafka is killed under load: the only broker, and one of three. Nobody restarts Lotline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lotline_tests::client::Client;
use lotline_tests::server::Log;
use lotline_tests::stack::{self, Services};
use rand::seq::SliceRandom;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataTopic;

use crate::load::{Load, PATIENCE, SITES, assert_each_once, chance, every_site_answers, pause};
use crate::site::Plant;

/// Answers that show that work goes on, not that it ends.
const SOME: usize = 100;

async fn plant(name: &str, brokers: String) -> Plant {
    let mut plant = Plant::on(name, Log::Kafka, stack::database(name).await, Some(brokers));
    plant.settings.environment.push(("LOTLINE_TENANT__SITES".into(), format!("{SITES:?}")));
    plant
}

#[tokio::test]
async fn the_only_broker_is_killed_and_comes_back() {
    let (seed, mut chance) = chance("the only broker");
    let kafka = Services::start("broker", &["kafka"]).await;
    let plant = plant("broker", kafka.setting("STACK_KAFKA_BROKERS").await).await;
    let server = plant.serve().await;
    every_site_answers(&server, "first").await;
    let load = Load::start(seed, &[&server]);
    for _ in 0..2 {
        load.goes_on(SOME).await;
        pause(&mut chance, 0, 700).await;
        kafka.kill("kafka").await;
        pause(&mut chance, 100, 3_000).await;
        kafka.up(&["kafka"]).await;
        let took = load.goes_on(SOME).await;
        eprintln!("went on {} ms after the broker was back", took.as_millis());
    }
    every_site_answers(&server, "last").await;
    let told = load.end().await;
    plant.assert_tables_equal_the_log(&Client::new(&server.url, "judge")).await;
    assert_each_once(&plant, &told).await;
}

#[tokio::test]
async fn one_of_three_brokers_is_killed_and_then_another() {
    let (seed, mut chance) = chance("three brokers");
    let mut nodes = ["kafka-three-1", "kafka-three-2", "kafka-three-3"];
    nodes.shuffle(&mut chance);
    let kafka = Services::start("three", &["kafka-three"]).await;
    let brokers = kafka.setting("STACK_KAFKA_THREE_BROKERS").await;
    let mut plant = plant("three", brokers.clone()).await;
    plant.settings.environment.push(("LOTLINE_KAFKA__REPLICATION".into(), "3".into()));
    let server = plant.serve().await;
    every_site_answers(&server, "first").await;
    let load = Load::start(seed, &[&server]);
    for (round, node) in nodes[..2].iter().enumerate() {
        load.goes_on(SOME).await;
        pause(&mut chance, 0, 700).await;
        kafka.kill(node).await;
        let took = every_site_answers(&server, &format!("without {node}")).await;
        eprintln!("without {node}: every site answered within {} ms", took.as_millis());
        load.goes_on(SOME).await;
        if round == 0 {
            kafka.up(&["kafka-three"]).await;
            until_all_copies_are_in_sync(&brokers).await;
        }
    }
    let told = load.end().await;
    plant.assert_tables_equal_the_log(&Client::new(&server.url, "judge")).await;
    assert_each_once(&plant, &told).await;
}

/// Before that, the loss of another broker would take a partition below two copies, which may not be written then.
async fn until_all_copies_are_in_sync(brokers: &str) {
    let observer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let (observer, until) = (Arc::new(observer), Instant::now() + PATIENCE);
    loop {
        let asked = Arc::clone(&observer);
        let missing = tokio::task::spawn_blocking(move || copies_missing(&asked)).await.unwrap();
        if missing == Some(0) {
            return;
        }
        assert!(Instant::now() < until, "partitions that lack a copy: {missing:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many partitions have fewer than three copies in sync; nothing when no broker tells.
fn copies_missing(observer: &BaseConsumer) -> Option<usize> {
    let metadata = observer.fetch_metadata(None, Duration::from_secs(5)).ok()?;
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    Some(partitions.filter(|partition| partition.isr().len() < 3).count())
}

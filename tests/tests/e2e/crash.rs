//! kill -9 of the server under load: nothing acknowledged is lost, nothing is doubled, and the read models still equal the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lotline_domain::partition::partition_of;
use lotline_tests::client::{Client, decision, key, lot};
use lotline_tests::server::{Log, Server};
use lotline_tests::stack;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use crate::site::{Plant, SITE};
use crate::verdicts::{Told, assert_as_told, made_by};

const OPERATORS: usize = 16;
const KILLS: usize = 3;
const PATIENCE: Duration = Duration::from_mins(3);

#[tokio::test]
async fn killed_under_load_on_the_embedded_log() {
    survives(Log::Postgres).await;
}

#[tokio::test]
async fn killed_under_load_on_kafka() {
    survives(Log::Kafka).await;
}

async fn survives(log: Log) {
    let plant = Plant::new("crash", log).await;
    let mut server = plant.serve().await;
    let url = Arc::new(RwLock::new(server.url.clone()));
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut operators = JoinSet::new();
    for number in 0..OPERATORS {
        operators.spawn(work(number, Arc::clone(&url), Arc::clone(&stop), Arc::clone(&answers)));
    }
    for kill in 0..KILLS {
        // The moment differs from kill to kill and hits the writer in whatever it is doing.
        tokio::time::sleep(Duration::from_millis(700 + 333 * kill as u64)).await;
        server.kill();
        server = Server::start(&plant.settings, &["serve"]).await;
        *url.write().await = server.url.clone();
    }
    let until = std::time::Instant::now() + PATIENCE;
    while answers.load(Ordering::Relaxed) < OPERATORS * 10 {
        assert!(std::time::Instant::now() < until, "commands are not answered any more:\n{}", server.printed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    while let Some(ended) = operators.join_next().await {
        told.extend(ended.unwrap());
    }

    let client = Client::new(&server.url, "judge");
    plant.assert_tables_equal_the_log(&client).await;
    let refused = assert_as_told(plant.ledger().await.as_ref(), &told).await;
    assert!((1..told.len()).contains(&refused), "{refused} of {} commands were refused", told.len());
}

/// Registers lots, mixes them and judges them, until told to stop; insists on an answer to each command.
async fn work(number: usize, url: Arc<RwLock<String>>, stop: Arc<AtomicBool>, answers: Arc<AtomicUsize>) -> Vec<Told> {
    let actor = format!("operator-{number}");
    let mut told = Vec::new();
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let raw = format!("R-{number}-{round}");
        let steps = [
            ("registerLot", lot(SITE, &raw, "100", &[])),
            ("registerLot", lot(SITE, &format!("X-{number}-{round}"), "10", &[(&raw, "10.25")])),
            ("recordQcDecision", decision(SITE, &raw, if round % 2 == 1 { "HOLD" } else { "PASS" })),
            // Refused after a HOLD, accepted after a PASS: both are facts.
            ("registerLot", lot(SITE, &format!("Y-{number}-{round}"), "10", &[(&raw, "5")])),
        ];
        for (name, input) in steps {
            told.push(insist(&actor, &url, name, &input).await);
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
    told
}

async fn insist(actor: &str, url: &RwLock<String>, name: &str, input: &Value) -> Told {
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        let client = Client::new(&url.read().await.clone(), actor);
        if let Ok(payload) = client.try_mutate(name, made_by(name), input).await
            && payload.get("errors").is_none()
        {
            return Told::by(actor, name, input, &payload);
        }
        assert!(std::time::Instant::now() < until, "{actor} got no answer to {name} within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// A retry over a restart gives the first answer.
#[tokio::test]
async fn a_retry_after_a_crash_gets_the_first_answer() {
    let plant = Plant::new("retry", Log::Postgres).await;
    let mut server = plant.serve().await;
    let input = lot(SITE, "L-1", "5", &[]);
    let first = Client::new(&server.url, "ann").mutate("registerLot", "lotId", &input).await;
    server.kill();
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let second = ann.mutate("registerLot", "lotId", &input).await;
    assert_eq!(
        (&second["lotId"], &second["version"], &second["replayed"]),
        (&first["lotId"], &first["version"], &json!(true))
    );
    let mut other = input.clone();
    other["code"] = json!("L-2");
    assert_eq!(ann.refused("registerLot", &other).await, "IDEMPOTENCY_KEY_REUSED");
    other["idempotencyKey"] = json!(key());
    ann.mutate("registerLot", "", &other).await;
}

/// A record that Lotline did not write stops what follows that partition, loudly; the rest of the plant goes on.
#[tokio::test]
async fn a_foreign_record_stops_its_partition_only() {
    let plant = Plant::new("foreign", Log::Kafka).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    ann.mutate("registerLot", "", &lot(SITE, "L-1", "5", &[])).await;

    let topic = format!("lotline.{}.ledger.v1", plant.settings.tenant);
    let other = (0..4).find(|partition| *partition != partition_of(SITE, 4)).unwrap();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", stack::kafka_brokers()).create().expect("a producer");
    producer
        .send(BaseRecord::to(&topic).partition(other as i32).key("south").payload("hello"))
        .expect("the record is taken");
    producer.flush(PATIENCE).expect("Kafka takes the record");

    let until = std::time::Instant::now() + PATIENCE;
    while !server.printed().contains("has stopped; everything else goes on") {
        assert!(std::time::Instant::now() < until, "nobody complained:\n{}", server.printed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let second = ann.mutate("registerLot", "", &lot(SITE, "L-2", "5", &[("L-1", "2")])).await;
    let child = crate::site::lot(&ann, "L-2", &second["position"]).await;
    assert_eq!(child["parents"][0]["parent"]["code"], "L-1");
    let health = reqwest::get(format!("{}/health/ready", server.url)).await.unwrap().text().await.unwrap();
    assert!(health.contains("lots"), "the health check names what is degraded: {health}");
}

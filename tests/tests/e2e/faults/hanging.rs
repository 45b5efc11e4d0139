//! A stranger leaves a transaction open in the ledger, and then the node that writes this partition dies. What is committed behind the open
//! transaction stays acknowledged and unseen, the nodes say so, and when Kafka has aborted it all goes on by itself.

use std::time::{Duration, Instant};

use lotline_domain::partition::partition_of;
use lotline_tests::client::{Client, lot};
use lotline_tests::server::Log;
use lotline_tests::stack;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use serde_json::json;

use crate::load::{Load, PATIENCE, SITES, assert_each_once, chance, every_site_answers};
use crate::metric::{until_metric, written_by};
use crate::nodes::{node, until_assigned};
use crate::site::{Plant, SITE};
use crate::tools::tool;

/// Longer than a node waits before it says that a transaction is open for too long (25 s), and than the takeover before that.
const TRANSACTION_TIMEOUT: Duration = Duration::from_mins(1);
/// What the node says then.
const OPEN: &str = "has been open for too long; the log is readable up to";
const LOG_ANSWERS: &str = "lotline_check_passing{check=\"log\"} ";

/// Writes one record into a partition of the ledger, in a transaction that nobody ends. Whoever drops the producer ends it neither.
async fn begin(plant: &Plant, partition: u32) -> FutureProducer {
    let topic = format!("lotline.{}.ledger.v1", plant.settings.tenant);
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", stack::kafka_brokers())
        .set("transactional.id", format!("stranger-{}", plant.settings.tenant))
        .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string())
        .create()
        .unwrap();
    let opened = producer.clone();
    tokio::task::spawn_blocking(move || opened.init_transactions(PATIENCE)).await.unwrap().unwrap();
    producer.begin_transaction().unwrap();
    let message = FutureRecord::to(&topic).partition(partition as i32).key(SITE).payload("never committed");
    producer.send_result(message).map_err(|(error, _)| error).unwrap().await.unwrap().unwrap();
    producer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_nobody_ends_is_told_and_outlived() {
    let mut plant = Plant::new("hanging", Log::Kafka).await;
    plant.settings.environment.push(("LOTLINE_TENANT__SITES".into(), format!("{SITES:?}")));
    let partition = partition_of(SITE, 4);
    let (one, two) = (node(&plant, "one").await, node(&plant, "two").await);
    until_assigned(&one, 2, PATIENCE).await;
    until_assigned(&two, 2, PATIENCE).await;
    every_site_answers(&one, "first").await;
    let (mut writer, other) = if written_by(&one, 2).await.contains(&partition) { (one, two) } else { (two, one) };
    let load = Load::start(chance("hanging transaction").0, &[&writer, &other]);
    load.goes_on(50).await;

    let (stranger, began) = (begin(&plant, partition).await, Instant::now());
    // Behind it commands are decided and acknowledged as ever, and nobody sees them yet.
    let judge = Client::new(&other.url, "judge");
    let behind = judge.mutate("registerLot", "", &lot(SITE, "behind", "10", &[])).await;
    load.goes_on(50).await;
    let told = until_metric(&other, LOG_ANSWERS, |passing| passing < 0.5).await;
    eprintln!("the log counts as not answering after {} ms", told.as_millis());
    let query = "query($at: PositionToken) { lot(site: \"north\", code: \"behind\", consistentWith: $at) { code } }";
    let unseen = judge.send(query, &json!({ "at": behind["position"] })).await.unwrap();
    assert_eq!(unseen["errors"][0]["extensions"]["code"], "CONSISTENCY_TIMEOUT", "{unseen}");

    // Doctor and whoever takes the partition over wait, and then say why they can't go on.
    let settings = plant.settings.clone();
    let doctor = tokio::task::spawn_blocking(move || lotline_tests::server::lotline(&settings).arg("doctor").output());
    writer.kill();
    let doctor = doctor.await.unwrap().expect("the lotline binary starts");
    let complaint = String::from_utf8_lossy(&doctor.stderr).into_owned();
    assert!(!doctor.status.success() && complaint.contains(OPEN), "{complaint}");
    while !other.printed().contains(OPEN) {
        assert!(began.elapsed() < PATIENCE, "{}", other.printed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(began.elapsed() < TRANSACTION_TIMEOUT, "it is said while it can be acted upon: {:?}", began.elapsed());

    every_site_answers(&other, "again").await;
    eprintln!("every site answers {} ms after the transaction began", began.elapsed().as_millis());
    assert!(began.elapsed() > TRANSACTION_TIMEOUT, "it was Kafka that ended the transaction: {:?}", began.elapsed());
    until_metric(&other, LOG_ANSWERS, |passing| passing > 0.5).await;
    assert_eq!(crate::site::lot(&judge, "behind", &behind["position"]).await["code"], "behind");
    let told = load.end().await;
    plant.assert_tables_equal_the_log(&judge).await;
    assert_each_once(&plant, &told).await;
    let doctor = tool(&plant, &["doctor"]);
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
    drop(stranger);
}

//! kill -9 while machines are read: what the collector had on disk reaches the topic, and a batch that stands there twice counts once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_adapters::collector::buffer::store::{Store, StoreOptions};
use lotline_domain::id::SiteId;
use lotline_domain::sample::SignalBatch;
use lotline_infra::demo::operators::Operators;
use lotline_infra::demo::plant::{Plant as Pasteuriser, registers};
use lotline_tests::client::Client;
use lotline_tests::server::Log;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::site::{Plant, SITE, beginning};

const KILLS: u64 = 4;
/// Between two deaths there are at least so many new batches.
const SOME: usize = 40;
const PATIENCE: Duration = Duration::from_secs(90);
const VALUES: &str = "subscription($ids: [ID!]!, $after: PositionToken) { signalValues(ids: $ids, after: $after) { position \
                      values { signal { number } sourceTime } } }";

#[tokio::test]
async fn a_kill_while_machines_are_read_neither_loses_nor_doubles_a_batch() {
    let mut plant = Plant::new("machines", Log::Kafka).await;
    let machine = Pasteuriser::bind(7).await.unwrap();
    let port = machine.address().port();
    let device = format!(r#"[{{id="{}",host="127.0.0.1",port={port},poll_interval_ms=20}}]"#, registers::DEVICE);
    plant.settings.environment.push(("LOTLINE_COLLECTOR__DEVICES".into(), device));
    let stop = CancellationToken::new();
    let running = tokio::spawn(machine.run(stop.clone()));
    let mut server = plant.serve().await;
    declare(&server.url).await;
    let mut count = 0;
    for kill in 0..KILLS {
        count = until_batches(&plant, count + SOME).await;
        // The moment differs from kill to kill: before, while or after a batch is written, published or acknowledged.
        tokio::time::sleep(Duration::from_millis(37 * kill)).await;
        server.kill();
        server = plant.serve().await;
    }
    until_batches(&plant, count + SOME).await;
    assert!(server.stop(PATIENCE).await, "{}", server.printed());
    stop.cancel();
    running.await.unwrap().unwrap();

    let batches = plant.batches().await;
    let counted = assert_all_of_the_buffer(&plant.settings.folder.join("buffer"), &batches);
    eprintln!("{} batches in the topic, {} of them twice", batches.len(), batches.len() - counted.len());
    // Nobody polls any more, so that what is counted stands still.
    plant.settings.environment.retain(|(name, _)| name != "LOTLINE_COLLECTOR__DEVICES");
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    assert_counted_once(&plant, &counted).await;
    assert_told_once(&ann, &counted).await;
}

async fn declare(url: &str) {
    let operators = Operators {
        url: url.to_owned(),
        site: SiteId::new(SITE).unwrap(),
        pace: Duration::ZERO,
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds::default()),
    };
    operators.declare(&registers::signals()).await.unwrap();
}

async fn until_batches(plant: &Plant, wanted: usize) -> usize {
    let until = Instant::now() + PATIENCE;
    loop {
        let count = plant.batches().await.len();
        if count >= wanted {
            return count;
        }
        assert!(Instant::now() < until, "{count} batches, not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The buffer has lived through every death, and all that was ever in it stands in the topic. Gives each batch once.
fn assert_all_of_the_buffer(dir: &Path, batches: &[SignalBatch]) -> BTreeMap<u64, SignalBatch> {
    let options = StoreOptions { dir: dir.to_owned(), max_bytes: 1 << 30, segment_bytes: 8 << 20 };
    let store = Store::open(options, Uuid::nil()).unwrap();
    let mut found: BTreeMap<u64, SignalBatch> = BTreeMap::new();
    for batch in batches {
        assert_eq!(batch.epoch, store.epoch(), "one buffer, one epoch");
        let first = found.entry(batch.sequence).or_insert_with(|| batch.clone());
        assert_eq!(first, batch, "a sequence is never given to two batches");
    }
    assert_eq!(
        (store.cursor(), store.lost()),
        (store.next_sequence(), 0),
        "all of it was acknowledged, nothing dropped"
    );
    let sequences: Vec<u64> = found.keys().copied().collect();
    assert_eq!(sequences, (1..store.next_sequence()).collect::<Vec<_>>(), "what was on disk is in the topic");
    found
}

/// The read model has counted each batch, and each sample once.
async fn assert_counted_once(plant: &Plant, batches: &BTreeMap<u64, SignalBatch>) {
    let last = *batches.keys().next_back().unwrap() as i64;
    let until = Instant::now() + PATIENCE;
    loop {
        let seen: Vec<(Vec<i64>, Vec<i64>)> =
            sqlx::query_as("SELECT starts, ends FROM read.signal_seen WHERE tenant = $1")
                .bind(&plant.settings.tenant)
                .fetch_all(&plant.database.pool)
                .await
                .unwrap();
        if seen == [(vec![1], vec![last])] {
            break;
        }
        assert!(Instant::now() < until, "not every batch is counted: {seen:?}, wanted 1 to {last}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM read.signal_history WHERE tenant = $1")
        .bind(&plant.settings.tenant)
        .fetch_one(&plant.database.pool)
        .await
        .unwrap();
    let samples: usize = batches.values().map(SignalBatch::len).sum();
    assert_eq!(rows as usize, samples, "every sample has its row");
}

/// A subscriber who begins at the beginning is told every batch once, in order.
async fn assert_told_once(ann: &Client, batches: &BTreeMap<u64, SignalBatch>) {
    let data = ann.query("{ signals(site: \"north\", first: 20) { nodes { id } } }", &json!({})).await;
    let ids: Vec<&Value> = data["signals"]["nodes"].as_array().unwrap().iter().map(|node| &node["id"]).collect();
    let mut values = ann.subscribe(VALUES, &json!({ "ids": ids, "after": beginning() })).await;
    for (sequence, batch) in batches {
        let item = values.next(PATIENCE).await.unwrap_or_else(|| panic!("batch {sequence} is not told"));
        let told = item["signalValues"]["values"].as_array().unwrap();
        let mut told: Vec<u64> = told.iter().map(|value| value["signal"]["number"].as_u64().unwrap()).collect();
        let mut stands: Vec<u64> = batch.signals.iter().map(|number| u64::from(*number)).collect();
        told.sort_unstable();
        stands.sort_unstable();
        assert_eq!(told, stands, "batch {sequence}");
    }
    assert_eq!(values.next(Duration::from_millis(700)).await, None, "nothing is told twice");
}

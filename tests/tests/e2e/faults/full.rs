//! The disk of Kafka or of PostgreSQL is full under load: nothing is acknowledged that is not kept, what does not need the disk goes on, and once
//! there is room, and the service runs, so does everything else. Nobody restarts Lotline.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lotline_tests::client::Client;
use lotline_tests::server::Log;
use lotline_tests::small_disk::SmallDisk;
use lotline_tests::stack::{self, Services};

use crate::load::{Load, PATIENCE, SITES, assert_each_once, chance, every_site_answers, pause};
use crate::site::Plant;

/// Room for a new cluster of PostgreSQL and its log, or for what Kafka begins with.
const DISK_BYTES: usize = 256 << 20;
/// Answers that show that work goes on.
const SOME: usize = 100;
/// Without an answer, of eight operators.
const STILL: Duration = Duration::from_secs(3);

#[tokio::test]
async fn the_disk_of_kafka_is_full() {
    is_full("full-kafka", "kafka", Log::Kafka).await;
}

#[tokio::test]
async fn the_disk_of_postgres_is_full_with_the_embedded_log() {
    is_full("full-pg", "postgres", Log::Postgres).await;
}

#[tokio::test]
async fn the_disk_of_postgres_is_full_beside_kafka() {
    is_full("full-beside", "postgres", Log::Kafka).await;
}

async fn is_full(name: &str, service: &str, log: Log) {
    let (seed, mut chance) = chance(name);
    let services = Services::start(name, &[service]).await;
    services.down(service).await;
    let home = services.folder().join(if service == "kafka" { "kafka-1" } else { service });
    let disk = SmallDisk::over(&home.join("data"), DISK_BYTES);
    services.up_on(&disk, &[service]).await;
    let plant = plant(name, service, log, &services).await;
    let server = plant.serve().await;
    every_site_answers(&server, "first").await;
    let load = Load::start(seed, &[&server]);
    load.goes_on(SOME).await;

    disk.fill();
    if service == "postgres" && log == Log::Kafka {
        until_it_says(&home.join("server.log")).await;
        // What is decided needs no PostgreSQL.
        load.goes_on(SOME).await;
    } else {
        load.stands_still(STILL).await;
        until_it_says(&home.join("server.log")).await;
    }
    pause(&mut chance, 0, 2_000).await;
    disk.make_room();
    // It may have ended, or go on.
    services.up_on(&disk, &[service]).await;
    let took = load.goes_on(SOME).await;
    eprintln!("went on {} ms after there was room", took.as_millis());

    every_site_answers(&server, "last").await;
    let told = load.end().await;
    plant.assert_tables_equal_the_log(&Client::new(&server.url, "judge")).await;
    assert_each_once(&plant, &told).await;
}

/// With the service on the small disk, and the other one of the run.
async fn plant(name: &str, service: &str, log: Log, services: &Services) -> Plant {
    let mut plant = if service == "kafka" {
        let brokers = services.setting("STACK_KAFKA_BROKERS").await;
        Plant::on(name, log, stack::database(name).await, Some(brokers))
    } else {
        let database = stack::database_at(&services.setting("STACK_POSTGRES_URL").await, name).await;
        Plant::on(name, log, database, (log == Log::Kafka).then(stack::kafka_brokers))
    };
    plant.settings.environment.push(("LOTLINE_TENANT__SITES".into(), format!("{SITES:?}")));
    plant
}

/// Waits until the service itself has met the end of its disk, and nothing else is the reason.
async fn until_it_says(log: &Path) {
    let until = Instant::now() + PATIENCE;
    while !fs::read_to_string(log).unwrap().contains("No space left on device") {
        assert!(Instant::now() < until, "{} says nothing of its disk", log.display());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

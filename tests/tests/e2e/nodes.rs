//! Two servers on one Kafka and one PostgreSQL: they share the sites, and one that dies or stands still loses its own to the other, with
//! nothing lost and nothing doubled.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use lotline_domain::partition::partition_of;
use lotline_tests::client::{Client, lot};
use lotline_tests::server::{Log, Server, Settings};
use serde_json::json;

use crate::load::{Load, PATIENCE, SITES, assert_each_once, chance, every_site_answers};
use crate::site::Plant;

/// What a takeover may take, recovery included; these ledgers are small. The aim is 15 s, and a loaded machine gets some more.
pub(crate) const TAKEOVER: Duration = Duration::from_secs(25);

async fn plant(name: &str, log: Log) -> Plant {
    let mut plant = Plant::new(name, log).await;
    plant.settings.environment.push(("LOTLINE_TENANT__SITES".into(), format!("{SITES:?}")));
    plant
}

pub(crate) async fn node(plant: &Plant, name: &str) -> Server {
    let mut settings: Settings = plant.settings.clone();
    settings.environment.retain(|(key, _)| key != "LOTLINE_CLUSTER__NODE");
    settings.environment.push(("LOTLINE_CLUSTER__NODE".into(), name.to_owned()));
    Server::start(&settings, &["serve"]).await
}

/// Partitions that a node says it writes.
async fn assigned(server: &Server) -> u32 {
    let text = match reqwest::get(format!("{}/metrics", server.url)).await {
        Ok(answer) => answer.text().await.unwrap(),
        Err(_) => return 0,
    };
    let line = text.lines().find(|line| line.starts_with("lotline_writer_assigned_partitions "));
    line.and_then(|line| line.rsplit(' ').next()).map_or(0, |value| value.parse::<f64>().unwrap() as u32)
}

pub(crate) async fn until_assigned(server: &Server, wanted: u32, within: Duration) {
    let until = Instant::now() + within;
    while assigned(server).await != wanted {
        assert!(Instant::now() < until, "{} partitions, not {wanted}:\n{}", assigned(server).await, server.printed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn lot_at(site: &str, code: &str) -> serde_json::Value {
    lot(site, code, "10", &[])
}

fn signal(server: &Server, signal: &str) {
    let sent = Command::new("kill").args([signal, &server.pid().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "the signal can be sent");
}

/// Each command stands in the log exactly once, and the tables say what the log says.
async fn nothing_lost_or_doubled(plant: &Plant, server: &Server, load: Load) {
    let told = load.end().await;
    plant.assert_tables_equal_the_log(&Client::new(&server.url, "judge")).await;
    assert_each_once(plant, &told).await;
}

fn start_load(test: &str, servers: [&Server; 2]) -> Load {
    Load::start(chance(test).0, &servers)
}

#[test]
fn the_sites_are_in_every_partition() {
    let partitions: BTreeSet<u32> = SITES.iter().map(|site| partition_of(site, 4)).collect();
    assert_eq!(partitions.len(), 4);
}

async fn a_node_dies(log: Log) {
    let plant = plant("dies", log).await;
    let mut dying = node(&plant, "one").await;
    let staying = node(&plant, "two").await;
    until_assigned(&dying, 2, PATIENCE).await;
    until_assigned(&staying, 2, PATIENCE).await;
    every_site_answers(&dying, "first").await;
    every_site_answers(&staying, "second").await;
    let load = start_load("nodes", [&dying, &staying]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    dying.kill();
    let took = every_site_answers(&staying, "third").await;
    eprintln!("taken over within {} ms", took.as_millis());
    assert!(took < TAKEOVER, "{took:?}");
    nothing_lost_or_doubled(&plant, &staying, load).await;
}

#[tokio::test]
async fn the_other_takes_over_from_a_node_that_dies_on_kafka() {
    a_node_dies(Log::Kafka).await;
}

#[tokio::test]
async fn the_other_takes_over_from_a_node_that_dies_on_the_embedded_log() {
    a_node_dies(Log::Postgres).await;
}

#[tokio::test]
async fn a_node_that_stood_still_can_not_append_afterwards() {
    let plant = plant("paused", Log::Kafka).await;
    let paused = node(&plant, "one").await;
    let staying = node(&plant, "two").await;
    until_assigned(&paused, 2, PATIENCE).await;
    until_assigned(&staying, 2, PATIENCE).await;
    let load = start_load("nodes", [&paused, &staying]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    signal(&paused, "-STOP");
    let took = every_site_answers(&staying, "meanwhile").await;
    eprintln!("taken over within {} ms", took.as_millis());
    signal(&paused, "-CONT");
    assert!(took < TAKEOVER, "{took:?}");
    // It comes back as a member, and every site can be asked at it again.
    until_assigned(&paused, 2, PATIENCE).await;
    every_site_answers(&paused, "again").await;
    nothing_lost_or_doubled(&plant, &staying, load).await;
}

#[tokio::test]
async fn a_node_that_stops_hands_over_at_once() {
    let plant = plant("stops", Log::Kafka).await;
    let mut leaving = node(&plant, "one").await;
    let staying = node(&plant, "two").await;
    until_assigned(&leaving, 2, PATIENCE).await;
    let load = start_load("nodes", [&leaving, &staying]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(leaving.stop(Duration::from_secs(20)).await, "it stops well:\n{}", leaving.printed());
    let took = every_site_answers(&staying, "after").await;
    eprintln!("handed over within {} ms", took.as_millis());
    nothing_lost_or_doubled(&plant, &staying, load).await;
}

/// A process without writers of its own takes commands all the same.
#[tokio::test]
async fn an_api_without_a_writer_forwards() {
    let plant = plant("apart", Log::Kafka).await;
    let mut settings = plant.settings.clone();
    let writer = Server::start(&settings, &["serve", "--roles", "writer,projector"]).await;
    settings.environment.retain(|(key, _)| key != "LOTLINE_CLUSTER__NODE");
    let api = Server::start(&settings, &["serve", "--roles", "api"]).await;
    let ann = Client::new(&api.url, "ann");
    let input = lot_at("north", "L-1");
    let first = ann.mutate("registerLot", "lotId", &input).await;
    let again = ann.mutate("registerLot", "lotId", &input).await;
    assert_eq!((&first["lotId"], &again["replayed"]), (&again["lotId"], &json!(true)));
    assert_eq!(ann.refused("registerLot", &lot_at("north", "L-1")).await, "DUPLICATE_LOT_CODE");
    // Nobody else may speak for an actor.
    let forged = reqwest::Client::new()
        .post(format!("{}/peer/v1/commands", writer.url))
        .header("lotline-signature", format!("t=1,h={}", "00".repeat(32)))
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(forged.status().as_u16(), 401);
    plant.assert_tables_equal_the_log(&ann).await;
}

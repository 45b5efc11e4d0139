//! Two servers on one Kafka and one PostgreSQL: they share the sites, and one that dies or stands still loses its own to the other, with
//! nothing lost and nothing doubled.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use lotline_domain::partition::partition_of;
use lotline_tests::client::{Client, lot};
use lotline_tests::proxy::Proxy;
use lotline_tests::server::{Log, Server, Settings};
use lotline_tests::stack::Services;
use serde_json::json;

use crate::load::{Load, PATIENCE, SITES, assert_each_once, chance, every_site_answers};
use crate::metric::metric;
use crate::site::Plant;

/// What a takeover may take beside the recovery of the state, which the node reports.
pub(crate) const TAKEOVER: Duration = Duration::from_secs(15);
/// What it may take when the one before has gone in peace. A node that has not is waited for until its session is over, which takes 6 s.
const HANDOVER: Duration = Duration::from_secs(5);
/// Histogram of the survivor's recoveries.
const RECOVERY: &str = "lotline_writer_recovery_seconds_sum";

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
    metric(server, "lotline_writer_assigned_partitions ").await as u32
}

/// How long a node that goes on has been recovering, of all its partitions together.
pub(crate) async fn recovered(survivor: &Server) -> Duration {
    Duration::from_secs_f64(metric(survivor, RECOVERY).await)
}

/// Waits until every site takes a command at the survivor: in time, beside what it reports to have recovered since `before`.
pub(crate) async fn taken_over(survivor: &Server, mark: &str, before: Duration, within: Duration) {
    let took = every_site_answers(survivor, mark).await;
    let recovery = recovered(survivor).await.saturating_sub(before);
    eprintln!("{mark}: taken over within {} ms, {} ms of it recovery", took.as_millis(), recovery.as_millis());
    assert!(took < within + recovery, "{took:?} with a recovery of {recovery:?}");
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

pub(crate) fn signal(server: &Server, signal: &str) {
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
    let before = recovered(&staying).await;
    dying.kill();
    taken_over(&staying, "third", before, TAKEOVER).await;
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

/// Whether a writer of this node has met the fence: before it committed, or at the commit, whose outcome then only the log knows.
fn tried_in_vain(server: &Server) -> bool {
    let printed = server.printed();
    let said = ["another node has taken the partition over", "an append had no certain outcome"];
    said.iter().any(|said| printed.contains(said))
}

/// It is stopped in the middle of an append: its way to Kafka is cut a moment before, and whole again a moment before it goes on.
#[tokio::test]
async fn a_node_that_stood_still_can_not_append_afterwards() {
    let to_kafka = Proxy::start().await;
    let kafka = Services::start("paused", &["--detour", &to_kafka.port.to_string(), "kafka"]).await;
    to_kafka.lead_to(&kafka.setting("STACK_KAFKA_DETOUR").await);
    let mut plant = plant("paused", Log::Kafka).await;
    plant.settings.brokers = Some(format!("127.0.0.1:{}", to_kafka.port));
    let paused = node(&plant, "one").await;
    plant.settings.brokers = Some(kafka.setting("STACK_KAFKA_BROKERS").await);
    let staying = node(&plant, "two").await;
    until_assigned(&paused, 2, PATIENCE).await;
    until_assigned(&staying, 2, PATIENCE).await;
    let load = start_load("nodes", [&paused, &staying]);
    load.goes_on(50).await;
    let before = recovered(&staying).await;
    to_kafka.cut();
    // The operators of its sites have asked for more by then, and none of it is answered.
    tokio::time::sleep(Duration::from_secs(1)).await;
    signal(&paused, "-STOP");
    taken_over(&staying, "meanwhile", before, TAKEOVER).await;
    assert!(!tried_in_vain(&paused), "{}", paused.printed());
    to_kafka.heal();
    signal(&paused, "-CONT");
    // It comes back as a member, and every site can be asked at it again.
    until_assigned(&paused, 2, PATIENCE).await;
    every_site_answers(&paused, "again").await;
    assert!(tried_in_vain(&paused), "it tried to append and could not:\n{}", paused.printed());
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
    let before = recovered(&staying).await;
    assert!(leaving.stop(Duration::from_secs(20)).await, "it stops well:\n{}", leaving.printed());
    taken_over(&staying, "after", before, HANDOVER).await;
    nothing_lost_or_doubled(&plant, &staying, load).await;
}

#[tokio::test]
async fn two_of_three_nodes_die_one_after_the_other() {
    let plant = plant("three-nodes", Log::Kafka).await;
    let mut first = node(&plant, "one").await;
    let mut second = node(&plant, "two").await;
    let last = node(&plant, "three").await;
    let until = Instant::now() + PATIENCE;
    loop {
        let shares = [assigned(&first).await, assigned(&second).await, assigned(&last).await];
        if shares.iter().sum::<u32>() == 4 && shares.iter().all(|share| *share > 0) {
            break;
        }
        assert!(Instant::now() < until, "each of three nodes has a share: {shares:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    every_site_answers(&last, "three").await;
    let load = Load::start(chance("three nodes").0, &[&first, &second, &last]);
    for (dying, staying, mark) in [(&mut first, &last, "two"), (&mut second, &last, "one")] {
        load.goes_on(50).await;
        let before = recovered(staying).await;
        dying.kill();
        taken_over(staying, &format!("{mark} left"), before, TAKEOVER).await;
        load.goes_on(50).await;
    }
    until_assigned(&last, 4, PATIENCE).await;
    nothing_lost_or_doubled(&plant, &last, load).await;
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

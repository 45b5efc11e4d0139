//! A restart reads the newest snapshot and the records behind it, no more, and decides as if it had read everything.

use std::time::{Duration, Instant};

use lotline_domain::partition::partition_of;
use lotline_tests::client::{Client, decision, key, lot};
use lotline_tests::server::{Log, Server};
use serde_json::{Value, json};

use crate::site::{Plant, SITE};

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_restart_recovers_from_a_snapshot_on_the_embedded_log() {
    recovers(Log::Postgres).await;
}

#[tokio::test]
async fn a_restart_recovers_from_a_snapshot_on_kafka() {
    recovers(Log::Kafka).await;
}

async fn recovers(log: Log) {
    let plant = Plant::new("snapshots", log).await;
    // This one takes snapshots all the time, the later ones none.
    let mut often = plant.settings.clone();
    often.environment.push(("LOTLINE_LOG__SNAPSHOT_INTERVAL_S".into(), "1".into()));
    often.environment.push(("LOTLINE_LOG__SNAPSHOT_MIN_RECORDS".into(), "1".into()));
    let mut server = Server::start(&often, &["serve"]).await;
    assert_eq!(recovered(&server), (0, 0), "there is nothing yet");
    let ann = Client::new(&server.url, "ann");
    let early = lot(SITE, "early", "10", &[]);
    let first = ann.mutate("registerLot", "lotId", &early).await;
    for number in 0..30 {
        ann.mutate("registerLot", "", &lot(SITE, &format!("E-{number}"), "10", &[("early", "0.25")])).await;
    }
    ann.mutate("recordQcDecision", "", &decision(SITE, "E-1", "HOLD")).await;
    let end = plant.ledger().await.end(partition_of(SITE, 4)).await.unwrap();
    until_snapshot(&plant, end).await;
    server.kill();

    let mut server = plant.serve().await;
    assert_eq!(recovered(&server), (end, end), "all of it is in the snapshot:\n{}", server.printed());
    let ann = Client::new(&server.url, "ann");
    let late = lot(SITE, "late", "10", &[("early", "1")]);
    let second = ann.mutate("registerLot", "lotId", &late).await;
    ann.mutate("recordQcDecision", "", &decision(SITE, "E-2", "HOLD")).await;
    server.kill();

    let server = plant.serve().await;
    let (from, to) = recovered(&server);
    assert!(from == end && to >= end + 2, "the snapshot at {end} and the rest: {from} to {to}\n{}", server.printed());
    decides_as_before(&Client::new(&server.url, "ann"), [(&early, &first), (&late, &second)]).await;
    plant.assert_tables_equal_the_log(&Client::new(&server.url, "ann")).await;
}

async fn decides_as_before(ann: &Client, known: [(&Value, &Value); 2]) {
    for (input, answer) in known {
        let again = ann.mutate("registerLot", "lotId", input).await;
        assert_eq!((&again["lotId"], &again["version"]), (&answer["lotId"], &answer["version"]));
        assert_eq!(again["replayed"], true);
        let mut same_code = input.clone();
        same_code["idempotencyKey"] = json!(key());
        assert_eq!(ann.refused("registerLot", &same_code).await, "DUPLICATE_LOT_CODE");
    }
    for held in ["E-1", "E-2"] {
        assert_eq!(ann.refused("registerLot", &lot(SITE, "new", "1", &[(held, "1")])).await, "LOT_ON_HOLD");
    }
    // 10 less thirty quarters and one: 1.5 are left.
    assert_eq!(ann.refused("registerLot", &lot(SITE, "new", "1", &[("early", "1.51")])).await, "NOT_ENOUGH_LEFT");
    ann.mutate("registerLot", "", &lot(SITE, "new", "1", &[("early", "1.5")])).await;
}

/// From where to where the site's partition was read when it was taken over last.
fn recovered(server: &Server) -> (i64, i64) {
    let printed = server.printed();
    let wanted = format!("partition={}", partition_of(SITE, 4));
    let is_it = |line: &&str| line.contains("partition recovered") && line.split(' ').any(|word| word == wanted);
    let line = printed.lines().rfind(is_it).unwrap_or_else(|| panic!("{wanted} was not recovered:\n{printed}"));
    let field = |name: &str| {
        let value = line.split(' ').find_map(|word| word.strip_prefix(name)).unwrap_or_else(|| panic!("{name} {line}"));
        value.parse().unwrap()
    };
    (field("from="), field("to="))
}

async fn until_snapshot(plant: &Plant, position: i64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let newest: Option<i64> =
            sqlx::query_scalar("SELECT MAX(position) FROM log.snapshot WHERE topic LIKE '%ledger%' AND partition = $1")
                .bind(partition_of(SITE, 4) as i32)
                .fetch_one(&plant.database.pool)
                .await
                .unwrap();
        if newest == Some(position) {
            return;
        }
        assert!(Instant::now() < until, "no snapshot at {position}; the newest is at {newest:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

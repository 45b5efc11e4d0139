//! `lotline log copy` that is interrupted and given up: the ledger stays where it was, and can be moved later all the same.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lotline_tests::client::{Client, key, lot};
use lotline_tests::server::{Log, lotline};
use lotline_tests::stack;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::site::{self, Plant, SITE};
use crate::tools::{said, tool};

const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_copy_that_was_interrupted_is_given_up_and_the_source_goes_on() {
    let mut plant = Plant::new("moving", Log::Postgres).await;
    plant.settings.brokers = Some(stack::kafka_brokers());
    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    for number in 0..20 {
        ann.mutate("registerLot", "", &lot(SITE, &format!("L-{number}"), "10", &[])).await;
    }

    let product = json!({ "idempotencyKey": key(), "code": "YOG-500", "name": "Yoghurt", "unit": "C62" });
    ann.mutate("defineProduct", "", &product).await;
    let pipeline =
        json!({ "idempotencyKey": key(), "name": "hourly", "definition": { "tasks": [{ "id": "a", "kind": "sql" }] } });
    ann.mutate("draftPipeline", "", &pipeline).await;

    interrupt_a_copy(&plant).await;
    let late = ann.try_mutate("registerLot", "", &lot(SITE, "late", "10", &[])).await;
    assert!(!late.is_ok_and(|payload| payload["userErrors"] == json!([])), "nobody writes what is being moved");
    let again = tool(&plant, &["serve"]);
    let complaint = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && complaint.contains("is being moved from postgres to kafka"), "{complaint}");

    give_up(&plant).await;
    // The server that ran all the while takes its partitions over again.
    ann.insist("registerLot", &lot(SITE, "after", "10", &[("L-1", "4")]), PATIENCE).await;
    assert_eq!(ann.refused("registerLot", &lot(SITE, "L-2", "10", &[])).await, "DUPLICATE_LOT_CODE");
    plant.assert_tables_equal_the_log(&ann).await;
    assert!(server.stop(PATIENCE).await, "{}", server.printed());

    // What the first copy has left in Kafka is no obstacle for a second.
    let copied = said(&tool(&plant, &["log", "copy", "--to", "kafka"]));
    assert!(copied.contains("copied 2 events") && copied.contains("22 were there already"), "{copied}");
    plant.settings.log = Log::Kafka;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let moved = ann.mutate("registerLot", "", &lot(SITE, "moved", "10", &[("after", "4")])).await;
    assert_eq!(site::lot(&ann, "moved", &moved["position"]).await["parents"][0]["parent"]["code"], "after");
    plant.assert_tables_equal_the_log(&ann).await;
}

/// Kills a copy at its worst moment: everything is in the target, and the database does not follow it yet.
async fn interrupt_a_copy(plant: &Plant) {
    let mut gate = PgConnection::connect(&plant.database.url).await.unwrap();
    // To follow another log is to forget the snapshots first.
    sqlx::raw_sql("BEGIN; LOCK TABLE log.snapshot IN SHARE MODE").execute(&mut gate).await.unwrap();
    let mut copy = start_copy(plant);
    let until = Instant::now() + PATIENCE;
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity
         WHERE datname = CURRENT_DATABASE() AND wait_event_type = 'Lock' AND query LIKE 'DELETE FROM log.snapshot%'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&plant.database.pool).await.unwrap() == 0 {
        assert!(copy.try_wait().unwrap().is_none(), "the copy has ended: {:?}", copy.wait_with_output());
        assert!(Instant::now() < until, "the copy does not get to its end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    copy.kill().unwrap();
    copy.wait().unwrap();
    gate.close().await.unwrap();
}

fn start_copy(plant: &Plant) -> Child {
    let mut command: Command = lotline(&plant.settings);
    command.args(["log", "copy", "--to", "kafka"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the lotline binary starts")
}

async fn give_up(plant: &Plant) {
    let until = Instant::now() + PATIENCE;
    loop {
        let output = tool(plant, &["log", "copy", "--to", "kafka", "--cancel"]);
        if output.status.success() {
            let printed = said(&output);
            assert_eq!(printed, "the ledger stays in postgres; servers take it over again\n");
            return;
        }
        // PostgreSQL may not have noticed yet that the killed copy is gone.
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(complaint.contains("is at work") && Instant::now() < until, "{complaint}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

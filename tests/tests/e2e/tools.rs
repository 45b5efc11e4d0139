//! The command line tools on a plant that has worked: doctor, log stats, log tail, log copy, config.

use std::process::{Command, Output, Stdio};

use lotline_domain::partition::partition_of;
use lotline_tests::client::{Client, decision, key, lot};
use lotline_tests::oracle::Oracle;
use lotline_tests::server::{Log, lotline};
use lotline_tests::stack;
use serde_json::json;

use crate::site::{Plant, SITE};

#[tokio::test]
async fn the_log_is_looked_at_and_moved_to_kafka_with_identical_hashes() {
    let mut plant = Plant::new("tools", Log::Postgres).await;
    plant.settings.brokers = Some(stack::kafka_brokers());
    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    for number in 0..30 {
        ann.mutate("registerLot", "", &lot(SITE, &format!("L-{number}"), "10", &[])).await;
    }
    ann.mutate("recordQcDecision", "", &decision(SITE, "L-3", "PASS")).await;
    assert_eq!(ann.refused("registerLot", &lot(SITE, "L-3", "10", &[])).await, "DUPLICATE_LOT_CODE");
    plant.sample(1, 1.5).await;

    let embedded = Oracle::read(plant.ledger().await.as_ref()).await;
    let stats = said(&tool(&plant, &["log", "stats"]));
    assert!(stats.contains("32 events, every chain verified"), "{stats}");
    let tail = said(&tool(&plant, &["log", "tail", "--stream", SITE]));
    assert_eq!(tail.lines().count(), 32, "{tail}");
    assert!(tail.contains("lotline.command.refused.v1"), "{tail}");
    let doctor = said(&tool(&plant, &["doctor"]));
    assert!(doctor.contains("PostgreSQL") && doctor.contains("none is halted"), "{doctor}");

    let copied = said(&tool(&plant, &["log", "copy", "--to", "kafka"]));
    assert!(copied.contains("copied 32 events"), "{copied}");
    // The copy has fenced the server that was still running: what it is asked now it must not acknowledge.
    let late = ann.try_mutate("registerLot", "", &lot(SITE, "late", "10", &[])).await;
    let acknowledged = late.is_ok_and(|payload| payload["userErrors"] == json!([]));
    assert!(!acknowledged, "nothing is acknowledged that the copy lacks");
    server.kill();

    let again = tool(&plant, &["serve"]);
    let complaint = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && complaint.contains("follows the ledger"), "{complaint}");
    plant.settings.log = Log::Kafka;
    let moved = Oracle::read(plant.ledger().await.as_ref()).await;
    assert_eq!(embedded.heads(), moved.heads(), "the copy has the same heads, so the same hashes throughout");
    assert_eq!(embedded.world, moved.world);

    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    ann.mutate("registerLot", "", &lot(SITE, "L-30", "10", &[("L-1", "4")])).await;
    plant.assert_tables_equal_the_log(&ann).await;
    plant.sample(2, 2.5).await;
}

#[tokio::test]
async fn the_tools_say_in_one_line_what_is_wrong() {
    let mut plant = Plant::new("wrong", Log::Postgres).await;
    plant.settings.database = "postgres://lotline@127.0.0.1:1/nowhere".into();
    let complaint = refused(&plant, &["doctor"]);
    assert!(complaint.contains("127.0.0.1:1/nowhere can't be reached: Connection refused"), "{complaint}");
    assert!(complaint.contains("start it there, or correct postgres.url"), "{complaint}");
    let (server, _) = plant.database.url.rsplit_once('/').unwrap();
    plant.settings.database = format!("{server}/no_such_database");
    let complaint = refused(&plant, &["log", "stats"]);
    assert!(complaint.contains("has no database 'no_such_database'; create it (`createdb "), "{complaint}");
    plant.settings.database = plant.database.url.replace("//lotline@", "//no_such_user:s3cret@");
    let complaint = refused(&plant, &["serve"]);
    assert!(complaint.contains("refuses user 'no_such_user'") && complaint.contains("correct user"), "{complaint}");
    assert!(!complaint.contains("s3cret"), "{complaint}");

    plant.settings.environment.push(("LOTLINE_API__BINDD".into(), "127.0.0.1:1".into()));
    let output = tool(&plant, &["config"]);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && complaint.to_lowercase().contains("bindd"), "{complaint}");

    plant.settings.environment = vec![("LOTLINE_API__BIND".into(), "0.0.0.0:0".into())];
    plant.settings.database = plant.database.url.clone();
    // Nobody takes the door away by accident.
    let output = tool(&plant, &["demo"]);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && complaint.contains("--development"), "{complaint}");
    let mut command: Command = lotline(&plant.settings);
    let output = command.arg("serve").env("LOTLINE_ACCESS__MODE", "development").output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && complaint.contains("mode"), "{complaint}");
    let output = tool(&plant, &["serve", "--development"]);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && complaint.contains("only a loopback address"), "{complaint}");
}

#[tokio::test]
async fn the_tail_of_the_log_is_cut_as_asked() {
    let plant = Plant::new("tail", Log::Postgres).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    for number in 0..12 {
        ann.mutate("registerLot", "", &lot(SITE, &format!("L-{number}"), "10", &[])).await;
    }
    let pipeline = json!({ "idempotencyKey": key(), "name": "p", "definition": {
        "tasks": [{ "id": "a", "kind": "extract.csv", "config": {} }], "edges": [] } });
    ann.mutate("draftPipeline", "", &pipeline).await;
    let last = said(&tool(&plant, &["log", "tail", "-n", "2"]));
    let sequences: Vec<Vec<&str>> =
        last.lines().map(|line| line.split_whitespace().skip(1).take(2).collect()).collect();
    assert_eq!(partition_of("_tenant", 4), partition_of(SITE, 4), "both streams lie in one partition");
    assert_eq!(sequences, [[SITE, "12"], ["_tenant", "1"]], "the last two of the partition: {last}");
    let last = said(&tool(&plant, &["log", "tail", "--stream", SITE, "-n", "3"]));
    assert_eq!(last.lines().count(), 3, "{last}");
    let all = said(&tool(&plant, &["log", "tail", "-n", "1000"]));
    assert_eq!(all.lines().count(), 13, "{all}");

    for more in [&[][..], &["-n", "5"][..]] {
        let output = tool(&plant, &[&["log", "tail", "--stream", "nosuch"][..], more].concat());
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{complaint}");
        assert!(
            complaint.contains("there is no stream 'nosuch'") && complaint.contains("_tenant, north"),
            "{complaint}"
        );
    }
}

/// As `lotline log tail | head` does: the reader leaves before the writer has said all.
#[tokio::test]
async fn a_reader_who_has_seen_enough_is_no_failure() {
    let plant = Plant::new("pipe", Log::Postgres).await;
    let server = plant.serve().await;
    Client::new(&server.url, "ann").mutate("registerLot", "", &lot(SITE, "L-1", "10", &[])).await;
    for arguments in [&["log", "tail"][..], &["log", "stats"], &["doctor"], &["config"]] {
        let mut command: Command = lotline(&plant.settings);
        let (reader, writer) = std::io::pipe().unwrap();
        // Gone before the program has begun.
        drop(reader);
        let output = command.args(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && complaint.is_empty(), "{arguments:?}: {} {complaint}", output.status);
    }
}

/// Runs a tool that must fail, and gives its one line.
fn refused(plant: &Plant, arguments: &[&str]) -> String {
    let output = tool(plant, arguments);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = complaint.lines().collect();
    assert!(!output.status.success() && lines.len() == 1, "{arguments:?} says what is wrong in one line: {complaint}");
    complaint
}

pub(crate) fn tool(plant: &Plant, arguments: &[&str]) -> Output {
    let mut command: Command = lotline(&plant.settings);
    command.args(arguments).output().expect("the lotline binary starts")
}

pub(crate) fn said(output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

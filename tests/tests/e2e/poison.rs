//! A read model that is halted on a running server: it is said everywhere, and an administrator's decision brings the stream back.

use std::process::Output;
use std::time::{Duration, Instant};

use lotline_tests::client::{Client, key, lot};
use lotline_tests::server::{Log, Server, lotline};
use serde_json::{Value, json};

use crate::site::{Plant, SITE};

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_read_model_is_seen_and_healed_by_decision() {
    let plant = Plant::new("poison", Log::Postgres).await;
    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    sqlx::query("ALTER TABLE read.lots ADD CONSTRAINT picky CHECK (code NOT IN ('L-2', 'L-4'))")
        .execute(&plant.database.pool)
        .await
        .unwrap();
    for number in 1..=5 {
        ann.mutate("registerLot", "", &lot(SITE, &format!("L-{number}"), "10", &[])).await;
    }
    halted_at(&ann, 2).await;
    let health = get(&server, "/health/ready").await;
    assert!(health.contains("\"status\":\"degraded\"") && health.contains("\"streams\":[\"north\"]"), "{health}");
    let metrics = get(&server, "/metrics").await;
    let gauge = |line: &&str| line.starts_with("lotline_projection_halted_streams{") && line.contains("model=\"lots\"");
    assert!(metrics.lines().filter(gauge).any(|line| line.ends_with(" 1")), "{metrics}");
    for lag in [
        "lotline_projection_lag_events{",
        "lotline_projection_lag_seconds{",
        "lotline_projection_progress_timestamp_seconds{",
    ] {
        assert!(metrics.contains(lag), "{lag}: {metrics}");
    }
    let status = said(&decide(&plant, &server, &["status"]));
    assert!(status.contains("DEGRADED") && status.contains("halted: stream north at event 2"), "{status}");

    refused_decisions(&plant, &server);
    let (flags, reason) = (["--stream", SITE, "--actor", "eve"], ["--reason", "agreed with QA"]);

    // Tried again for nothing; then the one event is left out and the next one at fault is met; then that one has become possible.
    let complaint = complained(&decide(&plant, &server, &[&["retry", "lots"][..], &flags, &reason].concat()));
    assert!(complaint.contains("is halted in stream 'north' at event 2") && complaint.contains("picky"), "{complaint}");
    let complaint =
        complained(&decide(&plant, &server, &[&["skip", "lots", "--sequence", "2"][..], &flags, &reason].concat()));
    assert!(complaint.contains("is halted in stream 'north' at event 4"), "{complaint}");
    sqlx::query("ALTER TABLE read.lots DROP CONSTRAINT picky").execute(&plant.database.pool).await.unwrap();
    let done = said(&decide(&plant, &server, &[&["retry", "lots"][..], &flags, &reason].concat()));
    assert!(done.contains("read model 'lots' follows stream 'north' again"), "{done}");

    let sixth = ann.mutate("registerLot", "", &lot(SITE, "L-6", "10", &[("L-4", "1")])).await;
    assert_eq!(crate::site::lot(&ann, "L-6", &sixth["position"]).await["code"], "L-6");
    let query = "{ lots(site: \"north\", first: 9) { edges { node { code } } } skippedEvents { readModel stream sequence reason actor }
        auditLog: auditTrail(first: 9, filter: { stream: \"_tenant\" }) { edges { node { eventType actor reason } } } }";
    let data = ann.query(query, &json!({})).await;
    assert_eq!(codes(&data), ["L-1", "L-3", "L-4", "L-5", "L-6"]);
    let skipped =
        json!([{ "readModel": "lots", "stream": "north", "sequence": 2, "reason": "agreed with QA", "actor": "eve" }]);
    assert_eq!(data["skippedEvents"], skipped);
    let told = data["auditLog"].to_string();
    assert_eq!(told.matches("lotline.projection.retried.v1").count(), 2, "{told}");
    assert_eq!(told.matches("lotline.projection.event_skipped.v1").count(), 1, "{told}");
    assert_eq!(told.matches("agreed with QA").count(), 3, "{told}");
    assert!(get(&server, "/health/ready").await.contains("\"status\":\"ready\""));

    // It survives the server, and a rebuild clears it and says so.
    server.kill();
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    assert_eq!(ann.query(query, &json!({})).await["skippedEvents"], skipped);
    let done = said(&decide(&plant, &server, &["rebuild", "lots"]));
    assert!(done.contains("event 2 of stream north, which eve had left out, is applied now"), "{done}");
    let data = ann.query(query, &json!({})).await;
    assert_eq!((codes(&data).len(), &data["skippedEvents"]), (6, &json!([])));
    plant.assert_tables_equal_the_log(&ann).await;
}

#[tokio::test]
async fn all_read_models_are_listed() {
    let plant = Plant::new("listed", Log::Postgres).await;
    let listed = said(&lotline(&plant.settings).args(["projections", "list"]).output().unwrap());
    let models: Vec<&str> = listed.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let all = [
        "lots",
        "genealogy",
        "qc_decisions",
        "pipelines",
        "signals",
        "master",
        "audit",
        "access",
        "scenarios",
        "runs",
        "samples",
    ];
    assert_eq!(models, all, "{listed}");
    assert!(listed.contains("samples        made from signal batches"), "{listed}");
}

/// Decisions need a reason, an actor, and a halt that they are about.
fn refused_decisions(plant: &Plant, server: &Server) {
    let flags = ["--stream", SITE, "--actor", "eve"];
    let complaint = complained(&decide(plant, server, &[&["retry", "lots"][..], &flags, &["--reason", " "]].concat()));
    assert!(complaint.contains("this command needs a reason"), "{complaint}");
    let complaint = complained(&decide(plant, server, &["retry", "lots", "--stream", SITE, "--reason", "x"]));
    assert!(complaint.contains("--actor"), "{complaint}");
    let reason = ["--reason", "agreed with QA"];
    let complaint = complained(&decide(plant, server, &[&["retry", "audit"][..], &flags, &reason].concat()));
    assert!(complaint.contains("'audit' is not halted in stream 'north'"), "{complaint}");
    let complaint =
        complained(&decide(plant, server, &[&["skip", "lots", "--sequence", "3"][..], &flags, &reason].concat()));
    assert!(complaint.contains("is halted in stream 'north' at event 2, not 3"), "{complaint}");
}

/// The same decision sent twice is one.
#[tokio::test]
async fn a_decision_is_recorded_once() {
    let plant = Plant::new("decided", Log::Postgres).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let input = json!({ "idempotencyKey": key(), "reason": "x", "readModel": "LOTS", "stream": SITE });
    let first = ann.mutate("retryProjection", "readModel", &input).await;
    let second = ann.mutate("retryProjection", "readModel", &input).await;
    assert_eq!((&first["readModel"], &first["replayed"]), (&json!("lots"), &json!(false)));
    assert_eq!((&second["version"], &second["replayed"]), (&first["version"], &json!(true)));
    let input = json!({ "idempotencyKey": key(), "reason": "x", "readModel": "LOTS", "stream": "No Site" });
    assert_eq!(ann.refused("retryProjection", &input).await, "INVALID_ID");
}

async fn halted_at(client: &Client, sequence: u64) {
    let query = "{ projectionStatus { readModel halts { stream sequence } } }";
    let until = Instant::now() + PATIENCE;
    loop {
        let data = client.query(query, &json!({})).await;
        let expected = json!([{ "stream": SITE, "sequence": sequence }]);
        let all = data["projectionStatus"].as_array().unwrap();
        if all.iter().any(|status| status["readModel"] == "lots" && status["halts"] == expected) {
            return;
        }
        assert!(Instant::now() < until, "lots are halted at {sequence}: {data}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn codes(data: &Value) -> Vec<&str> {
    let mut codes: Vec<&str> =
        data["lots"]["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["code"].as_str().unwrap()).collect();
    codes.sort_unstable();
    codes
}

async fn get(server: &Server, path: &str) -> String {
    reqwest::get(format!("{}{path}", server.url)).await.unwrap().text().await.unwrap()
}

fn decide(plant: &Plant, server: &Server, arguments: &[&str]) -> Output {
    let mut command = lotline(&plant.settings);
    command.arg("projections").args(arguments);
    if ["retry", "skip"].contains(&arguments[0]) {
        command.args(["--server", &server.url]);
    }
    command.output().expect("the lotline binary starts")
}

fn said(output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

fn complained(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

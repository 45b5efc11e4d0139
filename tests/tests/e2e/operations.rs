//! What operators watch: `lotline health`, and the metrics that dashboard and alerts are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lotline_tests::client::{Client, key, lot};
use lotline_tests::server::{Log, Server, free_port};
use lotline_tests::stack;
use serde_json::json;

use crate::site::{Plant, SITE};
use crate::tools::{said, tool};

async fn metrics(server: &Server) -> String {
    reqwest::get(format!("{}/metrics", server.url)).await.unwrap().text().await.unwrap()
}

/// Waits until `/metrics` shows the line.
async fn shows(server: &Server, line: &str) -> String {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let shown = metrics(server).await;
        if shown.lines().any(|shown| shown == line) {
            return shown;
        }
        assert!(Instant::now() < until, "no line '{line}' in:\n{shown}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Series that the table of metrics does not know, or not with these labels.
fn unknown(shown: &str) -> Vec<String> {
    let mut known: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (name, labels, is_histogram) in lotline_infra::telemetry::described() {
        let labels: BTreeSet<&str> = labels.iter().copied().collect();
        for end in if is_histogram { &["_sum", "_count", "_bucket"][..] } else { &[""] } {
            let le = (*end == "_bucket").then_some("le");
            known.insert(format!("{name}{end}"), labels.iter().copied().chain(le).collect());
        }
    }
    let series = shown.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut unknown = Vec::new();
    for line in series {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let inside = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        // Values are quoted: every second part is outside of the quotes.
        let labels = inside.split('"').step_by(2).map(|part| part.trim_matches([',', '=', ' ']));
        let labels: Vec<&str> = labels.filter(|label| !label.is_empty()).collect();
        if !known.get(name).is_some_and(|known| labels.iter().all(|label| known.contains(label))) {
            unknown.push(line.to_owned());
        }
    }
    unknown
}

#[tokio::test]
async fn a_server_shows_what_the_table_of_metrics_says() {
    let mut plant = Plant::new("metrics", Log::Kafka).await;
    // Nobody is there, so its requests fail.
    let device = format!("[{{id=\"mill\",host=\"127.0.0.1\",port={}}}]", free_port());
    plant.settings.environment.push(("LOTLINE_COLLECTOR__DEVICES".into(), device));
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    ann.mutate("registerLot", "", &lot(SITE, "L-1", "5", &[])).await;
    ann.refused("registerLot", &lot(SITE, "L-1", "5", &[])).await;
    // The first is fed by hand, the second is the device's.
    for (name, device) in [("level", "hand"), ("speed", "mill")] {
        let signal = json!({
            "idempotencyKey": key(), "site": SITE, "name": name, "unit": "Hz", "dataType": "F32", "device": device,
            "address": { "modbus": { "unit": 1, "table": "HOLDING_REGISTERS", "address": 0, "wordOrder": "ABCD" } },
        });
        ann.mutate("declareSignal", "", &signal).await;
    }
    plant.sample(1, 1.5).await;
    plant.assert_tables_equal_the_log(&ann).await;
    for line in [
        "lotline_check_passing{check=\"database\"} 1",
        "lotline_check_passing{check=\"log\"} 1",
        "lotline_check_passing{check=\"writer\"} 1",
        "lotline_writer_status{partition=\"3\",status=\"serving\"} 1",
        "lotline_writer_status{partition=\"3\",status=\"recovering\"} 0",
        "lotline_postgres_connections_limit{pool=\"owner\"} 48",
        "lotline_writer_batch_events_bucket{le=\"1\"} 4",
        "lotline_collector_dropped_batches_total{reason=\"cap\"} 0",
        "lotline_collector_connected{device=\"mill\"} 0",
    ] {
        shows(&server, line).await;
    }
    let shown = metrics(&server).await;
    assert!(shown.contains(&format!("lotline_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))), "{shown}");
    assert!(
        shown.contains("\nprocess_resident_memory_bytes ") && shown.contains("\nlotline_clock_ahead_seconds "),
        "{shown}"
    );
    let unknown = unknown(&shown);
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[tokio::test]
async fn a_probe_learns_whether_a_node_is_ready_and_why_not() {
    let plant = Plant::new("health", Log::Postgres).await;
    let server = plant.serve().await;
    let ask = |more: &[&str]| tool(&plant, &[&["health", "--url", server.url.as_str()], more].concat());
    let printed = said(&ask(&[]));
    assert!(printed.contains("status         ready\n") && printed.contains("\nwriter         ready\n"), "{printed}");
    assert_eq!(said(&ask(&["--live"])), "live\n");

    // The database goes away under it.
    let (base, name) = plant.settings.database.rsplit_once('/').unwrap();
    stack::lock_out(&format!("{base}/postgres"), name).await;
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let output = ask(&[]);
        if !output.status.success() {
            let (printed, complaint) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
            let printed = String::from_utf8_lossy(&printed).into_owned();
            assert!(printed.contains("\ndatabase       NOT READY: "), "{printed}");
            assert!(complaint.contains("the node is not ready: database"), "{complaint}");
            break;
        }
        assert!(Instant::now() < until, "the node stays ready without its database");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(said(&ask(&["--live"])), "live\n", "not ready is no reason to be killed");
    shows(&server, "lotline_check_passing{check=\"database\"} 0").await;

    let nobody = format!("http://127.0.0.1:{}", free_port());
    for arguments in [&["health", "--url", &nobody][..], &["health", "--live", "--url", &nobody]] {
        let output = tool(&plant, arguments);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && complaint.contains("does not answer"), "{complaint}");
    }
}

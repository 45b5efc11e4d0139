//! `api.*`: mutations over HTTP against the real server, compared with plain axum that parses the same body and answers the same bytes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::report::Report;
use crate::client;
use crate::server::{Log, Server, Settings};
use crate::stack;

const CONNECTIONS: usize = 64;
const LENGTH: Duration = Duration::from_secs(8);
const MUTATION: &str = "mutation($input: RegisterLotInput!) { registerLot(input: $input) { lotId version position userErrors { code message } } }";

/// Runs the figures of the API that the report wants.
///
/// # Errors
/// When the stack fails or a mutation is refused.
pub async fn run(report: &mut Report) -> anyhow::Result<()> {
    if !report.wants("api.") {
        return Ok(());
    }
    let raw = plain_axum().await?;
    report.note(&format!("api: raw probe, plain axum: {raw:.0} requests/s over {CONNECTIONS} connections"));
    for log in [Log::Postgres, Log::Kafka] {
        let tenant = stack::unique("bench");
        let folder = std::env::temp_dir().join(&tenant);
        std::fs::create_dir_all(&folder)?;
        let settings = Settings {
            tenant,
            log,
            database: stack::database("bench").await.url,
            brokers: Some(stack::kafka_brokers()),
            folder: PathBuf::from(&folder),
            development: true,
            environment: Vec::new(),
        };
        let mut server = Server::start(&settings, &["serve"]).await;
        let idle_mb = resident_mb(server.pid())?;
        let (rps, latency) = post(&format!("{}/graphql", server.url)).await?;
        let suffix = if log == Log::Kafka { "" } else { ".postgres" };
        report.result(&format!("api.mutations_rps{suffix}"), rps, "requests/s", Some(rps / raw));
        let p99 = latency.value_at_quantile(0.99) as f64 / 1_000.0;
        report.result(&format!("api.mutations_p99_ms{suffix}"), p99, "ms", None);
        report.result(&format!("api.idle_server_mb{suffix}"), idle_mb, "MB", None);
        report.result(&format!("api.first_ready_s{suffix}"), server.ready_after.as_secs_f64(), "s", None);
        anyhow::ensure!(server.stop(Duration::from_secs(20)).await, "the server did not stop");
        // All of what was just registered is replayed: no snapshot helps beyond those the server has made itself.
        let mut again = Server::start(&settings, &["serve"]).await;
        report.result(&format!("api.ready_again_s{suffix}"), again.ready_after.as_secs_f64(), "s", None);
        anyhow::ensure!(again.stop(Duration::from_secs(20)).await, "the server did not stop");
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

/// Sends mutations over many connections for a time.
async fn post(url: &str) -> anyhow::Result<(f64, Histogram<u64>)> {
    let http = reqwest::Client::builder().pool_max_idle_per_host(CONNECTIONS).build()?;
    let count = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut clients: JoinSet<anyhow::Result<Histogram<u64>>> = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (http, url, count) = (http.clone(), url.to_owned(), Arc::clone(&count));
        clients.spawn(async move {
            let mut latency = Histogram::new(3)?;
            while started.elapsed() < LENGTH {
                let code = format!("L-{}", count.fetch_add(1, Ordering::Relaxed));
                let body =
                    json!({ "query": MUTATION, "variables": { "input": client::lot("north", &code, "1000", &[]) } });
                let sent = Instant::now();
                let answer = http.post(&url).header("x-lotline-actor", "bench").json(&body).send().await?;
                let answer: Value = answer.json().await?;
                latency.record(sent.elapsed().as_micros() as u64)?;
                let accepted = answer["data"]["registerLot"]["userErrors"] == json!([]);
                anyhow::ensure!(accepted, "a mutation was not accepted: {answer}");
            }
            Ok(latency)
        });
    }
    let mut latency = Histogram::new(3)?;
    while let Some(ended) = clients.join_next().await {
        latency.add(ended??)?;
    }
    Ok((latency.len() as f64 / started.elapsed().as_secs_f64(), latency))
}

/// The same client against an axum handler that reads the body and answers as long a payload.
async fn plain_axum() -> anyhow::Result<f64> {
    async fn answer(axum::Json(body): axum::Json<Value>) -> axum::Json<Value> {
        let code = body["variables"]["input"]["code"].clone();
        axum::Json(json!({ "data": { "registerLot": {
            "lotId": "bG90OjAxOWRkNzYwLTAwMDAtNzAwMC04MDAwLTAwMDAwMDAwMDAwMA", "version": "1", "position": code, "userErrors": [],
        } } }))
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/graphql", listener.local_addr()?);
    let server = tokio::spawn(async move {
        let router = axum::Router::new().route("/graphql", axum::routing::post(answer));
        axum::serve(listener, router).await
    });
    let (rps, _) = post(&url).await?;
    server.abort();
    Ok(rps)
}

fn resident_mb(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap_or("0").parse()?;
    Ok(kilobytes / 1_024.0)
}

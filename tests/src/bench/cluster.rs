//! `cluster.*`: how long the sites of a node are without a writer when it is killed, or stands still, beside another node.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::report::Report;
use crate::client::{Client, lot};
use crate::server::{Log, Server, Settings};
use crate::stack;

/// Two in each of four partitions.
const SITES: [&str; 8] = ["north", "south", "east", "west", "hill", "lake", "vale", "moor"];
const ROUNDS: usize = 3;
/// Until both nodes write half of the partitions.
const SHARED_WITHIN: Duration = Duration::from_mins(1);
const GIVE_UP: Duration = Duration::from_mins(1);
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Runs the figures of several nodes that the report wants.
///
/// # Errors
/// When the stack fails, or sites are not taken over.
pub async fn run(report: &mut Report) -> anyhow::Result<()> {
    if !report.wants("cluster.") {
        return Ok(());
    }
    for (log, suffix) in [(Log::Kafka, ""), (Log::Postgres, ".postgres")] {
        for (name, signal) in [("killed", "-KILL"), ("paused", "-STOP")] {
            let mut took = Vec::new();
            for _ in 0..ROUNDS {
                took.push(takeover(log, signal).await?);
            }
            report.note(&format!("cluster.takeover_{name}_s{suffix}: {took:.1?} s; the longest counts"));
            let longest = took.into_iter().fold(0.0, f64::max);
            report.result(&format!("cluster.takeover_{name}_s{suffix}"), longest, "s", None);
        }
    }
    Ok(())
}

/// From the signal to one of two nodes until the other has decided a command of each site, recovery included.
async fn takeover(log: Log, signal: &str) -> anyhow::Result<f64> {
    let tenant = stack::unique("bench");
    let folder = std::env::temp_dir().join(&tenant);
    std::fs::create_dir_all(&folder)?;
    let database = stack::database("bench").await.url;
    let node = |name: &str| Settings {
        tenant: tenant.clone(),
        log,
        database: database.clone(),
        brokers: Some(stack::kafka_brokers()),
        folder: folder.clone(),
        development: true,
        environment: vec![
            ("LOTLINE_TENANT__SITES".into(), format!("{SITES:?}")),
            ("LOTLINE_CLUSTER__NODE".into(), name.to_owned()),
        ],
    };
    let mut leaving = Server::start(&node("one"), &["serve"]).await;
    let mut staying = Server::start(&node("two"), &["serve"]).await;
    for server in [&leaving, &staying] {
        until_it_writes_half(server).await?;
    }
    every_site_decides(&staying, "before").await?;
    let started = Instant::now();
    let sent = std::process::Command::new("kill").args([signal, &leaving.pid().to_string()]).status()?;
    anyhow::ensure!(sent.success(), "the signal can't be sent");
    every_site_decides(&staying, "after").await?;
    let took = started.elapsed().as_secs_f64();
    leaving.kill();
    anyhow::ensure!(staying.stop(Duration::from_secs(20)).await, "the server did not stop");
    std::fs::remove_dir_all(&folder)?;
    Ok(took)
}

async fn until_it_writes_half(server: &Server) -> anyhow::Result<()> {
    let until = Instant::now() + SHARED_WITHIN;
    loop {
        let text = reqwest::get(format!("{}/metrics", server.url)).await?.text().await?;
        if text.lines().any(|line| line == "lotline_writer_assigned_partitions 2") {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < until, "the nodes do not share the partitions");
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Registers a lot at each site through one server, each as often as it takes.
async fn every_site_decides(server: &Server, mark: &str) -> anyhow::Result<()> {
    let mut asking: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for site in SITES {
        let client = Client::new(&server.url, "bench");
        let input = lot(site, &format!("{mark}-{site}"), "10", &[]);
        asking.spawn(async move {
            let until = Instant::now() + GIVE_UP;
            loop {
                let answer = client.try_mutate("registerLot", "", &input).await;
                if answer.as_ref().is_ok_and(|payload| payload["userErrors"] == json!([])) {
                    return Ok(());
                }
                anyhow::ensure!(Instant::now() < until, "{site} is not taken over: {answer:?}");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        });
    }
    while let Some(ended) = asking.join_next().await {
        ended??;
    }
    Ok(())
}

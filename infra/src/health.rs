//! `lotline health`: asks a node how it is, for probes and scripts. It needs no other program in the container, and reaches a node that listens
//! on loopback only, where no probe from outside can.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Deserialize;

use crate::config::Config;
use crate::output;

/// Options of `health`.
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// The node, such as `http://127.0.0.1:8080`; the one of this configuration (`api.bind`) when not given.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Ask only whether the process answers, not whether it can do its work.
    #[arg(long)]
    pub live: bool,
    /// Longest to wait for the answer.
    #[arg(long, default_value_t = 5_000, value_name = "MS")]
    pub timeout_ms: u64,
}

/// What `/health/ready` answers; a newer server may say more.
#[derive(Debug, Deserialize)]
struct Report {
    status: String,
    checks: Vec<Check>,
    #[serde(default)]
    degraded: Vec<Degraded>,
}

#[derive(Debug, Deserialize)]
struct Check {
    name: String,
    ready: bool,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Degraded {
    read_model: String,
    partition: u32,
    streams: Vec<String>,
}

/// Asks, prints a line for each check, and fails unless the node is ready. A node with a halted read model is ready.
///
/// # Errors
/// When the node does not answer in time, or what keeps it from being ready.
pub async fn ask(config: &Config, arguments: &HealthArgs) -> anyhow::Result<()> {
    let url = arguments.url.clone().unwrap_or_else(|| format!("{}://{}", config.api.scheme(), config.api.bind));
    let url = url.trim_end_matches('/');
    let path = if arguments.live { "/health/live" } else { "/health/ready" };
    let unanswered = || format!("{url}{path} does not answer");
    let client = reqwest::Client::builder()
        // A proxy of the environment is meant for the world outside.
        .no_proxy()
        // A certificate is made out to the name by which people come, not to the address of a probe, which tells nothing and asks for nothing secret.
        .danger_accept_invalid_certs(arguments.url.is_none())
        .timeout(Duration::from_millis(arguments.timeout_ms))
        .build()
        .context("no HTTP client can be made")?;
    let answer = client.get(format!("{url}{path}")).send().await.with_context(unanswered)?;
    let code = answer.status();
    let body = answer.bytes().await.with_context(unanswered)?;
    if arguments.live {
        anyhow::ensure!(code.is_success(), "{url}{path} answers {code}");
        return Ok(output::say("live")?);
    }
    let report: Report = serde_json::from_slice(&body)
        .with_context(|| format!("{url}{path} answers {code} and no report: is this a node of Lotline?"))?;
    output::print(&shown(&report))?;
    let missing: Vec<&str> =
        report.checks.iter().filter(|check| !check.ready).map(|check| check.name.as_str()).collect();
    anyhow::ensure!(code.is_success(), "the node is not ready: {}", missing.join(", "));
    Ok(())
}

fn shown(report: &Report) -> String {
    let mut lines = vec![("status", report.status.clone())];
    for check in &report.checks {
        let found = match (&check.reason, check.ready) {
            (_, true) => "ready".to_owned(),
            (Some(reason), false) => format!("NOT READY: {reason}"),
            (None, false) => "NOT READY".to_owned(),
        };
        lines.push((&check.name, found));
    }
    for Degraded { read_model, partition, streams } in &report.degraded {
        lines.push((read_model, format!("HALTED in partition {partition}: {}", streams.join(", "))));
    }
    let lines: Vec<String> = lines.into_iter().map(|(what, found)| format!("{what:<14} {found}\n")).collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_its_line_and_its_reason() {
        let report: Report = serde_json::from_str(
            r#"{"status":"not ready","mode":"development","checks":[{"name":"database","ready":true},
                {"name":"writer","ready":false,"reason":"partition 2 is Recovering"}],
                "degraded":[{"read_model":"lots","partition":1,"streams":["north","south"]}]}"#,
        )
        .unwrap();
        let expected = "status         not ready\ndatabase       ready\nwriter         NOT READY: partition 2 is Recovering\n\
                        lots           HALTED in partition 1: north, south\n";
        assert_eq!(shown(&report), expected);
    }
}

//! The composition root: configuration, telemetry, lifecycle, and the commands of the `lotline` binary.
//!
//! Everything else is a library that knows only its ports; here the ports are given their adapters.

pub mod admin;
pub mod cli;
mod cluster;
mod collect;
pub mod config;
pub mod demo;
pub mod doctor;
mod door;
mod edge;
pub mod formats;
pub mod health;
mod hearing;
pub mod lifecycle;
pub mod logs;
mod moving;
pub mod output;
mod projecting;
mod projection_decisions;
pub mod projections;
pub mod reach;
pub mod schemas;
pub mod serve;
mod shares;
pub mod stores;
pub mod tail;
pub mod telemetry;

use std::sync::Arc;

use anyhow::Context;
use lotline_api::Mode;
use lotline_domain::port::EventLog;
use tokio_util::sync::CancellationToken;

use cli::{Cli, Command, CopyTarget, LogCommand, ProjectionsCommand};
use config::{Config, LogKind};

/// Does what the command line says.
///
/// # Errors
/// Whatever keeps it from being done, with its causes.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let config = Config::load(cli.config.as_deref())?;
    telemetry::start_logs(&config.telemetry)?;
    if let Command::Projections(ProjectionsCommand::Rebuild { .. }) = cli.command {
        lifecycle::step_back()?;
    }
    lifecycle::block_on(async {
        match cli.command {
            Command::Serve(arguments) => {
                let mut config = config;
                if arguments.development {
                    config.access.mode = Mode::Development;
                }
                serve::serve(config, &arguments.roles).await
            }
            Command::Admin(command) => admin::run(&config, command).await,
            Command::Demo(arguments) => demo::run(config, &arguments).await,
            Command::Migrate => stores::migrate(&config).await.map(|_| tracing::info!("all schemas are up to date")),
            Command::Health(arguments) => health::ask(&config, &arguments).await,
            Command::Doctor => doctor::examine(&config).await,
            Command::Log(command) => log(&config, command).await,
            Command::Formats(arguments) => formats::run(&config, &arguments).await,
            Command::Projections(command) => projections::run(config, command).await,
            Command::Config => {
                let mut shown = Config { kafka: config.kafka.redacted(), ..config };
                shown.telemetry.otlp = shown.telemetry.otlp.redacted();
                let text = toml::to_string_pretty(&shown).context("the configuration can't be shown")?;
                Ok(output::print(&redact(&text))?)
            }
        }
    })
}

async fn log(config: &Config, command: LogCommand) -> anyhow::Result<()> {
    let tenant = &config.tenant.id;
    match command {
        LogCommand::Tail { stream, last, follow, json } => {
            let cancel = CancellationToken::new();
            let interrupted = cancel.clone();
            tokio::spawn(async move {
                if tokio::signal::ctrl_c().await.is_ok() {
                    interrupted.cancel();
                }
            });
            tail::tail(existing(config).await?, tenant, &tail::Tail { stream, last, follow, json }, &cancel).await
        }
        LogCommand::Stats => logs::stats(existing(config).await?, tenant).await,
        LogCommand::Copy { to, cancel } => {
            let kind = match to {
                CopyTarget::Kafka => LogKind::Kafka,
                CopyTarget::Postgres => LogKind::Postgres,
            };
            anyhow::ensure!(kind != config.log.kind, "the log is already in {to:?}; log.kind names the source");
            moving::ledger(config, kind, cancel).await
        }
    }
}

async fn existing(config: &Config) -> anyhow::Result<Arc<dyn EventLog>> {
    let databases = stores::existing_databases(config).await?;
    Ok(stores::existing_ledger(config, &databases).await?.log)
}

/// Hides the password of a database URL and whatever calls itself a password or secret.
fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.lines() {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let hidden = ["password", "secret", "key", "token", "oauth", "jaas"];
        let secret = hidden.iter().any(|word| name.to_lowercase().contains(word));
        if secret && !value.is_empty() {
            shown.push_str(name);
            shown.push_str("= \"***\"");
        } else if let Some((head, tail)) = line.split_once("://").filter(|(_, tail)| tail.contains('@')) {
            let (credentials, rest) = tail.rsplit_once('@').unwrap_or(("", tail));
            let rest = rest.split_once('?').map_or(rest, |(place, _)| place);
            let user = credentials.split(':').next().unwrap_or_default();
            let mask = if credentials.contains(':') { ":***" } else { "" };
            shown.extend([head, "://", user, mask, "@", rest]);
        } else {
            shown.push_str(line);
        }
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn passwords_are_not_shown() {
        let text = "url = \"postgres://lotline:s3cret@host/db\"\n\"sasl.password\" = \"x\"\nlevel = \"info\"\n";
        let shown = redact(text);
        assert!(!shown.contains("s3cret") && !shown.contains("\"x\""), "{shown}");
        assert!(shown.contains("lotline:***@host/db") && shown.contains("level = \"info\""), "{shown}");
    }
}

//! The composition root: configuration, telemetry, lifecycle, and the commands of the `lotline` binary.
//!
//! Everything else is a library that knows only its ports; here the ports are given their adapters.

pub mod cli;
pub mod collect;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod lifecycle;
pub mod logs;
mod projection_decisions;
pub mod projections;
pub mod serve;
pub mod stores;
pub mod telemetry;

use std::io::Write;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use cli::{Cli, Command, CopyTarget, LogCommand};
use config::{Config, LogKind};

/// Does what the command line says.
///
/// # Errors
/// Whatever keeps it from being done, with its causes.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let config = Config::load(cli.config.as_deref())?;
    telemetry::start_logs(&config.telemetry)?;
    let runtime = tokio::runtime::Runtime::new().context("the async runtime can't be started")?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(arguments) => serve::serve(config, &arguments.roles).await,
            Command::Demo(arguments) => demo::run(config, &arguments).await,
            Command::Migrate => stores::databases(&config).await.map(|_| tracing::info!("all schemas are up to date")),
            Command::Doctor => doctor::examine(&config).await,
            Command::Log(command) => log(&config, command).await,
            Command::Projections(command) => projections::run(config, command).await,
            Command::Config => {
                let text = toml::to_string_pretty(&config).context("the configuration can't be shown")?;
                write!(std::io::stdout(), "{}", redact(&text)).context("standard output is closed")
            }
        }
    })
}

async fn log(config: &Config, command: LogCommand) -> anyhow::Result<()> {
    let databases = stores::databases(config).await?;
    let opened = stores::logs(config, &databases).await?;
    let tenant = &config.tenant.id;
    match command {
        LogCommand::Tail { stream, follow, json } => {
            let cancel = CancellationToken::new();
            let interrupted = cancel.clone();
            tokio::spawn(async move {
                if tokio::signal::ctrl_c().await.is_ok() {
                    interrupted.cancel();
                }
            });
            logs::tail(opened.ledger, tenant, &logs::Tail { stream, follow, json }, &cancel).await
        }
        LogCommand::Stats => logs::stats(opened.ledger, tenant).await,
        LogCommand::Copy { to } => {
            let kind = match to {
                CopyTarget::Kafka => LogKind::Kafka,
                CopyTarget::Postgres => LogKind::Postgres,
            };
            anyhow::ensure!(kind != config.log.kind, "the log is already in {to:?}; log.kind names the source");
            let target = stores::open(config, kind, &databases).await?;
            logs::copy(opened.ledger, target.ledger, tenant).await?;
            stores::follow(config, kind, &databases).await?;
            let next = "the read models will be built again; signals were not copied. Now set log.kind";
            writeln!(std::io::stdout(), "{next} = \"{}\"", kind.name()).context("standard output is closed")
        }
    }
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

//! `lotline log copy`: moves the ledger into another kind of log, so that nothing that is acknowledged meanwhile is left behind.
//!
//! First it is written down that the ledger is being moved: from then on no server takes a partition over. Then the copy fences whoever still
//! writes, copies, and ties the database to the new log. When it fails, the ledger stays where it was and servers write on; when it is killed,
//! nobody writes until it is run again or given up.

use anyhow::Context;
use lotline_adapters::log::origin;

use crate::config::{Config, LogKind};
use crate::{logs, output, stores};

/// Moves the configured ledger to another kind of log, or gives up a move that was interrupted.
///
/// # Errors
/// Whatever keeps it from being moved; the ledger then stays where it is.
pub(crate) async fn ledger(config: &Config, to: LogKind, cancel: bool) -> anyhow::Result<()> {
    let databases = stores::existing_databases(config).await?;
    let (topic, from) = (config.ledger_topic(), config.log.kind);
    let lock = origin::MoveLock::take(&databases.owner, &topic).await?;
    if cancel {
        lock.cancel().await?;
        return Ok(output::say(&format!("the ledger stays in {}; servers take it over again", from.name()))?);
    }
    let source = stores::existing_ledger(config, &databases).await?.log;
    lock.begin(from.name(), to.name()).await?;
    let moved = async {
        let target = stores::open(config, to, &databases).await?;
        logs::copy(source, target.ledger, &config.tenant.id).await?;
        stores::follow(config, to, &databases).await
    };
    if let Err(error) = moved.await {
        lock.cancel().await.context("the ledger was not moved, and nobody writes it until `--cancel` has been run")?;
        return Err(error);
    }
    let next = "the read models will be built again; signals were not copied. Now set log.kind";
    Ok(output::say(&format!("{next} = \"{}\" and restart every node", to.name()))?)
}

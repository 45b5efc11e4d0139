//! The collector role: reads the configured devices, and follows the ledger for the signals that are declared on them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_adapters::collector::Collector;
use lotline_adapters::collector::config::CollectorConfig;
use lotline_domain::id::{DeviceId, TenantId};
use lotline_domain::signal::{DataType, SignalDeclared};
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use lotline_projections::progress::Progress;
use lotline_projections::signals::{self, SignalFilter, SignalKey, SignalRow};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::lifecycle::{Lifecycle, Watch};
use crate::stores::{Databases, Logs};

const PAGE: u32 = 1_000;
/// How often to look even when nothing is said to have changed: a failed look must not wait for the next declaration.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Starts the collector, when there is a device to read. The watch tells whether it runs.
pub(crate) fn start(
    config: &Config,
    logs: &Logs,
    databases: &Databases,
    progress: &Progress,
    lifecycle: &mut Lifecycle,
) -> Watch {
    let watch = Watch::default();
    if config.collector.devices.is_empty() {
        return watch;
    }
    let settings = config.collector.resolve(&config.tenant.sites[0]);
    metrics::gauge!("lotline_collector_buffer_limit_bytes").set(settings.buffer.max_bytes as f64);
    let declared = watch::Sender::new(Vec::new());
    let collector = Collector {
        tenant: config.tenant.id.clone(),
        config: settings.clone(),
        signals: declared.subscribe(),
        log: logs.signals.clone(),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds::default()),
    };
    lifecycle.spawn("the collector", watch.over("the collector", collector.run(lifecycle.token())));
    let follower = Follower {
        pool: databases.queries.clone(),
        tenant: config.tenant.id.clone(),
        settings,
        progress: progress.clone(),
        declared,
    };
    let name = "the collector's view of declared signals";
    lifecycle.spawn(name, watch.over(name, follower.run(lifecycle.token())));
    watch
}

/// Keeps the collector's signals equal to the read model.
struct Follower {
    pool: PgPool,
    tenant: TenantId,
    settings: CollectorConfig,
    progress: Progress,
    declared: watch::Sender<Vec<SignalDeclared>>,
}

impl Follower {
    async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut moved = self.progress.subscribe(Model::Signals);
        loop {
            match self.load().await {
                Ok(signals) => {
                    self.declared.send_if_modified(|current| {
                        let changed = *current != signals;
                        *current = signals;
                        changed
                    });
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(
                        error,
                        "the declared signals can't be read; the collector goes on with those it has"
                    );
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                changed = moved.changed() => changed.context("the progress of the read models is not followed any more")?,
            }
        }
    }

    async fn load(&self) -> anyhow::Result<Vec<SignalDeclared>> {
        let filter = SignalFilter { site: Some(self.settings.site.as_str().to_owned()), ..SignalFilter::default() };
        let mut page = Page::first(PAGE);
        let mut declared = Vec::new();
        loop {
            let rows = signals::list(&self.pool, &self.tenant, &filter, &page).await?;
            let full = rows.len() == PAGE as usize;
            page.after = rows.last().map(|row| SignalKey { site: row.site.clone(), number: row.number });
            for row in rows {
                declared.push(declaration(row)?);
            }
            if !full {
                return Ok(declared);
            }
        }
    }
}

fn declaration(row: SignalRow) -> anyhow::Result<SignalDeclared> {
    let data_type = DataType::ALL.into_iter().find(|known| known.as_str() == row.data_type);
    Ok(SignalDeclared {
        number: u32::try_from(row.number).context("a signal's number is negative")?,
        description: row.description,
        unit: row.unit,
        data_type: data_type.with_context(|| format!("signal {} has an unknown data type", row.name))?,
        device: DeviceId::new(row.device)?,
        address: row.address.0,
        scale: row.scale,
        offset: row.value_offset,
        name: row.name,
    })
}

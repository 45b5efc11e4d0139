//! `lotline serve`: gives every port its adapter and runs the chosen roles together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_adapters::personal_keys::PostgresPersonalKeys;
use lotline_adapters::snapshot::PostgresSnapshots;
use lotline_api::Health;
use lotline_api::server::{ApiState, Partitions, Readiness};
use lotline_commands::bus::{CommandBus, Ports};
use lotline_commands::snapshotter::{SnapshotOptions, Snapshotter};
use lotline_commands::writer::{WriterError, WriterOptions, WriterStatus};
use lotline_domain::port::LogRead;
use lotline_projections::progress::Progress;
use lotline_projections::worker::{LedgerWorker, SignalsWorker, WorkerContext};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::Role;
use crate::config::Config;
use crate::lifecycle::{Lifecycle, Watch};
use crate::stores::{self, Databases, Logs};
use crate::telemetry;

/// How long everything may take to stop.
pub(crate) const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// A server that has been put together and started.
pub struct Running {
    /// Its tasks.
    pub lifecycle: Lifecycle,
    /// The way to its writers.
    pub bus: CommandBus,
    /// `http://address:port`, when the API is among its roles.
    pub url: Option<String>,
}

/// Runs until a signal or a failure.
///
/// # Errors
/// What kept it from starting, or the failure that ended it.
pub async fn serve(config: Config, roles: &[Role]) -> anyhow::Result<()> {
    let running = start(&config, roles).await?;
    if let Some(url) = &running.url {
        tracing::info!("open {url}/graphiql");
    }
    running.lifecycle.run(SHUTDOWN_DEADLINE).await
}

/// Puts the roles together and starts them.
///
/// # Errors
/// What kept it from starting.
pub async fn start(config: &Config, roles: &[Role]) -> anyhow::Result<Running> {
    let has = |role| roles.contains(&role);
    anyhow::ensure!(
        has(Role::Writer) || !has(Role::Api),
        "the role api needs writer in the same process, because commands are not forwarded between processes yet"
    );
    // Before any writer fences another: a second server on the same port must fail without having harmed the first.
    // Every process has one, for its health and metrics.
    let listener = lotline_api::bind(config.api.bind).await?;
    config.collector.resolve(&config.tenant.sites[0]).validate().context("the collector can't run")?;
    let metrics = telemetry::start_metrics()?;
    let databases = stores::databases(config).await?;
    let logs = stores::logs(config, &databases).await?;
    let mut lifecycle = Lifecycle::new();
    let ports = Ports {
        log: logs.ledger.clone(),
        snapshots: Arc::new(PostgresSnapshots::new(databases.app.clone())),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds::default()),
    };
    let progress = follow_progress(config, &databases, &mut lifecycle);
    let (bus, writers) = CommandBus::new(&config.tenant.id, &config.tenant.sites, &ports, writer_options(config));
    let mut readiness: Vec<(&'static str, Arc<dyn Readiness>)> = Vec::new();
    if has(Role::Writer) {
        for writer in writers {
            let ends_all = |error: &WriterError| match error {
                // Another process serves, or the log is not as configured: nothing here is of use.
                WriterError::Fenced { .. } | WriterError::Log { .. } => true,
                WriterError::Fold { .. } => false,
            };
            lifecycle.spawn_isolated("the writer of a partition", ends_all, writer.run(lifecycle.token()));
        }
        snapshots(config, &ports, &mut lifecycle);
        readiness.push(("writer", writers_ready(bus.clone())));
    }
    if has(Role::Projector) {
        readiness.push(("projector", running(projections(config, &logs, &databases, &mut lifecycle))));
    }
    if has(Role::Collector) {
        let watch = crate::collect::start(config, &logs, &databases, &progress, &mut lifecycle);
        readiness.push(("collector", running(watch)));
    }
    let url = if has(Role::Api) {
        let served = Served { bus: &bus, logs: &logs, databases: &databases, progress, readiness, metrics };
        let state = api_state(config, served, lifecycle.token());
        Some(listen(listener, state, &mut lifecycle)?)
    } else {
        let (tenant, pool) = (config.tenant.id.clone(), databases.owner.clone());
        let health = Health { tenant, pool, readiness, metrics };
        lifecycle.spawn("the HTTP server", lotline_api::serve_health(listener, health, lifecycle.token()));
        None
    };
    Ok(Running { lifecycle, bus, url })
}

fn writer_options(config: &Config) -> WriterOptions {
    WriterOptions { queue: config.log.queue, max_batch: config.log.max_batch, ..WriterOptions::default() }
}

fn snapshots(config: &Config, ports: &Ports, lifecycle: &mut Lifecycle) {
    for partition in 0..ports.log.partitions() {
        let options = SnapshotOptions {
            interval: Duration::from_secs(config.log.snapshot_interval_s),
            min_records: config.log.snapshot_min_records,
        };
        let snapshotter = Snapshotter::new(config.tenant.id.clone(), partition, ports.clone(), options);
        lifecycle.spawn_isolated("the snapshotter of a partition", |_| false, snapshotter.run(lifecycle.token()));
    }
}

fn projections(config: &Config, logs: &Logs, databases: &Databases, lifecycle: &mut Lifecycle) -> Watch {
    let watch = Watch::default();
    let context = |log: Arc<dyn LogRead>| WorkerContext {
        pool: databases.owner.clone(),
        log,
        clock: Arc::new(SystemClock),
        tenant: config.tenant.id.clone(),
    };
    for partition in 0..logs.ledger.partitions() {
        let worker = LedgerWorker::new(context(logs.ledger.clone()), partition).run(lifecycle.token());
        let worker = watch.over(&format!("the projection of ledger partition {partition}"), worker);
        lifecycle.spawn_isolated("the projection of a ledger partition", |_| false, worker);
    }
    for partition in 0..logs.signals.partitions() {
        let worker = SignalsWorker::new(context(logs.signals.clone()), partition).run(lifecycle.token());
        let worker = watch.over(&format!("the projection of signals partition {partition}"), worker);
        lifecycle.spawn_isolated("the projection of a signals partition", |_| false, worker);
    }
    watch
}

fn follow_progress(config: &Config, databases: &Databases, lifecycle: &mut Lifecycle) -> Progress {
    let progress = Progress::new(databases.owner.clone(), config.tenant.id.clone());
    let (follower, cancel) = (progress.clone(), lifecycle.token());
    lifecycle.spawn("the progress of read models", async move {
        follower.run(cancel).await;
        anyhow::Ok(())
    });
    progress
}

/// What the API is given beside its configuration.
struct Served<'a> {
    bus: &'a CommandBus,
    logs: &'a Logs,
    databases: &'a Databases,
    progress: Progress,
    readiness: Vec<(&'static str, Arc<dyn Readiness>)>,
    metrics: PrometheusHandle,
}

fn api_state(config: &Config, served: Served<'_>, shutdown: CancellationToken) -> ApiState {
    let logs = served.logs;
    ApiState {
        tenant: config.tenant.id.clone(),
        sites: config.tenant.sites.clone(),
        partitions: Partitions { ledger: logs.ledger.partitions(), signals: logs.signals.partitions() },
        bus: served.bus.clone(),
        pool: served.databases.owner.clone(),
        progress: served.progress,
        keys: Arc::new(PostgresPersonalKeys::new(served.databases.app.clone())),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds::default()),
        limits: config.api.limits.clone(),
        readiness: served.readiness,
        metrics: served.metrics,
        shutdown,
        connections: TaskTracker::new(),
    }
}

fn running(watch: Watch) -> Arc<dyn Readiness> {
    Arc::new(move || watch.check())
}

fn writers_ready(bus: CommandBus) -> Arc<dyn Readiness> {
    Arc::new(move || {
        let waiting: Vec<String> = bus
            .statuses()
            .iter()
            .enumerate()
            .filter(|(_, status)| **status != WriterStatus::Serving)
            .map(|(partition, status)| format!("partition {partition} is {status:?}"))
            .collect();
        if waiting.is_empty() { Ok(()) } else { Err(waiting.join(", ")) }
    })
}

fn listen(listener: TcpListener, state: ApiState, lifecycle: &mut Lifecycle) -> anyhow::Result<String> {
    let address = listener.local_addr().context("the listener has no address")?;
    let connections = state.connections.clone();
    lifecycle.spawn("the HTTP server", async move {
        lotline_api::serve(listener, state).await?;
        connections.close();
        connections.wait().await;
        anyhow::Ok(())
    });
    Ok(format!("http://{address}"))
}

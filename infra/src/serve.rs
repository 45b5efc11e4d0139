//! `lotline serve`: gives every port its adapter and runs the chosen roles together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_adapters::personal_keys::PostgresPersonalKeys;
use lotline_adapters::snapshot::PostgresSnapshots;
use lotline_api::server::{ApiState, Partitions, Readiness};
use lotline_api::{Door, Edge, Health, Mode};
use lotline_commands::bus::{CommandBus, Ports};
use lotline_commands::ownership::{Owners, OwnershipOptions};
use lotline_commands::snapshotter::SnapshotOptions;
use lotline_commands::writer::{PartitionWriter, WriterOptions, WriterStatus};
use lotline_domain::access::need::Authorisation;
use lotline_domain::trace::Traces;
use lotline_projections::graph::{GraphOptions, LiveGraph};
use lotline_projections::progress::Progress;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::cli::Role;
use crate::cluster::Node;
use crate::config::Config;
use crate::door::Doorway;
use crate::edge;
use crate::hearing;
use crate::lifecycle::{Lifecycle, Watch};
use crate::stores::{self, Databases, Logs};
use crate::telemetry;
use crate::telemetry::sampler::Sampler;

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
    // Every process has one, for its health and metrics, and for commands that other nodes forward. First of all: a second server on the
    // same port must fail without having harmed the first.
    let listener = lotline_api::bind(config.api.bind, config.access.mode).await?;
    config.collector.resolve(&config.tenant.sites[0]).validate().context("the collector can't run")?;
    let metrics = telemetry::start_metrics()?;
    let databases = stores::databases(config).await?;
    let logs = stores::logs(config, &databases).await?;
    let mut lifecycle = Lifecycle::new();
    let traces = telemetry::traces::start(config, listener.local_addr()?, &mut lifecycle)?;
    let edge = edge::open(config, &mut lifecycle)?;
    let ports = ports(&logs, &databases, traces.clone());
    let progress = follow_progress(config, &databases, &mut lifecycle);
    let (bus, writers) = CommandBus::new(&config.tenant.id, &config.tenant.sites, &ports, writer_options(config));
    let mut readiness: Vec<(&'static str, Arc<dyn Readiness>)> = Vec::new();
    let node = Node::open(config, &databases, listener.local_addr()?).await?;
    let bus = node.connect(bus)?;
    let (doorway, writers_end) = doorway(has(Role::Api), config, &databases, &bus, &mut lifecycle).await?;
    if has(Role::Writer) {
        let owners = Owners::new(config.tenant.id.clone(), ports, node.directory(), ownership_options(config));
        readiness.push(("writer", writers_ready(bus.clone(), owners.joined())));
        let writing = owners.run(writers, node.writers(&logs)?, writers_end);
        lifecycle.spawn("the writers", async move {
            writing.await;
            anyhow::Ok(())
        });
    } else {
        forward(writers, &bus, ports, &mut lifecycle);
    }
    let hears = keep_hearing(&bus, &node, &mut lifecycle);
    if has(Role::Projector) {
        let watch = crate::projecting::start(config, (&node, hears), &logs, &databases, &traces, &mut lifecycle);
        readiness.push(("projector", running(watch)));
    }
    if has(Role::Collector) {
        let watch = crate::collect::start(config, &logs, &databases, &progress, &mut lifecycle);
        readiness.push(("collector", running(watch)));
    }
    if let Some(doorway) = &doorway {
        readiness.extend(doorway.readiness(bus.access()));
    }
    let sampler = Sampler {
        bus: bus.clone(),
        ledger: logs.ledger.clone(),
        databases: databases.clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
    };
    lifecycle.spawn("the sampler of metrics", sampler.run(lifecycle.token()));
    let url = if let Some(doorway) = doorway {
        let access = bus.access();
        let front = (doorway.build(config, listener.local_addr()?, &access), edge);
        let graph = follow_genealogy(config, &databases, &progress, &mut lifecycle);
        let (node, bus, logs, databases) = (&node, &bus, &logs, &databases);
        let served = Served { node, bus, logs, databases, progress, graph, readiness, metrics, traces, front };
        let state = api_state(config, served, lifecycle.token());
        let url = listen(listener, state, doorway.serving(), &mut lifecycle)?;
        doorway.welcome(config, &url, access, &mut lifecycle);
        Some(url)
    } else {
        let (tenant, pool, mode) = (config.tenant.id.clone(), databases.queries.clone(), config.access.mode);
        let health = Health { tenant, pool, mode, readiness, metrics };
        let (peers, edge) = (Some(node.peers(bus.clone())), (edge::limits(config), edge.tls));
        let serving = lotline_api::serve_health(listener, health, peers, edge, lifecycle.token());
        lifecycle.spawn("the HTTP server", serving);
        None
    };
    Ok(Running { lifecycle, bus, url })
}

/// The door of a process with the API, and what its writers end with.
async fn doorway(
    wanted: bool,
    config: &Config,
    databases: &Databases,
    bus: &CommandBus,
    lifecycle: &mut Lifecycle,
) -> anyhow::Result<(Option<Doorway>, CancellationToken)> {
    if !wanted {
        return Ok((None, lifecycle.token()));
    }
    let doorway = Doorway::open(config, databases, bus, lifecycle).await?;
    let writers_end = doorway.writers_end();
    Ok((Some(doorway), writers_end))
}

fn ports(logs: &Logs, databases: &Databases, traces: Traces) -> Ports {
    Ports {
        log: logs.ledger.clone(),
        snapshots: Arc::new(PostgresSnapshots::new(databases.app.clone())),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds::default()),
        traces,
    }
}

/// Sends what comes for the writers to other nodes, and learns from the log who may do what.
fn forward(writers: Vec<PartitionWriter>, bus: &CommandBus, ports: Ports, lifecycle: &mut Lifecycle) {
    let token = lifecycle.token();
    let following = bus.access().follow(ports, token.clone());
    lifecycle.spawn("forwarding to writers", async move {
        let forwarding = join_all(writers.into_iter().map(|writer| writer.elsewhere(token.clone())));
        tokio::join!(forwarding, following);
        anyhow::Ok(())
    });
}

/// Whether this node hears the log, as far as others can tell.
fn keep_hearing(bus: &CommandBus, node: &Node, lifecycle: &mut Lifecycle) -> watch::Receiver<bool> {
    let (hears, hearing) = watch::channel(true);
    let comparing = hearing::compare(bus.access(), node.heard(), hears, lifecycle.token());
    lifecycle.spawn("the comparison with other nodes", async move {
        comparing.await;
        anyhow::Ok(())
    });
    hearing
}

fn writer_options(config: &Config) -> WriterOptions {
    let authorisation = match config.access.mode {
        Mode::Enforced => Authorisation::Enforced,
        Mode::Development => Authorisation::Development,
    };
    WriterOptions {
        queue: config.log.queue,
        max_batch: config.log.max_batch,
        authorisation,
        watch: config.alerts.check_interval(),
        ..WriterOptions::default()
    }
}

fn ownership_options(config: &Config) -> OwnershipOptions {
    let snapshots = SnapshotOptions {
        interval: Duration::from_secs(config.log.snapshot_interval_s),
        min_records: config.log.snapshot_min_records,
    };
    OwnershipOptions { snapshots, ..OwnershipOptions::default() }
}

fn follow_progress(config: &Config, databases: &Databases, lifecycle: &mut Lifecycle) -> Progress {
    let progress = Progress::new(databases.queries.clone(), config.tenant.id.clone());
    let (follower, cancel) = (progress.clone(), lifecycle.token());
    lifecycle.spawn("the progress of read models", async move {
        follower.run(cancel).await;
        anyhow::Ok(())
    });
    progress
}

/// The genealogy in memory, which a node needs that answers questions.
fn follow_genealogy(
    config: &Config,
    databases: &Databases,
    progress: &Progress,
    lifecycle: &mut Lifecycle,
) -> LiveGraph {
    if !config.graph.enabled {
        return LiveGraph::off();
    }
    let graph = LiveGraph::new(GraphOptions { merge_from: config.graph.merge_from });
    let (keeper, pool, tenant) = (graph.clone(), databases.queries.clone(), config.tenant.id.clone());
    let (progress, cancel) = (progress.clone(), lifecycle.token());
    lifecycle.spawn("the genealogy in memory", async move {
        keeper.run(pool, tenant, progress, cancel).await;
        anyhow::Ok(())
    });
    graph
}

/// What the API is given beside its configuration.
struct Served<'a> {
    node: &'a Node,
    bus: &'a CommandBus,
    logs: &'a Logs,
    databases: &'a Databases,
    progress: Progress,
    graph: LiveGraph,
    readiness: Vec<(&'static str, Arc<dyn Readiness>)>,
    metrics: PrometheusHandle,
    traces: Traces,
    front: (Door, Edge),
}

fn api_state(config: &Config, served: Served<'_>, shutdown: CancellationToken) -> ApiState {
    let logs = served.logs;
    ApiState {
        tenant: config.tenant.id.clone(),
        sites: config.tenant.sites.clone(),
        partitions: Partitions { ledger: logs.ledger.partitions(), signals: logs.signals.partitions() },
        bus: served.bus.clone(),
        pool: served.databases.queries.clone(),
        progress: served.progress,
        graph: served.graph,
        keys: Arc::new(PostgresPersonalKeys::new(served.databases.app.clone())),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds::default()),
        door: served.front.0,
        edge: served.front.1,
        limits: edge::limits(config),
        peers: Some(served.node.peers(served.bus.clone())),
        readiness: served.readiness,
        metrics: served.metrics,
        traces: served.traces,
        shutdown,
        connections: TaskTracker::new(),
    }
}

fn running(watch: Watch) -> Arc<dyn Readiness> {
    Arc::new(move || watch.check())
}

/// A node is ready when it writes what is assigned to it, be it nothing.
fn writers_ready(bus: CommandBus, joined: watch::Receiver<bool>) -> Arc<dyn Readiness> {
    Arc::new(move || {
        if !*joined.borrow() {
            return Err("no partitions have been assigned to this node yet".to_owned());
        }
        let is_ready = |status: &WriterStatus| matches!(status, WriterStatus::Serving | WriterStatus::Elsewhere);
        let waiting: Vec<String> = bus
            .statuses()
            .iter()
            .enumerate()
            .filter(|(_, status)| !is_ready(status))
            .map(|(partition, status)| format!("partition {partition} is {status:?}"))
            .collect();
        if waiting.is_empty() { Ok(()) } else { Err(waiting.join(", ")) }
    })
}

fn listen(
    listener: TcpListener,
    state: ApiState,
    serving: DropGuard,
    lifecycle: &mut Lifecycle,
) -> anyhow::Result<String> {
    let address = listener.local_addr().context("the listener has no address")?;
    let (connections, scheme) = (state.connections.clone(), Edge::scheme(state.edge.tls.as_ref()));
    lifecycle.spawn("the HTTP server", async move {
        lotline_api::serve(listener, state).await?;
        connections.close();
        connections.wait().await;
        drop(serving);
        anyhow::Ok(())
    });
    Ok(format!("{scheme}://{address}"))
}

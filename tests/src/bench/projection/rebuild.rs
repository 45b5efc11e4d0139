//! `projection.rebuild*`: `lotline projections rebuild --all` as a process of its own, beside writers, live workers and clients that send a hundred
//! commands a second and more, more than the people of a plant do. A rebuild takes until all of the new rows are in use; the deletion of the old ones
//! comes after, and is stated beside.

use std::collections::HashSet;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_adapters::log::kafka::KafkaLog;
use lotline_adapters::snapshot::MemorySnapshots;
use lotline_commands::bus::{CommandBus, Ports};
use lotline_commands::writer::WriterOptions;
use lotline_domain::access::need::Authorisation;
use lotline_domain::id::{SiteId, TenantId};
use lotline_domain::port::LogRead;
use lotline_domain::trace::Traces;
use lotline_projections::worker::{LedgerWorker, WorkerContext};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bench::load::{self, Commands};
use crate::bench::report::Report;
use crate::server::{Log, Settings, lotline};
use crate::stack::{self, Database};

const WARM_UP: u32 = 300;
/// Commands a second.
const RATE: u32 = 100;
/// Commands that say what a command takes when nothing is rebuilt.
const BEFORE: u32 = 2_000;
/// Commands between two looks at the rebuild.
const AT_ONCE: u32 = 20;

/// A plant whose read models have all of its log.
pub(super) struct Serving {
    pub(super) tenant: TenantId,
    pub(super) log: Arc<KafkaLog>,
    pub(super) database: Database,
}

/// Measures one rebuild of everything. `copy_seconds` is what plain `COPY` of the rows takes.
pub(super) async fn measure(report: &mut Report, serving: Serving, copy_seconds: f64) -> anyhow::Result<()> {
    let site = SiteId::new("client")?;
    let ports = Ports {
        log: serving.log.clone(),
        snapshots: Arc::new(MemorySnapshots::default()),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds::default()),
        traces: Traces::default(),
    };
    let options = WriterOptions { authorisation: Authorisation::Development, ..WriterOptions::default() };
    let (bus, writers) = CommandBus::new(&serving.tenant, std::slice::from_ref(&site), &ports, options);
    let cancel = CancellationToken::new();
    let (mut running, mut workers) = (JoinSet::new(), JoinSet::new());
    for writer in writers {
        running.spawn(writer.run(cancel.clone()));
    }
    for partition in 0..serving.log.partitions() {
        let context = WorkerContext {
            pool: serving.database.pool.clone(),
            log: serving.log.clone(),
            clock: Arc::new(SystemClock),
            tenant: serving.tenant.clone(),
            traces: Traces::default(),
        };
        workers.spawn(LedgerWorker::new(context, partition).run(cancel.clone()));
    }
    anyhow::ensure!(bus.ready().await, "a writer stopped before it served");
    let commands =
        Commands::new(serving.tenant.clone(), Arc::new(SystemClock), Arc::new(RandomIds::default())).in_turn();
    let mut clients = Clients { bus, commands, site };
    load::sequential(&clients.bus, &mut clients.commands, &clients.site, WARM_UP).await?;
    let mut before = Latencies::new()?;
    for _ in 0..BEFORE / AT_ONCE {
        clients.send(&mut before).await?;
    }
    let rebuild = Rebuild::run(&serving, &mut clients).await?;
    rebuild.report(report, &before, copy_seconds);
    cancel.cancel();
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Those who go on sending commands.
struct Clients {
    bus: CommandBus,
    commands: Commands,
    site: SiteId,
}

impl Clients {
    async fn send(&mut self, to: &mut Latencies) -> anyhow::Result<()> {
        to.sequential.add(load::sequential(&self.bus, &mut self.commands, &self.site, AT_ONCE).await?)?;
        to.paced.add(load::paced(&self.bus, &mut self.commands, &self.site, RATE, AT_ONCE).await?)?;
        Ok(())
    }
}

/// What commands took.
struct Latencies {
    /// One after another, as `ledger.kafka.command_p99_ms` has it.
    sequential: Histogram<u64>,
    /// Each when it was due at [`RATE`], and what had to wait for a late one counted as late: the stricter look.
    paced: Histogram<u64>,
}

impl Latencies {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { sequential: Histogram::new(3)?, paced: Histogram::new(3)? })
    }
}

/// What one rebuild took.
struct Rebuild {
    /// Until all of the new rows were in use.
    in_use: f64,
    /// Until the old rows were gone as well.
    all: f64,
    /// The commands meanwhile.
    during: Latencies,
}

impl Rebuild {
    async fn run(serving: &Serving, clients: &mut Clients) -> anyhow::Result<Self> {
        let pool = &serving.database.pool;
        let old = live_generations(pool).await?;
        let started = Instant::now();
        let mut child = command(serving)?.spawn()?;
        let mut during = Latencies::new()?;
        let mut in_use = None;
        let status = loop {
            clients.send(&mut during).await?;
            if in_use.is_none() && live_generations(pool).await?.is_disjoint(&old) {
                in_use = Some(started.elapsed().as_secs_f64());
            }
            if let Some(status) = child.try_wait()? {
                break status;
            }
            anyhow::ensure!(started.elapsed() < Duration::from_mins(10), "the rebuild did not end in ten minutes");
        };
        anyhow::ensure!(status.success(), "the rebuild failed with {status}");
        let all = started.elapsed().as_secs_f64();
        Ok(Self { in_use: in_use.unwrap_or(all), all, during })
    }

    fn report(&self, report: &mut Report, before: &Latencies, copy_seconds: f64) {
        report.note(&format!("projection.rebuild: {:.1} s with the deletion of the old rows", self.all));
        report.result("projection.rebuild_s", self.in_use, "s", Some(self.in_use / copy_seconds));
        let ways = [
            ("command", "one after another", &before.sequential, &self.during.sequential),
            ("paced_command", "at 100 a second, waiting included", &before.paced, &self.during.paced),
        ];
        for (name, how, before, during) in ways {
            report.note(&format!(
                "projection.rebuild: commands {how}: before p50 {}, p99 {}; during p50 {}, p99 {} ms ({} commands)",
                millis(before, 0.5),
                millis(before, 0.99),
                millis(during, 0.5),
                millis(during, 0.99),
                during.len(),
            ));
            let ratio = during.value_at_quantile(0.99) as f64 / before.value_at_quantile(0.99) as f64;
            report.result(&format!("projection.rebuild_{name}_p99_ratio"), ratio, "x", None);
        }
    }
}

async fn live_generations(pool: &PgPool) -> sqlx::Result<HashSet<(String, i32)>> {
    let rows = sqlx::query_as("SELECT model, generation FROM read.projection_generation WHERE state = 'live'");
    Ok(rows.fetch_all(pool).await?.into_iter().collect())
}

fn command(serving: &Serving) -> anyhow::Result<std::process::Command> {
    let folder = std::env::temp_dir().join(serving.tenant.as_str());
    std::fs::create_dir_all(&folder)?;
    let settings = Settings {
        tenant: serving.tenant.to_string(),
        log: Log::Kafka,
        database: serving.database.url.clone(),
        brokers: Some(stack::kafka_brokers()),
        folder,
        development: true,
        environment: vec![("LOTLINE_LOG__PARTITIONS".into(), serving.log.partitions().to_string())],
    };
    let mut command = lotline(&settings);
    command.args(["projections", "rebuild", "--all"]).stdin(Stdio::null());
    Ok(command)
}

fn millis(latency: &Histogram<u64>, quantile: f64) -> String {
    format!("{:.2}", latency.value_at_quantile(quantile) as f64 / 1_000.0)
}

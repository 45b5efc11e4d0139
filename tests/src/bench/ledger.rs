//! `ledger.*`: how fast commands become acknowledged events, on Kafka with and without flushing each batch, and on the embedded log.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_adapters::log::kafka::{KafkaLog, KafkaOptions};
use lotline_adapters::log::postgres::{self, PostgresLog};
use lotline_adapters::snapshot::MemorySnapshots;
use lotline_commands::bus::{CommandBus, Ports};
use lotline_commands::writer::{WriterError, WriterOptions};
use lotline_domain::access::need::Authorisation;
use lotline_domain::id::{SiteId, TenantId};
use lotline_domain::port::EventLog;
use lotline_domain::position::TopicKind;
use lotline_domain::record::Record;
use lotline_domain::trace::Traces;
use lotline_projections::worker::{LedgerWorker, WorkerContext};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::load::{self, Commands, Outcome};
use super::probe;
use super::report::Report;
use crate::stack;

const PARTITIONS: u32 = 4;
const LENGTH: Duration = Duration::from_secs(8);
const WARM_UP_LENGTH: Duration = Duration::from_secs(3);
const PROBE_LENGTH: Duration = Duration::from_secs(5);
const IN_FLIGHT: usize = 4_096;
const SEQUENTIAL: u32 = 1_500;
const WARM_UP: u32 = 200;

/// A log to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kafka,
    KafkaFlushed,
    Postgres,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Kafka => "ledger.kafka",
            Self::KafkaFlushed => "ledger.kafka.flushed",
            Self::Postgres => "ledger.postgres",
        }
    }
}

/// A running writer side, with projections if wanted.
struct Rig {
    bus: CommandBus,
    log: Arc<dyn EventLog>,
    pool: PgPool,
    tenant: TenantId,
    sites: Vec<SiteId>,
    cancel: CancellationToken,
    writers: JoinSet<Result<(), WriterError>>,
    workers: JoinSet<()>,
}

/// Runs all ledger figures that the report wants.
///
/// # Errors
/// When the stack fails or a command is refused.
pub async fn run(report: &mut Report) -> anyhow::Result<()> {
    for kind in [Kind::Kafka, Kind::KafkaFlushed, Kind::Postgres] {
        if report.wants(kind.prefix()) {
            measure(kind, report).await?;
        }
    }
    Ok(())
}

async fn measure(kind: Kind, report: &mut Report) -> anyhow::Result<()> {
    let prefix = kind.prefix();
    let rig = Rig::start(kind, 1, false).await?;
    let mut commands = rig.commands().in_turn();
    let site = rig.sites[0].clone();
    load::sequential(&rig.bus, &mut commands, &site, WARM_UP).await?;
    let latency = load::sequential(&rig.bus, &mut commands, &site, SEQUENTIAL).await?;
    let sample = rig.sample().await?;
    rig.stop().await?;

    let bytes: usize = sample.iter().map(Record::size).sum::<usize>() / sample.len().max(1);
    let raw = probe_latency(kind, &sample).await?;
    let quantiles = [("p50", 0.5), ("p99", 0.99)];
    for (name, quantile) in quantiles {
        let (ours, raw) = (millis(latency.value_at_quantile(quantile)), millis(raw.value_at_quantile(quantile)));
        report.result(&format!("{prefix}.command_{name}_ms"), ours, "ms", Some(ours / raw));
    }
    let [p50, p99] = quantiles.map(|(_, quantile)| millis(raw.value_at_quantile(quantile)));
    report
        .note(&format!("{prefix}: raw probe p50 {p50:.2} ms, p99 {p99:.2} ms, one record of {bytes} bytes at a time"));
    let raw = probe(kind, &sample).await?;
    report.note(&format!("{prefix}: raw probe {raw:.0} records/s of {bytes} bytes with headers"));
    for (sites, projections) in [(1, false), (8, false), (1, true), (8, true)] {
        let rig = Rig::start(kind, sites, projections).await?;
        let mut makers: Vec<_> = rig.sites.iter().map(|site| (site.clone(), rig.commands())).collect();
        // The broker and the tables are cold, and the first commands have nothing to refer to yet.
        load::saturate(&rig.bus, &mut makers, IN_FLIGHT, WARM_UP_LENGTH).await?;
        let outcome = load::saturate(&rig.bus, &mut makers, IN_FLIGHT, LENGTH).await?;
        rig.stop().await?;
        let projected = if projections { "projections_on" } else { "projections_off" };
        let name = if (sites, projections) == (1, false) {
            format!("{prefix}.throughput_eps")
        } else {
            format!("{prefix}.throughput_eps.sites{sites}.{projected}")
        };
        figures(report, &name, &outcome, raw);
    }
    Ok(())
}

fn figures(report: &mut Report, name: &str, outcome: &Outcome, raw: f64) {
    report.result(name, outcome.eps, "events/s", Some(outcome.eps / raw));
    let p99 = millis(outcome.latency.value_at_quantile(0.99));
    report.result(&format!("{name}.p99_ms"), p99, "ms", None);
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

async fn open(kind: Kind, tenant: &TenantId, database: &stack::Database) -> anyhow::Result<Arc<dyn EventLog>> {
    let topic = format!("lotline.{tenant}.ledger.v1");
    Ok(match kind {
        Kind::Kafka | Kind::KafkaFlushed => {
            let mut options = KafkaOptions::new(stack::kafka_brokers(), topic, PARTITIONS);
            options.flush_each_batch = kind == Kind::KafkaFlushed;
            Arc::new(KafkaLog::open(options, TopicKind::Ledger).await?)
        }
        Kind::Postgres => {
            postgres::migrate(&database.pool).await?;
            let pool = stack::bound(database, tenant, 16).await;
            Arc::new(PostgresLog::open(&pool, &topic, PARTITIONS).await?)
        }
    })
}

async fn probe(kind: Kind, sample: &[Record]) -> anyhow::Result<f64> {
    match kind {
        Kind::Kafka | Kind::KafkaFlushed => {
            let tenant = TenantId::new(stack::unique("probe"))?;
            let database = stack::database("probe").await;
            let log = open(kind, &tenant, &database).await?;
            let (topic, sample) = (log.topic().to_owned(), sample.to_vec());
            tokio::task::spawn_blocking(move || {
                probe::plain_producer(&stack::kafka_brokers(), &topic, PARTITIONS, &sample, PROBE_LENGTH)
            })
            .await?
        }
        Kind::Postgres => {
            let database = stack::database("probe").await;
            probe::plain_copy(&database.pool, sample, PROBE_LENGTH).await
        }
    }
}

async fn probe_latency(kind: Kind, sample: &[Record]) -> anyhow::Result<Histogram<u64>> {
    let database = stack::database("probe").await;
    match kind {
        Kind::Kafka | Kind::KafkaFlushed => {
            let tenant = TenantId::new(stack::unique("probe"))?;
            let log = open(kind, &tenant, &database).await?;
            probe::plain_producer_latency(&stack::kafka_brokers(), log.topic(), sample, SEQUENTIAL as usize).await
        }
        Kind::Postgres => probe::plain_insert_latency(&database.pool, sample, SEQUENTIAL as usize).await,
    }
}

impl Rig {
    async fn start(kind: Kind, sites: usize, projections: bool) -> anyhow::Result<Self> {
        let tenant = TenantId::new(stack::unique("bench"))?;
        let database = stack::database("bench").await;
        let log = open(kind, &tenant, &database).await?;
        let sites: Vec<SiteId> = (0..sites).map(|n| SiteId::new(format!("site-{n}"))).collect::<Result<_, _>>()?;
        let ports = Ports {
            log: Arc::clone(&log),
            snapshots: Arc::new(MemorySnapshots::default()),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds::default()),
            traces: Traces::default(),
        };
        let (bus, writers) = CommandBus::new(
            &tenant,
            &sites,
            &ports,
            WriterOptions { authorisation: Authorisation::Development, ..WriterOptions::default() },
        );
        let cancel = CancellationToken::new();
        let mut running = JoinSet::new();
        for writer in writers {
            running.spawn(writer.run(cancel.clone()));
        }
        let mut workers = JoinSet::new();
        if projections {
            lotline_projections::migrate(&database.pool).await?;
            for partition in 0..PARTITIONS {
                let context = WorkerContext {
                    pool: database.pool.clone(),
                    log: log.clone(),
                    clock: Arc::new(SystemClock),
                    tenant: tenant.clone(),
                    traces: Traces::default(),
                };
                let worker = LedgerWorker::new(context, partition);
                let cancel = cancel.clone();
                workers.spawn(async move { worker.run(cancel).await.expect("the projections follow") });
            }
        }
        anyhow::ensure!(bus.ready().await, "a writer stopped before it served");
        Ok(Self { bus, log, pool: database.pool, tenant, sites, cancel, writers: running, workers })
    }

    fn commands(&self) -> Commands {
        Commands::new(self.tenant.clone(), Arc::new(SystemClock), Arc::new(RandomIds::default()))
    }

    /// Up to a thousand records as they stand in the log.
    async fn sample(&self) -> anyhow::Result<Vec<Record>> {
        let mut records = Vec::new();
        for partition in 0..self.log.partitions() {
            let mut reader = self.log.reader(partition, 0).await?;
            let batch = reader.read(1_000, Duration::from_millis(300)).await?;
            records.extend(batch.records.into_iter().map(|stored| stored.record));
        }
        Ok(records)
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.cancel.cancel();
        while let Some(ended) = self.writers.join_next().await {
            ended??;
        }
        while let Some(ended) = self.workers.join_next().await {
            ended?;
        }
        self.pool.close().await;
        Ok(())
    }
}

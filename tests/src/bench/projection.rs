//! `projection.*`: how fast the read models are made from a log of a million events, compared with plain `COPY` of the rows they end up with;
//! and how fast they are made anew beside those in use, and what that costs who commands meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_adapters::log::kafka::{KafkaLog, KafkaOptions};
use lotline_adapters::snapshot::MemorySnapshots;
use lotline_commands::bus::{CommandBus, Ports};
use lotline_commands::writer::WriterOptions;
use lotline_domain::access::need::Authorisation;
use lotline_domain::id::{SiteId, TenantId};
use lotline_domain::port::{EventLog, LogRead};
use lotline_domain::position::TopicKind;
use lotline_domain::trace::Traces;
use lotline_projections::model::Model;
use lotline_projections::worker::{LedgerWorker, WorkerContext};
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::load::{self, Commands};
use super::report::Report;
use crate::stack;

mod rebuild;

const EVENTS: u64 = 1_000_000;
const PARTITIONS: u32 = 2;
const TABLES: [&str; 4] = ["lots", "genealogy", "qc_decisions", "audit"];

/// Runs the figures of projections that the report wants.
///
/// # Errors
/// When the stack fails.
pub async fn run(report: &mut Report) -> anyhow::Result<()> {
    if !report.wants("projection.") {
        return Ok(());
    }
    let tenant = TenantId::new(stack::unique("bench"))?;
    let topic = format!("lotline.{tenant}.ledger.v1");
    let options = KafkaOptions::new(stack::kafka_brokers(), topic, PARTITIONS);
    let log = Arc::new(KafkaLog::open(options, TopicKind::Ledger).await?);
    let events = fill(&tenant, log.clone()).await?;
    let database = stack::database("bench").await;
    lotline_projections::migrate(&database.pool).await?;
    let seconds = catch_up(&tenant, log.clone(), &database.pool).await?;
    let eps = events as f64 / seconds;
    let (rows, copy_seconds) = copy_again(&database.pool).await?;
    report.note(&format!(
        "projection: {events} events into all read models in {seconds:.1} s; plain COPY of their {rows} rows into bare tables in {copy_seconds:.1} s"
    ));
    report.result("projection.catchup_eps", eps, "events/s", Some(copy_seconds / seconds));
    if report.wants("projection.rebuild") {
        rebuild::measure(report, rebuild::Serving { tenant, log, database }, copy_seconds).await?;
    }
    Ok(())
}

/// Appends about a million events, as commands decide them.
async fn fill(tenant: &TenantId, log: Arc<dyn EventLog>) -> anyhow::Result<u64> {
    let sites: Vec<SiteId> = (0..8).map(|n| SiteId::new(format!("site-{n}"))).collect::<Result<_, _>>()?;
    let ports = Ports {
        log: log.clone(),
        snapshots: Arc::new(MemorySnapshots::default()),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds::default()),
        traces: Traces::default(),
    };
    let (bus, writers) = CommandBus::new(
        tenant,
        &sites,
        &ports,
        WriterOptions { authorisation: Authorisation::Development, ..WriterOptions::default() },
    );
    let cancel = CancellationToken::new();
    let mut running = JoinSet::new();
    for writer in writers {
        running.spawn(writer.run(cancel.clone()));
    }
    anyhow::ensure!(bus.ready().await, "a writer stopped before it served");
    let mut makers: Vec<_> = sites
        .iter()
        .map(|site| {
            let commands = Commands::new(tenant.clone(), Arc::new(SystemClock), Arc::new(RandomIds::default()));
            (site.clone(), commands.filled(60))
        })
        .collect();
    let mut events = 0;
    while events < EVENTS {
        load::saturate(&bus, &mut makers, 4_096, Duration::from_secs(2)).await?;
        events = makers.iter().map(|(_, commands)| commands.count()).sum();
    }
    cancel.cancel();
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(events)
}

async fn catch_up(tenant: &TenantId, log: Arc<dyn LogRead>, pool: &PgPool) -> anyhow::Result<f64> {
    let mut ends = Vec::new();
    for partition in 0..log.partitions() {
        ends.push(log.end(partition).await?);
    }
    let cancel = CancellationToken::new();
    let mut workers = JoinSet::new();
    let started = Instant::now();
    for partition in 0..log.partitions() {
        let context = WorkerContext {
            pool: pool.clone(),
            log: log.clone(),
            clock: Arc::new(SystemClock),
            tenant: tenant.clone(),
            traces: Traces::default(),
        };
        workers.spawn(LedgerWorker::new(context, partition).run(cancel.clone()));
    }
    let mut ticker = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticker.tick().await;
        let behind: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM read.projection_offset o JOIN UNNEST($1::BIGINT[]) WITH ORDINALITY AS e (next, place) \
             ON o.partition = e.place - 1 WHERE o.next_offset >= e.next",
        )
        .bind(&ends)
        .fetch_one(pool)
        .await?;
        if behind >= i64::from(log.partitions()) * Model::LEDGER.len() as i64 {
            break;
        }
        anyhow::ensure!(started.elapsed() < Duration::from_mins(10), "the read models did not catch up in ten minutes");
    }
    let seconds = started.elapsed().as_secs_f64();
    cancel.cancel();
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(seconds)
}

/// Copies the rows of the read models into tables of the same columns without index or key.
async fn copy_again(pool: &PgPool) -> anyhow::Result<(u64, f64)> {
    let (mut rows, mut seconds) = (0, 0.0);
    for table in TABLES {
        let mut chunks = Vec::new();
        let mut out = pool.copy_out_raw(&format!("COPY read.{table} TO STDOUT (FORMAT binary)")).await?;
        while let Some(chunk) = out.try_next().await? {
            chunks.push(chunk);
        }
        drop(out);
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE TABLE copy_{table} (LIKE read.{table})")))
            .execute(pool)
            .await?;
        let started = Instant::now();
        let mut copy = pool.copy_in_raw(&format!("COPY copy_{table} FROM STDIN (FORMAT binary)")).await?;
        for chunk in chunks {
            copy.send(chunk).await?;
        }
        rows += copy.finish().await?;
        seconds += started.elapsed().as_secs_f64();
    }
    Ok((rows, seconds))
}

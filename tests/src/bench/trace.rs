//! `trace.*`: a lot followed to its ends through ten million lots and seventeen million edges, compared with plain recursive SQL over the same
//! tables in the same run; and what it takes to have them in memory, compared with plain `COPY` of the same columns.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use hdrhistogram::Histogram;
use lotline_domain::id::TenantId;
use lotline_domain::position::Position;
use lotline_projections::graph::{
    GraphOptions, GraphState, GraphStatus, LiveGraph, MOST_LOTS, Moment, Question, Source, Trace, Ways,
};
use lotline_projections::progress::Progress;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::report::Report;
use crate::genealogy::Shape;
use crate::stack;

const SEED: u64 = 20_261_121;
const TYPICAL: usize = 5_000;
const TYPICAL_SQL: usize = 500;
const HOT_ROUNDS: usize = 5;
const LOADED_WITHIN: Duration = Duration::from_mins(10);
const RECURSIVE: &str = "WITH RECURSIVE found (id) AS (
        SELECT child_id FROM read.genealogy WHERE tenant = $1 AND generation = 0 AND parent_id = $2
        UNION
        SELECT edge.child_id FROM found JOIN read.genealogy AS edge
            ON edge.tenant = $1 AND edge.generation = 0 AND edge.parent_id = found.id
    ) SELECT COUNT(*) FROM found";

/// Runs the figures of trace that the report wants, on so many lots.
///
/// # Errors
/// When the stack fails, or two ways to the same answer differ.
pub async fn run(report: &mut Report, lots: u32) -> anyhow::Result<()> {
    if !report.wants("trace.") {
        return Ok(());
    }
    let database = stack::database("bench").await;
    lotline_projections::migrate(&database.pool).await?;
    lotline_adapters::log::postgres::migrate(&database.pool).await?;
    let tenant = TenantId::new(stack::unique("bench"))?;
    let shape = Shape::new(lots, SEED);
    let started = Instant::now();
    let edges = shape.fill(&database.pool, &tenant).await?;
    report.note(&format!(
        "trace: {} lots and {edges} edges were written in {:.0} s",
        shape.lots(),
        started.elapsed().as_secs_f64()
    ));
    let pool = stack::bound(&database, &tenant, 8).await;
    let cancel = CancellationToken::new();
    let progress = Progress::new(pool.clone(), tenant.clone());
    let bench = Bench { shape, tenant, pool, progress, graph: LiveGraph::new(GraphOptions::default()) };
    let measured = bench.measure(report, edges, &cancel).await;
    cancel.cancel();
    measured
}

struct Bench {
    shape: Shape,
    tenant: TenantId,
    pool: PgPool,
    progress: Progress,
    graph: LiveGraph,
}

impl Bench {
    async fn measure(&self, report: &mut Report, edges: u64, cancel: &CancellationToken) -> anyhow::Result<()> {
        let plain = self.plain_copy().await?;
        let (status, seconds) = self.load(cancel).await?;
        anyhow::ensure!(status.edges as u64 == edges, "{} of {edges} edges are in the graph", status.edges);
        report.result("trace.load_s", seconds, "s", Some(seconds / plain));
        report.result("trace.bytes_per_edge", status.bytes as f64 / edges as f64, "B", None);
        self.typical(report).await?;
        self.hot(report).await
    }

    /// Seconds to copy the columns of both tables out, side by side, and throw them away.
    async fn plain_copy(&self) -> anyhow::Result<f64> {
        let started = Instant::now();
        let drain = async |columns: &str| {
            let statement = format!("COPY (SELECT {columns}) TO STDOUT (FORMAT binary)");
            let mut rows = self.pool.copy_out_raw(&statement).await?;
            while rows.try_next().await?.is_some() {}
            anyhow::Ok(())
        };
        tokio::try_join!(
            drain("id, site, quantity, unit FROM read.lots"),
            drain("child_id, parent_id, quantity_base FROM read.genealogy")
        )?;
        Ok(started.elapsed().as_secs_f64())
    }

    async fn load(&self, cancel: &CancellationToken) -> anyhow::Result<(GraphStatus, f64)> {
        tokio::spawn(self.progress.clone().run(cancel.clone()));
        let (graph, pool, tenant) = (self.graph.clone(), self.pool.clone(), self.tenant.clone());
        let started = Instant::now();
        tokio::spawn(graph.run(pool, tenant, self.progress.clone(), cancel.clone()));
        let mut look = tokio::time::interval(Duration::from_millis(5));
        loop {
            look.tick().await;
            let status = self.graph.status();
            if status.state == GraphState::Following {
                return Ok((status, started.elapsed().as_secs_f64()));
            }
            anyhow::ensure!(started.elapsed() < LOADED_WITHIN, "the graph was not loaded in time");
        }
    }

    /// Forward with quantities; in microseconds.
    async fn trace(&self, lot: u32) -> anyhow::Result<(Trace, u64)> {
        let seen = Position::default();
        let (start, moment) = (self.shape.id(lot), Moment::default());
        let asked = Question { start, ways: Ways::Forward, moment, most: MOST_LOTS, seen: &seen };
        let started = Instant::now();
        let found = self.graph.trace(&self.pool, &self.progress, &self.tenant, asked, started.into()).await?;
        let took = started.elapsed().as_micros() as u64;
        let found = found.ok_or_else(|| anyhow::anyhow!("lot {lot} is not there"))?;
        anyhow::ensure!(found.source == Source::Memory, "the tables have answered");
        Ok((found, took))
    }

    async fn recursive(&self, lot: u32) -> anyhow::Result<(usize, u64)> {
        let id: Uuid = self.shape.id(lot);
        let started = Instant::now();
        let query = sqlx::query_scalar::<_, i64>(RECURSIVE).bind(self.tenant.as_str()).bind(id);
        let count = query.fetch_one(&self.pool).await?;
        Ok((count as usize, started.elapsed().as_micros() as u64))
    }

    async fn typical(&self, report: &mut Report) -> anyhow::Result<()> {
        let mut random = SmallRng::seed_from_u64(SEED);
        let (mut memory, mut sql) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
        let mut descendants = 0;
        for round in 0..TYPICAL {
            let lot = self.shape.typical(&mut random);
            let (found, took) = self.trace(lot).await?;
            memory.record(took)?;
            descendants += found.lots.len();
            if round < TYPICAL_SQL {
                let (count, took) = self.recursive(lot).await?;
                anyhow::ensure!(count == found.lots.len(), "lot {lot}: SQL has {count}, not {}", found.lots.len());
                sql.record(took)?;
            }
        }
        let ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        report.note(&format!(
            "trace: a typical raw lot has {:.0} descendants; in memory p50 {:.3} ms, by recursive SQL p50 {:.2} ms, p99 {:.2} ms",
            descendants as f64 / TYPICAL as f64,
            ms(&memory, 0.5),
            ms(&sql, 0.5),
            ms(&sql, 0.99)
        ));
        let p99 = ms(&memory, 0.99);
        report.result("trace.typical_p99_ms", p99, "ms", Some(p99 / ms(&sql, 0.99)));
        Ok(())
    }

    /// The slowest of all rounds over all hot lots, since there are few; of SQL the median of one round.
    async fn hot(&self, report: &mut Report) -> anyhow::Result<()> {
        let (mut memory, mut sql) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
        let mut found_lots = Vec::new();
        for lot in self.shape.hot() {
            let (count, took) = self.recursive(lot).await?;
            sql.record(took)?;
            for _ in 0..HOT_ROUNDS {
                let (found, took) = self.trace(lot).await?;
                anyhow::ensure!(count == found.lots.len(), "hot lot {lot}: SQL has {count}, not {}", found.lots.len());
                anyhow::ensure!(found.gaps.is_empty(), "hot lot {lot}: {:?}", found.gaps);
                memory.record(took)?;
            }
            found_lots.push(count);
        }
        let (slowest, median) = (memory.max() as f64 / 1_000.0, sql.value_at_quantile(0.5) as f64 / 1_000.0);
        report.note(&format!(
            "trace: hot raw lots have {found_lots:?} descendants; in memory p50 {:.2} ms with quantities, by recursive SQL {:.0} to {:.0} ms without",
            memory.value_at_quantile(0.5) as f64 / 1_000.0,
            sql.min() as f64 / 1_000.0,
            sql.max() as f64 / 1_000.0
        ));
        report.result("trace.hot_ms", slowest, "ms", Some(slowest / median));
        report.result("trace.sql_hot_ms", median, "ms", None);
        Ok(())
    }
}

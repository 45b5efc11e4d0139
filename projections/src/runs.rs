//! Runs as they are now, with their phases, lots and decisions at gates.

use chrono::{DateTime, Utc};
use lotline_domain::event::Event;
use lotline_domain::id::TenantId;
use lotline_domain::personal::Personal;
use lotline_domain::qc::{ChecklistAnswer, Measurement};
use lotline_domain::record::Offset;
use lotline_domain::run::event::RunSummary;
use lotline_domain::scenario::Definition;
use rust_decimal::Decimal;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use crate::page::{Page, limit};

mod apply;
mod write;

pub(crate) use apply::apply;

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// `RunId`.
    pub id: Uuid,
    /// Where.
    pub site: String,
    /// Unique in the site.
    pub code: String,
    /// The scenario.
    pub scenario_id: Uuid,
    /// Its name when the run started.
    pub scenario_name: String,
    /// Its version.
    pub scenario_version: i32,
    /// What the run keeps of it.
    pub definition: Json<Definition>,
    /// `Stage::as_str`.
    pub stage: String,
    /// The phase in which it is, or was when it ended.
    pub phase: i32,
    /// Since when.
    pub phase_since: DateTime<Utc>,
    /// Since when it is on hold.
    pub held_since: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it is on hold or was given up.
    pub stage_reason: Option<String>,
    /// What it came to.
    pub summary: Option<Json<RunSummary>>,
    /// Time of its last step in the world.
    pub last_at: DateTime<Utc>,
    /// Who started it.
    pub actor: String,
    /// When it started, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When its start was decided.
    pub decided_at: DateTime<Utc>,
    /// When its last event was decided.
    pub changed_at: DateTime<Utc>,
    /// Sequence of the last event that touched it.
    pub version: i64,
    /// Partition of its stream.
    pub partition: i32,
    /// Offset of the last event that touched it.
    pub changed_offset: Offset,
}

/// A phase that a run entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseRow {
    /// The run.
    pub run_id: Uuid,
    /// Where.
    pub site: String,
    /// Its number.
    pub phase: i32,
    /// When, in the world.
    pub entered_at: DateTime<Utc>,
    /// When it ended; nothing while it goes on.
    pub left_at: Option<DateTime<Utc>>,
    /// Who let the run enter it.
    pub actor: String,
    /// When that was decided.
    pub decided_at: DateTime<Utc>,
    /// Sequence of the event.
    pub sequence: i64,
    /// Partition of the stream.
    pub partition: i32,
    /// Offset of the event.
    pub log_offset: Offset,
}

/// A lot in a phase of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunLotRow {
    /// The run.
    pub run_id: Uuid,
    /// The lot.
    pub lot_id: Uuid,
    /// The phase.
    pub phase: i32,
    /// How much there was of it then.
    pub quantity: Option<Decimal>,
    /// Its unit.
    pub unit: Option<String>,
    /// Who linked it.
    pub actor: String,
    /// When, in the world.
    pub occurred_at: DateTime<Utc>,
    /// Sequence of the event.
    pub sequence: i64,
}

/// A decision at a gate.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionRow {
    /// `QcDecisionId`.
    pub id: Uuid,
    /// The run.
    pub run_id: Uuid,
    /// Key of the gate.
    pub gate: String,
    /// The lot, where the gate judges lots.
    pub lot_id: Option<Uuid>,
    /// `QcOutcome::as_str`.
    pub outcome: String,
    /// The decision that it replaced.
    pub replaces: Option<Uuid>,
    /// What was measured of the run.
    pub measurements: Json<Vec<Measurement>>,
    /// What was answered about the run.
    pub checklist: Json<Vec<ChecklistAnswer>>,
    /// Free text, encrypted.
    pub notes: Option<Json<Personal>>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Who decided.
    pub actor: String,
    /// When, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When it was recorded.
    pub decided_at: DateTime<Utc>,
    /// Sequence in the stream.
    pub sequence: i64,
}

/// A decision in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForceRow {
    /// The run.
    pub run_id: Uuid,
    /// Key of the gate.
    pub gate: String,
    /// The lot, where the gate judges lots.
    pub lot_id: Option<Uuid>,
    /// The decision.
    pub id: Uuid,
    /// `QcOutcome::as_str`.
    pub outcome: String,
}

/// Which runs; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of one site.
    pub site: Option<String>,
    /// Of any of these sites.
    pub sites: Option<Vec<String>>,
    /// In any of these stages.
    pub stages: Option<Vec<String>>,
    /// Of one scenario.
    pub scenario_id: Option<Uuid>,
}

macro_rules! rows {
    ($whose:tt, $rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            RunRow,
            "SELECT id, site, code, scenario_id, scenario_name, scenario_version, definition AS \"definition: Json<Definition>\", stage,
                phase, phase_since, held_since, ended_at, stage_reason, summary AS \"summary: Json<RunSummary>\", last_at, actor,
                occurred_at, decided_at, changed_at, version, partition, changed_offset
             FROM read.runs WHERE " + $whose + $rest,
            $($argument),*
        )
    };
}
use rows;

macro_rules! select {
    ($rest:tt, $($argument:expr),*) => {
        rows!(
            "tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'runs' AND live.state = 'live') AND ",
            $rest,
            $($argument),*
        )
    };
}

/// The runs among `ids` that exist, in no order.
pub async fn by_ids(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Vec<RunRow>, sqlx::Error> {
    select!("id = ANY($2)", tenant.as_str(), ids).fetch_all(pool).await
}

/// A run by its code.
pub async fn find_by_code(
    pool: &PgPool,
    tenant: &TenantId,
    site: &str,
    code: &str,
) -> Result<Option<RunRow>, sqlx::Error> {
    select!("site = $2 AND code = $3", tenant.as_str(), site, code).fetch_optional(pool).await
}

/// Runs, the newest id first.
pub async fn list(
    pool: &PgPool,
    tenant: &TenantId,
    filter: &RunFilter,
    page: &Page<Uuid>,
) -> Result<Vec<RunRow>, sqlx::Error> {
    select!(
        "($2::UUID IS NULL OR id < $2) AND ($3::TEXT IS NULL OR site = $3) AND ($4::TEXT[] IS NULL OR site = ANY($4))
            AND ($5::TEXT[] IS NULL OR stage = ANY($5)) AND ($6::UUID IS NULL OR scenario_id = $6)
         ORDER BY id DESC LIMIT $7",
        tenant.as_str(),
        page.after,
        filter.site.as_deref(),
        filter.sites.as_deref(),
        filter.stages.as_deref(),
        filter.scenario_id,
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// Runs touched by events at `from` or later, as they are now, in order of the last change. `from` is a position's next offset.
pub async fn changed_since(
    pool: &PgPool,
    tenant: &TenantId,
    partition: u32,
    from: Offset,
    rows: u32,
) -> Result<Vec<RunRow>, sqlx::Error> {
    select!(
        "partition = $2 AND changed_offset >= $3 ORDER BY changed_offset FETCH FIRST ($4::BIGINT) ROWS WITH TIES",
        tenant.as_str(),
        partition as i32,
        from,
        limit(rows)
    )
    .fetch_all(pool)
    .await
}

macro_rules! phases {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            PhaseRow,
            "SELECT run_id, site, phase, entered_at, left_at, actor, decided_at, sequence, partition, log_offset
             FROM read.run_phases WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'runs' AND live.state = 'live') AND " + $rest,
            $($argument),*
        )
    };
}

/// The phases that the runs entered, in order.
pub async fn phases_of(pool: &PgPool, tenant: &TenantId, runs: &[Uuid]) -> Result<Vec<PhaseRow>, sqlx::Error> {
    phases!("run_id = ANY($2) ORDER BY run_id, phase", tenant.as_str(), runs).fetch_all(pool).await
}

/// Phases after the first that runs entered by events at `from` or later, in order.
pub async fn advanced_since(
    pool: &PgPool,
    tenant: &TenantId,
    partition: u32,
    from: Offset,
    rows: u32,
) -> Result<Vec<PhaseRow>, sqlx::Error> {
    phases!(
        "partition = $2 AND log_offset >= $3 AND phase > 0 ORDER BY log_offset LIMIT $4",
        tenant.as_str(),
        partition as i32,
        from,
        limit(rows)
    )
    .fetch_all(pool)
    .await
}

/// The lots of the runs, in the order in which they were linked.
pub async fn lots_of(pool: &PgPool, tenant: &TenantId, runs: &[Uuid]) -> Result<Vec<RunLotRow>, sqlx::Error> {
    sqlx::query_as!(
        RunLotRow,
        "SELECT run_id, lot_id, phase, quantity, unit, actor, occurred_at, sequence
         FROM read.run_lots WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
            WHERE live.tenant = $1 AND live.model = 'runs' AND live.state = 'live') AND run_id = ANY($2)
         ORDER BY run_id, sequence, lot_id",
        tenant.as_str(),
        runs
    )
    .fetch_all(pool)
    .await
}

/// The decisions in force at the gates of the runs. One on a lot counts only since it has belonged to the run.
pub async fn in_force(pool: &PgPool, tenant: &TenantId, runs: &[Uuid]) -> Result<Vec<InForceRow>, sqlx::Error> {
    sqlx::query_as!(
        InForceRow,
        "SELECT DISTINCT ON (run_id, gate, lot_id) run_id, gate, lot_id, id, outcome
         FROM read.run_decisions AS decision
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
            WHERE live.tenant = $1 AND live.model = 'runs' AND live.state = 'live') AND run_id = ANY($2)
            AND (lot_id IS NULL OR sequence > (
                SELECT MIN(lot.sequence) FROM read.run_lots AS lot
                WHERE lot.tenant = $1 AND lot.generation = decision.generation AND lot.run_id = decision.run_id
                    AND lot.lot_id = decision.lot_id))
         ORDER BY run_id, gate, lot_id, sequence DESC",
        tenant.as_str(),
        runs
    )
    .fetch_all(pool)
    .await
}

/// The decisions at the gates of each of the runs, the last one first, at most `per_run` for each.
pub async fn decisions_of(
    pool: &PgPool,
    tenant: &TenantId,
    runs: &[Uuid],
    per_run: u32,
) -> Result<Vec<DecisionRow>, sqlx::Error> {
    sqlx::query_as!(
        DecisionRow,
        "SELECT id, run_id, gate, lot_id, outcome, replaces, measurements AS \"measurements: Json<Vec<Measurement>>\",
            checklist AS \"checklist: Json<Vec<ChecklistAnswer>>\", notes AS \"notes: Json<Personal>\", reason, actor, occurred_at,
            decided_at, sequence
         FROM read.run_decisions WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
            WHERE live.tenant = $1 AND live.model = 'runs' AND live.state = 'live')
            AND (run_id, sequence) IN (
                SELECT newest.run_id, newest.sequence FROM UNNEST($2::UUID[]) AS asked (run_id)
                CROSS JOIN LATERAL (
                    SELECT decision.run_id, decision.sequence FROM read.run_decisions AS decision
                    WHERE decision.tenant = $1 AND decision.generation = (SELECT live.generation FROM read.projection_generation AS live
                            WHERE live.tenant = $1 AND live.model = 'runs' AND live.state = 'live')
                        AND decision.run_id = asked.run_id ORDER BY decision.sequence DESC LIMIT $3
                ) AS newest)
         ORDER BY run_id, sequence DESC",
        tenant.as_str(),
        runs,
        limit(per_run)
    )
    .fetch_all(pool)
    .await
}

pub(crate) fn concerns(event: &Event) -> bool {
    matches!(event, Event::Run(_))
}

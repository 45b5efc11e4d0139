//! Alerts as they are now. Part of the read model of quality decisions.

use chrono::{DateTime, NaiveDate, Utc};
use lotline_domain::alert::Severity;
use lotline_domain::id::TenantId;
use lotline_domain::personal::Personal;
use lotline_domain::record::Offset;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use crate::page::{Page, limit};

mod apply;

pub(crate) use apply::apply;

/// An alert.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRow {
    /// `AlertId`.
    pub id: Uuid,
    /// Where.
    pub site: String,
    /// `AlertKind::as_str`.
    pub kind: String,
    /// `Severity::as_str`.
    pub severity: String,
    /// See [`rank`].
    pub rank: i16,
    /// To whom it speaks.
    pub level: i32,
    /// One of [`STATUSES`].
    pub status: String,
    /// What is known.
    pub title: String,
    /// The lot that it is about.
    pub lot_id: Option<Uuid>,
    /// The run that it is about, or at whose gate the lot was judged.
    pub run_id: Option<Uuid>,
    /// The gate.
    pub gate: Option<String>,
    /// The decision that raised it, or made it worse last.
    pub decision_id: Option<Uuid>,
    /// Last day of use of the lot, where that is what it is about.
    pub expires_on: Option<NaiveDate>,
    /// When it escalates, unless somebody acknowledges it before.
    pub escalates_at: Option<DateTime<Utc>>,
    /// Who sees to it.
    pub acknowledged_by: Option<String>,
    /// Since when, in the world.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// What was said to that, encrypted.
    pub note: Option<Json<Personal>>,
    /// Who resolved it.
    pub resolved_by: Option<String>,
    /// When, in the world.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Whether that came of what happened.
    pub resolved_by_itself: bool,
    /// Why it is over.
    pub resolution: Option<String>,
    /// Whose decision raised it; Lotline's where the time did.
    pub actor: String,
    /// When it was raised, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When that was recorded.
    pub decided_at: DateTime<Utc>,
    /// When its last change was recorded.
    pub changed_at: DateTime<Utc>,
    /// Sequence of the last event that touched it.
    pub version: i64,
    /// Partition of its stream.
    pub partition: i32,
    /// Offset of the event that raised it.
    pub raised_offset: Offset,
    /// Offset of the last event that touched it.
    pub changed_offset: Offset,
}

/// Nobody sees to it.
pub const OPEN: &str = "open";
/// Somebody sees to it.
pub const ACKNOWLEDGED: &str = "acknowledged";
/// It is over.
pub const RESOLVED: &str = "resolved";
/// Where an alert can stand.
pub const STATUSES: [&str; 3] = [OPEN, ACKNOWLEDGED, RESOLVED];

/// Where a severity stands in the inbox: the worst has the highest.
pub fn rank(severity: Severity) -> i16 {
    Severity::ALL.iter().position(|known| *known == severity).map_or(0, |place| place as i16 + 1)
}

/// Which alerts; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// Of one site.
    pub site: Option<String>,
    /// Of any of these sites.
    pub sites: Option<Vec<String>>,
    /// In any of these statuses.
    pub statuses: Option<Vec<String>>,
    /// As bad as this at least, see [`rank`].
    pub rank: Option<i16>,
    /// Of any of these kinds.
    pub kinds: Option<Vec<String>>,
    /// About one lot.
    pub lot_id: Option<Uuid>,
    /// About one run, or a lot at its gates.
    pub run_id: Option<Uuid>,
}

macro_rules! rows {
    ($whose:tt, $rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            AlertRow,
            "SELECT id, site, kind, severity, rank, level, status, title, lot_id, run_id, gate, decision_id, expires_on, escalates_at,
                acknowledged_by, acknowledged_at, note AS \"note: Json<Personal>\", resolved_by, resolved_at, resolved_by_itself,
                resolution, actor, occurred_at, decided_at, changed_at, version, partition, raised_offset, changed_offset
             FROM read.alerts WHERE " + $whose + $rest,
            $($argument),*
        )
    };
}
use rows;

macro_rules! select {
    ($rest:tt, $($argument:expr),*) => {
        rows!(
            "tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'qc_decisions' AND live.state = 'live') AND ",
            $rest,
            $($argument),*
        )
    };
}

/// An alert by id.
pub async fn find(pool: &PgPool, tenant: &TenantId, id: Uuid) -> Result<Option<AlertRow>, sqlx::Error> {
    select!("id = $2", tenant.as_str(), id).fetch_optional(pool).await
}

/// Alerts, the worst first, and of those that are equally bad the newest. A page goes on behind a rank and an id.
pub async fn list(
    pool: &PgPool,
    tenant: &TenantId,
    filter: &AlertFilter,
    page: &Page<(i16, Uuid)>,
) -> Result<Vec<AlertRow>, sqlx::Error> {
    select!(
        "($2::SMALLINT IS NULL OR (rank, id) < ($2, $3::UUID)) AND ($4::TEXT IS NULL OR site = $4)
            AND ($5::TEXT[] IS NULL OR site = ANY($5)) AND ($6::TEXT[] IS NULL OR status = ANY($6))
            AND ($7::SMALLINT IS NULL OR rank >= $7) AND ($8::TEXT[] IS NULL OR kind = ANY($8))
            AND ($9::UUID IS NULL OR lot_id = $9) AND ($10::UUID IS NULL OR run_id = $10)
         ORDER BY rank DESC, id DESC LIMIT $11",
        tenant.as_str(),
        page.after.map(|(rank, _)| rank),
        page.after.map(|(_, id)| id),
        filter.site.as_deref(),
        filter.sites.as_deref(),
        filter.statuses.as_deref(),
        filter.rank,
        filter.kinds.as_deref(),
        filter.lot_id,
        filter.run_id,
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// Alerts that were raised by events at `from` or later, as they are now, in order. `from` is a position's next offset.
pub async fn raised_since(
    pool: &PgPool,
    tenant: &TenantId,
    partition: u32,
    from: Offset,
    rows: u32,
) -> Result<Vec<AlertRow>, sqlx::Error> {
    select!(
        "partition = $2 AND raised_offset >= $3 ORDER BY raised_offset LIMIT $4",
        tenant.as_str(),
        partition as i32,
        from,
        limit(rows)
    )
    .fetch_all(pool)
    .await
}

/// Alerts touched by events at `from` or later, as they are now, in order of the last change. `from` is a position's next offset.
pub async fn changed_since(
    pool: &PgPool,
    tenant: &TenantId,
    partition: u32,
    from: Offset,
    rows: u32,
) -> Result<Vec<AlertRow>, sqlx::Error> {
    select!(
        "partition = $2 AND changed_offset >= $3 ORDER BY changed_offset LIMIT $4",
        tenant.as_str(),
        partition as i32,
        from,
        limit(rows)
    )
    .fetch_all(pool)
    .await
}

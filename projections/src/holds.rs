//! Holds and the lots that each is or was on.
//!
//! Part of the model `genealogy`, whose edges say what a hold reaches: the rows are derived from them by the database itself, in the order of the
//! events, so that an edge that comes after a hold is none that it reaches.

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::record::Offset;
use sqlx::PgPool;
use uuid::Uuid;

use crate::page::{Page, limit};

pub(crate) mod apply;

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    /// `HoldId`.
    pub id: Uuid,
    /// Where.
    pub site: String,
    /// Unique in the site.
    pub code: String,
    /// `HoldCause::as_str`.
    pub cause: String,
    /// The decision that placed it.
    pub decision_id: Option<Uuid>,
    /// The rule that placed it.
    pub rule: Option<String>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Who placed it.
    pub actor: String,
    /// When, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// When its release was decided; nothing while it is open.
    pub released_at: Option<DateTime<Utc>>,
    /// Who released it.
    pub released_by: Option<String>,
    /// Why, in the actor's words.
    pub release_reason: Option<String>,
    /// The decision that released it.
    pub release_decision_id: Option<Uuid>,
    /// Sequence of the last event that touched it.
    pub version: i64,
    /// Partition of its stream.
    pub partition: i32,
    /// Offset of the last event that touched it.
    pub changed_offset: Offset,
}

/// A lot that a hold is or was on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLotRow {
    /// The hold.
    pub hold_id: Uuid,
    /// The lot.
    pub lot_id: Uuid,
    /// Whether the hold names it; otherwise it descends from a lot that it names.
    pub direct: bool,
    /// When it was decided that it is on the hold.
    pub held_since: DateTime<Utc>,
    /// When its release was decided; nothing while it is on the hold.
    pub released_at: Option<DateTime<Utc>>,
    /// Who released it.
    pub released_by: Option<String>,
    /// Why, in the actor's words.
    pub release_reason: Option<String>,
}

/// Which holds; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HoldFilter {
    /// Of one site.
    pub site: Option<String>,
    /// Of any of these sites.
    pub sites: Option<Vec<String>>,
    /// Those that are open, or those that are released.
    pub open: Option<bool>,
}

macro_rules! select {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            HoldRow,
            "SELECT id, site, code, cause, decision_id, rule, reason, actor, occurred_at, decided_at, released_at, released_by,
                release_reason, release_decision_id, version, partition, changed_offset
             FROM read.holds WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'genealogy' AND live.state = 'live') AND " + $rest,
            $($argument),*
        )
    };
}

/// The holds among `ids` that exist, in no order.
pub async fn by_ids(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Vec<HoldRow>, sqlx::Error> {
    select!("id = ANY($2)", tenant.as_str(), ids).fetch_all(pool).await
}

/// A hold by its code in a site.
pub async fn find_by_code(
    pool: &PgPool,
    tenant: &TenantId,
    site: &str,
    code: &str,
) -> Result<Option<HoldRow>, sqlx::Error> {
    select!("site = $2 AND code = $3", tenant.as_str(), site, code).fetch_optional(pool).await
}

/// Holds, the newest id first.
pub async fn list(
    pool: &PgPool,
    tenant: &TenantId,
    filter: &HoldFilter,
    page: &Page<Uuid>,
) -> Result<Vec<HoldRow>, sqlx::Error> {
    select!(
        "($2::UUID IS NULL OR id < $2) AND ($3::TEXT IS NULL OR site = $3) AND ($4::TEXT[] IS NULL OR site = ANY($4))
            AND ($5::BOOLEAN IS NULL OR (released_at IS NULL) = $5)
         ORDER BY id DESC LIMIT $6",
        tenant.as_str(),
        page.after,
        filter.site.as_deref(),
        filter.sites.as_deref(),
        filter.open,
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// Holds touched by events at `from` or later, as they are now, in order of the last change. `from` is a position's next offset.
pub async fn changed_since(
    pool: &PgPool,
    tenant: &TenantId,
    partition: u32,
    from: Offset,
    rows: u32,
) -> Result<Vec<HoldRow>, sqlx::Error> {
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

/// The lots that a hold is or was on, by id. `held` narrows them to those that still are, or are not any more.
pub async fn lots_of(
    pool: &PgPool,
    tenant: &TenantId,
    hold: Uuid,
    held: Option<bool>,
    page: &Page<Uuid>,
) -> Result<Vec<HeldLotRow>, sqlx::Error> {
    sqlx::query_as!(
        HeldLotRow,
        "SELECT hold_id, lot_id, direct, held_since, released_at, released_by, release_reason FROM read.held_lots
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'genealogy' AND live.state = 'live')
            AND hold_id = $2 AND ($3::UUID IS NULL OR lot_id > $3) AND ($4::BOOLEAN IS NULL OR (released_at IS NULL) = $4)
         ORDER BY lot_id LIMIT $5",
        tenant.as_str(),
        hold,
        page.after,
        held,
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// The holds that each of the lots is or was on: those that it is on first, then the newest, at most `per_lot` for each.
pub async fn on_lots(
    pool: &PgPool,
    tenant: &TenantId,
    lots: &[Uuid],
    per_lot: u32,
) -> Result<Vec<HeldLotRow>, sqlx::Error> {
    sqlx::query_as!(
        HeldLotRow,
        "SELECT held.hold_id, held.lot_id, held.direct, held.held_since, held.released_at, held.released_by, held.release_reason
         FROM UNNEST($2::UUID[]) AS asked (id)
         CROSS JOIN LATERAL (
            SELECT hold_id, lot_id, direct, held_since, released_at, released_by, release_reason FROM read.held_lots
            WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                    WHERE live.tenant = $1 AND live.model = 'genealogy' AND live.state = 'live')
                AND lot_id = asked.id
            ORDER BY released_at IS NOT NULL, held_since DESC, hold_id DESC LIMIT $3
         ) AS held",
        tenant.as_str(),
        lots,
        limit(per_lot)
    )
    .fetch_all(pool)
    .await
}

/// Those of the lots that are on hold, in no order.
pub async fn held_among(pool: &PgPool, tenant: &TenantId, lots: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT DISTINCT lot_id FROM read.held_lots
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'genealogy' AND live.state = 'live')
            AND lot_id = ANY($2) AND released_at IS NULL",
        tenant.as_str(),
        lots
    )
    .fetch_all(pool)
    .await
}

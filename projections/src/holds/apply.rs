//! What events make of the rows of holds. Edges that come before an event are in their table when it is applied.
//!
//! Edges and rows are looked up one by one, see [`Slice::generation`].

use chrono::{DateTime, Utc};
use lotline_domain::event::Fact;
use lotline_domain::hold::event::{HoldEvent, HoldLotReleased, HoldPlaced, HoldReleased};
use lotline_domain::id::LotId;
use lotline_domain::lot::event::LotsTransformed;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::batch::{LedgerEvent, Slice};
use crate::failure::ApplyError;

/// Parts of lots that may be on hold: what a split made of what.
#[derive(Default)]
pub(crate) struct Parts {
    lots: Vec<Uuid>,
    of: Vec<Uuid>,
    decided_at: Vec<DateTime<Utc>>,
}

impl Parts {
    /// Nothing else than a split takes of what is on hold.
    pub(crate) fn add(&mut self, event: &LedgerEvent, data: &LotsTransformed) {
        if !data.kind.takes_held() {
            return;
        }
        for output in &data.outputs {
            for input in &output.parents {
                self.lots.push(output.lot_id.0);
                self.of.push(input.lot_id.0);
                self.decided_at.push(event.envelope.attributes.time.to_utc());
            }
        }
    }

    /// Parts are on the holds that their whole is on. A part may have been split again in the same batch.
    pub(crate) async fn inherit(self, db: &mut PgConnection, slice: Slice<'_>) -> Result<(), ApplyError> {
        if self.lots.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "WITH RECURSIVE made (lot_id, part_of, decided_at) AS MATERIALIZED (
                SELECT lot_id, part_of, decided_at FROM UNNEST($3::UUID[], $4::UUID[], $5::TIMESTAMPTZ[]) AS u (lot_id, part_of, decided_at)
            ), reached (hold_id, lot_id, decided_at) AS (
                SELECT held.hold_id, made.lot_id, made.decided_at FROM made CROSS JOIN LATERAL (
                    SELECT hold_id FROM read.held_lots
                    WHERE generation = $2 AND lot_id = made.part_of AND tenant || '' = $1 AND released_at IS NULL OFFSET 0
                ) AS held
                UNION
                SELECT reached.hold_id, made.lot_id, made.decided_at FROM reached JOIN made ON made.part_of = reached.lot_id
            )
            INSERT INTO read.held_lots (tenant, generation, hold_id, lot_id, direct, held_since)
            SELECT $1, $2, hold_id, lot_id, FALSE, decided_at FROM reached",
            slice.tenant,
            slice.generation,
            &self.lots,
            &self.of,
            &self.decided_at,
        )
        .execute(db)
        .await?;
        Ok(())
    }
}

/// An event about a hold, with what stands beside it.
struct Cause<'a> {
    slice: Slice<'a>,
    event: &'a LedgerEvent,
    fact: &'a Fact,
}

impl Cause<'_> {
    fn actor(&self) -> &str {
        self.event.envelope.attributes.actor.as_str()
    }

    fn decided_at(&self) -> DateTime<Utc> {
        self.event.envelope.attributes.time.to_utc()
    }
}

/// Applies one event.
pub(crate) async fn apply(
    db: &mut PgConnection,
    slice: Slice<'_>,
    (event, fact): (&LedgerEvent, &Fact),
    change: &HoldEvent,
) -> Result<(), ApplyError> {
    let cause = Cause { slice, event, fact };
    match change {
        HoldEvent::HoldPlaced(data) => place(db, &cause, data).await,
        HoldEvent::HoldReleased(data) => release(db, &cause, data).await,
        HoldEvent::HoldLotReleased(data) => release_lots(db, &cause, data).await,
    }
}

fn ids(lots: &[LotId]) -> Vec<Uuid> {
    lots.iter().map(|lot| lot.0).collect()
}

async fn place(db: &mut PgConnection, cause: &Cause<'_>, data: &HoldPlaced) -> Result<(), ApplyError> {
    let slice = cause.slice;
    sqlx::query!(
        "INSERT INTO read.holds (tenant, generation, id, site, code, cause, decision_id, rule, reason, actor, occurred_at, decided_at,
            version, partition, changed_offset)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        slice.tenant,
        slice.generation,
        data.hold_id.0,
        cause.event.stream(),
        data.code,
        data.cause.as_str(),
        data.decision_id.map(|id| id.0),
        data.rule,
        cause.fact.reason,
        cause.actor(),
        cause.fact.occurred_at.to_utc(),
        cause.decided_at(),
        cause.event.sequence(),
        slice.partition,
        cause.event.offset,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "WITH RECURSIVE reached (lot_id) AS (
            SELECT root FROM UNNEST($4::UUID[]) AS u (root)
            UNION
            SELECT edge.child_id FROM reached CROSS JOIN LATERAL (
                SELECT child_id FROM read.genealogy WHERE generation = $2 AND parent_id = reached.lot_id AND tenant || '' = $1 OFFSET 0
            ) AS edge
        )
        INSERT INTO read.held_lots (tenant, generation, hold_id, lot_id, direct, held_since)
        SELECT $1, $2, $3, lot_id, lot_id = ANY($4), $5 FROM reached",
        slice.tenant,
        slice.generation,
        data.hold_id.0,
        &ids(&data.lots),
        cause.decided_at(),
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn release(db: &mut PgConnection, cause: &Cause<'_>, data: &HoldReleased) -> Result<(), ApplyError> {
    let slice = cause.slice;
    sqlx::query!(
        "UPDATE read.holds SET released_at = $4, released_by = $5, release_reason = $6, release_decision_id = $7
         WHERE generation = $2 AND id = $3 AND tenant || '' = $1",
        slice.tenant,
        slice.generation,
        data.hold_id.0,
        cause.decided_at(),
        cause.actor(),
        cause.fact.reason,
        data.decision_id.map(|id| id.0),
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "UPDATE read.held_lots SET released_at = $4, released_by = $5, release_reason = $6
         WHERE generation = $2 AND hold_id = $3 AND tenant || '' = $1 AND released_at IS NULL",
        slice.tenant,
        slice.generation,
        data.hold_id.0,
        cause.decided_at(),
        cause.actor(),
        cause.fact.reason,
    )
    .execute(&mut *db)
    .await?;
    touch(db, cause, data.hold_id.0).await
}

/// What still is on the hold is what a way leads to from its roots by lots that are on it and are not named now.
async fn release_lots(db: &mut PgConnection, cause: &Cause<'_>, data: &HoldLotReleased) -> Result<(), ApplyError> {
    let slice = cause.slice;
    sqlx::query!(
        "WITH RECURSIVE kept (lot_id) AS (
            SELECT lot_id FROM read.held_lots
            WHERE generation = $2 AND hold_id = $3 AND tenant || '' = $1 AND direct AND released_at IS NULL AND lot_id <> ALL($4::UUID[])
            UNION
            SELECT held.lot_id FROM kept CROSS JOIN LATERAL (
                SELECT child_id FROM read.genealogy WHERE generation = $2 AND parent_id = kept.lot_id AND tenant || '' = $1 OFFSET 0
            ) AS edge CROSS JOIN LATERAL (
                SELECT lot_id FROM read.held_lots
                WHERE generation = $2 AND hold_id = $3 AND lot_id = edge.child_id AND tenant || '' = $1 AND released_at IS NULL
                    AND lot_id <> ALL($4::UUID[]) LIMIT 1
            ) AS held
        )
        UPDATE read.held_lots AS held SET released_at = $5, released_by = $6, release_reason = $7
        WHERE generation = $2 AND hold_id = $3 AND tenant || '' = $1 AND released_at IS NULL
            AND NOT EXISTS (SELECT FROM kept WHERE kept.lot_id = held.lot_id)",
        slice.tenant,
        slice.generation,
        data.hold_id.0,
        &ids(&data.lots),
        cause.decided_at(),
        cause.actor(),
        cause.fact.reason,
    )
    .execute(&mut *db)
    .await?;
    touch(db, cause, data.hold_id.0).await
}

/// Moves the hold's version on.
async fn touch(db: &mut PgConnection, cause: &Cause<'_>, hold: Uuid) -> Result<(), ApplyError> {
    let slice = cause.slice;
    let touched = sqlx::query!(
        "UPDATE read.holds SET version = $4, changed_offset = $5 WHERE generation = $2 AND id = $3 AND tenant || '' = $1",
        slice.tenant,
        slice.generation,
        hold,
        cause.event.sequence(),
        cause.event.offset,
    )
    .execute(db)
    .await?
    .rows_affected();
    if touched == 1 { Ok(()) } else { Err(ApplyError::Inconsistent(format!("hold {hold} is not in the table"))) }
}

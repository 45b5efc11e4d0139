//! Which lot went into which, and how much of it: the edges of the plant's graph of material.
//!
//! Ancestors and descendants are found level by level, one query each. A recursive query would walk every path, and the number of
//! paths grows exponentially where lots are split and joined again; by level each lot is visited once.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use lotline_domain::event::Event;
use lotline_domain::id::TenantId;
use lotline_domain::lot::LotInput;
use lotline_domain::lot::event::{LotEvent, NewLot};
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::batch::{LedgerEvent, Slice};
use crate::copy::{COPY_FROM, Rows};
use crate::failure::ApplyError;
use crate::holds::apply::{self as holds, Parts};
use crate::page::limit;
use crate::stock_changes;
use crate::transformations::{self, Transformed};

pub(crate) mod followed;

/// An amount of a parent that became part of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeRow {
    /// What was made.
    pub child_id: Uuid,
    /// What it was made from.
    pub parent_id: Uuid,
    /// Where.
    pub site: String,
    /// How much, in `unit`.
    pub quantity: Decimal,
    /// UNECE Rec 20 code.
    pub unit: String,
    /// How much, in the base unit of the unit's dimension.
    pub quantity_base: Decimal,
    /// When the child came into being, in the world.
    pub occurred_at: DateTime<Utc>,
}

/// An edge and how many steps away from the start it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageEdge {
    /// Fewest steps from the start, from 1.
    pub depth: u32,
    /// The edge.
    pub edge: EdgeRow,
}

/// All that a lot was made from, or all that was made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Every edge once, by depth.
    pub edges: Vec<LineageEdge>,
    /// Whether a limit cut it short.
    pub truncated: bool,
}

/// How far to follow the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineageLimit {
    /// Most steps.
    pub depth: u32,
    /// Most edges, at most [`crate::page::MAX_ROWS`].
    pub edges: u32,
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

macro_rules! select {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            EdgeRow,
            "SELECT child_id, parent_id, site, quantity, unit, quantity_base, occurred_at FROM read.genealogy WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'genealogy' AND live.state = 'live') AND " + $rest,
            $($argument),*
        )
    };
}

/// What each of the lots was made from, by child and parent id.
pub async fn parents_of(pool: &PgPool, tenant: &TenantId, children: &[Uuid]) -> Result<Vec<EdgeRow>, sqlx::Error> {
    select!("child_id = ANY($2) ORDER BY child_id, parent_id", tenant.as_str(), children).fetch_all(pool).await
}

/// What was made from each of the lots, the newest child first, at most `per_parent` for each.
pub async fn children_of(
    pool: &PgPool,
    tenant: &TenantId,
    parents: &[Uuid],
    per_parent: u32,
) -> Result<Vec<EdgeRow>, sqlx::Error> {
    sqlx::query_as!(
        EdgeRow,
        "SELECT edge.child_id, edge.parent_id, edge.site, edge.quantity, edge.unit, edge.quantity_base, edge.occurred_at
         FROM UNNEST($2::UUID[]) AS asked (id)
         CROSS JOIN LATERAL (
            SELECT child_id, parent_id, site, quantity, unit, quantity_base, occurred_at FROM read.genealogy
            WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                    WHERE live.tenant = $1 AND live.model = 'genealogy' AND live.state = 'live')
                AND parent_id = asked.id ORDER BY child_id DESC LIMIT $3
         ) AS edge",
        tenant.as_str(),
        parents,
        limit(per_parent)
    )
    .fetch_all(pool)
    .await
}

/// All that the lots were made from.
pub async fn ancestors(
    pool: &PgPool,
    tenant: &TenantId,
    lots: &[Uuid],
    within: LineageLimit,
) -> Result<Lineage, sqlx::Error> {
    lineage(pool, tenant, lots, within, Direction::Up).await
}

/// All that was made from the lots.
pub async fn descendants(
    pool: &PgPool,
    tenant: &TenantId,
    lots: &[Uuid],
    within: LineageLimit,
) -> Result<Lineage, sqlx::Error> {
    lineage(pool, tenant, lots, within, Direction::Down).await
}

async fn lineage(
    pool: &PgPool,
    tenant: &TenantId,
    lots: &[Uuid],
    within: LineageLimit,
    direction: Direction,
) -> Result<Lineage, sqlx::Error> {
    let most = limit(within.edges) as usize;
    let mut visited: HashSet<Uuid> = lots.iter().copied().collect();
    let mut level: Vec<Uuid> = visited.iter().copied().collect();
    let mut edges = Vec::new();
    for depth in 1.. {
        let room = (most - edges.len()) as i64 + 1;
        let rows = next_level(pool, tenant, &level, room, direction).await?;
        if rows.is_empty() {
            break;
        }
        if depth > within.depth {
            return Ok(Lineage { edges, truncated: true });
        }
        level.clear();
        for edge in rows {
            if edges.len() == most {
                return Ok(Lineage { edges, truncated: true });
            }
            let next = match direction {
                Direction::Up => edge.parent_id,
                Direction::Down => edge.child_id,
            };
            if visited.insert(next) {
                level.push(next);
            }
            edges.push(LineageEdge { depth, edge });
        }
    }
    Ok(Lineage { edges, truncated: false })
}

async fn next_level(
    pool: &PgPool,
    tenant: &TenantId,
    lots: &[Uuid],
    most: i64,
    direction: Direction,
) -> Result<Vec<EdgeRow>, sqlx::Error> {
    match direction {
        Direction::Up => {
            select!("child_id = ANY($2) ORDER BY child_id, parent_id LIMIT $3", tenant.as_str(), lots, most)
                .fetch_all(pool)
                .await
        }
        Direction::Down => {
            select!("parent_id = ANY($2) ORDER BY parent_id, child_id LIMIT $3", tenant.as_str(), lots, most)
                .fetch_all(pool)
                .await
        }
    }
}

pub(crate) fn concerns(event: &Event) -> bool {
    match event {
        Event::LotRegistered(data) => !data.parents.is_empty(),
        Event::Lot(event) => matches!(event, LotEvent::LotsTransformed(_)) || stock_changes::concerns(event),
        Event::Hold(_) => true,
        Event::QcDecisionRecorded(_)
        | Event::PipelineDrafted(_)
        | Event::PipelineRevised(_)
        | Event::PipelinePublished(_)
        | Event::PipelineArchived(_)
        | Event::SignalDeclared(_)
        | Event::ProjectionRetried(_)
        | Event::ProjectionEventSkipped(_)
        | Event::Master(_)
        | Event::Access(_)
        | Event::Trail(_)
        | Event::Scenario(_)
        | Event::Run(_)
        | Event::Alert(_)
        | Event::CommandRefused(_)
        | Event::RefusalsSuppressed(_) => false,
    }
}

/// Edges are gathered up to the next event about a hold: it is on what the edges before it lead to, and on nothing else.
pub(crate) async fn apply(db: &mut PgConnection, slice: Slice<'_>) -> Result<(), ApplyError> {
    let mut edges: Vec<New<'_>> = Vec::new();
    let mut parts = Parts::default();
    let mut made: Vec<Transformed<'_>> = Vec::new();
    let mut changes: Vec<stock_changes::New<'_>> = Vec::new();
    for (event, fact) in slice.facts() {
        let occurred_at = fact.occurred_at.to_utc();
        if let Event::LotRegistered(data) = &fact.event {
            edges_of(&NewLot::from(data), event, occurred_at, &mut edges);
        }
        if let Event::Lot(LotEvent::LotsTransformed(data)) = &fact.event {
            made.push(Transformed { event, data, occurred_at, reason: fact.reason.as_deref() });
            parts.add(event, data);
            data.lots().for_each(|lot| edges_of(&lot, event, occurred_at, &mut edges));
        }
        if let Event::Lot(data) = &fact.event {
            changes.extend(stock_changes::New::of(data, event, occurred_at, fact.reason.as_deref()));
        }
        if let Event::Hold(change) = &fact.event {
            bring(db, slice, std::mem::take(&mut edges), std::mem::take(&mut parts)).await?;
            holds::apply(db, slice, (event, fact), change).await?;
        }
    }
    bring(db, slice, edges, parts).await?;
    transformations::insert(db, slice, &made).await?;
    stock_changes::insert(db, slice, &changes).await
}

async fn bring(db: &mut PgConnection, slice: Slice<'_>, edges: Vec<New<'_>>, parts: Parts) -> Result<(), ApplyError> {
    match edges.len() {
        0 => {}
        1..COPY_FROM => insert(db, slice, &edges).await?,
        COPY_FROM.. => copy(db, slice, &edges).await?,
    }
    parts.inherit(db, slice).await
}

fn edges_of<'a>(lot: &NewLot<'_>, event: &'a LedgerEvent, occurred_at: DateTime<Utc>, edges: &mut Vec<New<'a>>) {
    let row = |input: &LotInput| EdgeRow {
        child_id: lot.lot_id.0,
        parent_id: input.lot_id.0,
        site: event.stream().to_owned(),
        quantity: input.quantity.value(),
        unit: input.quantity.unit().code().to_owned(),
        quantity_base: input.quantity.in_base(),
        occurred_at,
    };
    edges.extend(lot.parents.iter().map(|input| New { row: row(input), event }));
}

/// An edge that a batch brings.
struct New<'a> {
    row: EdgeRow,
    event: &'a LedgerEvent,
}

impl New<'_> {
    fn decided_at(&self) -> DateTime<Utc> {
        self.event.envelope.attributes.time.to_utc()
    }
}

async fn copy(db: &mut PgConnection, slice: Slice<'_>, edges: &[New<'_>]) -> Result<(), ApplyError> {
    let mut rows = Rows::new(12);
    for new in edges {
        let edge = &new.row;
        rows.row()
            .field(slice.tenant)?
            .field(edge.child_id)?
            .field(edge.parent_id)?
            .field(edge.site.as_str())?
            .field(edge.quantity)?
            .field(edge.unit.as_str())?
            .field(edge.quantity_base)?
            .field(edge.occurred_at)?
            .field(slice.generation)?
            .field(slice.partition)?
            .field(new.event.offset)?
            .field(new.decided_at())?;
    }
    rows.send(
        db,
        "COPY read.genealogy (tenant, child_id, parent_id, site, quantity, unit, quantity_base, occurred_at, generation,
            partition, log_offset, decided_at)
         FROM STDIN BINARY",
    )
    .await
}

async fn insert(db: &mut PgConnection, slice: Slice<'_>, edges: &[New<'_>]) -> Result<(), ApplyError> {
    sqlx::query!(
        "INSERT INTO read.genealogy (tenant, child_id, parent_id, site, quantity, unit, quantity_base, occurred_at, generation,
            partition, log_offset, decided_at)
         SELECT $1, child_id, parent_id, site, quantity, unit, quantity_base, occurred_at, $9, $10, log_offset, decided_at
         FROM UNNEST($2::UUID[], $3::UUID[], $4::TEXT[], $5::NUMERIC[], $6::TEXT[], $7::NUMERIC[], $8::TIMESTAMPTZ[],
            $11::BIGINT[], $12::TIMESTAMPTZ[])
            AS u (child_id, parent_id, site, quantity, unit, quantity_base, occurred_at, log_offset, decided_at)",
        slice.tenant,
        &edges.iter().map(|edge| edge.row.child_id).collect::<Vec<_>>(),
        &edges.iter().map(|edge| edge.row.parent_id).collect::<Vec<_>>(),
        &edges.iter().map(|edge| edge.row.site.as_str()).collect::<Vec<_>>() as _,
        &edges.iter().map(|edge| edge.row.quantity).collect::<Vec<_>>(),
        &edges.iter().map(|edge| edge.row.unit.as_str()).collect::<Vec<_>>() as _,
        &edges.iter().map(|edge| edge.row.quantity_base).collect::<Vec<_>>(),
        &edges.iter().map(|edge| edge.row.occurred_at).collect::<Vec<_>>(),
        slice.generation,
        slice.partition,
        &edges.iter().map(|edge| edge.event.offset).collect::<Vec<_>>(),
        &edges.iter().map(New::decided_at).collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(())
}

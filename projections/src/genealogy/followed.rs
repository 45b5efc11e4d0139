//! Edges for the graph in memory: all of them, those that have come since, and those next to some lots at a moment.

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::quantity::Dimension;
use lotline_domain::record::Offset;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::graph::amount::Scaled;
use crate::graph::view::EdgeFact;
use crate::graph::{Direction, Moment};
use crate::lots::followed::unit;

/// What the graph copies of each row, in order.
pub(crate) const COPIED: &str = "child_id, parent_id, quantity_base";

struct Row {
    child_id: Uuid,
    parent_id: Uuid,
    quantity_base: Decimal,
}

impl From<Row> for EdgeFact {
    fn from(row: Row) -> Self {
        Self { child: row.child_id, parent: row.parent_id, quantity: Scaled::of(row.quantity_base) }
    }
}

/// Edges of a generation that came by events at `from` or later, in order, and the offset of the last one. All of the last offset, so a
/// few more than `rows` may come.
pub(crate) async fn added_since(
    db: &mut PgConnection,
    tenant: &TenantId,
    generation: i32,
    (partition, from): (u32, Offset),
    rows: i64,
) -> Result<(Vec<EdgeFact>, Option<Offset>), sqlx::Error> {
    let found = sqlx::query!(
        "SELECT child_id, parent_id, quantity_base, log_offset AS \"log_offset!\" FROM read.genealogy
         WHERE tenant = $1 AND generation = $2 AND partition = $3 AND log_offset >= $4
         ORDER BY log_offset FETCH FIRST ($5::BIGINT) ROWS WITH TIES",
        tenant.as_str(),
        generation,
        partition as i32,
        from,
        rows
    )
    .fetch_all(db)
    .await?;
    let last = found.last().map(|row| row.log_offset);
    let edges = found.into_iter().map(|row| EdgeFact {
        child: row.child_id,
        parent: row.parent_id,
        quantity: Scaled::of(row.quantity_base),
    });
    Ok((edges.collect(), last))
}

/// The edges that lead from lots one step along a direction, as of a moment, at most so many.
pub(crate) async fn next_to(
    db: &mut PgConnection,
    tenant: &TenantId,
    lots: &[Uuid],
    direction: Direction,
    moment: Moment,
    most: i64,
) -> Result<Vec<EdgeFact>, sqlx::Error> {
    macro_rules! next {
        ($from:tt) => {
            sqlx::query_as!(
                Row,
                "SELECT child_id, parent_id, quantity_base FROM read.genealogy
                 WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                        WHERE live.tenant = $1 AND live.model = 'genealogy' AND live.state = 'live')
                    AND ($3::TIMESTAMPTZ IS NULL OR occurred_at <= $3) AND ($4::TIMESTAMPTZ IS NULL OR decided_at <= $4) AND "
                    + $from
                    + " = ANY($2) LIMIT $5",
                tenant.as_str(),
                lots,
                moment.as_of,
                moment.known_at,
                most
            )
            .fetch_all(db)
            .await?
        };
    }
    let rows = match direction {
        Direction::Backward => next!("child_id"),
        Direction::Forward => next!("parent_id"),
    };
    Ok(rows.into_iter().map(EdgeFact::from).collect())
}

/// An edge as a balance needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) parent: Uuid,
    pub(crate) child: Uuid,
    /// Of the parent, in the base unit of its dimension.
    pub(crate) quantity_base: Decimal,
    pub(crate) dimension: Dimension,
    /// When the child came into being, in the world.
    pub(crate) occurred_at: DateTime<Utc>,
}

/// Every edge that leads from lots one step along a direction.
pub(crate) async fn steps_of(
    db: &mut PgConnection,
    tenant: &TenantId,
    lots: &[Uuid],
    direction: Direction,
) -> Result<Vec<Step>, sqlx::Error> {
    macro_rules! steps {
        ($from:tt) => {
            sqlx::query!(
                "SELECT child_id, parent_id, quantity_base, unit, occurred_at FROM read.genealogy
                 WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                        WHERE live.tenant = $1 AND live.model = 'genealogy' AND live.state = 'live') AND "
                    + $from
                    + " = ANY($2)",
                tenant.as_str(),
                lots
            )
            .fetch_all(db)
            .await?
            .into_iter()
            .map(|row| {
                let (parent, child, quantity_base) = (row.parent_id, row.child_id, row.quantity_base);
                let dimension = unit(&row.unit)?.dimension();
                Ok(Step { parent, child, quantity_base, dimension, occurred_at: row.occurred_at })
            })
            .collect()
        };
    }
    match direction {
        Direction::Backward => steps!("child_id"),
        Direction::Forward => steps!("parent_id"),
    }
}

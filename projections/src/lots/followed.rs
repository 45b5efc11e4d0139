//! What the graph in memory knows of lots: of all of them, of those that have changed since, and of some. And what a balance knows of them.

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::position::{Position, TopicKind};
use lotline_domain::quantity::{Dimension, Unit};
use lotline_domain::record::Offset;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::generations;
use crate::graph::amount::Scaled;
use crate::graph::view::LotFact;
use crate::model::Model;

/// What the graph copies of each row, in order.
pub(crate) const COPIED: &str = "id, site, quantity, unit";

/// A quantity in the base unit of its dimension. One whose unit this version does not know is not known.
pub(crate) fn in_base(quantity: Option<Scaled>, unit: &str) -> (Option<Scaled>, Dimension) {
    let Some(unit) = Unit::parse(unit) else { return (None, Dimension::Mass) };
    let factor = Scaled::of(unit.factor());
    (quantity.zip(factor).and_then(|(quantity, factor)| quantity.times(factor)), unit.dimension())
}

fn fact(id: Uuid, site: String, quantity: Decimal, unit: &str) -> LotFact {
    let (quantity, dimension) = in_base(Scaled::of(quantity), unit);
    LotFact { id, site, quantity, dimension }
}

/// Lots of a generation that were touched by events at `from` or later, in order of the last change, and its offset. All of the last
/// offset, so a few more than `rows` may come.
pub(crate) async fn changed_since(
    db: &mut PgConnection,
    tenant: &TenantId,
    generation: i32,
    (partition, from): (u32, Offset),
    rows: i64,
) -> Result<(Vec<LotFact>, Option<Offset>), sqlx::Error> {
    let found = sqlx::query!(
        "SELECT id, site, quantity, unit, changed_offset FROM read.lots
         WHERE tenant = $1 AND generation = $2 AND partition = $3 AND changed_offset >= $4
         ORDER BY changed_offset FETCH FIRST ($5::BIGINT) ROWS WITH TIES",
        tenant.as_str(),
        generation,
        partition as i32,
        from,
        rows
    )
    .fetch_all(db)
    .await?;
    let last = found.last().map(|row| row.changed_offset);
    let lots = found.into_iter().map(|row| fact(row.id, row.site, row.quantity, &row.unit));
    Ok((lots.collect(), last))
}

/// The lots among `ids` that exist, in no order.
pub(crate) async fn facts_of(
    db: &mut PgConnection,
    tenant: &TenantId,
    ids: &[Uuid],
) -> Result<Vec<LotFact>, sqlx::Error> {
    let found = sqlx::query!(
        "SELECT id, site, quantity, unit FROM read.lots
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'lots' AND live.state = 'live')
            AND id = ANY($2)",
        tenant.as_str(),
        ids
    )
    .fetch_all(db)
    .await?;
    Ok(found.into_iter().map(|row| fact(row.id, row.site, row.quantity, &row.unit)).collect())
}

/// A lot as a balance needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stocked {
    pub(crate) id: Uuid,
    /// How much there was of it, in the base unit of its dimension.
    pub(crate) quantity_base: Decimal,
    pub(crate) dimension: Dimension,
    /// What made it, if a transformation did.
    pub(crate) transformation_id: Option<Uuid>,
    /// When it came into being, in the world.
    pub(crate) occurred_at: DateTime<Utc>,
}

struct Row {
    id: Uuid,
    quantity: Decimal,
    unit: String,
    transformation_id: Option<Uuid>,
    occurred_at: DateTime<Utc>,
}

impl TryFrom<Row> for Stocked {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let unit = unit(&row.unit)?;
        Ok(Self {
            id: row.id,
            quantity_base: (row.quantity * unit.factor()).normalize(),
            dimension: unit.dimension(),
            transformation_id: row.transformation_id,
            occurred_at: row.occurred_at,
        })
    }
}

/// A unit that a table has.
///
/// # Errors
/// When this version does not know it.
pub(crate) fn unit(code: &str) -> Result<Unit, sqlx::Error> {
    Unit::parse(code).ok_or_else(|| sqlx::Error::Decode(format!("unknown unit '{code}'").into()))
}

/// Up to where the live lots are.
pub(crate) async fn position(db: &mut PgConnection, tenant: &TenantId) -> Result<Position, sqlx::Error> {
    let mut position = Position::default();
    for (partition, next) in generations::live(db, tenant, Model::Lots).await?.unwrap_or_default().1 {
        position.advance(TopicKind::Ledger, partition, next);
    }
    Ok(position)
}

/// The lots among `ids` that exist, in no order.
pub(crate) async fn stocked(
    db: &mut PgConnection,
    tenant: &TenantId,
    ids: &[Uuid],
) -> Result<Vec<Stocked>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, quantity, unit, transformation_id, occurred_at FROM read.lots
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'lots' AND live.state = 'live')
            AND id = ANY($2)",
        tenant.as_str(),
        ids
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Stocked::try_from).collect()
}

/// The lots of a product at a site that came into being before a time, at most so many.
pub(crate) async fn stocked_of_product(
    db: &mut PgConnection,
    tenant: &TenantId,
    (site, product): (&str, &str),
    until: Option<DateTime<Utc>>,
    most: i64,
) -> Result<Vec<Stocked>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, quantity, unit, transformation_id, occurred_at FROM read.lots
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'lots' AND live.state = 'live')
            AND site = $2 AND product = $3 AND ($4::TIMESTAMPTZ IS NULL OR occurred_at < $4) LIMIT $5",
        tenant.as_str(),
        site,
        product,
        until,
        most
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Stocked::try_from).collect()
}

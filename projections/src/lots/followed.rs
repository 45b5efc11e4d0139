//! What the graph in memory knows of lots: of all of them, of those that have changed since, and of some.

use lotline_domain::id::TenantId;
use lotline_domain::quantity::{Dimension, Unit};
use lotline_domain::record::Offset;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::graph::amount::Scaled;
use crate::graph::view::LotFact;

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

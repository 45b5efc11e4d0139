//! What came to lots or left them by other ways than into other lots: counts, scrap, samples, shipments.
//!
//! Part of the model `genealogy`, which applies and rebuilds it with its edges: so a balance reads both at one position.

use chrono::{DateTime, Utc};
use lotline_domain::id::{LotId, TenantId};
use lotline_domain::lot::event::{AdjustmentDirection, LotEvent};
use lotline_domain::quantity::Quantity;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::batch::{LedgerEvent, Slice};
use crate::failure::ApplyError;

/// How the amount in a lot changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StockChangeKind {
    /// A count found more.
    Increased,
    /// A count found less.
    Decreased,
    /// It was thrown away.
    Scrapped,
    /// It was taken as a sample.
    Sampled,
    /// It was shipped to a customer.
    Shipped,
}

impl StockChangeKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Increased, Self::Decreased, Self::Scrapped, Self::Sampled, Self::Shipped];

    /// The name used in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Increased => "increased",
            Self::Decreased => "decreased",
            Self::Scrapped => "scrapped",
            Self::Sampled => "sampled",
            Self::Shipped => "shipped",
        }
    }
}

/// A change of the amount in a lot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockChange {
    /// The lot.
    pub lot_id: Uuid,
    /// How.
    pub kind: StockChangeKind,
    /// By how much, in the base unit of its dimension.
    pub quantity_base: Decimal,
    /// When, in the world.
    pub occurred_at: DateTime<Utc>,
}

/// A change that a batch brings.
pub(crate) struct New<'a> {
    lot: LotId,
    kind: StockChangeKind,
    quantity: Quantity,
    event: &'a LedgerEvent,
    occurred_at: DateTime<Utc>,
    reason: Option<&'a str>,
}

/// What an event changes.
fn changes(event: &LotEvent) -> Vec<(LotId, StockChangeKind, Quantity)> {
    match event {
        LotEvent::LotAdjusted(data) => {
            let kind = match data.direction {
                AdjustmentDirection::Increase => StockChangeKind::Increased,
                AdjustmentDirection::Decrease => StockChangeKind::Decreased,
            };
            vec![(data.lot_id, kind, data.quantity)]
        }
        LotEvent::LotScrapped(data) => vec![(data.lot_id, StockChangeKind::Scrapped, data.quantity)],
        LotEvent::LotSampled(data) => vec![(data.lot_id, StockChangeKind::Sampled, data.quantity)],
        LotEvent::ShipmentShipped(data) => {
            data.lots.iter().map(|lot| (lot.lot_id, StockChangeKind::Shipped, lot.quantity)).collect()
        }
        LotEvent::LotsTransformed(_) | LotEvent::LotReceived(_) | LotEvent::LotMoved(_) | LotEvent::LotExpired(_) => {
            Vec::new()
        }
    }
}

/// Whether an event has rows here.
pub(crate) fn concerns(event: &LotEvent) -> bool {
    !changes(event).is_empty()
}

impl<'a> New<'a> {
    /// The changes that an event makes.
    pub(crate) fn of(
        data: &LotEvent,
        event: &'a LedgerEvent,
        occurred_at: DateTime<Utc>,
        reason: Option<&'a str>,
    ) -> impl Iterator<Item = Self> {
        let changes = changes(data).into_iter();
        changes.map(move |(lot, kind, quantity)| Self { lot, kind, quantity, event, occurred_at, reason })
    }
}

/// The changes of lots, in no order.
pub(crate) async fn of_lots(
    db: &mut PgConnection,
    tenant: &TenantId,
    lots: &[Uuid],
) -> Result<Vec<StockChange>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT lot_id, kind, quantity_base, occurred_at FROM read.stock_changes
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'genealogy' AND live.state = 'live')
            AND lot_id = ANY($2)",
        tenant.as_str(),
        lots
    )
    .fetch_all(db)
    .await?;
    let read = rows.into_iter().map(|row| {
        let kind = StockChangeKind::ALL.into_iter().find(|kind| kind.as_str() == row.kind);
        let kind = kind.ok_or_else(|| sqlx::Error::Decode(format!("unknown kind '{}'", row.kind).into()))?;
        Ok(StockChange { lot_id: row.lot_id, kind, quantity_base: row.quantity_base, occurred_at: row.occurred_at })
    });
    read.collect()
}

pub(crate) async fn insert(db: &mut PgConnection, slice: Slice<'_>, rows: &[New<'_>]) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let attributes = || rows.iter().map(|row| &row.event.envelope.attributes);
    sqlx::query!(
        "INSERT INTO read.stock_changes (tenant, generation, lot_id, site, kind, quantity, unit, quantity_base, reason, actor,
            occurred_at, decided_at, sequence)
         SELECT $1, $2, lot_id, site, kind, quantity, unit, quantity_base, reason, actor, occurred_at, decided_at, sequence
         FROM UNNEST($3::UUID[], $4::TEXT[], $5::TEXT[], $6::NUMERIC[], $7::TEXT[], $8::NUMERIC[], $9::TEXT[], $10::TEXT[],
            $11::TIMESTAMPTZ[], $12::TIMESTAMPTZ[], $13::BIGINT[])
            AS u (lot_id, site, kind, quantity, unit, quantity_base, reason, actor, occurred_at, decided_at, sequence)",
        slice.tenant,
        slice.generation,
        &rows.iter().map(|row| row.lot.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event.stream()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.quantity.value()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.quantity.unit().code()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.quantity.in_base()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.reason).collect::<Vec<_>>() as _,
        &attributes().map(|attributes| attributes.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &attributes().map(|attributes| attributes.time.to_utc()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event.sequence()).collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(())
}

//! Shipments: which amounts of which lots left a site, and to whom. Part of the model `lots`, which applies and rebuilds them.

use chrono::{DateTime, Utc};
use lotline_domain::flow::shipment::ShipmentShipped;
use lotline_domain::id::TenantId;
use lotline_domain::lot::event::DocumentReference;
use rust_decimal::Decimal;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::batch::{LedgerEvent, Slice};
use crate::failure::ApplyError;
use crate::page::{Page, limit};

/// A shipment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShipmentRow {
    /// `ShipmentId`.
    pub id: Uuid,
    /// From where.
    pub site: String,
    /// Unique in the site.
    pub code: String,
    /// `PartnerId` of the customer.
    pub customer_id: Option<Uuid>,
    /// Its code in the master data.
    pub customer_code: Option<String>,
    /// How the carrier knows it.
    pub carrier_reference: Option<String>,
    /// Records elsewhere.
    pub documents: Json<Vec<DocumentReference>>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Who.
    pub actor: String,
    /// When it left, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
}

/// An amount of a lot that left with a shipment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippedLotRow {
    /// `ShipmentId`.
    pub shipment_id: Uuid,
    /// `LotId`.
    pub lot_id: Uuid,
    /// How much, in `unit`.
    pub quantity: Decimal,
    /// UNECE Rec 20 code.
    pub unit: String,
}

/// Which shipments; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShipmentFilter {
    /// From one site.
    pub site: Option<String>,
    /// From any of these sites.
    pub sites: Option<Vec<String>>,
    /// To one customer, by its code.
    pub customer: Option<String>,
}

/// A shipment that a batch brings.
pub(crate) struct Shipped<'a> {
    pub(crate) event: &'a LedgerEvent,
    pub(crate) data: &'a ShipmentShipped,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) reason: Option<&'a str>,
}

macro_rules! select {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            ShipmentRow,
            "SELECT id, site, code, customer_id, customer_code, carrier_reference, documents AS \"documents: Json<Vec<DocumentReference>>\",
                reason, actor, occurred_at, decided_at
             FROM read.shipments WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'lots' AND live.state = 'live') AND " + $rest,
            $($argument),*
        )
    };
}

/// The shipments among `ids` that exist, in no order.
pub async fn by_ids(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Vec<ShipmentRow>, sqlx::Error> {
    select!("id = ANY($2)", tenant.as_str(), ids).fetch_all(pool).await
}

/// A shipment by its code in a site.
pub async fn find_by_code(
    pool: &PgPool,
    tenant: &TenantId,
    site: &str,
    code: &str,
) -> Result<Option<ShipmentRow>, sqlx::Error> {
    select!("site = $2 AND code = $3", tenant.as_str(), site, code).fetch_optional(pool).await
}

/// Shipments, the newest id first.
pub async fn list(
    pool: &PgPool,
    tenant: &TenantId,
    filter: &ShipmentFilter,
    page: &Page<Uuid>,
) -> Result<Vec<ShipmentRow>, sqlx::Error> {
    select!(
        "($2::UUID IS NULL OR id < $2) AND ($3::TEXT IS NULL OR site = $3) AND ($4::TEXT[] IS NULL OR site = ANY($4))
            AND ($5::TEXT IS NULL OR customer_code = $5)
         ORDER BY id DESC LIMIT $6",
        tenant.as_str(),
        page.after,
        filter.site.as_deref(),
        filter.sites.as_deref(),
        filter.customer.as_deref(),
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// What left with each of the shipments, in the order in which it was listed.
pub async fn lots_of(pool: &PgPool, tenant: &TenantId, shipments: &[Uuid]) -> Result<Vec<ShippedLotRow>, sqlx::Error> {
    sqlx::query_as!(
        ShippedLotRow,
        "SELECT shipment_id, lot_id, quantity, unit FROM read.shipment_lots
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
            WHERE live.tenant = $1 AND live.model = 'lots' AND live.state = 'live') AND shipment_id = ANY($2)
         ORDER BY shipment_id, place",
        tenant.as_str(),
        shipments
    )
    .fetch_all(pool)
    .await
}

/// With what each of the lots left, the newest shipment first, at most `per_lot` for each.
pub async fn of_lots(
    pool: &PgPool,
    tenant: &TenantId,
    lots: &[Uuid],
    per_lot: u32,
) -> Result<Vec<ShippedLotRow>, sqlx::Error> {
    sqlx::query_as!(
        ShippedLotRow,
        "SELECT part.shipment_id, part.lot_id, part.quantity, part.unit
         FROM UNNEST($2::UUID[]) AS asked (id)
         CROSS JOIN LATERAL (
            SELECT shipment_id, lot_id, quantity, unit FROM read.shipment_lots
            WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                    WHERE live.tenant = $1 AND live.model = 'lots' AND live.state = 'live')
                AND lot_id = asked.id ORDER BY shipment_id DESC LIMIT $3
         ) AS part",
        tenant.as_str(),
        lots,
        limit(per_lot)
    )
    .fetch_all(pool)
    .await
}

pub(crate) async fn insert(db: &mut PgConnection, slice: Slice<'_>, rows: &[Shipped<'_>]) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut documents = Vec::with_capacity(rows.len());
    for row in rows {
        documents.push(serde_json::to_string(&row.data.documents)?);
    }
    sqlx::query!(
        "INSERT INTO read.shipments (tenant, generation, id, site, code, customer_id, customer_code, carrier_reference, documents, reason,
            actor, occurred_at, decided_at, sequence)
         SELECT $1, $2, id, site, code, customer_id, customer_code, carrier_reference, documents::JSONB, reason, actor, occurred_at,
            decided_at, sequence
         FROM UNNEST($3::UUID[], $4::TEXT[], $5::TEXT[], $6::UUID[], $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[], $11::TEXT[],
            $12::TIMESTAMPTZ[], $13::TIMESTAMPTZ[], $14::BIGINT[])
            AS u (id, site, code, customer_id, customer_code, carrier_reference, documents, reason, actor, occurred_at, decided_at, sequence)",
        slice.tenant,
        slice.generation,
        &rows.iter().map(|row| row.data.shipment_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event.stream()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.data.code.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.data.customer_id.map(|id| id.0)).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.data.customer_code.as_deref()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.data.carrier_reference.as_deref()).collect::<Vec<_>>() as _,
        &documents,
        &rows.iter().map(|row| row.reason).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.event.envelope.attributes.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event.envelope.attributes.time.to_utc()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event.sequence()).collect::<Vec<_>>(),
    )
    .execute(&mut *db)
    .await?;
    insert_lots(db, slice, rows).await
}

async fn insert_lots(db: &mut PgConnection, slice: Slice<'_>, rows: &[Shipped<'_>]) -> Result<(), ApplyError> {
    let parts = rows.iter().flat_map(|row| row.data.lots.iter().enumerate().map(move |(place, lot)| (row, place, lot)));
    let parts: Vec<_> = parts.collect();
    sqlx::query!(
        "INSERT INTO read.shipment_lots (tenant, generation, shipment_id, lot_id, place, quantity, unit, quantity_base)
         SELECT $1, $2, shipment_id, lot_id, place, quantity, unit, quantity_base
         FROM UNNEST($3::UUID[], $4::UUID[], $5::INTEGER[], $6::NUMERIC[], $7::TEXT[], $8::NUMERIC[])
            AS u (shipment_id, lot_id, place, quantity, unit, quantity_base)",
        slice.tenant,
        slice.generation,
        &parts.iter().map(|(row, _, _)| row.data.shipment_id.0).collect::<Vec<_>>(),
        &parts.iter().map(|(_, _, lot)| lot.lot_id.0).collect::<Vec<_>>(),
        &parts.iter().map(|(_, place, _)| *place as i32).collect::<Vec<_>>(),
        &parts.iter().map(|(_, _, lot)| lot.quantity.value()).collect::<Vec<_>>(),
        &parts.iter().map(|(_, _, lot)| lot.quantity.unit().code()).collect::<Vec<_>>() as _,
        &parts.iter().map(|(_, _, lot)| lot.quantity.in_base()).collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(())
}

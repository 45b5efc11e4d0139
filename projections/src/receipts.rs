//! Receipts: how lots came in. Part of the model `lots`, which applies and rebuilds it.

use chrono::{DateTime, NaiveDate, Utc};
use lotline_domain::flow::receipt::LotReceived;
use lotline_domain::id::TenantId;
use lotline_domain::lot::event::DocumentReference;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::batch::{LedgerEvent, Slice};
use crate::failure::ApplyError;

/// How a lot came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRow {
    /// `LotId`.
    pub lot_id: Uuid,
    /// `DeliveryId`: the lots that came at once have one.
    pub delivery_id: Uuid,
    /// Where.
    pub site: String,
    /// `PartnerId` of the supplier.
    pub supplier_id: Uuid,
    /// Its code in the master data.
    pub supplier_code: String,
    /// `ProductId`, where master data knew the product.
    pub product_id: Option<Uuid>,
    /// Who assigned the traceability lot code.
    pub traceability_lot_code_source: Option<String>,
    /// Records elsewhere.
    pub documents: Json<Vec<DocumentReference>>,
    /// Day of making.
    pub produced_on: Option<NaiveDate>,
    /// The shelf life from which the last day of use was reckoned, where none was stated.
    pub shelf_life_days: Option<i32>,
    /// Why it was taken in though its last day of use was over.
    pub exception: Option<String>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Who.
    pub actor: String,
    /// When it came, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
}

/// A receipt that a batch brings.
pub(crate) struct Received<'a> {
    pub(crate) event: &'a LedgerEvent,
    pub(crate) data: &'a LotReceived,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) reason: Option<&'a str>,
}

/// The receipts of those of the lots that were received, in no order.
pub async fn of_lots(pool: &PgPool, tenant: &TenantId, lots: &[Uuid]) -> Result<Vec<ReceiptRow>, sqlx::Error> {
    sqlx::query_as!(
        ReceiptRow,
        "SELECT lot_id, delivery_id, site, supplier_id, supplier_code, product_id, traceability_lot_code_source,
            documents AS \"documents: Json<Vec<DocumentReference>>\", produced_on, shelf_life_days, exception, reason, actor, occurred_at,
            decided_at
         FROM read.receipts WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
            WHERE live.tenant = $1 AND live.model = 'lots' AND live.state = 'live') AND lot_id = ANY($2)",
        tenant.as_str(),
        lots
    )
    .fetch_all(pool)
    .await
}

/// The lots of a delivery, in the order in which they were listed.
pub async fn lots_of(pool: &PgPool, tenant: &TenantId, delivery: Uuid) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT lot_id FROM read.receipts WHERE tenant = $1 AND generation = (SELECT live.generation
            FROM read.projection_generation AS live WHERE live.tenant = $1 AND live.model = 'lots' AND live.state = 'live')
            AND delivery_id = $2
         ORDER BY sequence",
        tenant.as_str(),
        delivery
    )
    .fetch_all(pool)
    .await
}

pub(crate) async fn insert(db: &mut PgConnection, slice: Slice<'_>, rows: &[Received<'_>]) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut documents = Vec::with_capacity(rows.len());
    for row in rows {
        documents.push(serde_json::to_string(&row.data.documents)?);
    }
    let days = |row: &Received<'_>| row.data.shelf_life_days.and_then(|days| i32::try_from(days).ok());
    sqlx::query!(
        "INSERT INTO read.receipts (tenant, generation, lot_id, delivery_id, site, supplier_id, supplier_code, product_id,
            traceability_lot_code_source, documents, produced_on, shelf_life_days, exception, reason, actor, occurred_at, decided_at, sequence)
         SELECT $1, $2, lot_id, delivery_id, site, supplier_id, supplier_code, product_id, source, documents::JSONB, produced_on,
            shelf_life_days, exception, reason, actor, occurred_at, decided_at, sequence
         FROM UNNEST($3::UUID[], $4::UUID[], $5::TEXT[], $6::UUID[], $7::TEXT[], $8::UUID[], $9::TEXT[], $10::TEXT[], $11::DATE[],
            $12::INTEGER[], $13::TEXT[], $14::TEXT[], $15::TEXT[], $16::TIMESTAMPTZ[], $17::TIMESTAMPTZ[], $18::BIGINT[])
            AS u (lot_id, delivery_id, site, supplier_id, supplier_code, product_id, source, documents, produced_on, shelf_life_days,
                exception, reason, actor, occurred_at, decided_at, sequence)",
        slice.tenant,
        slice.generation,
        &rows.iter().map(|row| row.data.lot_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.data.delivery_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event.stream()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.data.supplier_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.data.supplier_code.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.data.product_id.map(|id| id.0)).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.data.traceability_lot_code_source.as_deref()).collect::<Vec<_>>() as _,
        &documents,
        &rows.iter().map(|row| row.data.produced_on).collect::<Vec<_>>() as _,
        &rows.iter().map(days).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.data.exception.as_deref()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.reason).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.event.envelope.attributes.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event.envelope.attributes.time.to_utc()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event.sequence()).collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(())
}

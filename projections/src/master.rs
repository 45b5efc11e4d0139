//! Master data as it is now: products, and the partners who supply and buy.
//!
//! A definition says all of a thing, so of several in a batch the last one is the row.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lotline_domain::event::{Event, Fact};
use lotline_domain::id::TenantId;
use lotline_domain::master::MasterEvent;
use lotline_domain::master::gs1::{Gln, Gtin};
use lotline_domain::master::partner::PartnerDefined;
use lotline_domain::master::product::{Conversion, ProductDefined};
use lotline_domain::record::Offset;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::batch::{LedgerEvent, Slice};
use crate::failure::ApplyError;
use crate::page::Page;

/// A product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductRow {
    /// `ProductId`.
    pub id: Uuid,
    /// Unique in the tenant.
    pub code: String,
    /// For people to read.
    pub name: String,
    /// As it stands on the item.
    pub gtin: Option<String>,
    /// UNECE Rec 20 code of the unit in which it is kept.
    pub unit: String,
    /// From units of other dimensions.
    pub conversions: Json<Vec<Conversion>>,
    /// Days from making it to the last day of use.
    pub shelf_life_days: Option<i32>,
    /// Whether it is still made or used.
    pub active: bool,
    /// Who defined it last.
    pub actor: String,
    /// When, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When that was decided.
    pub decided_at: DateTime<Utc>,
    /// Sequence of that event: what `expected_version` is compared with.
    pub version: i64,
    /// Partition of its stream.
    pub partition: i32,
    /// Offset of that event.
    pub changed_offset: Offset,
}

/// A supplier or customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartnerRow {
    /// `PartnerId`.
    pub id: Uuid,
    /// Unique in the tenant.
    pub code: String,
    /// Of the company.
    pub name: String,
    /// Its Global Location Number.
    pub gln: Option<String>,
    /// Whether things come from it.
    pub supplies: bool,
    /// Whether things go to it.
    pub buys: bool,
    /// Whether there is still trade with it.
    pub active: bool,
    /// Who defined it last.
    pub actor: String,
    /// When, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When that was decided.
    pub decided_at: DateTime<Utc>,
    /// Sequence of that event: what `expected_version` is compared with.
    pub version: i64,
    /// Partition of its stream.
    pub partition: i32,
    /// Offset of that event.
    pub changed_offset: Offset,
}

/// Which products; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProductFilter {
    /// Still made or used, or not.
    pub active: Option<bool>,
    /// With this code.
    pub code: Option<String>,
    /// With this GTIN, however many zeros stand in front of it.
    pub gtin: Option<Gtin>,
}

/// Which partners; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartnerFilter {
    /// Still traded with, or not.
    pub active: Option<bool>,
    /// With this code.
    pub code: Option<String>,
    /// Who supply, or who do not.
    pub supplies: Option<bool>,
    /// Who buy, or who do not.
    pub buys: Option<bool>,
}

macro_rules! select_products {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            ProductRow,
            "SELECT id, code, name, gtin, unit, conversions AS \"conversions: Json<Vec<Conversion>>\", shelf_life_days, active, actor,
                occurred_at, decided_at, version, partition, changed_offset
             FROM read.products WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'master' AND live.state = 'live') AND " + $rest,
            $($argument),*
        )
    };
}

macro_rules! select_partners {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            PartnerRow,
            "SELECT id, code, name, gln, supplies, buys, active, actor, occurred_at, decided_at, version, partition, changed_offset
             FROM read.partners WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'master' AND live.state = 'live') AND " + $rest,
            $($argument),*
        )
    };
}

/// The products among `ids` that exist, in no order.
pub async fn products_by_ids(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Vec<ProductRow>, sqlx::Error> {
    select_products!("id = ANY($2)", tenant.as_str(), ids).fetch_all(pool).await
}

/// Products by code.
pub async fn products(
    pool: &PgPool,
    tenant: &TenantId,
    filter: &ProductFilter,
    page: &Page<String>,
) -> Result<Vec<ProductRow>, sqlx::Error> {
    select_products!(
        "($2::TEXT IS NULL OR code > $2) AND ($3::BOOLEAN IS NULL OR active = $3) AND ($4::TEXT IS NULL OR code = $4)
            AND ($5::TEXT IS NULL OR gtin_14 = $5)
         ORDER BY code LIMIT $6",
        tenant.as_str(),
        page.after.as_deref(),
        filter.active,
        filter.code.as_deref(),
        filter.gtin.as_ref().map(Gtin::in_14_digits),
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// The codes of the products that have a GTIN.
pub async fn codes_with_gtin(pool: &PgPool, tenant: &TenantId, gtin: &Gtin) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT code FROM read.products WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
            WHERE live.tenant = $1 AND live.model = 'master' AND live.state = 'live') AND gtin_14 = $2",
        tenant.as_str(),
        gtin.in_14_digits()
    )
    .fetch_all(pool)
    .await
}

/// The partners among `ids` that exist, in no order.
pub async fn partners_by_ids(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Vec<PartnerRow>, sqlx::Error> {
    select_partners!("id = ANY($2)", tenant.as_str(), ids).fetch_all(pool).await
}

/// Partners by code.
pub async fn partners(
    pool: &PgPool,
    tenant: &TenantId,
    filter: &PartnerFilter,
    page: &Page<String>,
) -> Result<Vec<PartnerRow>, sqlx::Error> {
    select_partners!(
        "($2::TEXT IS NULL OR code > $2) AND ($3::BOOLEAN IS NULL OR active = $3) AND ($4::TEXT IS NULL OR code = $4)
            AND ($5::BOOLEAN IS NULL OR supplies = $5) AND ($6::BOOLEAN IS NULL OR buys = $6)
         ORDER BY code LIMIT $7",
        tenant.as_str(),
        page.after.as_deref(),
        filter.active,
        filter.code.as_deref(),
        filter.supplies,
        filter.buys,
        page.limit()
    )
    .fetch_all(pool)
    .await
}

pub(crate) fn concerns(event: &Event) -> bool {
    matches!(event, Event::Master(_))
}

/// A definition with the event that it came by.
type Defined<'a, T> = BTreeMap<Uuid, (&'a LedgerEvent, &'a Fact, &'a T)>;

pub(crate) async fn apply(db: &mut PgConnection, slice: Slice<'_>) -> Result<(), ApplyError> {
    let (mut products, mut partners) = (Defined::new(), Defined::new());
    for (event, fact) in slice.facts() {
        let Event::Master(change) = &fact.event else { continue };
        match change {
            MasterEvent::ProductDefined(data) => {
                products.insert(data.product_id.0, (event, fact, data));
            }
            MasterEvent::PartnerDefined(data) => {
                partners.insert(data.partner_id.0, (event, fact, data));
            }
        }
    }
    if !products.is_empty() {
        write_products(db, slice, &products).await?;
    }
    if !partners.is_empty() {
        write_partners(db, slice, &partners).await?;
    }
    Ok(())
}

async fn write_products(
    db: &mut PgConnection,
    slice: Slice<'_>,
    products: &Defined<'_, ProductDefined>,
) -> Result<(), ApplyError> {
    let rows = || products.values();
    let mut conversions = Vec::with_capacity(products.len());
    for (_, _, data) in rows() {
        conversions.push(serde_json::to_string(&data.conversions)?);
    }
    sqlx::query!(
        "INSERT INTO read.products (tenant, generation, partition, id, code, name, gtin, gtin_14, unit, conversions, shelf_life_days, active,
            actor, occurred_at, decided_at, version, changed_offset)
         SELECT $1, $2, $3, id, code, name, gtin, gtin_14, unit, conversions::JSONB, shelf_life_days, active, actor, occurred_at, decided_at,
            version, changed_offset
         FROM UNNEST($4::UUID[], $5::TEXT[], $6::TEXT[], $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[], $11::INTEGER[], $12::BOOLEAN[],
            $13::TEXT[], $14::TIMESTAMPTZ[], $15::TIMESTAMPTZ[], $16::BIGINT[], $17::BIGINT[])
            AS u (id, code, name, gtin, gtin_14, unit, conversions, shelf_life_days, active, actor, occurred_at, decided_at, version,
                changed_offset)
         ON CONFLICT (tenant, generation, id) DO UPDATE SET name = EXCLUDED.name, gtin = EXCLUDED.gtin, gtin_14 = EXCLUDED.gtin_14,
            conversions = EXCLUDED.conversions, shelf_life_days = EXCLUDED.shelf_life_days, active = EXCLUDED.active, actor = EXCLUDED.actor,
            occurred_at = EXCLUDED.occurred_at, decided_at = EXCLUDED.decided_at, version = EXCLUDED.version,
            changed_offset = EXCLUDED.changed_offset",
        slice.tenant,
        slice.generation,
        slice.partition,
        &products.keys().copied().collect::<Vec<_>>(),
        &rows().map(|(_, _, data)| data.code.as_str()).collect::<Vec<_>>() as _,
        &rows().map(|(_, _, data)| data.name.as_str()).collect::<Vec<_>>() as _,
        &rows().map(|(_, _, data)| data.gtin.as_ref().map(Gtin::as_str)).collect::<Vec<_>>() as _,
        &rows().map(|(_, _, data)| data.gtin.as_ref().map(Gtin::in_14_digits)).collect::<Vec<_>>() as _,
        &rows().map(|(_, _, data)| data.unit.code()).collect::<Vec<_>>() as _,
        &conversions,
        &rows().map(|(_, _, data)| data.shelf_life_days.map(|days| days as i32)).collect::<Vec<_>>() as _,
        &rows().map(|(_, _, data)| data.active).collect::<Vec<_>>(),
        &rows().map(|(event, _, _)| event.envelope.attributes.actor.as_str()).collect::<Vec<_>>() as _,
        &rows().map(|(_, fact, _)| fact.occurred_at.to_utc()).collect::<Vec<_>>(),
        &rows().map(|(event, _, _)| event.envelope.attributes.time.to_utc()).collect::<Vec<_>>(),
        &rows().map(|(event, _, _)| event.sequence()).collect::<Vec<_>>(),
        &rows().map(|(event, _, _)| event.offset).collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn write_partners(
    db: &mut PgConnection,
    slice: Slice<'_>,
    partners: &Defined<'_, PartnerDefined>,
) -> Result<(), ApplyError> {
    let rows = || partners.values();
    sqlx::query!(
        "INSERT INTO read.partners (tenant, generation, partition, id, code, name, gln, supplies, buys, active, actor, occurred_at, decided_at,
            version, changed_offset)
         SELECT $1, $2, $3, id, code, name, gln, supplies, buys, active, actor, occurred_at, decided_at, version, changed_offset
         FROM UNNEST($4::UUID[], $5::TEXT[], $6::TEXT[], $7::TEXT[], $8::BOOLEAN[], $9::BOOLEAN[], $10::BOOLEAN[], $11::TEXT[],
            $12::TIMESTAMPTZ[], $13::TIMESTAMPTZ[], $14::BIGINT[], $15::BIGINT[])
            AS u (id, code, name, gln, supplies, buys, active, actor, occurred_at, decided_at, version, changed_offset)
         ON CONFLICT (tenant, generation, id) DO UPDATE SET name = EXCLUDED.name, gln = EXCLUDED.gln, supplies = EXCLUDED.supplies,
            buys = EXCLUDED.buys, active = EXCLUDED.active, actor = EXCLUDED.actor, occurred_at = EXCLUDED.occurred_at,
            decided_at = EXCLUDED.decided_at, version = EXCLUDED.version, changed_offset = EXCLUDED.changed_offset",
        slice.tenant,
        slice.generation,
        slice.partition,
        &partners.keys().copied().collect::<Vec<_>>(),
        &rows().map(|(_, _, data)| data.code.as_str()).collect::<Vec<_>>() as _,
        &rows().map(|(_, _, data)| data.name.as_str()).collect::<Vec<_>>() as _,
        &rows().map(|(_, _, data)| data.gln.as_ref().map(Gln::as_str)).collect::<Vec<_>>() as _,
        &rows().map(|(_, _, data)| data.supplies).collect::<Vec<_>>(),
        &rows().map(|(_, _, data)| data.buys).collect::<Vec<_>>(),
        &rows().map(|(_, _, data)| data.active).collect::<Vec<_>>(),
        &rows().map(|(event, _, _)| event.envelope.attributes.actor.as_str()).collect::<Vec<_>>() as _,
        &rows().map(|(_, fact, _)| fact.occurred_at.to_utc()).collect::<Vec<_>>(),
        &rows().map(|(event, _, _)| event.envelope.attributes.time.to_utc()).collect::<Vec<_>>(),
        &rows().map(|(event, _, _)| event.sequence()).collect::<Vec<_>>(),
        &rows().map(|(event, _, _)| event.offset).collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(())
}

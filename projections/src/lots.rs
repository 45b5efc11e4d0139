//! Lots as they are now: what was registered, what is left, and the quality decision in force.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use lotline_domain::event::{Event, Fact};
use lotline_domain::id::TenantId;
use lotline_domain::lot::event::{LotEvent, NewLot};
use lotline_domain::qc::QcOutcome;
use lotline_domain::quantity::Unit;
use lotline_domain::record::Offset;
use rust_decimal::Decimal;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::batch::{LedgerEvent, Slice};
use crate::copy::{COPY_FROM, Rows};
use crate::failure::ApplyError;
use crate::page::{Page, limit};
use crate::receipts::{self, Received};
use crate::shipments::{self, Shipped};

pub(crate) mod followed;
pub mod lookup;

/// A lot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LotRow {
    /// `LotId`.
    pub id: Uuid,
    /// Where it was registered.
    pub site: String,
    /// Unique in the site.
    pub code: String,
    /// `LotType::as_str`.
    pub lot_type: String,
    /// Product name or GTIN.
    pub product: String,
    /// As registered, in `unit`.
    pub quantity: Decimal,
    /// UNECE Rec 20 code.
    pub unit: String,
    /// What is left, in the base unit of the unit's dimension; [`LotRow::remaining`] gives it in `unit`.
    pub remaining_base: Decimal,
    /// Degrees Celsius when it was registered.
    pub temperature_c: Option<Decimal>,
    /// The supplier's own code.
    pub supplier_lot: Option<String>,
    /// Last day of use.
    pub expires_on: Option<NaiveDate>,
    /// Where it lies.
    pub location: Option<String>,
    /// Whether it was marked as expired.
    pub expired: bool,
    /// `TransformationId` of what made it, if a transformation did.
    pub transformation_id: Option<Uuid>,
    /// Anything else that the plant records.
    pub attributes: Json<BTreeMap<String, String>>,
    /// `QcOutcome::as_str` of the last decision, if any was taken.
    pub qc_status: Option<String>,
    /// Who registered it.
    pub actor: String,
    /// When it came into being, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When the registration was decided.
    pub decided_at: DateTime<Utc>,
    /// Sequence of the last event that touched it: what `expected_version` is compared with.
    pub version: i64,
    /// Partition of its stream.
    pub partition: i32,
    /// Offset of the last event that touched it.
    pub changed_offset: Offset,
}

impl LotRow {
    /// What is left, in the unit in which the lot was registered.
    pub fn remaining(&self) -> Decimal {
        let factor = Unit::parse(&self.unit).map_or(Decimal::ONE, Unit::factor);
        (self.remaining_base / factor).normalize()
    }
}

/// Which lots; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LotFilter {
    /// Of one site.
    pub site: Option<String>,
    /// Of any of these sites.
    pub sites: Option<Vec<String>>,
    /// Of one product.
    pub product: Option<String>,
    /// Of one type, `LotType::as_str`.
    pub lot_type: Option<String>,
    /// With this decision in force, `QcOutcome::as_str`.
    pub qc_status: Option<String>,
    /// Whose code begins with this.
    pub code_prefix: Option<String>,
}

macro_rules! select {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            LotRow,
            "SELECT id, site, code, lot_type, product, quantity, unit, remaining_base, temperature_c, supplier_lot, expires_on,
                location, expired, transformation_id, attributes AS \"attributes: Json<BTreeMap<String, String>>\", qc_status, actor, occurred_at, decided_at,
                version, partition, changed_offset
             FROM read.lots WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'lots' AND live.state = 'live') AND " + $rest,
            $($argument),*
        )
    };
}

/// A lot by id.
pub async fn find(pool: &PgPool, tenant: &TenantId, id: Uuid) -> Result<Option<LotRow>, sqlx::Error> {
    select!("id = $2", tenant.as_str(), id).fetch_optional(pool).await
}

/// A lot by its code in a site.
pub async fn find_by_code(
    pool: &PgPool,
    tenant: &TenantId,
    site: &str,
    code: &str,
) -> Result<Option<LotRow>, sqlx::Error> {
    select!("site = $2 AND code = $3", tenant.as_str(), site, code).fetch_optional(pool).await
}

/// The lots among `ids` that exist, in no order.
pub async fn by_ids(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Vec<LotRow>, sqlx::Error> {
    select!("id = ANY($2)", tenant.as_str(), ids).fetch_all(pool).await
}

/// Lots, the newest id first.
pub async fn list(
    pool: &PgPool,
    tenant: &TenantId,
    filter: &LotFilter,
    page: &Page<Uuid>,
) -> Result<Vec<LotRow>, sqlx::Error> {
    select!(
        "($2::UUID IS NULL OR id < $2) AND ($3::TEXT IS NULL OR site = $3)
            AND ($4::TEXT IS NULL OR product = $4) AND ($5::TEXT IS NULL OR lot_type = $5)
            AND ($6::TEXT IS NULL OR qc_status = $6) AND ($7::TEXT IS NULL OR starts_with(code, $7))
            AND ($8::TEXT[] IS NULL OR site = ANY($8))
         ORDER BY id DESC LIMIT $9",
        tenant.as_str(),
        page.after,
        filter.site.as_deref(),
        filter.product.as_deref(),
        filter.lot_type.as_deref(),
        filter.qc_status.as_deref(),
        filter.code_prefix.as_deref(),
        filter.sites.as_deref(),
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// Lots touched by events at `from` or later, as they are now, in order of the last change. `from` is a position's next offset.
/// Gives all rows of the last offset, so a few more than `rows` may come.
pub async fn changed_since(
    pool: &PgPool,
    tenant: &TenantId,
    partition: u32,
    from: Offset,
    rows: u32,
) -> Result<Vec<LotRow>, sqlx::Error> {
    select!(
        "partition = $2 AND changed_offset >= $3
         ORDER BY changed_offset FETCH FIRST ($4::BIGINT) ROWS WITH TIES",
        tenant.as_str(),
        partition as i32,
        from,
        limit(rows)
    )
    .fetch_all(pool)
    .await
}

/// A lot that a batch brings.
struct Registered<'a> {
    event: &'a LedgerEvent,
    lot: NewLot<'a>,
    occurred_at: DateTime<Utc>,
    after: Touched<'a>,
}

impl Registered<'_> {
    fn remaining_base(&self) -> Decimal {
        (self.lot.quantity.in_base() - self.after.used).normalize()
    }

    fn location(&self) -> Option<&str> {
        self.after.location.or(self.lot.location)
    }
}

/// What a batch does to a lot.
#[derive(Default)]
struct Touched<'a> {
    used: Decimal,
    qc: Option<QcOutcome>,
    location: Option<&'a str>,
    expired: bool,
    version: i64,
    offset: Offset,
}

#[derive(Default)]
struct Changes<'a> {
    registered: Vec<Registered<'a>>,
    /// Place in `registered`.
    places: HashMap<Uuid, usize>,
    /// Lots that were there before.
    touched: HashMap<Uuid, Touched<'a>>,
    received: Vec<Received<'a>>,
    shipped: Vec<Shipped<'a>>,
}

pub(crate) fn concerns(event: &Event) -> bool {
    match event {
        Event::LotRegistered(_) | Event::Lot(_) | Event::QcDecisionRecorded(_) => true,
        Event::PipelineDrafted(_)
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
        | Event::Hold(_)
        | Event::CommandRefused(_)
        | Event::RefusalsSuppressed(_) => false,
    }
}

pub(crate) async fn apply(db: &mut PgConnection, slice: Slice<'_>) -> Result<(), ApplyError> {
    let changes = Changes::fold(slice);
    match changes.registered.len() {
        0 => {}
        1..COPY_FROM => insert(db, slice, &changes.registered).await?,
        COPY_FROM.. => copy(db, slice, &changes.registered).await?,
    }
    update(db, slice, &changes.touched).await?;
    receipts::insert(db, slice, &changes.received).await?;
    shipments::insert(db, slice, &changes.shipped).await
}

impl<'a> Changes<'a> {
    fn fold(slice: Slice<'a>) -> Self {
        let mut changes = Self::default();
        for (event, fact) in slice.facts() {
            match &fact.event {
                Event::LotRegistered(data) => {
                    for input in &data.parents {
                        changes.touch(input.lot_id.0, event).used += input.quantity.in_base();
                    }
                    changes.register(NewLot::from(data), event, fact);
                }
                Event::Lot(change) => {
                    for effect in change.effects() {
                        let lot = changes.touch(effect.lot_id.0, event);
                        lot.used += effect.taken;
                        lot.location = effect.location.or(lot.location);
                        lot.expired |= effect.expired;
                    }
                    change.lots().for_each(|lot| changes.register(lot, event, fact));
                    changes.note(change, event, fact);
                }
                Event::QcDecisionRecorded(data) => changes.touch(data.lot_id.0, event).qc = Some(data.outcome),
                Event::PipelineDrafted(_)
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
                | Event::Hold(_)
                | Event::CommandRefused(_)
                | Event::RefusalsSuppressed(_) => {}
            }
        }
        changes
    }

    fn note(&mut self, change: &'a LotEvent, event: &'a LedgerEvent, fact: &'a Fact) {
        let (occurred_at, reason) = (fact.occurred_at.to_utc(), fact.reason.as_deref());
        match change {
            LotEvent::LotReceived(data) => self.received.push(Received { event, data, occurred_at, reason }),
            LotEvent::ShipmentShipped(data) => self.shipped.push(Shipped { event, data, occurred_at, reason }),
            LotEvent::LotsTransformed(_)
            | LotEvent::LotAdjusted(_)
            | LotEvent::LotScrapped(_)
            | LotEvent::LotMoved(_)
            | LotEvent::LotSampled(_)
            | LotEvent::LotExpired(_) => {}
        }
    }

    fn register(&mut self, lot: NewLot<'a>, event: &'a LedgerEvent, fact: &Fact) {
        self.places.insert(lot.lot_id.0, self.registered.len());
        let after = Touched { version: event.sequence(), offset: event.offset, ..Touched::default() };
        self.registered.push(Registered { event, lot, occurred_at: fact.occurred_at.to_utc(), after });
    }

    fn touch(&mut self, lot: Uuid, event: &LedgerEvent) -> &mut Touched<'a> {
        let touched = match self.places.get(&lot) {
            Some(place) => &mut self.registered[*place].after,
            None => self.touched.entry(lot).or_default(),
        };
        touched.version = event.sequence();
        touched.offset = event.offset;
        touched
    }
}

async fn copy(db: &mut PgConnection, slice: Slice<'_>, lots: &[Registered<'_>]) -> Result<(), ApplyError> {
    let mut rows = Rows::new(24);
    for lot in lots {
        let attributes = &lot.event.envelope.attributes;
        rows.row()
            .field(slice.tenant)?
            .field(lot.lot.lot_id.0)?
            .field(lot.event.stream())?
            .field(lot.lot.code)?
            .field(lot.lot.lot_type.as_str())?
            .field(lot.lot.product)?
            .field(lot.lot.quantity.value())?
            .field(lot.lot.quantity.unit().code())?
            .field(lot.remaining_base())?
            .field(lot.lot.temperature_c)?
            .field(lot.lot.supplier_lot)?
            .field(lot.lot.expires_on)?
            .field(lot.location())?
            .field(lot.after.expired)?
            .field(lot.lot.transformation_id.map(|id| id.0))?
            .field(Json(lot.lot.attributes))?
            .field(lot.after.qc.map(QcOutcome::as_str))?
            .field(attributes.actor.as_str())?
            .field(lot.occurred_at)?
            .field(attributes.time.to_utc())?
            .field(lot.after.version)?
            .field(slice.partition)?
            .field(lot.after.offset)?
            .field(slice.generation)?;
    }
    rows.send(
        db,
        "COPY read.lots (tenant, id, site, code, lot_type, product, quantity, unit, remaining_base, temperature_c, supplier_lot,
            expires_on, location, expired, transformation_id, attributes, qc_status, actor, occurred_at, decided_at, version, partition, changed_offset,
            generation)
         FROM STDIN BINARY",
    )
    .await
}

async fn insert(db: &mut PgConnection, slice: Slice<'_>, lots: &[Registered<'_>]) -> Result<(), ApplyError> {
    let mut attributes = Vec::with_capacity(lots.len());
    for lot in lots {
        attributes.push(serde_json::to_string(lot.lot.attributes)?);
    }
    let who = lots.iter().map(|lot| lot.event.envelope.attributes.actor.as_str());
    let decided = lots.iter().map(|lot| lot.event.envelope.attributes.time.to_utc());
    sqlx::query!(
        "INSERT INTO read.lots (tenant, id, site, code, lot_type, product, quantity, unit, remaining_base, temperature_c, supplier_lot,
            expires_on, location, expired, transformation_id, attributes, qc_status, actor, occurred_at, decided_at, version, partition, changed_offset,
            generation)
         SELECT $1, id, site, code, lot_type, product, quantity, unit, remaining_base, temperature_c, supplier_lot, expires_on,
            location, expired, transformation_id, attributes::JSONB, qc_status, actor, occurred_at, decided_at, version, $2,
            changed_offset, $22
         FROM UNNEST($3::UUID[], $4::TEXT[], $5::TEXT[], $6::TEXT[], $7::TEXT[], $8::NUMERIC[], $9::TEXT[], $10::NUMERIC[],
            $11::NUMERIC[], $12::TEXT[], $13::DATE[], $14::TEXT[], $15::TEXT[], $16::TEXT[], $17::TEXT[], $18::TIMESTAMPTZ[],
            $19::TIMESTAMPTZ[], $20::BIGINT[], $21::BIGINT[], $23::BOOLEAN[], $24::UUID[])
            AS u (id, site, code, lot_type, product, quantity, unit, remaining_base, temperature_c, supplier_lot, expires_on,
                location, attributes, qc_status, actor, occurred_at, decided_at, version, changed_offset, expired, transformation_id)",
        slice.tenant,
        slice.partition,
        &lots.iter().map(|lot| lot.lot.lot_id.0).collect::<Vec<_>>(),
        &lots.iter().map(|lot| lot.event.stream()).collect::<Vec<_>>() as _,
        &lots.iter().map(|lot| lot.lot.code).collect::<Vec<_>>() as _,
        &lots.iter().map(|lot| lot.lot.lot_type.as_str()).collect::<Vec<_>>() as _,
        &lots.iter().map(|lot| lot.lot.product).collect::<Vec<_>>() as _,
        &lots.iter().map(|lot| lot.lot.quantity.value()).collect::<Vec<_>>(),
        &lots.iter().map(|lot| lot.lot.quantity.unit().code()).collect::<Vec<_>>() as _,
        &lots.iter().map(Registered::remaining_base).collect::<Vec<_>>(),
        &lots.iter().map(|lot| lot.lot.temperature_c).collect::<Vec<_>>() as _,
        &lots.iter().map(|lot| lot.lot.supplier_lot).collect::<Vec<_>>() as _,
        &lots.iter().map(|lot| lot.lot.expires_on).collect::<Vec<_>>() as _,
        &lots.iter().map(Registered::location).collect::<Vec<_>>() as _,
        &attributes,
        &lots.iter().map(|lot| lot.after.qc.map(QcOutcome::as_str)).collect::<Vec<_>>() as _,
        &who.collect::<Vec<_>>() as _,
        &lots.iter().map(|lot| lot.occurred_at).collect::<Vec<_>>(),
        &decided.collect::<Vec<_>>(),
        &lots.iter().map(|lot| lot.after.version).collect::<Vec<_>>(),
        &lots.iter().map(|lot| lot.after.offset).collect::<Vec<_>>(),
        slice.generation,
        &lots.iter().map(|lot| lot.after.expired).collect::<Vec<_>>(),
        &lots.iter().map(|lot| lot.lot.transformation_id.map(|id| id.0)).collect::<Vec<_>>() as _,
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn update(
    db: &mut PgConnection,
    slice: Slice<'_>,
    touched: &HashMap<Uuid, Touched<'_>>,
) -> Result<(), ApplyError> {
    if touched.is_empty() {
        return Ok(());
    }
    // A row is fetched by its place. The plan is made for each batch, since one made for a small table reads all of it to find the places.
    let updated = sqlx::query!(
        "UPDATE read.lots AS lot SET remaining_base = TRIM_SCALE(lot.remaining_base - u.used), qc_status = COALESCE(u.qc_status, lot.qc_status),
            location = COALESCE(u.location, lot.location), expired = lot.expired OR u.expired, version = u.version,
            changed_offset = u.changed_offset
         FROM UNNEST($2::UUID[], $3::NUMERIC[], $4::TEXT[], $5::BIGINT[], $6::BIGINT[], $8::TEXT[], $9::BOOLEAN[])
            AS u (id, used, qc_status, version, changed_offset, location, expired) CROSS JOIN LATERAL (
            SELECT ctid AS place FROM read.lots
            WHERE id = u.id AND generation = $7 AND tenant || '' = $1 LIMIT 1) AS found
         WHERE lot.ctid = found.place",
        slice.tenant,
        &touched.keys().copied().collect::<Vec<_>>(),
        &touched.values().map(|lot| lot.used).collect::<Vec<_>>(),
        &touched.values().map(|lot| lot.qc.map(QcOutcome::as_str)).collect::<Vec<_>>() as _,
        &touched.values().map(|lot| lot.version).collect::<Vec<_>>(),
        &touched.values().map(|lot| lot.offset).collect::<Vec<_>>(),
        slice.generation,
        &touched.values().map(|lot| lot.location).collect::<Vec<_>>() as _,
        &touched.values().map(|lot| lot.expired).collect::<Vec<_>>(),
    )
    .persistent(false)
    .execute(db)
    .await?
    .rows_affected();
    if updated == touched.len() as u64 {
        Ok(())
    } else {
        let missing = touched.len() as u64 - updated;
        Err(ApplyError::Inconsistent(format!("{missing} lots that the events name are not in the table")))
    }
}

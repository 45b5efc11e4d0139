//! Declarations of signals: number, unit, type and address. Their values are in [`crate::samples`].

use chrono::{DateTime, Utc};
use lotline_domain::event::Event;
use lotline_domain::id::TenantId;
use lotline_domain::record::Offset;
use lotline_domain::signal::Address;
use rust_decimal::Decimal;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use crate::batch::Slice;
use crate::failure::ApplyError;
use crate::page::{Page, limit};

/// A signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalRow {
    /// Where.
    pub site: String,
    /// Stands for it in batches; dense per site, from 1.
    pub number: i32,
    /// Unique in the site.
    pub name: String,
    /// What it tells.
    pub description: Option<String>,
    /// UCUM code.
    pub unit: String,
    /// `DataType::as_str`.
    pub data_type: String,
    /// The machine.
    pub device: String,
    /// Where the machine keeps it.
    pub address: Json<Address>,
    /// value = raw × scale + value_offset.
    pub scale: Decimal,
    /// See `scale`.
    pub value_offset: Decimal,
    /// Who declared it.
    pub actor: String,
    /// When, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// Sequence of the declaration.
    pub version: i64,
    /// Partition of its stream.
    pub partition: i32,
    /// Offset of the declaration.
    pub changed_offset: Offset,
}

/// Which signals; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignalFilter {
    /// Of one site.
    pub site: Option<String>,
    /// Of any of these sites.
    pub sites: Option<Vec<String>>,
    /// Of one machine.
    pub device: Option<String>,
}

/// Names a signal in a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignalKey {
    /// Where.
    pub site: String,
    /// Its number there.
    pub number: i32,
}

macro_rules! select {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            SignalRow,
            "SELECT site, number, name, description, unit, data_type, device, address AS \"address: Json<Address>\", scale,
                value_offset, actor, occurred_at, decided_at, version, partition, changed_offset
             FROM read.signals WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'signals' AND live.state = 'live') AND " + $rest,
            $($argument),*
        )
    };
}

/// A signal by its name in a site.
pub async fn find_by_name(
    pool: &PgPool,
    tenant: &TenantId,
    site: &str,
    name: &str,
) -> Result<Option<SignalRow>, sqlx::Error> {
    select!("site = $2 AND name = $3", tenant.as_str(), site, name).fetch_optional(pool).await
}

/// The signals among `keys` that exist, in no order.
pub async fn by_keys(pool: &PgPool, tenant: &TenantId, keys: &[SignalKey]) -> Result<Vec<SignalRow>, sqlx::Error> {
    let (sites, numbers) = key_columns(keys);
    select!(
        "(site, number) IN (SELECT site, number FROM UNNEST($2::TEXT[], $3::INTEGER[]) AS u (site, number))",
        tenant.as_str(),
        &sites as _,
        &numbers
    )
    .fetch_all(pool)
    .await
}

/// Signals by site and number.
pub async fn list(
    pool: &PgPool,
    tenant: &TenantId,
    filter: &SignalFilter,
    page: &Page<SignalKey>,
) -> Result<Vec<SignalRow>, sqlx::Error> {
    let after = page.after.as_ref();
    select!(
        "($2::TEXT IS NULL OR (site, number) > ($2, $3::INTEGER)) AND ($4::TEXT IS NULL OR site = $4)
            AND ($5::TEXT IS NULL OR device = $5) AND ($6::TEXT[] IS NULL OR site = ANY($6))
         ORDER BY site, number LIMIT $7",
        tenant.as_str(),
        after.map(|key| key.site.as_str()),
        after.map(|key| key.number),
        filter.site.as_deref(),
        filter.device.as_deref(),
        filter.sites.as_deref(),
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// Signals whose declarations stand at `from` or later, in order. `from` is a position's next offset.
pub async fn changed_since(
    pool: &PgPool,
    tenant: &TenantId,
    partition: u32,
    from: Offset,
    rows: u32,
) -> Result<Vec<SignalRow>, sqlx::Error> {
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

pub(crate) fn key_columns(keys: &[SignalKey]) -> (Vec<&str>, Vec<i32>) {
    keys.iter().map(|key| (key.site.as_str(), key.number)).unzip()
}

pub(crate) fn concerns(event: &Event) -> bool {
    match event {
        Event::SignalDeclared(_) => true,
        Event::LotRegistered(_)
        | Event::QcDecisionRecorded(_)
        | Event::PipelineDrafted(_)
        | Event::PipelineRevised(_)
        | Event::PipelinePublished(_)
        | Event::PipelineArchived(_)
        | Event::ProjectionRetried(_)
        | Event::ProjectionEventSkipped(_)
        | Event::Master(_)
        | Event::Lot(_)
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
    let mut declared = Vec::new();
    let mut numbers = Vec::new();
    let mut addresses = Vec::new();
    for (event, fact) in slice.facts() {
        let Event::SignalDeclared(data) = &fact.event else { continue };
        let number = i32::try_from(data.number)
            .map_err(|_| ApplyError::Inconsistent(format!("signal number {} is out of range", data.number)))?;
        numbers.push(number);
        addresses.push(serde_json::to_string(&data.address)?);
        declared.push((event, fact, data));
    }
    if declared.is_empty() {
        return Ok(());
    }
    let who = declared.iter().map(|(event, _, _)| event.envelope.attributes.actor.as_str());
    let decided = declared.iter().map(|(event, _, _)| event.envelope.attributes.time.to_utc());
    sqlx::query!(
        "INSERT INTO read.signals (tenant, site, number, name, description, unit, data_type, device, address, scale, value_offset,
            actor, occurred_at, decided_at, version, partition, changed_offset, generation)
         SELECT $1, site, number, name, description, unit, data_type, device, address::JSONB, scale, value_offset, actor, occurred_at,
            decided_at, version, $2, changed_offset, $18
         FROM UNNEST($3::TEXT[], $4::INTEGER[], $5::TEXT[], $6::TEXT[], $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[],
            $11::NUMERIC[], $12::NUMERIC[], $13::TEXT[], $14::TIMESTAMPTZ[], $15::TIMESTAMPTZ[], $16::BIGINT[], $17::BIGINT[])
            AS u (site, number, name, description, unit, data_type, device, address, scale, value_offset, actor, occurred_at,
                decided_at, version, changed_offset)",
        slice.tenant,
        slice.partition,
        &declared.iter().map(|(event, _, _)| event.stream()).collect::<Vec<_>>() as _,
        &numbers,
        &declared.iter().map(|(_, _, data)| data.name.as_str()).collect::<Vec<_>>() as _,
        &declared.iter().map(|(_, _, data)| data.description.as_deref()).collect::<Vec<_>>() as _,
        &declared.iter().map(|(_, _, data)| data.unit.as_str()).collect::<Vec<_>>() as _,
        &declared.iter().map(|(_, _, data)| data.data_type.as_str()).collect::<Vec<_>>() as _,
        &declared.iter().map(|(_, _, data)| data.device.as_str()).collect::<Vec<_>>() as _,
        &addresses,
        &declared.iter().map(|(_, _, data)| data.scale).collect::<Vec<_>>(),
        &declared.iter().map(|(_, _, data)| data.offset).collect::<Vec<_>>(),
        &who.collect::<Vec<_>>() as _,
        &declared.iter().map(|(_, fact, _)| fact.occurred_at.to_utc()).collect::<Vec<_>>(),
        &decided.collect::<Vec<_>>(),
        &declared.iter().map(|(event, _, _)| event.sequence()).collect::<Vec<_>>(),
        &declared.iter().map(|(event, _, _)| event.offset).collect::<Vec<_>>(),
        slice.generation,
    )
    .execute(db)
    .await?;
    Ok(())
}

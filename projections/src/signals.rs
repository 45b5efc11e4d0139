//! Declarations of signals: number, unit, type and address. Their values are in [`crate::samples`].

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::record::Offset;
use lotline_domain::signal::Address;
use rust_decimal::Decimal;
use sqlx::PgPool;
use sqlx::types::Json;

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
             FROM read.signals " + $rest,
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
    select!("WHERE tenant = $1 AND site = $2 AND name = $3", tenant.as_str(), site, name).fetch_optional(pool).await
}

/// The signals among `keys` that exist, in no order.
pub async fn by_keys(pool: &PgPool, tenant: &TenantId, keys: &[SignalKey]) -> Result<Vec<SignalRow>, sqlx::Error> {
    let (sites, numbers) = key_columns(keys);
    select!(
        "WHERE tenant = $1 AND (site, number) IN (SELECT site, number FROM UNNEST($2::TEXT[], $3::INTEGER[]) AS u (site, number))",
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
        "WHERE tenant = $1 AND ($2::TEXT IS NULL OR (site, number) > ($2, $3::INTEGER)) AND ($4::TEXT IS NULL OR site = $4)
            AND ($5::TEXT IS NULL OR device = $5)
         ORDER BY site, number LIMIT $6",
        tenant.as_str(),
        after.map(|key| key.site.as_str()),
        after.map(|key| key.number),
        filter.site.as_deref(),
        filter.device.as_deref(),
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
        "WHERE tenant = $1 AND partition = $2 AND changed_offset >= $3
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

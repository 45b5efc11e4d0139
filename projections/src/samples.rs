//! Values of signals: the latest of each, and a plain history.

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::record::Offset;
use lotline_domain::sample::Quality;
use sqlx::PgPool;

use crate::page::limit;
use crate::signals::{SignalKey, key_columns};

/// A value at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRow {
    /// Where.
    pub site: String,
    /// Number of the signal there.
    pub number: i32,
    /// When the source produced it.
    pub source_time: DateTime<Utc>,
    /// The engineering value; nothing where the source gave no number.
    pub value: Option<f64>,
    /// OPC UA StatusCode, see [`SampleRow::quality`].
    pub quality: i64,
    /// Partition of the batch.
    pub partition: i32,
    /// Offset of the batch.
    pub log_offset: Offset,
}

/// The newest value of a signal.
pub type LatestRow = SampleRow;

impl SampleRow {
    /// The quality as the domain knows it.
    pub fn quality(&self) -> Quality {
        Quality(u32::try_from(self.quality).unwrap_or(u32::MAX))
    }
}

/// A stretch of time, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// First time that belongs to it.
    pub from: DateTime<Utc>,
    /// First time that does not.
    pub until: DateTime<Utc>,
}

/// The newest value of each of the signals that has one, in no order.
pub async fn latest(pool: &PgPool, tenant: &TenantId, keys: &[SignalKey]) -> Result<Vec<LatestRow>, sqlx::Error> {
    let (sites, numbers) = key_columns(keys);
    sqlx::query_as!(
        LatestRow,
        "SELECT site, number, source_time, value, quality, partition, log_offset FROM read.signal_latest
         WHERE tenant = $1 AND (site, number) IN (SELECT site, number FROM UNNEST($2::TEXT[], $3::INTEGER[]) AS u (site, number))",
        tenant.as_str(),
        &sites as _,
        &numbers
    )
    .fetch_all(pool)
    .await
}

/// Values of one signal, the oldest first. To page, ask again from just after the last time that came.
pub async fn history(
    pool: &PgPool,
    tenant: &TenantId,
    key: &SignalKey,
    range: TimeRange,
    rows: u32,
) -> Result<Vec<SampleRow>, sqlx::Error> {
    sqlx::query_as!(
        SampleRow,
        "SELECT site, number, source_time, value, quality, partition, log_offset FROM read.signal_history
         WHERE tenant = $1 AND site = $2 AND number = $3 AND source_time >= $4 AND source_time < $5
         ORDER BY source_time LIMIT $6",
        tenant.as_str(),
        key.site,
        key.number,
        range.from,
        range.until,
        limit(rows)
    )
    .fetch_all(pool)
    .await
}

/// Values from batches at `from` or later, in order of the batches. `from` is a position's next offset.
/// Gives all values of the last batch, so more than `rows` may come.
pub async fn samples_since(
    pool: &PgPool,
    tenant: &TenantId,
    partition: u32,
    from: Offset,
    rows: u32,
) -> Result<Vec<SampleRow>, sqlx::Error> {
    sqlx::query_as!(
        SampleRow,
        "SELECT site, number, source_time, value, quality, partition, log_offset FROM read.signal_history
         WHERE tenant = $1 AND partition = $2 AND log_offset >= $3
         ORDER BY log_offset FETCH FIRST ($4::BIGINT) ROWS WITH TIES",
        tenant.as_str(),
        partition as i32,
        from,
        limit(rows)
    )
    .fetch_all(pool)
    .await
}

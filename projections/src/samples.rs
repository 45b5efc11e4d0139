//! Values of signals: the latest of each, and a plain history.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::record::{Offset, StoredRecord};
use lotline_domain::sample::{Quality, SignalBatch, codec};
use lotline_domain::timestamp::Timestamp;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use self::interval::IntervalSet;
use crate::failure::{ApplyError, full_text};
use crate::offsets::Place;
use crate::page::limit;
use crate::signals::{SignalKey, key_columns};

mod interval;

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
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'samples' AND live.state = 'live')
            AND (site, number) IN (SELECT site, number FROM UNNEST($2::TEXT[], $3::INTEGER[]) AS u (site, number))",
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
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'samples' AND live.state = 'live')
            AND site = $2 AND number = $3 AND source_time >= $4 AND source_time < $5
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
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'samples' AND live.state = 'live')
            AND partition = $2 AND log_offset >= $3
         ORDER BY log_offset FETCH FIRST ($4::BIGINT) ROWS WITH TIES",
        tenant.as_str(),
        partition as i32,
        from,
        limit(rows)
    )
    .fetch_all(pool)
    .await
}

/// A record of the signals topic.
#[derive(Debug)]
pub(crate) struct SignalRecord {
    pub(crate) offset: Offset,
    pub(crate) key: String,
    /// The batch, or why it is none.
    pub(crate) batch: Result<SignalBatch, String>,
}

/// Why a batch is set aside whose samples claim a time at which they can't have been measured.
const ABSURD_TIME: &str = "a sample's time is absurd";
/// How far a source's clock may be ahead of its collector's. One sample of the year 9999 would be the latest value for ever.
const MAX_AHEAD_US: i64 = 24 * 3_600 * 1_000_000;
/// 1970-01-01 to 2200-01-01: there is no sample from before there were clocks that count so, and a collector's clock may be wrong too.
const TIMES_US: Range<i64> = 0..7_258_118_400_000_000;

/// A collector and one life of its buffer.
type Life = (String, Uuid);

/// Which batches of a partition have been counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(HashMap<Life, IntervalSet>);

/// Where rows go: a partition's part of one generation.
#[derive(Clone, Copy)]
pub(crate) struct Shelf<'a> {
    pub(crate) place: &'a Place,
    pub(crate) generation: i32,
}

/// What applying did not put into the tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) duplicates: usize,
    pub(crate) rejected: usize,
}

/// Samples of one site, in the order of the log.
#[derive(Default)]
struct Columns {
    numbers: Vec<i32>,
    times: Vec<DateTime<Utc>>,
    values: Vec<Option<f64>>,
    qualities: Vec<i64>,
    offsets: Vec<Offset>,
}

impl SignalRecord {
    pub(crate) fn read(tenant: &TenantId, stored: &StoredRecord) -> Self {
        let batch = codec::from_record(tenant, &stored.record).map_err(|error| full_text(&error)).and_then(|batch| {
            let fits = i64::try_from(batch.sequence).is_ok()
                && batch.signals.iter().all(|number| i32::try_from(*number).is_ok());
            if fits { Ok(batch) } else { Err("a sequence or signal number is out of range".to_owned()) }
        });
        Self { offset: stored.offset, key: stored.record.key.clone(), batch }
    }

    /// Why the samples do not count, be they counted already or not.
    pub(crate) fn complaint(&self) -> Option<&str> {
        match &self.batch {
            Err(error) => Some(error),
            Ok(batch) if is_absurd(batch) => Some(ABSURD_TIME),
            Ok(_) => None,
        }
    }
}

fn is_absurd(batch: &SignalBatch) -> bool {
    let latest = batch.collected_at.plus_micros(MAX_AHEAD_US);
    let fits = |time: &Timestamp| TIMES_US.contains(&time.micros()) && *time <= latest;
    !batch.source_times.iter().all(fits)
}

impl Seen {
    pub(crate) async fn load(pool: &PgPool, place: &Place, generation: i32) -> Result<Self, sqlx::Error> {
        let rows = sqlx::query!(
            "SELECT collector, epoch, starts, ends FROM read.signal_seen
             WHERE tenant = $1 AND generation = $4 AND topic = $2 AND partition = $3",
            place.tenant.as_str(),
            place.topic,
            place.partition as i32,
            generation
        )
        .fetch_all(pool)
        .await?;
        let lives =
            rows.into_iter().map(|row| ((row.collector, row.epoch), IntervalSet::resume(&row.starts, &row.ends)));
        Ok(Self(lives.collect()))
    }

    /// Takes over what a committed transaction has counted.
    pub(crate) fn merge(&mut self, newer: Self) {
        self.0.extend(newer.0);
    }

    /// Counts a batch in `newer`, a layer above this; `false` when it was counted before.
    fn count(&self, newer: &mut Self, batch: &SignalBatch) -> bool {
        let life = (batch.collector.as_str().to_owned(), batch.epoch);
        let set = newer.0.entry(life).or_insert_with_key(|life| self.0.get(life).cloned().unwrap_or_default());
        set.insert(batch.sequence as i64)
    }
}

/// How many lives of collectors' buffers have batches that the live generation has counted and the building one has not.
pub(crate) async fn lost(db: &mut PgConnection, tenant: &TenantId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "WITH seen AS (
            SELECT found.state, seen.collector, seen.epoch, RANGE_AGG(INT8RANGE(u.first, u.last, '[]')) AS batches
            FROM read.signal_seen AS seen
            JOIN read.projection_generation AS found
                ON found.tenant = seen.tenant AND found.model = 'samples' AND found.generation = seen.generation
            CROSS JOIN LATERAL UNNEST(seen.starts, seen.ends) AS u (first, last)
            WHERE seen.tenant = $1 GROUP BY found.state, seen.collector, seen.epoch
         )
         SELECT COUNT(*) AS \"lives!\" FROM seen AS live
         LEFT JOIN seen AS built ON built.state = 'building' AND (built.collector, built.epoch) = (live.collector, live.epoch)
         WHERE live.state = 'live' AND NOT live.batches <@ COALESCE(built.batches, '{}'::INT8MULTIRANGE)",
        tenant.as_str()
    )
    .fetch_one(db)
    .await
}

/// Applies records and gives the lives that changed, for [`Seen::merge`] after the commit.
pub(crate) async fn apply(
    db: &mut PgConnection,
    shelf: Shelf<'_>,
    records: &[SignalRecord],
    seen: &Seen,
) -> Result<(Seen, Dropped), ApplyError> {
    let mut newer = Seen::default();
    let mut dropped = Dropped::default();
    let mut sites: BTreeMap<&str, Columns> = BTreeMap::new();
    let mut rejected: Vec<(&SignalRecord, &str)> = Vec::new();
    for record in records {
        match &record.batch {
            // What is absurd is counted as well: it is no gap in what the collector sent.
            Ok(batch) if seen.count(&mut newer, batch) => match record.complaint() {
                Some(complaint) => rejected.push((record, complaint)),
                None => sites.entry(batch.site.as_str()).or_default().extend(record.offset, batch),
            },
            Ok(_) => dropped.duplicates += 1,
            Err(error) => rejected.push((record, error)),
        }
    }
    dropped.rejected = rejected.len();
    for (site, columns) in &sites {
        insert_history(db, shelf, site, columns).await?;
        upsert_latest(db, shelf, site, columns).await?;
    }
    save_seen(db, shelf, &newer).await?;
    save_rejected(db, shelf, &rejected).await?;
    Ok((newer, dropped))
}

impl Columns {
    fn extend(&mut self, offset: Offset, batch: &SignalBatch) {
        self.numbers.extend(batch.signals.iter().map(|number| *number as i32));
        self.times.extend(batch.source_times.iter().map(|time| time.to_utc()));
        self.values.extend(batch.values.iter().map(|value| value.is_finite().then_some(*value)));
        self.qualities.extend(batch.qualities.iter().map(|quality| i64::from(quality.0)));
        self.offsets.resize(self.numbers.len(), offset);
    }

    /// The newest sample of each signal; of equally old ones the first.
    fn newest(&self) -> Self {
        let mut newest: HashMap<i32, usize> = HashMap::new();
        for (index, number) in self.numbers.iter().enumerate() {
            let best = newest.entry(*number).or_insert(index);
            if self.times[index] > self.times[*best] {
                *best = index;
            }
        }
        let mut columns = Self::default();
        for index in newest.into_values() {
            columns.numbers.push(self.numbers[index]);
            columns.times.push(self.times[index]);
            columns.values.push(self.values[index]);
            columns.qualities.push(self.qualities[index]);
            columns.offsets.push(self.offsets[index]);
        }
        columns
    }
}

async fn insert_history(
    db: &mut PgConnection,
    shelf: Shelf<'_>,
    site: &str,
    columns: &Columns,
) -> Result<(), ApplyError> {
    sqlx::query!(
        "INSERT INTO read.signal_history (tenant, site, number, source_time, value, quality, partition, log_offset, generation)
         SELECT $1, $2, number, source_time, value, quality, $3, log_offset, $9
         FROM UNNEST($4::INTEGER[], $5::TIMESTAMPTZ[], $6::DOUBLE PRECISION[], $7::BIGINT[], $8::BIGINT[])
            AS u (number, source_time, value, quality, log_offset)
         ON CONFLICT (tenant, generation, site, number, source_time) DO NOTHING",
        shelf.place.tenant.as_str(),
        site,
        shelf.place.partition as i32,
        &columns.numbers,
        &columns.times,
        &columns.values as _,
        &columns.qualities,
        &columns.offsets,
        shelf.generation
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn upsert_latest(
    db: &mut PgConnection,
    shelf: Shelf<'_>,
    site: &str,
    columns: &Columns,
) -> Result<(), ApplyError> {
    let newest = columns.newest();
    sqlx::query!(
        "INSERT INTO read.signal_latest AS latest (tenant, site, number, source_time, value, quality, partition, log_offset, generation)
         SELECT $1, $2, number, source_time, value, quality, $3, log_offset, $9
         FROM UNNEST($4::INTEGER[], $5::TIMESTAMPTZ[], $6::DOUBLE PRECISION[], $7::BIGINT[], $8::BIGINT[])
            AS u (number, source_time, value, quality, log_offset)
         ON CONFLICT (tenant, generation, site, number) DO UPDATE SET source_time = EXCLUDED.source_time, value = EXCLUDED.value,
            quality = EXCLUDED.quality, partition = EXCLUDED.partition, log_offset = EXCLUDED.log_offset
         WHERE EXCLUDED.source_time > latest.source_time",
        shelf.place.tenant.as_str(),
        site,
        shelf.place.partition as i32,
        &newest.numbers,
        &newest.times,
        &newest.values as _,
        &newest.qualities,
        &newest.offsets,
        shelf.generation
    )
    .execute(db)
    .await?;
    Ok(())
}

/// One statement per life: an array of arrays of different lengths is not a thing PostgreSQL has, and a batch touches few lives.
async fn save_seen(db: &mut PgConnection, shelf: Shelf<'_>, seen: &Seen) -> Result<(), ApplyError> {
    for ((collector, epoch), set) in &seen.0 {
        let (starts, ends) = set.columns();
        sqlx::query!(
            "INSERT INTO read.signal_seen (tenant, topic, partition, collector, epoch, starts, ends, generation)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (tenant, generation, topic, partition, collector, epoch)
             DO UPDATE SET starts = EXCLUDED.starts, ends = EXCLUDED.ends",
            shelf.place.tenant.as_str(),
            shelf.place.topic,
            shelf.place.partition as i32,
            collector,
            epoch,
            &starts,
            &ends,
            shelf.generation
        )
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

async fn save_rejected(
    db: &mut PgConnection,
    shelf: Shelf<'_>,
    rejected: &[(&SignalRecord, &str)],
) -> Result<(), ApplyError> {
    if rejected.is_empty() {
        return Ok(());
    }
    // A foreign record's key is of any content and length; the table takes no NUL.
    let keys =
        rejected.iter().map(|(record, _)| record.key.chars().take(64).collect::<String>().replace('\0', "\u{fffd}"));
    sqlx::query!(
        "INSERT INTO read.signal_reject (tenant, topic, partition, log_offset, collector, error, generation)
         SELECT $1, $2, $3, log_offset, collector, error, $7 FROM UNNEST($4::BIGINT[], $5::TEXT[], $6::TEXT[])
            AS u (log_offset, collector, error)
         ON CONFLICT (tenant, generation, topic, partition, log_offset) DO NOTHING",
        shelf.place.tenant.as_str(),
        shelf.place.topic,
        shelf.place.partition as i32,
        &rejected.iter().map(|(record, _)| record.offset).collect::<Vec<_>>(),
        &keys.collect::<Vec<_>>(),
        &rejected.iter().map(|(_, error)| *error).collect::<Vec<_>>() as _,
        shelf.generation
    )
    .execute(db)
    .await?;
    Ok(())
}

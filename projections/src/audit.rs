//! The audit trail: every event, refusals too, with who, what, when, why, and what changed from what to what.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use lotline_domain::envelope::Attributes;
use lotline_domain::event::Fact;
use lotline_domain::id::TenantId;
use lotline_domain::lot::LotRegistered;
use lotline_domain::record::Offset;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use self::changes::{Entry, State, States, needed};
use crate::batch::{LedgerEvent, Slice};
use crate::copy::{COPY_FROM, Rows};
use crate::failure::ApplyError;
use crate::page::{Page, limit};

mod changes;

const LOT_REGISTERED: &str = "lotline.lot.registered.v1";

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// `ce_id`.
    pub id: Uuid,
    /// Site id, or `_tenant`.
    pub stream: String,
    /// Place in the stream, from 1.
    pub sequence: i64,
    /// `ce_type`.
    pub event_type: String,
    /// What it is about, `kind/id`.
    pub subject: String,
    /// Who.
    pub actor: String,
    /// When it happened in the world.
    pub occurred_at: DateTime<Utc>,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Ties together what one request caused.
    pub correlation_id: Uuid,
    /// Id of the command.
    pub causation_id: Uuid,
    /// Partition of the stream.
    pub partition: i32,
    /// Offset of the event.
    pub log_offset: Offset,
    /// The event's data.
    pub data: Value,
    /// `{field: {"before": …, "after": …}}`; before is null where something came into being. Fields of other things that the event
    /// changed too are named `kind/id.field`.
    pub changes: Value,
}

/// Which events; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of one stream.
    pub stream: Option<String>,
    /// About one thing.
    pub subject: Option<String>,
    /// By one actor.
    pub actor: Option<String>,
    /// Of one type.
    pub event_type: Option<String>,
    /// Caused by one request.
    pub correlation_id: Option<Uuid>,
    /// Decided at this time or later.
    pub decided_from: Option<DateTime<Utc>>,
    /// Decided before this time.
    pub decided_until: Option<DateTime<Utc>>,
}

/// Place of an event in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditKey {
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// Partition of its stream.
    pub partition: i32,
    /// Offset in the partition.
    pub log_offset: Offset,
}

impl AuditRow {
    /// Its place in the list.
    pub fn key(&self) -> AuditKey {
        AuditKey { decided_at: self.decided_at, partition: self.partition, log_offset: self.log_offset }
    }
}

macro_rules! select {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            AuditRow,
            "SELECT id, stream, sequence, event_type, subject, actor, occurred_at, decided_at, reason, correlation_id, causation_id,
                partition, log_offset, data, changes
             FROM read.audit WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'audit' AND live.state = 'live') AND " + $rest,
            $($argument),*
        )
    };
}

/// An event by id.
pub async fn find(pool: &PgPool, tenant: &TenantId, id: Uuid) -> Result<Option<AuditRow>, sqlx::Error> {
    select!("id = $2", tenant.as_str(), id).fetch_optional(pool).await
}

/// The events among `ids` that exist, in no order.
pub async fn by_ids(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Vec<AuditRow>, sqlx::Error> {
    select!("id = ANY($2)", tenant.as_str(), ids).fetch_all(pool).await
}

/// Events, the last decided first; events of one stream are always in its order.
pub async fn list(
    pool: &PgPool,
    tenant: &TenantId,
    filter: &AuditFilter,
    page: &Page<AuditKey>,
) -> Result<Vec<AuditRow>, sqlx::Error> {
    let after = page.after.as_ref();
    select!(
        "($2::TIMESTAMPTZ IS NULL OR (decided_at, partition, log_offset) < ($2, $3::INTEGER, $4::BIGINT))
            AND ($5::TEXT IS NULL OR stream = $5) AND ($6::TEXT IS NULL OR subject = $6)
            AND ($7::TEXT IS NULL OR actor = $7) AND ($8::TEXT IS NULL OR event_type = $8)
            AND ($9::UUID IS NULL OR correlation_id = $9)
            AND ($10::TIMESTAMPTZ IS NULL OR decided_at >= $10) AND ($11::TIMESTAMPTZ IS NULL OR decided_at < $11)
         ORDER BY decided_at DESC, partition DESC, log_offset DESC LIMIT $12",
        tenant.as_str(),
        after.map(|key| key.decided_at),
        after.map(|key| key.partition),
        after.map(|key| key.log_offset),
        filter.stream.as_deref(),
        filter.subject.as_deref(),
        filter.actor.as_deref(),
        filter.event_type.as_deref(),
        filter.correlation_id,
        filter.decided_from,
        filter.decided_until,
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// Events at `from` or later, in order. `from` is a position's next offset.
pub async fn changed_since(
    pool: &PgPool,
    tenant: &TenantId,
    partition: u32,
    from: Offset,
    rows: u32,
) -> Result<Vec<AuditRow>, sqlx::Error> {
    select!(
        "partition = $2 AND log_offset >= $3 ORDER BY log_offset LIMIT $4",
        tenant.as_str(),
        partition as i32,
        from,
        limit(rows)
    )
    .fetch_all(pool)
    .await
}

/// An event on its way into the table.
struct NewRow<'a> {
    event: &'a LedgerEvent,
    fact: &'a Fact,
    entry: Entry<'a>,
}

impl<'a> NewRow<'a> {
    fn attributes(&self) -> &'a Attributes {
        &self.event.envelope.attributes
    }
}

pub(crate) async fn apply(db: &mut PgConnection, slice: Slice<'_>) -> Result<(), ApplyError> {
    let mut states = load_states(db, slice).await?;
    let mut rows = Vec::new();
    for (event, fact) in slice.facts() {
        rows.push(NewRow { event, fact, entry: states.record(event, fact)? });
    }
    match rows.len() {
        0 => return Ok(()),
        1..COPY_FROM => insert(db, slice, &rows).await?,
        COPY_FROM.. => copy(db, slice, &rows).await?,
    }
    save_states(db, slice, &states).await
}

async fn copy(db: &mut PgConnection, slice: Slice<'_>, rows: &[NewRow<'_>]) -> Result<(), ApplyError> {
    let mut copied = Rows::new(17);
    for row in rows {
        let attributes = row.attributes();
        copied
            .row()
            .field(slice.tenant)?
            .field(attributes.id.0)?
            .field(row.event.stream())?
            .field(row.event.sequence())?
            .field(&*attributes.event_type)?
            .field(attributes.subject.as_str())?
            .field(attributes.actor.as_str())?
            .field(row.fact.occurred_at.to_utc())?
            .field(attributes.time.to_utc())?
            .field(row.fact.reason.as_deref())?
            .field(attributes.correlation_id.0)?
            .field(attributes.causation_id.0)?
            .field(slice.partition)?
            .field(row.event.offset)?
            .field(row.entry.data)?
            .field(row.entry.changes.as_str())?
            .field(slice.generation)?;
    }
    copied
        .send(
            db,
            "COPY read.audit (tenant, id, stream, sequence, event_type, subject, actor, occurred_at, decided_at, reason,
                correlation_id, causation_id, partition, log_offset, data, changes, generation) FROM STDIN BINARY",
        )
        .await
}

async fn insert(db: &mut PgConnection, slice: Slice<'_>, rows: &[NewRow<'_>]) -> Result<(), ApplyError> {
    sqlx::query!(
        "INSERT INTO read.audit (tenant, id, stream, sequence, event_type, subject, actor, occurred_at, decided_at, reason,
            correlation_id, causation_id, partition, log_offset, data, changes, generation)
         SELECT $1, id, stream, sequence, event_type, subject, actor, occurred_at, decided_at, reason, correlation_id, causation_id,
            $2, log_offset, data::JSON, changes::JSON, $17
         FROM UNNEST($3::UUID[], $4::TEXT[], $5::BIGINT[], $6::TEXT[], $7::TEXT[], $8::TEXT[], $9::TIMESTAMPTZ[],
            $10::TIMESTAMPTZ[], $11::TEXT[], $12::UUID[], $13::UUID[], $14::BIGINT[], $15::TEXT[], $16::TEXT[])
            AS u (id, stream, sequence, event_type, subject, actor, occurred_at, decided_at, reason, correlation_id, causation_id,
                log_offset, data, changes)",
        slice.tenant,
        slice.partition,
        &rows.iter().map(|row| row.attributes().id.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event.stream()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.event.sequence()).collect::<Vec<_>>(),
        &rows.iter().map(|row| &*row.attributes().event_type).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.attributes().subject.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.attributes().actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.fact.occurred_at.to_utc()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.attributes().time.to_utc()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.fact.reason.as_deref()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.attributes().correlation_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.attributes().causation_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event.offset).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.entry.data).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.entry.changes.as_str()).collect::<Vec<_>>() as _,
        slice.generation,
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn load_states(db: &mut PgConnection, slice: Slice<'_>) -> Result<States, ApplyError> {
    let subjects = needed(slice);
    if subjects.is_empty() {
        return Ok(States::default());
    }
    let rows = sqlx::query!(
        "SELECT found.subject, found.state AS \"state!\" FROM UNNEST($2::TEXT[]) AS wanted (subject) CROSS JOIN LATERAL (
            SELECT subject, state::TEXT FROM read.audit_state
            WHERE subject = wanted.subject AND generation = $3 AND tenant || '' = $1 LIMIT 1) AS found",
        slice.tenant,
        &subjects,
        slice.generation
    )
    .fetch_all(&mut *db)
    .await?;
    let mut known: HashMap<String, State> = HashMap::with_capacity(subjects.len());
    for row in rows {
        known.insert(row.subject, serde_json::from_str(&row.state)?);
    }
    let unchanged: Vec<String> = subjects.into_iter().filter(|subject| !known.contains_key(subject)).collect();
    if !unchanged.is_empty() {
        load_registrations(db, slice, &unchanged, &mut known).await?;
    }
    Ok(States::resume(known))
}

/// Lots that no event has changed since they were registered have no state of their own: it is in the registration.
async fn load_registrations(
    db: &mut PgConnection,
    slice: Slice<'_>,
    subjects: &[String],
    known: &mut HashMap<String, State>,
) -> Result<(), ApplyError> {
    let rows = sqlx::query!(
        "SELECT found.subject, found.data AS \"data!\" FROM UNNEST($2::TEXT[]) AS wanted (subject) CROSS JOIN LATERAL (
            SELECT subject, data::TEXT FROM read.audit
            WHERE subject = wanted.subject AND event_type = $3 AND generation = $4 AND tenant || '' = $1 LIMIT 1) AS found",
        slice.tenant,
        subjects,
        LOT_REGISTERED,
        slice.generation
    )
    .fetch_all(db)
    .await?;
    for row in rows {
        let data: LotRegistered = serde_json::from_str(&row.data)?;
        known.insert(row.subject, State::registered(&data));
    }
    Ok(())
}

async fn save_states(db: &mut PgConnection, slice: Slice<'_>, states: &States) -> Result<(), ApplyError> {
    let mut subjects = Vec::new();
    let mut texts = Vec::new();
    for (subject, state) in states.changed() {
        subjects.push(subject);
        texts.push(serde_json::to_string(state)?);
    }
    if subjects.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO read.audit_state (tenant, subject, state, generation)
         SELECT $1, subject, state::JSON, $4 FROM UNNEST($2::TEXT[], $3::TEXT[]) AS u (subject, state)
         ON CONFLICT (tenant, generation, subject) DO UPDATE SET state = EXCLUDED.state",
        slice.tenant,
        &subjects as _,
        &texts,
        slice.generation
    )
    .execute(db)
    .await?;
    Ok(())
}

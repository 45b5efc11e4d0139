//! Quality decisions, each as it was taken. [`alerts`] are of the same model.

use chrono::{DateTime, Utc};
use lotline_domain::event::Event;
use lotline_domain::id::TenantId;
use lotline_domain::personal::Personal;
use lotline_domain::qc::{ChecklistAnswer, Measurement};
use lotline_domain::record::Offset;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::alerts;
use crate::batch::Slice;
use crate::failure::ApplyError;
use crate::page::{Page, limit};

/// A decision.
#[derive(Debug, Clone, PartialEq)]
pub struct QcDecisionRow {
    /// `QcDecisionId`.
    pub id: Uuid,
    /// Where.
    pub site: String,
    /// The lot it judges.
    pub lot_id: Uuid,
    /// The gate.
    pub gate: String,
    /// `QcOutcome::as_str`.
    pub outcome: String,
    /// What was measured.
    pub measurements: Json<Vec<Measurement>>,
    /// What was asked and answered.
    pub checklist: Json<Vec<ChecklistAnswer>>,
    /// Free text, encrypted.
    pub notes: Option<Json<Personal>>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Who decided.
    pub actor: String,
    /// When, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When it was recorded.
    pub decided_at: DateTime<Utc>,
    /// Sequence in the stream.
    pub sequence: i64,
    /// Partition of the stream.
    pub partition: i32,
    /// Offset of the event.
    pub log_offset: Offset,
}

/// Which decisions; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QcDecisionFilter {
    /// Of one site.
    pub site: Option<String>,
    /// Of any of these sites.
    pub sites: Option<Vec<String>>,
    /// On one lot.
    pub lot_id: Option<Uuid>,
    /// At one gate.
    pub gate: Option<String>,
    /// With this verdict, `QcOutcome::as_str`.
    pub outcome: Option<String>,
}

macro_rules! select {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            QcDecisionRow,
            "SELECT id, site, lot_id, gate, outcome, measurements AS \"measurements: Json<Vec<Measurement>>\",
                checklist AS \"checklist: Json<Vec<ChecklistAnswer>>\", notes AS \"notes: Json<Personal>\", reason, actor,
                occurred_at, decided_at, sequence, partition, log_offset
             FROM read.qc_decisions WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'qc_decisions' AND live.state = 'live') AND " + $rest,
            $($argument),*
        )
    };
}

/// A decision by id.
pub async fn find(pool: &PgPool, tenant: &TenantId, id: Uuid) -> Result<Option<QcDecisionRow>, sqlx::Error> {
    select!("id = $2", tenant.as_str(), id).fetch_optional(pool).await
}

/// The decisions among `ids` that exist, in no order.
pub async fn by_ids(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Vec<QcDecisionRow>, sqlx::Error> {
    select!("id = ANY($2)", tenant.as_str(), ids).fetch_all(pool).await
}

/// The decisions on each of the lots, the last one first, at most `per_lot` for each.
pub async fn by_lots(
    pool: &PgPool,
    tenant: &TenantId,
    lots: &[Uuid],
    per_lot: u32,
) -> Result<Vec<QcDecisionRow>, sqlx::Error> {
    select!(
        "id IN (
            SELECT newest.id FROM UNNEST($2::UUID[]) AS asked (lot_id)
            CROSS JOIN LATERAL (
                SELECT decision.id FROM read.qc_decisions AS decision
                WHERE decision.tenant = $1 AND decision.generation = (SELECT live.generation FROM read.projection_generation AS live
                        WHERE live.tenant = $1 AND live.model = 'qc_decisions' AND live.state = 'live')
                    AND decision.lot_id = asked.lot_id ORDER BY decision.sequence DESC LIMIT $3
            ) AS newest
         ) ORDER BY lot_id, sequence DESC",
        tenant.as_str(),
        lots,
        limit(per_lot)
    )
    .fetch_all(pool)
    .await
}

/// Decisions, the newest id first.
pub async fn list(
    pool: &PgPool,
    tenant: &TenantId,
    filter: &QcDecisionFilter,
    page: &Page<Uuid>,
) -> Result<Vec<QcDecisionRow>, sqlx::Error> {
    select!(
        "($2::UUID IS NULL OR id < $2) AND ($3::TEXT IS NULL OR site = $3)
            AND ($4::UUID IS NULL OR lot_id = $4) AND ($5::TEXT IS NULL OR gate = $5)
            AND ($6::TEXT IS NULL OR outcome = $6) AND ($7::TEXT[] IS NULL OR site = ANY($7))
         ORDER BY id DESC LIMIT $8",
        tenant.as_str(),
        page.after,
        filter.site.as_deref(),
        filter.lot_id,
        filter.gate.as_deref(),
        filter.outcome.as_deref(),
        filter.sites.as_deref(),
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// Decisions whose events stand at `from` or later, in order. `from` is a position's next offset.
pub async fn changed_since(
    pool: &PgPool,
    tenant: &TenantId,
    partition: u32,
    from: Offset,
    rows: u32,
) -> Result<Vec<QcDecisionRow>, sqlx::Error> {
    select!(
        "partition = $2 AND log_offset >= $3
         ORDER BY log_offset FETCH FIRST ($4::BIGINT) ROWS WITH TIES",
        tenant.as_str(),
        partition as i32,
        from,
        limit(rows)
    )
    .fetch_all(pool)
    .await
}

pub(crate) fn concerns(event: &Event) -> bool {
    match event {
        Event::QcDecisionRecorded(_) | Event::Alert(_) => true,
        Event::LotRegistered(_)
        | Event::PipelineDrafted(_)
        | Event::PipelineRevised(_)
        | Event::PipelinePublished(_)
        | Event::PipelineArchived(_)
        | Event::SignalDeclared(_)
        | Event::ProjectionRetried(_)
        | Event::ProjectionEventSkipped(_)
        | Event::Master(_)
        | Event::Lot(_)
        | Event::Access(_)
        | Event::Trail(_)
        | Event::Scenario(_)
        | Event::Run(_)
        | Event::Hold(_)
        | Event::CommandRefused(_)
        | Event::RefusalsSuppressed(_) => false,
    }
}

/// Decisions, and the alerts that they raised.
pub(crate) async fn apply(db: &mut PgConnection, slice: Slice<'_>) -> Result<(), ApplyError> {
    alerts::apply(db, slice).await?;
    let mut decisions = Vec::new();
    let (mut measurements, mut checklists, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (event, fact) in slice.facts() {
        let Event::QcDecisionRecorded(data) = &fact.event else { continue };
        measurements.push(serde_json::to_string(&data.measurements)?);
        checklists.push(serde_json::to_string(&data.checklist)?);
        notes.push(data.notes.as_ref().map(serde_json::to_string).transpose()?);
        decisions.push((event, fact, data));
    }
    if decisions.is_empty() {
        return Ok(());
    }
    let who = decisions.iter().map(|(event, _, _)| event.envelope.attributes.actor.as_str());
    let decided = decisions.iter().map(|(event, _, _)| event.envelope.attributes.time.to_utc());
    sqlx::query!(
        "INSERT INTO read.qc_decisions (tenant, id, site, lot_id, gate, outcome, measurements, checklist, notes, reason, actor,
            occurred_at, decided_at, sequence, partition, log_offset, generation)
         SELECT $1, id, site, lot_id, gate, outcome, measurements::JSONB, checklist::JSONB, notes::JSONB, reason, actor, occurred_at,
            decided_at, sequence, $2, log_offset, $17
         FROM UNNEST($3::UUID[], $4::TEXT[], $5::UUID[], $6::TEXT[], $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[],
            $11::TEXT[], $12::TEXT[], $13::TIMESTAMPTZ[], $14::TIMESTAMPTZ[], $15::BIGINT[], $16::BIGINT[])
            AS u (id, site, lot_id, gate, outcome, measurements, checklist, notes, reason, actor, occurred_at, decided_at, sequence,
                log_offset)",
        slice.tenant,
        slice.partition,
        &decisions.iter().map(|(_, _, data)| data.decision_id.0).collect::<Vec<_>>(),
        &decisions.iter().map(|(event, _, _)| event.stream()).collect::<Vec<_>>() as _,
        &decisions.iter().map(|(_, _, data)| data.lot_id.0).collect::<Vec<_>>(),
        &decisions.iter().map(|(_, _, data)| data.gate.as_str()).collect::<Vec<_>>() as _,
        &decisions.iter().map(|(_, _, data)| data.outcome.as_str()).collect::<Vec<_>>() as _,
        &measurements,
        &checklists,
        &notes as _,
        &decisions.iter().map(|(_, fact, _)| fact.reason.as_deref()).collect::<Vec<_>>() as _,
        &who.collect::<Vec<_>>() as _,
        &decisions.iter().map(|(_, fact, _)| fact.occurred_at.to_utc()).collect::<Vec<_>>(),
        &decided.collect::<Vec<_>>(),
        &decisions.iter().map(|(event, _, _)| event.sequence()).collect::<Vec<_>>(),
        &decisions.iter().map(|(event, _, _)| event.offset).collect::<Vec<_>>(),
        slice.generation,
    )
    .execute(db)
    .await?;
    Ok(())
}

//! Pipelines as they are now, and each version as it was published.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lotline_domain::event::{Event, Fact};
use lotline_domain::id::{PipelineId, TenantId};
use lotline_domain::pipeline::{Definition, PipelineDrafted, PipelinePublished};
use lotline_domain::record::Offset;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::batch::{LedgerEvent, Slice};
use crate::failure::ApplyError;
use crate::page::{Page, limit};

/// A pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineRow {
    /// `PipelineId`.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The draft.
    pub draft: Json<Definition>,
    /// SHA-256 of the draft, hex.
    pub draft_hash: String,
    /// Number of the newest version; nothing before the first.
    pub published_version: Option<i32>,
    /// SHA-256 of that version's definition, hex.
    pub published_hash: Option<String>,
    /// Whether it is retired.
    pub archived: bool,
    /// Who began it.
    pub actor: String,
    /// When it was begun, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When its first draft was decided.
    pub decided_at: DateTime<Utc>,
    /// When its last event was decided.
    pub changed_at: DateTime<Utc>,
    /// Sequence of the last event that touched it: what `expected_version` is compared with.
    pub version: i64,
    /// Partition of its stream.
    pub partition: i32,
    /// Offset of the last event that touched it.
    pub changed_offset: Offset,
}

impl PipelineRow {
    /// Whether the draft differs from the newest version.
    pub fn has_unpublished_changes(&self) -> bool {
        self.published_hash.as_ref() != Some(&self.draft_hash)
    }
}

/// A published version; it never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// The pipeline.
    pub pipeline_id: Uuid,
    /// Counts 1, 2, 3, …
    pub version: i32,
    /// The pipeline's name at the time.
    pub name: String,
    /// What was published.
    pub definition: Json<Definition>,
    /// Its SHA-256, hex.
    pub definition_hash: String,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Who published it.
    pub actor: String,
    /// When, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// Sequence of the event.
    pub sequence: i64,
}

/// Which pipelines; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PipelineFilter {
    /// Any of these.
    pub ids: Option<Vec<Uuid>>,
    /// With exactly this name.
    pub name: Option<String>,
    /// Retired or not.
    pub archived: Option<bool>,
    /// With at least one version, or with none.
    pub published: Option<bool>,
}

macro_rules! rows {
    ($whose:tt, $rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            PipelineRow,
            "SELECT id, name, draft AS \"draft: Json<Definition>\", draft_hash, published_version, published_hash, archived, actor,
                occurred_at, decided_at, changed_at, version, partition, changed_offset
             FROM read.pipelines WHERE " + $whose + $rest,
            $($argument),*
        )
    };
}

macro_rules! select {
    ($rest:tt, $($argument:expr),*) => {
        rows!(
            "tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'pipelines' AND live.state = 'live') AND ",
            $rest,
            $($argument),*
        )
    };
}

macro_rules! select_versions {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            VersionRow,
            "SELECT pipeline_id, version, name, definition AS \"definition: Json<Definition>\", definition_hash, reason, actor,
                occurred_at, decided_at, sequence
             FROM read.pipeline_versions AS shown WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'pipelines' AND live.state = 'live') AND " + $rest,
            $($argument),*
        )
    };
}

/// A pipeline by id.
pub async fn find(pool: &PgPool, tenant: &TenantId, id: Uuid) -> Result<Option<PipelineRow>, sqlx::Error> {
    select!("id = $2", tenant.as_str(), id).fetch_optional(pool).await
}

/// The pipelines among `ids` that exist, in no order.
pub async fn by_ids(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Vec<PipelineRow>, sqlx::Error> {
    select!("id = ANY($2)", tenant.as_str(), ids).fetch_all(pool).await
}

/// Pipelines, the newest id first.
pub async fn list(
    pool: &PgPool,
    tenant: &TenantId,
    filter: &PipelineFilter,
    page: &Page<Uuid>,
) -> Result<Vec<PipelineRow>, sqlx::Error> {
    select!(
        "($2::UUID IS NULL OR id < $2) AND ($3::TEXT IS NULL OR name = $3)
            AND ($4::BOOLEAN IS NULL OR archived = $4)
            AND ($5::BOOLEAN IS NULL OR (published_version IS NOT NULL) = $5)
            AND ($6::UUID[] IS NULL OR id = ANY($6))
         ORDER BY id DESC LIMIT $7",
        tenant.as_str(),
        page.after,
        filter.name.as_deref(),
        filter.archived,
        filter.published,
        filter.ids.as_deref(),
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// Pipelines touched by events at `from` or later, as they are now, in order of the last change. `from` is a position's next offset.
pub async fn changed_since(
    pool: &PgPool,
    tenant: &TenantId,
    partition: u32,
    from: Offset,
    rows: u32,
) -> Result<Vec<PipelineRow>, sqlx::Error> {
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

/// One version of a pipeline.
pub async fn version(
    pool: &PgPool,
    tenant: &TenantId,
    pipeline: Uuid,
    version: u32,
) -> Result<Option<VersionRow>, sqlx::Error> {
    select_versions!(
        "pipeline_id = $2 AND version = $3",
        tenant.as_str(),
        pipeline,
        i32::try_from(version).unwrap_or(i32::MAX)
    )
    .fetch_optional(pool)
    .await
}

/// The versions of each of the pipelines, the newest first, at most `per_pipeline` for each.
pub async fn versions_of(
    pool: &PgPool,
    tenant: &TenantId,
    pipelines: &[Uuid],
    per_pipeline: u32,
) -> Result<Vec<VersionRow>, sqlx::Error> {
    // Versions count up by one, so the newest so many of a pipeline are those above its newest number less so many.
    select_versions!(
        "pipeline_id = ANY($2)
            AND version > (
                SELECT MAX(newest.version) FROM read.pipeline_versions AS newest
                WHERE newest.tenant = $1 AND newest.generation = shown.generation AND newest.pipeline_id = shown.pipeline_id
            ) - $3
         ORDER BY pipeline_id, version DESC",
        tenant.as_str(),
        pipelines,
        limit(per_pipeline) as i32
    )
    .fetch_all(pool)
    .await
}

/// The pipeline that an event touches.
fn touched(event: &Event) -> Option<PipelineId> {
    match event {
        Event::PipelineDrafted(data) => Some(data.pipeline_id),
        Event::PipelineRevised(data) => Some(data.pipeline_id),
        Event::PipelinePublished(data) => Some(data.pipeline_id),
        Event::PipelineArchived(data) => Some(data.pipeline_id),
        Event::LotRegistered(_)
        | Event::QcDecisionRecorded(_)
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
        | Event::RefusalsSuppressed(_) => None,
    }
}

pub(crate) fn concerns(event: &Event) -> bool {
    touched(event).is_some()
}

pub(crate) async fn apply(db: &mut PgConnection, slice: Slice<'_>) -> Result<(), ApplyError> {
    let ids: Vec<Uuid> = slice.facts().filter_map(|(_, fact)| touched(&fact.event)).map(|id| id.0).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let before =
        rows!("tenant || '' = $1 AND generation = $2 AND ", "id = ANY($3)", slice.tenant, slice.generation, &ids)
            .fetch_all(&mut *db)
            .await?;
    let mut pipelines: BTreeMap<Uuid, PipelineRow> = before.into_iter().map(|row| (row.id, row)).collect();
    let mut versions = Vec::new();
    for (event, fact) in slice.facts() {
        evolve(&mut pipelines, &mut versions, slice.partition, event, fact)?;
    }
    write_pipelines(db, slice, pipelines.into_values().collect()).await?;
    write_versions(db, slice, &versions).await
}

fn evolve(
    pipelines: &mut BTreeMap<Uuid, PipelineRow>,
    versions: &mut Vec<VersionRow>,
    partition: i32,
    event: &LedgerEvent,
    fact: &Fact,
) -> Result<(), ApplyError> {
    let decided_at = event.envelope.attributes.time.to_utc();
    let Some(id) = touched(&fact.event) else { return Ok(()) };
    if let Event::PipelineDrafted(data) = &fact.event {
        let row = drafted(data, partition, event, fact);
        return match pipelines.insert(id.0, row) {
            None => Ok(()),
            Some(_) => Err(ApplyError::Inconsistent(format!("pipeline {id} is drafted a second time"))),
        };
    }
    let row = pipelines
        .get_mut(&id.0)
        .ok_or_else(|| ApplyError::Inconsistent(format!("pipeline {id} is not in the table")))?;
    match &fact.event {
        Event::PipelineRevised(data) => {
            row.name.clone_from(&data.name);
            row.draft_hash = data.definition.hash().to_string();
            row.draft = Json(data.definition.clone());
        }
        Event::PipelinePublished(data) => {
            let version = published(row, data, event, fact)?;
            (row.published_version, row.published_hash) =
                (Some(version.version), Some(version.definition_hash.clone()));
            versions.push(version);
        }
        Event::PipelineArchived(_) => row.archived = true,
        Event::PipelineDrafted(_)
        | Event::LotRegistered(_)
        | Event::QcDecisionRecorded(_)
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
        | Event::RefusalsSuppressed(_) => {}
    }
    row.changed_at = decided_at;
    row.version = event.sequence();
    row.changed_offset = event.offset;
    Ok(())
}

/// The draft as a version.
fn published(
    row: &PipelineRow,
    data: &PipelinePublished,
    event: &LedgerEvent,
    fact: &Fact,
) -> Result<VersionRow, ApplyError> {
    let (attributes, hash) = (&event.envelope.attributes, data.definition_hash.to_string());
    if hash != row.draft_hash {
        let (found, id) = (&row.draft_hash, row.id);
        return Err(ApplyError::Inconsistent(format!("draft {found} of pipeline {id} was published as {hash}")));
    }
    let version = i32::try_from(data.version)
        .map_err(|_| ApplyError::Inconsistent(format!("version {} is out of range", data.version)))?;
    Ok(VersionRow {
        pipeline_id: row.id,
        version,
        name: row.name.clone(),
        definition: row.draft.clone(),
        definition_hash: hash,
        reason: fact.reason.clone(),
        actor: attributes.actor.to_string(),
        occurred_at: fact.occurred_at.to_utc(),
        decided_at: attributes.time.to_utc(),
        sequence: event.sequence(),
    })
}

fn drafted(data: &PipelineDrafted, partition: i32, event: &LedgerEvent, fact: &Fact) -> PipelineRow {
    let attributes = &event.envelope.attributes;
    let decided_at = attributes.time.to_utc();
    PipelineRow {
        id: data.pipeline_id.0,
        name: data.name.clone(),
        draft: Json(data.definition.clone()),
        draft_hash: data.definition.hash().to_string(),
        published_version: None,
        published_hash: None,
        archived: false,
        actor: attributes.actor.to_string(),
        occurred_at: fact.occurred_at.to_utc(),
        decided_at,
        changed_at: decided_at,
        version: event.sequence(),
        partition,
        changed_offset: event.offset,
    }
}

async fn write_pipelines(db: &mut PgConnection, slice: Slice<'_>, rows: Vec<PipelineRow>) -> Result<(), ApplyError> {
    let mut drafts = Vec::with_capacity(rows.len());
    for row in &rows {
        drafts.push(serde_json::to_string(&row.draft)?);
    }
    sqlx::query!(
        "INSERT INTO read.pipelines (tenant, id, name, draft, draft_hash, published_version, published_hash, archived, actor,
            occurred_at, decided_at, changed_at, version, partition, changed_offset, generation)
         SELECT $1, id, name, draft::JSON, draft_hash, published_version, published_hash, archived, actor, occurred_at, decided_at,
            changed_at, version, partition, changed_offset, $16
         FROM UNNEST($2::UUID[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::INTEGER[], $7::TEXT[], $8::BOOLEAN[], $9::TEXT[],
            $10::TIMESTAMPTZ[], $11::TIMESTAMPTZ[], $12::TIMESTAMPTZ[], $13::BIGINT[], $14::INTEGER[], $15::BIGINT[])
            AS u (id, name, draft, draft_hash, published_version, published_hash, archived, actor, occurred_at, decided_at,
                changed_at, version, partition, changed_offset)
         ON CONFLICT (tenant, generation, id) DO UPDATE SET name = EXCLUDED.name, draft = EXCLUDED.draft, draft_hash = EXCLUDED.draft_hash,
            published_version = EXCLUDED.published_version, published_hash = EXCLUDED.published_hash,
            archived = EXCLUDED.archived, changed_at = EXCLUDED.changed_at, version = EXCLUDED.version,
            changed_offset = EXCLUDED.changed_offset",
        slice.tenant,
        &rows.iter().map(|row| row.id).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>() as _,
        &drafts,
        &rows.iter().map(|row| row.draft_hash.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.published_version).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.published_hash.as_deref()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.archived).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.decided_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.changed_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.version).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.partition).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.changed_offset).collect::<Vec<_>>(),
        slice.generation,
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn write_versions(db: &mut PgConnection, slice: Slice<'_>, rows: &[VersionRow]) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut definitions = Vec::with_capacity(rows.len());
    for row in rows {
        definitions.push(serde_json::to_string(&row.definition)?);
    }
    sqlx::query!(
        "INSERT INTO read.pipeline_versions (tenant, pipeline_id, version, name, definition, definition_hash, reason, actor,
            occurred_at, decided_at, sequence, generation)
         SELECT $1, pipeline_id, version, name, definition::JSON, definition_hash, reason, actor, occurred_at, decided_at, sequence, $12
         FROM UNNEST($2::UUID[], $3::INTEGER[], $4::TEXT[], $5::TEXT[], $6::TEXT[], $7::TEXT[], $8::TEXT[], $9::TIMESTAMPTZ[],
            $10::TIMESTAMPTZ[], $11::BIGINT[])
            AS u (pipeline_id, version, name, definition, definition_hash, reason, actor, occurred_at, decided_at, sequence)",
        slice.tenant,
        &rows.iter().map(|row| row.pipeline_id).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.version).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>() as _,
        &definitions,
        &rows.iter().map(|row| row.definition_hash.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.reason.as_deref()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.decided_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.sequence).collect::<Vec<_>>(),
        slice.generation,
    )
    .execute(db)
    .await?;
    Ok(())
}

//! Pipelines as they are now, and each version as it was published.

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::pipeline::Definition;
use lotline_domain::record::Offset;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

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
    /// With exactly this name.
    pub name: Option<String>,
    /// Retired or not.
    pub archived: Option<bool>,
    /// With at least one version, or with none.
    pub published: Option<bool>,
}

macro_rules! select {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            PipelineRow,
            "SELECT id, name, draft AS \"draft: Json<Definition>\", draft_hash, published_version, published_hash, archived, actor,
                occurred_at, decided_at, changed_at, version, partition, changed_offset
             FROM read.pipelines " + $rest,
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
             FROM read.pipeline_versions " + $rest,
            $($argument),*
        )
    };
}

/// A pipeline by id.
pub async fn find(pool: &PgPool, tenant: &TenantId, id: Uuid) -> Result<Option<PipelineRow>, sqlx::Error> {
    select!("WHERE tenant = $1 AND id = $2", tenant.as_str(), id).fetch_optional(pool).await
}

/// The pipelines among `ids` that exist, in no order.
pub async fn by_ids(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Vec<PipelineRow>, sqlx::Error> {
    select!("WHERE tenant = $1 AND id = ANY($2)", tenant.as_str(), ids).fetch_all(pool).await
}

/// Pipelines, the newest id first.
pub async fn list(
    pool: &PgPool,
    tenant: &TenantId,
    filter: &PipelineFilter,
    page: &Page<Uuid>,
) -> Result<Vec<PipelineRow>, sqlx::Error> {
    select!(
        "WHERE tenant = $1 AND ($2::UUID IS NULL OR id < $2) AND ($3::TEXT IS NULL OR name = $3)
            AND ($4::BOOLEAN IS NULL OR archived = $4)
            AND ($5::BOOLEAN IS NULL OR (published_version IS NOT NULL) = $5)
         ORDER BY id DESC LIMIT $6",
        tenant.as_str(),
        page.after,
        filter.name.as_deref(),
        filter.archived,
        filter.published,
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

/// One version of a pipeline.
pub async fn version(
    pool: &PgPool,
    tenant: &TenantId,
    pipeline: Uuid,
    version: u32,
) -> Result<Option<VersionRow>, sqlx::Error> {
    select_versions!(
        "WHERE tenant = $1 AND pipeline_id = $2 AND version = $3",
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
        "AS shown WHERE tenant = $1 AND pipeline_id = ANY($2)
            AND version > (
                SELECT MAX(newest.version) FROM read.pipeline_versions AS newest
                WHERE newest.tenant = $1 AND newest.pipeline_id = shown.pipeline_id
            ) - $3
         ORDER BY pipeline_id, version DESC",
        tenant.as_str(),
        pipelines,
        limit(per_pipeline) as i32
    )
    .fetch_all(pool)
    .await
}

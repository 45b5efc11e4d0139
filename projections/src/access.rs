//! Sites, users and their roles, API keys and grants on pipelines, as they are now.
//!
//! For people to look at. Nobody is let in by these tables: who may do what is decided on the fold of the tenant's stream
//! (`lotline_domain::access::state`), which is never behind its own log.

mod apply;

pub(crate) use apply::{apply, concerns};

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::personal::Personal;
use lotline_domain::record::Offset;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use crate::page::{Page, limit};

/// A registered plant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRow {
    /// `SiteId`.
    pub id: String,
    /// For people to read.
    pub name: String,
    /// Of the IANA database.
    pub time_zone: String,
    /// Who registered it.
    pub actor: String,
    /// When.
    pub decided_at: DateTime<Utc>,
    /// Sequence of the last event that touched it.
    pub version: i64,
    /// Partition of its stream.
    pub partition: i32,
    /// Offset of that event.
    pub changed_offset: Offset,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// `UserId`.
    pub id: Uuid,
    /// Encrypted under the person's key, in the place `access::command::name_context`.
    pub name: Json<Personal>,
    /// Likewise, in the place `access::command::email_context`.
    pub email: Json<Personal>,
    /// Whether the person may act.
    pub active: bool,
    /// Who made the person known.
    pub actor: String,
    /// When.
    pub decided_at: DateTime<Utc>,
    /// When the last event was decided, changes of roles among them.
    pub changed_at: DateTime<Utc>,
    /// Sequence of that event: what `expected_version` is compared with.
    pub version: i64,
    /// Partition of its stream.
    pub partition: i32,
    /// Offset of that event.
    pub changed_offset: Offset,
}

/// A person's roles in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipRow {
    /// The person.
    pub user_id: Uuid,
    /// `SiteId`; empty for everywhere.
    pub site: String,
    /// `Role::as_str`, in the order of the table of roles; at least one.
    pub roles: Vec<String>,
    /// Who said so last.
    pub actor: String,
    /// When.
    pub decided_at: DateTime<Utc>,
    /// Sequence of that event.
    pub sequence: i64,
}

/// A program's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// `ApiKeyId`.
    pub id: Uuid,
    /// What it is for.
    pub label: String,
    /// The public beginning of the key.
    pub prefix: String,
    /// `Role::as_str`; at least one.
    pub roles: Vec<String>,
    /// `SiteId`s; everywhere when empty.
    pub sites: Vec<String>,
    /// From then on it may do nothing.
    pub expires_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Who issued it.
    pub actor: String,
    /// When.
    pub decided_at: DateTime<Utc>,
    /// Sequence of the last event that touched it.
    pub version: i64,
    /// Partition of its stream.
    pub partition: i32,
    /// Offset of that event.
    pub changed_offset: Offset,
}

/// A person's rights on a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// The pipeline.
    pub pipeline_id: Uuid,
    /// The person.
    pub user_id: Uuid,
    /// `PipelineRight::as_str`; at least one.
    pub rights: Vec<String>,
    /// Who said so last.
    pub actor: String,
    /// When.
    pub decided_at: DateTime<Utc>,
    /// Sequence of that event.
    pub sequence: i64,
}

macro_rules! user_rows {
    ($whose:tt, $rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            crate::access::UserRow,
            "SELECT id, name AS \"name: Json<Personal>\", email AS \"email: Json<Personal>\", active, actor, decided_at, changed_at,
                version, partition, changed_offset
             FROM read.access_users WHERE " + $whose + $rest,
            $($argument),*
        )
    };
}

macro_rules! key_rows {
    ($whose:tt, $rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            crate::access::KeyRow,
            "SELECT id, label, prefix, roles, sites, expires_at, revoked_at, actor, decided_at, version, partition, changed_offset
             FROM read.access_keys WHERE " + $whose + $rest,
            $($argument),*
        )
    };
}

macro_rules! live {
    ($rows:ident, $rest:tt, $($argument:expr),*) => {
        $rows!(
            "tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'access' AND live.state = 'live') AND ",
            $rest,
            $($argument),*
        )
    };
}

pub(crate) use {key_rows, user_rows};

/// A user by id.
pub async fn user(pool: &PgPool, tenant: &TenantId, id: Uuid) -> Result<Option<UserRow>, sqlx::Error> {
    live!(user_rows, "id = $2", tenant.as_str(), id).fetch_optional(pool).await
}

/// The users among `ids` that exist, in no order.
pub async fn users_by_ids(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Vec<UserRow>, sqlx::Error> {
    live!(user_rows, "id = ANY($2)", tenant.as_str(), ids).fetch_all(pool).await
}

/// Users, the newest id first; active or not when nothing is said.
pub async fn users(
    pool: &PgPool,
    tenant: &TenantId,
    active: Option<bool>,
    page: &Page<Uuid>,
) -> Result<Vec<UserRow>, sqlx::Error> {
    live!(
        user_rows,
        "($2::UUID IS NULL OR id < $2) AND ($3::BOOLEAN IS NULL OR active = $3) ORDER BY id DESC LIMIT $4",
        tenant.as_str(),
        page.after,
        active,
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// Users touched by events at `from` or later, as they are now, in order of the last change. `from` is a position's next offset.
pub async fn users_changed_since(
    pool: &PgPool,
    tenant: &TenantId,
    partition: u32,
    from: Offset,
    rows: u32,
) -> Result<Vec<UserRow>, sqlx::Error> {
    live!(
        user_rows,
        "partition = $2 AND changed_offset >= $3 ORDER BY changed_offset FETCH FIRST ($4::BIGINT) ROWS WITH TIES",
        tenant.as_str(),
        partition as i32,
        from,
        limit(rows)
    )
    .fetch_all(pool)
    .await
}

/// The roles of each of the users, everywhere first and then by site.
pub async fn memberships_of(
    pool: &PgPool,
    tenant: &TenantId,
    users: &[Uuid],
) -> Result<Vec<MembershipRow>, sqlx::Error> {
    sqlx::query_as!(
        MembershipRow,
        "SELECT user_id, site, roles, actor, decided_at, sequence FROM read.access_memberships
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'access' AND live.state = 'live')
            AND user_id = ANY($2) ORDER BY user_id, site",
        tenant.as_str(),
        users
    )
    .fetch_all(pool)
    .await
}

/// A key by id.
pub async fn key(pool: &PgPool, tenant: &TenantId, id: Uuid) -> Result<Option<KeyRow>, sqlx::Error> {
    live!(key_rows, "id = $2", tenant.as_str(), id).fetch_optional(pool).await
}

/// Keys, the newest id first; revoked or not when nothing is said.
pub async fn keys(
    pool: &PgPool,
    tenant: &TenantId,
    revoked: Option<bool>,
    page: &Page<Uuid>,
) -> Result<Vec<KeyRow>, sqlx::Error> {
    live!(
        key_rows,
        "($2::UUID IS NULL OR id < $2) AND ($3::BOOLEAN IS NULL OR (revoked_at IS NOT NULL) = $3) ORDER BY id DESC LIMIT $4",
        tenant.as_str(),
        page.after,
        revoked,
        page.limit()
    )
    .fetch_all(pool)
    .await
}

/// Sites by id.
pub async fn sites(pool: &PgPool, tenant: &TenantId, page: &Page<String>) -> Result<Vec<SiteRow>, sqlx::Error> {
    sqlx::query_as!(
        SiteRow,
        "SELECT id, name, time_zone, actor, decided_at, version, partition, changed_offset FROM read.access_sites
         WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'access' AND live.state = 'live')
            AND ($2::TEXT IS NULL OR id > $2) ORDER BY id LIMIT $3",
        tenant.as_str(),
        page.after.as_deref(),
        page.limit()
    )
    .fetch_all(pool)
    .await
}

macro_rules! grants {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            GrantRow,
            "SELECT pipeline_id, user_id, rights, actor, decided_at, sequence FROM read.access_grants
             WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = 'access' AND live.state = 'live') AND " + $rest,
            $($argument),*
        )
    };
}

/// Who has rights on each of the pipelines.
pub async fn grants_on(pool: &PgPool, tenant: &TenantId, pipelines: &[Uuid]) -> Result<Vec<GrantRow>, sqlx::Error> {
    grants!("pipeline_id = ANY($2) ORDER BY pipeline_id, user_id", tenant.as_str(), pipelines).fetch_all(pool).await
}

/// The pipelines on which each of the users has rights.
pub async fn grants_of(pool: &PgPool, tenant: &TenantId, users: &[Uuid]) -> Result<Vec<GrantRow>, sqlx::Error> {
    grants!("user_id = ANY($2) ORDER BY user_id, pipeline_id", tenant.as_str(), users).fetch_all(pool).await
}

//! Generations of a model's rows: one that readers see, at most one that a rebuild fills beside it, and those that nobody needs any more.
//!
//! Every row carries the number of its generation, and every reader asks for the live one in the same statement. So the swap changes two
//! rows of one small table and touches none that readers use: nothing to lock them out of, no plan that becomes invalid.
//!
//! Invariant: a model that a worker has looked at has exactly one live generation, and which one it is changes only in `swap`, in the
//! transaction that moves everything that depends on it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::record::Offset;
use sqlx::{Connection, PgConnection, PgPool};

use crate::model::Model;
use crate::progress::Announcement;

/// A rebuild goes on only with what its own version has begun: rows of two versions must not mix.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// First key of the session locks that running rebuilds hold, one per tenant and model; any constant that nothing else uses.
const REBUILD_LOCK: i32 = 0x6c6f_7462;

/// A partition and the offset at which a model stands in it.
pub(crate) type Stand = BTreeMap<(Model, u32), Offset>;

/// A generation that is not live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// The model.
    pub model: Model,
    /// Its number.
    pub generation: i32,
    /// Whether it is on its way to become live; else its rows wait to be deleted.
    pub building: bool,
    /// Whether a process is working on the model right now. A building generation that nobody works on has been abandoned.
    pub attended: bool,
    /// When it was begun.
    pub started_at: DateTime<Utc>,
}

pub(crate) fn names(models: &[Model]) -> Vec<&'static str> {
    models.iter().map(|model| model.name()).collect()
}

fn lock_name(tenant: &TenantId, model: Model) -> String {
    format!("{tenant}/{model}")
}

/// Makes the first generation of models that have none.
pub(crate) async fn ensure_live(pool: &PgPool, tenant: &TenantId, models: &[Model]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO read.projection_generation (tenant, model, generation, state, version)
         SELECT $1, model, 0, 'live', $3 FROM UNNEST($2::TEXT[]) AS u (model) ON CONFLICT DO NOTHING",
        tenant.as_str(),
        &names(models) as _,
        VERSION
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The generations of a tenant that are not live.
pub async fn idle(pool: &PgPool, tenant: &TenantId) -> Result<Vec<Idle>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT model, generation, state, started_at, EXISTS (
            SELECT 1 FROM pg_locks AS held
            WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 2 AND held.classid::BIGINT = $2
                AND held.database = (SELECT oid FROM pg_database WHERE datname = CURRENT_DATABASE())
                AND held.objid::BIGINT = (HASHTEXT($1 || '/' || model)::BIGINT & 4294967295)
         ) AS \"attended!\"
         FROM read.projection_generation WHERE tenant = $1 AND state <> 'live' ORDER BY model, generation",
        tenant.as_str(),
        i64::from(REBUILD_LOCK)
    )
    .fetch_all(pool)
    .await?;
    let known = rows.into_iter().filter_map(|row| {
        Some(Idle {
            model: Model::parse(&row.model)?,
            generation: row.generation,
            building: row.state == "building",
            attended: row.attended,
            started_at: row.started_at,
        })
    });
    Ok(known.collect())
}

/// Takes the lock of a model's rebuilds for the life of the connection; `false` when another process has it.
pub(crate) async fn lock(db: &mut PgConnection, tenant: &TenantId, model: Model) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT pg_try_advisory_lock($1, HASHTEXT($2)) AS \"free!\"",
        REBUILD_LOCK,
        lock_name(tenant, model)
    )
    .fetch_one(db)
    .await
}

/// Closes the connection that holds locks of rebuilds. PostgreSQL only gets to let go of what a closed one held a moment later, which would
/// make the next rebuild find it busy.
pub(crate) async fn unlock(mut db: PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_unlock_all()::TEXT AS done").fetch_one(&mut db).await?;
    db.close().await
}

/// Begins a generation of the model, or goes on with the one that was begun unless `restart`; whoever worked on it before is shut out.
/// Gives whether it goes on. The model's lock must be held.
pub(crate) async fn begin(
    db: &mut PgConnection,
    tenant: &TenantId,
    model: Model,
    restart: bool,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "UPDATE read.projection_generation SET state = 'retired'
         WHERE tenant = $1 AND model = $2 AND state = 'building' AND ($3 OR version <> $4)",
        tenant.as_str(),
        model.name(),
        restart,
        VERSION
    )
    .execute(&mut *db)
    .await?;
    let begun = sqlx::query_scalar!(
        "INSERT INTO read.projection_generation (tenant, model, generation, state, version)
         SELECT $1, $2, NEXTVAL('read.projection_generation_number')::INTEGER, 'building', $3 WHERE NOT EXISTS (
            SELECT 1 FROM read.projection_generation WHERE tenant = $1 AND model = $2 AND state = 'building'
         ) RETURNING generation",
        tenant.as_str(),
        model.name(),
        VERSION
    )
    .fetch_optional(&mut *db)
    .await?;
    if begun.is_some() {
        return Ok(false);
    }
    sqlx::query!(
        "UPDATE read.projection_offset AS place SET fence = fence + 1 FROM read.projection_generation AS found
         WHERE place.tenant = $1 AND place.model = $2 AND found.tenant = $1 AND found.model = $2
            AND found.generation = place.generation AND found.state = 'building'",
        tenant.as_str(),
        model.name()
    )
    .execute(db)
    .await?;
    Ok(true)
}

/// Gives up a generation that was begun. Its rows wait to be deleted.
pub(crate) async fn abandon(pool: &PgPool, tenant: &TenantId, models: &[Model]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE read.projection_generation SET state = 'retired' WHERE tenant = $1 AND model = ANY($2) AND state = 'building'",
        tenant.as_str(),
        &names(models) as _
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Where the models stand in one of their generations, and holds them there until the transaction ends.
pub(crate) async fn hold(
    db: &mut PgConnection,
    tenant: &TenantId,
    models: &[Model],
    stage: crate::offsets::Stage,
) -> Result<Stand, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT place.model, place.partition, place.next_offset
         FROM read.projection_offset AS place JOIN read.projection_generation AS found USING (tenant, model, generation)
         WHERE tenant = $1 AND model = ANY($2) AND found.state = $3
         ORDER BY place.model, place.partition FOR UPDATE OF place",
        tenant.as_str(),
        &names(models) as _,
        stage.as_str()
    )
    .fetch_all(db)
    .await?;
    let known =
        rows.into_iter().filter_map(|row| Some(((Model::parse(&row.model)?, row.partition as u32), row.next_offset)));
    Ok(known.collect())
}

/// Which generation of a model is live, and where it stands in each partition; nothing before a worker has looked at it.
pub(crate) async fn live(
    db: &mut PgConnection,
    tenant: &TenantId,
    model: Model,
) -> Result<Option<(i32, BTreeMap<u32, Offset>)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT found.generation, place.partition AS \"partition?\", place.next_offset AS \"next?\"
         FROM read.projection_generation AS found LEFT JOIN read.projection_offset AS place USING (tenant, model, generation)
         WHERE tenant = $1 AND model = $2 AND found.state = 'live'",
        tenant.as_str(),
        model.name()
    )
    .fetch_all(db)
    .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let stand = rows.iter().filter_map(|row| Some((u32::try_from(row.partition?).ok()?, row.next?)));
    Ok(Some((first.generation, stand.collect())))
}

/// Makes the building generations live. `stand` is where they stand; both generations' offsets must be [held](hold).
///
/// The fence moves, so who has filled the generation up to now can't write into it as the live one. What the old generation could not follow
/// or was told to leave out is forgotten: the new one has it all.
pub(crate) async fn swap(
    db: &mut PgConnection,
    tenant: &TenantId,
    models: &[Model],
    stand: &Stand,
) -> Result<(), sqlx::Error> {
    let names = names(models);
    for (from, to) in [("live", "retired"), ("building", "live")] {
        sqlx::query!(
            "UPDATE read.projection_generation SET state = $4 WHERE tenant = $1 AND model = ANY($2) AND state = $3",
            tenant.as_str(),
            &names as _,
            from,
            to
        )
        .execute(&mut *db)
        .await?;
    }
    sqlx::query!(
        "DELETE FROM read.projection_offset AS place USING read.projection_generation AS found
         WHERE place.tenant = $1 AND place.model = ANY($2) AND found.tenant = $1 AND found.model = place.model
            AND found.generation = place.generation AND found.state = 'retired'",
        tenant.as_str(),
        &names as _
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "UPDATE read.projection_offset SET fence = fence + 1 WHERE tenant = $1 AND model = ANY($2)",
        tenant.as_str(),
        &names as _
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "DELETE FROM read.projection_halt WHERE tenant = $1 AND model = ANY($2)",
        tenant.as_str(),
        &names as _
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "DELETE FROM read.projection_skip WHERE tenant = $1 AND model = ANY($2)",
        tenant.as_str(),
        &names as _
    )
    .execute(&mut *db)
    .await?;
    let told = stand.iter().map(|(&(model, partition), &next)| {
        Announcement { model, partition, next, tenant: tenant.to_string(), halt: true, traced: Vec::new() }.to_string()
    });
    sqlx::query!(
        "SELECT pg_notify('lotline_read', told)::TEXT AS told FROM UNNEST($1::TEXT[]) AS u (told)",
        &told.collect::<Vec<_>>()
    )
    .fetch_all(db)
    .await?;
    Ok(())
}

//! From events to PostgreSQL tables, and the queries over them.
//!
//! A [`worker`] follows one partition of a log and hands each batch to every read model that has not had it. A model applies a batch
//! and moves its offset in one transaction, so nothing is applied twice or half. [`progress`] tells waiters how far each model is.
//!
//! One file per read model: its rows, how a batch changes them, and the queries. All tables live in the schema `read`, can be rebuilt
//! from the log at any time, and carry the tenant. To add a read model: a migration, a file with rows, `apply` and queries, and a
//! variant of [`model::Model`].

use sqlx::{Connection, PgConnection, PgPool};
use thiserror::Error;

pub mod access;
pub mod alerts;
pub mod audit;
pub mod balance;
mod batch;
mod causes;
mod connection;
mod copy;
pub mod decisions;
mod failure;
pub mod genealogy;
pub mod generations;
pub mod graph;
mod halts;
pub mod holds;
pub mod lots;
pub mod master;
pub mod model;
mod offsets;
pub mod page;
pub mod pipelines;
pub mod progress;
pub mod qc_decisions;
pub mod rebuild;
pub mod receipts;
pub mod reset;
mod retired;
pub mod runs;
pub mod samples;
pub mod scenarios;
pub mod shipments;
pub mod signals;
pub mod stock_changes;
pub mod transformations;
pub mod worker;

/// The tables could not be brought to this version.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// PostgreSQL can't be reached or refused.
    #[error("the schema of the read models could not be prepared")]
    Database(#[from] sqlx::Error),
    /// A migration failed, or the database is of another version.
    #[error("a migration of the read models failed")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

/// Names the session lock under which the schema is made; any constant that nothing else uses.
const MIGRATION_LOCK: i64 = 0x6c6f_745f_7265_6164;

/// Brings the schema `read` to this version; its list of migrations lives in the same schema. Safe to call from several processes.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    // The connection leaves the pool, because its search path and lock must not be inherited by whoever comes next.
    let mut connection = pool.acquire().await?.detach();
    prepare(&mut connection).await?;
    sqlx::migrate!().run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_lock($1)").bind(MIGRATION_LOCK).execute(&mut *connection).await?;
    sqlx::query("CREATE SCHEMA IF NOT EXISTS read").execute(&mut *connection).await?;
    sqlx::query("SELECT set_config('search_path', 'read', false)").execute(connection).await?;
    Ok(())
}

//! Ties a database to the one log that it follows.
//!
//! Two logs can have the same topic name and the same events at other offsets, and one of them may be empty: a server that is pointed at the
//! wrong one would begin a second history. So the first server that uses a database writes down which kind of log it follows, and every later
//! one is held to it, before any writer is opened.

use sqlx::PgPool;
use thiserror::Error;

/// Why a database and a log do not belong together.
#[derive(Debug, Error)]
pub enum OriginError {
    /// The database follows another log.
    #[error(
        "this database follows the ledger '{topic}' in {found}, but log.kind is {wanted}. To move it, stop the server, set log.kind = \
         \"{found}\" and run `lotline log copy --to {wanted}`"
    )]
    Other {
        /// Topic of the ledger.
        topic: String,
        /// What is written down.
        found: String,
        /// What is configured.
        wanted: String,
    },
    /// PostgreSQL failed.
    #[error("what log this database follows can't be read")]
    Database(#[from] sqlx::Error),
}

/// Holds the database to the kind of log that it follows, and writes it down at the first time. Connect as the owner.
///
/// # Errors
/// [`OriginError`].
pub async fn claim(pool: &PgPool, topic: &str, kind: &str) -> Result<(), OriginError> {
    sqlx::query!("INSERT INTO log.origin (topic, kind) VALUES ($1, $2) ON CONFLICT (topic) DO NOTHING", topic, kind)
        .execute(pool)
        .await?;
    hold(pool, topic, kind).await
}

/// Holds the database to the kind of log that it follows, and writes nothing. A database that no server has used follows none yet.
///
/// # Errors
/// [`OriginError`].
pub async fn hold(pool: &PgPool, topic: &str, kind: &str) -> Result<(), OriginError> {
    let found = sqlx::query_scalar!("SELECT kind FROM log.origin WHERE topic = $1", topic).fetch_optional(pool).await?;
    match found {
        Some(found) if found != kind => {
            Err(OriginError::Other { topic: topic.to_owned(), found, wanted: kind.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}

/// Makes the database follow another log from now on, and forgets the snapshots, whose positions are of the old one. Connect as the owner.
///
/// # Errors
/// [`OriginError::Database`]; nothing has changed then.
pub async fn switch(pool: &PgPool, topic: &str, kind: &str) -> Result<(), OriginError> {
    let mut tx = pool.begin().await?;
    sqlx::query!("DELETE FROM log.snapshot WHERE topic = $1", topic).execute(&mut *tx).await?;
    sqlx::query!(
        "INSERT INTO log.origin (topic, kind) VALUES ($1, $2) ON CONFLICT (topic) DO UPDATE SET kind = EXCLUDED.kind",
        topic,
        kind,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

//! Ties a database to the one log that it follows.
//!
//! Two logs can have the same topic name and the same events at other offsets, and one of them may be empty: a server that is pointed at the
//! wrong one would begin a second history. So the first server that uses a database writes down which kind of log it follows, and every later
//! one is held to it, before any writer is opened.

use sqlx::{PgConnection, PgPool};
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
    /// A copy into another log was begun and neither finished nor given up.
    #[error(
        "the ledger '{topic}' is being moved from {from} to {to}. If no `lotline log copy` is at work, run it again with log.kind = \
         \"{from}\" to finish it, or `lotline log copy --to {to} --cancel` to stay where it was"
    )]
    Moving {
        /// Topic of the ledger.
        topic: String,
        /// Where it is.
        from: String,
        /// Where it is going.
        to: String,
    },
    /// Two copies at a time.
    #[error("another `lotline log copy` of '{topic}' is at work")]
    AtWork {
        /// Topic of the ledger.
        topic: String,
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
    let found = sqlx::query!("SELECT kind, moving_to FROM log.origin WHERE topic = $1", topic);
    let Some(found) = found.fetch_optional(pool).await? else { return Ok(()) };
    let topic = topic.to_owned();
    match found.moving_to {
        Some(to) => Err(OriginError::Moving { topic, from: found.kind, to }),
        None if found.kind != kind => Err(OriginError::Other { topic, found: found.kind, wanted: kind.to_owned() }),
        None => Ok(()),
    }
}

/// The right to move a ledger, held for as long as this lives: one copy at a time.
pub struct MoveLock {
    /// Holds the lock; when it closes, however that comes, the lock is free.
    _session: PgConnection,
    pool: PgPool,
    topic: String,
}

impl MoveLock {
    /// Takes it. Connect as the owner.
    ///
    /// # Errors
    /// [`OriginError::AtWork`] when another copy has it.
    pub async fn take(pool: &PgPool, topic: &str) -> Result<Self, OriginError> {
        let mut session = pool.acquire().await?.detach();
        let key = format!("lotline log copy {topic}");
        let taken = sqlx::query_scalar!("SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS \"taken!\"", key)
            .fetch_one(&mut session)
            .await?;
        if taken {
            Ok(Self { _session: session, pool: pool.clone(), topic: topic.to_owned() })
        } else {
            Err(OriginError::AtWork { topic: topic.to_owned() })
        }
    }

    /// Writes down that the ledger is being moved: from now on no server takes a partition of it over. Again for a copy that was interrupted.
    ///
    /// # Errors
    /// [`OriginError`].
    pub async fn begin(&self, from: &str, to: &str) -> Result<(), OriginError> {
        match hold(&self.pool, &self.topic, from).await {
            Err(OriginError::Moving { from: begun_from, to: begun_to, .. }) if begun_from == from && begun_to == to => {
            }
            held => held?,
        }
        sqlx::query!(
            "INSERT INTO log.origin (topic, kind, moving_to) VALUES ($1, $2, $3)
             ON CONFLICT (topic) DO UPDATE SET moving_to = EXCLUDED.moving_to",
            self.topic,
            from,
            to,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Leaves the ledger where it is: servers take it over again.
    ///
    /// # Errors
    /// [`OriginError::Database`].
    pub async fn cancel(&self) -> Result<(), OriginError> {
        sqlx::query!("UPDATE log.origin SET moving_to = NULL WHERE topic = $1", self.topic).execute(&self.pool).await?;
        Ok(())
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
        "INSERT INTO log.origin (topic, kind) VALUES ($1, $2) ON CONFLICT (topic) DO UPDATE SET kind = EXCLUDED.kind, moving_to = NULL",
        topic,
        kind,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

//! Keys of personal data in PostgreSQL: `vault.personal_key`.
//!
//! Destroying a key erases the person from the ledger for good. It is gone from the table at once; backups and archived WAL of the schema
//! `vault` hold it until they expire, so their retention bounds how long an erasure takes.

use lotline_domain::id::{ActorId, TenantId};
use lotline_domain::personal::PersonalKey;
use lotline_domain::port::{BoxFuture, LogError, PersonalKeys};
use sqlx::PgPool;
use uuid::{Builder, Uuid};

use crate::clock::random_bytes;

/// Keeps keys in the database whose schema `vault` was migrated by [`crate::log::postgres::migrate`].
#[derive(Debug, Clone)]
pub struct PostgresPersonalKeys {
    pool: PgPool,
}

/// A secret of another length, which the table does not allow.
#[derive(Debug, thiserror::Error)]
#[error("the stored key is not 256 bits long")]
struct WrongLength;

impl PostgresPersonalKeys {
    /// Works on connections of this pool.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Destroys the key of an actor: what was sealed with it can never be opened again. Says whether there was one.
    ///
    /// # Errors
    /// [`LogError::Broken`] when the database fails.
    pub async fn destroy(&self, tenant: &TenantId, actor: &ActorId) -> Result<bool, LogError> {
        let destroyed = sqlx::query!(
            "DELETE FROM vault.personal_key WHERE tenant = $1 AND actor = $2",
            tenant.as_str(),
            actor.as_str(),
        )
        .execute(&self.pool)
        .await;
        let destroyed = destroyed.map_err(|error| LogError::broken("destroy a personal key", error))?;
        Ok(destroyed.rows_affected() > 0)
    }

    async fn find_of(&self, tenant: &TenantId, actor: &ActorId) -> Result<Option<PersonalKey>, LogError> {
        let found = sqlx::query!(
            "SELECT id, secret FROM vault.personal_key WHERE tenant = $1 AND actor = $2",
            tenant.as_str(),
            actor.as_str(),
        )
        .fetch_optional(&self.pool)
        .await;
        let row = found.map_err(|error| LogError::broken("find a personal key", error))?;
        row.map(|row| personal_key(row.id, &row.secret)).transpose()
    }

    async fn make(&self, tenant: &TenantId, actor: &ActorId) -> Result<(), LogError> {
        let (id, secret) = (Builder::from_random_bytes(random_bytes()).into_uuid(), random_bytes::<32>());
        let made = sqlx::query!(
            "INSERT INTO vault.personal_key (tenant, actor, id, secret) VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant, actor) DO NOTHING",
            tenant.as_str(),
            actor.as_str(),
            id,
            secret.as_slice(),
        )
        .execute(&self.pool)
        .await;
        made.map(|_| ()).map_err(|error| LogError::broken("make a personal key", error))
    }
}

impl PersonalKeys for PostgresPersonalKeys {
    fn key_of<'a>(&'a self, tenant: &'a TenantId, actor: &'a ActorId) -> BoxFuture<'a, Result<PersonalKey, LogError>> {
        Box::pin(async move {
            loop {
                if let Some(key) = self.find_of(tenant, actor).await? {
                    return Ok(key);
                }
                // Whoever makes it first decides; it is read back. Only a key destroyed in between makes another round.
                self.make(tenant, actor).await?;
            }
        })
    }

    fn key<'a>(&'a self, tenant: &'a TenantId, id: Uuid) -> BoxFuture<'a, Result<Option<PersonalKey>, LogError>> {
        Box::pin(async move {
            let found = sqlx::query_scalar!(
                "SELECT secret FROM vault.personal_key WHERE tenant = $1 AND id = $2",
                tenant.as_str(),
                id,
            )
            .fetch_optional(&self.pool)
            .await;
            let secret = found.map_err(|error| LogError::broken("find a personal key", error))?;
            secret.map(|secret| personal_key(id, &secret)).transpose()
        })
    }

    fn keys<'a>(&'a self, tenant: &'a TenantId, ids: &'a [Uuid]) -> BoxFuture<'a, Result<Vec<PersonalKey>, LogError>> {
        Box::pin(async move {
            let found = sqlx::query!(
                "SELECT id, secret FROM vault.personal_key WHERE tenant = $1 AND id = ANY($2)",
                tenant.as_str(),
                ids,
            )
            .fetch_all(&self.pool)
            .await;
            let rows = found.map_err(|error| LogError::broken("find personal keys", error))?;
            rows.into_iter().map(|row| personal_key(row.id, &row.secret)).collect()
        })
    }
}

fn personal_key(id: Uuid, secret: &[u8]) -> Result<PersonalKey, LogError> {
    let secret = secret.try_into().map_err(|_| LogError::broken("read a personal key", WrongLength))?;
    Ok(PersonalKey { id, secret })
}

//! How far the nodes of a ledger have heard the tenant's own stream: `cluster.heard`.

use lotline_domain::port::LogError;
use sqlx::PgPool;

/// What the nodes tell each other of how far they have heard.
#[derive(Debug, Clone)]
pub struct PostgresHeard {
    pool: PgPool,
    topic: String,
}

impl PostgresHeard {
    /// Among the nodes of a ledger's topic.
    pub fn new(pool: PgPool, topic: impl Into<String>) -> Self {
        Self { pool, topic: topic.into() }
    }

    /// Says up to which sequence this node has heard, and gives the highest that any node has said. Writes only what is news.
    ///
    /// # Errors
    /// [`LogError::Broken`] when the database fails.
    pub async fn exchange(&self, sequence: u64) -> Result<u64, LogError> {
        let broken = |error| LogError::broken("compare how far nodes have heard", error);
        let known = sqlx::query_scalar!("SELECT sequence FROM cluster.heard WHERE topic = $1", self.topic)
            .fetch_optional(&self.pool)
            .await
            .map_err(broken)?;
        if let Some(known) = known.map(i64::cast_unsigned)
            && known >= sequence
        {
            return Ok(known);
        }
        let highest = sqlx::query_scalar!(
            "INSERT INTO cluster.heard (topic, sequence) VALUES ($1, $2)
             ON CONFLICT (topic) DO UPDATE SET sequence = greatest(heard.sequence, EXCLUDED.sequence)
             RETURNING sequence",
            self.topic,
            sequence.cast_signed(),
        )
        .fetch_one(&self.pool)
        .await
        .map_err(broken)?;
        Ok(highest.cast_unsigned())
    }
}

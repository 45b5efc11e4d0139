//! Where the writers of a topic's partitions listen: `cluster.owner`.

use lotline_domain::ownership::{Directory, Owner};
use lotline_domain::port::{BoxFuture, LogError};
use sqlx::PgPool;

/// The directory of one ledger, as one node uses it.
#[derive(Debug, Clone)]
pub struct PostgresDirectory {
    pool: PgPool,
    topic: String,
    kind: &'static str,
    node: String,
    address: String,
}

impl PostgresDirectory {
    /// For a ledger's topic in a kind of log, as [`crate::log::origin`] names it. `node` is unique among the nodes that share it, and `address` is where they reach this one: `http://host:port`.
    pub fn new(
        pool: PgPool,
        topic: impl Into<String>,
        kind: &'static str,
        node: impl Into<String>,
        address: impl Into<String>,
    ) -> Self {
        Self { pool, topic: topic.into(), kind, node: node.into(), address: address.into() }
    }
}

impl Directory for PostgresDirectory {
    fn announce(&self, partition: u32) -> BoxFuture<'_, Result<u64, LogError>> {
        Box::pin(async move {
            let announced = sqlx::query_scalar!(
                "INSERT INTO cluster.owner (topic, partition, node, address, epoch) VALUES ($1, $2, $3, $4, 1)
                 ON CONFLICT (topic, partition) DO UPDATE
                 SET node = EXCLUDED.node, address = EXCLUDED.address, epoch = owner.epoch + 1,
                     announced_at = clock_timestamp()
                 RETURNING epoch",
                self.topic,
                partition as i32,
                self.node,
                self.address,
            )
            .fetch_one(&self.pool)
            .await;
            announced.map(i64::cast_unsigned).map_err(|error| LogError::broken("announce a writer", error))
        })
    }

    fn owner(&self, partition: u32) -> BoxFuture<'_, Result<Option<Owner>, LogError>> {
        Box::pin(async move {
            let found = sqlx::query!(
                "SELECT node, address, epoch FROM cluster.owner WHERE topic = $1 AND partition = $2",
                self.topic,
                partition as i32,
            )
            .fetch_optional(&self.pool)
            .await;
            let found = found.map_err(|error| LogError::broken("look up a writer", error))?;
            Ok(found.map(|row| Owner { node: row.node, address: row.address, epoch: row.epoch.cast_unsigned() }))
        })
    }

    fn may_write(&self) -> BoxFuture<'_, Result<bool, LogError>> {
        Box::pin(async move {
            let elsewhere = sqlx::query_scalar!(
                "SELECT EXISTS (
                     SELECT FROM log.origin WHERE topic = $1 AND (kind <> $2 OR moving_to IS NOT NULL)
                 ) AS \"elsewhere!\"",
                self.topic,
                self.kind,
            )
            .fetch_one(&self.pool)
            .await;
            elsewhere
                .map(|elsewhere| !elsewhere)
                .map_err(|error| LogError::broken("look where the ledger is written", error))
        })
    }

    fn node(&self) -> &str {
        &self.node
    }
}

//! Snapshots in PostgreSQL: `log.snapshot`, one row per chunk.

use lotline_domain::port::{BoxFuture, LogError, Snapshot, SnapshotStore};
use sqlx::{Connection, PgPool};

/// Keeps snapshots in the database whose schema `log` was migrated by [`crate::log::postgres::migrate`].
#[derive(Debug, Clone)]
pub struct PostgresSnapshots {
    pool: PgPool,
}

impl PostgresSnapshots {
    /// Works on connections of this pool.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    async fn replace(&self, topic: &str, partition: i32, snapshot: &Snapshot) -> Result<(), sqlx::Error> {
        let format = i64::from(snapshot.format);
        // Saving is dropped half-way when a partition goes to another node. A transaction whose BEGIN was on the way is one that sqlx
        // does not know of, so the connection does not go back to the pool.
        let mut session = self.pool.acquire().await?.detach();
        let mut tx = session.begin().await?;
        // Two saves of the same position at once: the later one fails on the primary key, so chunks of two encodings never mix.
        sqlx::query!(
            "DELETE FROM log.snapshot WHERE topic = $1 AND partition = $2 AND format = $3 AND position <= $4",
            topic,
            partition,
            format,
            snapshot.position,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "INSERT INTO log.snapshot (topic, partition, format, position, chunk, chunks, data)
             SELECT $1, $2, $3, $4, given.place - 1, $5, given.data
             FROM UNNEST($6::bytea[]) WITH ORDINALITY AS given (data, place)",
            topic,
            partition,
            format,
            snapshot.position,
            snapshot.chunks.len() as i32,
            &snapshot.chunks,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    async fn newest(&self, topic: &str, partition: i32, format: u32) -> Result<Option<Snapshot>, sqlx::Error> {
        let rows = sqlx::query!(
            "SELECT position, chunks, data FROM log.snapshot
             WHERE topic = $1 AND partition = $2 AND format = $3 AND position = (
                 SELECT s.position FROM log.snapshot s
                 WHERE s.topic = $1 AND s.partition = $2 AND s.format = $3
                 GROUP BY s.position HAVING COUNT(*) = MAX(s.chunks) AND MIN(s.chunks) = MAX(s.chunks)
                 ORDER BY s.position DESC LIMIT 1
             )
             ORDER BY chunk",
            topic,
            partition,
            i64::from(format),
        )
        .fetch_all(&self.pool)
        .await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let position = first.position;
        Ok(Some(Snapshot { position, format, chunks: rows.into_iter().map(|row| row.data).collect() }))
    }
}

impl SnapshotStore for PostgresSnapshots {
    fn save<'a>(&'a self, topic: &'a str, partition: u32, snapshot: Snapshot) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            let saved = self.replace(topic, partition as i32, &snapshot).await;
            saved.map_err(|error| LogError::broken("save a snapshot", error))
        })
    }

    fn load<'a>(
        &'a self,
        topic: &'a str,
        partition: u32,
        format: u32,
    ) -> BoxFuture<'a, Result<Option<Snapshot>, LogError>> {
        Box::pin(async move {
            let loaded = self.newest(topic, partition as i32, format).await;
            loaded.map_err(|error| LogError::broken("load a snapshot", error))
        })
    }
}

//! Reading a partition of the embedded log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lotline_domain::port::{BoxFuture, LogError, LogReader};
use lotline_domain::record::{Offset, ReadBatch, Record, StoredRecord};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::{FALLBACK_POLL, STATEMENT_TIMEOUT, Shared, headers};

pub(super) struct PostgresReader {
    shared: Arc<Shared>,
    partition: u32,
    next: Offset,
    wakeup: watch::Receiver<u64>,
}

impl PostgresReader {
    pub(super) fn new(shared: Arc<Shared>, partition: u32, next: Offset) -> Self {
        let wakeup = shared.wakeups.subscribe(partition);
        Self { shared, partition, next, wakeup }
    }

    async fn select(&mut self, max: usize) -> Result<ReadBatch, LogError> {
        let selecting = sqlx::query!(
            r#"SELECT position, key, headers::text AS "headers!", value FROM log.record
               WHERE topic = $1 AND partition = $2 AND position >= $3 ORDER BY position LIMIT $4"#,
            self.shared.topic,
            self.partition as i32,
            self.next,
            i64::try_from(max).unwrap_or(i64::MAX),
        )
        .fetch_all(&self.shared.pool);
        let broken = |error: sqlx::Error| LogError::broken("read the log", error);
        let selected = timeout(STATEMENT_TIMEOUT, selecting).await;
        let rows = selected.map_err(|elapsed| LogError::broken("read the log", elapsed))?.map_err(broken)?;
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let headers = headers::decode(&row.headers)
                .map_err(|error| LogError::broken("read the headers of a record", error))?;
            let record = Record { key: row.key, headers, value: Bytes::from(row.value) };
            records.push(StoredRecord { offset: row.position, record });
        }
        if let Some(last) = records.last() {
            self.next = last.offset + 1;
        }
        Ok(ReadBatch { records, next: self.next })
    }
}

impl LogReader for PostgresReader {
    fn read(&mut self, max: usize, wait: Duration) -> BoxFuture<'_, Result<ReadBatch, LogError>> {
        Box::pin(async move {
            let deadline = Instant::now() + wait;
            loop {
                // Marked before the table is read: an append in between wakes this reader up again.
                self.wakeup.mark_unchanged();
                let batch = self.select(max.max(1)).await?;
                if !batch.records.is_empty() || Instant::now() >= deadline {
                    return Ok(batch);
                }
                let look_again = deadline.min(Instant::now() + FALLBACK_POLL);
                // Woken, or time to look: both mean to read again.
                let _ = timeout_at(look_again, self.wakeup.changed()).await;
            }
        })
    }
}

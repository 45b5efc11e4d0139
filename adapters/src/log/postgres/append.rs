//! Appending: by the one writer of a partition, or by whoever publishes signals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lotline_domain::partition::partition_of;
use lotline_domain::port::{AppendError, BoxFuture, LogError, LogWriter};
use lotline_domain::record::{Offset, Record};
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::timeout;

use super::wakeup::payload;
use super::{STATEMENT_TIMEOUT, Shared, headers};
use crate::log::{check_sizes, spent};

/// Longer than the server's own, so that the server's answer is heard where there is one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(STATEMENT_TIMEOUT.as_secs() + 2);

/// The writer of one epoch, on a connection of its own.
pub(super) struct PostgresWriter {
    shared: Arc<Shared>,
    partition: u32,
    epoch: i64,
    connection: PgConnection,
    /// False while an append is under way, so one that is cancelled leaves it so.
    usable: bool,
}

impl PostgresWriter {
    /// Takes the partition. This waits for the row lock, hence for whatever an earlier writer has in flight.
    pub(super) async fn open(shared: Arc<Shared>, partition: u32) -> Result<Self, LogError> {
        let limit = format!("{}ms", STATEMENT_TIMEOUT.as_millis());
        // What is acknowledged must survive a crash of PostgreSQL, whatever the server's or the role's default is.
        let settings = [("statement_timeout", limit), ("synchronous_commit", "on".to_owned())];
        let options = shared.pool.connect_options().as_ref().clone().options(settings);
        let opening = async {
            let mut connection = options.connect().await?;
            let epoch = sqlx::query_scalar!(
                "UPDATE log.partition SET epoch = epoch + 1 WHERE topic = $1 AND partition = $2 RETURNING epoch",
                shared.topic,
                partition as i32,
            )
            .fetch_one(&mut connection)
            .await?;
            Ok((connection, epoch))
        };
        let broken = |error: sqlx::Error| LogError::broken("take over the partition", error);
        let opened = timeout(ANSWER_TIMEOUT, opening).await;
        let (connection, epoch) =
            opened.map_err(|elapsed| LogError::broken("take over the partition", elapsed))?.map_err(broken)?;
        Ok(Self { shared, partition, epoch, connection, usable: true })
    }

    async fn append_now(&mut self, records: &[Record]) -> Result<Offset, AppendError> {
        let columns = Columns::of(records.iter());
        let appending = insert(&mut self.connection, &self.shared.topic, self.partition, Some(self.epoch), &columns);
        match timeout(ANSWER_TIMEOUT, appending).await {
            Ok(Ok(Some(last))) => Ok(last),
            Ok(Ok(None)) => Err(AppendError::Fenced),
            // Even an error that the server reports may be about the connection, after the commit.
            Ok(Err(error)) => Err(AppendError::Unknown(Box::new(error))),
            Err(elapsed) => Err(AppendError::Unknown(Box::new(elapsed))),
        }
    }
}

impl LogWriter for PostgresWriter {
    fn append(&mut self, records: Vec<Record>) -> BoxFuture<'_, Result<Offset, AppendError>> {
        Box::pin(async move {
            check_sizes(&records, self.shared.max_record_bytes)?;
            if !std::mem::take(&mut self.usable) {
                return Err(spent());
            }
            let result = self.append_now(&records).await;
            self.usable = result.is_ok();
            result
        })
    }
}

/// Appends to the partitions of the records' keys, one statement for each partition.
pub(super) async fn publish(shared: &Shared, records: &[Record]) -> Result<(), LogError> {
    let mut by_partition: BTreeMap<u32, Vec<&Record>> = BTreeMap::new();
    for record in records {
        by_partition.entry(partition_of(&record.key, shared.partitions)).or_default().push(record);
    }
    let publishing = async {
        for (partition, records) in by_partition {
            let columns = Columns::of(records.into_iter());
            let mut connection = shared.pool.acquire().await?;
            insert(&mut connection, &shared.topic, partition, None, &columns).await?;
        }
        Ok(())
    };
    let broken = |error: sqlx::Error| LogError::broken("publish signals", error);
    let published = timeout(ANSWER_TIMEOUT, publishing).await;
    published.map_err(|elapsed| LogError::broken("publish signals", elapsed))?.map_err(broken)
}

/// The records of an append, by column.
struct Columns<'a> {
    keys: Vec<&'a str>,
    headers: Vec<String>,
    values: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(records: impl Iterator<Item = &'a Record> + Clone) -> Self {
        Self {
            keys: records.clone().map(|record| record.key.as_str()).collect(),
            headers: records.clone().map(|record| headers::encode(&record.headers)).collect(),
            values: records.map(|record| record.value.as_ref()).collect(),
        }
    }
}

/// Takes the row lock, assigns the positions and inserts, in one statement, which is a transaction by itself.
/// Gives the last position, or nothing when the row has another epoch by now.
async fn insert(
    connection: &mut PgConnection,
    topic: &str,
    partition: u32,
    epoch: Option<i64>,
    columns: &Columns<'_>,
) -> Result<Option<Offset>, sqlx::Error> {
    let row = sqlx::query!(
        r#"WITH mine AS (
               UPDATE log.partition SET next = next + $4
               WHERE topic = $1 AND partition = $2 AND epoch = COALESCE($3, epoch)
               RETURNING next
           ), stored AS (
               INSERT INTO log.record (topic, partition, position, key, headers, value)
               SELECT $1, $2, mine.next - $4 + given.place - 1, given.key, given.headers::json, given.value
               FROM mine
               CROSS JOIN UNNEST($5::text[], $6::text[], $7::bytea[]) WITH ORDINALITY AS given (key, headers, value, place)
           )
           SELECT mine.next - 1 AS "last!", pg_notify('lotline_log', $8) AS notified FROM mine"#,
        topic,
        partition as i32,
        epoch,
        columns.keys.len() as i64,
        columns.keys.as_slice() as _,
        columns.headers.as_slice(),
        columns.values.as_slice() as _,
        payload(topic, partition),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.last))
}

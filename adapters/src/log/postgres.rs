//! The embedded log: PostgreSQL's schema `log`, for one machine without Kafka. It carries the ledger and the signals.
//!
//! Positions are assigned under the row lock of the partition (`log.partition`), never by a sequence, so they are dense and become
//! visible in their order: who takes the lock sees all that was appended before. A writer is an epoch of that row; an append is one
//! statement that finds the row with its epoch, or finds nothing and is fenced. Records are only ever inserted: a trigger refuses
//! everything else, and Lotline works in a role that does not own the table ([`crate::tenancy`]).
//!
//! NOTIFY wakes readers up and carries nothing; a reader that missed one looks again after [`FALLBACK_POLL`].

use std::sync::Arc;
use std::time::Duration;

use lotline_domain::id::TenantId;
use lotline_domain::port::{BoxFuture, EventLog, LogError, LogRead, LogReader, LogWriter, SignalLog};
use lotline_domain::record::{Offset, Record};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};

use super::{MAX_RECORD_BYTES, check_offset, check_partition, check_published_sizes};
use crate::tenancy;

mod append;
pub(super) mod headers;
mod reader;
mod wakeup;

use append::PostgresWriter;
use reader::PostgresReader;
use wakeup::Wakeups;

/// How long a reader sleeps at most before it looks without having been woken.
pub const FALLBACK_POLL: Duration = Duration::from_millis(250);

/// How long PostgreSQL may take for one statement of the log.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Creates or updates the schemas `log`, `vault`, `cluster` and `access`. Connect as the owner for this.
///
/// # Errors
/// [`MigrateError`], such as when the role `lotline_app` is missing and may not be created.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    // Other crates migrate schemas of their own in this database, so each keeps its own record of what it has done.
    let mut migrator = Migrator { migrations: MIGRATIONS.migrations.clone(), ..Migrator::DEFAULT };
    migrator.dangerous_set_table_name("log._sqlx_migrations");
    migrator.create_schema("log");
    let migrated = || async {
        // One that fails keeps the lock of those who migrate, so it must not go back to the pool.
        let mut connection = pool.acquire().await?.detach();
        migrator.run(&mut connection).await?;
        connection.close().await?;
        Ok(())
    };
    let is_collision = |error: &MigrateError| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => tenancy::is_collision(error),
        _ => false,
    };
    tenancy::settle(migrated, is_collision).await
}

/// What [`migrate`] applies, for those who only want to know whether it has been.
pub fn migrations() -> &'static Migrator {
    &MIGRATIONS
}

/// A pool that works for a tenant, in a role that can append and read and owns nothing; a connection is not pinged before each use, since
/// every user of it copes with a lost one.
///
/// # Errors
/// [`LogError::Broken`] when the server can't be reached or the tenant has not been [admitted](tenancy::admit).
pub async fn connect(options: PgConnectOptions, tenant: &TenantId, max_connections: u32) -> Result<PgPool, LogError> {
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(STATEMENT_TIMEOUT)
        .test_before_acquire(false)
        .connect_with(tenancy::bound(options, tenant))
        .await;
    pool.map_err(|error| LogError::broken("connect to PostgreSQL", error))
}

/// A topic in PostgreSQL.
pub struct PostgresLog {
    shared: Arc<Shared>,
}

struct Shared {
    pool: PgPool,
    topic: String,
    partitions: u32,
    max_record_bytes: usize,
    wakeups: Wakeups,
}

impl PostgresLog {
    /// Opens a topic with [`MAX_RECORD_BYTES`], and creates it when it is not there.
    ///
    /// # Errors
    /// [`LogError::PartitionCount`] when it was created with another count.
    pub async fn open(pool: &PgPool, topic: &str, partitions: u32) -> Result<Self, LogError> {
        Self::open_with_limit(pool, topic, partitions, MAX_RECORD_BYTES).await
    }

    /// The same with another limit on the size of a record.
    ///
    /// # Errors
    /// [`LogError::PartitionCount`] when it was created with another count.
    pub async fn open_with_limit(
        pool: &PgPool,
        topic: &str,
        partitions: u32,
        max_record_bytes: usize,
    ) -> Result<Self, LogError> {
        create(pool, topic, partitions).await?;
        Ok(Self::new(pool, topic, partitions, max_record_bytes))
    }

    /// Opens a topic that is there, and creates nothing; nothing when it is not there.
    ///
    /// # Errors
    /// [`LogError::PartitionCount`] when it was created with another count.
    pub async fn find(pool: &PgPool, topic: &str, partitions: u32) -> Result<Option<Self>, LogError> {
        let found = partitions_of(pool, topic).await.map_err(|error| LogError::broken("look for the topic", error))?;
        let Some(actual) = found else { return Ok(None) };
        check_count(topic, partitions, actual)?;
        Ok(Some(Self::new(pool, topic, partitions, MAX_RECORD_BYTES)))
    }

    fn new(pool: &PgPool, topic: &str, partitions: u32, max_record_bytes: usize) -> Self {
        let wakeups = Wakeups::listen(pool, topic, partitions);
        let (pool, topic) = (pool.clone(), topic.to_owned());
        Self { shared: Arc::new(Shared { pool, topic, partitions, max_record_bytes, wakeups }) }
    }
}

async fn partitions_of(pool: &PgPool, topic: &str) -> Result<Option<u32>, sqlx::Error> {
    let found =
        sqlx::query_scalar!("SELECT partitions FROM log.topic WHERE topic = $1", topic).fetch_optional(pool).await?;
    Ok(found.map(|partitions| partitions as u32))
}

fn check_count(topic: &str, expected: u32, actual: u32) -> Result<(), LogError> {
    if actual == expected {
        Ok(())
    } else {
        Err(LogError::PartitionCount { topic: topic.to_owned(), expected, actual })
    }
}

async fn create(pool: &PgPool, topic: &str, expected: u32) -> Result<(), LogError> {
    let broken = |error: sqlx::Error| LogError::broken("open the topic", error);
    sqlx::query!(
        "INSERT INTO log.topic (topic, partitions) VALUES ($1, $2) ON CONFLICT (topic) DO NOTHING",
        topic,
        expected as i32,
    )
    .execute(pool)
    .await
    .map_err(broken)?;
    let actual = partitions_of(pool, topic).await.map_err(broken)?;
    check_count(topic, expected, actual.unwrap_or(expected))?;
    sqlx::query!(
        "INSERT INTO log.partition (topic, partition)
         SELECT $1, number FROM generate_series(0, $2::integer - 1) AS number
         ON CONFLICT (topic, partition) DO NOTHING",
        topic,
        expected as i32,
    )
    .execute(pool)
    .await
    .map_err(broken)?;
    Ok(())
}

impl Shared {
    fn check(&self, partition: u32) -> Result<(), LogError> {
        check_partition(&self.topic, self.partitions, partition)
    }

    /// Also counts what a stranger has inserted without moving the partition on, so that replay meets it.
    async fn end(&self, partition: u32) -> Result<Offset, LogError> {
        self.check(partition)?;
        sqlx::query_scalar!(
            r#"SELECT GREATEST(
                   p.next,
                   (SELECT MAX(r.position) + 1 FROM log.record r WHERE r.topic = p.topic AND r.partition = p.partition)
               ) AS "end!"
               FROM log.partition p WHERE p.topic = $1 AND p.partition = $2"#,
            self.topic,
            partition as i32,
        )
        .fetch_one(&self.pool)
        .await
        .map_err(|error| LogError::broken("find the end of the log", error))
    }
}

impl LogRead for PostgresLog {
    fn topic(&self) -> &str {
        &self.shared.topic
    }

    fn partitions(&self) -> u32 {
        self.shared.partitions
    }

    fn end(&self, partition: u32) -> BoxFuture<'_, Result<Offset, LogError>> {
        Box::pin(self.shared.end(partition))
    }

    fn reader(&self, partition: u32, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        Box::pin(async move {
            let end = self.shared.end(partition).await?;
            check_offset(&self.shared.topic, partition, from, 0, end)?;
            Ok(Box::new(PostgresReader::new(Arc::clone(&self.shared), partition, from)) as Box<dyn LogReader>)
        })
    }
}

impl EventLog for PostgresLog {
    fn max_record_bytes(&self) -> usize {
        self.shared.max_record_bytes
    }

    fn writer(&self, partition: u32) -> BoxFuture<'_, Result<Box<dyn LogWriter>, LogError>> {
        Box::pin(async move {
            self.shared.check(partition)?;
            Ok(Box::new(PostgresWriter::open(Arc::clone(&self.shared), partition).await?) as Box<dyn LogWriter>)
        })
    }
}

impl SignalLog for PostgresLog {
    fn publish(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            check_published_sizes(&records, self.shared.max_record_bytes)?;
            append::publish(&self.shared, &records).await
        })
    }
}

//! The stores that the suite runs against, each with topics of its own.

use std::sync::OnceLock;

use lotline_adapters::log::kafka::{KafkaLog, KafkaOptions};
use lotline_adapters::log::memory::MemoryLog;
use lotline_adapters::log::postgres::{self, PostgresLog};
use lotline_domain::id::TenantId;
use lotline_domain::port::{BoxFuture, EventLog, LogError, SignalLog};
use lotline_domain::position::TopicKind;
use lotline_domain::record::Record;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use sqlx::PgPool;

use super::Subject;
use crate::stack::{self, Database};

const LEDGER: &str = "lotline.dairy.ledger.v1";
const SIGNALS: &str = "lotline.dairy.signals.v1";

/// In memory: a "process" is a clone.
#[derive(Default)]
pub struct Memory {
    ledger: OnceLock<MemoryLog>,
    signals: OnceLock<MemoryLog>,
}

impl Memory {
    /// A store without topics.
    pub fn new() -> Self {
        Self::default()
    }
}

fn open_in_memory(place: &OnceLock<MemoryLog>, partitions: u32) -> Result<MemoryLog, LogError> {
    place.get_or_init(|| MemoryLog::new(LEDGER, partitions)).reopen(partitions)
}

impl Subject for Memory {
    fn ledger(&self, partitions: u32) -> BoxFuture<'_, Result<Box<dyn EventLog>, LogError>> {
        Box::pin(async move { Ok(Box::new(open_in_memory(&self.ledger, partitions)?) as Box<dyn EventLog>) })
    }

    fn signals(&self, partitions: u32) -> BoxFuture<'_, Result<Box<dyn SignalLog>, LogError>> {
        Box::pin(async move { Ok(Box::new(open_in_memory(&self.signals, partitions)?) as Box<dyn SignalLog>) })
    }

    fn append_foreign(&self, partition: u32, record: Record) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let ledger = self.ledger.get().expect("the test opened the ledger");
            ledger.append_foreign(partition, record).expect("the partition exists");
        })
    }
}

/// In a PostgreSQL database of its own. Logs work for the tenant `dairy`, strangers as the owner.
pub struct Postgres {
    /// As the owner.
    pub database: Database,
    /// In the role of the tenant `dairy`.
    pub pool: PgPool,
}

impl Postgres {
    /// A migrated database without topics.
    pub async fn new() -> Self {
        let database = stack::database("contract").await;
        postgres::migrate(&database.pool).await.expect("the migrations run");
        let tenant = TenantId::new("dairy").expect("a valid tenant id");
        let pool = stack::bound(&database, &tenant, 8).await;
        Self { database, pool }
    }

    /// Opens the ledger as its own type.
    pub async fn open(&self, partitions: u32) -> PostgresLog {
        PostgresLog::open(&self.pool, LEDGER, partitions).await.expect("the ledger opens")
    }
}

impl Subject for Postgres {
    fn ledger(&self, partitions: u32) -> BoxFuture<'_, Result<Box<dyn EventLog>, LogError>> {
        Box::pin(
            async move { Ok(Box::new(PostgresLog::open(&self.pool, LEDGER, partitions).await?) as Box<dyn EventLog>) },
        )
    }

    fn signals(&self, partitions: u32) -> BoxFuture<'_, Result<Box<dyn SignalLog>, LogError>> {
        Box::pin(async move {
            Ok(Box::new(PostgresLog::open(&self.pool, SIGNALS, partitions).await?) as Box<dyn SignalLog>)
        })
    }

    fn append_foreign(&self, partition: u32, record: Record) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let pairs: Vec<_> = record
                .headers
                .iter()
                .map(|header| (header.name.as_ref(), String::from_utf8_lossy(&header.value)))
                .collect();
            // The owner inserts behind the last record and does not care for the partition's row.
            sqlx::query(
                "INSERT INTO log.record (topic, partition, position, key, headers, value)
                 SELECT $1, $2, COALESCE(MAX(position) + 1, 0), $3, $4::json, $5 FROM log.record
                 WHERE topic = $1 AND partition = $2",
            )
            .bind(LEDGER)
            .bind(partition as i32)
            .bind(record.key)
            .bind(serde_json::to_string(&pairs).expect("text has a JSON form"))
            .bind(record.value.to_vec())
            .execute(&self.database.pool)
            .await
            .expect("the owner may insert");
        })
    }
}

/// In Apache Kafka, with topics of its own.
pub struct Kafka {
    ledger: String,
    signals: String,
}

impl Kafka {
    /// Names of topics that are not there yet.
    #[expect(clippy::new_without_default, reason = "each one has other topics")]
    pub fn new() -> Self {
        let tenant = stack::unique("contract");
        Self { ledger: format!("lotline.{tenant}.ledger.v1"), signals: format!("lotline.{tenant}.signals.v1") }
    }

    /// Name of the ledger's topic.
    pub fn topic(&self) -> &str {
        &self.ledger
    }

    /// How the ledger is opened.
    pub fn options(&self, partitions: u32) -> KafkaOptions {
        KafkaOptions::new(stack::kafka_brokers(), &self.ledger, partitions)
    }

    /// A client of a stranger.
    pub fn stranger(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", stack::kafka_brokers());
        config
    }
}

impl Subject for Kafka {
    fn ledger(&self, partitions: u32) -> BoxFuture<'_, Result<Box<dyn EventLog>, LogError>> {
        Box::pin(async move {
            let log = KafkaLog::open(self.options(partitions), TopicKind::Ledger).await?;
            Ok(Box::new(log) as Box<dyn EventLog>)
        })
    }

    fn signals(&self, partitions: u32) -> BoxFuture<'_, Result<Box<dyn SignalLog>, LogError>> {
        Box::pin(async move {
            let options = KafkaOptions::new(stack::kafka_brokers(), &self.signals, partitions);
            Ok(Box::new(KafkaLog::open(options, TopicKind::Signals).await?) as Box<dyn SignalLog>)
        })
    }

    fn append_foreign(&self, partition: u32, record: Record) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let producer: FutureProducer = self.stranger().create().expect("a plain producer");
            let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, header| {
                headers.insert(Header { key: header.name.as_ref(), value: Some(header.value.as_ref()) })
            });
            let message = FutureRecord::to(&self.ledger)
                .partition(partition as i32)
                .key(&record.key)
                .payload(record.value.as_ref())
                .headers(headers);
            let delivery = producer.send_result(message).expect("the stranger's queue has room");
            delivery.await.expect("the producer lives").expect("the broker takes it");
        })
    }
}

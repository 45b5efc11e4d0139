//! A plant of its own for each test: database, tenant, folder.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use lotline_adapters::log::kafka::{KafkaLog, KafkaOptions};
use lotline_adapters::log::postgres::PostgresLog;
use lotline_domain::id::{CollectorId, DeviceId, SiteId, TenantId};
use lotline_domain::port::{LogRead, SignalLog};
use lotline_domain::position::TopicKind;
use lotline_domain::sample::{Quality, SignalBatch, codec};
use lotline_domain::timestamp::Timestamp;
use lotline_projections::model::Model;
use lotline_tests::client::Client;
use lotline_tests::oracle::{self, Oracle};
use lotline_tests::server::{Log, Server, Settings};
use lotline_tests::stack::{self, Database};
use serde_json::json;
use sqlx::PgPool;

/// The site that every test works in.
pub(crate) const SITE: &str = "north";
/// Partitions that a server makes by default.
const PARTITIONS: u32 = 4;
/// The same of the signals topic.
const SIGNAL_PARTITIONS: u32 = 2;

pub(crate) struct Plant {
    pub(crate) settings: Settings,
    pub(crate) database: Database,
    /// Options of the Kafka client with which the test itself looks at the log.
    pub(crate) client: BTreeMap<String, String>,
}

impl Plant {
    pub(crate) async fn new(name: &str, log: Log) -> Self {
        Self::on(name, log, stack::database(name).await, (log == Log::Kafka).then(stack::kafka_brokers))
    }

    /// A plant on services of the test's choice.
    pub(crate) fn on(name: &str, log: Log, database: Database, brokers: Option<String>) -> Self {
        let tenant = stack::unique(name);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&tenant);
        std::fs::create_dir_all(&folder).unwrap();
        let mut settings = Settings {
            tenant,
            log,
            database: database.url.clone(),
            brokers,
            folder,
            development: true,
            environment: Vec::new(),
        };
        // A server that is started again keeps its name, as it does where its port is fixed.
        settings.environment.push(("LOTLINE_CLUSTER__NODE".into(), "one".into()));
        Self { settings, database, client: BTreeMap::new() }
    }

    pub(crate) async fn serve(&self) -> Server {
        Server::start(&self.settings, &["serve"]).await
    }

    /// Connections that work for the tenant, as those of the server.
    pub(crate) async fn bound(&self) -> PgPool {
        stack::bound(&self.database, &TenantId::new(self.settings.tenant.as_str()).unwrap(), 4).await
    }

    /// The ledger, opened beside the server.
    pub(crate) async fn ledger(&self) -> Arc<dyn LogRead> {
        let topic = format!("lotline.{}.ledger.v1", self.settings.tenant);
        match self.settings.log {
            Log::Postgres => {
                let pool = self.bound().await;
                Arc::new(PostgresLog::open(&pool, &topic, PARTITIONS).await.unwrap())
            }
            Log::Kafka => Arc::new(KafkaLog::open(self.kafka(topic, PARTITIONS), TopicKind::Ledger).await.unwrap()),
        }
    }

    fn kafka(&self, topic: String, partitions: u32) -> KafkaOptions {
        let brokers = self.settings.brokers.clone().unwrap();
        KafkaOptions { client: self.client.clone(), ..KafkaOptions::new(brokers, topic, partitions) }
    }

    /// The signals topic, opened beside the server.
    pub(crate) async fn signals(&self) -> Arc<dyn SignalLog> {
        let topic = format!("lotline.{}.signals.v1", self.settings.tenant);
        match self.settings.log {
            Log::Postgres => {
                let pool = self.bound().await;
                Arc::new(PostgresLog::open(&pool, &topic, SIGNAL_PARTITIONS).await.unwrap())
            }
            Log::Kafka => {
                Arc::new(KafkaLog::open(self.kafka(topic, SIGNAL_PARTITIONS), TopicKind::Signals).await.unwrap())
            }
        }
    }

    /// All that stands in the signals topic, in the order of each partition, as an integrator reads it.
    pub(crate) async fn batches(&self) -> Vec<SignalBatch> {
        let (topic, tenant) = (self.signals().await, TenantId::new(self.settings.tenant.clone()).unwrap());
        let mut batches = Vec::new();
        for partition in 0..topic.partitions() {
            let end = topic.end(partition).await.unwrap();
            let mut reader = topic.reader(partition, 0).await.unwrap();
            let mut next = 0;
            while next < end {
                let read = reader.read(1_000, Duration::from_secs(1)).await.unwrap();
                batches.extend(read.records.iter().map(|stored| codec::from_record(&tenant, &stored.record).unwrap()));
                next = read.next;
            }
        }
        batches
    }

    /// Publishes a batch of one sample of signal 1, as a collector would, but for the change.
    pub(crate) async fn publish(&self, change: impl FnOnce(&mut SignalBatch)) {
        let time = Timestamp::from_millis(1_700_000_000_000);
        let mut batch = SignalBatch {
            site: SiteId::new(SITE).unwrap(),
            collector: CollectorId::new("hand").unwrap(),
            epoch: uuid::Uuid::from_u128(1),
            sequence: 1,
            device: DeviceId::new("hand").unwrap(),
            signals: vec![1],
            source_times: vec![time],
            values: vec![0.0],
            qualities: vec![Quality::GOOD],
            collected_at: time,
        };
        change(&mut batch);
        let tenant = TenantId::new(self.settings.tenant.clone()).unwrap();
        self.signals().await.publish(vec![codec::to_record(&tenant, &batch)]).await.unwrap();
    }

    /// Publishes a batch of one sample, and waits until it is the latest value.
    pub(crate) async fn sample(&self, sequence: u64, value: f64) {
        let time = Timestamp::from_millis(1_700_000_000_000 + sequence as i64);
        let change = |batch: &mut SignalBatch| {
            (batch.sequence, batch.values) = (sequence, vec![value]);
            (batch.source_times, batch.collected_at) = (vec![time], time);
        };
        self.publish(change).await;
        let until = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            let latest: Option<f64> =
                sqlx::query_scalar("SELECT value FROM read.signal_latest WHERE tenant = $1 AND number = 1")
                    .bind(&self.settings.tenant)
                    .fetch_optional(&self.database.pool)
                    .await
                    .unwrap();
            if latest == Some(value) {
                return;
            }
            assert!(std::time::Instant::now() < until, "the sample {value} was not seen; latest is {latest:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the read models have all of the ledger, then compares them with a fold that shares no code with them.
    pub(crate) async fn assert_tables_equal_the_log(&self, client: &Client) -> Oracle {
        let ledger = self.ledger().await;
        let until = std::time::Instant::now() + Duration::from_mins(3);
        let (oracle, tables) = loop {
            let before = ends(ledger.as_ref()).await;
            let oracle = Oracle::read(ledger.as_ref()).await;
            self.wait_for(client, &before).await;
            let tables = oracle::tables(&self.database.pool, &self.settings.tenant).await;
            // Where there is a door, what it has counted is appended by and by, and both sides were not read at one moment.
            if ends(ledger.as_ref()).await == before {
                break (oracle, tables);
            }
            assert!(std::time::Instant::now() < until, "the ledger does not come to rest");
        };
        assert_eq!(oracle.world.lots, tables.lots);
        assert_eq!(oracle.world, tables);
        oracle
    }

    /// Waits until every read model of the ledger has reached its end.
    async fn wait_for(&self, _client: &Client, position: &str) {
        let wanted: Vec<(i32, i64)> = position
            .split('_')
            .map(|part| part[1..].split_once('.').unwrap())
            .map(|(partition, offset)| (partition.parse().unwrap(), offset.parse().unwrap()))
            .collect();
        let until = std::time::Instant::now() + Duration::from_mins(1);
        loop {
            let rows: Vec<(String, i32, i64)> = sqlx::query_as(
                "SELECT model, partition, next_offset FROM read.projection_offset WHERE tenant = $1 AND topic LIKE '%ledger%'",
            )
            .bind(&self.settings.tenant)
            .fetch_all(&self.database.pool)
            .await
            .unwrap();
            let behind = |&(partition, end): &(i32, i64)| {
                let there = rows.iter().filter(|row| row.1 == partition && row.2 >= end).count();
                end > 0 && there < Model::LEDGER.len()
            };
            if !wanted.iter().any(behind) {
                return;
            }
            assert!(std::time::Instant::now() < until, "the read models did not catch up: {rows:?}, wanted {wanted:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The ends of all partitions, as a position.
async fn ends(ledger: &dyn LogRead) -> String {
    let mut ends = Vec::new();
    for partition in 0..ledger.partitions() {
        ends.push(format!("l{partition}.{}", ledger.end(partition).await.unwrap()));
    }
    ends.join("_")
}

/// `lot(site, code)` as the API shows it, once the position is visible.
pub(crate) async fn lot(client: &Client, code: &str, position: &serde_json::Value) -> serde_json::Value {
    let query = "query($site: String!, $code: String!, $at: PositionToken) { lot(site: $site, code: $code, consistentWith: $at) {
        code version qcStatus remaining { value unit } parents { quantity { value } parent { code } } children(first: 10) { child { code } } } }";
    let data = client.query(query, &json!({ "site": SITE, "code": code, "at": position })).await;
    data["lot"].clone()
}

/// A position token, written as `l0.17_s1.4`.
pub(crate) fn token(position: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(position)
}

/// The beginning of both topics: what follows from there does not depend on when it begins to listen.
pub(crate) fn beginning() -> String {
    let ledger = (0..PARTITIONS).map(|partition| format!("l{partition}.0"));
    let signals = (0..SIGNAL_PARTITIONS).map(|partition| format!("s{partition}.0"));
    token(&ledger.chain(signals).collect::<Vec<_>>().join("_"))
}

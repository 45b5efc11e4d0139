//! `lotline doctor` looks at what is there, says what holds, and changes nothing; nor do the other tools that only look.

use std::time::Duration;

use lotline_adapters::log::postgres::PostgresLog;
use lotline_domain::envelope::{Attributes, CommandHash, Envelope, Hash};
use lotline_domain::id::{ActorId, CommandId, CorrelationId, EventId, SiteId, StreamKey, TenantId};
use lotline_domain::port::EventLog;
use lotline_domain::timestamp::Timestamp;
use lotline_tests::client::{Client, lot};
use lotline_tests::server::Log;
use lotline_tests::stack;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::json;
use uuid::Uuid;

use crate::site::{Plant, SITE};
use crate::tools::{said, tool};

const LOOKING: [&[&str]; 3] = [&["doctor"], &["log", "tail"], &["log", "stats"]];

/// What a tool that must fail says.
fn complaint(plant: &Plant, arguments: &[&str]) -> String {
    let output = tool(plant, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.lines().count() == 1, "{arguments:?}: {text}");
    text
}

async fn count(plant: &Plant, question: &'static str) -> i64 {
    sqlx::query_scalar(question).fetch_one(&plant.database.pool).await.unwrap()
}

async fn run(plant: &Plant, statement: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&plant.database.pool).await.unwrap();
}

#[tokio::test]
async fn whoever_only_looks_creates_nothing() {
    let mut plant = Plant::new("looking", Log::Postgres).await;
    let copy: &[&str] = &["log", "copy", "--to", "kafka"];
    for arguments in LOOKING.into_iter().chain([copy]) {
        let said = complaint(&plant, arguments);
        assert!(said.contains("has no schema 'log' yet: run `lotline migrate`"), "{arguments:?}: {said}");
    }
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('log', 'read', 'vault')";
    assert_eq!(count(&plant, schemas).await, 0);

    assert!(tool(&plant, &["migrate"]).status.success());
    for arguments in LOOKING.into_iter().chain([copy]) {
        let said = complaint(&plant, arguments);
        assert!(
            said.contains("there is no topic") && said.contains("`lotline serve` creates it"),
            "{arguments:?}: {said}"
        );
    }
    plant.settings.log = Log::Kafka;
    plant.settings.brokers = Some(stack::kafka_brokers());
    for arguments in LOOKING {
        let said = complaint(&plant, arguments);
        assert!(said.contains("in Kafka at") && said.contains("`lotline serve` creates it"), "{arguments:?}: {said}");
    }
    assert_eq!(count(&plant, "SELECT (SELECT count(*) FROM log.topic) + (SELECT count(*) FROM log.origin)").await, 0);
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", stack::kafka_brokers()).create().expect("a client");
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(20)).expect("Kafka answers");
    assert!(!metadata.topics().iter().any(|topic| topic.name().contains(&plant.settings.tenant)));

    run(&plant, "DELETE FROM read._sqlx_migrations WHERE version = (SELECT max(version) FROM read._sqlx_migrations)")
        .await;
    let said = complaint(&plant, &["doctor"]);
    assert!(said.contains("schema 'read'") && said.contains("lacks 1 migrations of this version"), "{said}");
}

#[tokio::test]
async fn durability_is_what_the_brokers_do_not_what_is_configured() {
    let mut plant = Plant::new("durable", Log::Kafka).await;
    let server = plant.serve().await;
    Client::new(&server.url, "ann").mutate("registerLot", "", &lot(SITE, "L-1", "1", &[])).await;
    let topic = format!("lotline.{}.ledger.v1", plant.settings.tenant);
    // The topic is there without it, whatever the configuration says by now.
    plant.settings.environment.push(("LOTLINE_KAFKA__FLUSH_EACH_BATCH".into(), "true".into()));
    plant.settings.environment.push(("LOTLINE_KAFKA__REPLICATION".into(), "3".into()));
    let doctor = said(&tool(&plant, &["doctor"]));
    let line = |name: &str| doctor.lines().find(|line| line.starts_with("durability") && line.contains(name));
    let ledger = line(&topic).unwrap_or_else(|| panic!("{doctor}"));
    assert!(ledger.contains("has 1 copies, min.insync.replicas=1, flush.messages not 1"), "{ledger}");
    assert!(ledger.contains("NOT power loss"), "{ledger}");
    assert!(line("__transaction_state").is_some_and(|line| line.contains("NOT power loss")), "{doctor}");

    plant.settings.environment.clear();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", stack::kafka_brokers()).create().expect("a client");
    // What is not named here falls back to the broker's default.
    let settings = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("unclean.leader.election.enable", "false"),
        ("max.message.bytes", "2000000"),
        ("flush.messages", "1"),
    ];
    let change = AlterConfig { specifier: ResourceSpecifier::Topic(&topic), entries: settings.into_iter().collect() };
    let changed = admin.alter_configs([&change], &AdminOptions::new()).await.expect("Kafka answers");
    assert!(changed.iter().all(Result::is_ok), "{changed:?}");
    let flushed = || {
        said(&tool(&plant, &["doctor"]))
            .lines()
            .any(|line| line.contains(&topic) && line.contains("survives power loss"))
    };
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while !flushed() {
        assert!(std::time::Instant::now() < until, "{}", said(&tool(&plant, &["doctor"])));
    }
}

#[tokio::test]
async fn durability_and_clock_of_postgres_are_read_from_it() {
    let plant = Plant::new("settings", Log::Postgres).await;
    let server = plant.serve().await;
    Client::new(&server.url, "ann").mutate("registerLot", "", &lot(SITE, "L-1", "1", &[])).await;
    let name = plant.database.url.rsplit('/').next().unwrap();
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(&plant.database.pool).await.unwrap();
    for value in ["off", "on"] {
        run(&plant, &format!("ALTER DATABASE {name} SET synchronous_commit = {value}")).await;
        let doctor = said(&tool(&plant, &["doctor"]));
        assert!(doctor.contains(&format!("fsync={fsync}")), "{doctor}");
        assert_eq!(doctor.contains("WARNING: PostgreSQL with synchronous_commit=off"), value == "off", "{doctor}");
        assert!(doctor.contains("agrees with PostgreSQL's to the second"), "{doctor}");
    }

    // The server's clock can't be moved here, but what it answers can.
    run(&plant, "CREATE SCHEMA early").await;
    run(&plant, &format!("ALTER DATABASE {name} SET search_path = early, pg_catalog, public")).await;
    let clock = |seconds: i32| {
        format!(
            "CREATE OR REPLACE FUNCTION early.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
             $$ SELECT pg_catalog.clock_timestamp() - interval '{seconds} seconds' $$"
        )
    };
    run(&plant, &clock(5)).await;
    let doctor = said(&tool(&plant, &["doctor"]));
    // A fraction of a second passes between question and answer.
    let warned =
        ["4.9", "5.0"].iter().any(|s| doctor.contains(&format!("WARNING: this process's clock is {s} s ahead of")));
    assert!(warned, "{doctor}");
    assert!(doctor.contains("idempotency keys"), "{doctor}");
    run(&plant, &clock(-90)).await;
    let output = tool(&plant, &["doctor"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{printed}");
    // A fraction of a second passes between question and answer.
    assert!(
        printed.contains("FAILURE: this process's clock is") && printed.contains("s behind PostgreSQL's"),
        "{printed}"
    );
}

/// The owner's login, which is all that one URL gives, could leave the tenant's role; a login of its own can't.
#[tokio::test]
async fn it_is_said_how_far_rows_are_protected() {
    let mut plant = Plant::new("rows", Log::Postgres).await;
    drop(plant.serve().await);
    let rows = |plant: &Plant| {
        let doctor = said(&tool(plant, &["doctor"]));
        doctor.lines().find(|line| line.starts_with("rows")).unwrap_or_else(|| panic!("{doctor}")).to_owned()
    };
    let line = rows(&plant);
    assert!(line.contains("WARNING") && line.contains("'lotline' can become the owner of the tables"), "{line}");
    assert!(line.contains("set postgres.serve_url"), "{line}");

    let tenant = plant.settings.tenant.clone();
    let served_by = |plant: &mut Plant, role: &str| {
        let url = plant.database.url.replace("lotline@", &format!("{role}%3A{tenant}@"));
        plant.settings.environment.retain(|(name, _)| name != "LOTLINE_POSTGRES__SERVE_URL");
        plant.settings.environment.push(("LOTLINE_POSTGRES__SERVE_URL".into(), url));
    };
    served_by(&mut plant, "lotline_app");
    run(&plant, &format!("ALTER ROLE \"lotline_app:{tenant}\" LOGIN")).await;
    let line = rows(&plant);
    assert!(!line.contains("WARNING") && line.contains("can become nobody else"), "{line}");
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let registered = ann.mutate("registerLot", "", &lot(SITE, "L-1", "1", &[])).await;
    let question = "query($at: PositionToken) { lots(first: 5, consistentWith: $at) { edges { node { code } } } }";
    let answer = ann.query(question, &json!({ "at": registered["position"] })).await;
    assert_eq!(answer["lots"]["edges"][0]["node"]["code"], "L-1", "{answer}");

    served_by(&mut plant, "lotline_read");
    run(&plant, &format!("ALTER ROLE \"lotline_read:{tenant}\" LOGIN")).await;
    let said = complaint(&plant, &["doctor"]);
    assert!(said.contains(&format!("permission denied to set role \"lotline_app:{tenant}\"")), "{said}");
}

/// An event that was decided by a clock that was ahead holds the times of its successors there.
#[tokio::test]
async fn an_event_of_the_future_is_found() {
    let plant = Plant::new("future", Log::Postgres).await;
    drop(plant.serve().await);
    let tenant = TenantId::new(plant.settings.tenant.clone()).unwrap();
    let now: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&plant.database.pool).await.unwrap();
    let attributes = Attributes {
        stream: StreamKey::Site(SiteId::new(SITE).unwrap()),
        id: EventId(Uuid::from_u128(1)),
        event_type: "lotline.lot.registered.v1".into(),
        subject: "lot/1".into(),
        time: Timestamp::from(now).plus_micros(120_000_000),
        sequence: 1,
        actor: ActorId::new("ann").unwrap(),
        correlation_id: CorrelationId(Uuid::from_u128(2)),
        causation_id: CommandId(Uuid::from_u128(3)),
        command_hash: CommandHash::default(),
        tenant_sequence: Some(0),
        traceparent: None,
        tenant,
    };
    let (_, record) = Envelope::seal_record(&attributes, Hash::default(), "{}".into());
    let pool = plant.bound().await;
    let log = PostgresLog::open(&pool, &format!("lotline.{}.ledger.v1", plant.settings.tenant), 4).await.unwrap();
    log.writer(2).await.unwrap().append(vec![record]).await.unwrap();
    let output = tool(&plant, &["doctor"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{printed}");
    assert!(printed.contains("FAILURE: the newest event of partition 2 was decided 11"), "{printed}");
}

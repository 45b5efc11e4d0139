//! PostgreSQL is killed while workers write: at moments left to chance, and at the very one when a worker has moved its offset and not yet
//! written its rows. The read models equal the log afterwards, and with the embedded log nothing acknowledged is lost.

use std::time::{Duration, Instant};

use lotline_tests::client::Client;
use lotline_tests::server::Log;
use lotline_tests::stack::{self, Services};
use sqlx::{Connection, PgConnection};

use crate::load::{Load, PATIENCE, SITES, assert_each_once, chance, every_site_answers, pause};
use crate::site::Plant;

/// Answers that show that work goes on.
const SOME: usize = 100;

#[tokio::test]
async fn postgres_is_killed_beside_kafka() {
    is_killed("pg-kafka", Log::Kafka).await;
}

#[tokio::test]
async fn postgres_is_killed_with_the_embedded_log() {
    is_killed("pg-embedded", Log::Postgres).await;
}

async fn is_killed(name: &str, log: Log) {
    let (seed, mut chance) = chance(name);
    let postgres = Services::start(name, &["postgres"]).await;
    let database = stack::database_at(&postgres.setting("STACK_POSTGRES_URL").await, name).await;
    let mut plant = Plant::on(name, log, database, (log == Log::Kafka).then(stack::kafka_brokers));
    plant.settings.environment.push(("LOTLINE_TENANT__SITES".into(), format!("{SITES:?}")));
    let server = plant.serve().await;
    every_site_answers(&server, "first").await;
    build_gate(&plant).await;
    let load = Load::start(seed, &[&server]);
    for kill in 0..3 {
        load.goes_on(SOME).await;
        if kill == 1 {
            let gate = close_gate(&plant).await;
            until_somebody_waits(&plant).await;
            postgres.kill("postgres").await;
            drop(gate);
        } else {
            pause(&mut chance, 0, 900).await;
            postgres.kill("postgres").await;
        }
        pause(&mut chance, 100, 2_500).await;
        postgres.up(&["postgres"]).await;
        let took = load.goes_on(SOME).await;
        eprintln!("went on {} ms after PostgreSQL was back", took.as_millis());
    }
    every_site_answers(&server, "last").await;
    let told = load.end().await;
    plant.assert_tables_equal_the_log(&Client::new(&server.url, "judge")).await;
    assert_each_once(&plant, &told).await;
}

/// Makes whoever writes lots wait while the gate is closed. Moving the offset is the first thing that a worker does in its transaction.
async fn build_gate(plant: &Plant) {
    let sentence = "CREATE FUNCTION wait_at_gate() RETURNS TRIGGER LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NEW; END $$;
         CREATE TRIGGER gate BEFORE INSERT OR UPDATE ON read.lots FOR EACH ROW EXECUTE FUNCTION wait_at_gate()";
    sqlx::raw_sql(sentence).execute(&plant.database.pool).await.unwrap();
}

/// The gate opens when its keeper goes, be it with the server.
async fn close_gate(plant: &Plant) -> PgConnection {
    let mut keeper = PgConnection::connect(&plant.database.url).await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(4711)").execute(&mut keeper).await.unwrap();
    keeper
}

async fn until_somebody_waits(plant: &Plant) {
    let until = Instant::now() + PATIENCE;
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity
         WHERE datname = CURRENT_DATABASE() AND wait_event = 'advisory' AND query LIKE '%read.lots%'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&plant.database.pool).await.unwrap() == 0 {
        assert!(Instant::now() < until, "nobody writes lots");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

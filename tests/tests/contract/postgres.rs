//! What the embedded log alone can be asked: its privileges, its lock, its lost connections.

use std::time::Instant;

use lotline_adapters::log::postgres::FALLBACK_POLL;
use lotline_domain::port::{AppendError, EventLog, LogRead};
use lotline_tests::contract::subject::Postgres;
use lotline_tests::contract::{DEADLINE, Subject, plain, plain_batch, read_all, values};
use sqlx::PgPool;

const INSUFFICIENT_PRIVILEGE: &str = "42501";

async fn code_of(pool: &PgPool, statement: &'static str) -> Option<String> {
    let error = sqlx::query(statement).execute(pool).await.map(|_| ()).expect_err("the statement is refused");
    error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned))
}

/// What is written stays, for the application's role and for the owner, even where a statement finds no row.
#[tokio::test]
async fn records_are_only_ever_inserted() {
    let subject = Postgres::new().await;
    let log = subject.open(1).await;
    log.writer(0).await.unwrap().append(plain_batch("a", 2)).await.unwrap();
    for statement in [
        "UPDATE log.record SET value = ''",
        "UPDATE log.record SET key = key WHERE false",
        "DELETE FROM log.record",
        "DELETE FROM log.record WHERE position = 1",
        "TRUNCATE log.record",
        "TRUNCATE log.topic, log.partition, log.record",
    ] {
        for pool in [&subject.pool, &subject.database.pool] {
            assert_eq!(code_of(pool, statement).await.as_deref(), Some(INSUFFICIENT_PRIVILEGE), "{statement}");
        }
    }
    // Only a superuser may turn triggers off, and this one fires all the same: either the switch is refused or the deletion.
    let mut replica = subject.database.pool.acquire().await.unwrap();
    let switched =
        sqlx::raw_sql("SET session_replication_role = replica; DELETE FROM log.record").execute(&mut *replica).await;
    switched.expect_err("records stay where triggers are off, too");
    assert_eq!(values(&read_all(&log, 0).await), ["a-0", "a-1"]);
}

/// The application's role can't lift the rule.
#[tokio::test]
async fn the_application_owns_nothing() {
    let subject = Postgres::new().await;
    subject.open(1).await;
    let role: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(&subject.pool).await.unwrap();
    assert_eq!(role, "lotline_app:dairy");
    for statement in [
        "ALTER TABLE log.record DISABLE TRIGGER append_only",
        "DROP TABLE log.record",
        "DROP FUNCTION log.refuse_change() CASCADE",
        "CREATE TABLE log.mine (id integer)",
        "UPDATE log.topic SET partitions = 2",
        "UPDATE log.partition SET topic = 'other'",
        "DELETE FROM log.partition",
        "SET session_replication_role = replica",
    ] {
        assert_eq!(code_of(&subject.pool, statement).await.as_deref(), Some(INSUFFICIENT_PRIVILEGE), "{statement}");
    }
}

/// Migrating again, and from several processes at once, changes nothing.
#[tokio::test]
async fn migrations_run_again_and_at_once() {
    let subject = Postgres::new().await;
    let pool = &subject.database.pool;
    let again = futures_util::future::join_all((0..4).map(|_| lotline_adapters::log::postgres::migrate(pool))).await;
    assert!(again.iter().all(Result::is_ok), "{again:?}");
    let schemas: Vec<String> = sqlx::query_scalar(
        "SELECT table_schema::text FROM information_schema.tables WHERE table_name = '_sqlx_migrations'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert_eq!(schemas, ["log"]);
}

/// An append waits for the lock when its connection is cut: its caller learns nothing, the log knows that it did not land.
#[tokio::test]
async fn a_lost_connection_is_an_unknown_outcome() {
    let subject = Postgres::new().await;
    let log = subject.open(1).await;
    let mut writer = log.writer(0).await.unwrap();
    writer.append(vec![plain("before")]).await.unwrap();
    let mut blocker = subject.database.pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM log.partition FOR UPDATE").execute(&mut *blocker).await.unwrap();
    let cutting = cut_the_waiting_append(&subject.database.pool);
    let (result, ()) = tokio::join!(writer.append(plain_batch("cut", 3)), cutting);
    assert!(matches!(result, Err(AppendError::Unknown(_))), "{result:?}");
    blocker.rollback().await.unwrap();
    let mut successor = log.writer(0).await.unwrap();
    assert_eq!(values(&read_all(&log, 0).await), ["before"]);
    successor.append(plain_batch("cut", 3)).await.unwrap();
    assert_eq!(values(&read_all(&log, 0).await), ["before", "cut-0", "cut-1", "cut-2"]);
}

async fn cut_the_waiting_append(pool: &PgPool) {
    let waiting = async {
        loop {
            let cut: Option<bool> = sqlx::query_scalar(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'WITH mine%'",
            )
            .fetch_optional(pool)
            .await
            .unwrap();
            if cut == Some(true) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("the append comes to wait for the lock");
}

/// The caller goes away while its statement waits for the lock. It lands when the lock is free, or the successor fences it;
/// here it stands first in the line, so it lands, and the successor sees it.
#[tokio::test]
async fn an_abandoned_append_lands_before_the_successor_or_never() {
    let subject = Postgres::new().await;
    let log = subject.open(1).await;
    let mut writer = log.writer(0).await.unwrap();
    let mut blocker = subject.database.pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM log.partition FOR UPDATE").execute(&mut *blocker).await.unwrap();
    let append = writer.append(plain_batch("left", 2));
    let abandoned = futures_util::future::select(append, Box::pin(until_locked(&subject.database.pool, 1))).await;
    drop(abandoned);
    drop(writer);
    let taking_over = log.writer(0);
    let releasing = async {
        until_locked(&subject.database.pool, 2).await;
        blocker.rollback().await.unwrap();
    };
    let (successor, ()) = tokio::join!(taking_over, releasing);
    let found = values(&read_all(&log, 0).await);
    assert_eq!(found, ["left-0", "left-1"]);
    successor.unwrap().append(vec![plain("next")]).await.unwrap();
    assert_eq!(values(&read_all(&log, 0).await), ["left-0", "left-1", "next"]);
}

async fn until_locked(pool: &PgPool, count: i64) {
    let waiting = async {
        loop {
            let locked: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(pool)
            .await
            .unwrap();
            if locked >= count {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("the statements come to wait for the lock");
}

/// Positions are dense, whoever appends and however often it fails in between.
#[tokio::test]
async fn positions_are_dense() {
    let subject = Postgres::new().await;
    let log = subject.open(1).await;
    for round in 0..5 {
        let mut stale = log.writer(0).await.unwrap();
        let mut writer = log.writer(0).await.unwrap();
        assert!(matches!(stale.append(plain_batch("stale", 3)).await, Err(AppendError::Fenced)));
        writer.append(plain_batch(&round.to_string(), 3)).await.unwrap();
    }
    let offsets: Vec<_> = read_all(&log, 0).await.iter().map(|stored| stored.offset).collect();
    assert_eq!(offsets, (0..15).collect::<Vec<_>>());
    assert_eq!(log.end(0).await.unwrap(), 15);
}

/// A record that a stranger put where the next one belongs: the append fails as a whole, and replay meets the stranger.
#[tokio::test]
async fn a_stranger_in_the_way_stops_the_writer() {
    let subject = Postgres::new().await;
    let log = subject.open(1).await;
    let mut writer = log.writer(0).await.unwrap();
    writer.append(vec![plain("mine")]).await.unwrap();
    subject.append_foreign(0, plain("stranger")).await;
    let result = writer.append(plain_batch("more", 2)).await;
    assert!(matches!(result, Err(AppendError::Unknown(_))), "{result:?}");
    assert_eq!(values(&read_all(&log, 0).await), ["mine", "stranger"]);
}

/// By NOTIFY, across processes: far sooner than a reader that only looks from time to time.
#[tokio::test]
async fn a_notification_wakes_readers_of_other_processes() {
    const ROUNDS: u32 = 20;
    let subject = Postgres::new().await;
    let (here, there) = (subject.open(2).await, subject.open(2).await);
    let mut writer = here.writer(1).await.unwrap();
    let mut reader = there.reader(1, 0).await.unwrap();
    // The first round may come before the other process listens.
    writer.append(vec![plain("first")]).await.unwrap();
    assert_eq!(reader.read(10, DEADLINE).await.unwrap().records.len(), 1);
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        let (batch, appended) = tokio::join!(reader.read(10, DEADLINE), writer.append(vec![plain("next")]));
        assert_eq!((batch.unwrap().records.len(), appended.is_ok()), (1, true));
    }
    assert!(begin.elapsed() < FALLBACK_POLL * ROUNDS / 2, "{ROUNDS} rounds took {:?}", begin.elapsed());
}

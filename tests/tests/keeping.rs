//! What Lotline keeps beside the log: snapshots that can be rebuilt, and keys of personal data that can't.

#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use lotline_adapters::personal_keys::PostgresPersonalKeys;
use lotline_adapters::snapshot::{MemorySnapshots, PostgresSnapshots};
use lotline_domain::id::{ActorId, TenantId};
use lotline_domain::port::{PersonalKeys, Snapshot, SnapshotStore};
use lotline_tests::contract::subject::Postgres;

const TOPIC: &str = "lotline.dairy.ledger.v1";

fn snapshot(position: i64, format: u32, chunks: &[&[u8]]) -> Snapshot {
    Snapshot { position, format, chunks: chunks.iter().map(|chunk| chunk.to_vec()).collect() }
}

async fn snapshots_are_replaced(store: &dyn SnapshotStore) {
    assert_eq!(store.load(TOPIC, 0, 1).await.unwrap(), None);
    let (first, second) = (snapshot(10, 1, &[b"a", b"", &[0, 255]]), snapshot(20, 1, &[b"one chunk"]));
    store.save(TOPIC, 0, first.clone()).await.unwrap();
    assert_eq!(store.load(TOPIC, 0, 1).await.unwrap(), Some(first.clone()));
    store.save(TOPIC, 0, second.clone()).await.unwrap();
    assert_eq!(store.load(TOPIC, 0, 1).await.unwrap(), Some(second.clone()));
    // A slow fold that comes late does not take the newer one's place.
    store.save(TOPIC, 0, first).await.unwrap();
    assert_eq!(store.load(TOPIC, 0, 1).await.unwrap(), Some(second.clone()));
    store.save(TOPIC, 0, second.clone()).await.unwrap();
    assert_eq!(store.load(TOPIC, 0, 1).await.unwrap(), Some(second.clone()), "saving again changes nothing");
    // Places and formats are apart.
    store.save(TOPIC, 1, snapshot(5, 1, &[b"other"])).await.unwrap();
    store.save(TOPIC, 0, snapshot(30, 2, &[b"newer format"])).await.unwrap();
    assert_eq!(store.load(TOPIC, 0, 1).await.unwrap(), Some(second));
    assert_eq!(store.load(TOPIC, 0, 2).await.unwrap().map(|found| found.position), Some(30));
    assert_eq!(store.load("lotline.other.ledger.v1", 0, 1).await.unwrap(), None);
    assert_eq!(store.load(TOPIC, 0, 3).await.unwrap(), None);
}

#[tokio::test]
async fn snapshots_in_memory_are_replaced() {
    snapshots_are_replaced(&MemorySnapshots::default()).await;
}

#[tokio::test]
async fn snapshots_in_postgres_are_replaced() {
    let subject = Postgres::new().await;
    snapshots_are_replaced(&PostgresSnapshots::new(subject.pool.clone())).await;
}

/// With a chunk missing, the newest complete one before it counts.
#[tokio::test]
async fn incomplete_snapshots_are_ignored() {
    let subject = Postgres::new().await;
    let store = PostgresSnapshots::new(subject.pool.clone());
    store.save(TOPIC, 0, snapshot(10, 1, &[b"a", b"b"])).await.unwrap();
    sqlx::query(
        "INSERT INTO log.snapshot (topic, partition, format, position, chunk, chunks, data)
         VALUES ($1, 0, 1, 20, 0, 3, 'x'), ($1, 0, 1, 20, 2, 3, 'z')",
    )
    .bind(TOPIC)
    .execute(&subject.pool)
    .await
    .unwrap();
    assert_eq!(store.load(TOPIC, 0, 1).await.unwrap().map(|found| found.position), Some(10));
    sqlx::query("DELETE FROM log.snapshot WHERE position = 10 AND chunk = 1").execute(&subject.pool).await.unwrap();
    assert_eq!(store.load(TOPIC, 0, 1).await.unwrap(), None);
    store.save(TOPIC, 0, snapshot(30, 1, &[b"c"])).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM log.snapshot").fetch_one(&subject.pool).await.unwrap();
    assert_eq!(left, 1, "what is left of others is cleared away");
}

/// One key per actor and tenant, however many ask for it at once; other tenants can't open it.
#[tokio::test]
async fn a_person_has_one_key_until_it_is_destroyed() {
    let subject = Postgres::new().await;
    let keys = PostgresPersonalKeys::new(subject.pool.clone());
    // As the owner, whom no policy binds: what keeps tenants apart is then what is asked.
    let unbound = PostgresPersonalKeys::new(subject.database.pool.clone());
    let tenants = ["dairy", "bakery"].map(|name| TenantId::new(name).unwrap());
    let (ann, bob) = (ActorId::new("ann").unwrap(), ActorId::new("bob").unwrap());
    let asked = futures_util::future::join_all((0..8).map(|_| keys.key_of(&tenants[0], &ann))).await;
    let key = asked[0].as_ref().unwrap();
    assert!(asked.iter().all(|other| other.as_ref().unwrap() == key));
    assert_eq!(keys.key(&tenants[0], key.id).await.unwrap(), Some(*key));
    assert_eq!(unbound.key(&tenants[1], key.id).await.unwrap(), None);
    let others = [keys.key_of(&tenants[0], &bob).await.unwrap(), unbound.key_of(&tenants[1], &ann).await.unwrap()];
    assert!(others.iter().all(|other| other.secret != key.secret && other.id != key.id));

    let sealed = key.seal("qc_decision/1/notes", "Ann saw foam");
    assert!(keys.destroy(&tenants[0], &ann).await.unwrap());
    assert!(!keys.destroy(&tenants[0], &ann).await.unwrap());
    assert_eq!(keys.key(&tenants[0], sealed.key_id).await.unwrap(), None);
    let fresh = keys.key_of(&tenants[0], &ann).await.unwrap();
    assert!(fresh.open("qc_decision/1/notes", &sealed).is_err());
    assert_eq!(keys.key_of(&tenants[0], &bob).await.unwrap(), others[0], "other keys stay");
}

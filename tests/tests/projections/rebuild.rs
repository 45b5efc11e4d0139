//! Rebuilds beside a live model: equal rows, a swap that nobody notices, one at a time, and what an interrupted or replaced one can't do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lotline_domain::port::{BoxFuture, LogError, LogRead, LogReader};
use lotline_domain::record::{Offset, ReadBatch};
use lotline_projections::generations::idle;
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use lotline_projections::rebuild::{RebuildError, discard};
use lotline_projections::{audit, lots};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fixture::{FakeLog, Plant, Shared, register, tenant};
use crate::replay::busy_ledger;
use crate::rig::{Rig, soon};

fn log() -> Shared {
    FakeLog::shared("lotline.dairy.ledger.v1", 400)
}

async fn waiting_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = soon();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Where the generation that is being built stands in a model.
async fn built(rig: &Rig, model: Model) -> Offset {
    sqlx::query_scalar(
        "SELECT COALESCE(MAX(next_offset), -1) FROM read.projection_offset JOIN read.projection_generation
         USING (tenant, model, generation) WHERE model = $1 AND state = 'building'",
    )
    .bind(model.name())
    .fetch_one(rig.pool())
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_gives_the_rows_that_were_there() {
    let rig = Rig::new("rebuild").await;
    let plant = busy_ledger();
    let worker = rig.ledger(&plant.log);
    rig.ledger_at(plant.log.0.next()).await;
    let before = rig.rows().await;
    // What is wrong in the live rows must not come back.
    sqlx::query("UPDATE read.lots SET product = 'spoiled'").execute(rig.pool()).await.unwrap();
    sqlx::query("DELETE FROM read.genealogy").execute(rig.pool()).await.unwrap();
    assert_ne!(rig.rows().await, before);

    let mut seen = Vec::new();
    let done = rig.rebuild(plant.log.clone(), &Model::LEDGER).run(&mut |progress| seen.push(progress)).await.unwrap();
    assert_eq!(rig.rows().await, before);
    assert!(done.resumed.is_empty() && done.healed.is_empty() && done.deleted > 5_000, "{done:?}");
    assert!(seen.iter().all(|progress| progress.done <= progress.total) && !seen.is_empty());
    assert!(idle(rig.pool(), &tenant()).await.unwrap().is_empty(), "the old rows are gone");
    for (table, least) in [("lots", 1_400), ("audit", 2_000)] {
        let sql = format!("SELECT COUNT(DISTINCT generation) * 1000000 + COUNT(*) FROM read.{table}");
        let found: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(rig.pool()).await.unwrap();
        assert!((1_000_000 + least..2_000_000).contains(&found), "{table} has one generation only: {found}");
    }
    worker.stop().await;
}

/// One model alone is rebuilt; the others keep their generation and their offsets.
#[tokio::test(flavor = "multi_thread")]
async fn one_model_is_rebuilt_and_the_others_are_left_alone() {
    let rig = Rig::new("rebuild_one").await;
    let mut plant = Plant::new(log());
    plant.day("north", 200);
    let worker = rig.ledger(&plant.log);
    rig.ledger_at(plant.log.0.next()).await;
    rig.rebuild(plant.log.clone(), &[Model::Audit]).run(&mut |_| {}).await.unwrap();
    let generations: Vec<(String, bool)> =
        sqlx::query_as("SELECT model, generation > 0 FROM read.projection_generation ORDER BY model")
            .fetch_all(rig.pool())
            .await
            .unwrap();
    assert_eq!(generations.len(), Model::LEDGER.len());
    assert!(generations.iter().all(|(model, moved)| *moved == (model == "audit")), "{generations:?}");
    // The live worker goes on in the new generation and in the old ones.
    plant.day("north", 50);
    rig.ledger_at(plant.log.0.next()).await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.audit").await, 275);
    worker.stop().await;
}

/// A reader that asks again and again on connections with prepared statements, and never sees less than before.
struct Reader {
    task: JoinHandle<u32>,
    stop: CancellationToken,
}

impl Reader {
    fn start(rig: &Rig) -> Self {
        let (pool, progress, stop) = (rig.pool().clone(), rig.progress.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut rounds, mut next, mut most) = (0, 0, 0);
            let mut follower = progress.subscribe(Model::Audit);
            while !stopped.is_cancelled() {
                // Whatever was announced is there, and whatever was there stays.
                let reached = follower.borrow_and_update().get(Model::Audit.topic(), 0).unwrap_or(0);
                let rows = audit::changed_since(&pool, &tenant(), 0, next, 10_000).await.expect("a reader never fails");
                for row in &rows {
                    // The fake log numbers its records 0, 3, 6, …
                    assert_eq!(row.log_offset, (next + 2) / 3 * 3, "no gap and no double");
                    next = row.log_offset + 1;
                }
                assert!(next + 2 >= reached, "a row that was announced is missing: {next} of {reached}");
                let found = lots::list(&pool, &tenant(), &lots::LotFilter::default(), &Page::first(10_000)).await;
                let found = found.expect("a reader never fails").len();
                assert!(found >= most, "lots have gone: {found} after {most}");
                most = found;
                rounds += 1;
            }
            rounds
        });
        Self { task, stop }
    }

    async fn stop(self) -> u32 {
        self.stop.cancel();
        self.task.await.expect("the reader saw nothing wrong")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_under_load_are_not_noticed() {
    let rig = Rig::new("rebuild_load").await;
    let mut plant = Plant::new(log());
    plant.day("north", 2_000);
    let log = plant.log.clone();
    let workers = [rig.ledger(&log), rig.ledger(&log.0.copy(400))];
    // The second worker's copy ends where the load begins, so that it is overtaken all the time and then idle.
    rig.ledger_at(log.0.next()).await;
    let (plant, stop) = (Arc::new(Mutex::new(plant)), Arc::new(AtomicBool::new(false)));
    let load = tokio::spawn({
        let (plant, stop) = (Arc::clone(&plant), Arc::clone(&stop));
        async move {
            let mut lots = 0;
            while !stop.load(Ordering::Relaxed) {
                lots += 1;
                plant.lock().await.decide("north", register(&format!("load {lots}"), &[]));
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            lots
        }
    });
    let readers = [Reader::start(&rig), Reader::start(&rig)];
    let mut moved = Vec::new();
    for _ in 0..3 {
        let done = rig.rebuild(log.clone(), &Model::LEDGER).run(&mut |_| {}).await.unwrap();
        moved.push(done.held);
    }
    stop.store(true, Ordering::Relaxed);
    let lots = load.await.unwrap();
    assert!(lots > 300, "the load was real: {lots} lots");
    let end = log.0.next();
    rig.ledger_at(end).await;
    for reader in readers {
        let rounds = reader.stop().await;
        assert!(rounds > 20, "the readers read: {rounds} rounds");
    }
    for worker in workers {
        worker.stop().await;
    }
    let after = rig.rows().await;
    let reference = Rig::new("rebuild_load_reference").await;
    let worker = reference.ledger(&log);
    reference.ledger_at(end).await;
    worker.stop().await;
    assert_eq!(after, reference.rows().await, "no gap and no double, held for {moved:?}");
}

/// A log whose readers stop at an offset until the gate is opened.
pub(crate) struct Gated {
    pub(crate) log: Shared,
    pub(crate) at: Offset,
    pub(crate) gate: CancellationToken,
}

struct GatedReader {
    reader: Box<dyn LogReader>,
    next: Offset,
    at: Offset,
    gate: CancellationToken,
}

impl LogRead for Gated {
    fn topic(&self) -> &str {
        self.log.topic()
    }

    fn partitions(&self) -> u32 {
        self.log.partitions()
    }

    fn end(&self, partition: u32) -> BoxFuture<'_, Result<Offset, LogError>> {
        self.log.end(partition)
    }

    fn reader(&self, partition: u32, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        Box::pin(async move {
            let reader = self.log.reader(partition, from).await?;
            let gated = GatedReader { reader, next: from, at: self.at, gate: self.gate.clone() };
            Ok(Box::new(gated) as Box<dyn LogReader>)
        })
    }
}

impl LogReader for GatedReader {
    fn read(&mut self, max: usize, wait: Duration) -> BoxFuture<'_, Result<ReadBatch, LogError>> {
        Box::pin(async move {
            if self.next >= self.at {
                self.gate.cancelled().await;
            }
            let batch = self.reader.read(max, wait).await?;
            self.next = batch.next;
            Ok(batch)
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rebuild_is_refused_and_an_interrupted_one_gone_on_with() {
    let rig = Rig::new("rebuild_twice").await;
    let mut plant = Plant::new(log());
    plant.day("north", 2_000);
    let worker = rig.ledger(&plant.log);
    rig.ledger_at(plant.log.0.next()).await;
    let before = rig.rows().await;
    worker.stop().await;

    let models = [Model::Audit, Model::Lots];
    let gated = Gated { log: plant.log.clone(), at: 1_000, gate: CancellationToken::new() };
    let rebuild = rig.rebuild(gated, &models);
    let first = tokio::spawn(async move { rebuild.run(&mut |_| {}).await });
    waiting_for("the first rebuild gets to the gate", async || (built(&rig, Model::Lots).await >= 1_000).then_some(()))
        .await;
    let refused = rig.rebuild(plant.log.clone(), &[Model::Audit]).run(&mut |_| {}).await.unwrap_err();
    assert!(matches!(refused, RebuildError::Busy { model: Model::Audit }), "{refused}");
    assert!(matches!(discard(rig.pool(), &tenant(), Model::Lots).await, Err(RebuildError::Busy { .. })));
    let found = idle(rig.pool(), &tenant()).await.unwrap();
    assert!(found.iter().all(|idle| idle.building && idle.attended), "{found:?}");
    assert_eq!(found.iter().map(|idle| idle.model).collect::<Vec<_>>(), models);

    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    waiting_for("PostgreSQL notices that the rebuild has gone", async || {
        let found = idle(rig.pool(), &tenant()).await.unwrap();
        found.iter().all(|idle| idle.building && !idle.attended).then_some(())
    })
    .await;
    assert_eq!(rig.rows().await, before, "readers have noticed nothing");
    let reached = built(&rig, Model::Lots).await;
    assert!((1_000..plant.log.0.next()).contains(&reached), "{reached}");

    // It goes on where it stopped: the beginning of the log is not needed any more.
    let rest = Gated { log: plant.log.clone(), at: 0, gate: CancellationToken::new() };
    rest.gate.cancel();
    let done = rig.rebuild(rest, &models).run(&mut |_| {}).await.unwrap();
    assert_eq!(done.resumed, models);
    assert_eq!(rig.rows().await, before);
}

/// Whoever does not want to go on may begin again, or throw away what was left.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_may_be_thrown_away() {
    let rig = Rig::new("rebuild_discard").await;
    let mut plant = Plant::new(log());
    plant.day("north", 1_000);
    let worker = rig.ledger(&plant.log);
    rig.ledger_at(plant.log.0.next()).await;
    let before = rig.rows().await;
    worker.stop().await;
    for restart in [true, false] {
        let gated = Gated { log: plant.log.clone(), at: 1_000, gate: CancellationToken::new() };
        let rebuild = rig.rebuild(gated, &[Model::Lots]);
        let task = tokio::spawn(async move { rebuild.run(&mut |_| {}).await });
        waiting_for("it gets to the gate", async || (built(&rig, Model::Lots).await >= 1_000).then_some(())).await;
        task.abort();
        waiting_for("PostgreSQL notices", async || {
            let found = idle(rig.pool(), &tenant()).await.unwrap();
            found.iter().all(|idle| !idle.attended).then_some(())
        })
        .await;
        if restart {
            let mut again = rig.rebuild(plant.log.clone(), &[Model::Lots]);
            again.restart = true;
            let done = again.run(&mut |_| {}).await.unwrap();
            assert!(done.resumed.is_empty() && done.deleted > 500, "{done:?}");
        } else {
            assert!(discard(rig.pool(), &tenant(), Model::Lots).await.unwrap() > 200);
        }
        assert!(idle(rig.pool(), &tenant()).await.unwrap().is_empty());
        assert_eq!(rig.count("SELECT COUNT(DISTINCT generation) FROM read.lots").await, 1);
        assert_eq!(rig.rows().await, before);
    }
}

/// A rebuild that sleeps is replaced; it wakes up when its generation is the live one, exactly where it left it, and there is more to write.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_rebuild_can_not_write_into_the_live_model() {
    let rig = Rig::new("rebuild_zombie").await;
    // Reads of 100, so that one ends exactly at the gate.
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 100));
    plant.day("north", 1_000);
    let known = plant.log.0.copy(100);
    let worker = rig.ledger(&known);
    rig.ledger_at(known.0.next()).await;
    worker.stop().await;
    let before = rig.rows().await;

    plant.day("north", 500);
    let gate = CancellationToken::new();
    let gated = Gated { log: plant.log.clone(), at: known.0.next(), gate: gate.clone() };
    let rebuild = rig.rebuild(gated, &[Model::Lots]);
    let sleeper = tokio::spawn(async move { rebuild.run(&mut |_| {}).await });
    waiting_for("the sleeper gets to the gate", async || {
        (built(&rig, Model::Lots).await >= known.0.next()).then_some(())
    })
    .await;
    // Its lock is lost, as by a network that broke.
    let lost = "SELECT COUNT(*) FROM (
            SELECT pg_terminate_backend(pid) FROM pg_locks
            WHERE locktype = 'advisory' AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = CURRENT_DATABASE())
        ) AS lost";
    assert_eq!(rig.count(lost).await, 1);
    let held = "SELECT COUNT(*) FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = CURRENT_DATABASE())";
    waiting_for("the lock is let go", async || (rig.count(held).await == 0).then_some(())).await;
    let done = rig.rebuild(known.clone(), &[Model::Lots]).run(&mut |_| {}).await.unwrap();
    assert_eq!(done.resumed, [Model::Lots]);

    gate.cancel();
    let error = sleeper.await.unwrap().unwrap_err();
    assert!(matches!(error, RebuildError::Overtaken), "{error}");
    assert!(rig.rows().await == before, "the sleeper has written something");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_strict_and_leaves_the_live_model_as_it_was() {
    let rig = Rig::new("rebuild_strict").await;
    let mut plant = Plant::new(log());
    plant.day("north", 20);
    let poison = plant.append_raw("north", "lotline.lot.registered.v9", "lot/x".into(), Bytes::from_static(b"{}"));
    plant.day("south", 20);
    let worker = rig.ledger(&plant.log);
    for model in Model::LEDGER {
        rig.offset_at(model, plant.log.0.next()).await;
    }
    let (before, status) = (rig.rows().await, rig.status(Model::Lots).await);
    let error = rig.rebuild(plant.log.clone(), &[Model::Lots]).run(&mut |_| {}).await.unwrap_err();
    let said = error.to_string();
    let expected =
        format!("event 23 of stream 'north' (partition 0, offset {poison}) can't be applied to read model 'lots'");
    assert!(said.contains(&expected) && said.contains("lotline.lot.registered.v9"), "{said}");
    assert!(rig.rows().await == before && rig.status(Model::Lots).await == status);
    assert!(idle(rig.pool(), &tenant()).await.unwrap().is_empty(), "what was built is gone");
    assert_eq!(rig.count("SELECT COUNT(DISTINCT generation) FROM read.lots").await, 1);
    worker.stop().await;
}

/// A halt of the live model is healed by a rebuild that can apply the event, and waiters are told.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_heals_what_has_become_possible() {
    let rig = Rig::new("rebuild_heals").await;
    let mut plant = Plant::new(log());
    sqlx::query("ALTER TABLE read.lots ADD CONSTRAINT picky CHECK (code <> 'N2' OR generation > 0)")
        .execute(rig.pool())
        .await
        .unwrap();
    for code in ["N1", "N2", "N3"] {
        plant.decide("north", register(code, &[]));
    }
    let worker = rig.ledger(&plant.log);
    rig.offset_at(Model::Lots, plant.log.0.next()).await;
    assert!(rig.status(Model::Lots).await.unwrap().is_degraded());
    let done = rig.rebuild(plant.log.clone(), &[Model::Lots]).run(&mut |_| {}).await.unwrap();
    assert_eq!(
        done.healed.iter().map(|halt| (halt.stream.as_str(), halt.sequence)).collect::<Vec<_>>(),
        [("north", Some(2))]
    );
    plant.decide("north", register("N4", &[]));
    rig.ledger_at(plant.log.0.next()).await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.lots").await, 4, "the live worker follows the stream again");
    worker.stop().await;
}

/// Another tenant in the same database keeps its rows and its generation.
#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_rows_stay() {
    let rig = Rig::new("rebuild_tenant").await;
    let mut plant = Plant::new(log());
    plant.day("north", 50);
    let worker = rig.ledger(&plant.log);
    rig.ledger_at(plant.log.0.next()).await;
    for table in ["lots", "audit"] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "CREATE TABLE copied AS SELECT * FROM read.{table}; UPDATE copied SET tenant = 'other';
             INSERT INTO read.{table} SELECT * FROM copied; DROP TABLE copied"
        )))
        .execute(rig.pool())
        .await
        .unwrap();
    }
    let others = rig.count("SELECT COUNT(*) FROM read.audit WHERE tenant = 'other' AND generation = 0").await;
    rig.rebuild(plant.log.clone(), &Model::LEDGER).run(&mut |_| {}).await.unwrap();
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.audit WHERE tenant = 'other' AND generation = 0").await, others);
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.audit WHERE tenant = 'dairy'").await, 55);
    worker.stop().await;
}

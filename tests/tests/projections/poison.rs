//! What administrators decide about events that could not be applied, and what comes of it: exactly that, once, whatever happens in between.

use std::time::Duration;

use bytes::Bytes;
use lotline_domain::command::Command;
use lotline_domain::event::Event;
use lotline_domain::qc::QcOutcome;
use lotline_projections::decisions::skips;
use lotline_projections::model::Model;
use lotline_projections::rebuild::RebuildError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fixture::{FakeLog, Plant, Shared, decide_qc, register, tenant};
use crate::rebuild::Gated;
use crate::rig::{Rig, soon};

fn log() -> Shared {
    FakeLog::shared("lotline.dairy.ledger.v1", 400)
}

fn skip(model: Model, stream: &str, sequence: u64) -> Command {
    Command::SkipProjectionEvent { model: model.name().into(), stream: stream.into(), sequence }
}

fn retry(model: Model, stream: &str) -> Command {
    Command::RetryProjection { model: model.name().into(), stream: stream.into() }
}

impl Rig {
    async fn halted_at(&self, model: Model) -> Option<Option<i64>> {
        self.status(model).await.and_then(|status| status.halts.first().map(|halt| halt.sequence))
    }

    /// Waits until the tables say so and those who wait for the model have heard of it.
    async fn healed(&self, model: Model) {
        let deadline = soon();
        loop {
            let status = self.status(model).await;
            if let Some(status) = status.as_ref().filter(|status| !status.is_degraded())
                && self.is_known_whole_at(model, status.next_offset).await
            {
                return;
            }
            assert!(Instant::now() < deadline, "{model} follows its streams again: {status:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn refuse_lot(&self, code: &str) {
        let sql = format!("ALTER TABLE read.lots ADD CONSTRAINT picky CHECK (code <> '{code}')");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(self.pool()).await.unwrap();
    }

    async fn accept_all_lots(&self) {
        sqlx::query("ALTER TABLE read.lots DROP CONSTRAINT picky").execute(self.pool()).await.unwrap();
    }

    async fn lots(&self) -> Vec<String> {
        let sql = "SELECT code FROM read.lots ORDER BY code";
        sqlx::query_scalar(sql).fetch_all(self.pool()).await.unwrap()
    }
}

/// The rows of a worker that had no trouble.
async fn untroubled(log: &Shared) -> Vec<(String, String)> {
    let rig = Rig::new("poison_reference").await;
    let worker = rig.ledger(log);
    rig.ledger_at(log.0.next()).await;
    worker.stop().await;
    rig.rows().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skip_leaves_out_one_event_and_nothing_else() {
    let rig = Rig::new("skip").await;
    let mut plant = Plant::new(log());
    let (first, _) = plant.decide("north", register("N1", &[]));
    plant.append("north", &first);
    plant.decide("north", register("N2", &[("N1", "1")]));
    plant.decide("south", register("S1", &[]));
    let worker = rig.ledger(&plant.log);
    rig.offset_at(Model::Lots, plant.log.0.next()).await;
    assert_eq!((rig.lots().await, rig.halted_at(Model::Lots).await), (vec!["N1".into(), "S1".into()], Some(Some(2))));

    // Another event, another stream, another model: nothing happens.
    plant.decide("_tenant", skip(Model::Lots, "north", 3));
    plant.decide("_tenant", skip(Model::Lots, "south", 2));
    plant.decide("_tenant", skip(Model::Signals, "north", 2));
    plant.decide("south", register("S2", &[]));
    rig.offset_at(Model::Lots, plant.log.0.next()).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(rig.halted_at(Model::Lots).await, Some(Some(2)), "a worker has looked in this time and done nothing");

    let (event, _) = plant.decide("_tenant", skip(Model::Lots, "north", 2));
    assert!(matches!(event, Event::ProjectionEventSkipped(_)), "{event:?}");
    // Event 3 is left out too, as decided above: N2. What comes after is not.
    rig.healed(Model::Lots).await;
    plant.decide("north", register("N3", &[]));
    plant.decide("north", decide_qc("N1", QcOutcome::Pass));
    rig.ledger_at(plant.log.0.next()).await;
    assert_eq!(rig.lots().await, ["N1", "N3", "S1", "S2"]);
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.lots WHERE code = 'N1' AND qc_status = 'PASS'").await, 1);
    let listed = skips(rig.pool(), &tenant()).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|skip| (skip.model, skip.stream.as_str(), skip.sequence)).collect();
    let expected =
        [(Model::Lots, "north", 2), (Model::Lots, "north", 3), (Model::Lots, "south", 2), (Model::Signals, "north", 2)];
    assert_eq!(listed, expected);
    let noted = skips(rig.pool(), &tenant()).await.unwrap().remove(0);
    assert_eq!((noted.actor.as_str(), noted.reason.as_str()), ("ann", "as planned"));
    let audited = "SELECT COUNT(*) FROM read.audit WHERE event_type = 'lotline.projection.event_skipped.v1' AND reason = 'as planned'";
    assert_eq!(rig.count(audited).await, 4);
    worker.stop().await;

    // Made from nothing, the tables come out the same: the decisions are in the log.
    for at_most in [1, 400] {
        let again = Rig::new("skip_again").await;
        let log = plant.log.0.copy(at_most);
        let worker = again.ledger(&log);
        for model in Model::LEDGER {
            again.offset_at(model, log.0.next()).await;
        }
        again.healed(Model::Lots).await;
        worker.stop().await;
        assert!(again.rows().await == rig.rows().await, "in reads of {at_most}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_applies_what_was_missed_and_halts_again_where_it_must() {
    let rig = Rig::new("retry").await;
    let mut plant = Plant::new(log());
    plant.day("north", 300);
    rig.refuse_lot("L-north-0-150").await;
    let worker = rig.ledger(&plant.log);
    for model in Model::LEDGER {
        rig.offset_at(model, plant.log.0.next()).await;
    }
    let Some(Some(halted)) = rig.halted_at(Model::Lots).await else { panic!("the lots are halted") };
    let first = rig.status(Model::Lots).await.unwrap().halts.remove(0);

    plant.decide("_tenant", retry(Model::Lots, "north"));
    let deadline = soon();
    while rig.status(Model::Lots).await.unwrap().halts[0].halted_at == first.halted_at {
        assert!(Instant::now() < deadline, "a worker has tried again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(rig.halted_at(Model::Lots).await, Some(Some(halted)), "and met the same event");

    // While the stream is caught up, more of it arrives, and a second worker believes it halted.
    rig.accept_all_lots().await;
    let second = rig.ledger(&plant.log);
    plant.decide("_tenant", retry(Model::Lots, "north"));
    for _ in 0..20 {
        plant.day("north", 20);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.healed(Model::Lots).await;
    plant.day("north", 100);
    rig.ledger_at(plant.log.0.next()).await;
    worker.stop().await;
    second.stop().await;
    assert!(rig.rows().await == untroubled(&plant.log).await, "each event of the stream is there once");
}

/// A second worker slept while the stream was healed, and nothing else has moved since: it must not go on believing it halted.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_learns_that_a_stream_was_healed() {
    let rig = Rig::new("retry_slept").await;
    let mut plant = Plant::new(log());
    plant.day("north", 20);
    rig.refuse_lot("L-north-0-10").await;
    let (known, gate) = (plant.log.0.copy(400), CancellationToken::new());
    let sleeper = rig.ledger_from(Gated { log: plant.log.clone(), at: known.0.next(), gate: gate.clone() });
    for model in Model::LEDGER {
        rig.offset_at(model, known.0.next()).await;
    }
    rig.accept_all_lots().await;
    // As a decision does it, but without an event that would move the offset.
    sqlx::query("UPDATE read.projection_halt SET due = TRUE").execute(rig.pool()).await.unwrap();
    let worker = rig.ledger(&known);
    rig.healed(Model::Lots).await;
    worker.stop().await;
    plant.day("north", 20);
    gate.cancel();
    rig.ledger_at(plant.log.0.next()).await;
    sleeper.stop().await;
    assert!(rig.rows().await == untroubled(&plant.log).await, "the sleeper has left events out");
}

/// The decision is recorded, and whoever should act on it is not there, or dies over it.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_acted_on_after_a_crash() {
    let rig = Rig::new("retry_crash").await;
    let mut plant = Plant::new(log());
    plant.day("north", 900);
    rig.refuse_lot("L-north-0-100").await;
    let worker = rig.ledger(&plant.log);
    for model in Model::LEDGER {
        rig.offset_at(model, plant.log.0.next()).await;
    }
    worker.stop().await;
    rig.accept_all_lots().await;
    plant.decide("_tenant", retry(Model::Lots, "north"));

    // The worker notes the decision, begins to act, and is killed in the middle of its first transaction.
    let mut lock = rig.pool().begin().await.unwrap();
    sqlx::query("SELECT 1 FROM read.lots WHERE code = 'L-north-0-0' FOR UPDATE").execute(&mut *lock).await.unwrap();
    sqlx::query("LOCK TABLE read.lots IN SHARE MODE").execute(&mut *lock).await.unwrap();
    let worker = rig.ledger(&plant.log);
    let deadline = soon();
    let stuck = "SELECT COUNT(*) FROM pg_stat_activity
         WHERE datname = CURRENT_DATABASE() AND wait_event_type = 'Lock' AND query LIKE '%read.lots%'";
    while rig.count(stuck).await == 0 {
        assert!(Instant::now() < deadline, "the worker gets to the rows");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    worker.task.abort();
    assert!(worker.task.await.unwrap_err().is_cancelled());
    lock.rollback().await.unwrap();
    assert!(rig.status(Model::Lots).await.unwrap().is_degraded());

    let worker = rig.ledger(&plant.log);
    rig.healed(Model::Lots).await;
    rig.ledger_at(plant.log.0.next()).await;
    worker.stop().await;
    assert!(rig.rows().await == untroubled(&plant.log).await);
}

/// A model that does not follow the tenant's stream any more still hears decisions, for they may be about that stream.
#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_decisions_itself_can_be_healed() {
    let rig = Rig::new("skip_tenant").await;
    let mut plant = Plant::new(log());
    plant.append_raw("_tenant", "lotline.pipeline.drafted.v9", "pipeline/x".into(), Bytes::from_static(b"{}"));
    plant.decide("north", register("N1", &[]));
    let worker = rig.ledger(&plant.log);
    for model in Model::LEDGER {
        rig.offset_at(model, plant.log.0.next()).await;
        assert_eq!(rig.halted_at(model).await, Some(Some(1)), "{model}");
    }
    for model in Model::LEDGER {
        plant.decide("_tenant", skip(model, "_tenant", 1));
    }
    for model in Model::LEDGER {
        rig.healed(model).await;
    }
    rig.ledger_at(plant.log.0.next()).await;
    // The audit trail has caught up with the decisions about itself and the others.
    let decisions = rig.count("SELECT COUNT(*) FROM read.audit WHERE stream = '_tenant'").await;
    assert_eq!(decisions, Model::LEDGER.len() as i64);
    worker.stop().await;
}

/// A rebuild knows of no skips: it fails while the event can't be applied, and clears the skip once it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_clears_skips_or_fails() {
    let rig = Rig::new("skip_rebuild").await;
    let mut plant = Plant::new(log());
    rig.refuse_lot("N2").await;
    for code in ["N1", "N2", "N3"] {
        plant.decide("north", register(code, &[]));
    }
    plant.decide("_tenant", skip(Model::Lots, "north", 2));
    let worker = rig.ledger(&plant.log);
    rig.offset_at(Model::Lots, plant.log.0.next()).await;
    rig.healed(Model::Lots).await;
    assert_eq!(rig.lots().await, ["N1", "N3"]);
    let failed = rig.rebuild(plant.log.clone(), &[Model::Lots]).run(&mut |_| {}).await.unwrap_err();
    assert!(matches!(failed, RebuildError::Poison { sequence: 2, .. }), "{failed}");
    assert_eq!((rig.lots().await.len(), skips(rig.pool(), &tenant()).await.unwrap().len()), (2, 1));

    rig.accept_all_lots().await;
    let done = rig.rebuild(plant.log.clone(), &[Model::Lots]).run(&mut |_| {}).await.unwrap();
    assert_eq!(done.unskipped.iter().map(|skip| skip.sequence).collect::<Vec<_>>(), [2]);
    assert_eq!(rig.lots().await, ["N1", "N2", "N3"]);
    assert!(skips(rig.pool(), &tenant()).await.unwrap().is_empty());
    worker.stop().await;
}

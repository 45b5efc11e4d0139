//! Events that can't be applied: who stops, who goes on, and where it is said.

use bytes::Bytes;
use lotline_domain::event::Event;
use lotline_domain::lot::LotRef;
use lotline_domain::position::{Position, TopicKind};
use lotline_domain::qc::QcOutcome;
use lotline_projections::lots::{self, LotFilter};
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use lotline_projections::progress::{HaltCause, WaitError};
use lotline_projections::worker::WorkerError;

use crate::fixture::{FakeLog, Plant, Shared, decide_qc, register, tenant};
use crate::rig::{Rig, soon};

fn log() -> Shared {
    FakeLog::shared("lotline.dairy.ledger.v1", 5_000)
}

async fn codes(rig: &Rig) -> Vec<String> {
    let rows = lots::list(rig.pool(), &tenant(), &LotFilter::default(), &Page::first(1_000)).await.unwrap();
    let mut codes: Vec<String> = rows.into_iter().map(|lot| lot.code).collect();
    codes.sort();
    codes
}

/// A lot that is registered twice: the second is in the middle of a batch, and only the lots can't take it.
#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_halts_its_stream_in_its_model() {
    let rig = Rig::new("poison").await;
    let mut plant = Plant::new(log());
    let (first, _) = plant.decide("north", register("N1", &[]));
    plant.decide("south", register("S1", &[]));
    let poison = plant.append("north", &first);
    plant.decide("north", register("N2", &[]));
    plant.decide("south", register("S2", &[]));
    let worker = rig.ledger(&plant.log);
    rig.offset_at(Model::Lots, plant.log.0.next()).await;
    assert_eq!(codes(&rig).await, ["N1", "S1", "S2"]);

    let status = rig.status(Model::Lots).await.unwrap();
    let [halt] = status.halts.as_slice() else { panic!("one halt is recorded: {:?}", status.halts) };
    assert_eq!((halt.stream.as_str(), halt.offset, halt.sequence), ("north", poison, Some(2)));
    assert_eq!(halt.cause, HaltCause::Poison);
    assert!(halt.error.contains("duplicate key value violates unique constraint"), "{}", halt.error);
    rig.offset_at(Model::Audit, plant.log.0.next()).await;
    assert!(!rig.status(Model::Audit).await.unwrap().is_degraded(), "other models go on");
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.audit").await, 5);

    // Waiters are told, for positions beyond the poison only.
    let wait = |next| {
        let progress = rig.progress.clone();
        async move { progress.wait_for(&[Model::Lots], &Position::at(TopicKind::Ledger, 0, next), soon()).await }
    };
    assert_eq!(wait(poison).await, Ok(()));
    let degraded = WaitError::Degraded { model: Model::Lots, streams: vec!["north".into()] };
    assert_eq!(wait(poison + 1).await, Err(degraded.clone()));
    assert_eq!(wait(plant.log.0.next()).await, Err(degraded));

    // A restarted worker remembers.
    worker.stop().await;
    plant.decide("north", register("N3", &[]));
    plant.decide("south", register("S3", &[]));
    let worker = rig.ledger(&plant.log);
    rig.offset_at(Model::Lots, plant.log.0.next()).await;
    assert_eq!(codes(&rig).await, ["N1", "S1", "S2", "S3"]);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_type_and_a_strange_value_halt_their_streams() {
    let rig = Rig::new("unknown").await;
    let mut plant = Plant::new(log());
    plant.decide("north", register("N1", &[]));
    plant.append_raw("north", "lotline.lot.registered.v9", "lot/x".into(), Bytes::from_static(b"{}"));
    plant.decide("north", register("N2", &[]));
    plant.append_raw("west", "lotline.lot.registered.v1", "lot/x".into(), Bytes::from_static(b"not even JSON"));
    plant.decide("south", register("S1", &[]));
    let worker = rig.ledger(&plant.log);
    for model in Model::LEDGER {
        rig.offset_at(model, plant.log.0.next()).await;
        let halts = rig.status(model).await.unwrap().halts;
        let streams: Vec<&str> = halts.iter().map(|halt| halt.stream.as_str()).collect();
        assert_eq!(streams, ["north", "west"], "{model}");
        assert!(halts[0].error.contains("lotline.lot.registered.v9"), "{}", halts[0].error);
    }
    assert_eq!(codes(&rig).await, ["N1", "S1"]);
    worker.stop().await;
}

/// Rows that should be there and are not: the model must not go on as if nothing were.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_on_a_missing_lot_is_poison() {
    let rig = Rig::new("missing").await;
    let mut plant = Plant::new(log());
    plant.decide("north", register("N1", &[]));
    let worker = rig.ledger(&plant.log);
    rig.ledger_at(plant.log.0.next()).await;
    sqlx::query("DELETE FROM read.lots").execute(rig.pool()).await.unwrap();
    let (event, _) = plant.decide("north", decide_qc("N1", QcOutcome::Pass));
    assert!(matches!(event, Event::QcDecisionRecorded(_)));
    rig.offset_at(Model::Lots, plant.log.0.next()).await;
    let status = rig.status(Model::Lots).await.unwrap();
    assert!(status.halts[0].error.contains("not in the table"), "{:?}", status.halts);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chain_stops_the_partition_and_says_so() {
    let rig = Rig::new("chain").await;
    let mut plant = Plant::new(log());
    plant.day("north", 10);
    plant.day("south", 10);
    let whole = plant.log.0.copy(5_000);
    plant.log.0.replace(15, |record| record.value = Bytes::from(record.value.to_vec().repeat(2)));
    let broken_at = 15 * 3;
    let worker = rig.ledger(&plant.log);
    let error = worker.task.await.unwrap().unwrap_err();
    let WorkerError::ChainBreak { partition: 0, source } = error else { panic!("the chain is what broke: {error}") };
    assert_eq!((source.offset, source.stream.as_str()), (broken_at, "south"));

    for model in Model::LEDGER {
        let status = rig.status(model).await.unwrap();
        assert_eq!(status.next_offset, broken_at, "{model} has all that came before");
        assert_eq!(status.halts.len(), 1, "{model}");
        assert_eq!(status.halts[0].cause, HaltCause::ChainBreak);
    }
    let position = Position::at(TopicKind::Ledger, 0, plant.log.0.next());
    let waited = rig.progress.wait_for(&[Model::Lots], &position, soon()).await;
    assert_eq!(waited, Err(WaitError::Degraded { model: Model::Lots, streams: vec!["south".into()] }));

    // Once the log reads well beyond the place, the mark goes.
    let worker = rig.ledger(&whole);
    rig.offset_at(Model::Audit, whole.0.next()).await;
    let deadline = soon();
    while rig.status(Model::Audit).await.unwrap().is_degraded() {
        assert!(tokio::time::Instant::now() < deadline, "the mark goes");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    worker.stop().await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.audit").await, whole.0.len() as i64);
}

/// The check goes on from the kept heads: a restarted worker notices that the log's past was exchanged.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_continues_the_chain() {
    let rig = Rig::new("resume").await;
    let mut plant = Plant::new(log());
    plant.day("north", 10);
    let worker = rig.ledger(&plant.log);
    rig.ledger_at(plant.log.0.next()).await;
    worker.stop().await;

    let mut other = Plant::new(log());
    other.decide("north", register("other history", &[]));
    other.day("north", 12);
    let worker = rig.ledger(&other.log);
    assert!(matches!(worker.task.await.unwrap(), Err(WorkerError::ChainBreak { .. })));
}

/// What people send is quoted in refusals, and a refusal must never stop a model.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_may_quote_anything() {
    let rig = Rig::new("refusal").await;
    let mut plant = Plant::new(log());
    let mut command = register("N1", &[]);
    if let lotline_domain::command::Command::RegisterLot(register) = &mut command {
        let quantity = crate::fixture::quantity("1");
        register.parents =
            vec![lotline_domain::command::ParentInput { lot: LotRef::Code("nul \0 \u{1F9C0} \"".into()), quantity }];
    }
    let (event, _) = plant.decide("north", command);
    assert!(matches!(event, Event::CommandRefused(_)));
    plant.decide("north", register("N1", &[]));
    let worker = rig.ledger(&plant.log);
    rig.ledger_at(plant.log.0.next()).await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.audit").await, 2);
    worker.stop().await;
}

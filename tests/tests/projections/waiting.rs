//! Waiting for a read model: it wakes, it times out, and what it says.

use std::time::Duration;

use lotline_domain::position::{Position, TopicKind};
use lotline_projections::model::Model;
use lotline_projections::progress::WaitError;
use tokio::time::Instant;

use crate::fixture::{FakeLog, Plant, register};
use crate::rig::{Rig, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_times_out_and_says_who_is_where() {
    let rig = Rig::new("timeout").await;
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 5_000));
    plant.decide("north", register("N1", &[]));
    let worker = rig.ledger(&plant.log);
    rig.ledger_at(1).await;
    let position = Position::at(TopicKind::Ledger, 0, 100);
    let deadline = Instant::now() + Duration::from_millis(50);
    let error = rig.progress.wait_for(&[Model::Lots], &position, deadline).await.unwrap_err();
    let expected = WaitError::Timeout { model: Model::Lots, partition: 0, wanted: 100, reached: Some(1) };
    assert_eq!(error, expected);
    assert_eq!(error.to_string(), "read model 'lots' has not reached offset 100 of partition 0; it is at 1");

    let elsewhere = Position::at(TopicKind::Ledger, 7, 1);
    let deadline = Instant::now() + Duration::from_millis(50);
    let error = rig.progress.wait_for(&[Model::Audit], &elsewhere, deadline).await.unwrap_err();
    assert!(matches!(error, WaitError::Timeout { partition: 7, reached: None, .. }));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_only_looks_at_what_concerns_the_model() {
    let rig = Rig::new("concerns").await;
    let signals = Position::at(TopicKind::Signals, 0, 100);
    assert_eq!(rig.progress.wait_for(&Model::LEDGER, &signals, soon()).await, Ok(()));
    assert_eq!(rig.progress.wait_for(&Model::ALL, &Position::default(), soon()).await, Ok(()));
}

/// Announcements arrive at once: far sooner than the reload of every second would notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_wakes_at_the_commit() {
    let rig = Rig::new("wakes").await;
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 5_000));
    let worker = rig.ledger(&plant.log);
    plant.decide("north", register("N0", &[]));
    rig.ledger_at(1).await;
    let mut moves = rig.progress.subscribe(Model::Audit);
    let started = Instant::now();
    for number in 1..=20 {
        plant.decide("north", register(&format!("N{number}"), &[]));
        rig.ledger_at(plant.log.0.next()).await;
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "20 waits of a second each would have been reloads: {took:?}");
    assert!(moves.has_changed().unwrap());
    assert_eq!(moves.borrow_and_update().get(TopicKind::Ledger, 0), Some(plant.log.0.next()));
    worker.stop().await;
}

/// The hub's own connection is killed: it comes back and has missed nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_hub_survives_a_lost_connection() {
    let rig = Rig::new("lost").await;
    let mut plant = Plant::new(FakeLog::shared("lotline.dairy.ledger.v1", 5_000));
    let worker = rig.ledger(&plant.log);
    plant.decide("north", register("N1", &[]));
    rig.ledger_at(plant.log.0.next()).await;
    let killed = rig
        .count(
            "SELECT COUNT(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = CURRENT_DATABASE() AND query LIKE 'LISTEN%') AS killed",
        )
        .await;
    assert_eq!(killed, 1);
    plant.decide("north", register("N2", &[]));
    rig.ledger_at(plant.log.0.next()).await;
    worker.stop().await;
}

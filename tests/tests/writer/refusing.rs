//! Refusals are events, up to a limit.

use std::time::Duration;

use lotline_domain::event::Event;
use lotline_domain::id::ActorId;
use lotline_domain::port::Clock;
use lotline_domain::qc::QcOutcome;

use crate::stand::{MINUTE, Stand, judge, register};

#[tokio::test]
async fn a_refusal_is_recorded_and_changes_nothing_else() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let request = stand.request(judge("M1", QcOutcome::Pass));
    process.refused(request.clone()).await;
    let events = stand.events(0).await;
    let [(envelope, Event::CommandRefused(refused))] = events.as_slice() else { panic!("not one refusal: {events:?}") };
    assert_eq!((refused.command.as_str(), refused.code.as_str()), ("record_qc_decision", "UNKNOWN_LOT"));
    assert_eq!(refused.message, "lot 'M1' does not exist");
    assert_eq!(envelope.attributes.causation_id, request.command_id);
    assert_eq!(envelope.attributes.subject, format!("command/{}", request.command_id));
    let fold = stand.fold(0).await;
    assert!(fold.streams["north"].state.lots.is_empty());
    process.stop().await;
}

#[tokio::test]
async fn past_the_limit_refusals_are_counted_into_one_event() {
    let mut stand = Stand::new();
    stand.options.refusals_per_window = 2;
    stand.options.refusal_window = Duration::from_mins(1);
    let process = stand.serve().await;
    let start = stand.clock.now();
    for _ in 0..5 {
        assert_eq!(process.refused(stand.request(judge("M1", QcOutcome::Pass))).await.0, "UNKNOWN_LOT");
    }
    assert_eq!(stand.types().await, ["command.refused"; 2], "all are answered, two are recorded");
    let mut other = stand.request(judge("M1", QcOutcome::Pass));
    other.actor = ActorId::new("bob").unwrap();
    process.refused(other).await;
    assert_eq!(stand.end(0).await, 3, "the limit is each actor's own");

    stand.clock.forward(MINUTE + 1);
    process.accepted(stand.request(register("M1"))).await;
    process.accepted(stand.request(register("M2"))).await;
    let suppressed: Vec<_> = stand
        .events(0)
        .await
        .into_iter()
        .filter_map(|(envelope, event)| match event {
            Event::RefusalsSuppressed(data) => Some((envelope, data)),
            _ => None,
        })
        .collect();
    let [(envelope, data)] = suppressed.as_slice() else { panic!("not one event: {suppressed:?}") };
    assert_eq!((data.actor.as_str(), data.count), ("ann", 3));
    assert_eq!((data.from, data.until), (start, start.plus_micros(MINUTE)));
    assert_eq!(envelope.attributes.actor.as_str(), "lotline");

    process.refused(stand.request(judge("M9", QcOutcome::Pass))).await;
    assert_eq!(stand.types().await.last().map(String::as_str), Some("command.refused"), "a new window has begun");
    process.stop().await;
    stand.serve().await.stop().await;
}

#[tokio::test]
async fn the_count_is_reported_without_another_command() {
    let mut stand = Stand::new();
    stand.options.refusals_per_window = 0;
    let process = stand.serve().await;
    process.refused(stand.request(judge("M1", QcOutcome::Pass))).await;
    assert_eq!(stand.end(0).await, 0);
    stand.clock.forward(MINUTE + 1);
    let mut reader = lotline_domain::port::LogRead::reader(&stand.log, 0, 0).await.unwrap();
    let read = reader.read(1, Duration::from_secs(20)).await.unwrap();
    assert_eq!(read.records.len(), 1);
    assert_eq!(stand.types().await, ["refusals.suppressed"]);
    process.stop().await;
}

/// The stream's time stays ahead for good; windows of refusals must not wait for it.
#[tokio::test]
async fn a_clock_that_jumped_ahead_and_came_back_silences_nobody() {
    const YEAR: i64 = 365 * 24 * 60 * MINUTE;
    let mut stand = Stand::new();
    stand.options.refusals_per_window = 2;
    let process = stand.serve().await;
    stand.clock.forward(YEAR);
    process.accepted(stand.request(register("M0"))).await;
    stand.clock.forward(-YEAR);
    for _ in 0..3 {
        process.refused(stand.request(judge("M1", QcOutcome::Pass))).await;
    }
    assert_eq!(stand.end(0).await, 3, "two of three are recorded");
    stand.clock.forward(MINUTE + 1);
    process.accepted(stand.request(register("M2"))).await;
    process.refused(stand.request(judge("M1", QcOutcome::Pass))).await;
    let types = stand.types().await;
    assert_eq!(types[3..].iter().filter(|name| *name == "refusals.suppressed").count(), 1, "{types:?}");
    assert_eq!(types.last().map(String::as_str), Some("command.refused"), "a new window has begun");
    process.stop().await;
}

//! What a command is answered, and when.

use std::time::Duration;

use lotline_adapters::log::memory::MemoryLog;
use lotline_commands::bus::SubmitError;
use lotline_commands::writer::WriterStatus;
use lotline_domain::event::Event;
use lotline_domain::id::TenantId;
use lotline_domain::position::{Position, TopicKind};
use lotline_domain::qc::QcOutcome;
use lotline_domain::state::Subject;

use crate::stand::{Stand, answer, draft, judge, lot, register, settle, site};

fn at(next: i64) -> Position {
    Position::at(TopicKind::Ledger, 0, next)
}

#[tokio::test]
async fn a_command_is_answered_only_after_its_append() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let gate = stand.hold();
    let waiting = process.begin(stand.request(register("M1"))).await;
    gate.reached().await;
    settle().await;
    assert!(!waiting.is_finished(), "no answer before the append");
    assert_eq!(stand.end(0).await, 0);
    gate.open();
    let receipt = answer(waiting).await.unwrap();
    assert_eq!(stand.end(0).await, 1);
    assert_eq!((receipt.version, receipt.position, receipt.replayed), (1, at(1), false));
    process.stop().await;
}

#[tokio::test]
async fn a_refusal_too_is_answered_only_after_its_append() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let gate = stand.hold();
    let waiting = process.begin(stand.request(judge("M1", QcOutcome::Pass))).await;
    gate.reached().await;
    settle().await;
    assert!(!waiting.is_finished(), "no answer before the append");
    gate.open();
    let Err(SubmitError::Refused { code, field, position, .. }) = answer(waiting).await else { panic!("not refused") };
    assert_eq!((code.as_str(), field.as_deref(), position), ("UNKNOWN_LOT", Some("lot"), at(1)));
    process.stop().await;
}

#[tokio::test]
async fn commands_that_wait_are_committed_together() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let gate = stand.hold();
    let first = process.begin(stand.request(register("M0"))).await;
    gate.reached().await;
    let mut waiting = Vec::new();
    for number in 1..=10 {
        waiting.push(process.begin(stand.request(register(&format!("M{number}")))).await);
    }
    gate.open();
    assert_eq!(answer(first).await.unwrap().position, at(1));
    for (version, waiting) in (2..).zip(waiting) {
        let receipt = answer(waiting).await.unwrap();
        assert_eq!((receipt.version, receipt.position), (version, at(11)), "one append carried all ten");
    }
    process.stop().await;
}

#[tokio::test]
async fn a_batch_has_its_limit() {
    let mut stand = Stand::new();
    stand.options.max_batch = 4;
    let process = stand.serve().await;
    let gate = stand.hold();
    let first = process.begin(stand.request(register("M0"))).await;
    gate.reached().await;
    let mut waiting = Vec::new();
    for number in 1..=6 {
        waiting.push(process.begin(stand.request(register(&format!("M{number}")))).await);
    }
    gate.open();
    answer(first).await.unwrap();
    let mut positions = Vec::new();
    for waiting in waiting {
        positions.push(answer(waiting).await.unwrap().position);
    }
    assert_eq!(positions, [at(5), at(5), at(5), at(5), at(7), at(7)]);
    process.stop().await;
}

#[tokio::test]
async fn each_command_of_a_batch_meets_what_the_ones_before_it_left() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let gate = stand.hold();
    let blocker = process.begin(stand.request(register("M0"))).await;
    gate.reached().await;
    let first = process.begin(stand.request(register("M1"))).await;
    let second = process.begin(stand.request(register("M1"))).await;
    let third = process.begin(stand.request(judge("M1", QcOutcome::Hold))).await;
    gate.open();
    answer(blocker).await.unwrap();
    assert_eq!(answer(first).await.unwrap().position, at(6));
    assert!(matches!(answer(second).await, Err(SubmitError::Refused { code, .. }) if code == "DUPLICATE_LOT_CODE"));
    let held = answer(third).await.unwrap();
    // The hold and the alert stand in the batch, and the lot is at the version of its decision.
    assert_eq!((held.position, held.version), (at(6), 5));
    let lots = ["lot.registered"; 2];
    let judged = ["command.refused", "hold.placed", "qc_decision.recorded", "alert.raised"];
    assert_eq!(stand.types().await, [&lots[..], &judged].concat());
    process.stop().await;
}

#[tokio::test]
async fn a_full_queue_answers_busy_and_decides_nothing() {
    let mut stand = Stand::new();
    (stand.options.queue, stand.options.max_batch) = (2, 1);
    stand.options.busy_retry_after = Duration::from_millis(75);
    let process = stand.serve().await;
    let gate = stand.hold();
    let mut waiting = vec![process.begin(stand.request(register("M0"))).await];
    gate.reached().await;
    for number in 1..=2 {
        waiting.push(process.begin(stand.request(register(&format!("M{number}")))).await);
    }
    let busy = stand.request(register("M3"));
    let expected = SubmitError::Busy { retry_after: Duration::from_millis(75) };
    assert_eq!(process.submit(busy.clone()).await, Err(expected));
    gate.open();
    for waiting in waiting {
        answer(waiting).await.unwrap();
    }
    assert_eq!(stand.end(0).await, 3);
    assert!(!process.accepted(busy).await.replayed, "Busy is not remembered");
    process.stop().await;
}

#[tokio::test]
async fn an_oversized_command_is_refused_and_the_writer_goes_on() {
    let stand = Stand::on(MemoryLog::with_limit("lotline.dairy.ledger.v1", 1, 2_500));
    let process = stand.serve().await;
    let mut large = lot("M1");
    large.attributes = (0..4).map(|number| (format!("a{number}"), "x".repeat(1_000))).collect();
    let (code, message) = process.refused(stand.request(lotline_domain::command::Command::RegisterLot(large))).await;
    assert_eq!(code, "TOO_LARGE");
    assert!(message.ends_with("the limit is 2500"), "{message}");
    let receipt = process.accepted(stand.request(register("M1"))).await;
    assert_eq!(receipt.version, 2, "the code is still free, and the refusal took sequence 1");
    assert_eq!(stand.types().await, ["command.refused", "lot.registered"]);
    process.stop().await;
}

#[tokio::test]
async fn a_callers_trace_can_not_make_a_refusal_too_large() {
    let stand = Stand::on(MemoryLog::with_limit("lotline.dairy.ledger.v1", 1, 2_500));
    let process = stand.serve().await;
    let mut request = stand.request(judge("M1", QcOutcome::Pass));
    request.traceparent = Some("0".repeat(5_000));
    assert_eq!(process.refused(request).await.0, "UNKNOWN_LOT");
    let mut request = stand.request(register("M1"));
    request.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    process.accepted(request.clone()).await;
    assert_eq!(stand.events(0).await[1].0.attributes.traceparent, request.traceparent);
    process.stop().await;
}

#[tokio::test]
async fn a_conflict_names_the_current_version() {
    let stand = Stand::new();
    let process = stand.serve().await;
    process.accepted(stand.request(register("M1"))).await;
    process.accepted(stand.request(register("M2"))).await;
    let mut request = stand.request(judge("M1", QcOutcome::Pass));
    request.expected_version = Some(2);
    let (code, message) = process.refused(request).await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("VERSION_CONFLICT", "the expected version is 2 but the current one is 1")
    );
    let mut request = stand.request(judge("M1", QcOutcome::Pass));
    request.expected_version = Some(1);
    assert_eq!(process.accepted(request).await.version, 4);
    process.stop().await;
}

#[tokio::test]
async fn only_the_tenants_own_streams_are_known() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let mut elsewhere = stand.request(register("M1"));
    elsewhere.stream = site("west");
    assert_eq!(process.submit(elsewhere).await, Err(SubmitError::UnknownStream("west".into())));
    let mut foreign = stand.request(register("M1"));
    foreign.tenant = TenantId::new("bakery").unwrap();
    assert!(matches!(process.submit(foreign).await, Err(SubmitError::UnknownStream(_))));
    assert_eq!(stand.end(0).await, 0);
    process.stop().await;
}

#[tokio::test]
async fn the_answer_names_what_the_event_names() {
    let stand = Stand::new();
    let process = stand.serve().await;
    for command in [register("M1"), judge("M1", QcOutcome::Hold), judge("M1", QcOutcome::Pass), draft("nightly")] {
        let request = stand.request(command);
        let receipt = process.accepted(request.clone()).await;
        let asked = |event: &Event| !matches!(event, Event::Alert(_));
        let events = stand.events(0).await.into_iter();
        let (envelope, event) = events.rev().find(|(_, event)| asked(event)).unwrap();
        assert_eq!(Subject::of(&event), Some(receipt.subject));
        let attributes = envelope.attributes;
        assert_eq!((attributes.causation_id, attributes.command_hash), (request.command_id, request.hash()));
        assert_eq!((attributes.actor, attributes.stream), (request.actor, request.stream));
        assert_eq!(attributes.sequence, receipt.version);
        assert!(!matches!(event, Event::CommandRefused(_)));
    }
    process.stop().await;
}

#[tokio::test]
async fn a_stopped_writer_answers_unavailable() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let bus = process.bus.clone();
    process.stop().await;
    assert_eq!(bus.statuses(), [WriterStatus::Stopped]);
    assert_eq!(bus.submit(stand.request(register("M1"))).await, Err(SubmitError::Unavailable));
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_decision() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let gate = stand.hold();
    let request = stand.request(register("M1"));
    let waiting = process.begin(request.clone()).await;
    gate.reached().await;
    waiting.abort();
    gate.open();
    assert!(process.accepted(request).await.replayed);
    assert_eq!(stand.end(0).await, 1);
    process.stop().await;
}

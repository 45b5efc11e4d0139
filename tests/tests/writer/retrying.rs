//! A command that comes twice is decided once.

use lotline_adapters::log::memory::Fault;
use lotline_domain::id::{ActorId, CommandId};
use lotline_domain::port::{Clock, Ids};
use lotline_domain::qc::QcOutcome;
use lotline_domain::timestamp::Timestamp;
use uuid::Uuid;

use crate::stand::{MINUTE, Process, Stand, answer, judge, register};

const DAY: i64 = 24 * 60 * MINUTE;

#[tokio::test]
async fn a_retry_gets_the_same_answer_and_writes_nothing() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let request = stand.request(register("M1"));
    let first = process.accepted(request.clone()).await;
    process.accepted(stand.request(register("M2"))).await;
    let again = process.accepted(request.clone()).await;
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!((again.subject, again.version), (first.subject.clone(), first.version));
    assert!(again.position.covers(&first.position));
    assert_eq!(stand.end(0).await, 2);
    process.stop().await;

    let restarted = stand.serve().await;
    let again = restarted.accepted(request).await;
    assert_eq!((again.subject, again.version, again.replayed), (first.subject, first.version, true));
    assert_eq!(stand.end(0).await, 2);
    restarted.stop().await;
}

#[tokio::test]
async fn a_retry_within_the_same_batch_is_a_replay_too() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let gate = stand.hold();
    let blocker = process.begin(stand.request(register("M0"))).await;
    gate.reached().await;
    let request = stand.request(register("M1"));
    let first = process.begin(request.clone()).await;
    let second = process.begin(request).await;
    gate.open();
    answer(blocker).await.unwrap();
    let (first, second) = (answer(first).await.unwrap(), answer(second).await.unwrap());
    assert_eq!((first.replayed, second.replayed), (false, true));
    assert_eq!(first.subject, second.subject);
    assert_eq!(stand.end(0).await, 2);
    process.stop().await;
}

#[tokio::test]
async fn what_differs_between_tries_makes_no_other_command() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let mut request = stand.request(register("M1"));
    process.accepted(request.clone()).await;
    request.correlation_id.0 = Uuid::from_u128(77);
    request.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    assert!(process.accepted(request).await.replayed);
    process.stop().await;
}

#[tokio::test]
async fn the_same_key_with_another_payload_is_refused_and_the_first_answer_stays() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let request = stand.request(register("M1"));
    process.accepted(request.clone()).await;
    let mut others = [request.clone(), request.clone(), request.clone(), request.clone()];
    others[0].command = register("M2");
    others[1].reason = Some("again".to_owned());
    others[2].expected_version = Some(0);
    others[3].occurred_at = Some(stand.clock.now());
    for other in others {
        assert_eq!(process.refused(other).await.0, "IDEMPOTENCY_KEY_REUSED");
    }
    assert!(process.accepted(request.clone()).await.replayed);
    process.stop().await;
    let restarted = stand.serve().await;
    assert!(restarted.accepted(request).await.replayed, "the refusals in the log do not displace the first answer");
    restarted.stop().await;
}

#[tokio::test]
async fn a_key_belongs_to_its_actor() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let request = stand.request(register("M1"));
    let first = process.accepted(request.clone()).await;
    let mut other = request;
    other.actor = ActorId::new("bob").unwrap();
    other.command = register("M2");
    let second = process.accepted(other).await;
    assert!(!second.replayed);
    assert_ne!(first.subject, second.subject);
    process.stop().await;
}

#[tokio::test]
async fn a_refusal_is_remembered() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let request = stand.request(judge("M1", QcOutcome::Pass));
    let first = process.refused(request.clone()).await;
    process.accepted(stand.request(register("M1"))).await;
    assert_eq!(process.refused(request.clone()).await, first, "although the lot exists by now");
    assert_eq!(stand.end(0).await, 2);
    process.stop().await;
    let restarted = stand.serve().await;
    assert_eq!(restarted.refused(request).await, first);
    restarted.stop().await;
}

#[tokio::test]
async fn a_conflict_is_not_remembered() {
    let stand = Stand::new();
    let process = stand.serve().await;
    process.accepted(stand.request(register("M1"))).await;
    let mut request = stand.request(judge("M1", QcOutcome::Pass));
    request.expected_version = Some(3);
    assert_eq!(process.refused(request.clone()).await.0, "VERSION_CONFLICT");
    process.accepted(stand.request(judge("M1", QcOutcome::Pass))).await;
    let receipt = process.accepted(request).await;
    assert_eq!((receipt.version, receipt.replayed), (4, false));
    process.stop().await;
}

#[tokio::test]
async fn keys_are_of_version_7_and_of_this_week() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let now = stand.clock.now();
    let keyed = |id: Uuid| {
        let mut request = stand.request(register("M1"));
        request.command_id = CommandId(id);
        request
    };
    let at = |time: Timestamp| keyed(stand.ids.uuid_v7(time));
    for id in [Uuid::nil(), Uuid::max(), Uuid::from_u128(0x4000 << 64), Uuid::new_v5(&Uuid::NAMESPACE_OID, b"x")] {
        assert_eq!(process.refused(keyed(id)).await.0, "INVALID_IDEMPOTENCY_KEY", "{id}");
    }
    assert_eq!(process.refused(at(now.plus_micros(-7 * DAY - 1_000))).await.0, "IDEMPOTENCY_KEY_TOO_OLD");
    assert_eq!(process.refused(at(Timestamp::default())).await.0, "IDEMPOTENCY_KEY_TOO_OLD");
    assert_eq!(process.refused(at(now.plus_micros(5 * MINUTE + 1_000))).await.0, "IDEMPOTENCY_KEY_FROM_FUTURE");
    process.accepted(at(now.plus_micros(-7 * DAY))).await;
    let mut last = at(now.plus_micros(5 * MINUTE));
    last.command = register("M2");
    process.accepted(last).await;
    process.stop().await;
}

#[tokio::test]
async fn a_key_is_forgotten_only_when_it_is_refused_for_its_age() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let request = stand.request(register("M1"));
    process.accepted(request.clone()).await;
    stand.clock.forward(7 * DAY);
    process.accepted(stand.request(register("M2"))).await;
    assert!(process.accepted(request.clone()).await.replayed);
    stand.clock.forward(2_000);
    assert_eq!(process.refused(request).await.0, "IDEMPOTENCY_KEY_TOO_OLD");
    process.stop().await;
}

/// Submits one command a second, often enough that old answers are looked at.
async fn fill(stand: &Stand, process: &Process, count: usize) {
    let mut waiting = Vec::new();
    for _ in 0..count {
        // Refusals of a duplicate: the cheapest decision that is remembered.
        let bus = process.bus.clone();
        stand.clock.forward(1_000_000);
        let request = stand.request(register("M1"));
        waiting.push(tokio::spawn(async move { bus.submit(request).await }));
        if waiting.len() == 1_000 {
            for waiting in waiting.drain(..) {
                assert!(answer(waiting).await.is_err());
            }
        }
    }
}

#[tokio::test]
async fn a_clock_that_jumped_ahead_and_came_back_locks_nobody_out() {
    let mut stand = Stand::new();
    stand.options.refusals_per_window = u64::MAX;
    let process = stand.serve().await;
    let before = stand.request(register("M1"));
    process.accepted(before.clone()).await;
    stand.clock.forward(365 * DAY);
    process.accepted(stand.request(register("M2"))).await;
    assert_eq!(process.refused(before.clone()).await.0, "IDEMPOTENCY_KEY_TOO_OLD", "by the clock as it is");
    stand.clock.forward(-365 * DAY);
    assert!(process.accepted(before.clone()).await.replayed, "the answer is remembered");
    fill(&stand, &process, 16_000).await;
    assert!(!process.accepted(stand.request(register("M3"))).await.replayed, "a key of today is good");
    // Its answer has been forgotten by now: it must not be decided a second time.
    assert_eq!(process.refused(before.clone()).await.0, "IDEMPOTENCY_KEY_TOO_OLD");
    process.stop().await;
    let restarted = stand.serve().await;
    assert_eq!(restarted.refused(before).await.0, "IDEMPOTENCY_KEY_TOO_OLD");
    assert!(!restarted.accepted(stand.request(register("M4"))).await.replayed);
    restarted.stop().await;
}

#[tokio::test]
async fn a_wrong_clock_leaves_no_answer_behind() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let request = stand.request(register("M1"));
    stand.clock.forward(8 * DAY);
    assert_eq!(process.refused(request.clone()).await.0, "IDEMPOTENCY_KEY_TOO_OLD");
    stand.clock.forward(-8 * DAY);
    assert!(!process.accepted(request).await.replayed);
    process.stop().await;
}

#[tokio::test]
async fn a_passing_refusal_that_landed_unacknowledged_is_recorded_once() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let first = stand.request(register("M1"));
    process.accepted(first.clone()).await;
    let mut conflicting = stand.request(judge("M1", QcOutcome::Pass));
    conflicting.expected_version = Some(3);
    let mut reused = first;
    reused.command = register("M2");
    for (request, code) in [(conflicting.clone(), "VERSION_CONFLICT"), (reused, "IDEMPOTENCY_KEY_REUSED")] {
        let end = stand.end(0).await;
        stand.log.faults().push(Fault::Unacknowledged);
        assert_eq!(process.refused(request.clone()).await.0, code);
        assert_eq!(stand.end(0).await, end + 1, "{code} is recorded once");
        stand.log.faults().push(Fault::Lost);
        assert_eq!(process.refused(request).await.0, code);
        assert_eq!(stand.end(0).await, end + 2, "another try is another fact");
    }
    // A refusal of an earlier try is no answer to a try that was lost.
    stand.log.faults().push(Fault::Lost);
    process.accepted(stand.request(judge("M1", QcOutcome::Pass))).await;
    conflicting.expected_version = Some(6);
    stand.log.faults().push(Fault::Lost);
    assert_eq!(process.accepted(conflicting).await.version, 7);
    process.stop().await;
}

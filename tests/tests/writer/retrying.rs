//! A command that comes twice is decided once.

use lotline_domain::id::{ActorId, CommandId};
use lotline_domain::port::{Clock, Ids};
use lotline_domain::qc::QcOutcome;
use lotline_domain::timestamp::Timestamp;
use uuid::Uuid;

use crate::stand::{MINUTE, Stand, answer, judge, register};

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
    let mut request = stand.request(judge("M1", QcOutcome::Hold));
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

//! Appends without a certain outcome, successors, and logs that can't be trusted.

use lotline_adapters::log::memory::{Fault, MemoryLog};
use lotline_commands::bus::SubmitError;
use lotline_commands::fold::FoldError;
use lotline_commands::writer::{WriterError, WriterStatus};
use lotline_domain::chain::BreakCause;
use lotline_domain::envelope::Envelope;
use lotline_domain::event::DecodeError;
use lotline_domain::port::LogError;
use lotline_domain::qc::QcOutcome;
use lotline_domain::record::{Header, Record};

use crate::stand::{Stand, answer, judge, register, tenant, within};

#[tokio::test]
async fn a_lost_append_is_decided_anew_and_stands_once() {
    for fault in [Fault::Lost, Fault::Unacknowledged] {
        let stand = Stand::new();
        let process = stand.serve().await;
        process.accepted(stand.request(register("M0"))).await;
        stand.log.faults().push(fault);
        let request = stand.request(register("M1"));
        let receipt = process.accepted(request.clone()).await;
        assert_eq!((receipt.version, receipt.replayed), (2, false), "to the caller it is the first answer");
        assert_eq!(stand.types().await, ["lot.registered"; 2]);
        assert!(process.accepted(request).await.replayed);
        assert_eq!(process.accepted(stand.request(register("M2"))).await.version, 3);
        process.stop().await;
    }
}

#[tokio::test]
async fn faults_in_a_row_are_survived() {
    let stand = Stand::new();
    let process = stand.serve().await;
    for fault in [Fault::Lost, Fault::Unacknowledged, Fault::Lost, Fault::Lost, Fault::Unacknowledged] {
        stand.log.faults().push(fault);
    }
    for number in 0..4 {
        let receipt = process.accepted(stand.request(register(&format!("M{number}")))).await;
        assert_eq!((receipt.version, receipt.replayed), (number + 1, false));
    }
    assert_eq!(stand.types().await, ["lot.registered"; 4]);
    process.stop().await;
}

#[tokio::test]
async fn every_command_of_a_lost_batch_gets_its_own_answer() {
    for fault in [Fault::Lost, Fault::Unacknowledged] {
        let stand = Stand::new();
        let process = stand.serve().await;
        let old = stand.request(register("M0"));
        process.accepted(old.clone()).await;
        let gate = stand.hold();
        let blocker = process.begin(stand.request(register("B"))).await;
        gate.reached().await;
        let fresh = stand.request(register("M1"));
        let first = process.begin(fresh.clone()).await;
        let same = process.begin(fresh).await;
        let refused = process.begin(stand.request(judge("nothing", QcOutcome::Pass))).await;
        let retried = process.begin(old).await;
        let last = process.begin(stand.request(judge("M1", QcOutcome::Hold))).await;
        // The blocker takes the first fault, its batch done; the batch of all the others takes the second.
        stand.log.faults().push(Fault::Unacknowledged);
        stand.log.faults().push(fault);
        gate.open();
        assert!(!answer(blocker).await.unwrap().replayed);
        let (first, same) = (answer(first).await.unwrap(), answer(same).await.unwrap());
        assert_eq!((first.version, first.replayed), (3, false));
        assert_eq!((same.version, same.replayed), (3, true));
        assert!(matches!(answer(refused).await, Err(SubmitError::Refused { code, .. }) if code == "UNKNOWN_LOT"));
        let retried = answer(retried).await.unwrap();
        assert_eq!((retried.version, retried.replayed), (1, true), "it was decided long before");
        assert_eq!(answer(last).await.unwrap().version, 6);
        let lots = ["lot.registered"; 3];
        let judged = ["command.refused", "hold.placed", "qc_decision.recorded", "alert.raised"];
        let types = [&lots[..], &judged].concat();
        assert_eq!(stand.types().await, types);
        process.stop().await;
    }
}

#[tokio::test]
async fn a_fenced_writer_ends_and_answers_unavailable() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let gate = stand.hold();
    let first = process.begin(stand.request(register("M1"))).await;
    gate.reached().await;
    let queued = process.begin(stand.request(register("M2"))).await;
    stand.log.faults().push(Fault::Fenced);
    gate.open();
    assert_eq!(answer(first).await, Err(SubmitError::Unavailable));
    assert_eq!(answer(queued).await, Err(SubmitError::Unavailable));
    let bus = process.bus.clone();
    assert!(matches!(process.end().await, Err(WriterError::Fenced { partition: 0 })));
    assert_eq!(bus.statuses(), [WriterStatus::Stopped]);
    assert_eq!(bus.submit(stand.request(register("M3"))).await, Err(SubmitError::Unavailable));
    assert_eq!(stand.end(0).await, 0);
}

#[tokio::test]
async fn a_paused_writer_can_not_write_after_its_successor() {
    let stand = Stand::new();
    let paused = stand.serve().await;
    paused.accepted(stand.request(register("M1"))).await;
    let gate = stand.hold();
    let request = stand.request(register("M2"));
    let waiting = paused.begin(request.clone()).await;
    gate.reached().await;
    let successor = stand.serve().await;
    let other = successor.accepted(stand.request(register("M2"))).await;
    assert_eq!(other.version, 2);
    gate.open();
    assert_eq!(answer(waiting).await, Err(SubmitError::Unavailable));
    assert!(matches!(paused.end().await, Err(WriterError::Fenced { .. })));
    assert_eq!(successor.refused(request).await.0, "DUPLICATE_LOT_CODE");
    assert_eq!(stand.types().await, ["lot.registered", "lot.registered", "command.refused"]);
    successor.stop().await;
}

#[tokio::test]
async fn gaps_in_offsets_are_no_gaps_in_sequences() {
    let stand = Stand::new();
    let process = stand.serve().await;
    process.accepted(stand.request(register("M1"))).await;
    stand.log.faults().push(Fault::Gap(7));
    let receipt = process.accepted(stand.request(register("M2"))).await;
    assert_eq!((receipt.version, receipt.position.to_string().as_str()), (2, "l0.9"));
    process.stop().await;
    let restarted = stand.serve().await;
    assert_eq!(restarted.accepted(stand.request(register("M3"))).await.version, 3);
    restarted.stop().await;
}

/// The next event of `north`, sealed as Lotline seals it but of a type of the future.
async fn from_the_future(stand: &Stand) -> Record {
    let (mut last, _) = stand.events(0).await.pop().expect("there is an event");
    last.attributes.sequence += 1;
    last.attributes.event_type = "lotline.lot.registered.v9".into();
    Envelope::seal(last.attributes, last.hash, last.value).to_record()
}

#[tokio::test]
async fn an_unknown_event_type_stops_the_writer() {
    let stand = Stand::new();
    let process = stand.serve().await;
    process.accepted(stand.request(register("M1"))).await;
    process.stop().await;
    stand.log.append_foreign(0, from_the_future(&stand).await).unwrap();
    let process = stand.start();
    let waiting = process.begin(stand.request(register("M2"))).await;
    assert!(!within(process.bus.ready()).await);
    assert_eq!(answer(waiting).await, Err(SubmitError::Unavailable));
    let Err(WriterError::Fold { source: FoldError::Event { stream, sequence, source }, .. }) = process.end().await
    else {
        panic!("it did not stop for the event")
    };
    assert_eq!((stream.as_str(), sequence), ("north", 2));
    assert!(matches!(source, DecodeError::UnknownType(name) if name == "lotline.lot.registered.v9"));
    assert_eq!(stand.end(0).await, 2, "nothing was written");
}

#[tokio::test]
async fn a_foreign_producers_record_stops_the_writer() {
    let stand = Stand::new();
    let process = stand.serve().await;
    process.accepted(stand.request(register("M1"))).await;
    process.stop().await;
    let header = Header::new("ce_type", "lotline.lot.registered.v1");
    let foreign = Record { key: "north".into(), headers: vec![header], value: "{}".into() };
    stand.log.append_foreign(0, foreign).unwrap();
    let Err(WriterError::Fold { source: FoldError::Chain(broken), .. }) = stand.start().end().await else {
        panic!("it did not stop for the record")
    };
    assert_eq!((broken.offset, broken.stream.as_str()), (1, "north"));
    assert!(matches!(broken.cause, BreakCause::Foreign(_)));
}

#[tokio::test]
async fn a_doubled_event_stops_the_writer() {
    let stand = Stand::new();
    let process = stand.serve().await;
    process.accepted(stand.request(register("M1"))).await;
    process.stop().await;
    let doubled = stand.records(0).await[0].record.clone();
    assert!(Envelope::from_record(&tenant(), &doubled).is_ok());
    stand.log.append_foreign(0, doubled).unwrap();
    let Err(WriterError::Fold { source: FoldError::Chain(broken), .. }) = stand.start().end().await else {
        panic!("it did not stop for the record")
    };
    assert_eq!(broken.cause, BreakCause::Sequence { previous: 1, found: 1 });
}

#[tokio::test]
async fn a_foreign_record_under_a_serving_writer_is_found_by_the_next_takeover() {
    let stand = Stand::new();
    let process = stand.serve().await;
    process.accepted(stand.request(register("M1"))).await;
    stand.log.append_foreign(0, from_the_future(&stand).await).unwrap();
    stand.log.faults().push(Fault::Lost);
    assert_eq!(process.submit(stand.request(register("M2"))).await, Err(SubmitError::Unavailable));
    assert!(matches!(process.end().await, Err(WriterError::Fold { .. })));
}

#[tokio::test]
async fn a_log_that_takes_not_even_a_refusal_stops_the_writer() {
    let stand = Stand::on(MemoryLog::with_limit("lotline.dairy.ledger.v1", 1, 200));
    let process = stand.serve().await;
    assert_eq!(process.submit(stand.request(register("M1"))).await, Err(SubmitError::Unavailable));
    let ended = process.end().await;
    assert!(matches!(ended, Err(WriterError::Log { source: LogError::TooLarge { max: 200, .. }, .. })));
}

#[tokio::test]
async fn after_an_unknown_outcome_the_next_batches_are_smaller() {
    let mut stand = Stand::new();
    stand.options.max_batch = 8;
    let process = stand.serve().await;
    let gate = stand.hold();
    let first = process.begin(stand.request(register("M0"))).await;
    gate.reached().await;
    let mut waiting = Vec::new();
    for number in 1..=8 {
        waiting.push(process.begin(stand.request(register(&format!("M{number}")))).await);
    }
    // The first of these is for the append that waits behind the gate: four at once from then on, and two after the second.
    stand.log.faults().push(Fault::Unacknowledged);
    stand.log.faults().push(Fault::Lost);
    gate.open();
    answer(first).await.unwrap();
    let mut ends = Vec::new();
    for waiting in waiting {
        ends.push(answer(waiting).await.unwrap().position.to_string());
    }
    assert_eq!(ends, ["l0.3", "l0.3", "l0.7", "l0.7", "l0.7", "l0.7", "l0.9", "l0.9"]);
    process.stop().await;
}

//! Order, atomicity, fencing, limits.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lotline_domain::port::{AppendError, LogError, LogWriter};

use super::{DEADLINE, Subject, ledger, plain, plain_batch, read_all, values};

/// Batches and single records come back in the order of their appends, and the offset that an append gives is its last record's.
pub async fn keeps_the_order_of_appends(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    let mut writer = log.writer(0).await.unwrap();
    let first = writer.append(plain_batch("a", 3)).await.unwrap();
    let second = writer.append(vec![plain("b")]).await.unwrap();
    let third = writer.append(plain_batch("c", 2)).await.unwrap();
    let records = read_all(log.as_ref(), 0).await;
    assert_eq!(values(&records), ["a-0", "a-1", "a-2", "b", "c-0", "c-1"]);
    assert_eq!([records[2].offset, records[3].offset, records[5].offset], [first, second, third]);
}

/// Whoever sees the first record of a batch can read the last one at once.
pub async fn a_batch_is_seen_whole_or_not_at_all(subject: &dyn Subject) {
    const SIZE: usize = 7;
    const ROUNDS: usize = 30;
    let log = ledger(subject, 1).await;
    let mut writer = log.writer(0).await.unwrap();
    let writing = async {
        for round in 0..ROUNDS {
            writer.append(plain_batch(&round.to_string(), SIZE)).await.unwrap();
        }
    };
    let reading = async {
        let mut reader = log.reader(0, 0).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < SIZE * ROUNDS {
            // An odd limit, so that reads end inside of batches.
            let mut found = reader.read(SIZE - 2, DEADLINE).await.unwrap().records;
            assert!(!found.is_empty(), "the writer goes on, so must the reader");
            seen.append(&mut found);
            while seen.len() % SIZE != 0 {
                let rest = reader.read(SIZE - seen.len() % SIZE, Duration::ZERO).await.unwrap().records;
                if rest.is_empty() {
                    // The reader may be behind; the log itself may not.
                    let whole = read_all(log.as_ref(), 0).await.len();
                    assert_eq!(whole % SIZE, 0, "the log shows part of a batch");
                }
                seen.extend(rest);
            }
        }
        seen
    };
    let ((), seen) = tokio::join!(writing, reading);
    let expected: Vec<_> =
        (0..ROUNDS).flat_map(|round| (0..SIZE).map(move |index| format!("{round}-{index}"))).collect();
    assert_eq!(values(&seen), expected);
}

/// An append whose caller goes away in the middle lands whole or not at all; the writer then refuses to guess.
pub async fn a_cancelled_append_is_whole_or_nothing(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    for polls in 0..6_usize {
        let mut writer = log.writer(0).await.unwrap();
        writer.append(vec![plain(format!("before-{polls}"))]).await.unwrap();
        let ended = poll_then_drop(writer.as_mut(), polls).await;
        if polls > 0 && !ended {
            let after = writer.append(vec![plain("after")]).await;
            assert!(matches!(after, Err(AppendError::Unknown(_))), "{after:?}");
        }
        drop(writer);
        // The successor's takeover decides what became of it.
        let mut successor = log.writer(0).await.unwrap();
        let decided = of_round(&values(&read_all(log.as_ref(), 0).await), polls);
        assert!(decided == 0 || decided == 5, "{decided} of 5 records landed");
        successor.append(vec![plain("next")]).await.unwrap();
        let later = values(&read_all(log.as_ref(), 0).await);
        assert_eq!(of_round(&later, polls), decided, "nothing lands after the successor has taken over");
        assert!(!later.contains(&"after".to_owned()));
    }
}

fn of_round(values: &[String], round: usize) -> usize {
    values.iter().filter(|value| value.starts_with(&format!("cut{round}-"))).count()
}

/// Polls an append that often and drops it; says whether it had ended by then.
async fn poll_then_drop(writer: &mut dyn LogWriter, polls: usize) -> bool {
    let mut append = writer.append(plain_batch(&format!("cut{polls}"), 5));
    for _ in 0..polls {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(result) = append.as_mut().poll(&mut context) {
            result.unwrap();
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// A writer that pauses while another process takes the partition can't append any more, and leaves no trace.
pub async fn a_new_writer_fences_the_old_one(subject: &dyn Subject) {
    let (first_process, second_process) = (ledger(subject, 1).await, ledger(subject, 1).await);
    let mut old = first_process.writer(0).await.unwrap();
    old.append(vec![plain("old-1")]).await.unwrap();
    let mut new = second_process.writer(0).await.unwrap();
    let refused = old.append(plain_batch("late", 3)).await;
    assert!(matches!(refused, Err(AppendError::Fenced)), "{refused:?}");
    new.append(vec![plain("new-1")]).await.unwrap();
    let again = old.append(vec![plain("later")]).await;
    assert!(matches!(again, Err(AppendError::Fenced | AppendError::Unknown(_))), "{again:?}");
    new.append(vec![plain("new-2")]).await.unwrap();
    for log in [&first_process, &second_process] {
        assert_eq!(values(&read_all(log.as_ref(), 0).await), ["old-1", "new-1", "new-2"]);
    }
}

/// Too large is found out before anything is sent: the rest of the batch does not land either, and the writer stays good.
pub async fn an_oversized_record_is_refused_and_the_writer_goes_on(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    let mut writer = log.writer(0).await.unwrap();
    let mut largest = plain("");
    largest.value = vec![b'x'; log.max_record_bytes() - largest.size()].into();
    let mut oversized = largest.clone();
    oversized.key.push('x');
    let refused = writer.append(vec![plain("beside"), oversized.clone()]).await;
    match refused {
        Err(AppendError::TooLarge { index: 1, size, max }) => {
            assert_eq!((size, max), (oversized.size(), log.max_record_bytes()));
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
    writer.append(vec![largest.clone()]).await.unwrap();
    let records = read_all(log.as_ref(), 0).await;
    assert_eq!(records.len(), 1);
    assert!(records[0].record == largest, "the largest record that is allowed comes back whole");
}

/// Keys would land elsewhere, so the log does not open.
pub async fn a_changed_partition_count_is_refused(subject: &dyn Subject) {
    ledger(subject, 3).await;
    for changed in [2, 4] {
        match subject.ledger(changed).await.map(|_| ()) {
            Err(LogError::PartitionCount { expected, actual: 3, .. }) => assert_eq!(expected, changed),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
    assert_eq!(ledger(subject, 3).await.partitions(), 3);
}

/// Writers of different partitions neither fence nor wait for each other.
pub async fn partitions_have_writers_of_their_own(subject: &dyn Subject) {
    let log = ledger(subject, 4).await;
    let writing = (0..4_u32).map(|partition| {
        let log = &log;
        async move {
            let mut writer = log.writer(partition).await.unwrap();
            for round in 0..10 {
                writer.append(plain_batch(&format!("{partition}-{round}"), 2)).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(writing).await;
    for partition in 0..4 {
        let expected: Vec<_> = (0..20).map(|n| format!("{partition}-{}-{}", n / 2, n % 2)).collect();
        assert_eq!(values(&read_all(log.as_ref(), partition).await), expected);
    }
}

/// A partition that the topic does not have is an error of its own.
pub async fn unknown_partitions_are_refused(subject: &dyn Subject) {
    let log = ledger(subject, 2).await;
    assert!(matches!(log.end(2).await, Err(LogError::NoPartition { partition: 2, .. })));
    assert!(matches!(log.reader(2, 0).await.map(|_| ()), Err(LogError::NoPartition { partition: 2, .. })));
    assert!(matches!(log.writer(7).await.map(|_| ()), Err(LogError::NoPartition { partition: 7, .. })));
}

/// What was acknowledged is there for the next process.
pub async fn a_reopened_log_has_its_records(subject: &dyn Subject) {
    let log = ledger(subject, 2).await;
    log.writer(1).await.unwrap().append(plain_batch("kept", 2)).await.unwrap();
    drop(log);
    let log = ledger(subject, 2).await;
    assert_eq!(values(&read_all(log.as_ref(), 1).await), ["kept-0", "kept-1"]);
    let mut writer = log.writer(1).await.unwrap();
    writer.append(vec![plain("more")]).await.unwrap();
    assert_eq!(values(&read_all(log.as_ref(), 1).await), ["kept-0", "kept-1", "more"]);
}

//! The faults that the log in memory can be asked for.

use std::time::{Duration, Instant};

use lotline_adapters::log::memory::{Fault, Gate, MemoryLog};
use lotline_domain::port::{AppendError, EventLog, LogRead};
use lotline_tests::contract::{plain, plain_batch, read_all, values};

/// The same error, two outcomes: only the log can tell, and does.
#[tokio::test]
async fn an_unknown_outcome_is_resolved_from_the_log() {
    for (fault, landed) in [(Fault::Lost, false), (Fault::Unacknowledged, true)] {
        let log = MemoryLog::new("ledger", 1);
        let mut writer = log.writer(0).await.unwrap();
        log.faults().push(fault);
        let unknown = writer.append(plain_batch("a", 2)).await;
        assert!(matches!(unknown, Err(AppendError::Unknown(_))), "{unknown:?}");
        let spent = writer.append(vec![plain("b")]).await;
        assert!(matches!(spent, Err(AppendError::Unknown(_))), "a writer without a known outcome is spent: {spent:?}");
        let mut writer = log.writer(0).await.unwrap();
        assert_eq!(read_all(&log, 0).await.len(), if landed { 2 } else { 0 });
        if !landed {
            writer.append(plain_batch("a", 2)).await.unwrap();
        }
        assert_eq!(values(&read_all(&log, 0).await), ["a-0", "a-1"]);
    }
}

/// The writer has given up; whether its append still lands is up to whether somebody else came first.
#[tokio::test]
async fn a_late_append_lands_unless_there_is_a_successor() {
    for fenced in [false, true] {
        let log = MemoryLog::new("ledger", 1);
        let mut writer = log.writer(0).await.unwrap();
        log.faults().push(Fault::Late(Duration::from_millis(20)));
        let unknown = writer.append(plain_batch("late", 2)).await;
        assert!(matches!(unknown, Err(AppendError::Unknown(_))), "{unknown:?}");
        assert_eq!(log.end(0).await.unwrap(), 0);
        let mut reader = log.reader(0, 0).await.unwrap();
        if fenced {
            log.writer(0).await.unwrap();
        }
        let read = reader.read(10, Duration::from_millis(if fenced { 60 } else { 20_000 })).await.unwrap();
        assert_eq!(values(&read.records), if fenced { vec![] } else { vec!["late-0", "late-1"] });
    }
}

/// A writer held before its append lands finds its successor there when it resumes.
#[tokio::test]
async fn a_paused_writer_is_fenced_when_it_resumes() {
    let log = MemoryLog::new("ledger", 1);
    let gate = Gate::default();
    let mut old = log.writer(0).await.unwrap();
    log.faults().push(Fault::Hold(gate.clone()));
    let paused = tokio::spawn(async move { old.append(vec![plain("old")]).await });
    gate.reached().await;
    let mut new = log.writer(0).await.unwrap();
    new.append(vec![plain("new")]).await.unwrap();
    gate.open();
    assert!(matches!(paused.await.unwrap(), Err(AppendError::Fenced)));
    assert_eq!(values(&read_all(&log, 0).await), ["new"]);
}

#[tokio::test]
async fn a_fence_and_a_gap_on_demand() {
    let log = MemoryLog::new("ledger", 1);
    let mut writer = log.writer(0).await.unwrap();
    writer.append(vec![plain("a")]).await.unwrap();
    log.faults().push(Fault::Gap(3));
    assert_eq!(writer.append(plain_batch("b", 2)).await.unwrap(), 5);
    log.faults().push(Fault::Gap(10));
    log.faults().push(Fault::Fenced);
    assert!(matches!(writer.append(vec![plain("c")]).await, Err(AppendError::Fenced)));
    assert_eq!(log.end(0).await.unwrap(), 16);
    let offsets: Vec<_> = read_all(&log, 0).await.iter().map(|stored| stored.offset).collect();
    assert_eq!(offsets, [0, 4, 5]);
}

#[tokio::test]
async fn a_delayed_append_takes_its_time() {
    let log = MemoryLog::new("ledger", 1);
    let mut writer = log.writer(0).await.unwrap();
    log.faults().push(Fault::Delay(Duration::from_millis(40)));
    let begin = Instant::now();
    writer.append(vec![plain("a")]).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(40));
}

//! The publisher against a log that fails in every way a log can.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lotline_domain::id::{CollectorId, DeviceId, SiteId};
use lotline_domain::port::{BoxFuture, LogRead, LogReader};
use lotline_domain::record::Offset;
use lotline_domain::sample::{Quality, SignalBatch};
use lotline_domain::timestamp::Timestamp;
use uuid::Uuid;

use super::super::buffer::scratch::Scratch;
use super::super::buffer::{GroupOptions, StoreOptions};
use super::*;

/// How a call ends.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Good,
    /// Refused, nothing stored.
    Failed,
    /// Stored, but the caller is told otherwise.
    Unknown,
    /// Never answers.
    Hanging,
}

/// Keeps what it is given; call by call it meets the fates in turn, and then fails no more.
struct FatefulLog {
    fates: Vec<Fate>,
    calls: AtomicUsize,
    max_size: usize,
    stored: Mutex<Vec<Record>>,
}

impl FatefulLog {
    fn new(fates: &[Fate], max_size: usize) -> Arc<Self> {
        Arc::new(Self { fates: fates.to_vec(), calls: AtomicUsize::new(0), max_size, stored: Mutex::default() })
    }

    fn sequences(&self) -> Vec<u64> {
        let stored = self.stored.lock().unwrap();
        let tenant = TenantId::new("dairy").unwrap();
        stored.iter().map(|record| codec::from_record(&tenant, record).unwrap().sequence).collect()
    }
}

impl LogRead for FatefulLog {
    fn topic(&self) -> &'static str {
        "signals"
    }
    fn partitions(&self) -> u32 {
        1
    }
    fn end(&self, _: u32) -> BoxFuture<'_, Result<Offset, LogError>> {
        unreachable!("the publisher does not read")
    }
    fn reader(&self, _: u32, _: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        unreachable!("the publisher does not read")
    }
}

impl SignalLog for FatefulLog {
    fn publish(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            if let Some(large) = records.iter().find(|record| record.size() > self.max_size) {
                return Err(LogError::TooLarge { size: large.size(), max: self.max_size });
            }
            let fate = self.fates.get(self.calls.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(Fate::Good);
            if matches!(fate, Fate::Good | Fate::Unknown) {
                self.stored.lock().unwrap().extend(records);
            }
            match fate {
                Fate::Good => Ok(()),
                Fate::Failed | Fate::Unknown => Err(LogError::broken("publish", "no")),
                Fate::Hanging => std::future::pending().await,
            }
        })
    }
}

fn batch(samples: usize) -> SignalBatch {
    SignalBatch {
        site: SiteId::new("north").unwrap(),
        collector: CollectorId::new("line-1").unwrap(),
        epoch: Uuid::nil(),
        sequence: 0,
        device: DeviceId::new("press").unwrap(),
        signals: vec![1; samples],
        source_times: vec![Timestamp::from_millis(5); samples],
        values: vec![0.5; samples],
        qualities: vec![Quality::GOOD; samples],
        collected_at: Timestamp::from_millis(5),
    }
}

async fn buffer(dir: &Scratch) -> Buffer {
    let store = StoreOptions { dir: dir.to_path_buf(), max_bytes: 1 << 20, segment_bytes: 1 << 10 };
    let group = GroupOptions { window: Duration::from_millis(1), queue: 1_000 };
    Buffer::open(store, group, Uuid::from_u128(3)).await.unwrap()
}

fn publisher(buffer: &Buffer, log: &Arc<FatefulLog>) -> Publisher {
    let config =
        PublisherConfig { max_batches: 7, max_backoff_ms: 2, timeout_ms: 50, drain_ms: 10_000, ..Default::default() };
    let log: Arc<dyn SignalLog> = log.clone();
    Publisher { tenant: TenantId::new("dairy").unwrap(), buffer: buffer.clone(), log, config }
}

/// Appends `count` batches while publishing, and waits until all are acknowledged.
async fn publish(buffer: &Buffer, log: &Arc<FatefulLog>, count: usize) {
    let stop = CancellationToken::new();
    let running = tokio::spawn(publisher(buffer, log).run(stop.clone()));
    for _ in 0..count {
        buffer.append(batch(3)).await.unwrap();
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    let progress = *buffer.progress().borrow();
    assert_eq!((progress.cursor, progress.lost), (progress.next, 0));
}

#[tokio::test]
async fn a_failing_log_loses_nothing_and_doubles_only_what_it_left_in_doubt() {
    let dir = Scratch::new();
    let buffer = buffer(&dir).await;
    let fates = [Fate::Failed, Fate::Good, Fate::Hanging, Fate::Failed, Fate::Good, Fate::Failed, Fate::Good];
    let log = FatefulLog::new(&fates, usize::MAX);
    publish(&buffer, &log, 100).await;
    assert_eq!(log.sequences(), (1..=100).collect::<Vec<_>>(), "no doubt, so no doubles");

    let doubtful = FatefulLog::new(&[Fate::Good, Fate::Unknown, Fate::Unknown, Fate::Good, Fate::Unknown], usize::MAX);
    publish(&buffer, &doubtful, 100).await;
    let mut sequences = doubtful.sequences();
    assert!(sequences.len() > 100, "what was in doubt was sent again");
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!(sequences, (101..=200).collect::<Vec<_>>(), "by sequence, nothing is lost or doubled");
}

/// The publisher has asked for entries and was told that there is none; before it hears of that, one is appended and it is stopped.
#[tokio::test]
async fn what_was_appended_before_the_stop_is_published() {
    let dir = Scratch::new();
    let buffer = buffer(&dir).await;
    let log = FatefulLog::new(&[], usize::MAX);
    let stop = CancellationToken::new();
    let running = tokio::spawn(publisher(&buffer, &log).run(stop.clone()));
    tokio::task::yield_now().await;
    let appending = buffer.clone();
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(appending.append(batch(1))).unwrap()
    });
    // Blocks the thread of this test on purpose, so that the publisher does not get to see the answer.
    assert_eq!(elsewhere.join().unwrap(), 1);
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(log.sequences(), [1]);
}

#[tokio::test]
async fn what_was_not_acknowledged_is_published_by_the_next_run() {
    let dir = Scratch::new();
    let stuck = FatefulLog::new(&[Fate::Good, Fate::Hanging, Fate::Hanging, Fate::Hanging], usize::MAX);
    let first = buffer(&dir).await;
    for _ in 0..20 {
        first.append(batch(1)).await.unwrap();
    }
    let running = tokio::spawn(publisher(&first, &stuck).run(CancellationToken::new()));
    let mut progress = first.progress();
    tokio::time::timeout(Duration::from_secs(10), progress.wait_for(|now| now.cursor == 8)).await.unwrap().unwrap();
    running.abort();
    let _ = running.await;
    first.close().await.unwrap();

    let log = FatefulLog::new(&[], usize::MAX);
    publish(&buffer(&dir).await, &log, 0).await;
    assert_eq!((stuck.sequences(), log.sequences()), ((1..=7).collect(), (8..=20).collect()));
}

#[tokio::test]
async fn a_batch_larger_than_the_log_takes_does_not_stop_the_others() {
    let dir = Scratch::new();
    let buffer = buffer(&dir).await;
    let log = FatefulLog::new(&[], 1_000);
    for samples in [1, 500, 1] {
        buffer.append(batch(samples)).await.unwrap();
    }
    publish(&buffer, &log, 1).await;
    assert_eq!(log.sequences(), [1, 3, 4]);
}

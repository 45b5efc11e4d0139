//! The buffer's thread: grouping, queueing, closing.

use lotline_domain::id::{CollectorId, DeviceId, SiteId};
use lotline_domain::sample::Quality;
use lotline_domain::timestamp::Timestamp;

use super::scratch::Scratch;
use super::*;

fn batch(value: f64) -> SignalBatch {
    SignalBatch {
        site: SiteId::new("north").unwrap(),
        collector: CollectorId::new("line-1").unwrap(),
        epoch: Uuid::nil(),
        sequence: 0,
        device: DeviceId::new("press").unwrap(),
        signals: vec![1],
        source_times: vec![Timestamp::from_millis(5)],
        values: vec![value],
        qualities: vec![Quality::GOOD],
        collected_at: Timestamp::from_millis(5),
    }
}

fn options(dir: &Scratch) -> StoreOptions {
    StoreOptions { dir: dir.to_path_buf(), max_bytes: 1 << 20, segment_bytes: 1 << 16 }
}

fn group(queue: usize) -> GroupOptions {
    GroupOptions { window: Duration::from_millis(5), queue }
}

#[tokio::test]
async fn batches_get_epoch_and_sequence_and_survive_the_thread() {
    let dir = Scratch::new();
    let epoch = Uuid::from_u128(3);
    let buffer = Buffer::open(options(&dir), group(100), epoch).await.unwrap();
    let sequences = futures_util::future::join_all((0..10).map(|n| buffer.append(batch(f64::from(n))))).await;
    let sequences: Vec<u64> = sequences.into_iter().map(Result::unwrap).collect();
    assert_eq!(sequences, (1..=10).collect::<Vec<_>>());
    assert!(buffer.offer(batch(10.0)));
    buffer.close().await.unwrap();
    assert!(matches!(buffer.append(batch(0.0)).await, Err(BufferError::Closed)));

    let buffer = Buffer::open(options(&dir), group(100), Uuid::from_u128(4)).await.unwrap();
    assert_eq!(buffer.progress().borrow().next, 12);
    let entries = buffer.read(100, 1 << 20).await.unwrap();
    for (index, entry) in entries.iter().enumerate() {
        let read = codec::decode(&entry.payload).unwrap();
        let expected = SignalBatch { epoch, sequence: index as u64 + 1, ..batch(index as f64) };
        assert_eq!((read, entry.sequence), (expected, index as u64 + 1));
    }
    assert_eq!(entries.len(), 11);
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_written_one_takes_again() {
    let dir = Scratch::new();
    let slow = GroupOptions { window: Duration::from_millis(200), queue: 2 };
    let buffer = Buffer::open(options(&dir), slow, Uuid::from_u128(3)).await.unwrap();
    let mut progress = buffer.progress();
    assert_eq!([1.0, 2.0, 3.0].map(|value| buffer.offer(batch(value))), [true, true, false]);
    tokio::time::timeout(Duration::from_secs(10), progress.wait_for(|now| now.next == 3)).await.unwrap().unwrap();
    assert_eq!(buffer.append(batch(4.0)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_disk_that_fails_is_tried_again_until_it_takes_the_batch() {
    let dir = Scratch::new();
    let tight = StoreOptions { segment_bytes: 1, ..options(&dir) };
    let at_once = GroupOptions { window: Duration::ZERO, queue: 100 };
    let buffer = Buffer::open(tight, at_once, Uuid::from_u128(3)).await.unwrap();
    buffer.append(batch(1.0)).await.unwrap();
    // The next segment's name is taken by a directory, so it can't be made until that goes.
    let obstacle = dir.join("00000000000000000002.seg");
    std::fs::create_dir(&obstacle).unwrap();
    let mut waiting = std::pin::pin!(buffer.append(batch(2.0)));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    // Tasks are taken in order: once this is answered the write has been tried, and has failed.
    assert_eq!(buffer.read(10, 1 << 20).await.unwrap().len(), 1);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    std::fs::remove_dir(obstacle).unwrap();
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap(), 2);
}

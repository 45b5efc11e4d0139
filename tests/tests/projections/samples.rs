//! Signals: each batch once, in any order; what is no batch is set aside.

use bytes::Bytes;
use lotline_domain::id::{CollectorId, DeviceId, SiteId};
use lotline_domain::record::Record;
use lotline_domain::sample::{Quality, SignalBatch, codec};
use lotline_projections::model::Model;
use lotline_projections::rebuild::RebuildError;
use lotline_projections::samples::{self, TimeRange};
use lotline_projections::signals::SignalKey;
use uuid::Uuid;

use crate::fixture::{FakeLog, Shared, start, tenant};
use crate::rig::Rig;

fn log() -> Shared {
    FakeLog::shared("lotline.dairy.signals.v1", 5_000)
}

/// Ten values of signal 1, a second apart, from second 10 × `sequence`.
fn batch(collector: &str, epoch: u128, sequence: u64) -> SignalBatch {
    let times: Vec<_> =
        (0..10).map(|second| start().plus_micros((sequence as i64 * 10 + second) * 1_000_000)).collect();
    SignalBatch {
        site: SiteId::new("north").unwrap(),
        collector: CollectorId::new(collector).unwrap(),
        epoch: Uuid::from_u128(epoch),
        sequence,
        device: DeviceId::new("pasteuriser").unwrap(),
        signals: vec![1; 10],
        collected_at: times[9],
        source_times: times,
        values: (0..10).map(|value| sequence as f64 * 100.0 + f64::from(value)).collect(),
        qualities: vec![Quality::GOOD; 10],
    }
}

fn publish(log: &Shared, batch: &SignalBatch) {
    log.0.push(codec::to_record(&tenant(), batch));
}

fn key(number: i32) -> SignalKey {
    SignalKey { site: "north".into(), number }
}

async fn latest(rig: &Rig) -> f64 {
    let rows = samples::latest(rig.pool(), &tenant(), &[key(1), key(2)]).await.unwrap();
    assert_eq!(rows.len(), 1);
    rows[0].value.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_counts_once_and_a_late_one_fills_its_gap() {
    let rig = Rig::new("once").await;
    let log = log();
    for sequence in [1, 2, 2, 5, 1] {
        publish(&log, &batch("c1", 1, sequence));
    }
    let worker = rig.signals(&log);
    rig.samples_at(log.0.next()).await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.signal_history").await, 30);
    assert_eq!(latest(&rig).await.to_bits(), 509.0_f64.to_bits());
    worker.stop().await;

    // A restarted worker remembers what it has counted. The same sequence of another epoch is another batch.
    sqlx::query("DELETE FROM read.signal_history").execute(rig.pool()).await.unwrap();
    for sequence in [5, 3, 4, 4] {
        publish(&log, &batch("c1", 1, sequence));
    }
    publish(&log, &batch("c1", 2, 1));
    let worker = rig.signals(&log);
    rig.samples_at(log.0.next()).await;
    worker.stop().await;
    let epochs: Vec<(Vec<i64>, Vec<i64>)> =
        sqlx::query_as("SELECT starts, ends FROM read.signal_seen ORDER BY epoch").fetch_all(rig.pool()).await.unwrap();
    assert_eq!(epochs, [(vec![1], vec![5]), (vec![1], vec![1])]);
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.signal_history").await, 30, "5 was counted before");
    assert_eq!(latest(&rig).await.to_bits(), 509.0_f64.to_bits(), "late values are not the latest");
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_and_rival_projectors_give_equal_rows() {
    let log = log();
    for sequence in [1, 2, 4, 2, 3, 9, 7, 8, 8, 1, 10, 6] {
        publish(&log, &batch("c1", 1, sequence));
        publish(&log, &batch("c2", 7, sequence % 4 + 1));
    }
    let whole = Rig::new("signals_whole").await;
    let worker = whole.signals(&log);
    whole.samples_at(log.0.next()).await;
    worker.stop().await;
    let rivals = Rig::new("signals_rivals").await;
    let (one, other) = (rivals.signals(&log.0.copy(2)), rivals.signals(&log.0.copy(3)));
    rivals.samples_at(log.0.next()).await;
    one.stop().await;
    other.stop().await;
    let expected = whole.rows().await;
    assert!(expected.len() > 90);
    assert_eq!(rivals.rows().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_gives_equal_samples_or_refuses_to_lose_some() {
    let rig = Rig::new("signals_rebuild").await;
    let log = log();
    for sequence in [1, 2, 4, 2, 3, 9] {
        publish(&log, &batch("c1", 1, sequence));
        publish(&log, &batch("c2", 7, sequence));
    }
    let worker = rig.signals(&log);
    rig.samples_at(log.0.next()).await;
    let before = rig.rows().await;
    sqlx::query("UPDATE read.signal_latest SET value = 0").execute(rig.pool()).await.unwrap();
    rig.rebuild(log.clone(), &[Model::Samples]).run(&mut |_| {}).await.unwrap();
    assert_eq!(rig.rows().await, before);
    publish(&log, &batch("c1", 1, 5));
    rig.samples_at(log.0.next()).await;
    worker.stop().await;
    let after = rig.rows().await;
    assert!(after.len() > before.len(), "the live worker goes on in the new generation");

    // A topic whose beginning has expired: it is as long, and one batch of each buffer is not in it.
    let rest = FakeLog::shared("lotline.dairy.signals.v1", 5_000);
    for sequence in [2, 2, 4, 2, 3, 9] {
        publish(&rest, &batch("c1", 1, sequence));
        publish(&rest, &batch("c2", 7, sequence));
    }
    publish(&rest, &batch("c1", 1, 5));
    let refused = rig.rebuild(rest, &[Model::Samples]).run(&mut |_| {}).await.unwrap_err();
    assert!(matches!(refused, RebuildError::SamplesLost { lives: 2 }), "{refused}");
    assert_eq!(rig.rows().await, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_batch_is_set_aside() {
    let rig = Rig::new("reject").await;
    let log = log();
    publish(&log, &batch("c1", 1, 1));
    let foreign = log.0.push(Record { key: "nul\0".into(), headers: vec![], value: Bytes::from_static(b"hello") });
    let mut broken = codec::to_record(&tenant(), &batch("c1", 1, 2));
    broken.value = broken.value.slice(..20);
    let torn = log.0.push(broken);
    let mut odd = batch("c1", 1, 3);
    odd.signals[0] = u32::MAX;
    let range = log.0.push(codec::to_record(&tenant(), &odd));
    publish(&log, &batch("c2", 1, 1));
    let worker = rig.signals(&log);
    rig.samples_at(log.0.next()).await;
    let rejected: Vec<(i64, String, String)> =
        sqlx::query_as("SELECT log_offset, collector, error FROM read.signal_reject ORDER BY log_offset")
            .fetch_all(rig.pool())
            .await
            .unwrap();
    let offsets: Vec<i64> = rejected.iter().map(|(offset, _, _)| *offset).collect();
    assert_eq!(offsets, [foreign, torn, range]);
    assert_eq!(rejected[0].1, "nul\u{fffd}");
    assert!(rejected.iter().all(|(_, _, error)| !error.is_empty()));
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.signal_seen").await, 2);
    worker.stop().await;
}

/// Only PostgreSQL can tell that it will not take a value: the batch at fault is found and set aside.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_postgresql_refuses_is_found() {
    let rig = Rig::new("refused").await;
    sqlx::query("ALTER TABLE read.signal_history ADD CONSTRAINT picky CHECK (value <> 305)")
        .execute(rig.pool())
        .await
        .unwrap();
    let log = log();
    for sequence in 1..=9 {
        publish(&log, &batch("c1", 1, sequence));
    }
    let worker = rig.signals(&log);
    rig.samples_at(log.0.next()).await;
    worker.stop().await;
    assert_eq!(rig.count("SELECT COUNT(*) FROM read.signal_history").await, 80);
    assert_eq!(rig.count("SELECT log_offset FROM read.signal_reject WHERE error LIKE '%picky%'").await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_read_by_range_and_by_position() {
    let rig = Rig::new("history").await;
    let log = log();
    let mut bad = batch("c1", 1, 1);
    bad.values[3] = f64::NAN;
    bad.qualities[3] = Quality::BAD_NO_COMMUNICATION;
    publish(&log, &bad);
    publish(&log, &batch("c1", 1, 2));
    let worker = rig.signals(&log);
    rig.samples_at(log.0.next()).await;
    worker.stop().await;
    let range =
        TimeRange { from: start().plus_micros(12_000_000).to_utc(), until: start().plus_micros(22_000_000).to_utc() };
    let rows = samples::history(rig.pool(), &tenant(), &key(1), range, 100).await.unwrap();
    assert_eq!(rows.len(), 10);
    assert_eq!((rows[1].value, rows[1].quality()), (None, Quality::BAD_NO_COMMUNICATION));
    assert!(rows.windows(2).all(|pair| pair[0].source_time < pair[1].source_time));
    let since = samples::samples_since(rig.pool(), &tenant(), 0, 1, 1).await.unwrap();
    assert_eq!(since.len(), 10, "a batch comes whole");
    assert!(since.iter().all(|row| row.log_offset == 3));
}

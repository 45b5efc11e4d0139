//! State is a snapshot and the tail of the log, or the log alone: both give the same.

use std::time::Duration;

use lotline_commands::fold::{PartitionFold, SNAPSHOT_FORMAT};
use lotline_commands::snapshotter::{SnapshotOptions, Snapshotter};
use lotline_domain::command::{Command, DeclareSignal, ParentInput, QuantityInput, RegisterLot};
use lotline_domain::lot::LotRef;
use lotline_domain::port::Snapshot;
use lotline_domain::qc::QcOutcome;
use lotline_domain::signal::{Address, DataType, ModbusTable, WordOrder};
use lotline_domain::state::Subject;
use tokio_util::sync::CancellationToken;

use crate::stand::{Process, Stand, draft, judge, lot, register, site, tenant, within};

fn signal(name: &str) -> Command {
    Command::DeclareSignal(DeclareSignal {
        name: name.to_owned(),
        description: None,
        unit: "Cel".to_owned(),
        data_type: DataType::F32,
        device: "pasteuriser".to_owned(),
        address: Address::Modbus {
            unit: 1,
            table: ModbusTable::HoldingRegisters,
            address: 0,
            word_order: WordOrder::Abcd,
        },
        scale: None,
        offset: None,
    })
}

/// Something of everything that a state can hold, refusals with and without a field among it.
async fn history(stand: &Stand, process: &Process) {
    let quantity = QuantityInput { value: "12345.678901".to_owned(), unit: "GRM".to_owned() };
    let parents = vec![ParentInput { lot: LotRef::Code("M1".to_owned()), quantity }];
    let yoghurt = Command::RegisterLot(RegisterLot { parents, ..lot("Y1") });
    for command in [register("M1"), yoghurt, judge("M1", QcOutcome::Fail), signal("t1"), signal("t2")] {
        process.accepted(stand.request(command)).await;
    }
    assert_eq!(process.refused(stand.request(judge("M1", QcOutcome::Pass))).await.0, "LOT_FAILED");
    assert_eq!(process.refused(stand.request(register("M1"))).await.0, "DUPLICATE_LOT_CODE");
    let drafted = process.accepted(stand.request(draft("nightly"))).await;
    let Subject::Pipeline(pipeline_id) = drafted.subject else { panic!("another subject") };
    process.accepted(stand.request(Command::PublishPipeline { pipeline_id })).await;
    assert_eq!(process.refused(stand.request(Command::PublishPipeline { pipeline_id })).await.0, "NOTHING_TO_PUBLISH");
    process.accepted(stand.request(Command::ArchivePipeline { pipeline_id })).await;
    let mut south = stand.request(register("M1"));
    south.stream = site("south");
    process.accepted(south).await;
}

#[tokio::test]
async fn a_snapshot_and_its_tail_equal_the_whole_log_at_every_offset() {
    let stand = Stand::new();
    let process = stand.serve().await;
    history(&stand, &process).await;
    process.stop().await;
    let records = stand.records(0).await;
    let whole = stand.fold(0).await;
    for cut in 0..=records.len() {
        let mut fold = PartitionFold::default();
        for stored in &records[..cut] {
            fold.apply(&tenant(), stored).unwrap();
        }
        let mut resumed = PartitionFold::from_snapshot(&fold.to_snapshot().unwrap()).unwrap();
        assert_eq!(resumed, fold, "after {cut} records");
        for stored in &records[cut..] {
            resumed.apply(&tenant(), stored).unwrap();
        }
        assert_eq!(resumed, whole, "resumed after {cut} records");
    }
}

#[tokio::test]
async fn a_large_snapshot_is_cut_into_chunks_and_put_together_again() {
    let mut fold = PartitionFold::default();
    for number in 0..30_000 {
        fold.stream_mut(&format!("site-{number}-{}", "x".repeat(40)));
    }
    let snapshot = fold.to_snapshot().unwrap();
    assert!(snapshot.chunks.len() > 1);
    assert!(snapshot.chunks.iter().all(|chunk| chunk.len() <= 1 << 20));
    assert_eq!(PartitionFold::from_snapshot(&snapshot).unwrap(), fold);
}

#[tokio::test]
async fn a_process_on_a_snapshot_decides_as_one_on_the_log() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let early = stand.request(register("E1"));
    process.accepted(early.clone()).await;
    history(&stand, &process).await;
    put(&stand, stand.fold(0).await.to_snapshot().unwrap());
    let late = stand.request(register("L1"));
    process.accepted(late.clone()).await;
    process.stop().await;

    let restarted = stand.serve().await;
    assert!(restarted.accepted(early).await.replayed, "answers are part of the snapshot");
    assert!(restarted.accepted(late).await.replayed);
    assert_eq!(restarted.refused(stand.request(register("E1"))).await.0, "DUPLICATE_LOT_CODE");
    assert_eq!(restarted.refused(stand.request(judge("M1", QcOutcome::Pass))).await.0, "LOT_FAILED");
    stand.events(0).await;
    restarted.stop().await;
}

fn put(stand: &Stand, snapshot: Snapshot) {
    stand.shelf.0.lock().expect("nothing panics under this lock").insert(0, snapshot);
}

#[tokio::test]
async fn a_snapshot_is_really_used() {
    // Were the log replayed from its start, the foreign record at offset 0 would stop the writer.
    let stand = Stand::new();
    stand
        .log
        .append_foreign(0, lotline_domain::record::Record { key: "x".into(), headers: vec![], value: "".into() })
        .unwrap();
    put(&stand, PartitionFold { next: 1, ..PartitionFold::default() }.to_snapshot().unwrap());
    let process = stand.serve().await;
    assert_eq!(process.accepted(stand.request(register("M1"))).await.version, 1);
    process.stop().await;
}

#[tokio::test]
async fn a_corrupt_snapshot_is_noticed_whichever_bit_is_wrong() {
    let stand = Stand::new();
    let process = stand.serve().await;
    history(&stand, &process).await;
    process.stop().await;
    let snapshot = stand.fold(0).await.to_snapshot().unwrap();
    for index in 0..snapshot.chunks[0].len() {
        let mut spoiled = snapshot.clone();
        spoiled.chunks[0][index] ^= 1 << (index % 8);
        assert!(PartitionFold::from_snapshot(&spoiled).is_err(), "byte {index}");
    }
    for length in 0..snapshot.chunks[0].len() {
        let mut cut = snapshot.clone();
        cut.chunks[0].truncate(length);
        assert!(PartitionFold::from_snapshot(&cut).is_err(), "length {length}");
    }
    let mut longer = snapshot.clone();
    longer.chunks.push(vec![0]);
    assert!(PartitionFold::from_snapshot(&longer).is_err());
    let moved = Snapshot { position: snapshot.position - 1, ..snapshot };
    assert!(PartitionFold::from_snapshot(&moved).is_err(), "a snapshot filed under another offset");
}

#[tokio::test]
async fn a_corrupt_snapshot_is_ignored() {
    let stand = Stand::new();
    let process = stand.serve().await;
    history(&stand, &process).await;
    process.stop().await;
    let mut spoiled = stand.fold(0).await.to_snapshot().unwrap();
    let middle = spoiled.chunks[0].len() / 2;
    spoiled.chunks[0][middle] ^= 1;
    let nonsense = Snapshot { position: 3, format: SNAPSHOT_FORMAT, chunks: vec![vec![255; 100]] };
    let other_format = Snapshot { position: 3, format: SNAPSHOT_FORMAT + 1, chunks: vec![] };
    for snapshot in [spoiled, nonsense, other_format] {
        put(&stand, snapshot);
        let process = stand.serve().await;
        assert_eq!(process.refused(stand.request(register("Y1"))).await.0, "DUPLICATE_LOT_CODE");
        process.stop().await;
        stand.events(0).await;
    }
}

#[tokio::test]
async fn the_snapshotter_follows_the_log() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let options = SnapshotOptions { interval: Duration::ZERO, min_records: 5 };
    let cancel = CancellationToken::new();
    let snapshotter = tokio::spawn(Snapshotter::new(tenant(), 0, stand.ports(), options.clone()).run(cancel.clone()));
    for number in 0..4 {
        process.accepted(stand.request(register(&format!("A{number}")))).await;
    }
    crate::stand::settle().await;
    assert!(stand.shelf.0.lock().unwrap().is_empty(), "not before there is enough of it");
    process.accepted(stand.request(register("A4"))).await;
    saved_at(&stand, 5).await;
    assert_eq!(PartitionFold::from_snapshot(&taken(&stand)).unwrap(), stand.fold(0).await);
    cancel.cancel();
    within(snapshotter).await.unwrap().unwrap();

    // Another one goes on from what the first has left.
    history(&stand, &process).await;
    let cancel = CancellationToken::new();
    let snapshotter = tokio::spawn(Snapshotter::new(tenant(), 0, stand.ports(), options).run(cancel.clone()));
    saved_at(&stand, stand.end(0).await).await;
    assert_eq!(PartitionFold::from_snapshot(&taken(&stand)).unwrap(), stand.fold(0).await);
    cancel.cancel();
    within(snapshotter).await.unwrap().unwrap();
    process.stop().await;
}

fn taken(stand: &Stand) -> Snapshot {
    stand.shelf.0.lock().expect("nothing panics under this lock")[&0].clone()
}

async fn saved_at(stand: &Stand, position: i64) {
    let reached = || {
        let shelf = stand.shelf.0.lock().expect("nothing panics under this lock");
        shelf.get(&0).is_some_and(|snapshot| snapshot.position == position)
    };
    within(async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

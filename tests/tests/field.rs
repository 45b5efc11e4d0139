//! Machines read over real Modbus TCP, from a device that Lotline did not write, into the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lotline_adapters::collector::config::DeviceConfig;
use lotline_adapters::log::memory::MemoryLog;
use lotline_domain::port::{BoxFuture, LogError, LogRead, LogReader, SignalLog};
use lotline_domain::record::{Offset, Record};
use lotline_domain::sample::Quality;
use lotline_domain::signal::{DataType, ModbusTable, WordOrder};
use lotline_tests::modbus::{Folder, Peer, Rig, Samples, Served, declare, device};
use lotline_tests::server::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn all_good(samples: &Samples, signals: usize) -> bool {
    samples.len() == signals && samples.values().all(|seen| seen.last().is_some_and(|(_, quality)| quality.is_good()))
}

fn all_lost(samples: &Samples, signals: usize) -> bool {
    let lost = |seen: &Vec<(f64, Quality)>| seen.last().is_some_and(|last| last.1 == Quality::BAD_NO_COMMUNICATION);
    samples.len() == signals && samples.values().all(lost)
}

/// Sequences count 1, 2, 3, … within one epoch.
fn assert_dense(rig: &Rig) {
    for (place, batch) in rig.batches.iter().enumerate() {
        assert_eq!((batch.sequence, batch.epoch), (place as u64 + 1, rig.batches[0].epoch));
    }
}

#[tokio::test]
async fn every_type_in_every_order_and_table_is_read_exactly() {
    let peer = Peer::start(free_port());
    let folder = Folder::new("field-values");
    let served = &peer.layout.signals;
    assert!(served.len() > 700 && served.iter().any(|signal| signal.value.is_none()));
    let mut rig = Rig::start(&folder.0, vec![device("peer", peer.port)], peer.declarations("peer"));
    rig.wait_for("a sample of every signal", 0, |samples| samples.len() == served.len()).await;
    for (signal, number) in served.iter().zip(1..) {
        let expected = signal.value.map_or((0.0, Quality::BAD_OUT_OF_RANGE), |value| (value, Quality::GOOD));
        assert_eq!(rig.samples(0)[&number][0], expected, "{signal:?}");
    }
    let first = &rig.batches[0];
    assert!(first.source_times.iter().all(|time| *time <= first.collected_at));
    rig.stop().await;
    assert_dense(&rig);
}

#[tokio::test]
async fn an_address_that_does_not_exist_hurts_nobody_else() {
    let peer = Peer::start(free_port());
    let folder = Folder::new("field-hole");
    let mut signals = peer.declarations("peer");
    let hole = Served {
        table: ModbusTable::HoldingRegisters,
        unit: 1,
        address: peer.layout.hole,
        data_type: DataType::U16,
        order: WordOrder::Abcd,
        value: None,
    };
    let number = signals.len() as u32 + 1;
    signals.push(declare("peer", number, &hole));
    let mut rig = Rig::start(&folder.0, vec![device("peer", peer.port)], signals);
    let served = peer.layout.signals.len();
    rig.wait_for("three samples of what exists", 0, |samples| {
        let numbers = peer.layout.signals.iter().zip(1..).filter(|(served, _)| served.value.is_some());
        numbers.clone().count() > 700
            && numbers.into_iter().all(|(_, number)| samples.get(&number).is_some_and(|seen| seen.len() >= 3))
    })
    .await;
    let samples = rig.samples(0);
    assert_eq!(samples.len(), served + 1);
    assert_eq!(samples[&number], [(0.0, Quality::BAD_CONFIGURATION)], "said once, then by heartbeat");
    for (served, number) in peer.layout.signals.iter().zip(1..).filter(|(served, _)| served.value.is_some()) {
        assert!(samples[&number].iter().all(|seen| *seen == (served.value.unwrap(), Quality::GOOD)), "{served:?}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_dead_device_is_said_to_be_dead_once_and_data_resumes() {
    let mut peer = Peer::start(free_port());
    let folder = Folder::new("field-restart");
    let signals: Vec<_> = peer.declarations("peer").into_iter().take(4).collect();
    let mut rig = Rig::start(&folder.0, vec![device("peer", peer.port)], signals.clone());
    rig.wait_for("good data", 0, |samples| all_good(samples, 4)).await;
    peer.kill();
    rig.wait_for("the loss", 0, |samples| all_lost(samples, 4)).await;
    // More polls than one would have been due, were the device there: nothing may be repeated meanwhile.
    let lost_at = rig.batches.len();
    tokio::time::timeout(Duration::from_millis(600), rig.wait_for("nothing", lost_at, |samples| !samples.is_empty()))
        .await
        .expect_err("a lost device is silent until the heartbeat");
    let peer = Peer::start(peer.port);
    rig.wait_for("good data again", lost_at, |samples| all_good(samples, 4)).await;
    for (seen, served) in rig.samples(0).values().zip(&peer.layout.signals) {
        let lost = seen.iter().filter(|(_, quality)| !quality.is_good()).count();
        assert_eq!(lost, 1, "one sample says the loss: {seen:?}");
        assert!(seen.iter().filter(|(_, quality)| quality.is_good()).all(|(value, _)| Some(*value) == served.value));
    }
    rig.stop().await;
    assert_dense(&rig);
}

#[tokio::test]
async fn a_unit_that_is_too_slow_does_not_silence_its_neighbour() {
    let mut peer = Peer::start(free_port());
    let folder = Folder::new("field-slow");
    let impatient = DeviceConfig { timeout_ms: 300, ..device("peer", peer.port) };
    let of_unit = |unit: u8| peer.layout.signals.iter().filter(move |served| served.unit == unit).take(3);
    let signals: Vec<_> =
        of_unit(1).chain(of_unit(2)).zip(1..).map(|(served, number)| declare("peer", number, served)).collect();
    let mut rig = Rig::start(&folder.0, vec![impatient], signals);
    rig.wait_for("good data", 0, |samples| all_good(samples, 6)).await;
    peer.delay(1, Duration::from_secs(1));
    rig.wait_for("the slow unit's loss", 0, |samples| {
        (1..=3).all(|n| samples[&n].last().unwrap().1 == Quality::BAD_NO_COMMUNICATION)
    })
    .await;
    let slow_from = rig.batches.len();
    rig.wait_for("three more polls of its neighbour", slow_from, |samples| {
        let good =
            |n: u32| samples.get(&n).map_or(0, |seen| seen.iter().filter(|(_, quality)| quality.is_good()).count());
        (4..=6).all(|n| good(n) >= 3)
    })
    .await;
    peer.delay(1, Duration::ZERO);
    rig.wait_for("good data again", slow_from, |samples| all_good(samples, 6)).await;
    rig.stop().await;
    assert_dense(&rig);
}

/// Counts connections on their way to the peer.
async fn proxy(to: u16) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
    let (port, count) = (listener.local_addr().expect("it is bound").port(), Arc::new(AtomicUsize::new(0)));
    let counter = count.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut far = TcpStream::connect(("127.0.0.1", to)).await.expect("the peer listens");
            tokio::spawn(async move { drop(tokio::io::copy_bidirectional(&mut near, &mut far).await) });
        }
    });
    (port, count)
}

#[tokio::test]
async fn new_declarations_restart_only_their_own_device() {
    let peer = Peer::start(free_port());
    let folder = Folder::new("field-reload");
    let ((port_a, connections_a), (port_b, connections_b)) = (proxy(peer.port).await, proxy(peer.port).await);
    let served = &peer.layout.signals;
    let mut signals = vec![declare("a", 1, &served[3]), declare("b", 2, &served[3])];
    let mut rig = Rig::start(&folder.0, vec![device("a", port_a), device("b", port_b)], signals.clone());
    rig.wait_for("both devices", 0, |samples| all_good(samples, 2)).await;
    signals.push(declare("b", 3, &served[1]));
    rig.signals.send(signals).unwrap();
    let changed_at = rig.batches.len();
    rig.wait_for("the new signal", changed_at, |samples| all_good(samples, 3)).await;
    assert_eq!([connections_a.load(Ordering::SeqCst), connections_b.load(Ordering::SeqCst)], [1, 2]);
    assert!(rig.samples(0).values().flatten().all(|(_, quality)| quality.is_good()), "a reload is no loss");
    rig.stop().await;
}

/// Closes every connection after one answer, as a device does that can't bear idle ones.
async fn closing_proxy(to: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", to)).await?;
                let mut request = [0; 12];
                near.read_exact(&mut request).await?;
                far.write_all(&request).await?;
                let mut header = [0; 6];
                far.read_exact(&mut header).await?;
                let mut rest = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]]))];
                far.read_exact(&mut rest).await?;
                near.write_all(&header).await?;
                near.write_all(&rest).await
            });
        }
    });
    port
}

#[tokio::test]
async fn a_device_that_closes_idle_connections_loses_no_sample() {
    let peer = Peer::start(free_port());
    let folder = Folder::new("field-idle");
    let port = closing_proxy(peer.port).await;
    let signals = vec![declare("peer", 1, &peer.layout.signals[3])];
    let mut rig = Rig::start(&folder.0, vec![device("peer", port)], signals);
    rig.wait_for("ten samples", 0, |samples| samples.get(&1).is_some_and(|seen| seen.len() >= 10)).await;
    assert!(rig.samples(0)[&1].iter().all(|(_, quality)| quality.is_good()), "{:?}", rig.samples(0));
    rig.stop().await;
}

/// Takes nothing while it is away.
struct Away {
    log: Arc<MemoryLog>,
    absent: AtomicBool,
    refused: AtomicUsize,
}

impl LogRead for Away {
    fn topic(&self) -> &str {
        self.log.topic()
    }
    fn partitions(&self) -> u32 {
        self.log.partitions()
    }
    fn end(&self, partition: u32) -> BoxFuture<'_, Result<Offset, LogError>> {
        self.log.end(partition)
    }
    fn reader(&self, partition: u32, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        self.log.reader(partition, from)
    }
}

impl SignalLog for Away {
    fn publish(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), LogError>> {
        if self.absent.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Box::pin(async { Err(LogError::broken("publish", "away")) });
        }
        self.log.publish(records)
    }
}

#[tokio::test]
async fn what_was_read_while_the_log_was_away_arrives_even_after_a_restart() {
    let peer = Peer::start(free_port());
    let folder = Folder::new("field-away");
    let log = Arc::new(MemoryLog::new("signals", 1));
    let away = Arc::new(Away { log: log.clone(), absent: AtomicBool::new(true), refused: AtomicUsize::new(0) });
    let signals: Vec<_> = peer.declarations("peer").into_iter().take(4).collect();
    let devices = vec![device("peer", peer.port)];
    let mut first = Rig::start_on(&folder.0, devices.clone(), signals.clone(), away.clone(), log.clone());
    let until = tokio::time::Instant::now() + lotline_tests::modbus::DEADLINE;
    while away.refused.load(Ordering::SeqCst) < 5 {
        assert!(tokio::time::Instant::now() < until, "the publisher tries");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    first.stop().await;
    assert!(first.batches.is_empty(), "nothing arrived");
    away.absent.store(false, Ordering::SeqCst);
    let mut second = Rig::start_on(&folder.0, devices, signals, away, log);
    second.wait_for("the backlog and more", 0, |samples| samples.get(&1).is_some_and(|seen| seen.len() > 10)).await;
    second.stop().await;
    assert_dense(&second);
}

//! A real Modbus device (pymodbus) and a collector that reads it into a log in memory.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lotline_adapters::collector::Collector;
use lotline_adapters::collector::config::{BufferConfig, CollectorConfig, DeviceConfig, PublisherConfig};
use lotline_adapters::log::memory::MemoryLog;
use lotline_domain::id::{CollectorId, DeviceId, SiteId, TenantId};
use lotline_domain::port::{Clock, Ids, LogRead, SignalLog};
use lotline_domain::sample::{Quality, SignalBatch, codec};
use lotline_domain::signal::{Address, DataType, ModbusTable, SignalDeclared, WordOrder};
use lotline_domain::timestamp::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::stack;

/// How long a test waits for what must happen.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The pymodbus process. Dropping it kills it.
pub struct Peer {
    /// Where it listens.
    pub port: u16,
    /// What it serves.
    pub layout: Layout,
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What the peer says it serves.
#[derive(Debug, Clone, Deserialize)]
pub struct Layout {
    /// Every value there is.
    pub signals: Vec<Served>,
    /// An address between others that does not exist in the holding registers.
    pub hole: u16,
}

/// One value of the peer.
#[derive(Debug, Clone, Deserialize)]
pub struct Served {
    /// Address space.
    pub table: ModbusTable,
    /// Unit id.
    pub unit: u8,
    /// First address.
    pub address: u16,
    /// Layout.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Order of bytes.
    pub order: WordOrder,
    /// What must be read; nothing where the registers hold no number.
    pub value: Option<f64>,
}

impl Peer {
    /// Starts the device and waits until it listens.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(port: u16) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/modbus_server.py");
        let mut child = Command::new(stack::python())
            .arg(script)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the Python of the test stack starts");
        let commands = child.stdin.take().expect("standard input is piped");
        let mut answers = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("the device prints its layout");
        let layout = serde_json::from_str(&line).unwrap_or_else(|error| panic!("no layout: {error}: {line}"));
        Self { port, layout, child, commands, answers }
    }

    /// Makes a unit answer late.
    ///
    /// # Panics
    /// When the device has ended.
    pub fn delay(&mut self, unit: u8, delay: Duration) {
        writeln!(self.commands, "delay {unit} {}", delay.as_millis()).expect("the device takes commands");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the device confirms");
        assert_eq!(line.trim(), "ok", "the device confirms");
    }

    /// Kills it, as a power cut would, and waits until it is gone.
    pub fn kill(&mut self) {
        // One that has ended already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Declarations of all it serves, as signals of `device` numbered from 1 in the order of [`Layout::signals`].
    pub fn declarations(&self, device: &str) -> Vec<SignalDeclared> {
        let declare = |(served, number): (&Served, u32)| declare(device, number, served);
        self.layout.signals.iter().zip(1..).map(declare).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Declares one value of a peer.
///
/// # Panics
/// When `device` is no id.
pub fn declare(device: &str, number: u32, served: &Served) -> SignalDeclared {
    let Served { table, unit, address, data_type, order, .. } = served.clone();
    SignalDeclared {
        name: format!("{device}.{number}"),
        number,
        description: None,
        unit: "1".into(),
        data_type,
        device: DeviceId::new(device).expect("the test names a device"),
        address: Address::Modbus { unit, table, address, word_order: order },
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
    }
}

/// A device polled often, with more patience than a busy machine needs, and no heartbeat within a test's time.
///
/// # Panics
/// When `id` is no id.
pub fn device(id: &str, port: u16) -> DeviceConfig {
    let id = DeviceId::new(id).expect("the test names a device");
    DeviceConfig {
        poll_interval_ms: 50,
        timeout_ms: 5_000,
        bad_heartbeat_ms: 600_000,
        ..DeviceConfig::new(id, "127.0.0.1", port)
    }
}

/// A collector that runs, and everything it has published so far.
pub struct Rig {
    /// Replaces the declarations of the running collector.
    pub signals: watch::Sender<Vec<SignalDeclared>>,
    /// All batches so far, in the order of the log.
    pub batches: Vec<SignalBatch>,
    log: Arc<MemoryLog>,
    next: i64,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Rig {
    /// Starts a collector with its buffer in `folder`.
    pub fn start(folder: &Path, devices: Vec<DeviceConfig>, signals: Vec<SignalDeclared>) -> Self {
        let log = Arc::new(MemoryLog::new("signals", 1));
        Self::start_on(folder, devices, signals, log.clone(), log)
    }

    /// Starts a collector that publishes to `publish`, behind which `log` holds what arrived.
    ///
    /// # Panics
    /// When the test's names are no ids.
    pub fn start_on(
        folder: &Path,
        devices: Vec<DeviceConfig>,
        signals: Vec<SignalDeclared>,
        publish: Arc<dyn SignalLog>,
        log: Arc<MemoryLog>,
    ) -> Self {
        let (signals, declared) = watch::channel(signals);
        let collector = Collector {
            tenant: tenant(),
            config: CollectorConfig {
                id: CollectorId::new("line-1").expect("an id"),
                site: SiteId::new("north").expect("an id"),
                devices,
                buffer: BufferConfig::new(folder),
                publisher: PublisherConfig { max_backoff_ms: 100, ..PublisherConfig::default() },
            },
            signals: declared,
            log: publish,
            clock: Arc::new(TestClock(Instant::now())),
            ids: Arc::new(TestIds),
        };
        let stop = CancellationToken::new();
        let running = collector.run(stop.clone());
        let task = tokio::spawn(async move { running.await.expect("the collector runs until it is stopped") });
        Self { signals, batches: Vec::new(), log, next: 0, stop, task }
    }

    /// Reads the log until the samples since `from` batches fulfil the condition.
    ///
    /// # Panics
    /// When they do not in time.
    pub async fn wait_for(&mut self, what: &str, from: usize, done: impl Fn(&Samples) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !done(&self.samples(from)) {
            assert!(Instant::now() < until, "not in time: {what}; {} batches", self.batches.len());
            self.read(Duration::from_millis(20)).await;
        }
    }

    /// Samples by signal, in order, of all batches but the first `from`.
    pub fn samples(&self, from: usize) -> Samples {
        let mut samples = Samples::new();
        for batch in &self.batches[from..] {
            for (place, signal) in batch.signals.iter().enumerate() {
                samples.entry(*signal).or_default().push((batch.values[place], batch.qualities[place]));
            }
        }
        samples
    }

    /// Stops the collector and reads what it still published.
    ///
    /// # Panics
    /// When it does not stop in time, or did not run well.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, &mut self.task).await.expect("it stops in time").expect("it ran well");
        self.read(Duration::ZERO).await;
    }

    async fn read(&mut self, wait: Duration) {
        let mut reader = self.log.reader(0, self.next).await.expect("the log in memory opens");
        let read = reader.read(10_000, wait).await.expect("the log in memory reads");
        for stored in &read.records {
            self.batches.push(codec::from_record(&tenant(), &stored.record).expect("a signal batch"));
        }
        self.next = read.next;
    }
}

/// Values and qualities of each signal, in order.
pub type Samples = BTreeMap<u32, Vec<(f64, Quality)>>;

/// A folder below the system's temporary one that goes when it is dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    /// A new, empty folder.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(stack::unique(name));
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn tenant() -> TenantId {
    TenantId::new("dairy").expect("an id")
}

/// Begins at a fixed time and goes with the monotonic clock.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000).plus_micros(self.0.elapsed().as_micros() as i64)
    }
}

struct TestIds;

impl Ids for TestIds {
    fn uuid_v7(&self, now: Timestamp) -> Uuid {
        uuid::Builder::from_unix_timestamp_millis(now.millis() as u64, &[7; 10]).into_uuid()
    }
}

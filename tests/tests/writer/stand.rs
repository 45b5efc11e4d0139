//! A ledger in memory and processes that come and go on it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lotline_adapters::log::memory::{Fault, Gate, MemoryLog};
use lotline_commands::bus::{CommandBus, Ports, Receipt, SubmitError};
use lotline_commands::fold::PartitionFold;
use lotline_commands::writer::{WriterError, WriterOptions};
use lotline_domain::access::need::Authorisation;
use lotline_domain::chain::Chain;
use lotline_domain::command::{Command, CommandRequest, QuantityInput, RecordQcDecision, RegisterLot};
use lotline_domain::envelope::Envelope;
use lotline_domain::event::Event;
use lotline_domain::id::{ActorId, CommandId, CorrelationId, SiteId, StreamKey, TenantId};
use lotline_domain::lot::{LotRef, LotType};
use lotline_domain::pipeline::{Definition, Task};
use lotline_domain::port::{BoxFuture, Clock, Ids, LogError, LogRead, Snapshot, SnapshotStore};
use lotline_domain::qc::QcOutcome;
use lotline_domain::record::{Offset, StoredRecord};
use lotline_domain::timestamp::Timestamp;
use lotline_domain::trace::Traces;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a condition that must come true may take. Only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const MINUTE: i64 = 60 * 1_000_000;

/// A clock that stands still until it is moved.
pub(crate) struct HandClock(Mutex<Timestamp>);

impl HandClock {
    pub(crate) fn forward(&self, micros: i64) {
        let mut now = self.0.lock().expect("nothing panics under this lock");
        *now = now.plus_micros(micros);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("nothing panics under this lock")
    }
}

/// Ids that count.
pub(crate) struct CountedIds(AtomicU64);

impl Ids for CountedIds {
    fn uuid_v7(&self, now: Timestamp) -> Uuid {
        let millis = u128::from(now.millis().unsigned_abs());
        let count = u128::from(self.0.fetch_add(1, Ordering::Relaxed));
        Uuid::from_u128((millis << 80) | (0x7 << 76) | (0x2 << 62) | count)
    }
}

/// Snapshots that a test can look at and spoil.
#[derive(Default)]
pub(crate) struct Shelf(pub(crate) Mutex<BTreeMap<u32, Snapshot>>);

impl SnapshotStore for Shelf {
    fn save<'a>(&'a self, _topic: &'a str, partition: u32, snapshot: Snapshot) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            self.0.lock().expect("nothing panics under this lock").insert(partition, snapshot);
            Ok(())
        })
    }

    fn load<'a>(
        &'a self,
        _topic: &'a str,
        partition: u32,
        format: u32,
    ) -> BoxFuture<'a, Result<Option<Snapshot>, LogError>> {
        Box::pin(async move {
            let found = self.0.lock().expect("nothing panics under this lock").get(&partition).cloned();
            Ok(found.filter(|snapshot| snapshot.format == format))
        })
    }
}

/// A tenant's ledger, and everything that outlives a process.
pub(crate) struct Stand {
    pub(crate) log: MemoryLog,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) ids: Arc<CountedIds>,
    pub(crate) options: WriterOptions,
    pub(crate) traces: Traces,
}

/// One process: a bus and its writers.
pub(crate) struct Process {
    pub(crate) bus: CommandBus,
    cancel: CancellationToken,
    writers: Vec<JoinHandle<Result<(), WriterError>>>,
}

/// An answer on its way.
pub(crate) type Waiting = JoinHandle<Result<Receipt, SubmitError>>;

impl Stand {
    /// One partition.
    pub(crate) fn new() -> Self {
        Self::on(MemoryLog::new("lotline.dairy.ledger.v1", 1))
    }

    pub(crate) fn on(log: MemoryLog) -> Self {
        let start = Timestamp::parse("2026-11-21T03:15:00Z").expect("a valid time");
        Self {
            log,
            shelf: Arc::default(),
            clock: Arc::new(HandClock(Mutex::new(start))),
            ids: Arc::new(CountedIds(AtomicU64::new(1))),
            options: WriterOptions { authorisation: Authorisation::Development, ..WriterOptions::default() },
            traces: Traces::default(),
        }
    }

    pub(crate) fn ports(&self) -> Ports {
        Ports {
            log: Arc::new(self.log.clone()),
            snapshots: Arc::clone(&self.shelf) as Arc<dyn SnapshotStore>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            ids: Arc::clone(&self.ids) as Arc<dyn Ids>,
            traces: self.traces.clone(),
        }
    }

    /// Starts a process for the sites `north` and `south`.
    pub(crate) fn start(&self) -> Process {
        let sites = ["north", "south"].map(|site| SiteId::new(site).expect("a valid site"));
        let (bus, writers) = CommandBus::new(&tenant(), &sites, &self.ports(), self.options.clone());
        let cancel = CancellationToken::new();
        let writers = writers.into_iter().map(|writer| tokio::spawn(writer.run(cancel.clone()))).collect();
        Process { bus, cancel, writers }
    }

    /// Starts a process and waits until it serves.
    pub(crate) async fn serve(&self) -> Process {
        let process = self.start();
        assert!(within(process.bus.ready()).await, "every writer serves");
        process
    }

    /// A request with a fresh idempotency key, to the stream that the command belongs to.
    pub(crate) fn request(&self, command: Command) -> CommandRequest {
        let tenant_stream = command.belongs_to(&StreamKey::Tenant);
        let id = self.ids.uuid_v7(self.clock.now());
        CommandRequest {
            tenant: tenant(),
            stream: if tenant_stream { StreamKey::Tenant } else { site("north") },
            actor: ActorId::new("ann").expect("a valid actor"),
            command_id: CommandId(id),
            correlation_id: CorrelationId(id),
            traceparent: None,
            expected_version: None,
            occurred_at: None,
            reason: None,
            command,
        }
    }

    /// Makes the next append wait; returns when told to, see [`Gate`].
    pub(crate) fn hold(&self) -> Gate {
        let gate = Gate::default();
        self.log.faults().push(Fault::Hold(gate.clone()));
        gate
    }

    pub(crate) async fn end(&self, partition: u32) -> Offset {
        self.log.end(partition).await.expect("the log has an end")
    }

    pub(crate) async fn records(&self, partition: u32) -> Vec<StoredRecord> {
        let mut reader = self.log.reader(partition, 0).await.expect("the log opens");
        reader.read(usize::MAX, Duration::ZERO).await.expect("the log can be read").records
    }

    /// Every event of a partition, after checking its chain: dense sequences, hashes, times that never go back.
    pub(crate) async fn events(&self, partition: u32) -> Vec<(Envelope, Event)> {
        let mut chain = Chain::default();
        let mut events = Vec::new();
        for stored in self.records(partition).await {
            let envelope = chain.admit(&tenant(), &stored).expect("the chain holds");
            let fact = Event::decode(&envelope.attributes.event_type, &envelope.value).expect("a known event");
            events.push((envelope, fact.event));
        }
        events
    }

    /// Types of the events of partition 0 without prefix and version, such as `lot.registered`.
    pub(crate) async fn types(&self) -> Vec<String> {
        let name = |event: &Event| event.event_type().trim_start_matches("lotline.").trim_end_matches(".v1").to_owned();
        self.events(0).await.iter().map(|(_, event)| name(event)).collect()
    }

    /// The fold of a whole partition.
    pub(crate) async fn fold(&self, partition: u32) -> PartitionFold {
        let mut fold = PartitionFold::default();
        for stored in self.records(partition).await {
            fold.apply(&tenant(), &stored).expect("the log folds");
        }
        fold
    }
}

impl Process {
    pub(crate) async fn submit(&self, request: CommandRequest) -> Result<Receipt, SubmitError> {
        within(self.bus.submit(request)).await
    }

    /// Submits and goes on; the command is in its queue when this returns.
    pub(crate) async fn begin(&self, request: CommandRequest) -> Waiting {
        let bus = self.bus.clone();
        let waiting = tokio::spawn(async move { bus.submit(request).await });
        settle().await;
        waiting
    }

    pub(crate) async fn accepted(&self, request: CommandRequest) -> Receipt {
        self.submit(request).await.expect("the command is accepted")
    }

    /// Code and message of the refusal.
    pub(crate) async fn refused(&self, request: CommandRequest) -> (String, String) {
        match self.submit(request).await {
            Err(SubmitError::Refused { code, message, .. }) => (code, message),
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        for writer in self.writers {
            within(writer).await.expect("the writer does not panic").expect("the writer ends well");
        }
    }

    /// How the writer of the only partition ended by itself.
    pub(crate) async fn end(mut self) -> Result<(), WriterError> {
        let writer = self.writers.remove(0);
        within(writer).await.expect("the writer does not panic")
    }
}

/// Waits with a deadline.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it happens within the deadline")
}

/// The answer, which must come.
pub(crate) async fn answer(waiting: Waiting) -> Result<Receipt, SubmitError> {
    within(waiting).await.expect("submitting does not panic")
}

/// Lets every task that can go on do so until none can: tests run on one thread.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new("dairy").expect("a valid tenant")
}

pub(crate) fn site(name: &str) -> StreamKey {
    StreamKey::Site(SiteId::new(name).expect("a valid site"))
}

/// Register 100 KGM of a lot.
pub(crate) fn register(code: &str) -> Command {
    Command::RegisterLot(lot(code))
}

pub(crate) fn lot(code: &str) -> RegisterLot {
    RegisterLot {
        code: code.to_owned(),
        lot_type: LotType::Raw,
        product: "milk".to_owned(),
        quantity: QuantityInput { value: "100".to_owned(), unit: "KGM".to_owned() },
        temperature_c: None,
        supplier_lot: None,
        expires_on: None,
        location: None,
        attributes: BTreeMap::new(),
        parents: Vec::new(),
    }
}

pub(crate) fn judge(code: &str, outcome: QcOutcome) -> Command {
    Command::RecordQcDecision(RecordQcDecision {
        lot: LotRef::Code(code.to_owned()),
        gate: "intake".to_owned(),
        outcome,
        measurements: Vec::new(),
        checklist: Vec::new(),
        notes: None,
    })
}

/// Draft a pipeline of one task.
pub(crate) fn draft(name: &str) -> Command {
    let task = Task { id: "read".to_owned(), kind: "extract.csv".to_owned(), config: serde_json::Value::Null };
    Command::DraftPipeline { name: name.to_owned(), definition: Definition { tasks: vec![task], edges: Vec::new() } }
}

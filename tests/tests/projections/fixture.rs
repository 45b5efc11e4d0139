//! A log in memory, and a plant that decides commands and seals their events into it by the domain's own rules.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lotline_domain::chain::{Chain, ChainHead};
use lotline_domain::command::{
    Command, CommandRequest, MeasurementInput, ParentInput, QuantityInput, RecordQcDecision, RegisterLot,
};
use lotline_domain::envelope::{Attributes, CommandHash, Envelope};
use lotline_domain::event::Event;
use lotline_domain::id::{ActorId, CommandId, CorrelationId, EventId, StreamKey, TenantId};
use lotline_domain::lot::{LotRef, LotType};
use lotline_domain::port::{BoxFuture, Clock, LogError, LogRead, LogReader};
use lotline_domain::qc::QcOutcome;
use lotline_domain::record::{Offset, ReadBatch, Record, StoredRecord};
use lotline_domain::state::{OfTenant, StreamState};
use lotline_domain::timestamp::Timestamp;
use tokio::sync::Notify;
use uuid::Uuid;

/// Offsets grow by this, because a log may leave gaps.
const STRIDE: Offset = 3;

/// A topic of one partition.
pub(crate) struct FakeLog {
    topic: String,
    records: Mutex<Vec<StoredRecord>>,
    arrived: Notify,
    /// Most records that one read gives.
    pub(crate) at_most: usize,
}

struct FakeReader {
    log: Arc<FakeLog>,
    next: Offset,
}

/// [`FakeLog`] as the port wants it.
#[derive(Clone)]
pub(crate) struct Shared(pub Arc<FakeLog>);

impl FakeLog {
    pub(crate) fn shared(topic: &str, at_most: usize) -> Shared {
        let records = Mutex::new(Vec::new());
        Shared(Arc::new(Self { topic: topic.to_owned(), records, arrived: Notify::new(), at_most }))
    }

    pub(crate) fn push(&self, record: Record) -> Offset {
        let mut records = self.records.lock().unwrap();
        let offset = records.last().map_or(0, |last| last.offset + STRIDE);
        records.push(StoredRecord { offset, record });
        self.arrived.notify_waiters();
        offset
    }

    /// The same records, handed out in reads of another size.
    pub(crate) fn copy(&self, at_most: usize) -> Shared {
        let copy = Self::shared(&self.topic, at_most);
        copy.0.records.lock().unwrap().clone_from(&self.records.lock().unwrap());
        copy
    }

    pub(crate) fn replace(&self, index: usize, change: impl FnOnce(&mut Record)) {
        change(&mut self.records.lock().unwrap()[index].record);
    }

    pub(crate) fn len(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    pub(crate) fn next(&self) -> Offset {
        self.records.lock().unwrap().last().map_or(0, |last| last.offset + 1)
    }

    fn after(&self, from: Offset, max: usize) -> Vec<StoredRecord> {
        let records = self.records.lock().unwrap();
        let start = records.partition_point(|stored| stored.offset < from);
        records[start..].iter().take(max.min(self.at_most)).cloned().collect()
    }
}

impl LogRead for Shared {
    fn topic(&self) -> &str {
        &self.0.topic
    }

    fn partitions(&self) -> u32 {
        1
    }

    fn end(&self, _partition: u32) -> BoxFuture<'_, Result<Offset, LogError>> {
        Box::pin(async { Ok(self.0.next()) })
    }

    fn reader(&self, _partition: u32, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        let reader: Box<dyn LogReader> = Box::new(FakeReader { log: Arc::clone(&self.0), next: from });
        Box::pin(async { Ok(reader) })
    }
}

impl LogReader for FakeReader {
    fn read(&mut self, max: usize, wait: Duration) -> BoxFuture<'_, Result<ReadBatch, LogError>> {
        Box::pin(async move {
            let arrived = self.log.arrived.notified();
            let mut records = self.log.after(self.next, max);
            if records.is_empty() {
                let _ = tokio::time::timeout(wait, arrived).await;
                records = self.log.after(self.next, max);
            }
            self.next = records.last().map_or(self.next, |last| last.offset + 1);
            Ok(ReadBatch { records, next: self.next })
        })
    }
}

/// A clock that stands still.
pub(crate) struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        start()
    }
}

pub(crate) fn start() -> Timestamp {
    Timestamp::parse("2026-11-21T03:15:00Z").unwrap()
}

pub(crate) fn tenant() -> TenantId {
    TenantId::new("dairy").unwrap()
}

pub(crate) fn stream(key: &str) -> StreamKey {
    StreamKey::parse(key).unwrap()
}

/// A UUIDv7 that is the same in every run.
pub(crate) fn uuid(number: u64) -> Uuid {
    let mut random = [0_u8; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis(start().millis() as u64 + number, &random).into_uuid()
}

/// Decides commands and appends their events, as a writer would.
pub(crate) struct Plant {
    pub(crate) log: Shared,
    states: BTreeMap<StreamKey, StreamState>,
    chain: Chain,
    count: u64,
}

impl Plant {
    pub(crate) fn new(log: Shared) -> Self {
        Self { log, states: BTreeMap::new(), chain: Chain::default(), count: 0 }
    }

    /// Decides and appends; a refusal is recorded too. Gives the first event and the offset of the last.
    pub(crate) fn decide(&mut self, key: &str, command: Command) -> (Event, Offset) {
        self.count += 1;
        let now = start().plus_micros(self.count as i64 * 1_000);
        let request = CommandRequest {
            tenant: tenant(),
            stream: stream(key),
            actor: ActorId::new("ann").unwrap(),
            command_id: CommandId(uuid(self.count)),
            correlation_id: CorrelationId(Uuid::from_u128(u128::from(self.count))),
            traceparent: None,
            expected_version: None,
            occurred_at: Some(now.plus_micros(-60_000_000)),
            reason: Some("as planned".into()),
            command,
        };
        let tenants = self.states.get(&StreamKey::Tenant);
        let (scenarios, master) =
            tenants.map(|state| (state.scenarios.clone(), state.master.clone())).unwrap_or_default();
        let of_tenant = OfTenant { scenarios: &scenarios, master: &master };
        let state = self.states.entry(stream(key)).or_default();
        let mut events = match state.decide_on(&request, now, of_tenant) {
            Ok(decision) => decision.events,
            Err(refusal) => vec![Event::CommandRefused(refusal.recorded(request.command.name()))],
        };
        let offsets: Vec<Offset> = events.iter().map(|event| self.append(key, event)).collect();
        (events.remove(0), *offsets.last().expect("a decision has an event"))
    }

    /// Appends an event whether or not it follows the rules.
    pub(crate) fn append(&mut self, key: &str, event: &Event) -> Offset {
        let occurred_at = start().plus_micros(self.count as i64 * 1_000 - 60_000_000);
        let value = event.encode(occurred_at, Some("as planned"));
        let sequence = self.chain.head(key).sequence + 1;
        self.states.entry(stream(key)).or_default().evolve(event, sequence, occurred_at);
        self.append_raw(key, event.event_type(), event.subject(CommandId(uuid(self.count))), value)
    }

    /// Seals any value under any type.
    pub(crate) fn append_raw(&mut self, key: &str, event_type: &'static str, subject: String, value: Bytes) -> Offset {
        self.count += 1;
        let head = self.chain.head(key);
        let attributes = Attributes {
            tenant: tenant(),
            stream: stream(key),
            id: EventId(uuid(1_000_000 + self.count)),
            event_type: event_type.into(),
            subject,
            time: start().plus_micros(self.count as i64 * 1_000),
            sequence: head.sequence + 1,
            actor: ActorId::new("ann").unwrap(),
            correlation_id: CorrelationId(Uuid::from_u128(u128::from(self.count))),
            causation_id: CommandId(uuid(self.count)),
            command_hash: CommandHash([3; 16]),
            tenant_sequence: (stream(key) != StreamKey::Tenant).then_some(0),
            traceparent: None,
        };
        let (hash, record) = Envelope::seal_record(&attributes, head.hash, value);
        let next = ChainHead { sequence: attributes.sequence, hash, time: attributes.time };
        self.chain.advance(key, next);
        self.log.0.push(record)
    }

    /// A plant's ordinary day: mostly registrations from up to three parents, decisions, now and then a refusal.
    pub(crate) fn day(&mut self, key: &str, commands: u64) {
        let first = self.count;
        let lot = |number: u64| format!("L-{key}-{first}-{number}");
        for number in 0..commands {
            let command = match number % 5 {
                3 => decide_qc(&lot(number - 1), if number % 10 == 3 { QcOutcome::Pass } else { QcOutcome::Hold }),
                4 => register("", &[]),
                _ => {
                    let parents: Vec<String> = [1, 5, 25]
                        .iter()
                        .filter(|back| number >= **back && (number - **back) % 5 < 3 && (number - **back) % 10 != 7)
                        .map(|back| lot(number - back))
                        .collect();
                    let parents: Vec<_> = parents.iter().map(|parent| (parent.as_str(), "0.5")).collect();
                    register(&lot(number), &parents)
                }
            };
            self.decide(key, command);
        }
    }
}

pub(crate) fn quantity(value: &str) -> QuantityInput {
    QuantityInput { value: value.into(), unit: "KGM".into() }
}

pub(crate) fn register(code: &str, parents: &[(&str, &str)]) -> Command {
    let parents = parents
        .iter()
        .map(|(parent, value)| ParentInput { lot: LotRef::Code((*parent).into()), quantity: quantity(value) })
        .collect();
    Command::RegisterLot(RegisterLot {
        code: code.into(),
        lot_type: LotType::Intermediate,
        product: "yoghurt, natural".into(),
        quantity: quantity("100"),
        temperature_c: Some("4.5".into()),
        supplier_lot: None,
        expires_on: chrono::NaiveDate::from_ymd_opt(2026, 12, 24),
        location: Some("tank 3".into()),
        attributes: BTreeMap::from([("fat".into(), "3.5 %".into())]),
        parents,
    })
}

pub(crate) fn decide_qc(lot: &str, outcome: QcOutcome) -> Command {
    Command::RecordQcDecision(RecordQcDecision {
        lot: LotRef::Code(lot.into()),
        gate: "pasteurisation".into(),
        outcome,
        measurements: vec![MeasurementInput { name: "temperature".into(), value: "72.4".into(), unit: "Cel".into() }],
        checklist: vec![],
        notes: None,
    })
}

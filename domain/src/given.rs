//! Given events, when a command, then events or a refusal: how every rule of this crate is tested.
//!
//! A thing that a command creates takes its id from the command's, so the tests name both by a small number.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::command::{Command, CommandRequest, ParentInput, QuantityInput, RecordQcDecision, RegisterLot};
use crate::event::Event;
use crate::id::{ActorId, CommandId, CorrelationId, LotId, QcDecisionId, SiteId, StreamKey, TenantId};
use crate::lot::event::{LotEvent, LotExpired, LotMoved};
use crate::lot::{LotInput, LotRef, LotRegistered, LotType};
use crate::qc::{QcDecisionRecorded, QcOutcome};
use crate::quantity::Quantity;
use crate::refusal::Refusal;
use crate::state::{Decision, StreamState};
use crate::timestamp::Timestamp;

/// The time of every decision in these tests.
pub(crate) fn now() -> Timestamp {
    Timestamp::parse("2026-11-21T03:15:00Z").unwrap()
}

/// What has happened in a stream.
pub(crate) struct Given {
    pub(crate) state: StreamState,
    stream: StreamKey,
    sequence: u64,
}

/// What a command led to.
#[derive(Debug)]
pub(crate) struct Then(Result<Decision, Refusal>);

/// A site's stream with these events.
pub(crate) fn site(events: &[Event]) -> Given {
    Given::stream(StreamKey::Site(SiteId::new("north").unwrap()), events)
}

/// The tenant's stream with these events.
pub(crate) fn tenant(events: &[Event]) -> Given {
    Given::stream(StreamKey::Tenant, events)
}

impl Given {
    fn stream(stream: StreamKey, events: &[Event]) -> Self {
        let mut given = Self { state: StreamState::default(), stream, sequence: 0 };
        for event in events {
            given.happened(event);
        }
        given
    }

    /// One more event.
    pub(crate) fn happened(&mut self, event: &Event) {
        self.sequence += 1;
        self.state.evolve(event, self.sequence, now());
    }

    /// The request of a command numbered by its place after these events.
    pub(crate) fn request(&self, command: Command) -> CommandRequest {
        CommandRequest {
            tenant: TenantId::new("dairy").unwrap(),
            stream: self.stream.clone(),
            actor: ActorId::new("ann").unwrap(),
            command_id: command_id(self.sequence + 1),
            correlation_id: CorrelationId(Uuid::from_u128(1)),
            traceparent: None,
            expected_version: None,
            occurred_at: None,
            reason: None,
            command,
        }
    }

    pub(crate) fn when(&self, command: Command) -> Then {
        self.when_asked(&self.request(command))
    }

    pub(crate) fn when_asked(&self, request: &CommandRequest) -> Then {
        Then(self.state.decide(request, now()))
    }

    /// The id of what the next command creates.
    pub(crate) fn fresh(&self) -> Uuid {
        let request = self.request(Command::ArchivePipeline { pipeline_id: crate::id::PipelineId(Uuid::nil()) });
        request.command_id.derive(&request.tenant, &request.stream, &request.actor)
    }
}

impl Then {
    /// Exactly this event.
    #[track_caller]
    pub(crate) fn event(self, expected: &Event) {
        let decision = self.accepted();
        assert_eq!(decision.events.as_slice(), std::slice::from_ref(expected));
    }

    #[track_caller]
    pub(crate) fn accepted(self) -> Decision {
        match self.0 {
            Ok(decision) => decision,
            Err(refusal) => panic!("refused: {} {refusal}", refusal.code()),
        }
    }

    /// Refused with this code, at this input field, in these words.
    #[track_caller]
    pub(crate) fn refused(self, code: &str, field: Option<&str>, message: &str) {
        let refusal = self.refusal();
        assert_eq!((refusal.code(), refusal.field(), refusal.to_string().as_str()), (code, field, message));
        let event = refusal.recorded("any");
        assert_eq!((event.code.as_str(), event.field.as_deref(), event.message.as_str()), (code, field, message));
    }

    #[track_caller]
    pub(crate) fn refusal(self) -> Refusal {
        match self.0 {
            Ok(decision) => panic!("accepted: {:?}", decision.events),
            Err(refusal) => refusal,
        }
    }
}

/// A UUIDv7 of [`now`].
pub(crate) fn command_id(number: u64) -> CommandId {
    let millis = u128::from(now().millis().unsigned_abs());
    CommandId(Uuid::from_u128(millis << 80 | 0x7 << 76 | 0x8 << 60 | u128::from(number)))
}

/// The id that [`lot`] gives to a code.
pub(crate) fn lot_id(code: &str) -> LotId {
    LotId(Uuid::from_u128(code.bytes().fold(7, |id, byte| id << 8 | u128::from(byte))))
}

/// A lot was registered, made from nothing.
pub(crate) fn lot(code: &str, value: &str, unit: &str) -> Event {
    Event::LotRegistered(lot_data(code, value, unit))
}

pub(crate) fn lot_data(code: &str, value: &str, unit: &str) -> LotRegistered {
    LotRegistered {
        lot_id: lot_id(code),
        code: code.to_owned(),
        lot_type: LotType::Raw,
        product: "milk".to_owned(),
        quantity: Quantity::parse(value, unit).unwrap(),
        temperature_c: None,
        supplier_lot: None,
        expires_on: None,
        location: None,
        attributes: BTreeMap::new(),
        parents: Vec::new(),
    }
}

/// A lot was registered, made from one parent.
pub(crate) fn lot_from(code: &str, parent: &str, value: &str, unit: &str) -> Event {
    let quantity = Quantity::parse(value, unit).unwrap();
    let parents = vec![LotInput { lot_id: lot_id(parent), quantity }];
    Event::LotRegistered(LotRegistered { parents, ..lot_data(code, value, unit) })
}

/// A lot was judged.
pub(crate) fn judged(code: &str, outcome: QcOutcome) -> Event {
    Event::QcDecisionRecorded(QcDecisionRecorded {
        decision_id: QcDecisionId(Uuid::from_u128(9)),
        lot_id: lot_id(code),
        gate: "intake".to_owned(),
        outcome,
        measurements: Vec::new(),
        checklist: Vec::new(),
        notes: None,
    })
}

/// Register a lot made from nothing.
pub(crate) fn register(code: &str, value: &str, unit: &str) -> RegisterLot {
    RegisterLot {
        code: code.to_owned(),
        lot_type: LotType::Raw,
        product: "milk".to_owned(),
        quantity: quantity(value, unit),
        temperature_c: None,
        supplier_lot: None,
        expires_on: None,
        location: None,
        attributes: BTreeMap::new(),
        parents: Vec::new(),
    }
}

pub(crate) fn quantity(value: &str, unit: &str) -> QuantityInput {
    QuantityInput { value: value.to_owned(), unit: unit.to_owned() }
}

/// So much of a lot, named by its code.
pub(crate) fn parent(code: &str, value: &str, unit: &str) -> ParentInput {
    ParentInput { lot: LotRef::Code(code.to_owned()), quantity: quantity(value, unit) }
}

/// Judge a lot, named by its code, at the intake.
pub(crate) fn judge(code: &str, outcome: QcOutcome) -> RecordQcDecision {
    RecordQcDecision {
        lot: LotRef::Code(code.to_owned()),
        gate: "intake".to_owned(),
        outcome,
        measurements: Vec::new(),
        checklist: Vec::new(),
        notes: None,
    }
}

/// A lot was taken to another place.
pub(crate) fn moved(code: &str, location: &str) -> Event {
    Event::Lot(LotEvent::LotMoved(LotMoved { lot_id: lot_id(code), location: location.to_owned() }))
}

/// A lot was marked as expired.
pub(crate) fn expired(code: &str, expires_on: &str) -> Event {
    Event::Lot(LotEvent::LotExpired(LotExpired { lot_id: lot_id(code), expires_on: expires_on.parse().unwrap() }))
}

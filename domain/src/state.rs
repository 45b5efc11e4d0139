//! The state of one stream, and the two functions that everything hangs on: decide and evolve.

use serde::{Deserialize, Serialize};

use crate::access::actor::Actor;
use crate::access::decide::Circumstances;
use crate::access::event::AccessSubject;
use crate::access::state::SharedAccess;
use crate::command::{Command, CommandRequest, optional_text};
use crate::event::Event;
use crate::flow::FlowCommand;
use crate::flow::receipt::{self, LotReceived};
use crate::flow::shipment::Shipments;
use crate::id::{
    DeliveryId, LotId, PartnerId, PipelineId, ProductId, QcDecisionId, RunId, ScenarioId, ShipmentId, TransformationId,
};
use crate::lot::event::{LotAdjusted, LotEvent, LotExpired, LotMoved, LotSampled, LotScrapped};
use crate::lot::{LotRef, Lots};
use crate::master::{MasterData, SharedMaster};
use crate::pipeline::Pipelines;
use crate::projection;
use crate::qc;
use crate::refusal::Refusal;
use crate::run::command::RunCommand;
use crate::run::decide::Around;
use crate::run::event::RunEvent;
use crate::run::state::Runs;
use crate::scenario::state::{Scenarios, SharedScenarios};
use crate::signal::Signals;
use crate::timestamp::Timestamp;

/// All that the rules of a stream depend on. A site's stream uses lots, shipments, runs and signals, the tenant's own pipelines, access, scenarios and
/// master data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamState {
    /// Lots of the site.
    pub lots: Lots,
    /// Pipelines of the tenant.
    pub pipelines: Pipelines,
    /// Signals of the site.
    pub signals: Signals,
    /// Who may do what in the tenant.
    pub access: SharedAccess,
    /// Products and partners of the tenant.
    pub master: SharedMaster,
    /// Templates of processes of the tenant.
    pub scenarios: SharedScenarios,
    /// Runs of the site.
    pub runs: Runs,
    /// Shipments of the site.
    pub shipments: Shipments,
}

/// What the tenant's stream says that sites decide on.
#[derive(Debug, Clone, Copy)]
pub struct OfTenant<'a> {
    /// From what runs start.
    pub scenarios: &'a Scenarios,
    /// What is made and used, and who it comes from and goes to.
    pub master: &'a MasterData,
}

/// What deciding gave: one or more events, and the facts they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What happened; at least one.
    pub events: Vec<Event>,
    /// When it happened in the world.
    pub occurred_at: Timestamp,
    /// Why, trimmed.
    pub reason: Option<String>,
    /// Id of the thing that was created or changed.
    pub subject_id: Subject,
}

/// The thing that a command created or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A lot.
    Lot(LotId),
    /// A quality decision.
    QcDecision(QcDecisionId),
    /// A pipeline.
    Pipeline(PipelineId),
    /// A signal, by name.
    Signal(String),
    /// A read model, by name.
    Projection(String),
    /// A product.
    Product(ProductId),
    /// A supplier or customer.
    Partner(PartnerId),
    /// A site, user, key or grant.
    Access(AccessSubject),
    /// What a record of the trail is about, as `kind/id`.
    Trail(String),
    /// What made lots out of lots.
    Transformation(TransformationId),
    /// A template of a process.
    Scenario(ScenarioId),
    /// A production run.
    Run(RunId),
    /// What came from a supplier at once.
    Delivery(DeliveryId),
    /// What left the site at once.
    Shipment(ShipmentId),
}

const EARLIEST_OCCURRENCE_MICROS: i64 = 946_684_800_000_000; // 2000-01-01
const AHEAD_MICROS: i64 = 5 * 60 * 1_000_000;

impl StreamState {
    /// Decides a command at a time, by what this stream itself says of the tenant's matters: the tenant's.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decide(&self, request: &CommandRequest, now: Timestamp) -> Result<Decision, Refusal> {
        self.decide_on(request, now, OfTenant { scenarios: &self.scenarios, master: &self.master })
    }

    /// Decides a command at a time, by what the tenant's stream says.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decide_on(
        &self,
        request: &CommandRequest,
        now: Timestamp,
        tenant: OfTenant<'_>,
    ) -> Result<Decision, Refusal> {
        let command = &request.command;
        if !command.belongs_to(&request.stream) {
            return Err(Refusal::WrongStream { command: command.name(), stream: request.stream.to_string() });
        }
        let occurred_at = request.occurred_at.unwrap_or(now);
        if occurred_at.micros() < EARLIEST_OCCURRENCE_MICROS || occurred_at > now.plus_micros(AHEAD_MICROS) {
            return Err(Refusal::OccurredAtOutOfRange { given: occurred_at, now });
        }
        let reason = optional_text("reason", request.reason.as_deref(), 500)?;
        if command.needs_reason() && reason.is_none() {
            return Err(Refusal::MissingReason);
        }
        self.check_version(request)?;
        let fresh = request.command_id.derive(&request.tenant, &request.stream, &request.actor);
        let actor = Actor::of(&request.actor);
        let at = Circumstances { actor, fresh, now, pipelines: &self.pipelines };
        let OfTenant { scenarios, master } = tenant;
        let around = Around { lots: &self.lots, scenarios, master, occurred_at, fresh };
        let (events, subject_id) = self.decide_events(request, &at, &around)?;
        Ok(Decision { events, occurred_at, reason, subject_id })
    }

    fn decide_events(
        &self,
        request: &CommandRequest,
        at: &Circumstances<'_>,
        around: &Around<'_>,
    ) -> Result<(Vec<Event>, Subject), Refusal> {
        let fresh = at.fresh;
        let day = || around.day();
        let event = match &request.command {
            Command::Trail(command) => {
                let events = command.decide(&request.actor)?;
                let last = events.last().expect("invariant: a decision has an event");
                let subject = Subject::Trail(last.subject());
                return Ok((events.into_iter().map(Event::Trail).collect(), subject));
            }
            Command::Access(command) => {
                let events = self.access.decide(command, at)?;
                let last = events.last().expect("invariant: a decision has an event");
                let subject = Subject::Access(last.subject());
                return Ok((events.into_iter().map(Event::Access).collect(), subject));
            }
            Command::Run(command) => return self.decide_run(command, around),
            Command::Flow(command) => return self.decide_flow(command, around),
            Command::Scenario(command) => Event::Scenario(self.scenarios.decide(command, ScenarioId(fresh))?),
            Command::RegisterLot(command) => {
                Event::LotRegistered(self.lots.decide_register(LotId(fresh), command, day())?)
            }
            Command::Lot(command) => Event::Lot(self.lots.decide(fresh, command, day())?),
            Command::RecordQcDecision(command) => {
                Event::QcDecisionRecorded(qc::decide(&self.lots, QcDecisionId(fresh), command)?)
            }
            Command::DraftPipeline { name, definition } => {
                Event::PipelineDrafted(self.pipelines.decide_draft(PipelineId(fresh), name, definition)?)
            }
            Command::RevisePipeline { pipeline_id, name, definition } => {
                Event::PipelineRevised(self.pipelines.decide_revise(*pipeline_id, name, definition)?)
            }
            Command::PublishPipeline { pipeline_id } => {
                Event::PipelinePublished(self.pipelines.decide_publish(*pipeline_id)?)
            }
            Command::ArchivePipeline { pipeline_id } => {
                Event::PipelineArchived(self.pipelines.decide_archive(*pipeline_id)?)
            }
            Command::Master(command) => Event::Master(self.master.decide(command, fresh)?),
            Command::DeclareSignal(command) => Event::SignalDeclared(self.signals.decide_declare(command)?),
            Command::RetryProjection { model, stream } => {
                Event::ProjectionRetried(projection::decide_retry(model, stream)?)
            }
            Command::SkipProjectionEvent { model, stream, sequence } => {
                Event::ProjectionEventSkipped(projection::decide_skip(model, stream, *sequence)?)
            }
        };
        let subject = Subject::of(&event).expect("invariant: what was decided is about something");
        Ok((vec![event], subject))
    }

    fn decide_run(&self, command: &RunCommand, around: &Around<'_>) -> Result<(Vec<Event>, Subject), Refusal> {
        let events = self.runs.decide(command, around)?;
        let subject = events.last().and_then(Subject::of);
        Ok((events, subject.expect("invariant: a decision has an event, and the last is a run's")))
    }

    fn decide_flow(&self, command: &FlowCommand, around: &Around<'_>) -> Result<(Vec<Event>, Subject), Refusal> {
        let events = match command {
            FlowCommand::Receive(command) => receipt::decide(command, around)?,
            FlowCommand::Ship(command) => vec![LotEvent::ShipmentShipped(self.shipments.decide(command, around)?)],
        };
        let subject = events.last().map(Subject::of_lots).expect("invariant: a decision has an event");
        Ok((events.into_iter().map(Event::Lot).collect(), subject))
    }

    /// Applies an event that stands at `sequence` in the stream and happened at a time in the world.
    pub fn evolve(&mut self, event: &Event, sequence: u64, occurred_at: Timestamp) {
        match event {
            Event::LotRegistered(event) => self.lots.evolve_registered(event, sequence),
            Event::Lot(event) => {
                self.lots.evolve(event, sequence);
                if let LotEvent::ShipmentShipped(event) = event {
                    self.shipments.evolve(event);
                }
            }
            Event::QcDecisionRecorded(event) => self.lots.evolve_decided(event.lot_id, event.outcome, sequence),
            Event::PipelineDrafted(event) => self.pipelines.evolve_drafted(event, sequence),
            Event::PipelineRevised(event) => self.pipelines.evolve_revised(event, sequence),
            Event::PipelinePublished(event) => self.pipelines.evolve_published(event, sequence),
            Event::PipelineArchived(event) => self.pipelines.evolve_archived(event, sequence),
            Event::SignalDeclared(event) => self.signals.evolve_declared(event, sequence),
            Event::Master(_) => self.master.evolve(event, sequence),
            Event::Access(_) => self.access.evolve(event, sequence),
            Event::Scenario(_) => self.scenarios.evolve(event, sequence),
            Event::Run(event) => self.runs.evolve(event, sequence, occurred_at),
            Event::ProjectionRetried(_)
            | Event::ProjectionEventSkipped(_)
            | Event::Trail(_)
            | Event::CommandRefused(_)
            | Event::RefusalsSuppressed(_) => {}
        }
    }

    /// Sequence of the last event that touched the thing a command is about, of several things the last of these; 0 when it does not exist yet.
    fn current_version(&self, command: &Command) -> u64 {
        let version = match command {
            Command::RecordQcDecision(command) => self.lots.find("lot", &command.lot).ok().map(|(_, lot)| lot.version),
            Command::Lot(command) => self.version_of(&command.lots()),
            Command::Flow(command) => self.version_of(&command.lots()),
            Command::RevisePipeline { pipeline_id, .. }
            | Command::PublishPipeline { pipeline_id }
            | Command::ArchivePipeline { pipeline_id } => {
                self.pipelines.get(*pipeline_id).map(|pipeline| pipeline.version)
            }
            Command::DeclareSignal(command) => self.signals.version(command.name.trim()),
            Command::Master(command) => self.master.version(command),
            Command::Access(command) => self.access.version(command),
            Command::Run(command) => self.runs.version(command),
            Command::Scenario(command) => {
                command.scenario_id().and_then(|id| self.scenarios.get(id)).map(|scenario| scenario.version)
            }
            Command::RegisterLot(_)
            | Command::DraftPipeline { .. }
            | Command::RetryProjection { .. }
            | Command::SkipProjectionEvent { .. }
            | Command::Trail(_) => None,
        };
        version.unwrap_or(0)
    }

    fn version_of(&self, lots: &[&LotRef]) -> Option<u64> {
        let found = lots.iter().filter_map(|lot| self.lots.find("lot", lot).ok());
        found.map(|(_, lot)| lot.version).max()
    }

    fn check_version(&self, request: &CommandRequest) -> Result<(), Refusal> {
        let Some(expected) = request.expected_version else { return Ok(()) };
        let current = self.current_version(&request.command);
        if expected == current { Ok(()) } else { Err(Refusal::VersionConflict { expected, current }) }
    }
}

impl Subject {
    /// The subject of a decision, read back from its event; nothing for refusals.
    pub fn of(event: &Event) -> Option<Self> {
        match event {
            Event::LotRegistered(event) => Some(Self::Lot(event.lot_id)),
            Event::Lot(event) => Some(Self::of_lots(event)),
            Event::QcDecisionRecorded(event) => Some(Self::QcDecision(event.decision_id)),
            Event::PipelineDrafted(event) => Some(Self::Pipeline(event.pipeline_id)),
            Event::PipelineRevised(event) => Some(Self::Pipeline(event.pipeline_id)),
            Event::PipelinePublished(event) => Some(Self::Pipeline(event.pipeline_id)),
            Event::PipelineArchived(event) => Some(Self::Pipeline(event.pipeline_id)),
            Event::SignalDeclared(event) => Some(Self::Signal(event.name.clone())),
            Event::ProjectionRetried(event) => Some(Self::Projection(event.model.clone())),
            Event::ProjectionEventSkipped(event) => Some(Self::Projection(event.model.clone())),
            Event::Master(event) => Some(event.thing()),
            Event::Access(event) => Some(Self::Access(event.subject())),
            Event::Trail(event) => Some(Self::Trail(event.subject())),
            Event::Scenario(event) => Some(Self::Scenario(event.scenario_id())),
            Event::Run(RunEvent::RunGateDecided(event)) => Some(Self::QcDecision(event.decision_id)),
            Event::Run(event) => Some(Self::Run(event.run_id())),
            Event::CommandRefused(_) | Event::RefusalsSuppressed(_) => None,
        }
    }

    fn of_lots(event: &LotEvent) -> Self {
        match event {
            LotEvent::LotsTransformed(data) => Self::Transformation(data.transformation_id),
            LotEvent::LotReceived(LotReceived { delivery_id, .. }) => Self::Delivery(*delivery_id),
            LotEvent::ShipmentShipped(data) => Self::Shipment(data.shipment_id),
            LotEvent::LotAdjusted(LotAdjusted { lot_id, .. })
            | LotEvent::LotScrapped(LotScrapped { lot_id, .. })
            | LotEvent::LotMoved(LotMoved { lot_id, .. })
            | LotEvent::LotSampled(LotSampled { lot_id, .. })
            | LotEvent::LotExpired(LotExpired { lot_id, .. }) => Self::Lot(*lot_id),
        }
    }
}

#[cfg(test)]
mod tests;

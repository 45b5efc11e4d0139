//! `draftScenario`, `reviseScenario`, `publishScenario`, `retireScenario`. Scenarios belong to the tenant, so these take no site.

use async_graphql::{Context, Error, ID, InputObject, Object};
use chrono::{DateTime, Utc};
use lotline_domain::command::Command;
use lotline_domain::id::{ScenarioId, StreamKey};
use lotline_domain::scenario::command::{
    AutomaticLotInput as DomainLot, DefinitionInput, GateInput as DomainGate, LimitInput as DomainLimit,
    PhaseInput as DomainPhase, ScenarioCommand,
};
use lotline_domain::scenario::{ChecklistItem, Stream};
use lotline_domain::state::Subject;
use lotline_projections::model::Model;
use uuid::Uuid;

use super::QuantityInput;
use crate::schema::global_id::{self, NodeId};
use crate::schema::lot::LotType;
use crate::schema::payload::{Given, Outcome, UserError, payload, submit};
use crate::schema::scalar::Version;
use crate::schema::scenario::{AnswerType, GateSubject, Scenario};
use crate::schema::scope::Scope;

/// A lane of the process.
#[derive(InputObject, Debug)]
pub struct ScenarioStreamInput {
    /// Unique in the scenario, at most 64 characters.
    pub key: String,
    /// What people call it, at most 128 characters.
    pub name: String,
    /// sRGB as #rrggbb.
    pub colour: String,
    /// Lanes are shown by this, the least first; 0 to 9999.
    pub sort_order: u32,
}

/// A lot that is registered without anybody asking, when a run enters the phase. Its code is the run's, a hyphen and the phase's number.
#[derive(InputObject, Debug)]
pub struct AutomaticLotInput {
    /// What it is to the process.
    pub lot_type: LotType,
    /// Product name or GTIN, at most 128 characters.
    pub product: String,
    /// How much there is.
    pub quantity: QuantityInput,
}

/// A step of the process.
#[derive(InputObject, Debug)]
pub struct ScenarioPhaseInput {
    /// Unique in the scenario, 0 to 9999. Phases follow each other by this; gaps do not matter. There must be a phase 0.
    pub number: u32,
    /// What people call it, at most 128 characters.
    pub name: String,
    /// Key of its lane.
    pub stream: String,
    /// The lot that comes into being when a run enters the phase.
    pub registers: Option<AutomaticLotInput>,
}

/// A question of a gate's checklist.
#[derive(InputObject, Debug)]
pub struct GateChecklistItemInput {
    /// Unique in the gate, at most 64 characters. Answers name it.
    pub key: String,
    /// What is asked, at most 200 characters.
    pub question: String,
    /// How it is answered.
    pub answer: AnswerType,
    /// Whether there is no PASS without an answer.
    pub required: bool,
}

/// Bounds of a measured value, both inclusive; at least one.
#[derive(InputObject, Debug)]
pub struct GateLimitInput {
    /// Unique in the gate, at most 64 characters. Measurements name it.
    pub name: String,
    /// UCUM code, such as Cel.
    pub unit: String,
    /// The least that is good, a decimal as text.
    pub low: Option<String>,
    /// The most that is good, a decimal as text.
    pub high: Option<String>,
    /// Name of the signal that measures it, at whatever site the run is.
    pub signal: Option<String>,
}

/// A point after a phase at which quality is decided.
#[derive(InputObject, Debug)]
pub struct GateInput {
    /// Unique in the scenario, at most 64 characters. Decisions name it.
    pub key: String,
    /// The phase after which it stands.
    pub after_phase: u32,
    /// What sort of check it is, in the plant's own words, at most 64 characters.
    pub gate_type: String,
    /// What is judged.
    pub judges: GateSubject,
    /// Whether it is a critical control point.
    pub ccp: bool,
    /// Whether a run goes no further until it is passed.
    pub blocking: bool,
    /// What is asked, at most 50.
    #[graphql(default)]
    pub checklist: Vec<GateChecklistItemInput>,
    /// What is measured, and within what it must be; at most 50.
    #[graphql(default)]
    pub limits: Vec<GateLimitInput>,
}

/// A process: its streams, phases and gates; at most 256 KiB.
#[derive(InputObject, Debug)]
pub struct ScenarioDefinitionInput {
    /// Lanes in which phases stand, at most 50.
    pub streams: Vec<ScenarioStreamInput>,
    /// Steps, at most 200.
    pub phases: Vec<ScenarioPhaseInput>,
    /// Where quality is decided, at most 200.
    #[graphql(default)]
    pub gates: Vec<GateInput>,
}

impl From<GateInput> for DomainGate {
    fn from(given: GateInput) -> Self {
        let item = |item: GateChecklistItemInput| ChecklistItem {
            key: item.key,
            question: item.question,
            answer: item.answer.into(),
            required: item.required,
        };
        let limit = |limit: GateLimitInput| DomainLimit {
            name: limit.name,
            unit: limit.unit,
            low: limit.low,
            high: limit.high,
            signal: limit.signal,
        };
        Self {
            key: given.key,
            after_phase: given.after_phase,
            gate_type: given.gate_type,
            judges: given.judges.into(),
            ccp: given.ccp,
            blocking: given.blocking,
            checklist: given.checklist.into_iter().map(item).collect(),
            limits: given.limits.into_iter().map(limit).collect(),
        }
    }
}

impl From<ScenarioDefinitionInput> for DefinitionInput {
    fn from(given: ScenarioDefinitionInput) -> Self {
        let stream = |stream: ScenarioStreamInput| Stream {
            key: stream.key,
            name: stream.name,
            colour: stream.colour,
            sort_order: stream.sort_order,
        };
        let lot = |lot: AutomaticLotInput| DomainLot {
            lot_type: lot.lot_type.into(),
            product: lot.product,
            quantity: lot.quantity.into(),
        };
        let phase = |phase: ScenarioPhaseInput| DomainPhase {
            number: phase.number,
            name: phase.name,
            stream: phase.stream,
            registers: phase.registers.map(lot),
        };
        Self {
            streams: given.streams.into_iter().map(stream).collect(),
            phases: given.phases.into_iter().map(phase).collect(),
            gates: given.gates.into_iter().map(DomainGate::from).collect(),
        }
    }
}

/// A scenario to begin.
#[derive(InputObject, Debug)]
pub struct DraftScenarioInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the version; 0 for a thing that is new.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// Unique among scenarios that are not retired, at most 128 characters.
    pub name: String,
    /// Its first draft.
    pub definition: ScenarioDefinitionInput,
}

/// A scenario's new draft.
#[derive(InputObject, Debug)]
pub struct ReviseScenarioInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the scenario's version.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// Global id of the scenario.
    pub scenario_id: ID,
    /// Its name from now on.
    pub name: String,
    /// Its draft from now on.
    pub definition: ScenarioDefinitionInput,
}

macro_rules! named_scenario {
    ($(#[doc = $doc:literal])* $name:ident) => {
        $(#[doc = $doc])*
        #[derive(InputObject, Debug)]
        pub struct $name {
            /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
            pub idempotency_key: Uuid,
            /// Refuse unless this is the scenario's version.
            pub expected_version: Option<Version>,
            /// When it happened in the world; now when absent.
            pub occurred_at: Option<DateTime<Utc>>,
            /// Why.
            pub reason: Option<String>,
            /// Global id of the scenario.
            pub scenario_id: ID,
        }

        impl $name {
            fn parts(self) -> (ID, Given) {
                let (key, expected_version) = (self.idempotency_key, self.expected_version);
                let given = Given { key, expected_version, occurred_at: self.occurred_at, reason: self.reason };
                (self.scenario_id, given)
            }
        }
    };
}

named_scenario! {
    /// A scenario to publish.
    PublishScenarioInput
}
named_scenario! {
    /// A scenario to retire.
    RetireScenarioInput
}

payload! {
    /// What became of a change of a scenario.
    ScenarioPayload {
        /// Global id of the scenario; null when refused.
        async fn scenario_id(&self) -> Option<ID> {
            let id = subject(&self.0.receipt()?.subject)?;
            Some(NodeId::Scenario(id.0).encode())
        }

        /// The scenario, as soon as the read model shows it; null when refused.
        async fn scenario(&self, ctx: &Context<'_>) -> Result<Option<Scenario>, Error> {
            let Some((scope, receipt)) = self.0.visible(ctx, &[Model::Scenarios]).await? else { return Ok(None) };
            match subject(&receipt.subject) {
                Some(id) => Scenario::load(scope, id.0).await,
                None => Ok(None),
            }
        }
    }
}

fn subject(subject: &Subject) -> Option<ScenarioId> {
    if let Subject::Scenario(id) = subject { Some(*id) } else { None }
}

/// A command about a scenario that is there already.
async fn about(
    ctx: &Context<'_>,
    id: &ID,
    given: Given,
    command: impl FnOnce(ScenarioId) -> ScenarioCommand,
) -> Result<ScenarioPayload, Error> {
    let field = "scenarioId";
    let id = match global_id::scenario(field, id) {
        Ok(id) => ScenarioId(id),
        Err(error) => return Ok(ScenarioPayload(Outcome::Refused(UserError::id(field, &error), None))),
    };
    let command = Command::Scenario(command(id));
    submit(Scope::of(ctx), StreamKey::Tenant, given, command).await.map(ScenarioPayload)
}

/// Scenarios.
#[derive(Default)]
pub struct ScenarioMutation;

#[Object]
impl ScenarioMutation {
    /// Begins a scenario.
    async fn draft_scenario(&self, ctx: &Context<'_>, input: DraftScenarioInput) -> Result<ScenarioPayload, Error> {
        let given = Given {
            key: input.idempotency_key,
            expected_version: input.expected_version,
            occurred_at: input.occurred_at,
            reason: input.reason,
        };
        let (name, definition) = (input.name, input.definition.into());
        let command = Command::Scenario(ScenarioCommand::DraftScenario { name, definition });
        submit(Scope::of(ctx), StreamKey::Tenant, given, command).await.map(ScenarioPayload)
    }

    /// Replaces a scenario's draft and name. Versions and runs stay as they are.
    async fn revise_scenario(&self, ctx: &Context<'_>, input: ReviseScenarioInput) -> Result<ScenarioPayload, Error> {
        let given = Given {
            key: input.idempotency_key,
            expected_version: input.expected_version,
            occurred_at: input.occurred_at,
            reason: input.reason,
        };
        let (name, definition) = (input.name, input.definition.into());
        let command = |scenario_id| ScenarioCommand::ReviseScenario { scenario_id, name, definition };
        about(ctx, &input.scenario_id, given, command).await
    }

    /// Makes a scenario's draft its next version, from which runs start from now on.
    async fn publish_scenario(&self, ctx: &Context<'_>, input: PublishScenarioInput) -> Result<ScenarioPayload, Error> {
        let (id, given) = input.parts();
        about(ctx, &id, given, |scenario_id| ScenarioCommand::PublishScenario { scenario_id }).await
    }

    /// Lets no run start from a scenario any more. Those that have started go on. Its name is free again.
    async fn retire_scenario(&self, ctx: &Context<'_>, input: RetireScenarioInput) -> Result<ScenarioPayload, Error> {
        let (id, given) = input.parts();
        about(ctx, &id, given, |scenario_id| ScenarioCommand::RetireScenario { scenario_id }).await
    }
}

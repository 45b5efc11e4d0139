//! What people and programs can ask for. Commands carry input as given; deciding is what checks it, so that
//! a refusal can be recorded with its reason.
//!
//! To add one: a variant here with its input, its name in [`Command::name`], its stream in [`Command::belongs_to`], what its actor must have
//! in [`Command::need`], its rule in the aggregate's module, and its arm in [`crate::state::StreamState::decide`].

use std::collections::BTreeMap;

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::access::command::AccessCommand;
use crate::access::grant::PipelineRight;
use crate::access::need::Need;
use crate::access::role::Permission;
use crate::alert::command::AlertCommand;
use crate::envelope::CommandHash;
use crate::flow::FlowCommand;
use crate::hold::command::HoldCommand;
use crate::id::{ActorId, CommandId, CorrelationId, PipelineId, SiteId, StreamKey, TenantId};
use crate::lot::command::LotCommand;
use crate::lot::{LotRef, LotType};
use crate::master::MasterCommand;
use crate::personal::Personal;
use crate::pipeline::Definition;
use crate::qc::{ChecklistAnswer, QcOutcome};
use crate::quantity::Quantity;
use crate::refusal::Refusal;
use crate::run::command::RunCommand;
use crate::scenario::command::ScenarioCommand;
use crate::signal::{Address, DataType};
use crate::timestamp::Timestamp;
use crate::trail::TrailCommand;

/// A quantity as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuantityInput {
    /// A decimal number such as `12.5`.
    pub value: String,
    /// UNECE Rec 20 code.
    pub unit: String,
}

impl QuantityInput {
    /// # Errors
    /// [`Refusal::InvalidQuantity`] naming the input field.
    pub fn parse(&self, field: &'static str) -> Result<Quantity, Refusal> {
        Quantity::parse(&self.value, &self.unit).map_err(|problem| Refusal::InvalidQuantity { field, problem })
    }
}

/// How much of which lot went in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentInput {
    /// The parent.
    pub lot: LotRef,
    /// How much of it.
    pub quantity: QuantityInput,
}

/// Register a lot, with the parents it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterLot {
    /// Unique in the site.
    pub code: String,
    /// What it is to the process.
    pub lot_type: LotType,
    /// Product name or GTIN.
    pub product: String,
    /// How much there is.
    pub quantity: QuantityInput,
    /// Degrees Celsius.
    pub temperature_c: Option<String>,
    /// The supplier's own code.
    pub supplier_lot: Option<String>,
    /// Last day of use.
    pub expires_on: Option<NaiveDate>,
    /// Where it lies.
    pub location: Option<String>,
    /// Anything else.
    pub attributes: BTreeMap<String, String>,
    /// What it was made from.
    pub parents: Vec<ParentInput>,
}

/// A measured value as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasurementInput {
    /// What was measured.
    pub name: String,
    /// A decimal number.
    pub value: String,
    /// UCUM code.
    pub unit: String,
}

/// Record a quality decision on a lot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordQcDecision {
    /// The lot.
    pub lot: LotRef,
    /// The gate.
    pub gate: String,
    /// The verdict.
    pub outcome: QcOutcome,
    /// What was measured.
    pub measurements: Vec<MeasurementInput>,
    /// What was asked and answered.
    pub checklist: Vec<ChecklistAnswer>,
    /// Free text, already encrypted.
    pub notes: Option<Personal>,
}

/// Declare a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclareSignal {
    /// Unique in the site.
    pub name: String,
    /// What it tells.
    pub description: Option<String>,
    /// UCUM code.
    pub unit: String,
    /// Layout in the device.
    pub data_type: DataType,
    /// The machine.
    pub device: String,
    /// Where the machine keeps it.
    pub address: Address,
    /// Decimal; 1 when absent.
    pub scale: Option<String>,
    /// Decimal; 0 when absent.
    pub offset: Option<String>,
}

/// Something asked of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Register a lot.
    RegisterLot(RegisterLot),
    /// Do something with lots that are there.
    Lot(LotCommand),
    /// Judge a lot at a gate.
    RecordQcDecision(RecordQcDecision),
    /// Begin a pipeline.
    DraftPipeline {
        /// Unique among those not archived.
        name: String,
        /// Its first draft.
        definition: Definition,
    },
    /// Change a pipeline's draft.
    RevisePipeline {
        /// The pipeline.
        pipeline_id: PipelineId,
        /// Its name from now on.
        name: String,
        /// Its draft from now on.
        definition: Definition,
    },
    /// Make the draft a version.
    PublishPipeline {
        /// The pipeline.
        pipeline_id: PipelineId,
    },
    /// Retire a pipeline.
    ArchivePipeline {
        /// The pipeline.
        pipeline_id: PipelineId,
    },
    /// Declare a signal.
    DeclareSignal(DeclareSignal),
    /// Have a read model try again to follow a stream. For administrators.
    RetryProjection {
        /// Name of the read model.
        model: String,
        /// Key of the stream.
        stream: String,
    },
    /// Have a read model leave out one event of a stream and follow the rest. For administrators.
    SkipProjectionEvent {
        /// Name of the read model.
        model: String,
        /// Key of the stream.
        stream: String,
        /// Sequence of the event.
        sequence: u64,
    },
    /// Change master data.
    Master(MasterCommand),
    /// Change who may do what.
    Access(AccessCommand),
    /// Record what happened at the door, or to the audit trail. Only the server asks for that.
    Trail(TrailCommand),
    /// Change a template of a process.
    Scenario(ScenarioCommand),
    /// Change a production run.
    Run(RunCommand),
    /// See to an alert.
    Alert(AlertCommand),
    /// Take lots in, or send them out.
    Flow(FlowCommand),
    /// Place or release a hold.
    Hold(HoldCommand),
}

impl Command {
    /// Name in snake case, as recorded with a refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RegisterLot(_) => "register_lot",
            Self::Lot(command) => command.name(),
            Self::RecordQcDecision(_) => "record_qc_decision",
            Self::DraftPipeline { .. } => "draft_pipeline",
            Self::RevisePipeline { .. } => "revise_pipeline",
            Self::PublishPipeline { .. } => "publish_pipeline",
            Self::ArchivePipeline { .. } => "archive_pipeline",
            Self::DeclareSignal(_) => "declare_signal",
            Self::RetryProjection { .. } => "retry_projection",
            Self::SkipProjectionEvent { .. } => "skip_projection_event",
            Self::Master(command) => command.name(),
            Self::Access(command) => command.name(),
            Self::Trail(command) => command.name(),
            Self::Scenario(command) => command.name(),
            Self::Run(command) => command.name(),
            Self::Alert(command) => command.name(),
            Self::Flow(command) => command.name(),
            Self::Hold(command) => command.name(),
        }
    }

    /// Whether the command may be decided in the stream.
    pub fn belongs_to(&self, stream: &StreamKey) -> bool {
        match self {
            Self::RegisterLot(_)
            | Self::Lot(_)
            | Self::RecordQcDecision(_)
            | Self::DeclareSignal(_)
            | Self::Run(_)
            | Self::Alert(_)
            | Self::Flow(_)
            | Self::Hold(_) => matches!(stream, StreamKey::Site(_)),
            Self::DraftPipeline { .. }
            | Self::RevisePipeline { .. }
            | Self::PublishPipeline { .. }
            | Self::ArchivePipeline { .. }
            | Self::RetryProjection { .. }
            | Self::SkipProjectionEvent { .. }
            | Self::Master(_)
            | Self::Access(_)
            | Self::Trail(_)
            | Self::Scenario(_) => *stream == StreamKey::Tenant,
        }
    }

    /// What the actor must have.
    pub fn need(&self) -> Need {
        match self {
            Self::RegisterLot(_)
            | Self::Lot(_)
            | Self::RecordQcDecision(_)
            | Self::Run(_)
            | Self::Flow(_)
            | Self::Hold(HoldCommand::Place { .. }) => Need::Here(Permission::Decide),
            Self::Hold(HoldCommand::Release { .. } | HoldCommand::ReleaseLots { .. }) => {
                Need::Here(Permission::Release)
            }
            Self::DeclareSignal(_) | Self::DraftPipeline { .. } | Self::Master(_) | Self::Scenario(_) => {
                Need::Here(Permission::Engineer)
            }
            Self::RevisePipeline { pipeline_id, .. } => Need::Pipeline(PipelineRight::Edit, *pipeline_id),
            Self::PublishPipeline { pipeline_id }
            | Self::ArchivePipeline { pipeline_id }
            | Self::Access(AccessCommand::SetPipelineAccess { pipeline_id, .. }) => {
                Need::Pipeline(PipelineRight::Manage, *pipeline_id)
            }
            Self::Access(AccessCommand::AppointAdmin { .. }) => Need::System,
            // The machine does these by itself when somebody signs in by a provider.
            Self::Access(AccessCommand::RegisterSite { .. } | AccessCommand::RegisterUser(_)) => {
                Need::SystemOr(Permission::Administer, None)
            }
            // Who administers one site gives roles there. A site that can't be one is refused by the rules, to whoever administers all.
            Self::Access(AccessCommand::ChangeMembership { site, .. }) => {
                let site = site.as_deref().and_then(|site| SiteId::new(site).ok());
                Need::SystemOr(Permission::Administer, site)
            }
            Self::RetryProjection { .. }
            | Self::SkipProjectionEvent { .. }
            | Self::Access(
                AccessCommand::ChangeUserProfile { .. }
                | AccessCommand::DeactivateUser { .. }
                | AccessCommand::ReactivateUser { .. }
                | AccessCommand::IssuePasswordReset { .. }
                | AccessCommand::IssueApiKey(_)
                | AccessCommand::RevokeApiKey { .. },
            ) => Need::Here(Permission::Administer),
            Self::Trail(command) => command.need(),
            Self::Alert(command) => command.need(),
        }
    }

    /// Whether the actor must say why.
    pub fn needs_reason(&self) -> bool {
        match self {
            Self::RetryProjection { .. } | Self::SkipProjectionEvent { .. } | Self::Hold(_) => true,
            Self::Lot(command) => command.needs_reason(),
            Self::Access(command) => command.needs_reason(),
            Self::Run(command) => command.needs_reason(),
            Self::Alert(command) => command.needs_reason(),
            Self::RegisterLot(_)
            | Self::RecordQcDecision(_)
            | Self::DraftPipeline { .. }
            | Self::RevisePipeline { .. }
            | Self::PublishPipeline { .. }
            | Self::ArchivePipeline { .. }
            | Self::DeclareSignal(_)
            | Self::Master(_)
            | Self::Trail(_)
            | Self::Scenario(_)
            | Self::Flow(_) => false,
        }
    }
}

/// A command with who asks, and how to tell a retry. Nodes send it to each other as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRequest {
    /// Whose data.
    pub tenant: TenantId,
    /// Which stream decides.
    pub stream: StreamKey,
    /// Who asks.
    pub actor: ActorId,
    /// Idempotency key.
    pub command_id: CommandId,
    /// Ties together what one request caused.
    pub correlation_id: CorrelationId,
    /// W3C Trace Context of the request.
    pub traceparent: Option<String>,
    /// Refuse unless the thing's last event has this sequence.
    pub expected_version: Option<u64>,
    /// When it happened in the world; the time of the decision when absent.
    pub occurred_at: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
    /// What.
    pub command: Command,
}

impl CommandRequest {
    /// Tells a retry from another command under the same id: everything that the caller chose, nothing that differs between tries.
    pub fn hash(&self) -> CommandHash {
        let chosen = (&self.stream, &self.command, self.expected_version, self.occurred_at, &self.reason);
        let json = serde_json::to_vec(&chosen).expect("invariant: a command has string keys and finite numbers");
        let digest: [u8; 32] = Sha256::digest(json).into();
        let mut short = [0_u8; 16];
        short.copy_from_slice(&digest[..16]);
        CommandHash(short)
    }
}

/// A required text: trimmed, 1 to `max` characters, no control characters.
pub(crate) fn text(field: &'static str, given: &str, max: usize) -> Result<String, Refusal> {
    let trimmed = given.trim();
    let valid = !trimmed.is_empty() && trimmed.chars().count() <= max && !trimmed.chars().any(char::is_control);
    if valid { Ok(trimmed.to_owned()) } else { Err(Refusal::InvalidText { field, max }) }
}

/// A plain decimal such as `-12.5`, without trailing zeros; no exponent and no separators.
pub(crate) fn decimal(given: &str) -> Option<Decimal> {
    let plain = given.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    if plain { Decimal::from_str_exact(given).ok().map(|value| value.normalize()) } else { None }
}

/// An optional text; blank counts as absent.
pub(crate) fn optional_text(field: &'static str, given: Option<&str>, max: usize) -> Result<Option<String>, Refusal> {
    match given {
        Some(given) if !given.trim().is_empty() => text(field, given, max).map(Some),
        Some(_) | None => Ok(None),
    }
}

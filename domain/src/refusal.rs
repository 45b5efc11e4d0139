//! Why a command was refused: a closed list, each with a stable code, a sentence with the numbers in it, and the input field at fault.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::access::refusal::AccessRefusal;
use crate::alert::refusal::AlertRefusal;
use crate::flow::refusal::FlowRefusal;
use crate::hold::refusal::HoldRefusal;
use crate::id::{ActorId, InvalidId, LotId, PipelineId};
use crate::lot::refusal::LotRefusal;
use crate::master::MasterRefusal;
use crate::qc::QcOutcome;
use crate::quantity::{InvalidQuantity, Quantity, Unit};
use crate::run::refusal::RunRefusal;
use crate::scenario::refusal::ScenarioRefusal;
use crate::timestamp::Timestamp;

/// A command broke a rule. Nothing but the refusal itself is recorded.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The idempotency key is no UUIDv7.
    #[error("the idempotency key must be a UUIDv7")]
    InvalidCommandId,
    /// Too old to be told from a new command.
    #[error("the idempotency key dates from {given}; keys as old as {oldest} can't be told from new ones any more")]
    CommandTooOld {
        /// Time in the id.
        given: Timestamp,
        /// Up to here ids are refused.
        oldest: Timestamp,
    },
    /// The id's time is ahead of the clock.
    #[error("the idempotency key dates from {given}, which is ahead of {now}")]
    CommandFromFuture {
        /// Time in the id.
        given: Timestamp,
        /// Time of the decision.
        now: Timestamp,
    },
    /// The same id came with another payload.
    #[error("this idempotency key was used for another command")]
    CommandIdReused,
    /// Somebody changed the thing in the meantime.
    #[error("the expected version is {expected} but the current one is {current}")]
    VersionConflict {
        /// From the command.
        expected: u64,
        /// Sequence of the last event that touched the thing.
        current: u64,
    },
    /// `occurred_at` is absurd.
    #[error("occurred at {given} is not between 2000-01-01 and 5 minutes after {now}")]
    OccurredAtOutOfRange {
        /// As given.
        given: Timestamp,
        /// Time of the decision.
        now: Timestamp,
    },
    /// The command belongs to the tenant's stream, not a site's, or the other way round.
    #[error("the command '{command}' does not belong to the stream '{stream}'")]
    WrongStream {
        /// Name of the command.
        command: &'static str,
        /// The stream.
        stream: String,
    },
    /// A text is empty, too long or has control characters.
    #[error("{field} must have 1 to {max} characters and no control characters")]
    InvalidText {
        /// Input field.
        field: &'static str,
        /// Longest that is accepted, in characters.
        max: usize,
    },
    /// A list is too long.
    #[error("{field} has {given} entries; at most {max} are accepted")]
    TooMany {
        /// Input field.
        field: &'static str,
        /// As given.
        given: usize,
        /// The limit.
        max: usize,
    },
    /// A structure is nested so deep that it could not be read back.
    #[error("{field} is nested deeper than {max} levels")]
    TooDeep {
        /// Input field.
        field: &'static str,
        /// The limit.
        max: usize,
    },
    /// A date is absurd.
    #[error("{field} {given} is not between 2000-01-01 and 2199-12-31")]
    DateOutOfRange {
        /// Input field.
        field: &'static str,
        /// As given.
        given: NaiveDate,
    },
    /// Two attributes have one name once blanks at its ends are gone.
    #[error("attribute '{0}' stands twice")]
    DuplicateAttribute(String),
    /// An id in the input does not follow its rule.
    #[error("{field}: {problem}")]
    InvalidId {
        /// Input field.
        field: &'static str,
        /// What is wrong with it.
        problem: InvalidIdText,
    },
    /// A number is out of its range.
    #[error("{field} must be a number {rule}")]
    InvalidNumber {
        /// Input field.
        field: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// A quantity that can't be.
    #[error("{problem}")]
    InvalidQuantity {
        /// Input field.
        field: &'static str,
        /// What is wrong with it.
        problem: InvalidQuantity,
    },
    /// No such lot.
    #[error("lot {reference} does not exist")]
    UnknownLot {
        /// Input field.
        field: &'static str,
        /// Code or id as given.
        reference: String,
    },
    /// The code is taken.
    #[error("lot code '{code}' is already used by lot {by}")]
    DuplicateLotCode {
        /// Input field.
        field: &'static str,
        /// The code.
        code: String,
        /// Its owner.
        by: LotId,
    },
    /// A lot would descend from itself.
    #[error("lot '{code}' can't be its own parent")]
    GenealogyCycle {
        /// The code.
        code: String,
    },
    /// The same parent stands twice.
    #[error("lot '{code}' stands twice among the {field}")]
    DuplicateParent {
        /// Input field.
        field: &'static str,
        /// Code of the parent.
        code: String,
    },
    /// Kilograms were asked of a lot that is counted in litres.
    #[error("lot '{code}' is measured in {held}, which does not convert to {asked}")]
    UnitMismatch {
        /// Input field.
        field: &'static str,
        /// Code of the lot.
        code: String,
        /// Unit of the lot.
        held: Unit,
        /// Unit in the command.
        asked: Unit,
    },
    /// More is taken than is left.
    #[error("lot '{code}' has {left} left, {asked} asked")]
    NotEnoughLeft {
        /// Input field.
        field: &'static str,
        /// Code of the lot.
        code: String,
        /// What is left, in the lot's base unit, such as `12.5 KGM`.
        left: String,
        /// What was asked.
        asked: Quantity,
    },
    /// A lot that failed, or was judged HOLD before there were holds, can't be used.
    #[error("lot '{code}' is {outcome} and can't be used")]
    LotBlocked {
        /// Input field.
        field: &'static str,
        /// Code of the lot.
        code: String,
        /// The decision that blocks it.
        outcome: QcOutcome,
    },
    /// A failed lot takes no further decision.
    #[error("lot '{code}' has failed; a failed lot takes no further decision")]
    LotFailed {
        /// Code of the lot.
        code: String,
    },
    /// No such pipeline.
    #[error("pipeline {0} does not exist")]
    UnknownPipeline(PipelineId),
    /// The name is taken.
    #[error("pipeline name '{name}' is already used by pipeline {by}")]
    DuplicatePipelineName {
        /// The name.
        name: String,
        /// Its owner.
        by: PipelineId,
    },
    /// The pipeline is archived.
    #[error("pipeline '{name}' is archived")]
    PipelineArchived {
        /// Its name.
        name: String,
    },
    /// Publishing what is already published.
    #[error("pipeline '{name}' has no change since version {version}")]
    NothingToPublish {
        /// Its name.
        name: String,
        /// The published version.
        version: u32,
    },
    /// A definition without tasks.
    #[error("a pipeline needs at least one task")]
    EmptyPipeline,
    /// Two tasks have one id.
    #[error("task id '{0}' stands twice")]
    DuplicateTask(String),
    /// An edge names a task that is not there.
    #[error("an edge names task '{0}', which is not in the pipeline")]
    UnknownTask(String),
    /// Tasks that wait for each other.
    #[error("tasks {0} wait for each other in a cycle")]
    TaskCycle(String),
    /// The name is taken.
    #[error("signal '{0}' is already declared")]
    DuplicateSignal(String),
    /// A rule about master data.
    #[error(transparent)]
    Master(#[from] MasterRefusal),
    /// A rule about operations on lots was broken.
    #[error(transparent)]
    Lot(Box<LotRefusal>),
    /// A rule about what comes in and goes out was broken.
    #[error(transparent)]
    Flow(Box<FlowRefusal>),
    /// A rule about access.
    #[error(transparent)]
    Access(#[from] AccessRefusal),
    /// A rule about scenarios.
    #[error(transparent)]
    Scenario(#[from] ScenarioRefusal),
    /// A rule about runs.
    #[error(transparent)]
    Run(#[from] RunRefusal),
    /// A rule about alerts.
    #[error(transparent)]
    Alert(#[from] AlertRefusal),
    /// A rule about holds.
    #[error(transparent)]
    Hold(#[from] HoldRefusal),
    /// Nobody said why.
    #[error("this command needs a reason")]
    MissingReason,
    /// The event would be larger than a record may be.
    #[error("the command makes an event of {size} bytes; the limit is {max}")]
    TooLarge {
        /// Size of the record.
        size: usize,
        /// The limit.
        max: usize,
    },
}

/// [`InvalidId`] as text: the refusal must be comparable and live longer than its input.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct InvalidIdText(String);

impl From<FlowRefusal> for Refusal {
    fn from(refusal: FlowRefusal) -> Self {
        Self::Flow(Box::new(refusal))
    }
}

impl From<LotRefusal> for Refusal {
    fn from(refusal: LotRefusal) -> Self {
        Self::Lot(Box::new(refusal))
    }
}

impl Refusal {
    /// Wraps an id that does not follow its rule.
    pub fn invalid_id(field: &'static str, error: &InvalidId) -> Self {
        Self::InvalidId { field, problem: InvalidIdText(error.to_string()) }
    }

    /// Code of [`Self::InvalidCommandId`].
    pub const INVALID_ID: &'static str = "INVALID_IDEMPOTENCY_KEY";
    /// Code of [`Self::CommandTooOld`].
    pub const ID_TOO_OLD: &'static str = "IDEMPOTENCY_KEY_TOO_OLD";
    /// Code of [`Self::CommandFromFuture`].
    pub const ID_FROM_FUTURE: &'static str = "IDEMPOTENCY_KEY_FROM_FUTURE";
    /// Code of [`Self::CommandIdReused`].
    pub const ID_REUSED: &'static str = "IDEMPOTENCY_KEY_REUSED";
    /// Code of [`Self::VersionConflict`].
    pub const VERSION_CONFLICT: &'static str = "VERSION_CONFLICT";

    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidCommandId => Self::INVALID_ID,
            Self::CommandTooOld { .. } => Self::ID_TOO_OLD,
            Self::CommandFromFuture { .. } => Self::ID_FROM_FUTURE,
            Self::CommandIdReused => Self::ID_REUSED,
            Self::VersionConflict { .. } => Self::VERSION_CONFLICT,
            Self::OccurredAtOutOfRange { .. } => "OCCURRED_AT_OUT_OF_RANGE",
            Self::WrongStream { .. } => "WRONG_STREAM",
            Self::InvalidText { .. } => "INVALID_TEXT",
            Self::TooMany { .. } => "TOO_MANY",
            Self::TooDeep { .. } => "TOO_DEEP",
            Self::DateOutOfRange { .. } => "DATE_OUT_OF_RANGE",
            Self::DuplicateAttribute(_) => "DUPLICATE_ATTRIBUTE",
            Self::InvalidId { .. } => "INVALID_ID",
            Self::InvalidNumber { .. } => "INVALID_NUMBER",
            Self::InvalidQuantity { problem, .. } => match problem {
                InvalidQuantity::NotDecimal(_) => "QUANTITY_NOT_DECIMAL",
                InvalidQuantity::NotPositive(_) => "QUANTITY_NOT_POSITIVE",
                InvalidQuantity::OutOfRange(_) => "QUANTITY_OUT_OF_RANGE",
                InvalidQuantity::UnknownUnit(_) => "UNKNOWN_UNIT",
            },
            Self::UnknownLot { .. } => "UNKNOWN_LOT",
            Self::DuplicateLotCode { .. } => "DUPLICATE_LOT_CODE",
            Self::GenealogyCycle { .. } => "GENEALOGY_CYCLE",
            Self::DuplicateParent { .. } => "DUPLICATE_PARENT",
            Self::UnitMismatch { .. } => "UNIT_MISMATCH",
            Self::NotEnoughLeft { .. } => "NOT_ENOUGH_LEFT",
            Self::LotBlocked { .. } => "LOT_BLOCKED",
            Self::LotFailed { .. } => "LOT_FAILED",
            Self::UnknownPipeline(_) => "UNKNOWN_PIPELINE",
            Self::DuplicatePipelineName { .. } => "DUPLICATE_PIPELINE_NAME",
            Self::PipelineArchived { .. } => "PIPELINE_ARCHIVED",
            Self::NothingToPublish { .. } => "NOTHING_TO_PUBLISH",
            Self::EmptyPipeline => "EMPTY_PIPELINE",
            Self::DuplicateTask(_) => "DUPLICATE_TASK",
            Self::UnknownTask(_) => "UNKNOWN_TASK",
            Self::TaskCycle(_) => "TASK_CYCLE",
            Self::DuplicateSignal(_) => "DUPLICATE_SIGNAL",
            Self::Master(refusal) => refusal.code(),
            Self::Lot(refusal) => refusal.code(),
            Self::Flow(refusal) => refusal.code(),
            Self::Access(refusal) => refusal.code(),
            Self::Scenario(refusal) => refusal.code(),
            Self::Run(refusal) => refusal.code(),
            Self::Alert(refusal) => refusal.code(),
            Self::Hold(refusal) => refusal.code(),
            Self::MissingReason => "REASON_REQUIRED",
            Self::TooLarge { .. } => "TOO_LARGE",
        }
    }

    /// The input field at fault, where one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::InvalidCommandId
            | Self::CommandTooOld { .. }
            | Self::CommandFromFuture { .. }
            | Self::CommandIdReused => Some("idempotencyKey"),
            Self::VersionConflict { .. } => Some("expectedVersion"),
            Self::MissingReason => Some("reason"),
            Self::OccurredAtOutOfRange { .. } => Some("occurredAt"),
            Self::InvalidText { field, .. }
            | Self::TooMany { field, .. }
            | Self::TooDeep { field, .. }
            | Self::DateOutOfRange { field, .. }
            | Self::InvalidId { field, .. }
            | Self::InvalidNumber { field, .. }
            | Self::InvalidQuantity { field, .. }
            | Self::UnknownLot { field, .. }
            | Self::DuplicateLotCode { field, .. }
            | Self::DuplicateParent { field, .. }
            | Self::UnitMismatch { field, .. }
            | Self::NotEnoughLeft { field, .. }
            | Self::LotBlocked { field, .. } => Some(field),
            Self::DuplicateAttribute(_) => Some("attributes"),
            Self::GenealogyCycle { .. } => Some("parents"),
            Self::UnknownPipeline(_) => Some("pipelineId"),
            Self::DuplicatePipelineName { .. } | Self::DuplicateSignal(_) => Some("name"),
            Self::EmptyPipeline | Self::DuplicateTask(_) => Some("tasks"),
            Self::UnknownTask(_) | Self::TaskCycle(_) => Some("edges"),
            Self::Master(refusal) => refusal.field(),
            Self::Lot(refusal) => Some(refusal.field()),
            Self::Flow(refusal) => Some(refusal.field()),
            Self::Access(refusal) => refusal.field(),
            Self::Scenario(refusal) => refusal.field(),
            Self::Run(refusal) => refusal.field(),
            Self::Alert(refusal) => refusal.field(),
            Self::Hold(refusal) => Some(refusal.field()),
            Self::WrongStream { .. }
            | Self::LotFailed { .. }
            | Self::PipelineArchived { .. }
            | Self::NothingToPublish { .. }
            | Self::TooLarge { .. } => None,
        }
    }

    /// The event that records the refusal.
    pub fn recorded(&self, command: &str) -> CommandRefused {
        CommandRefused {
            command: command.to_owned(),
            code: self.code().to_owned(),
            message: self.to_string(),
            field: self.field().map(str::to_owned),
        }
    }
}

/// `lotline.command.refused.v1`: a command broke a rule, and nothing else came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandRefused {
    /// Name of the command, such as `register_lot`.
    pub command: String,
    /// Stable code for programs, such as `LOT_FAILED`.
    pub code: String,
    /// The sentence that the actor was shown.
    pub message: String,
    /// The input field at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// `lotline.refusals.suppressed.v1`: how many refusals of one actor were counted instead of recorded one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusalsSuppressed {
    /// Whose.
    pub actor: ActorId,
    /// How many.
    pub count: u64,
    /// Start of the window.
    pub from: Timestamp,
    /// End of the window.
    pub until: Timestamp,
}

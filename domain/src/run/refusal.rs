//! Rules about runs that a command can break.

use std::fmt;

use rust_decimal::Decimal;
use thiserror::Error;

use super::state::Stage;
use crate::id::{QcDecisionId, RunId};
use crate::qc::QcOutcome;

/// What lacks a PASS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lacking {
    /// The run, with the decision in force.
    Run(Option<QcOutcome>),
    /// A lot, by its code, with the decision in force.
    Lot(String, Option<QcOutcome>),
    /// There is no lot in the phase that could have one.
    AnyLot,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, outcome) = match self {
            Self::Run(outcome) => ("the run".to_owned(), outcome),
            Self::Lot(code, outcome) => (format!("lot '{code}'"), outcome),
            Self::AnyLot => return f.write_str("there is no lot in that phase to have a PASS"),
        };
        match outcome {
            Some(outcome) => write!(f, "{what} has a {outcome}"),
            None => write!(f, "{what} has no decision"),
        }
    }
}

/// A command about a run broke a rule.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum RunRefusal {
    /// No such run.
    #[error("run {0} does not exist")]
    UnknownRun(String),
    /// The code is taken.
    #[error("run code '{code}' is already used by run {by}")]
    DuplicateCode {
        /// The code.
        code: String,
        /// Its owner.
        by: RunId,
    },
    /// Runs start from versions.
    #[error("scenario '{name}' has no published version")]
    NotPublished {
        /// Of the scenario.
        name: String,
    },
    /// There is a newer version.
    #[error("scenario '{name}' is at version {current}, not {asked}")]
    VersionSuperseded {
        /// Of the scenario.
        name: String,
        /// As given.
        asked: u32,
        /// The newest.
        current: u32,
    },
    /// Nothing goes on meanwhile.
    #[error("run '{code}' is on hold")]
    Held {
        /// Of the run.
        code: String,
    },
    /// It goes on already.
    #[error("run '{code}' is not on hold")]
    NotHeld {
        /// Of the run.
        code: String,
    },
    /// What is over does not change.
    #[error("run '{code}' is {stage}")]
    Over {
        /// Of the run.
        code: String,
        /// How it ended.
        stage: Stage,
    },
    /// Somebody else was first.
    #[error("run '{code}' is in phase {current}, not {expected}")]
    PhaseMoved {
        /// Of the run.
        code: String,
        /// From the command.
        expected: u32,
        /// Where it is.
        current: u32,
    },
    /// There is nothing to advance to.
    #[error("run '{code}' is in its last phase {phase}; complete it")]
    LastPhase {
        /// Of the run.
        code: String,
        /// Where it is.
        phase: u32,
    },
    /// There is more to do.
    #[error("run '{code}' is in phase {phase}, and phase {next} is still to come")]
    NotLastPhase {
        /// Of the run.
        code: String,
        /// Where it is.
        phase: u32,
        /// What follows.
        next: u32,
    },
    /// A blocking gate is in the way.
    #[error("run '{code}' can't pass gate '{gate}' after phase {after_phase}: {lacking}")]
    GateNotPassed {
        /// Of the run.
        code: String,
        /// Key of the gate.
        gate: String,
        /// Where it stands.
        after_phase: u32,
        /// Of what there is no PASS.
        lacking: Lacking,
    },
    /// No such gate.
    #[error("run '{code}' has no gate '{gate}'")]
    UnknownGate {
        /// Of the run.
        code: String,
        /// As given, shortened.
        gate: String,
    },
    /// The run has not come that far.
    #[error("gate '{gate}' is after phase {after_phase}, and run '{code}' is in phase {phase}")]
    GateNotDue {
        /// Of the run.
        code: String,
        /// Key of the gate.
        gate: String,
        /// Where it stands.
        after_phase: u32,
        /// Where the run is.
        phase: u32,
    },
    /// Which lot?
    #[error("gate '{gate}' judges lots; say which")]
    GateJudgesLots {
        /// Key of the gate.
        gate: String,
    },
    /// No lot, please.
    #[error("gate '{gate}' judges the run, not a lot")]
    GateJudgesRun {
        /// Key of the gate.
        gate: String,
    },
    /// The lot is nowhere near the gate.
    #[error("lot '{lot}' is not in phase {phase} of run '{code}'")]
    LotNotInPhase {
        /// Code of the lot.
        lot: String,
        /// The phase before the gate.
        phase: u32,
        /// Of the run.
        code: String,
    },
    /// There is a decision, and the command does not name it.
    #[error("gate '{gate}' has the decision {decision} ({outcome}); name it to replace it")]
    DecisionStands {
        /// Key of the gate.
        gate: String,
        /// The decision in force.
        decision: QcDecisionId,
        /// What it says.
        outcome: QcOutcome,
    },
    /// There is no decision yet.
    #[error("gate '{gate}' has no decision to replace")]
    NothingToReplace {
        /// Key of the gate.
        gate: String,
    },
    /// The checklist does not ask that.
    #[error("gate '{gate}' has no checklist item '{item}'")]
    UnknownItem {
        /// Key of the gate.
        gate: String,
        /// As given, shortened.
        item: String,
    },
    /// One answer each.
    #[error("gate '{gate}': item '{item}' is answered twice")]
    DuplicateAnswer {
        /// Key of the gate.
        gate: String,
        /// Key of the item.
        item: String,
    },
    /// An answer of another type.
    #[error("gate '{gate}': the answer to '{item}' must be {expected}")]
    InvalidAnswer {
        /// Key of the gate.
        gate: String,
        /// Key of the item.
        item: String,
        /// In words.
        expected: &'static str,
    },
    /// No PASS without it.
    #[error("gate '{gate}': there is no PASS without an answer to '{item}'")]
    MissingAnswer {
        /// Key of the gate.
        gate: String,
        /// Key of the item.
        item: String,
    },
    /// A value in another unit.
    #[error("gate '{gate}': '{limit}' is measured in {expected}, not {given}")]
    WrongUnit {
        /// Key of the gate.
        gate: String,
        /// Name of the limit.
        limit: String,
        /// Of the limit.
        expected: String,
        /// As given.
        given: String,
    },
    /// No PASS without it.
    #[error("gate '{gate}': there is no PASS without a value of '{limit}'")]
    MissingMeasurement {
        /// Key of the gate.
        gate: String,
        /// Name of the limit.
        limit: String,
    },
    /// No PASS with it.
    #[error("gate '{gate}': there is no PASS with {limit} {value} {unit}; the limit is {bounds}")]
    OutsideLimit {
        /// Key of the gate.
        gate: String,
        /// Name of the limit.
        limit: String,
        /// As measured.
        value: Decimal,
        /// Of both.
        unit: String,
        /// In words, such as `72 to 75.5`.
        bounds: String,
    },
    /// A lot belongs to one run at a time.
    #[error("lot '{lot}' belongs to run '{run}'")]
    LotInRun {
        /// Code of the lot.
        lot: String,
        /// Code of the run.
        run: String,
    },
    /// It is there already.
    #[error("lot '{lot}' is in phase {phase} of run '{run}' already")]
    LotInPhase {
        /// Code of the lot.
        lot: String,
        /// The phase.
        phase: u32,
        /// Code of the run.
        run: String,
    },
    /// It is not there.
    #[error("lot '{lot}' does not belong to run '{run}'")]
    LotNotInRun {
        /// Code of the lot.
        lot: String,
        /// Code of the run.
        run: String,
    },
    /// Enough is enough.
    #[error("run '{run}' has {max} lots, which is the most that a run can have")]
    TooManyLots {
        /// Code of the run.
        run: String,
        /// The limit.
        max: usize,
    },
}

impl RunRefusal {
    /// Code of [`Self::NotPublished`].
    pub const NOT_PUBLISHED: &'static str = "SCENARIO_NOT_PUBLISHED";
    /// Code of [`Self::VersionSuperseded`].
    pub const VERSION_SUPERSEDED: &'static str = "SCENARIO_VERSION_SUPERSEDED";

    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownRun(_) => "UNKNOWN_RUN",
            Self::DuplicateCode { .. } => "DUPLICATE_RUN_CODE",
            Self::NotPublished { .. } => Self::NOT_PUBLISHED,
            Self::VersionSuperseded { .. } => Self::VERSION_SUPERSEDED,
            Self::Held { .. } => "RUN_HELD",
            Self::NotHeld { .. } => "RUN_NOT_HELD",
            Self::Over { .. } => "RUN_OVER",
            Self::PhaseMoved { .. } => "RUN_PHASE_MOVED",
            Self::LastPhase { .. } => "RUN_IN_LAST_PHASE",
            Self::NotLastPhase { .. } => "RUN_NOT_IN_LAST_PHASE",
            Self::GateNotPassed { .. } => "GATE_NOT_PASSED",
            Self::UnknownGate { .. } => "UNKNOWN_GATE",
            Self::GateNotDue { .. } => "GATE_NOT_DUE",
            Self::GateJudgesLots { .. } => "GATE_JUDGES_LOTS",
            Self::GateJudgesRun { .. } => "GATE_JUDGES_RUN",
            Self::LotNotInPhase { .. } => "LOT_NOT_IN_PHASE",
            Self::DecisionStands { .. } => "DECISION_STANDS",
            Self::NothingToReplace { .. } => "NOTHING_TO_REPLACE",
            Self::UnknownItem { .. } => "UNKNOWN_CHECKLIST_ITEM",
            Self::DuplicateAnswer { .. } => "DUPLICATE_ANSWER",
            Self::InvalidAnswer { .. } => "INVALID_ANSWER",
            Self::MissingAnswer { .. } => "MISSING_ANSWER",
            Self::WrongUnit { .. } => "WRONG_UNIT",
            Self::MissingMeasurement { .. } => "MISSING_MEASUREMENT",
            Self::OutsideLimit { .. } => "OUTSIDE_LIMIT",
            Self::LotInRun { .. } => "LOT_IN_RUN",
            Self::LotInPhase { .. } => "LOT_IN_PHASE",
            Self::LotNotInRun { .. } => "LOT_NOT_IN_RUN",
            Self::TooManyLots { .. } => "TOO_MANY_LOTS",
        }
    }

    /// The input field at fault, where one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::UnknownRun(_) => Some("run"),
            Self::DuplicateCode { .. } => Some("code"),
            Self::NotPublished { .. } => Some("scenarioId"),
            Self::VersionSuperseded { .. } => Some("version"),
            Self::PhaseMoved { .. } => Some("fromPhase"),
            Self::UnknownGate { .. } | Self::GateNotDue { .. } => Some("gate"),
            Self::GateJudgesLots { .. }
            | Self::GateJudgesRun { .. }
            | Self::LotNotInPhase { .. }
            | Self::LotInRun { .. }
            | Self::LotInPhase { .. }
            | Self::LotNotInRun { .. }
            | Self::TooManyLots { .. } => Some("lot"),
            Self::DecisionStands { .. } | Self::NothingToReplace { .. } => Some("replaces"),
            Self::UnknownItem { .. }
            | Self::DuplicateAnswer { .. }
            | Self::InvalidAnswer { .. }
            | Self::MissingAnswer { .. } => Some("checklist"),
            Self::WrongUnit { .. } | Self::MissingMeasurement { .. } | Self::OutsideLimit { .. } => {
                Some("measurements")
            }
            Self::Held { .. }
            | Self::NotHeld { .. }
            | Self::Over { .. }
            | Self::LastPhase { .. }
            | Self::NotLastPhase { .. }
            | Self::GateNotPassed { .. } => None,
        }
    }
}

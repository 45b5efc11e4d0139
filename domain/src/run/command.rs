//! What can be asked about runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::command::MeasurementInput;
use crate::id::{QcDecisionId, RunId, ScenarioId};
use crate::lot::LotRef;
use crate::personal::Personal;
use crate::qc::{ChecklistAnswer, QcOutcome};

/// How a command names a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunRef {
    /// By id.
    Id(RunId),
    /// By code, unique in the site.
    Code(String),
}

impl fmt::Display for RunRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Code(code) => write!(f, "'{}'", code.chars().take(64).collect::<String>()),
        }
    }
}

/// Something asked about a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunCommand {
    /// Start a run of the newest version of a scenario.
    StartRun {
        /// The scenario.
        scenario_id: ScenarioId,
        /// The version that was seen; refused when there is a newer one.
        version: Option<u32>,
        /// Unique in the site; generated when absent.
        code: Option<String>,
    },
    /// Enter the next phase.
    AdvancePhase {
        /// The run.
        run: RunRef,
        /// The phase that was seen. Of two who advance from the same one, the second is refused.
        from_phase: u32,
    },
    /// Stop for a while.
    HoldRun {
        /// The run.
        run: RunRef,
    },
    /// Go on.
    ResumeRun {
        /// The run.
        run: RunRef,
    },
    /// Be done, after the last phase.
    CompleteRun {
        /// The run.
        run: RunRef,
    },
    /// Give up.
    AbortRun {
        /// The run.
        run: RunRef,
    },
    /// Have a lot belong to the phase in which the run is.
    LinkLot {
        /// The run.
        run: RunRef,
        /// The lot.
        lot: LotRef,
    },
    /// Have a lot belong to the run no more.
    UnlinkLot {
        /// The run.
        run: RunRef,
        /// The lot.
        lot: LotRef,
    },
    /// Decide a gate.
    DecideGate(DecideGate),
}

/// Decide a gate of a run, for the run or for one of its lots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecideGate {
    /// The run.
    pub run: RunRef,
    /// Key of the gate in the run's definition.
    pub gate: String,
    /// The lot, where the gate judges lots.
    pub lot: Option<LotRef>,
    /// The verdict.
    pub outcome: QcOutcome,
    /// The decision in force, where there is one.
    pub replaces: Option<QcDecisionId>,
    /// What was measured.
    pub measurements: Vec<MeasurementInput>,
    /// What was answered.
    pub checklist: Vec<ChecklistAnswer>,
    /// Free text, already encrypted.
    pub notes: Option<Personal>,
}

impl RunCommand {
    /// Name in snake case, as recorded with a refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StartRun { .. } => "start_run",
            Self::AdvancePhase { .. } => "advance_phase",
            Self::HoldRun { .. } => "hold_run",
            Self::ResumeRun { .. } => "resume_run",
            Self::CompleteRun { .. } => "complete_run",
            Self::AbortRun { .. } => "abort_run",
            Self::LinkLot { .. } => "link_lot",
            Self::UnlinkLot { .. } => "unlink_lot",
            Self::DecideGate(_) => "decide_gate",
        }
    }

    /// The run that it is about; nothing for a new one.
    pub fn run(&self) -> Option<&RunRef> {
        match self {
            Self::StartRun { .. } => None,
            Self::AdvancePhase { run, .. }
            | Self::HoldRun { run }
            | Self::ResumeRun { run }
            | Self::CompleteRun { run }
            | Self::AbortRun { run }
            | Self::LinkLot { run, .. }
            | Self::UnlinkLot { run, .. }
            | Self::DecideGate(DecideGate { run, .. }) => Some(run),
        }
    }

    /// Whether the actor must say why.
    pub fn needs_reason(&self) -> bool {
        matches!(self, Self::HoldRun { .. } | Self::AbortRun { .. } | Self::UnlinkLot { .. })
    }
}

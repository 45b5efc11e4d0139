//! Events about runs, in the stream of their site.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{LotId, QcDecisionId, RunId, ScenarioId};
use crate::personal::Personal;
use crate::qc::{ChecklistAnswer, Measurement, QcOutcome};
use crate::quantity::Quantity;
use crate::scenario::Definition;
use crate::schema;

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEvent {
    /// It began.
    RunStarted(RunStarted),
    /// It entered its next phase.
    RunPhaseAdvanced(RunPhaseAdvanced),
    /// It was stopped for a while.
    RunHeld(RunHeld),
    /// It goes on.
    RunResumed(RunResumed),
    /// It is done.
    RunCompleted(RunCompleted),
    /// It was given up.
    RunAborted(RunAborted),
    /// A lot belongs to it.
    RunLotLinked(RunLotLinked),
    /// A lot belongs to it no more.
    RunLotUnlinked(RunLotUnlinked),
    /// A gate was decided.
    RunGateDecided(RunGateDecided),
}

impl RunEvent {
    /// Which run.
    pub fn run_id(&self) -> RunId {
        match self {
            Self::RunStarted(data) => data.run_id,
            Self::RunPhaseAdvanced(data) => data.run_id,
            Self::RunHeld(data) => data.run_id,
            Self::RunResumed(data) => data.run_id,
            Self::RunCompleted(data) => data.run_id,
            Self::RunAborted(data) => data.run_id,
            Self::RunLotLinked(data) => data.run_id,
            Self::RunLotUnlinked(data) => data.run_id,
            Self::RunGateDecided(data) => data.run_id,
        }
    }
}

/// A lot that belongs to a run from the beginning of a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunLot {
    /// The lot, registered by the same command.
    pub lot_id: LotId,
    /// How much there was of it.
    pub quantity: Quantity,
}

/// `lotline.run.started.v1`: a run began, in phase 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunStarted {
    /// The new run.
    pub run_id: RunId,
    /// Unique in the site.
    pub code: String,
    /// The scenario.
    pub scenario_id: ScenarioId,
    /// Its name then.
    pub scenario_name: String,
    /// Its version, the newest on the tenant's stream at the sequence that this record names.
    #[schemars(range(min = 1))]
    pub scenario_version: u32,
    /// What that version says. The run keeps it, and its stream can be judged without the tenant's.
    pub definition: Definition,
    /// Lots that the first phase registers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lots: Vec<RunLot>,
}

/// `lotline.run.phase_advanced.v1`: a run entered its next phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunPhaseAdvanced {
    /// The run.
    pub run_id: RunId,
    /// The phase that ended.
    pub from_phase: u32,
    /// The phase that began.
    pub to_phase: u32,
    /// Lots that the phase registers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lots: Vec<RunLot>,
}

/// `lotline.run.held.v1`: a run was stopped for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunHeld {
    /// The run.
    pub run_id: RunId,
}

/// `lotline.run.resumed.v1`: a run goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunResumed {
    /// The run.
    pub run_id: RunId,
}

/// `lotline.run.completed.v1`: a run is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunCompleted {
    /// The run.
    pub run_id: RunId,
    /// What it came to, as far as the site's stream knew then.
    pub summary: RunSummary,
}

/// `lotline.run.aborted.v1`: a run was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunAborted {
    /// The run.
    pub run_id: RunId,
    /// Where it was.
    pub phase: u32,
}

/// `lotline.run.lot_linked.v1`: a lot belongs to a phase of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunLotLinked {
    /// The run.
    pub run_id: RunId,
    /// The lot.
    pub lot_id: LotId,
    /// The phase in which the run is.
    pub phase: u32,
    /// How much there was of it; absent when nothing was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
}

/// `lotline.run.lot_unlinked.v1`: a lot belongs to a run no more, in whatever phases it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunLotUnlinked {
    /// The run.
    pub run_id: RunId,
    /// The lot.
    pub lot_id: LotId,
}

/// `lotline.run.gate_decided.v1`: a gate of a run was decided, for the run or for one of its lots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunGateDecided {
    /// The run.
    pub run_id: RunId,
    /// This decision. For a lot, that which `lotline.qc_decision.recorded.v1` records just before, with all that was measured and answered.
    pub decision_id: QcDecisionId,
    /// Key of the gate in the run's definition.
    pub gate: String,
    /// The lot that is judged; absent at a gate that judges the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot_id: Option<LotId>,
    /// The verdict.
    pub outcome: QcOutcome,
    /// The decision that was in force before and is not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<QcDecisionId>,
    /// What was measured of the run, by the names of the gate's limits; others may stand beside them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
    /// What was answered about the run, by the keys of the gate's checklist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<ChecklistAnswer>,
    /// Free text about people and things, encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<Personal>,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// Whole seconds from start to end, by the times of its events in the world.
    pub duration_s: u64,
    /// Whole seconds of them on hold.
    pub held_s: u64,
    /// The phases in the order in which they were entered.
    pub phases: Vec<PhaseSummary>,
    /// Decisions at its gates, those that were replaced too.
    pub decisions: DecisionCounts,
    /// Keys of gates that do not block and were not passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_gates: Vec<String>,
    /// What the last phase gave for each unit that went into the first one with lots; absent unless both are one amount of the same dimension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::decimal")]
    pub yield_ratio: Option<Decimal>,
}

/// What a phase came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseSummary {
    /// Its number.
    pub phase: u32,
    /// Whole seconds in it.
    pub duration_s: u64,
    /// Whole seconds of them on hold.
    pub held_s: u64,
    /// Lots that belong to it.
    pub lots: u32,
    /// What there was of them when they were linked, added up by dimension in its base unit. A sum that is too large for a quantity is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amounts: Vec<Quantity>,
}

/// How often which verdict was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct DecisionCounts {
    /// PASS.
    pub pass: u32,
    /// HOLD.
    pub hold: u32,
    /// FAIL.
    pub fail: u32,
}

//! Runs as the rules need them. Of a run that is over only its names stay.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::command::{RunCommand, RunRef};
use super::event::{DecisionCounts, RunEvent, RunGateDecided, RunLot, RunStarted};
use super::refusal::RunRefusal as Broken;
use crate::daily_code;
use crate::id::{LotId, QcDecisionId, RunId, ScenarioId};
use crate::qc::QcOutcome;
use crate::quantity::Quantity;
use crate::scenario::state::Pinned;
use crate::timestamp::Timestamp;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// On its way.
    Running,
    /// Stopped for a while.
    Held,
    /// Done.
    Completed,
    /// Given up.
    Aborted,
}

/// A decision in force.
pub type InForce = (QcDecisionId, QcOutcome);

/// A run as the rules need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Unique in the site.
    pub code: String,
    /// The scenario from which it started.
    pub scenario: (ScenarioId, u32),
    /// Where it stands.
    pub stage: Stage,
    /// The phase in which it is, or was when it ended.
    pub phase: u32,
    /// Sequence of the last event that touched it.
    pub version: u64,
    /// Nothing when it is over.
    pub(super) open: Option<OpenRun>,
}

/// What is needed of a run until it is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenRun {
    /// What it keeps of its scenario.
    pub(super) definition: Pinned,
    /// Time of its last step in the world. Steps that are said to have happened before it count from it.
    pub(super) at: Timestamp,
    /// When the phase was entered.
    pub(super) since: Timestamp,
    /// Of the phase, without what goes on.
    pub(super) held_micros: i64,
    /// Since when it is on hold.
    pub(super) held_since: Option<Timestamp>,
    /// Phases that have ended.
    pub(super) spent: Vec<Spent>,
    pub(super) lots: BTreeMap<LotId, LinkedLot>,
    /// Decisions on the run, by gate.
    pub(super) gates: BTreeMap<String, InForce>,
    pub(super) counts: DecisionCounts,
}

/// How long a phase took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spent {
    pub(super) phase: u32,
    pub(super) micros: i64,
    pub(super) held_micros: i64,
}

/// A lot of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct LinkedLot {
    /// How much there was of it in each phase to which it belongs.
    pub(super) phases: BTreeMap<u32, Option<Quantity>>,
    /// Decisions on it, by gate.
    pub(super) gates: BTreeMap<String, InForce>,
}

/// All runs of a site.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Runs {
    pub(super) by_id: HashMap<RunId, Run>,
    pub(super) by_code: HashMap<String, RunId>,
    /// The open run of each lot that has one.
    pub(super) of_lot: HashMap<LotId, RunId>,
    /// Runs with a generated code, by its day.
    pub(super) generated: HashMap<String, u32>,
}

impl Stage {
    /// The name used in tables and refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Held => "held",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Runs {
    /// A run by id.
    pub fn get(&self, id: RunId) -> Option<&Run> {
        self.by_id.get(&id)
    }

    /// Finds the run that a command names.
    ///
    /// # Errors
    /// [`Broken::UnknownRun`].
    pub fn find(&self, reference: &RunRef) -> Result<(RunId, &Run), Broken> {
        let unknown = || Broken::UnknownRun(reference.to_string());
        let id = match reference {
            RunRef::Id(id) => *id,
            RunRef::Code(code) => *self.by_code.get(code.trim()).ok_or_else(unknown)?,
        };
        self.by_id.get(&id).map(|run| (id, run)).ok_or_else(unknown)
    }

    /// Sequence of the last event that touched the run that a command is about.
    pub fn version(&self, command: &RunCommand) -> Option<u64> {
        self.find(command.run()?).ok().map(|(_, run)| run.version)
    }

    /// Applies an event that stands at `sequence` in the site's stream.
    pub fn evolve(&mut self, event: &RunEvent, sequence: u64, occurred_at: Timestamp) {
        if let RunEvent::RunStarted(data) = event {
            return self.start(data, sequence, occurred_at);
        }
        let id = event.run_id();
        let Some(run) = self.by_id.get_mut(&id) else { return };
        run.version = sequence;
        let Some(open) = &mut run.open else { return };
        open.at = open.at.max(occurred_at);
        match event {
            RunEvent::RunStarted(_) => {}
            RunEvent::RunPhaseAdvanced(data) => {
                open.end_phase(data.from_phase);
                run.phase = data.to_phase;
                for lot in &data.lots {
                    open.link(lot.lot_id, data.to_phase, Some(lot.quantity));
                    self.of_lot.insert(lot.lot_id, id);
                }
            }
            RunEvent::RunHeld(_) => {
                run.stage = Stage::Held;
                open.held_since = Some(open.at);
            }
            RunEvent::RunResumed(_) => {
                run.stage = Stage::Running;
                open.end_hold();
            }
            RunEvent::RunLotLinked(data) => {
                open.link(data.lot_id, data.phase, data.quantity);
                self.of_lot.insert(data.lot_id, id);
            }
            RunEvent::RunLotUnlinked(data) => {
                open.lots.remove(&data.lot_id);
                self.of_lot.remove(&data.lot_id);
            }
            RunEvent::RunGateDecided(data) => open.decided(data),
            RunEvent::RunCompleted(_) => self.end(id, Stage::Completed),
            RunEvent::RunAborted(_) => self.end(id, Stage::Aborted),
        }
    }

    fn start(&mut self, data: &RunStarted, sequence: u64, at: Timestamp) {
        let mut open = OpenRun {
            definition: Pinned::new(data.definition.clone()),
            at,
            since: at,
            held_micros: 0,
            held_since: None,
            spent: Vec::new(),
            lots: BTreeMap::new(),
            gates: BTreeMap::new(),
            counts: DecisionCounts::default(),
        };
        for RunLot { lot_id, quantity } in &data.lots {
            open.link(*lot_id, 0, Some(*quantity));
            self.of_lot.insert(*lot_id, data.run_id);
        }
        if let Some(day) = daily_code::day('R', &data.code) {
            *self.generated.entry(day.to_owned()).or_default() += 1;
        }
        self.by_code.insert(data.code.clone(), data.run_id);
        let (code, scenario) = (data.code.clone(), (data.scenario_id, data.scenario_version));
        let run = Run { code, scenario, stage: Stage::Running, phase: 0, version: sequence, open: Some(open) };
        self.by_id.insert(data.run_id, run);
    }

    fn end(&mut self, id: RunId, stage: Stage) {
        let Some(run) = self.by_id.get_mut(&id) else { return };
        run.stage = stage;
        let open = run.open.take();
        for lot in open.iter().flat_map(|open| open.lots.keys()) {
            self.of_lot.remove(lot);
        }
    }
}

impl Run {
    /// What is needed of it.
    ///
    /// # Errors
    /// When it is over.
    pub(super) fn open(&self) -> Result<&OpenRun, Broken> {
        self.open.as_ref().ok_or_else(|| Broken::Over { code: self.code.clone(), stage: self.stage })
    }

    /// The same, when it is on its way.
    ///
    /// # Errors
    /// When it is over or on hold.
    pub(super) fn running(&self) -> Result<&OpenRun, Broken> {
        let open = self.open()?;
        if self.stage == Stage::Held { Err(Broken::Held { code: self.code.clone() }) } else { Ok(open) }
    }
}

impl OpenRun {
    /// Lots that belong to a phase.
    pub(super) fn lots_in(&self, phase: u32) -> impl Iterator<Item = (LotId, &LinkedLot)> {
        let here = self.lots.iter().filter(move |(_, lot)| lot.phases.contains_key(&phase));
        here.map(|(id, lot)| (*id, lot))
    }

    /// Phases that have ended and the one that goes on, as if it ended at the last step.
    pub(super) fn spent_until(&self, phase: u32) -> Vec<Spent> {
        let mut ending = self.clone();
        ending.end_phase(phase);
        ending.spent
    }

    /// Phases in which lots are.
    pub(super) fn phases_with_lots(&self) -> BTreeSet<u32> {
        self.lots.values().flat_map(|lot| lot.phases.keys().copied()).collect()
    }

    fn link(&mut self, lot: LotId, phase: u32, quantity: Option<Quantity>) {
        self.lots.entry(lot).or_default().phases.insert(phase, quantity);
    }

    fn end_hold(&mut self) {
        if let Some(since) = self.held_since.take() {
            self.held_micros += self.at.micros() - since.micros();
        }
    }

    fn end_phase(&mut self, phase: u32) {
        self.end_hold();
        let micros = self.at.micros() - self.since.micros();
        self.spent.push(Spent { phase, micros, held_micros: self.held_micros });
        (self.since, self.held_micros) = (self.at, 0);
    }

    fn decided(&mut self, data: &RunGateDecided) {
        let count = match data.outcome {
            QcOutcome::Pass => &mut self.counts.pass,
            QcOutcome::Hold => &mut self.counts.hold,
            QcOutcome::Fail => &mut self.counts.fail,
        };
        *count += 1;
        let gates = match data.lot_id {
            None => Some(&mut self.gates),
            Some(lot) => self.lots.get_mut(&lot).map(|lot| &mut lot.gates),
        };
        if let Some(gates) = gates {
            gates.insert(data.gate.clone(), (data.decision_id, data.outcome));
        }
    }
}

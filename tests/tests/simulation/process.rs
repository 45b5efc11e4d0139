//! Scenarios and runs: what is asked of them, and the model's rules about them.
//!
//! Every scenario has phases 0 and 5; a gated one has a gate for the run after phase 0. One ask leads to one event.

use lotline_domain::command::Command;
use lotline_domain::id::{QcDecisionId, ScenarioId};
use lotline_domain::qc::QcOutcome;
use lotline_domain::run::command::{DecideGate, RunCommand, RunRef};
use lotline_domain::scenario::command::{DefinitionInput, GateInput, PhaseInput, ScenarioCommand};
use lotline_domain::scenario::{Judged, Stream as Lane};
use serde_json::Value;
use uuid::Uuid;

use crate::ask::LotName;

/// What is asked of scenarios and runs. Runs are named by their codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Process {
    Draft { name: String, gated: bool },
    Revise { scenario: Uuid, name: String, gated: bool },
    Publish { scenario: Uuid },
    Retire { scenario: Uuid },
    Start { scenario: Uuid, code: String },
    Advance { run: String, from: u32 },
    Decide { run: String, outcome: &'static str, replaces: Option<Uuid> },
    Hold { run: String },
    Resume { run: String },
    Complete { run: String },
    Abort { run: String },
    Link { run: String, lot: LotName },
}

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    id: Uuid,
    name: String,
    draft: bool,
    /// Number, and whether it is gated.
    published: Option<(u64, bool)>,
    retired: bool,
    version: u64,
}

#[derive(Debug, Clone)]
struct Run {
    id: Uuid,
    code: String,
    gated: bool,
    stage: &'static str,
    phase: u32,
    decided: Option<(Uuid, &'static str)>,
    /// Lots with the phases to which they belong.
    lots: Vec<(Uuid, u32)>,
    version: u64,
}

/// Of the tenant's stream the scenarios, of a site's the runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Processes {
    /// In a site's stream, as the tenant's was when the event was decided.
    pub(crate) scenarios: Vec<Scenario>,
    runs: Vec<Run>,
}

impl Process {
    pub(crate) fn is_tenants(&self) -> bool {
        matches!(self, Self::Draft { .. } | Self::Revise { .. } | Self::Publish { .. } | Self::Retire { .. })
    }

    /// The reason that some commands need.
    pub(crate) fn reason(&self) -> Option<String> {
        matches!(self, Self::Hold { .. } | Self::Abort { .. }).then(|| "by chance".to_owned())
    }

    pub(crate) fn command(&self) -> Command {
        let code = |run: &String| RunRef::Code(run.clone());
        let scenario = |id: &Uuid| ScenarioId(*id);
        let run = match self {
            Self::Draft { name, gated } => {
                let (name, definition) = (name.clone(), definition(*gated));
                return Command::Scenario(ScenarioCommand::DraftScenario { name, definition });
            }
            Self::Revise { scenario: id, name, gated } => {
                let (scenario_id, name, definition) = (scenario(id), name.clone(), definition(*gated));
                return Command::Scenario(ScenarioCommand::ReviseScenario { scenario_id, name, definition });
            }
            Self::Publish { scenario: id } => {
                return Command::Scenario(ScenarioCommand::PublishScenario { scenario_id: scenario(id) });
            }
            Self::Retire { scenario: id } => {
                return Command::Scenario(ScenarioCommand::RetireScenario { scenario_id: scenario(id) });
            }
            Self::Start { scenario: id, code } => {
                RunCommand::StartRun { scenario_id: scenario(id), version: None, code: Some(code.clone()) }
            }
            Self::Advance { run, from } => RunCommand::AdvancePhase { run: code(run), from_phase: *from },
            Self::Decide { run, outcome, replaces } => RunCommand::DecideGate(DecideGate {
                run: code(run),
                gate: "heat".to_owned(),
                lot: None,
                outcome: match *outcome {
                    "PASS" => QcOutcome::Pass,
                    "HOLD" => QcOutcome::Hold,
                    _ => QcOutcome::Fail,
                },
                replaces: replaces.map(QcDecisionId),
                measurements: vec![],
                checklist: vec![],
                notes: None,
            }),
            Self::Hold { run } => RunCommand::HoldRun { run: code(run) },
            Self::Resume { run } => RunCommand::ResumeRun { run: code(run) },
            Self::Complete { run } => RunCommand::CompleteRun { run: code(run) },
            Self::Abort { run } => RunCommand::AbortRun { run: code(run) },
            Self::Link { run, lot } => RunCommand::LinkLot { run: code(run), lot: lot.reference() },
        };
        Command::Run(run)
    }
}

fn definition(gated: bool) -> DefinitionInput {
    let (key, name) = ("milk".to_owned(), "Milk".to_owned());
    let phase = |number| PhaseInput { number, name: "step".to_owned(), stream: "milk".to_owned(), registers: None };
    let gate = GateInput {
        key: "heat".to_owned(),
        after_phase: 0,
        gate_type: "visual".to_owned(),
        judges: Judged::Run,
        ccp: false,
        blocking: true,
        checklist: vec![],
        limits: vec![],
    };
    DefinitionInput {
        streams: vec![Lane { key, name, colour: "#ffffff".to_owned(), sort_order: 0 }],
        phases: vec![phase(0), phase(5)],
        gates: if gated { vec![gate] } else { vec![] },
    }
}

impl Processes {
    /// Nothing when the ask must be accepted, else the code of its refusal. `lot` is the lot that it names.
    pub(crate) fn verdict(&self, what: &Process, lot: Option<Uuid>) -> Option<&'static str> {
        match what {
            Process::Draft { name, .. } => self.may_name(None, name),
            Process::Revise { scenario, name, .. } => {
                self.active(*scenario).err().or_else(|| self.may_name(Some(*scenario), name))
            }
            Process::Publish { scenario } => match self.active(*scenario) {
                Err(code) => Some(code),
                Ok(found) => {
                    let same = found.published.is_some_and(|(_, gated)| gated == found.draft);
                    same.then_some("NOTHING_TO_PUBLISH")
                }
            },
            Process::Retire { scenario } => self.active(*scenario).err(),
            Process::Start { scenario, code } => match self.active(*scenario) {
                Err(code) => Some(code),
                Ok(found) if found.published.is_none() => Some("SCENARIO_NOT_PUBLISHED"),
                Ok(_) => self.run(code).map(|_| "DUPLICATE_RUN_CODE"),
            },
            Process::Advance { run, from } => self.refuse_unless_running(run).or_else(|| {
                let run = self.run(run)?;
                match () {
                    () if run.phase != *from => Some("RUN_PHASE_MOVED"),
                    () if run.phase == 5 => Some("RUN_IN_LAST_PHASE"),
                    () => run.blocked(),
                }
            }),
            Process::Complete { run } => self.refuse_unless_running(run).or_else(|| {
                let run = self.run(run)?;
                if run.phase == 0 { Some("RUN_NOT_IN_LAST_PHASE") } else { run.blocked() }
            }),
            Process::Hold { run } => self.refuse_unless_running(run),
            Process::Resume { run } => match self.refuse_unless_running(run) {
                Some("RUN_HELD") => None,
                Some(code) => Some(code),
                None => Some("RUN_NOT_HELD"),
            },
            Process::Abort { run } => self.refuse_unless_running(run).filter(|code| *code != "RUN_HELD"),
            Process::Decide { run, replaces, .. } => {
                self.refuse_unless_running(run).filter(|code| *code != "RUN_HELD").or_else(|| {
                    let run = self.run(run)?;
                    match (run.gated, run.decided, replaces) {
                        (false, ..) => Some("UNKNOWN_GATE"),
                        (true, Some((id, _)), given) if *given != Some(id) => Some("DECISION_STANDS"),
                        (true, None, Some(_)) => Some("NOTHING_TO_REPLACE"),
                        _ => None,
                    }
                })
            }
            Process::Link { run, .. } => self.refuse_unless_running(run).or_else(|| {
                let run = self.run(run)?;
                let Some(lot) = lot else { return Some("UNKNOWN_LOT") };
                let open = self.runs.iter().filter(|other| other.stage == "running" || other.stage == "held");
                let mut others = open.filter(|other| other.code != run.code);
                if others.any(|other| other.lots.iter().any(|(known, _)| *known == lot)) {
                    return Some("LOT_IN_RUN");
                }
                run.lots.contains(&(lot, run.phase)).then_some("LOT_IN_PHASE")
            }),
        }
    }

    pub(crate) fn version(&self, what: &Process) -> u64 {
        match what {
            Process::Draft { .. } | Process::Start { .. } => 0,
            Process::Revise { scenario, .. } | Process::Publish { scenario } | Process::Retire { scenario } => {
                self.scenarios.iter().find(|known| known.id == *scenario).map_or(0, |known| known.version)
            }
            Process::Advance { run, .. }
            | Process::Decide { run, .. }
            | Process::Hold { run }
            | Process::Resume { run }
            | Process::Complete { run }
            | Process::Abort { run }
            | Process::Link { run, .. } => self.run(run).map_or(0, |run| run.version),
        }
    }

    /// Takes an event of the log, which must be what was asked for. Gives the subject.
    pub(crate) fn apply(
        &mut self,
        what: &Process,
        lot: Option<Uuid>,
        kind: &str,
        data: &Value,
        version: u64,
    ) -> Result<String, String> {
        let id = |name: &str| -> Result<Uuid, String> {
            data[name].as_str().and_then(|text| text.parse().ok()).ok_or_else(|| format!("no {name} in {data}"))
        };
        if kind.starts_with("scenario.") {
            return self.apply_scenario(what, kind, data, id("scenario_id")?, version);
        }
        let run_id = id("run_id")?;
        if let (Process::Start { scenario, code }, "run.started") = (what, kind) {
            let found = self.active(*scenario).map_err(str::to_owned)?;
            let (number, gated) = found.published.ok_or("nothing was published")?;
            let right = data["code"] == code.as_str()
                && data["scenario_version"] == number
                && data["definition"]["gates"].is_array() == gated;
            if !right {
                return Err(format!("{data} stands where version {number}, gated: {gated}, was due"));
            }
            let (code, lots) = (code.clone(), Vec::new());
            self.runs.push(Run { id: run_id, code, gated, stage: "running", phase: 0, decided: None, lots, version });
            return Ok(run_id.to_string());
        }
        let run = self.runs.iter_mut().find(|run| run.id == run_id).ok_or("a run that nobody started")?;
        run.version = version;
        match (what, kind) {
            (Process::Advance { from, .. }, "run.phase_advanced")
                if data["from_phase"] == *from && data["to_phase"] == 5 =>
            {
                run.phase = 5;
            }
            (Process::Decide { outcome, .. }, "run.gate_decided") if data["outcome"] == *outcome => {
                run.decided = Some((id("decision_id")?, outcome));
                return Ok(id("decision_id")?.to_string());
            }
            (Process::Hold { .. }, "run.held") => run.stage = "held",
            (Process::Resume { .. }, "run.resumed") => run.stage = "running",
            (Process::Complete { .. }, "run.completed") => run.stage = "completed",
            (Process::Abort { .. }, "run.aborted") => run.stage = "aborted",
            (Process::Link { .. }, "run.lot_linked") if Some(id("lot_id")?) == lot => {
                run.lots.push((id("lot_id")?, run.phase));
            }
            (what, kind) => return Err(format!("{what:?} led to {kind}: {data}")),
        }
        Ok(run_id.to_string())
    }

    fn apply_scenario(
        &mut self,
        what: &Process,
        kind: &str,
        data: &Value,
        id: Uuid,
        version: u64,
    ) -> Result<String, String> {
        let gates = data["definition"]["gates"].is_array();
        let known = self.scenarios.iter_mut().find(|known| known.id == id);
        match (what, kind, known) {
            (Process::Draft { name, gated }, "scenario.drafted", None)
                if data["name"] == name.as_str() && gates == *gated =>
            {
                let (name, draft) = (name.clone(), *gated);
                self.scenarios.push(Scenario { id, name, draft, published: None, retired: false, version });
            }
            (Process::Revise { name, gated, .. }, "scenario.revised", Some(known)) if gates == *gated => {
                (known.name, known.draft, known.version) = (name.clone(), *gated, version);
            }
            (Process::Publish { .. }, "scenario.published", Some(known)) => {
                let number = known.published.map_or(1, |(number, _)| number + 1);
                if data["version"] != number {
                    return Err(format!("version {} was published, {number} was due", data["version"]));
                }
                (known.published, known.version) = (Some((number, known.draft)), version);
            }
            (Process::Retire { .. }, "scenario.retired", Some(known)) => {
                (known.retired, known.version) = (true, version);
            }
            (what, kind, _) => return Err(format!("{what:?} led to {kind}: {data}")),
        }
        Ok(id.to_string())
    }

    fn active(&self, id: Uuid) -> Result<&Scenario, &'static str> {
        let found = self.scenarios.iter().find(|known| known.id == id).ok_or("UNKNOWN_SCENARIO")?;
        if found.retired { Err("SCENARIO_RETIRED") } else { Ok(found) }
    }

    fn may_name(&self, own: Option<Uuid>, name: &str) -> Option<&'static str> {
        let taken = self.scenarios.iter().any(|known| !known.retired && known.name == name && Some(known.id) != own);
        taken.then_some("DUPLICATE_SCENARIO_NAME")
    }

    /// Whether a HOLD is in force at the gate of a run that is not over.
    pub(crate) fn holds(&self, run: Uuid) -> bool {
        let run = self.runs.iter().find(|known| known.id == run && (known.stage == "running" || known.stage == "held"));
        run.and_then(|run| run.decided).is_some_and(|(_, outcome)| outcome == "HOLD")
    }

    fn run(&self, code: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.code == code)
    }

    fn refuse_unless_running(&self, code: &str) -> Option<&'static str> {
        match self.run(code).map(|run| run.stage) {
            None => Some("UNKNOWN_RUN"),
            Some("running") => None,
            Some("held") => Some("RUN_HELD"),
            Some(_) => Some("RUN_OVER"),
        }
    }
}

impl Run {
    fn blocked(&self) -> Option<&'static str> {
        let passed = !self.gated || self.decided.is_some_and(|(_, outcome)| outcome == "PASS");
        (!passed).then_some("GATE_NOT_PASSED")
    }
}

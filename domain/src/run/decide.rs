//! What is decided about runs.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use uuid::Uuid;

use super::command::{RunCommand, RunRef};
use super::event::{
    RunAborted, RunCompleted, RunEvent, RunHeld, RunLot, RunLotLinked, RunLotUnlinked, RunPhaseAdvanced, RunResumed,
    RunStarted,
};
use super::refusal::RunRefusal as Broken;
use super::state::{Runs, Stage};
use crate::command::{QuantityInput, RegisterLot, text};
use crate::daily_code;
use crate::event::Event;
use crate::id::{LotId, RunId, ScenarioId, beside};
use crate::lot::{LotRef, Lots, base_unit};
use crate::master::MasterData;
use crate::quantity::Quantity;
use crate::refusal::Refusal;
use crate::scenario::Phase;
use crate::scenario::state::Scenarios;
use crate::timestamp::Timestamp;

/// Longest code of a run, so that codes of lots that are made from it fit.
pub const MAX_CODE: usize = 48;
/// Most lots of one run.
pub const MAX_LOTS: usize = 10_000;

/// What a decision about a run depends on beside the runs.
pub struct Around<'a> {
    /// Lots of the site.
    pub lots: &'a Lots,
    /// From what runs start.
    pub scenarios: &'a Scenarios,
    /// What is made and used, and who it comes from and goes to.
    pub master: &'a MasterData,
    /// When it happened in the world.
    pub occurred_at: Timestamp,
    /// When it is decided.
    pub now: Timestamp,
    /// The id of whatever the command creates.
    pub fresh: Uuid,
}

impl Around<'_> {
    /// The day on which it happened in UTC, as far as anybody says.
    pub fn day_in_the_world(&self) -> NaiveDate {
        self.occurred_at.to_utc().date_naive()
    }

    /// The day of the decision in UTC: what expiry is compared with. Not the day on which it happened, for anybody can say when that was.
    pub fn day(&self) -> NaiveDate {
        self.now.to_utc().date_naive()
    }
}

impl Runs {
    /// Decides a command. The last event is the run's.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decide(&self, command: &RunCommand, around: &Around<'_>) -> Result<Vec<Event>, Refusal> {
        let event = match command {
            RunCommand::StartRun { scenario_id, version, code } => {
                return self.start_run(*scenario_id, *version, code.as_deref(), around);
            }
            RunCommand::AdvancePhase { run, from_phase } => return self.advance(run, *from_phase, around),
            RunCommand::HoldRun { run } => {
                let (run_id, run) = self.find(run)?;
                run.running()?;
                RunEvent::RunHeld(RunHeld { run_id })
            }
            RunCommand::ResumeRun { run } => {
                let (run_id, run) = self.find(run)?;
                run.open()?;
                if run.stage != Stage::Held {
                    return Err(Broken::NotHeld { code: run.code.clone() }.into());
                }
                RunEvent::RunResumed(RunResumed { run_id })
            }
            RunCommand::CompleteRun { run } => {
                let (run_id, run) = self.find(run)?;
                let open = run.running()?;
                if let Some(next) = open.definition.phase_after(run.phase) {
                    let (code, phase, next) = (run.code.clone(), run.phase, next.number);
                    return Err(Broken::NotLastPhase { code, phase, next }.into());
                }
                run.past_gates(open, around.lots)?;
                let summary = open.summary(run.phase, around.occurred_at, around.lots);
                RunEvent::RunCompleted(RunCompleted { run_id, summary })
            }
            RunCommand::AbortRun { run } => {
                let (run_id, run) = self.find(run)?;
                run.open()?;
                RunEvent::RunAborted(RunAborted { run_id, phase: run.phase })
            }
            RunCommand::LinkLot { run, lot } => self.link(run, lot, around.lots)?,
            RunCommand::UnlinkLot { run, lot } => self.unlink(run, lot, around.lots)?,
            RunCommand::DecideGate(command) => {
                let (id, run) = self.find(&command.run)?;
                return run.decide_gate(id, command, around);
            }
        };
        Ok(vec![Event::Run(event)])
    }

    fn start_run(
        &self,
        scenario_id: ScenarioId,
        asked: Option<u32>,
        code: Option<&str>,
        around: &Around<'_>,
    ) -> Result<Vec<Event>, Refusal> {
        let scenario = around.scenarios.active(scenario_id)?;
        let name = || scenario.name.clone();
        let (version, definition) = scenario.published.as_ref().ok_or_else(|| Broken::NotPublished { name: name() })?;
        if let Some(asked) = asked.filter(|asked| asked != version) {
            return Err(Broken::VersionSuperseded { name: name(), asked, current: *version }.into());
        }
        let code = match code.filter(|code| !code.trim().is_empty()) {
            Some(code) => text("code", code, MAX_CODE)?,
            None => self.generated_code(around.occurred_at),
        };
        if let Some(by) = self.by_code.get(&code) {
            return Err(Broken::DuplicateCode { code, by: *by }.into());
        }
        let (mut events, lots) = registered(definition.phase(0), &code, around)?;
        events.push(Event::Run(RunEvent::RunStarted(RunStarted {
            run_id: RunId(around.fresh),
            code,
            scenario_id,
            scenario_name: name(),
            scenario_version: *version,
            definition: (**definition).clone(),
            lots,
        })));
        Ok(events)
    }

    /// By the day on which the run starts in the world.
    fn generated_code(&self, starts_at: Timestamp) -> String {
        daily_code::next('R', starts_at, &self.generated, |code| self.by_code.contains_key(code))
    }

    fn advance(&self, run: &RunRef, from_phase: u32, around: &Around<'_>) -> Result<Vec<Event>, Refusal> {
        let (run_id, run) = self.find(run)?;
        let open = run.running()?;
        if run.phase != from_phase {
            let (code, expected, current) = (run.code.clone(), from_phase, run.phase);
            return Err(Broken::PhaseMoved { code, expected, current }.into());
        }
        let Some(next) = open.definition.phase_after(from_phase) else {
            return Err(Broken::LastPhase { code: run.code.clone(), phase: from_phase }.into());
        };
        run.past_gates(open, around.lots)?;
        let (mut events, lots) = registered(Some(next), &run.code, around)?;
        let advanced = RunPhaseAdvanced { run_id, from_phase, to_phase: next.number, lots };
        events.push(Event::Run(RunEvent::RunPhaseAdvanced(advanced)));
        Ok(events)
    }

    fn link(&self, run: &RunRef, lot: &LotRef, lots: &Lots) -> Result<RunEvent, Refusal> {
        let (run_id, run) = self.find(run)?;
        let open = run.running()?;
        let (lot_id, lot) = lots.find("lot", lot)?;
        let code = || lot.code.clone();
        if let Some(other) = self.of_lot.get(&lot_id).filter(|other| **other != run_id) {
            let other = self.by_id.get(other).map_or_else(|| other.to_string(), |run| run.code.clone());
            return Err(Broken::LotInRun { lot: code(), run: other }.into());
        }
        let linked = open.lots.get(&lot_id);
        if linked.is_some_and(|linked| linked.phases.contains_key(&run.phase)) {
            return Err(Broken::LotInPhase { lot: code(), phase: run.phase, run: run.code.clone() }.into());
        }
        if linked.is_none() && open.lots.len() >= MAX_LOTS {
            return Err(Broken::TooManyLots { run: run.code.clone(), max: MAX_LOTS }.into());
        }
        let quantity = Quantity::new(lot.remaining, base_unit(lot.unit.dimension())).ok();
        Ok(RunEvent::RunLotLinked(RunLotLinked { run_id, lot_id, phase: run.phase, quantity }))
    }

    fn unlink(&self, run: &RunRef, lot: &LotRef, lots: &Lots) -> Result<RunEvent, Refusal> {
        let (run_id, run) = self.find(run)?;
        let open = run.open()?;
        let (lot_id, lot) = lots.find("lot", lot)?;
        if !open.lots.contains_key(&lot_id) {
            return Err(Broken::LotNotInRun { lot: lot.code.clone(), run: run.code.clone() }.into());
        }
        Ok(RunEvent::RunLotUnlinked(RunLotUnlinked { run_id, lot_id }))
    }
}

/// The lot that a phase registers when a run enters it.
fn registered(phase: Option<&Phase>, run: &str, around: &Around<'_>) -> Result<(Vec<Event>, Vec<RunLot>), Refusal> {
    let rule = phase.and_then(|phase| Some((phase.number, phase.registers.as_ref()?)));
    let Some((number, rule)) = rule else { return Ok((Vec::new(), Vec::new())) };
    let quantity =
        QuantityInput { value: rule.quantity.value().to_string(), unit: rule.quantity.unit().code().to_owned() };
    let command = RegisterLot {
        code: format!("{run}-{number}"),
        lot_type: rule.lot_type,
        product: rule.product.clone(),
        quantity,
        temperature_c: None,
        supplier_lot: None,
        expires_on: None,
        location: None,
        attributes: BTreeMap::new(),
        parents: Vec::new(),
    };
    let lot_id = LotId(beside(around.fresh, "lot"));
    let event = around.lots.decide_register(lot_id, &command, around.day())?;
    Ok((vec![Event::LotRegistered(event)], vec![RunLot { lot_id, quantity: rule.quantity }]))
}

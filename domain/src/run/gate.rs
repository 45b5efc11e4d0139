//! What stands in the way at gates, and what a decision at one must be.

use std::collections::HashSet;

use chrono::NaiveDate;

use super::command::DecideGate;
use super::decide::Around;
use super::event::{RunEvent, RunGateDecided};
use super::refusal::{Lacking, RunRefusal as Broken};
use super::state::{InForce, OpenRun, Run};
use crate::command::{RecordQcDecision, decimal};
use crate::event::Event;
use crate::id::{LotId, QcDecisionId, RunId};
use crate::lot::{LotRef, Lots};
use crate::qc::{self, ChecklistAnswer, Measurement, QcDecisionRecorded, QcOutcome};
use crate::refusal::Refusal;
use crate::scenario::{AnswerType, Gate, Judged, Limit};

/// Values outside their limits that an alert names.
const SHOWN: usize = 3;

impl Run {
    /// Whether all blocking gates up to the phase in which it is are passed.
    ///
    /// # Errors
    /// The first that is not, by where it stands.
    pub(super) fn past_gates(&self, open: &OpenRun, lots: &Lots) -> Result<(), Broken> {
        let reached = open.definition.gates.iter().filter(|gate| gate.blocking && gate.after_phase <= self.phase);
        let mut reached: Vec<&Gate> = reached.collect();
        reached.sort_by_key(|gate| gate.after_phase);
        for gate in reached {
            if let Some(lacking) = open.lacking(gate, lots) {
                let (code, key) = (self.code.clone(), gate.key.clone());
                return Err(Broken::GateNotPassed { code, gate: key, after_phase: gate.after_phase, lacking });
            }
        }
        Ok(())
    }

    /// Decides a decision at a gate: of a lot what becomes of its holds and its own decision, then that of the gate.
    pub(super) fn decide_gate(
        &self,
        id: RunId,
        command: &DecideGate,
        around: &Around<'_>,
    ) -> Result<Vec<Event>, Refusal> {
        let open = self.open()?;
        let key = command.gate.trim();
        let gate = open.definition.gate(key).ok_or_else(|| {
            let gate = key.chars().take(64).collect();
            Broken::UnknownGate { code: self.code.clone(), gate }
        })?;
        if gate.after_phase > self.phase {
            let (code, gate, after_phase) = (self.code.clone(), gate.key.clone(), gate.after_phase);
            return Err(Broken::GateNotDue { code, gate, after_phase, phase: self.phase }.into());
        }
        let (lot, in_force) = self.judged(open, gate, command.lot.as_ref(), around.lots)?;
        check_replaced(gate, in_force, command.replaces)?;
        let decision_id = QcDecisionId(around.fresh);
        let recorded = record(decision_id, lot, gate, command, around.lots)?;
        check_checklist(gate, command.outcome, &recorded.checklist)?;
        check_measurements(gate, command.outcome, &recorded.measurements)?;
        let mut decided = RunGateDecided {
            run_id: id,
            decision_id,
            gate: gate.key.clone(),
            lot_id: lot,
            outcome: command.outcome,
            replaces: command.replaces,
            measurements: Vec::new(),
            checklist: Vec::new(),
            notes: None,
        };
        if lot.is_some() {
            let mut events = around.lots.decide_judged(around.fresh, recorded);
            events.push(Event::Run(RunEvent::RunGateDecided(decided)));
            return Ok(events);
        }
        decided.measurements = recorded.measurements;
        decided.checklist = recorded.checklist;
        decided.notes = recorded.notes;
        Ok(vec![Event::Run(RunEvent::RunGateDecided(decided))])
    }

    /// What the gate judges, and the decision in force.
    fn judged(
        &self,
        open: &OpenRun,
        gate: &Gate,
        lot: Option<&LotRef>,
        lots: &Lots,
    ) -> Result<(Option<LotId>, Option<InForce>), Refusal> {
        match (gate.judges, lot) {
            (Judged::Run, None) => Ok((None, open.gates.get(&gate.key).copied())),
            (Judged::Run, Some(_)) => Err(Broken::GateJudgesRun { gate: gate.key.clone() }.into()),
            (Judged::Lots, None) => Err(Broken::GateJudgesLots { gate: gate.key.clone() }.into()),
            (Judged::Lots, Some(reference)) => {
                let (id, lot) = lots.find("lot", reference)?;
                let linked = open.lots.get(&id).filter(|linked| linked.phases.contains_key(&gate.after_phase));
                let missing = || {
                    let (lot, code) = (lot.code.clone(), self.code.clone());
                    Broken::LotNotInPhase { lot, phase: gate.after_phase, code }
                };
                let linked = linked.ok_or_else(missing)?;
                Ok((Some(id), linked.gates.get(&gate.key).copied()))
            }
        }
    }
}

impl Run {
    /// The decision in force on the run at a gate.
    pub(crate) fn in_force(&self, gate: &str) -> Option<InForce> {
        self.open.as_ref()?.gates.get(gate).copied()
    }

    /// Whether a gate is a critical control point, and which of the values measured there are outside its limits, in words; nothing when none is.
    pub(crate) fn outside(&self, gate: &str, measured: &[Measurement]) -> Option<(bool, String)> {
        let gate = self.open.as_ref()?.definition.gate(gate)?;
        let wrong = |given: &Measurement| {
            let limit = gate.limits.iter().find(|limit| limit.name == given.name && limit.unit == given.unit)?;
            is_outside(limit, given)
                .then(|| format!("{} {} {} is outside {}", given.name, given.value, given.unit, bounds(limit)))
        };
        let values: Vec<String> = measured.iter().filter_map(wrong).take(SHOWN).collect();
        (!values.is_empty()).then(|| (gate.ccp, values.join(", ")))
    }
}

impl OpenRun {
    /// What has no PASS at a gate; nothing when it is passed.
    pub(super) fn lacking(&self, gate: &Gate, lots: &Lots) -> Option<Lacking> {
        let passed = |in_force: Option<&InForce>| matches!(in_force, Some((_, QcOutcome::Pass)));
        let outcome = |in_force: Option<&InForce>| in_force.map(|(_, outcome)| *outcome);
        match gate.judges {
            Judged::Run => {
                let in_force = self.gates.get(&gate.key);
                (!passed(in_force)).then(|| Lacking::Run(outcome(in_force)))
            }
            Judged::Lots => {
                let mut judged = self.lots_in(gate.after_phase).peekable();
                if judged.peek().is_none() {
                    return Some(Lacking::AnyLot);
                }
                let (id, lot) = judged.find(|(_, lot)| !passed(lot.gates.get(&gate.key)))?;
                let code = lots.get(id).map_or_else(|| id.to_string(), |lot| lot.code.clone());
                Some(Lacking::Lot(code, outcome(lot.gates.get(&gate.key))))
            }
        }
    }
}

/// The decision with what was typed read by the rules of every quality decision. Of a run it becomes no event.
fn record(
    id: QcDecisionId,
    lot: Option<LotId>,
    gate: &Gate,
    command: &DecideGate,
    lots: &Lots,
) -> Result<QcDecisionRecorded, Refusal> {
    let entry = RecordQcDecision {
        lot: LotRef::Id(lot.unwrap_or(LotId(id.0))),
        gate: gate.key.clone(),
        outcome: command.outcome,
        measurements: command.measurements.clone(),
        checklist: command.checklist.clone(),
        notes: command.notes.clone(),
    };
    match lot {
        Some(_) => qc::decide(lots, id, &entry),
        None => qc::read(LotId(id.0), id, &entry),
    }
}

fn check_replaced(gate: &Gate, in_force: Option<InForce>, replaces: Option<QcDecisionId>) -> Result<(), Broken> {
    match (in_force, replaces) {
        (Some((decision, outcome)), given) if given != Some(decision) => {
            Err(Broken::DecisionStands { gate: gate.key.clone(), decision, outcome })
        }
        (None, Some(_)) => Err(Broken::NothingToReplace { gate: gate.key.clone() }),
        _ => Ok(()),
    }
}

fn check_checklist(gate: &Gate, outcome: QcOutcome, answers: &[ChecklistAnswer]) -> Result<(), Broken> {
    let key = || gate.key.clone();
    let mut answered = HashSet::new();
    for given in answers {
        let Some(item) = gate.checklist.iter().find(|item| item.key == given.item) else {
            let item = given.item.chars().take(64).collect();
            return Err(Broken::UnknownItem { gate: key(), item });
        };
        if !answered.insert(item.key.as_str()) {
            return Err(Broken::DuplicateAnswer { gate: key(), item: item.key.clone() });
        }
        let expected = match item.answer {
            AnswerType::YesNo if !matches!(given.answer.as_str(), "yes" | "no") => Some("yes or no"),
            AnswerType::Number if decimal(&given.answer).is_none() => Some("a decimal such as 12.5"),
            AnswerType::Date if !is_day(&given.answer) => Some("a day such as 2026-11-21"),
            AnswerType::YesNo | AnswerType::Number | AnswerType::Text | AnswerType::Date => None,
        };
        if let Some(expected) = expected {
            return Err(Broken::InvalidAnswer { gate: key(), item: item.key.clone(), expected });
        }
    }
    let missing = gate.checklist.iter().find(|item| item.required && !answered.contains(item.key.as_str()));
    match missing {
        Some(item) if outcome == QcOutcome::Pass => Err(Broken::MissingAnswer { gate: key(), item: item.key.clone() }),
        Some(_) | None => Ok(()),
    }
}

fn is_day(given: &str) -> bool {
    given.len() == 10 && NaiveDate::parse_from_str(given, "%Y-%m-%d").is_ok()
}

/// A value that stands several times must be good each time.
fn check_measurements(gate: &Gate, outcome: QcOutcome, measured: &[Measurement]) -> Result<(), Broken> {
    let key = || gate.key.clone();
    for limit in &gate.limits {
        let mut values = measured.iter().filter(|given| given.name == limit.name).peekable();
        if outcome == QcOutcome::Pass && values.peek().is_none() {
            return Err(Broken::MissingMeasurement { gate: key(), limit: limit.name.clone() });
        }
        for given in values {
            let name = limit.name.clone();
            if given.unit != limit.unit {
                let (expected, given) = (limit.unit.clone(), given.unit.clone());
                return Err(Broken::WrongUnit { gate: key(), limit: name, expected, given });
            }
            if is_outside(limit, given) && outcome == QcOutcome::Pass {
                let (value, unit) = (given.value, given.unit.clone());
                return Err(Broken::OutsideLimit { gate: key(), limit: name, value, unit, bounds: bounds(limit) });
            }
        }
    }
    Ok(())
}

fn is_outside(limit: &Limit, given: &Measurement) -> bool {
    limit.low.is_some_and(|low| given.value < low) || limit.high.is_some_and(|high| given.value > high)
}

fn bounds(limit: &Limit) -> String {
    match (limit.low, limit.high) {
        (Some(low), Some(high)) => format!("{low} to {high}"),
        (Some(low), None) => format!("{low} or more"),
        (None, Some(high)) => format!("{high} or less"),
        (None, None) => "none".to_owned(),
    }
}

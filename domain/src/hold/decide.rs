//! What is decided about holds, and what holds decide about lots.

use std::collections::HashSet;

use uuid::Uuid;

use super::MAX_LOTS;
use super::command::HoldCommand;
use super::event::{HoldCause, HoldEvent, HoldLotReleased, HoldPlaced, HoldReleased};
use super::refusal::{HeldBy, HoldRefusal};
use super::state::Hold;
use crate::event::Event;
use crate::id::{HoldId, LotId, beside};
use crate::lot::{Lot, LotRef, Lots};
use crate::qc::{QcDecisionRecorded, QcOutcome};
use crate::refusal::Refusal;

/// Most holds that a refusal names.
const MAX_NAMED: usize = 5;

impl Lots {
    /// Decides what is asked about a hold.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decide_hold(&self, fresh: Uuid, command: &HoldCommand) -> Result<HoldEvent, Refusal> {
        match command {
            HoldCommand::Place { lots } => {
                let lots = self.named(lots)?.into_iter().map(|lot| lot.id).collect();
                Ok(HoldEvent::HoldPlaced(self.placed(HoldId(fresh), HoldCause::Person, lots)))
            }
            HoldCommand::Release { hold } => {
                let hold = open(self.holds().find(hold)?)?;
                Ok(HoldEvent::HoldReleased(HoldReleased { hold_id: hold.id, decision_id: None }))
            }
            HoldCommand::ReleaseLots { hold, lots } => {
                let hold = open(self.holds().find(hold)?)?;
                let lots = self.named(lots)?;
                let is_on = |lot: &&Lot| self.number(lot.id).is_some_and(|lot| self.holds().is_on(lot, hold));
                if let Some(other) = lots.iter().find(|lot| !is_on(lot)) {
                    let (lot, hold) = (other.code.clone(), hold.code.clone());
                    return Err(HoldRefusal::NotHeld { lot, hold }.into());
                }
                let lots = lots.into_iter().map(|lot| lot.id).collect();
                Ok(HoldEvent::HoldLotReleased(HoldLotReleased { hold_id: hold.id, lots }))
            }
        }
    }

    /// The events of a decision on a lot: the end of the hold that the decision before it placed, its own hold where it is no PASS, and, as
    /// the last one, the decision.
    pub(crate) fn decide_judged(&self, fresh: Uuid, recorded: QcDecisionRecorded) -> Vec<Event> {
        let mut events = Vec::with_capacity(3);
        let decision_id = Some(recorded.decision_id);
        if let Some((_, hold)) = self.number(recorded.lot_id).and_then(|lot| self.holds().of_decision(lot)) {
            let released = HoldReleased { hold_id: hold.id, decision_id };
            events.push(Event::Hold(HoldEvent::HoldReleased(released)));
        }
        if recorded.outcome != QcOutcome::Pass {
            let placed = self.placed(HoldId(beside(fresh, "hold")), HoldCause::Decision, vec![recorded.lot_id]);
            events.push(Event::Hold(HoldEvent::HoldPlaced(HoldPlaced { decision_id, ..placed })));
        }
        events.push(Event::QcDecisionRecorded(recorded));
        events
    }

    /// Whether a lot's last decision is a HOLD from which nobody has released it.
    pub(crate) fn hold_of_decision_stands(&self, lot: &Lot) -> bool {
        let is_on = |lot: u32| self.holds().of_decision(lot).is_some_and(|(_, hold)| self.holds().is_on(lot, hold));
        let placed = || self.number(lot.id).is_some_and(is_on);
        lot.qc == Some(QcOutcome::Hold) && (lot.blocked || placed())
    }

    /// Whether a lot is on no hold.
    pub(crate) fn check_not_held(&self, field: &'static str, lot: &Lot) -> Result<(), Refusal> {
        let Some(number) = self.number(lot.id).filter(|number| self.holds().is_held(*number)) else { return Ok(()) };
        let holds = self.holds().on(number);
        let more = holds.len().saturating_sub(MAX_NAMED);
        let named = |hold: &Hold| HeldBy {
            hold: hold.code.clone(),
            root: self.holds().root_of(hold, number, self.graph()).map(|root| self.at(root).code.clone()),
        };
        let holds = holds.take(MAX_NAMED).map(named).collect();
        Err(HoldRefusal::OnHold { field, code: lot.code.clone(), holds, more }.into())
    }

    fn placed(&self, hold_id: HoldId, cause: HoldCause, lots: Vec<LotId>) -> HoldPlaced {
        HoldPlaced { hold_id, code: self.holds().next_code(), cause, decision_id: None, rule: None, lots }
    }

    /// The lots that a command names, each once.
    fn named(&self, lots: &[LotRef]) -> Result<Vec<&Lot>, Refusal> {
        if lots.is_empty() {
            return Err(HoldRefusal::NoLots.into());
        }
        if lots.len() > MAX_LOTS {
            return Err(Refusal::TooMany { field: "lots", given: lots.len(), max: MAX_LOTS });
        }
        let mut seen = HashSet::with_capacity(lots.len());
        let mut named = Vec::with_capacity(lots.len());
        for reference in lots {
            let (id, lot) = self.find("lots", reference)?;
            if !seen.insert(id) {
                return Err(Refusal::DuplicateParent { field: "lots", code: lot.code.clone() });
            }
            named.push(lot);
        }
        Ok(named)
    }
}

fn open(hold: &Hold) -> Result<&Hold, HoldRefusal> {
    if hold.open { Ok(hold) } else { Err(HoldRefusal::Released { code: hold.code.clone() }) }
}

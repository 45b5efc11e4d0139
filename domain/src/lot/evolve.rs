//! What events make of lots, of the graph between them and of what keeps them from being used.

use super::event::{LotEffect, LotEvent, NewLot};
use super::{Lot, LotRegistered, Lots};
use crate::hold::event::HoldEvent;
use crate::id::{LotId, QcDecisionId};
use crate::qc::QcOutcome;

impl Lots {
    /// Applies a registration.
    pub fn evolve_registered(&mut self, event: &LotRegistered, sequence: u64) {
        for input in &event.parents {
            let taken = input.quantity.in_base();
            let effect = LotEffect { lot_id: input.lot_id, taken, location: None, expired: false };
            self.touch(&effect, sequence);
        }
        self.insert(&NewLot::from(event), sequence);
    }

    /// Applies what happened to lots.
    pub fn evolve(&mut self, event: &LotEvent, sequence: u64) {
        for effect in event.effects() {
            self.touch(&effect, sequence);
        }
        for lot in event.lots() {
            self.insert(&lot, sequence);
        }
    }

    fn touch(&mut self, effect: &LotEffect<'_>, sequence: u64) {
        if let Some(lot) = self.get_mut(effect.lot_id) {
            lot.remaining -= effect.taken;
            lot.expired |= effect.expired;
            lot.version = sequence;
        }
    }

    fn get_mut(&mut self, id: LotId) -> Option<&mut Lot> {
        let number = self.number(id)?;
        self.all.get_mut(number as usize)
    }

    fn insert(&mut self, lot: &NewLot<'_>, sequence: u64) {
        let next = self.products.len() as u32;
        let product = self.by_product.get(lot.product).copied().unwrap_or(next);
        if product == next {
            self.products.push(lot.product.to_owned());
            self.by_product.insert(lot.product.to_owned(), next);
        }
        let number = self.all.len() as u32;
        self.all.push(Lot {
            id: lot.lot_id,
            code: lot.code.to_owned(),
            unit: lot.quantity.unit(),
            remaining: lot.quantity.in_base(),
            lot_type: lot.lot_type,
            product,
            expires_on: lot.expires_on,
            expired: false,
            qc: None,
            blocked: false,
            version: sequence,
        });
        self.index.insert(&self.all, number);
        self.graph.add_lot();
        let parents: Vec<u32> = lot.parents.iter().filter_map(|input| self.number(input.lot_id)).collect();
        for parent in &parents {
            self.graph.add_edge(*parent, number);
        }
        self.holds.inherit(number, parents.into_iter());
    }

    /// Applies a decision on a lot.
    pub fn evolve_decided(&mut self, id: LotId, decision: QcDecisionId, outcome: QcOutcome, sequence: u64) {
        let Some(number) = self.number(id) else { return };
        let placed = self.holds.of_decision(number).is_some_and(|(placed_by, _)| placed_by == decision);
        let lot = &mut self.all[number as usize];
        (lot.qc, lot.version) = (Some(outcome), sequence);
        lot.blocked = match outcome {
            QcOutcome::Pass => false,
            QcOutcome::Hold => !placed,
            QcOutcome::Fail => true,
        };
    }

    /// Applies what happened to a hold.
    pub fn evolve_hold(&mut self, event: &HoldEvent, sequence: u64) {
        let numbers = |lots: &[LotId]| lots.iter().filter_map(|id| self.number(*id)).collect::<Vec<u32>>();
        match event {
            HoldEvent::HoldPlaced(data) => {
                let roots = numbers(&data.lots);
                self.holds.place(data, roots, sequence, &self.graph);
            }
            HoldEvent::HoldReleased(data) => self.holds.release(data.hold_id, sequence, &self.graph),
            HoldEvent::HoldLotReleased(data) => {
                let lots = numbers(&data.lots);
                self.holds.release_lots(data.hold_id, &lots, sequence, &self.graph);
            }
        }
    }
}

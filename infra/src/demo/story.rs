//! A dairy's day as its people would type it: milk intake → pasteuriser → mixing → fermentation → packing.
//!
//! Pure planning: a seed gives the same steps again, nothing here talks to a server. Quantities always fit what is left, because the
//! story keeps its own shelf; the mistakes are deliberate and say with which code they must be refused. Lot codes and pipeline names
//! carry the label of the run, so that a second run on the same data begins new ones.

mod floor;
mod mistakes;
mod office;
mod shelf;
pub mod step;

use std::collections::{BTreeMap, VecDeque};

use chrono::NaiveDate;
use lotline_domain::command::RegisterLot;
use lotline_domain::lot::LotType;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use self::office::Office;
use self::shelf::{Kind, Shelf, quantity};
use self::step::{Action, Expected, Step};

/// An endless plan.
#[derive(Debug)]
pub struct Story {
    random: SmallRng,
    /// Tells this run's codes and names from another's.
    run: String,
    today: NaiveDate,
    batch: u64,
    lots: u64,
    shelf: Shelf,
    office: Office,
    steps: VecDeque<Step>,
}

impl Story {
    /// A story by its seed. `run` is at most 16 characters; use another one for every run on the same data.
    pub fn new(seed: u64, run: impl Into<String>, today: NaiveDate) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
            run: run.into(),
            today,
            batch: 0,
            lots: 0,
            shelf: Shelf::default(),
            office: Office::default(),
            steps: VecDeque::new(),
        }
    }

    /// The steps of the first `batches` production batches.
    pub fn batches(self, batches: u64) -> impl Iterator<Item = Step> {
        self.take_while(move |step| step.batch < batches)
    }

    fn plan_batch(&mut self) {
        for (action, expected) in self.office.plan(self.batch, &self.run, &mut self.random) {
            self.push("office-1", None, action, expected);
        }
        self.intake();
        self.supplies();
        self.pasteurise();
        self.make_yoghurt();
        self.batch += 1;
    }

    fn push(&mut self, actor: &'static str, reason: Option<&str>, action: Action, expected: Expected) {
        let reason = reason.map(str::to_owned);
        self.steps.push_back(Step { batch: self.batch, actor, reason, action, expected });
    }

    /// A code that no lot of this run has.
    fn next_code(&mut self, prefix: &str) -> String {
        self.lots += 1;
        format!("{prefix}-{}-{:05}", self.run, self.lots)
    }

    /// Registers a lot, now and then after getting it wrong first.
    fn register(&mut self, actor: &'static str, lot: RegisterLot) {
        if self.chance(0.04) {
            self.mistake(actor, &lot);
        }
        self.push(actor, None, Action::RegisterLot(lot), Expected::Accepted);
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }
}

impl Iterator for Story {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        while self.steps.is_empty() {
            self.plan_batch();
        }
        self.steps.pop_front()
    }
}

/// A lot with nothing but the necessary.
fn lot(code: String, lot_type: LotType, product: &str, amount: u64, unit: &str) -> RegisterLot {
    RegisterLot {
        code,
        lot_type,
        product: product.into(),
        quantity: quantity(amount, unit),
        temperature_c: None,
        supplier_lot: None,
        expires_on: None,
        location: None,
        attributes: BTreeMap::new(),
        parents: Vec::new(),
    }
}

#[cfg(test)]
mod tests;

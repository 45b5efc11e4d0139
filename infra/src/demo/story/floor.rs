//! The plant floor: each stage registers what it made from what, and the laboratory judges it at a gate.

use chrono::Days;
use lotline_domain::command::{MeasurementInput, RecordQcDecision};
use lotline_domain::lot::{LotRef, LotType};
use lotline_domain::qc::{ChecklistAnswer, QcOutcome};
use rand::Rng;

use super::shelf::parent;
use super::step::{Action, Expected};
use super::{Kind, Story, lot};

const SUPPLIERS: [&str; 4] = ["Hillside Farm", "Weber Dairy Farm", "North Valley Co-op", "Lakeview Farm"];

/// What a gate measures: name, UCUM code, and the range of values that pass.
#[derive(Debug, Clone, Copy)]
struct Gate {
    name: &'static str,
    measures: &'static [(&'static str, &'static str, f64, f64)],
    question: &'static str,
}

const INTAKE: Gate = Gate {
    name: "intake",
    measures: &[("Temperature", "Cel", 2.5, 5.8), ("Fat", "%", 3.6, 4.4), ("pH", "[pH]", 6.6, 6.8)],
    question: "Antibiotics test negative?",
};
const PASTEURISATION: Gate = Gate {
    name: "pasteurisation",
    measures: &[("Holding temperature", "Cel", 72.1, 73.6), ("Holding time", "s", 15.2, 17.0)],
    question: "Divert valve tested before the run?",
};
const FERMENTATION: Gate = Gate {
    name: "fermentation",
    measures: &[("pH", "[pH]", 4.4, 4.6), ("Temperature", "Cel", 41.0, 43.5)],
    question: "Taste and texture as agreed?",
};
const RELEASE: Gate = Gate {
    name: "release",
    measures: &[("Net weight", "g", 149.0, 153.0), ("Temperature", "Cel", 3.0, 6.0)],
    question: "Label and date legible?",
};

impl Story {
    /// Tankers come until there is milk for a batch.
    pub(super) fn intake(&mut self) {
        while self.shelf.left(Kind::RawMilk) < 11_000 {
            let amount = self.random.random_range(7_000..12_000);
            let code = self.next_code("MILK");
            let supplier = SUPPLIERS[self.random.random_range(0..SUPPLIERS.len())];
            let mut milk = lot(code.clone(), LotType::Raw, "Raw milk", amount, "LTR");
            milk.temperature_c = Some(format!("{:.1}", self.random.random_range(3.0..5.5)));
            milk.supplier_lot = Some(format!("T{}", self.random.random_range(1_000..10_000)));
            milk.location = Some(format!("Silo {}", self.random.random_range(1..4)));
            milk.attributes.insert("supplier".into(), supplier.into());
            self.register("op-intake-1", milk);
            if self.judge(&code, INTAKE) {
                self.shelf.put(code, Kind::RawMilk, amount);
            }
        }
    }

    /// What else goes into yoghurt and around it is ordered in time.
    pub(super) fn supplies(&mut self) {
        let orders = [
            (Kind::Culture, 1_000, 4_000, "CULT", LotType::Ingredient, "Yoghurt culture YC-X11"),
            (Kind::Fruit, 1_500, 3_000, "FRUIT", LotType::Ingredient, "Strawberry preparation"),
            (Kind::Cups, 80_000, 250_000, "CUP", LotType::Packaging, "Cup 150 g with lid"),
        ];
        for (kind, at_least, amount, prefix, lot_type, product) in orders {
            if self.shelf.left(kind) < at_least {
                let code = self.next_code(prefix);
                let mut supply = lot(code.clone(), lot_type, product, amount, kind.unit());
                supply.supplier_lot = Some(format!("S{}", self.random.random_range(10_000..100_000)));
                self.register("op-store-1", supply);
                self.shelf.put(code, kind, amount);
            }
        }
    }

    pub(super) fn pasteurise(&mut self) {
        let amount = self.random.random_range(8_000..=11_000);
        let code = self.next_code("PAST");
        let yield_l = amount * 98 / 100;
        let mut milk = lot(code.clone(), LotType::Intermediate, "Pasteurised milk", yield_l, "LTR");
        milk.temperature_c = Some(format!("{:.1}", self.random.random_range(3.8..4.6)));
        milk.location = Some("Tank P1".into());
        milk.parents = self.shelf.take(Kind::RawMilk, amount);
        self.register("op-pasteuriser-1", milk);
        if self.judge(&code, PASTEURISATION) {
            self.shelf.put(code, Kind::PasteurisedMilk, yield_l);
        }
    }

    /// Mixing, fermentation and packing; nothing when the milk did not pass.
    pub(super) fn make_yoghurt(&mut self) {
        let litres = self.shelf.left(Kind::PasteurisedMilk);
        if litres == 0 {
            return;
        }
        let mix = self.next_code("MIX");
        let mut mixed = lot(mix.clone(), LotType::Intermediate, "Yoghurt mix", litres, "LTR");
        mixed.parents = self.shelf.take(Kind::PasteurisedMilk, litres);
        mixed.parents.extend(self.shelf.take(Kind::Culture, litres / 50));
        mixed.parents.extend(self.shelf.take(Kind::Fruit, litres / 10));
        self.register("op-mixing-1", mixed);

        let yoghurt = self.next_code("YOG");
        let mut fermented = lot(yoghurt.clone(), LotType::Intermediate, "Strawberry yoghurt, bulk", litres, "LTR");
        fermented.location = Some(format!("Fermenter {}", self.random.random_range(1..5)));
        fermented.parents = vec![parent(&mix, litres, Kind::PasteurisedMilk)];
        self.register("op-fermentation-1", fermented);
        if self.judge(&yoghurt, FERMENTATION) {
            self.pack(&yoghurt, litres);
        }
    }

    fn pack(&mut self, yoghurt: &str, litres: u64) {
        // Two hundredths stay in pipes and machines.
        let packed = litres * 98 / 100;
        let cups = packed * 1_000 / 150;
        let code = self.next_code("SY150");
        let mut finished = lot(code.clone(), LotType::Finished, "Strawberry yoghurt 150 g", cups, "C62");
        finished.expires_on = self.today.checked_add_days(Days::new(28));
        finished.location = Some("Cold store".into());
        finished.parents = vec![parent(yoghurt, packed, Kind::PasteurisedMilk)];
        finished.parents.extend(self.shelf.take(Kind::Cups, cups));
        self.register("op-packing-1", finished);
        let waste = self.next_code("WASTE");
        let mut rest = lot(waste, LotType::Waste, "Yoghurt residue", litres - packed, "KGM");
        rest.parents = vec![parent(yoghurt, litres - packed, Kind::PasteurisedMilk)];
        self.register("op-packing-1", rest);
        self.judge(&code, RELEASE);
    }

    /// Mostly PASS, some HOLD and then PASS, few FAIL. Gives whether the lot may be used.
    fn judge(&mut self, code: &str, gate: Gate) -> bool {
        let draw: f64 = self.random.random();
        if draw < 0.04 {
            self.decide(code, gate, QcOutcome::Fail, Some("outside the limits, measured twice"));
            if self.chance(0.3) {
                let again = self.decision(code, gate, QcOutcome::Pass);
                self.push("qc-lab-2", None, Action::RecordQcDecision(again), Expected::Refused("LOT_FAILED"));
            }
            return false;
        }
        if draw < 0.14 {
            self.decide(code, gate, QcOutcome::Hold, Some("one value at the limit, sample sent to the laboratory"));
            if self.chance(0.5) {
                self.use_of_held(code);
            }
            self.decide(code, gate, QcOutcome::Pass, Some("laboratory result conforms"));
        } else {
            self.decide(code, gate, QcOutcome::Pass, None);
        }
        true
    }

    fn decide(&mut self, code: &str, gate: Gate, outcome: QcOutcome, reason: Option<&str>) {
        let decision = self.decision(code, gate, outcome);
        self.push("qc-lab-1", reason, Action::RecordQcDecision(decision), Expected::Accepted);
    }

    fn decision(&mut self, code: &str, gate: Gate, outcome: QcOutcome) -> RecordQcDecision {
        let mut measurements = Vec::with_capacity(gate.measures.len());
        for (place, (name, unit, low, high)) in gate.measures.iter().enumerate() {
            let conforming = self.random.random_range(*low..*high);
            // The first value is the one that is not as it should be.
            let value = if place == 0 && outcome != QcOutcome::Pass { low - (high - low) * 0.2 } else { conforming };
            let (name, unit) = ((*name).to_owned(), (*unit).to_owned());
            measurements.push(MeasurementInput { name, value: format!("{value:.2}"), unit });
        }
        let answer = if outcome == QcOutcome::Fail { "no" } else { "yes" };
        RecordQcDecision {
            lot: LotRef::Code(code.to_owned()),
            gate: gate.name.into(),
            outcome,
            measurements,
            checklist: vec![ChecklistAnswer { item: gate.question.into(), answer: answer.into() }],
            notes: None,
        }
    }
}

//! Over random histories, holds reach exactly what a plain model says: lots as lists of parents, holds as roots and names that were let go.
//!
//! The model walks upwards from every lot, by recursion and without remembering anything, where the rules walk downwards and remember all.

use proptest::prelude::*;

use super::*;
use crate::given::now;

#[derive(Debug, Clone)]
enum Step {
    Register,
    Mix { inputs: Vec<usize>, outputs: usize },
    Split { lot: usize },
    Place { lots: Vec<usize> },
    Release { hold: usize },
    ReleaseLots { hold: usize, lots: Vec<usize> },
    Judge { lot: usize, outcome: QcOutcome },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lots = |most| proptest::collection::vec(0..1_000_usize, 1..most);
    let outcome = prop_oneof![
        3 => Just(QcOutcome::Pass),
        3 => Just(QcOutcome::Hold),
        1 => Just(QcOutcome::Fail),
    ];
    let step = prop_oneof![
        3 => Just(Step::Register),
        8 => (lots(4), 1..3_usize).prop_map(|(inputs, outputs)| Step::Mix { inputs, outputs }),
        4 => (0..1_000_usize).prop_map(|lot| Step::Split { lot }),
        3 => lots(4).prop_map(|lots| Step::Place { lots }),
        1 => (0..1_000_usize).prop_map(|hold| Step::Release { hold }),
        3 => (0..1_000_usize, lots(3)).prop_map(|(hold, lots)| Step::ReleaseLots { hold, lots }),
        2 => (0..1_000_usize, outcome).prop_map(|(lot, outcome)| Step::Judge { lot, outcome }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What a stranger makes of the same asks.
#[derive(Default)]
struct Model {
    /// Parents of each lot, and what is left of it in kilograms.
    lots: Vec<(Vec<usize>, u32)>,
    failed: Vec<usize>,
    holds: Vec<Held>,
}

#[derive(Default)]
struct Held {
    roots: Vec<usize>,
    let_go: Vec<usize>,
    over: bool,
    by_decision_on: Option<usize>,
}

impl Model {
    fn on(&self, hold: &Held, lot: usize) -> bool {
        let from_above = || self.lots[lot].0.iter().any(|parent| self.on(hold, *parent));
        !hold.over && !hold.let_go.contains(&lot) && (hold.roots.contains(&lot) || from_above())
    }

    fn held(&self, lot: usize) -> bool {
        self.holds.iter().any(|hold| self.on(hold, lot))
    }

    /// Whether the step may be, and what comes of it.
    fn take(&mut self, step: &Step) -> bool {
        match step {
            Step::Register => self.lots.push((vec![], 100)),
            Step::Mix { inputs, outputs } => {
                let bad = |lot: &usize| self.held(*lot) || self.failed.contains(lot) || self.lots[*lot].1 == 0;
                if inputs.iter().any(bad) {
                    return false;
                }
                for lot in inputs {
                    self.lots[*lot].1 -= 1;
                }
                (0..*outputs).for_each(|_| self.lots.push((inputs.clone(), 100)));
            }
            Step::Split { lot } => {
                if self.failed.contains(lot) || self.lots[*lot].1 < 2 {
                    return false;
                }
                self.lots[*lot].1 -= 2;
                (0..2).for_each(|_| self.lots.push((vec![*lot], 1)));
            }
            Step::Place { lots } => self.holds.push(Held { roots: lots.clone(), ..Held::default() }),
            Step::Release { hold } => {
                if self.holds[*hold].over {
                    return false;
                }
                self.holds[*hold].over = true;
            }
            Step::ReleaseLots { hold, lots } => {
                let held = &self.holds[*hold];
                if !lots.iter().all(|lot| self.on(held, *lot)) {
                    return false;
                }
                self.holds[*hold].let_go.extend(lots);
            }
            Step::Judge { lot, outcome } => {
                if self.failed.contains(lot) {
                    return false;
                }
                let own = |hold: &&mut Held| hold.by_decision_on == Some(*lot);
                self.holds.iter_mut().filter(own).for_each(|hold| hold.over = true);
                if *outcome != QcOutcome::Pass {
                    self.holds.push(Held { roots: vec![*lot], by_decision_on: Some(*lot), ..Held::default() });
                }
                if *outcome == QcOutcome::Fail {
                    self.failed.push(*lot);
                }
            }
        }
        true
    }

    /// The step with places among what is there; nothing when nothing is.
    fn fit(&self, step: &Step) -> Option<Step> {
        let (lots, holds) = (self.lots.len(), self.holds.len());
        let one = |lot: &usize| (lots > 0).then(|| lot % lots.max(1));
        let some = |list: &[usize]| {
            let mut list: Vec<usize> = list.iter().filter_map(one).collect();
            list.sort_unstable();
            list.dedup();
            (!list.is_empty()).then_some(list)
        };
        let a_hold = |hold: &usize| (holds > 0).then(|| hold % holds.max(1));
        Some(match step {
            Step::Register => Step::Register,
            Step::Mix { inputs, outputs } => Step::Mix { inputs: some(inputs)?, outputs: *outputs },
            Step::Split { lot } => Step::Split { lot: one(lot)? },
            Step::Place { lots } => Step::Place { lots: some(lots)? },
            Step::Release { hold } => Step::Release { hold: a_hold(hold)? },
            Step::ReleaseLots { hold, lots } => Step::ReleaseLots { hold: a_hold(hold)?, lots: some(lots)? },
            Step::Judge { lot, outcome } => Step::Judge { lot: one(lot)?, outcome: *outcome },
        })
    }
}

fn command(step: &Step, next: usize) -> Command {
    let name = |lot: usize| format!("L{lot}");
    let refs = |lots: &[usize]| lots.iter().map(|lot| code(&name(*lot))).collect();
    let transform = |kind, inputs: &[usize], outputs: usize| {
        let split = kind == TransformationKind::Split;
        let input = |lot: &usize| TransformInput {
            lot: code(&name(*lot)),
            quantity: (!split).then(|| quantity("1", "KGM")),
            exception: None,
        };
        let made = (next..next + outputs).map(|lot| output(&name(lot), if split { "1" } else { "100" }));
        let gain = (outputs * 100 - inputs.len()).to_string();
        Command::Lot(LotCommand::Transform(TransformLots {
            kind,
            inputs: inputs.iter().map(input).collect(),
            outputs: made.collect(),
            loss: None,
            gain: (!split).then(|| quantity(&gain, "KGM")),
            step: None,
            location: None,
            documents: Vec::new(),
        }))
    };
    let hold = |hold: usize| super::hold(&format!("H-{}", hold + 1));
    match step {
        Step::Register => Command::RegisterLot(register(&name(next), "100", "KGM")),
        Step::Mix { inputs, outputs } => transform(TransformationKind::Transform, inputs, *outputs),
        Step::Split { lot } => transform(TransformationKind::Split, &[*lot], 2),
        Step::Place { lots } => Command::Hold(HoldCommand::Place { lots: refs(lots) }),
        Step::Release { hold: number } => Command::Hold(HoldCommand::Release { hold: hold(*number) }),
        Step::ReleaseLots { hold: number, lots } => {
            Command::Hold(HoldCommand::ReleaseLots { hold: hold(*number), lots: refs(lots) })
        }
        Step::Judge { lot, outcome } => Command::RecordQcDecision(judge(&name(*lot), *outcome)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_hold_is_on_what_a_plain_model_says(steps in steps()) {
        let mut live = site(&[]);
        let mut replayed = site(&[]);
        let mut model = Model::default();
        for step in &steps {
            let Some(step) = model.fit(step) else { continue };
            let request = asked(&live, command(&step, model.lots.len()));
            let decided = live.state.decide(&request, now());
            let fine = model.take(&step);
            prop_assert_eq!(decided.is_ok(), fine, "{:?}: {:?}", step, decided);
            for event in decided.into_iter().flat_map(|decision| decision.events) {
                live.happened(&event);
                let fact = Event::decode(event.event_type(), &event.encode(now(), None)).unwrap();
                replayed.happened(&fact.event);
            }
        }
        prop_assert_eq!(&live.state, &replayed.state);
        let lots = &live.state.lots;
        prop_assert_eq!(lots.len(), model.lots.len());
        for number in 0..model.lots.len() {
            let names: Vec<String> = lots.holds().on(number as u32).map(|hold| hold.code.clone()).collect();
            let holds = model.holds.iter().enumerate().filter(|(_, hold)| model.on(hold, number));
            let due: Vec<String> = holds.map(|(place, _)| format!("H-{}", place + 1)).collect();
            prop_assert_eq!(names, due, "L{}", number);
        }
    }
}

//! Random histories: no order of commands leads past a gate, out of the order of phases, or to another state than its replay.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::given::{lot, now};
use crate::run::event::RunEvent as E;

/// What a history adds up to, reckoned from its events alone.
#[derive(Default)]
struct Books {
    /// Phase, and whether it is over, by run.
    runs: BTreeMap<RunId, (u32, bool)>,
    /// Verdict of the last decision, by run, gate and lot.
    decided: BTreeMap<(RunId, String, Option<crate::id::LotId>), QcOutcome>,
    lots: BTreeMap<crate::id::LotId, (RunId, Vec<u32>)>,
}

impl Books {
    fn enter(&mut self, event: &Event) {
        let Event::Run(event) = event else { return };
        let id = event.run_id();
        if let E::RunStarted(_) = event {
            assert!(self.runs.insert(id, (0, false)).is_none(), "a run starts once");
            return;
        }
        let (phase, over) = self.runs[&id];
        assert!(!over, "what is over does not change");
        match event {
            E::RunPhaseAdvanced(data) => {
                assert_eq!((data.from_phase, data.to_phase), (phase, phase + 10), "phases follow each other");
                self.assert_passed(id, phase);
                self.runs.insert(id, (data.to_phase, false));
            }
            E::RunCompleted(_) => {
                assert_eq!(phase, 20);
                self.assert_passed(id, phase);
                self.end(id, phase);
            }
            E::RunAborted(_) => self.end(id, phase),
            E::RunLotLinked(data) => {
                let known = self.lots.entry(data.lot_id).or_insert((id, vec![]));
                assert_eq!(known.0, id, "a lot belongs to one open run");
                assert!(!known.1.contains(&data.phase), "a lot enters a phase once");
                known.1.push(data.phase);
            }
            E::RunLotUnlinked(data) => {
                self.lots.remove(&data.lot_id).unwrap();
                self.decided.retain(|(_, _, lot), _| *lot != Some(data.lot_id));
            }
            E::RunGateDecided(data) => {
                let key = (id, data.gate.clone(), data.lot_id);
                assert_eq!(self.decided.contains_key(&key), data.replaces.is_some(), "what is replaced is named");
                self.decided.insert(key, data.outcome);
            }
            E::RunStarted(_) | E::RunHeld(_) | E::RunResumed(_) => {}
        }
    }

    fn end(&mut self, id: RunId, phase: u32) {
        self.runs.insert(id, (phase, true));
        self.lots.retain(|_, (run, _)| *run != id);
    }

    /// `whole` judges the run after phase 0, `each` the lots after phase 10.
    fn assert_passed(&self, id: RunId, phase: u32) {
        assert_eq!(self.decided.get(&(id, "whole".to_owned(), None)), Some(&QcOutcome::Pass));
        if phase >= 10 {
            let here: Vec<_> =
                self.lots.iter().filter(|(_, (run, phases))| *run == id && phases.contains(&10)).collect();
            assert!(!here.is_empty());
            for (lot, _) in here {
                let key = (id, "each".to_owned(), Some(*lot));
                assert_eq!(self.decided.get(&key), Some(&QcOutcome::Pass));
            }
        }
    }
}

/// One command: what, on which of two runs, with which of three lots.
fn steps() -> impl Strategy<Value = Vec<(u8, u8, u8, QcOutcome)>> {
    let outcome = prop_oneof![4 => Just(QcOutcome::Pass), 1 => Just(QcOutcome::Hold)];
    let what = prop_oneof![5 => Just(0_u8), 4 => Just(1), 4 => Just(2), 4 => Just(3), 1 => 4_u8..9];
    proptest::collection::vec((what, 0_u8..2, 0_u8..3, outcome), 1..120)
}

fn in_force(given: &Given, run: &RunRef, gate: &str, lot: Option<&str>) -> Option<QcDecisionId> {
    let (_, run) = given.state.runs.find(run).ok()?;
    let open = run.open.as_ref()?;
    let found = match lot {
        None => open.gates.get(gate),
        Some(lot) => open.lots.get(&lot_id(lot))?.gates.get(gate),
    };
    found.map(|(id, _)| *id)
}

fn command(given: &Given, (what, run, lot, outcome): (u8, u8, u8, QcOutcome)) -> RunCommand {
    let (code, name) = (format!("R{run}"), format!("L{lot}"));
    let run = RunRef::Code(code.clone());
    let named = || LotRef::Code(name.clone());
    let phase = given.state.runs.find(&run).map_or(0, |(_, run)| run.phase);
    let judge = |gate: &str, lot: Option<&str>| {
        let replaces = in_force(given, &run, gate, lot);
        let lot = lot.map(|lot| LotRef::Code(lot.to_owned()));
        RunCommand::DecideGate(DecideGate { run: run.clone(), lot, replaces, ..decide(gate, outcome) })
    };
    match what {
        0 => RunCommand::AdvancePhase { run, from_phase: phase },
        1 => judge("whole", None),
        2 => judge("each", Some(&name)),
        3 => RunCommand::LinkLot { lot: named(), run },
        4 => RunCommand::UnlinkLot { lot: named(), run },
        5 => RunCommand::CompleteRun { run },
        6 => RunCommand::HoldRun { run },
        7 => RunCommand::ResumeRun { run },
        _ => RunCommand::AbortRun { run },
    }
}

proptest! {
    #[test]
    fn no_history_leads_past_a_gate_or_differs_from_its_replay(steps in steps()) {
        let definition = process(vec![gate("whole", 0, Judged::Run), gate("each", 10, Judged::Lots)]);
        let begun = [
            lot("L0", "5", "KGM"), lot("L1", "5", "KGM"), lot("L2", "5", "KGM"),
            started(100, "R0", &definition), started(101, "R1", &definition),
        ];
        let (mut live, mut replayed, mut books) = (site(&begun), site(&begun), Books::default());
        for event in &begun {
            books.enter(event);
        }
        for step in steps {
            let request = asked(&live, Command::Run(command(&live, step)), None);
            let Ok(decision) = live.state.decide(&request, now()) else { continue };
            for event in &decision.events {
                books.enter(event);
                live.happened(event);
                let value = event.encode(decision.occurred_at, decision.reason.as_deref());
                replayed.happened(&Event::decode(event.event_type(), &value).unwrap().event);
            }
        }
        prop_assert_eq!(&live.state, &replayed.state);
        for (id, (phase, over)) in &books.runs {
            let run = live.state.runs.get(*id).unwrap();
            prop_assert_eq!((run.phase, run.open.is_none()), (*phase, *over));
        }
    }
}

//! The golden events about runs.

use lotline_domain::event::Event;
use lotline_domain::id::{LotId, QcDecisionId, RunId, ScenarioId};
use lotline_domain::personal::Personal;
use lotline_domain::qc::{ChecklistAnswer, Measurement, QcOutcome};
use lotline_domain::run::event::{
    DecisionCounts, PhaseSummary, RunAborted, RunCompleted, RunEvent, RunGateDecided, RunHeld, RunLot, RunLotLinked,
    RunLotUnlinked, RunPhaseAdvanced, RunResumed, RunStarted, RunSummary,
};
use rust_decimal::Decimal;

use crate::scenario::{large, small};
use crate::{id, quantity};

/// The minimal and the full event of every type.
pub(crate) fn examples() -> Vec<[Event; 2]> {
    let pairs = [
        started(),
        [vec![], vec![RunLot { lot_id: LotId(id(3)), quantity: quantity("0.000001", "TNE") }]].map(|lots| {
            let run_id = RunId(id(1));
            RunEvent::RunPhaseAdvanced(RunPhaseAdvanced { run_id, from_phase: 0, to_phase: 9_999, lots })
        }),
        [1, 2].map(|last| RunEvent::RunHeld(RunHeld { run_id: RunId(id(last)) })),
        [1, 2].map(|last| RunEvent::RunResumed(RunResumed { run_id: RunId(id(last)) })),
        completed(),
        [0, 9_999].map(|phase| RunEvent::RunAborted(RunAborted { run_id: RunId(id(1)), phase })),
        [(0, None), (9_999, Some(quantity("12.5", "KGM")))].map(|(phase, quantity)| {
            let (run_id, lot_id) = (RunId(id(1)), LotId(id(2)));
            RunEvent::RunLotLinked(RunLotLinked { run_id, lot_id, phase, quantity })
        }),
        [2, 3].map(|last| {
            let (run_id, lot_id) = (RunId(id(1)), LotId(id(last)));
            RunEvent::RunLotUnlinked(RunLotUnlinked { run_id, lot_id })
        }),
        gate_decided(),
    ];
    pairs.into_iter().map(|pair| pair.map(Event::Run)).collect()
}

fn started() -> [RunEvent; 2] {
    let minimal = RunStarted {
        run_id: RunId(id(1)),
        code: "R-20261121-01".into(),
        scenario_id: ScenarioId(id(2)),
        scenario_name: "Yogurt".into(),
        scenario_version: 1,
        definition: small(),
        lots: vec![],
    };
    let lot = |last, value| RunLot { lot_id: LotId(id(last)), quantity: quantity(value, "LTR") };
    let full = RunStarted {
        code: "Früh \"1\"".into(),
        scenario_name: "Käse".into(),
        scenario_version: u32::MAX,
        definition: large(),
        lots: vec![lot(3, "1000"), lot(4, "0.5")],
        ..minimal.clone()
    };
    [RunEvent::RunStarted(minimal), RunEvent::RunStarted(full)]
}

fn completed() -> [RunEvent; 2] {
    let minimal = RunSummary {
        duration_s: 0,
        held_s: 0,
        phases: vec![PhaseSummary { phase: 0, duration_s: 0, held_s: 0, lots: 0, amounts: vec![] }],
        decisions: DecisionCounts::default(),
        open_gates: vec![],
        yield_ratio: None,
    };
    let amounts = vec![quantity("999999999999.999999", "KGM"), quantity("1", "LTR")];
    let full = RunSummary {
        duration_s: u64::MAX,
        held_s: 30,
        phases: vec![PhaseSummary { phase: 9_999, duration_s: u64::MAX, held_s: 30, lots: u32::MAX, amounts }],
        decisions: DecisionCounts { pass: 1, hold: 2, fail: u32::MAX },
        open_gates: vec!["look \"ü\"".into()],
        yield_ratio: Some(Decimal::new(45, 2)),
    };
    [minimal, full].map(|summary| RunEvent::RunCompleted(RunCompleted { run_id: RunId(id(1)), summary }))
}

fn gate_decided() -> [RunEvent; 2] {
    let minimal = RunGateDecided {
        run_id: RunId(id(1)),
        decision_id: QcDecisionId(id(2)),
        gate: "heat".into(),
        lot_id: None,
        outcome: QcOutcome::Pass,
        replaces: None,
        measurements: vec![],
        checklist: vec![],
        notes: None,
    };
    let full = RunGateDecided {
        gate: "ripe ü".into(),
        lot_id: Some(LotId(id(3))),
        outcome: QcOutcome::Hold,
        replaces: Some(QcDecisionId(id(4))),
        measurements: vec![Measurement { name: "core".into(), value: Decimal::new(721, 1), unit: "Cel".into() }],
        checklist: vec![ChecklistAnswer { item: "sealed".into(), answer: "yes".into() }],
        notes: Some(Personal {
            key_id: id(9),
            nonce: "000102030405060708090a0b".into(),
            ciphertext: "00112233445566778899aabbccddeeff00".into(),
        }),
        ..minimal.clone()
    };
    [RunEvent::RunGateDecided(minimal), RunEvent::RunGateDecided(full)]
}

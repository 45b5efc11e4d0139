//! The golden events about scenarios.

use lotline_domain::event::Event;
use lotline_domain::id::ScenarioId;
use lotline_domain::lot::LotType;
use lotline_domain::scenario::event::{
    ScenarioDrafted, ScenarioEvent, ScenarioPublished, ScenarioRetired, ScenarioRevised,
};
use lotline_domain::scenario::{
    AnswerType, AutomaticLot, ChecklistItem, Definition, Gate, Judged, Limit, Phase, Stream,
};
use rust_decimal::Decimal;

use crate::{id, quantity};

/// The minimal and the full event of every type.
pub(crate) fn examples() -> Vec<[Event; 2]> {
    let pairs = [
        [("Yogurt", small()), ("Käse \"2\"", large())].map(|(name, definition)| {
            let (scenario_id, name) = (ScenarioId(id(1)), name.into());
            ScenarioEvent::ScenarioDrafted(ScenarioDrafted { scenario_id, name, definition })
        }),
        [("Yogurt", small()), ("Käse \"2\"", large())].map(|(name, definition)| {
            let (scenario_id, name) = (ScenarioId(id(1)), name.into());
            ScenarioEvent::ScenarioRevised(ScenarioRevised { scenario_id, name, definition })
        }),
        [(1, small()), (u32::MAX, large())].map(|(version, definition)| {
            let (scenario_id, definition_hash) = (ScenarioId(id(1)), definition.hash());
            ScenarioEvent::ScenarioPublished(ScenarioPublished { scenario_id, version, definition_hash })
        }),
        [1, 2].map(|last| ScenarioEvent::ScenarioRetired(ScenarioRetired { scenario_id: ScenarioId(id(last)) })),
    ];
    pairs.into_iter().map(|pair| pair.map(Event::Scenario)).collect()
}

fn phase(number: u32, registers: Option<AutomaticLot>) -> Phase {
    Phase { number, name: "Intake".into(), stream: "milk".into(), registers }
}

/// With nothing optional.
pub(crate) fn small() -> Definition {
    let stream = Stream { key: "milk".into(), name: "Milk".into(), colour: "#1e90ff".into(), sort_order: 0 };
    Definition { streams: vec![stream], phases: vec![phase(0, None)], gates: vec![] }
}

/// With everything.
pub(crate) fn large() -> Definition {
    let item = |key: &str, answer| ChecklistItem {
        key: key.into(),
        question: "Sealed, \"ü\"?".into(),
        answer,
        required: key == "a",
    };
    let limit = |name: &str, low, high, signal: Option<&str>| Limit {
        name: name.into(),
        unit: "Cel".into(),
        low,
        high,
        signal: signal.map(Into::into),
    };
    let lot =
        AutomaticLot { lot_type: LotType::Intermediate, product: "milk".into(), quantity: quantity("1000", "LTR") };
    let gate = |key: &str, judges| Gate {
        key: key.into(),
        after_phase: 0,
        gate_type: "laboratory".into(),
        judges,
        ccp: true,
        blocking: true,
        checklist: vec![],
        limits: vec![],
    };
    let checklist = vec![
        item("a", AnswerType::YesNo),
        item("b", AnswerType::Number),
        item("c", AnswerType::Text),
        item("d", AnswerType::Date),
    ];
    let limits = vec![
        limit("core", Some(Decimal::new(72, 0)), Some(Decimal::new(755, 1)), Some("pasteuriser.temperature")),
        limit("low only", Some(Decimal::new(-4, 0)), None, None),
        limit("high only", None, Some(Decimal::new(1, 2)), None),
    ];
    let stream = Stream { key: "milk".into(), name: "Milch ü".into(), colour: "#00ff7f".into(), sort_order: 9_999 };
    Definition {
        streams: vec![stream],
        phases: vec![phase(0, Some(lot)), phase(9_999, None)],
        gates: vec![Gate { checklist, limits, ..gate("intake", Judged::Run) }, gate("lots", Judged::Lots)],
    }
}

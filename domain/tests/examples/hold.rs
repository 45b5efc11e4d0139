//! The golden events about holds.

use lotline_domain::event::Event;
use lotline_domain::hold::event::{HoldCause, HoldEvent, HoldLotReleased, HoldPlaced, HoldReleased};
use lotline_domain::id::{HoldId, LotId, QcDecisionId};

use crate::id;

/// The minimal and the full event of every type.
pub(crate) fn examples() -> Vec<[Event; 2]> {
    let minimal = HoldPlaced {
        hold_id: HoldId(id(1)),
        code: "H-1".into(),
        cause: HoldCause::Person,
        decision_id: None,
        rule: None,
        lots: vec![LotId(id(2))],
    };
    let full = HoldPlaced {
        hold_id: HoldId(id(1)),
        code: "H-4294967295".into(),
        cause: HoldCause::Decision,
        decision_id: Some(QcDecisionId(id(3))),
        rule: Some("core \"72\" °C".into()),
        lots: vec![LotId(id(2)), LotId(id(4))],
    };
    let pairs = [
        [minimal, full].map(HoldEvent::HoldPlaced),
        [None, Some(QcDecisionId(id(3)))].map(|decision_id| {
            let hold_id = HoldId(id(1));
            HoldEvent::HoldReleased(HoldReleased { hold_id, decision_id })
        }),
        [vec![LotId(id(2))], vec![LotId(id(2)), LotId(id(4))]].map(|lots| {
            let hold_id = HoldId(id(1));
            HoldEvent::HoldLotReleased(HoldLotReleased { hold_id, lots })
        }),
    ];
    pairs.into_iter().map(|pair| pair.map(Event::Hold)).collect()
}

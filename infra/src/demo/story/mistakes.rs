//! What people get wrong, and what the server has to say to it.

use lotline_domain::command::RegisterLot;
use lotline_domain::lot::LotType;
use rand::Rng;

use super::shelf::{parent, quantity};
use super::step::{Action, Expected};
use super::{Kind, Story, lot};

impl Story {
    /// The registration of `intended`, with one thing wrong.
    pub(super) fn mistake(&mut self, actor: &'static str, intended: &RegisterLot) {
        let mut wrong = intended.clone();
        let code = match self.random.random_range(0..5) {
            0 => {
                wrong.quantity.value = "12,5".into();
                "QUANTITY_NOT_DECIMAL"
            }
            1 => {
                wrong.quantity = quantity(0, &intended.quantity.unit);
                "QUANTITY_NOT_POSITIVE"
            }
            2 => {
                wrong.parents = vec![parent("MLIK-00001", 10, Kind::RawMilk)];
                "UNKNOWN_LOT"
            }
            3 => match self.shelf.oldest(Kind::RawMilk) {
                Some(milk) => {
                    // More than any tanker brings: what the intended lot takes is not yet gone from the server's books.
                    wrong.parents = vec![parent(&milk.code, milk.left + 100_000, Kind::RawMilk)];
                    "NOT_ENOUGH_LEFT"
                }
                None => return,
            },
            _ => match self.shelf.oldest(Kind::Cups) {
                Some(cups) => {
                    wrong.parents = vec![parent(&cups.code, 1, Kind::RawMilk)];
                    "UNIT_MISMATCH"
                }
                None => return,
            },
        };
        self.push(actor, None, Action::RegisterLot(wrong), Expected::Refused(code));
    }

    /// Somebody in a hurry uses a lot that is on hold.
    pub(super) fn use_of_held(&mut self, held: &str) {
        let code = self.next_code("TRIAL");
        let mut trial = lot(code, LotType::Intermediate, "Trial", 1, "LTR");
        // A lot in pieces would be refused for its unit if it were not for the hold, which is looked at first.
        trial.parents = vec![parent(held, 1, Kind::RawMilk)];
        self.push("op-mixing-1", None, Action::RegisterLot(trial), Expected::Refused("LOT_ON_HOLD"));
    }
}

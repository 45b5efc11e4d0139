//! Holds as the raw records have them: who is on which, found by walking the edges that were there at that moment.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Event, Oracle, text};

impl Oracle {
    /// An event about a hold.
    pub(super) fn hold(&mut self, kind: &str, event: &Event<'_>) {
        let (id, data) = (event.text("hold_id"), event.data());
        let named: Vec<String> = data.get("lots").and_then(Value::as_array).map_or_else(Vec::new, |lots| {
            lots.iter().map(|lot| lot.as_str().expect("a lot is named by its id").to_owned()).collect()
        });
        if kind == "lotline.hold.placed.v1" {
            let row = json!({
                "site": event.stream, "code": data["code"], "cause": data["cause"], "decision": data["decision_id"], "rule": data["rule"],
                "reason": event.body["reason"], "actor": event.actor, "occurred": event.body["occurred_at"], "decided": event.time,
                "released": null, "by": null, "why": null, "released_for": null, "version": event.sequence,
            });
            assert!(self.world.holds.insert(id.clone(), row).is_none(), "a hold was placed twice");
            for lot in self.below(&named, |_| true) {
                self.put_on(&id, &lot, named.contains(&lot), event);
            }
            return;
        }
        let hold = self.world.holds.get_mut(&id).expect("a hold is placed first");
        assert_eq!(hold["released"], Value::Null, "a released hold changed");
        hold["version"] = json!(event.sequence);
        let on: BTreeSet<String> =
            self.held.iter().filter(|(_, hold)| *hold == id).map(|(lot, _)| lot.clone()).collect();
        let let_go: Vec<String> = match kind {
            "lotline.hold.released.v1" => {
                (hold["released"], hold["by"]) = (json!(event.time), json!(event.actor));
                (hold["why"], hold["released_for"]) = (event.body["reason"].clone(), data["decision_id"].clone());
                on.into_iter().collect()
            }
            "lotline.hold.lot_released.v1" => {
                assert!(named.iter().all(|lot| on.contains(lot)), "a lot was released that was not on the hold");
                let is_root = |lot: &&String| self.world.held_lots[&format!("{id}/{lot}")]["direct"] == json!(true);
                let roots: Vec<String> = on.iter().filter(is_root).cloned().collect();
                let kept = self.below(&roots, |lot| on.contains(lot) && !named.iter().any(|one| one == lot));
                on.into_iter().filter(|lot| !kept.contains(lot)).collect()
            }
            other => panic!("the oracle does not know {other}"),
        };
        for lot in let_go {
            self.held.remove(&(lot.clone(), id.clone()));
            let row = self.world.held_lots.get_mut(&format!("{id}/{lot}")).expect("a lot on hold has a row");
            (row["released"], row["by"]) = (json!(event.time), json!(event.actor));
            row["why"] = event.body["reason"].clone();
        }
    }

    /// A lot was made from others, which were free, or its whole.
    pub(super) fn inherit(&mut self, lot: &str, parents: &[Value], event: &Event<'_>) {
        for parent in parents {
            for hold in self.holds_on(&text(parent, "lot_id")) {
                self.put_on(&hold, lot, false, event);
            }
        }
    }

    pub(super) fn holds_on(&self, lot: &str) -> Vec<String> {
        let from = (lot.to_owned(), String::new());
        self.held.range(from..).take_while(|(held, _)| held == lot).map(|(_, hold)| hold.clone()).collect()
    }

    fn put_on(&mut self, hold: &str, lot: &str, direct: bool, event: &Event<'_>) {
        self.held.insert((lot.to_owned(), hold.to_owned()));
        let row = json!({ "direct": direct, "since": event.time, "released": null, "by": null, "why": null });
        assert!(self.world.held_lots.insert(format!("{hold}/{lot}"), row).is_none(), "a lot is on a hold once");
    }

    /// These lots and all that was made from them, as far as they are let through.
    fn below(&self, lots: &[String], through: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = lots.to_vec();
        while let Some(lot) = open.pop() {
            if through(&lot) && !found.contains(&lot) {
                open.extend(self.children.get(&lot).into_iter().flatten().cloned());
                found.insert(lot);
            }
        }
        found
    }
}

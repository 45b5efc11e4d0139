//! Holds, written a second time: a lot is on hold when a way up from it meets a root before it meets a lot that was let go.

use serde_json::Value;
use uuid::Uuid;

use super::{Stream, same};
use crate::ask::{Holding, LotName};

#[derive(Debug, Clone)]
pub(super) struct Hold {
    id: Uuid,
    code: String,
    roots: Vec<Uuid>,
    let_go: Vec<Uuid>,
    over: bool,
    /// The lot of the decision that placed it.
    judged: Option<Uuid>,
    version: u64,
}

impl Stream {
    pub(super) fn is_held(&self, lot: Uuid) -> bool {
        self.holds.iter().any(|hold| self.is_on(hold, lot))
    }

    /// Whether the hold that a decision on the lot has placed is still on it.
    pub(super) fn is_held_by_its_decision(&self, lot: Uuid) -> bool {
        self.holds.iter().any(|hold| hold.judged == Some(lot) && self.is_on(hold, lot))
    }

    fn is_on(&self, hold: &Hold, id: Uuid) -> bool {
        let lot = self.lots.iter().find(|lot| lot.id == id);
        let from_above = || lot.is_some_and(|lot| lot.parents.iter().any(|parent| self.is_on(hold, *parent)));
        !hold.over && !hold.let_go.contains(&id) && (hold.roots.contains(&id) || from_above())
    }

    fn hold(&self, code: &str) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.code == code)
    }

    pub(super) fn hold_version(&self, asked: &Holding) -> u64 {
        match asked {
            Holding::Place { .. } => 0,
            Holding::Release { hold } | Holding::ReleaseLots { hold, .. } => {
                self.hold(hold).map_or(0, |hold| hold.version)
            }
        }
    }

    pub(super) fn may_hold(&self, asked: &Holding) -> Option<&'static str> {
        let (hold, lots) = match asked {
            Holding::Place { lots } => (None, Some(lots)),
            Holding::Release { hold } => (Some(hold), None),
            Holding::ReleaseLots { hold, lots } => (Some(hold), Some(lots)),
        };
        let known = hold.map(|code| self.hold(code));
        match known {
            Some(None) => return Some("UNKNOWN_HOLD"),
            Some(Some(hold)) if hold.over => return Some("HOLD_RELEASED"),
            _ => {}
        }
        let named = match lots.map(|lots| self.named(lots)) {
            None => return None,
            Some(Err(code)) => return Some(code),
            Some(Ok(named)) => named,
        };
        let on = known.flatten().map(|hold| named.iter().all(|lot| self.is_on(hold, *lot)));
        (on == Some(false)).then_some("LOT_NOT_HELD")
    }

    fn named(&self, lots: &[LotName]) -> Result<Vec<Uuid>, &'static str> {
        let mut named = Vec::new();
        for name in lots {
            let id = self.lot(name).ok_or("UNKNOWN_LOT")?.id;
            if named.contains(&id) {
                return Err("DUPLICATE_PARENT");
            }
            named.push(id);
        }
        if named.is_empty() { Err("NO_LOTS") } else { Ok(named) }
    }

    pub(super) fn apply_hold(
        &mut self,
        asked: &Holding,
        kind: &str,
        data: &Value,
        version: u64,
    ) -> Result<String, String> {
        let id: Uuid = data["hold_id"].as_str().and_then(|id| id.parse().ok()).ok_or("an event about no hold")?;
        match (asked, kind) {
            (Holding::Place { lots }, "hold.placed") => {
                let roots = self.named(lots)?;
                self.placed(data, roots, None, version)?;
                same(&data["cause"], "person")?;
            }
            (Holding::Release { hold }, "hold.released") => {
                let hold = self.changing(hold, id, version)?;
                hold.over = true;
            }
            (Holding::ReleaseLots { hold, lots }, "hold.lot_released") => {
                let named = self.named(lots)?;
                same_lots(&data["lots"], &named)?;
                self.changing(hold, id, version)?.let_go.extend(named);
            }
            (asked, kind) => return Err(format!("{asked:?} led to {kind}")),
        }
        Ok(id.to_string())
    }

    fn changing(&mut self, code: &str, id: Uuid, version: u64) -> Result<&mut Hold, String> {
        let hold = self.holds.iter_mut().find(|hold| hold.code == code).ok_or("an unknown hold changed")?;
        if hold.id != id {
            return Err(format!("hold {id} changed, not {}", hold.id));
        }
        hold.version = version;
        Ok(hold)
    }

    fn placed(&mut self, data: &Value, roots: Vec<Uuid>, judged: Option<Uuid>, version: u64) -> Result<(), String> {
        let code = format!("H-{}", self.holds.len() + 1);
        same(&data["code"], &code)?;
        same_lots(&data["lots"], &roots)?;
        let id = data["hold_id"].as_str().and_then(|id| id.parse().ok()).ok_or("a hold has no id")?;
        self.holds.push(Hold { id, code, roots, let_go: Vec::new(), over: false, judged, version });
        Ok(())
    }

    /// What a decision on a lot did to holds before it: the one of the decision before it is over, and one that is no PASS has its own.
    pub(super) fn apply_judged(&mut self, lot: Uuid, outcome: &str, decision: Uuid) -> Result<(), String> {
        let mut parts = std::mem::take(&mut self.parts).into_iter();
        let old = self.holds.iter_mut().find(|hold| hold.judged == Some(lot) && !hold.over);
        if let Some(old) = old {
            let (kind, data, version) = parts.next().ok_or("the hold of the decision before was not released")?;
            if kind != "hold.released" {
                return Err(format!("{kind} stands where hold.released was due"));
            }
            same(&data["hold_id"], &old.id.to_string())?;
            same(&data["decision_id"], &decision.to_string())?;
            (old.over, old.version) = (true, version);
        }
        if outcome != "PASS" {
            let (kind, data, version) = parts.next().ok_or("no hold was placed")?;
            if kind != "hold.placed" {
                return Err(format!("{kind} stands where hold.placed was due"));
            }
            same(&data["cause"], "decision")?;
            same(&data["decision_id"], &decision.to_string())?;
            self.placed(&data, vec![lot], Some(lot), version)?;
        }
        parts.next().map_or(Ok(()), |(kind, ..)| Err(format!("{kind} was not due")))
    }
}

fn same_lots(found: &Value, due: &[Uuid]) -> Result<(), String> {
    let ids: Vec<String> = due.iter().map(Uuid::to_string).collect();
    if *found == serde_json::json!(ids) { Ok(()) } else { Err(format!("{found} stand where {ids:?} were due")) }
}

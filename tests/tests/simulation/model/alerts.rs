//! Alerts that decisions raise, and how they are seen to, written a second time.

use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Lot, Stream, same};

/// An alert of a decision.
#[derive(Debug, Clone)]
struct Alert {
    id: Uuid,
    about: Uuid,
    gate: &'static str,
    failed: bool,
    level: u64,
    acknowledged: bool,
    version: u64,
}

/// What has to follow a decision at once.
#[derive(Debug, Clone)]
struct Owed {
    about: Uuid,
    gate: &'static str,
    decision: Uuid,
    failed: bool,
}

/// The alerts of a site.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alerts {
    open: Vec<Alert>,
    resolved: Vec<Uuid>,
    owed: Option<Owed>,
}

impl Alerts {
    /// A lot or a run was judged.
    pub(crate) fn judged(&mut self, about: Uuid, gate: &'static str, decision: Uuid, outcome: &str) {
        let failed = outcome == "FAIL";
        let known = self.open.iter().find(|alert| alert.about == about && alert.gate == gate);
        let is_due = outcome != "PASS" && known.is_none_or(|alert| failed && !alert.failed);
        self.owed = is_due.then_some(Owed { about, gate, decision, failed });
    }

    /// Nothing is owed when something else comes.
    ///
    /// # Errors
    /// What is.
    pub(crate) fn settled(&self) -> Result<(), String> {
        self.owed.as_ref().map_or(Ok(()), |owed| Err(format!("an alert was due: {owed:?}")))
    }

    /// Takes an alert of the log, which must be the one that is owed.
    ///
    /// # Errors
    /// What it says and should not.
    pub(crate) fn apply(&mut self, kind: &str, value: &[u8], version: u64) -> Result<(), String> {
        let body: Value = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        let data = &body["data"];
        let owed = self.owed.take().ok_or_else(|| format!("{kind} was not due"))?;
        let id: Uuid = data["alert_id"].as_str().and_then(|id| id.parse().ok()).ok_or("no alert_id")?;
        same(&data["decision_id"], &owed.decision.to_string())?;
        let severity = if owed.failed { "critical" } else { "warning" };
        same(&data["severity"], severity)?;
        let known = self.open.iter_mut().find(|alert| alert.about == owed.about && alert.gate == owed.gate);
        match (kind, known) {
            ("alert.raised", None) => {
                let about = if data["lot_id"].is_null() { &data["run_id"] } else { &data["lot_id"] };
                same(about, &owed.about.to_string())?;
                same(&data["gate"], owed.gate)?;
                same(&data["kind"], "decision")?;
                let Owed { about, gate, failed, .. } = owed;
                self.open.push(Alert { id, about, gate, failed, level: 1, acknowledged: false, version });
            }
            ("alert.escalated", Some(known)) if known.id == id => {
                let level = (known.level + 1).min(3);
                if data["from_level"] != known.level || data["level"] != level {
                    return Err(format!("{data} stands where level {level} was due"));
                }
                (known.failed, known.level, known.acknowledged, known.version) = (true, level, false, version);
            }
            (kind, known) => return Err(format!("{kind} came, with {known:?} open: {data}")),
        }
        Ok(())
    }
}

impl Alerts {
    /// Sequence of the last event of an open alert.
    pub(crate) fn version(&self, id: Uuid) -> u64 {
        self.open.iter().find(|alert| alert.id == id).map_or(0, |alert| alert.version)
    }

    /// Somebody saw to it.
    ///
    /// # Errors
    /// What is recorded and should not be.
    pub(crate) fn seen_to(&mut self, id: Uuid, how: &str, kind: &str, version: u64) -> Result<(), String> {
        let place = self.open.iter().position(|alert| alert.id == id).ok_or("an alert that is not open")?;
        match (how, kind) {
            ("acknowledge", "alert.acknowledged") => {
                (self.open[place].acknowledged, self.open[place].version) = (true, version);
            }
            ("resolve", "alert.resolved") => {
                self.open.remove(place);
                self.resolved.push(id);
            }
            (how, kind) => return Err(format!("{how} led to {kind}")),
        }
        Ok(())
    }
}

impl Stream {
    pub(super) fn may_see_to(&self, id: Uuid, how: &str) -> Option<&'static str> {
        let Some(alert) = self.alerts.open.iter().find(|alert| alert.id == id) else {
            let resolved = self.alerts.resolved.contains(&id);
            return Some(if resolved { "ALERT_ALREADY_RESOLVED" } else { "UNKNOWN_ALERT" });
        };
        if how == "acknowledge" {
            return alert.acknowledged.then_some("ALERT_ALREADY_ACKNOWLEDGED");
        }
        let on_hold = |lot: &Lot| lot.id == alert.about && lot.qc == "HOLD" && self.is_held_by_its_decision(lot.id);
        let lot_held = self.lots.iter().any(on_hold);
        (lot_held || self.processes.holds(alert.about)).then_some("ALERT_CAUSE_STANDS")
    }
}

/// The id of the alert that a decision raises, if it raises one: of the decision's time, the rest from its bytes and a zero.
pub(crate) fn of_decision(decision: Uuid) -> Uuid {
    let digest = Sha256::digest([&decision.as_bytes()[..], &[0; 8]].concat());
    let mut bytes = *decision.as_bytes();
    bytes[6..].copy_from_slice(&digest[..10]);
    (bytes[6], bytes[8]) = (0x70 | (bytes[6] & 0x0f), 0x80 | (bytes[8] & 0x3f));
    Uuid::from_bytes(bytes)
}

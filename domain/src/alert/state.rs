//! Alerts as the rules need them: those that are open, and by when something must be looked at, so that nobody has to look through all lots and runs.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::event::{AlertEvent, AlertRaised};
use super::refusal::AlertRefusal as Broken;
use super::{AlertKind, Severity};
use crate::id::{ActorId, AlertId, LotId, RunId};
use crate::lot::Lots;
use crate::run::event::RunEvent;
use crate::timestamp::Timestamp;

/// Ends of alerts that are kept, to say by whom one was resolved.
pub const ENDS_KEPT: usize = 10_000;

/// Of which alert there is one at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Cause {
    pub(super) kind: AlertKind,
    pub(super) lot: Option<LotId>,
    pub(super) run: Option<RunId>,
    pub(super) gate: Option<String>,
}

impl Cause {
    /// Of what was judged at a run's gate, a lot is the lot.
    pub(super) fn new(kind: AlertKind, lot: Option<LotId>, run: Option<RunId>, gate: Option<&str>) -> Self {
        let run = if lot.is_some() { None } else { run };
        Self { kind, lot, run, gate: gate.map(str::to_owned) }
    }
}

/// An open alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAlert {
    pub(super) cause: Cause,
    /// How bad it is.
    pub severity: Severity,
    /// To whom it speaks.
    pub level: u32,
    /// By whom, and when.
    pub acknowledged: Option<(ActorId, Timestamp)>,
    /// Sequence of the last event that touched it.
    pub version: u64,
}

/// Things in the order in which something is due with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deadlines<K: Eq + Hash + Ord> {
    of: HashMap<K, Timestamp>,
    order: BTreeSet<(Timestamp, K)>,
}

impl<K: Eq + Hash + Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self { of: HashMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Eq + Hash + Ord + Copy> Deadlines<K> {
    /// Sets when something is due, or that nothing is.
    pub(super) fn set(&mut self, thing: K, at: Option<Timestamp>) {
        let before = match at {
            Some(at) => self.of.insert(thing, at),
            None => self.of.remove(&thing),
        };
        if let Some(before) = before {
            self.order.remove(&(before, thing));
        }
        if let Some(at) = at {
            self.order.insert((at, thing));
        }
    }

    /// When something is due with a thing.
    pub(super) fn get(&self, thing: K) -> Option<Timestamp> {
        self.of.get(&thing).copied()
    }

    /// What is due by then, the longest due first.
    pub(super) fn until(&self, end: Timestamp) -> impl Iterator<Item = K> {
        self.order.iter().take_while(move |(at, _)| *at <= end).map(|(_, thing)| *thing)
    }
}

/// All alerts of a site.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Alerts {
    open: HashMap<AlertId, OpenAlert>,
    by_cause: HashMap<Cause, AlertId>,
    /// By whom and when, the oldest first.
    ended: VecDeque<(AlertId, ActorId, Timestamp)>,
    /// When which alert escalates.
    pub(super) escalating: Deadlines<AlertId>,
    /// Lots of which something is left, and nobody was warned of, by their last day of use.
    pub(super) expiring: BTreeSet<(NaiveDate, LotId)>,
    /// When which run on its way took its last step.
    pub(super) moving: Deadlines<RunId>,
}

impl Alerts {
    /// An open alert.
    pub fn get(&self, id: AlertId) -> Option<&OpenAlert> {
        self.open.get(&id)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The open alert that a command names.
    ///
    /// # Errors
    /// When there is none, and by whom it was resolved.
    pub(super) fn find(&self, id: AlertId) -> Result<&OpenAlert, Broken> {
        self.open.get(&id).ok_or_else(|| {
            let ended = self.ended.iter().rev().find(|(ended, ..)| *ended == id);
            ended.map_or(Broken::UnknownAlert(id), |(alert_id, by, at)| Broken::AlreadyResolved {
                alert_id: *alert_id,
                by: by.clone(),
                at: *at,
            })
        })
    }

    /// The open alert of a cause.
    pub(super) fn of(&self, cause: &Cause) -> Option<(AlertId, &OpenAlert)> {
        let id = *self.by_cause.get(cause)?;
        self.open.get(&id).map(|alert| (id, alert))
    }

    /// Applies an event that stands at `sequence` in the site's stream.
    pub fn evolve(&mut self, event: &AlertEvent, sequence: u64, occurred_at: Timestamp) {
        if let AlertEvent::AlertRaised(data) = event {
            return self.raise(data, sequence);
        }
        let id = event.alert_id();
        let Some(alert) = self.open.get_mut(&id) else { return };
        alert.version = sequence;
        match event {
            AlertEvent::AlertRaised(_) => {}
            AlertEvent::AlertAcknowledged(data) => {
                alert.acknowledged = Some((data.by.clone(), occurred_at));
                self.escalating.set(id, None);
            }
            AlertEvent::AlertEscalated(data) => {
                alert.level = data.level;
                alert.severity = data.severity.unwrap_or(alert.severity);
                alert.acknowledged = None;
                self.escalating.set(id, data.escalates_at);
            }
            AlertEvent::AlertResolved(data) => {
                self.by_cause.remove(&alert.cause);
                self.open.remove(&id);
                self.escalating.set(id, None);
                if self.ended.len() == ENDS_KEPT {
                    self.ended.pop_front();
                }
                self.ended.push_back((id, data.by.clone(), occurred_at));
            }
        }
    }

    fn raise(&mut self, data: &AlertRaised, sequence: u64) {
        let cause = Cause::new(data.kind, data.lot_id, data.run_id, data.gate.as_deref());
        if let (Some(day), Some(lot)) = (data.expires_on, data.lot_id) {
            self.expiring.remove(&(day, lot));
        }
        self.by_cause.insert(cause.clone(), data.alert_id);
        self.escalating.set(data.alert_id, data.escalates_at);
        let (severity, level) = (data.severity, data.level);
        let alert = OpenAlert { cause, severity, level, acknowledged: None, version: sequence };
        self.open.insert(data.alert_id, alert);
    }

    /// Takes note of what is left of a lot. `more` says whether that became more: a lot of which nobody was warned is looked at when its day comes.
    pub fn note_lot(&mut self, lots: &Lots, id: LotId, more: bool) {
        let Some((lot, day)) = lots.get(id).and_then(|lot| Some((lot, lot.expires_on?))) else { return };
        if lot.expired || lot.remaining.is_zero() {
            self.expiring.remove(&(day, id));
        } else if more && self.of(&Cause::new(AlertKind::Expiry, Some(id), None, None)).is_none() {
            self.expiring.insert((day, id));
        }
    }

    /// Takes note of a step of a run. Steps that are said to have happened before the last one change nothing.
    pub fn note_run(&mut self, event: &RunEvent, occurred_at: Timestamp) {
        let id = event.run_id();
        let at = match event {
            RunEvent::RunHeld(_) | RunEvent::RunCompleted(_) | RunEvent::RunAborted(_) => None,
            RunEvent::RunStarted(_) | RunEvent::RunResumed(_) => Some(occurred_at),
            RunEvent::RunPhaseAdvanced(_)
            | RunEvent::RunLotLinked(_)
            | RunEvent::RunLotUnlinked(_)
            | RunEvent::RunGateDecided(_) => match self.moving.get(id) {
                // Gates of a run on hold may be decided; it is no more stuck for that.
                None => return,
                Some(last) => Some(last.max(occurred_at)),
            },
        };
        self.moving.set(id, at);
    }
}

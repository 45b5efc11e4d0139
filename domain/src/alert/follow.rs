//! What a decision means for alerts, recorded in the same batch.
//!
//! A HOLD or a FAIL raises an alert, and so does a measured value outside a limit of its gate. Where one of the same kind is open for the same thing and
//! gate, nothing is raised: what is worse than before escalates it, with the new title, and takes back that it was acknowledged; what is not changes nothing.
//! A step of a run resolves the alert that it was stuck.

use super::decide::raised;
use super::event::{AlertEscalated, AlertEvent, AlertRaised, AlertResolved};
use super::state::Cause;
use super::watch::{TOP_LEVEL, escalates_at};
use super::{AlertKind, Severity};
use crate::event::Event;
use crate::id::{ActorId, AlertId, LotId, QcDecisionId, RunId, nth};
use crate::qc::{Measurement, QcOutcome};
use crate::run::event::RunEvent;
use crate::state::StreamState;
use crate::timestamp::Timestamp;
use uuid::Uuid;

/// A decision at a gate.
struct Judgement<'a> {
    decision: QcDecisionId,
    lot: Option<LotId>,
    run: Option<RunId>,
    gate: &'a str,
    outcome: QcOutcome,
    measurements: &'a [Measurement],
}

impl StreamState {
    /// Alerts that the events of a decision raise, escalate or resolve. `fresh` is the id from which those of new alerts derive.
    pub(crate) fn alerting(&self, events: &[Event], actor: &ActorId, fresh: Uuid, now: Timestamp) -> Vec<Event> {
        let mut found = Vec::new();
        if let Some(judgement) = judgement(events) {
            found.extend(self.judged(&judgement, fresh, now));
        }
        let steps =
            events.iter().filter_map(|event| if let Event::Run(run) = event { Some(run.run_id()) } else { None });
        for run in steps {
            if let Some((alert_id, _)) = self.alerts.of(&Cause::new(AlertKind::StuckRun, None, Some(run), None)) {
                found.push(AlertEvent::AlertResolved(AlertResolved { alert_id, by: actor.clone(), by_itself: true }));
                break;
            }
        }
        found.into_iter().map(Event::Alert).collect()
    }

    fn judged(&self, judgement: &Judgement<'_>, fresh: Uuid, now: Timestamp) -> Vec<AlertEvent> {
        let mut due = Vec::new();
        let severity = match judgement.outcome {
            QcOutcome::Pass => return due,
            QcOutcome::Hold => Severity::Warning,
            QcOutcome::Fail => Severity::Critical,
        };
        let (thing, gate) = (self.thing(judgement), short(judgement.gate));
        let title = format!("{thing} has a {} at gate '{gate}'", judgement.outcome);
        due.extend(self.raise_or_escalate(judgement, (AlertKind::Decision, severity, title), nth(fresh, 0), now));
        let outside = judgement.run.and_then(|run| self.runs.get(run)).and_then(|run| {
            let (ccp, values) = run.outside(judgement.gate, judgement.measurements)?;
            Some((if ccp { Severity::Critical } else { Severity::Warning }, values))
        });
        if let Some((severity, values)) = outside {
            let title = format!("{values} at gate '{gate}' of {thing}");
            due.extend(self.raise_or_escalate(judgement, (AlertKind::Limit, severity, title), nth(fresh, 1), now));
        }
        due
    }

    fn raise_or_escalate(
        &self,
        judgement: &Judgement<'_>,
        (kind, severity, title): (AlertKind, Severity, String),
        id: Uuid,
        now: Timestamp,
    ) -> Option<AlertEvent> {
        let cause = Cause::new(kind, judgement.lot, judgement.run, Some(judgement.gate));
        let Some((alert_id, open)) = self.alerts.of(&cause) else {
            return Some(AlertEvent::AlertRaised(AlertRaised {
                severity,
                title,
                lot_id: judgement.lot,
                run_id: judgement.run,
                gate: Some(judgement.gate.to_owned()),
                decision_id: Some(judgement.decision),
                ..raised(AlertId(id), kind, now)
            }));
        };
        if severity <= open.severity {
            return None;
        }
        let level = (open.level + 1).min(TOP_LEVEL);
        Some(AlertEvent::AlertEscalated(AlertEscalated {
            alert_id,
            from_level: open.level,
            level,
            severity: Some(severity),
            title: Some(title),
            decision_id: Some(judgement.decision),
            escalates_at: escalates_at(level, now),
        }))
    }

    fn thing(&self, judgement: &Judgement<'_>) -> String {
        let lot = judgement.lot.and_then(|lot| self.lots.get(lot));
        let run = judgement.run.and_then(|run| self.runs.get(run));
        match (lot, run) {
            (Some(lot), _) => format!("lot '{}'", short(&lot.code)),
            (None, Some(run)) => format!("run '{}'", short(&run.code)),
            (None, None) => "something unknown".to_owned(),
        }
    }
}

/// What was judged. Of a lot at a gate of its run the lot's own decision has the values, and that of the gate says at which run.
fn judgement(events: &[Event]) -> Option<Judgement<'_>> {
    let mut found: Option<Judgement<'_>> = None;
    for event in events {
        if let Event::QcDecisionRecorded(data) = event {
            let (decision, lot, outcome) = (data.decision_id, Some(data.lot_id), data.outcome);
            let (gate, measurements) = (data.gate.as_str(), data.measurements.as_slice());
            found = Some(Judgement { decision, lot, run: None, gate, outcome, measurements });
        } else if let Event::Run(RunEvent::RunGateDecided(data)) = event {
            let (decision, run, outcome) = (data.decision_id, Some(data.run_id), data.outcome);
            let (gate, measurements) = (data.gate.as_str(), data.measurements.as_slice());
            let own = Judgement { decision, lot: data.lot_id, run, gate, outcome, measurements };
            found = Some(found.map_or(own, |of_lot| Judgement { run, ..of_lot }));
        }
    }
    found
}

/// A name as titles and refusals show it.
pub(super) fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

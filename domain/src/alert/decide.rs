//! What is decided about alerts.

use super::command::AlertCommand;
use super::event::{AlertAcknowledged, AlertEscalated, AlertEvent, AlertRaised, AlertResolved};
use super::follow::short;
use super::refusal::AlertRefusal as Broken;
use super::state::{Cause, OpenAlert};
use super::watch::{STUCK_MICROS, TOP_LEVEL, escalates_at, expiry_window};
use super::{AlertKind, Severity};
use crate::id::{ActorId, AlertId, LotId, RunId};
use crate::qc::QcOutcome;
use crate::state::StreamState;
use crate::timestamp::Timestamp;

impl StreamState {
    /// Decides a command about alerts. `fresh` becomes the id of a new one.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub(crate) fn decide_alert(
        &self,
        command: &AlertCommand,
        actor: &ActorId,
        fresh: AlertId,
        now: Timestamp,
    ) -> Result<AlertEvent, Broken> {
        let by = || actor.clone();
        Ok(match command {
            AlertCommand::AcknowledgeAlert { alert_id, note } => {
                let (alert_id, alert) = (*alert_id, self.alerts.find(*alert_id)?);
                if let Some((by, at)) = &alert.acknowledged {
                    return Err(Broken::AlreadyAcknowledged { alert_id, by: by.clone(), at: *at });
                }
                AlertEvent::AlertAcknowledged(AlertAcknowledged { alert_id, by: by(), note: note.clone() })
            }
            AlertCommand::ResolveAlert { alert_id } => {
                let (alert_id, alert) = (*alert_id, self.alerts.find(*alert_id)?);
                if let Some(standing) = self.standing(alert, now) {
                    return Err(Broken::CauseStands { alert_id, standing });
                }
                AlertEvent::AlertResolved(AlertResolved { alert_id, by: by(), by_itself: false })
            }
            AlertCommand::EscalateAlert { alert_id, level } => {
                let alert = self.alerts.find(*alert_id)?;
                let due = self.alerts.escalating.get(*alert_id).is_some_and(|at| at <= now);
                if !due || *level != alert.level + 1 || *level > TOP_LEVEL {
                    return Err(Broken::NotDue(format!("alert {alert_id} is at level {}", alert.level)));
                }
                AlertEvent::AlertEscalated(AlertEscalated {
                    alert_id: *alert_id,
                    from_level: alert.level,
                    level: *level,
                    severity: None,
                    title: None,
                    decision_id: None,
                    escalates_at: escalates_at(*level, now),
                })
            }
            AlertCommand::WarnOfExpiry { lot_id } => AlertEvent::AlertRaised(self.warn_of_expiry(*lot_id, fresh, now)?),
            AlertCommand::WarnOfStuckRun { run_id } => AlertEvent::AlertRaised(self.warn_of_run(*run_id, fresh, now)?),
        })
    }

    /// What raised an alert and is still so. A FAIL is final, and what is left of an old lot is for people to use or throw away: with a reason, such
    /// alerts can be resolved.
    fn standing(&self, alert: &OpenAlert, now: Timestamp) -> Option<String> {
        let cause = &alert.cause;
        match (cause.kind, cause.lot, cause.run) {
            (AlertKind::Decision | AlertKind::Limit, Some(lot), _) => {
                let lot = self.lots.get(lot).filter(|lot| self.lots.hold_of_decision_stands(lot))?;
                Some(format!("lot '{}' is on HOLD", short(&lot.code)))
            }
            (AlertKind::Decision | AlertKind::Limit, None, Some(run)) => {
                let (gate, run) = (cause.gate.as_deref()?, self.runs.get(run)?);
                let held = run.in_force(gate).is_some_and(|(_, outcome)| outcome == QcOutcome::Hold);
                held.then(|| format!("run '{}' has a HOLD at gate '{}'", short(&run.code), short(gate)))
            }
            (AlertKind::StuckRun, _, Some(id)) => {
                let run = self.runs.get(id).filter(|_| self.alerts.is_stuck(id, now))?;
                Some(format!("run '{}' has taken no step since", short(&run.code)))
            }
            (AlertKind::Decision | AlertKind::Limit | AlertKind::StuckRun, None, None)
            | (AlertKind::StuckRun, Some(_), None)
            | (AlertKind::Expiry, ..) => None,
        }
    }

    fn warn_of_expiry(&self, lot_id: LotId, alert_id: AlertId, now: Timestamp) -> Result<AlertRaised, Broken> {
        let not_due = || Broken::NotDue(format!("lot {lot_id}"));
        let lot = self.lots.get(lot_id).ok_or_else(not_due)?;
        let (first, last) = expiry_window(now);
        let watched = |day: &chrono::NaiveDate| self.alerts.expiring.contains(&(*day, lot_id));
        let day = lot.expires_on.filter(|day| watched(day) && (first..=last).contains(day)).ok_or_else(not_due)?;
        let over = day < now.to_utc().date_naive();
        let word = if over { "was" } else { "is" };
        let (code, left) = (short(&lot.code), lot.left());
        Ok(AlertRaised {
            title: format!("{left} of lot '{code}' are left, whose last day of use {word} {day}"),
            severity: if over { Severity::Critical } else { Severity::Warning },
            lot_id: Some(lot_id),
            expires_on: Some(day),
            ..raised(alert_id, AlertKind::Expiry, now)
        })
    }

    fn warn_of_run(&self, run_id: RunId, alert_id: AlertId, now: Timestamp) -> Result<AlertRaised, Broken> {
        let not_due = || Broken::NotDue(format!("run {run_id}"));
        let run = self.runs.get(run_id).ok_or_else(not_due)?;
        let since = self.alerts.moving.get(run_id).ok_or_else(not_due)?;
        if !self.alerts.is_stuck(run_id, now) || self.alerts.is_known_stuck(run_id) {
            return Err(not_due());
        }
        Ok(AlertRaised {
            title: format!("run '{}' is in phase {} and has taken no step since {since}", short(&run.code), run.phase),
            severity: Severity::Warning,
            run_id: Some(run_id),
            ..raised(alert_id, AlertKind::StuckRun, now)
        })
    }
}

impl super::state::Alerts {
    fn is_stuck(&self, run: RunId, now: Timestamp) -> bool {
        self.moving.get(run).is_some_and(|last| last.plus_micros(STUCK_MICROS) <= now)
    }

    /// Whether somebody has been warned of the run.
    pub(super) fn is_known_stuck(&self, run: RunId) -> bool {
        self.of(&Cause::new(AlertKind::StuckRun, None, Some(run), None)).is_some()
    }
}

/// An alert of the first level about nothing yet.
pub(super) fn raised(alert_id: AlertId, kind: AlertKind, now: Timestamp) -> AlertRaised {
    AlertRaised {
        alert_id,
        kind,
        severity: Severity::Warning,
        level: 1,
        title: String::new(),
        lot_id: None,
        run_id: None,
        gate: None,
        decision_id: None,
        expires_on: None,
        escalates_at: escalates_at(1, now),
    }
}

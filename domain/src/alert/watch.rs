//! What the time does: alerts that nobody acknowledged, lots whose last day of use comes, runs that take no step.
//!
//! Lotline looks now and then what is due and asks for it by commands of its own. They say what was found; whether it is so is looked at again when they
//! are decided, so that whoever asks twice changes nothing twice.

use chrono::{Days, NaiveDate};

use super::command::AlertCommand;
use super::state::Alerts;
use crate::timestamp::Timestamp;

const MINUTE_MICROS: i64 = 60 * 1_000_000;

/// The highest level.
pub const TOP_LEVEL: u32 = 3;
/// How long nobody acknowledges an alert of a level until it goes to the next: 15 minutes, then 45 more.
const PATIENCE_MICROS: [i64; 2] = [15 * MINUTE_MICROS, 45 * MINUTE_MICROS];
/// How many days before the last day of use of a lot a warning is due.
pub const EXPIRY_DAYS: u64 = 2;
/// For how many days after it: of stock that was forgotten for longer nobody is warned.
pub const FORGOTTEN_DAYS: u64 = 30;
/// How long a run takes no step until it is stuck: 12 hours.
pub const STUCK_MICROS: i64 = 12 * 60 * MINUTE_MICROS;

/// When an alert of a level that was raised or escalated now goes to the next.
pub(super) fn escalates_at(level: u32, now: Timestamp) -> Option<Timestamp> {
    let wait = usize::try_from(level).ok().and_then(|level| PATIENCE_MICROS.get(level.checked_sub(1)?))?;
    Some(now.plus_micros(*wait))
}

/// Days of which a warning is due.
pub(super) fn expiry_window(now: Timestamp) -> (NaiveDate, NaiveDate) {
    let today = now.to_utc().date_naive();
    let first = today.checked_sub_days(Days::new(FORGOTTEN_DAYS)).unwrap_or(NaiveDate::MIN);
    (first, today.checked_add_days(Days::new(EXPIRY_DAYS)).unwrap_or(NaiveDate::MAX))
}

impl Alerts {
    /// What Lotline has to ask for by now: of each sort at most `limit`, the most urgent first. The rest is found the next time.
    pub fn due(&self, now: Timestamp, limit: usize) -> Vec<AlertCommand> {
        let escalating = self.escalating.until(now).filter_map(|alert_id| {
            let level = self.get(alert_id)?.level + 1;
            Some(AlertCommand::EscalateAlert { alert_id, level })
        });
        let (first, last) = expiry_window(now);
        let expiring = self.expiring.range((first, crate::id::LotId(uuid::Uuid::nil()))..);
        let expiring = expiring.take_while(|(day, _)| *day <= last);
        let expiring = expiring.map(|(_, lot_id)| AlertCommand::WarnOfExpiry { lot_id: *lot_id });
        // Of a run that is known to be stuck nobody is warned again, so those are looked through: there are no more of them than open alerts.
        let stuck = self.moving.until(now.plus_micros(-STUCK_MICROS));
        let stuck = stuck.filter(|run_id| !self.is_known_stuck(*run_id));
        let stuck = stuck.map(|run_id| AlertCommand::WarnOfStuckRun { run_id });
        escalating.take(limit).chain(expiring.take(limit)).chain(stuck.take(limit)).collect()
    }
}

//! Events about alerts.

use chrono::NaiveDate;
use lotline_domain::alert::event::{AlertAcknowledged, AlertEscalated, AlertEvent, AlertRaised, AlertResolved};
use lotline_domain::alert::{AlertKind, Severity};
use lotline_domain::event::Event;
use lotline_domain::id::{ActorId, AlertId, LotId, QcDecisionId, RunId};
use lotline_domain::personal::Personal;

use super::{id, time};

pub(crate) fn examples() -> Vec<[Event; 2]> {
    let all = [raised(), acknowledged(), escalated(), resolved()];
    all.map(|pair| pair.map(Event::Alert)).into()
}

fn raised() -> [AlertEvent; 2] {
    let minimal = AlertRaised {
        alert_id: AlertId(id(1)),
        kind: AlertKind::StuckRun,
        severity: Severity::Info,
        level: 1,
        title: "run 'R-20261121-01' is in phase 0".into(),
        lot_id: None,
        run_id: None,
        gate: None,
        decision_id: None,
        expires_on: None,
        escalates_at: None,
    };
    let full = AlertRaised {
        kind: AlertKind::Limit,
        severity: Severity::Critical,
        level: u32::MAX,
        title: "core 71.9 Cel is outside 72 to 75.5 at gate 'ripe ü' of lot 'Y-1'".into(),
        lot_id: Some(LotId(id(2))),
        run_id: Some(RunId(id(3))),
        gate: Some("ripe ü".into()),
        decision_id: Some(QcDecisionId(id(4))),
        expires_on: NaiveDate::from_ymd_opt(2026, 12, 24),
        escalates_at: Some(time("2026-11-21T03:30:00.000001Z")),
        ..minimal.clone()
    };
    [AlertEvent::AlertRaised(minimal), AlertEvent::AlertRaised(full)]
}

fn actor(text: &str) -> ActorId {
    ActorId::new(text).expect("a valid id")
}

fn acknowledged() -> [AlertEvent; 2] {
    let note = Personal {
        key_id: id(9),
        nonce: "000102030405060708090a0b".into(),
        ciphertext: "00112233445566778899aabbccddeeff00".into(),
    };
    [None, Some(note)].map(|note| {
        AlertEvent::AlertAcknowledged(AlertAcknowledged { alert_id: AlertId(id(1)), by: actor("ann"), note })
    })
}

fn escalated() -> [AlertEvent; 2] {
    let minimal = AlertEscalated {
        alert_id: AlertId(id(1)),
        from_level: 2,
        level: 3,
        severity: None,
        title: None,
        decision_id: None,
        escalates_at: None,
    };
    let full = AlertEscalated {
        severity: Some(Severity::Critical),
        title: Some("lot 'Y-1' has a FAIL at gate 'ripe ü'".into()),
        decision_id: Some(QcDecisionId(id(4))),
        escalates_at: Some(time("2026-11-21T04:15:00Z")),
        ..minimal.clone()
    };
    [AlertEvent::AlertEscalated(minimal), AlertEvent::AlertEscalated(full)]
}

fn resolved() -> [AlertEvent; 2] {
    [("user:018f2a6e-7c00-7000-8000-000000000001", false), ("lotline", true)].map(|(by, by_itself)| {
        AlertEvent::AlertResolved(AlertResolved { alert_id: AlertId(id(1)), by: actor(by), by_itself })
    })
}

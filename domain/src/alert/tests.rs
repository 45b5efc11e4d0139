//! The rules about alerts: given events, when a command, then events or a refusal.

use uuid::Uuid;

use super::command::AlertCommand;
use super::event::{AlertEscalated, AlertEvent, AlertRaised};
use super::watch::{EXPIRY_DAYS, STUCK_MICROS};
use super::{AlertKind, Severity};
use crate::access::actor::Actor;
use crate::command::{Command, CommandRequest, MeasurementInput};
use crate::event::Event;
use crate::given::{Given, expired, judge, judged, lot, lot_data, lot_from, lot_id, now, site};
use crate::id::{ActorId, AlertId, LotId, RunId, ScenarioId, nth};
use crate::lot::LotRegistered;
use crate::qc::QcOutcome;
use crate::refusal::Refusal;
use crate::run::command::{DecideGate, RunCommand, RunRef};
use crate::run::event::{RunEvent, RunHeld, RunPhaseAdvanced, RunStarted};
use crate::scenario::command::{DefinitionInput, GateInput, LimitInput, PhaseInput};
use crate::scenario::{Judged, Stream};
use crate::state::{Decision, Subject};
use crate::timestamp::Timestamp;

const MINUTE: i64 = 60 * 1_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

fn later(micros: i64) -> Timestamp {
    now().plus_micros(micros)
}

/// Decides a command of an actor at a time.
fn decide(given: &Given, actor: &str, command: Command, at: Timestamp) -> Result<Decision, Refusal> {
    let actor = ActorId::new(actor).unwrap();
    let request = CommandRequest { actor, reason: Some("seen to".to_owned()), ..given.request(command) };
    given.state.decide(&request, at)
}

/// The same, and it happens.
fn happen(given: &mut Given, actor: &str, command: Command, at: Timestamp) -> Vec<Event> {
    let events = decide(given, actor, command, at).unwrap().events;
    for event in &events {
        given.happened(event);
    }
    events
}

fn verdict(given: &mut Given, outcome: QcOutcome) -> Vec<AlertEvent> {
    alerts(&happen(given, "ann", Command::RecordQcDecision(judge("M1", outcome)), now()))
}

fn alerts(events: &[Event]) -> Vec<AlertEvent> {
    events.iter().filter_map(|event| if let Event::Alert(alert) = event { Some(alert.clone()) } else { None }).collect()
}

/// A site with a lot on HOLD, and the alert of it.
fn held() -> (Given, AlertId) {
    let mut given = site(&[lot("M1", "100", "KGM")]);
    let raised = verdict(&mut given, QcOutcome::Hold);
    let id = raised[0].alert_id();
    (given, id)
}

fn acknowledge(alert_id: AlertId) -> Command {
    Command::Alert(AlertCommand::AcknowledgeAlert { alert_id, note: None })
}

fn resolve(alert_id: AlertId) -> Command {
    Command::Alert(AlertCommand::ResolveAlert { alert_id })
}

fn code(decided: Result<Decision, Refusal>) -> (&'static str, String) {
    let refusal = decided.unwrap_err();
    (refusal.code(), refusal.to_string())
}

#[test]
fn a_hold_raises_an_alert_in_its_own_batch() {
    let given = site(&[lot("M1", "100", "KGM")]);
    let decision = decide(&given, "ann", Command::RecordQcDecision(judge("M1", QcOutcome::Hold)), now()).unwrap();
    let [Event::Hold(_), Event::QcDecisionRecorded(recorded), Event::Alert(AlertEvent::AlertRaised(raised))] =
        &decision.events[..]
    else {
        panic!("{:?}", decision.events)
    };
    let expected = AlertRaised {
        alert_id: AlertId(nth(recorded.decision_id.0, 0)),
        kind: AlertKind::Decision,
        severity: Severity::Warning,
        level: 1,
        title: "lot 'M1' has a HOLD at gate 'intake'".to_owned(),
        lot_id: Some(lot_id("M1")),
        run_id: None,
        gate: Some("intake".to_owned()),
        decision_id: Some(recorded.decision_id),
        expires_on: None,
        escalates_at: Some(later(15 * MINUTE)),
    };
    assert_eq!(*raised, expected);
    // The answer to the command is about the decision, whatever followed.
    assert_eq!(decision.subject_id, Subject::QcDecision(recorded.decision_id));
    assert_eq!(Subject::of(&decision.events[2]), None);
}

#[test]
fn a_pass_raises_none() {
    let mut given = site(&[lot("M1", "100", "KGM")]);
    assert_eq!(verdict(&mut given, QcOutcome::Pass), []);
    assert!(given.state.alerts.is_empty());
}

#[test]
fn what_happens_again_raises_no_second_alert_and_what_is_worse_escalates_it() {
    let (mut given, id) = held();
    assert_eq!(verdict(&mut given, QcOutcome::Hold), []);
    happen(&mut given, "ben", acknowledge(id), now());
    let events = verdict(&mut given, QcOutcome::Fail);
    let [AlertEvent::AlertEscalated(escalated)] = &events[..] else { panic!("{events:?}") };
    let expected = AlertEscalated {
        alert_id: id,
        from_level: 1,
        level: 2,
        severity: Some(Severity::Critical),
        title: Some("lot 'M1' has a FAIL at gate 'intake'".to_owned()),
        decision_id: escalated.decision_id,
        escalates_at: Some(later(45 * MINUTE)),
    };
    assert!(escalated.decision_id.is_some());
    assert_eq!(*escalated, expected);
    let open = given.state.alerts.get(id).unwrap();
    assert_eq!((open.level, open.severity, &open.acknowledged), (2, Severity::Critical, &None));
    happen(&mut given, "ben", acknowledge(id), now());
}

#[test]
fn another_gate_or_lot_has_an_alert_of_its_own_and_so_has_the_next_after_the_first_is_resolved() {
    let (mut given, id) = held();
    given.happened(&lot("M2", "1", "KGM"));
    for command in [
        crate::command::RecordQcDecision { gate: "packing".to_owned(), ..judge("M1", QcOutcome::Hold) },
        judge("M2", QcOutcome::Hold),
    ] {
        assert_eq!(alerts(&happen(&mut given, "ann", Command::RecordQcDecision(command), now())).len(), 1);
    }
    assert_eq!(given.state.alerts.len(), 3);
    verdict(&mut given, QcOutcome::Pass);
    happen(&mut given, "ben", resolve(id), now());
    let again = verdict(&mut given, QcOutcome::Hold);
    assert!(matches!(&again[..], [AlertEvent::AlertRaised(raised)] if raised.alert_id != id));
}

#[test]
fn nobody_acknowledges_or_resolves_twice() {
    let (mut given, id) = held();
    happen(&mut given, "ben", acknowledge(id), now());
    let at = now();
    let message = format!("alert {id} was acknowledged by ben at {at}");
    assert_eq!(code(decide(&given, "ann", acknowledge(id), at)), ("ALERT_ALREADY_ACKNOWLEDGED", message));
    verdict(&mut given, QcOutcome::Pass);
    happen(&mut given, "eve", resolve(id), now());
    let message = format!("alert {id} was resolved by eve at {at}");
    for command in [acknowledge(id), resolve(id)] {
        assert_eq!(code(decide(&given, "ann", command, at)), ("ALERT_ALREADY_RESOLVED", message.clone()));
    }
    let nobodys = AlertId(Uuid::from_u128(77));
    let message = format!("alert {nobodys} is not known");
    assert_eq!(code(decide(&given, "ann", resolve(nobodys), at)), ("UNKNOWN_ALERT", message));
}

#[test]
fn an_alert_is_resolved_with_a_reason_and_not_while_the_hold_stands() {
    let (mut given, id) = held();
    given.when(resolve(id)).refused("REASON_REQUIRED", Some("reason"), "this command needs a reason");
    let message = format!("alert {id} can't be resolved: lot 'M1' is on HOLD");
    assert_eq!(code(decide(&given, "ann", resolve(id), now())), ("ALERT_CAUSE_STANDS", message));
    // A FAIL is final: what was done about it is the reason.
    given.happened(&judged("M1", QcOutcome::Fail));
    happen(&mut given, "ann", resolve(id), now());
    assert!(given.state.alerts.is_empty());
}

#[test]
fn what_nobody_acknowledges_escalates_twice_and_no_more() {
    let (mut given, id) = held();
    let escalate = |level| AlertCommand::EscalateAlert { alert_id: id, level };
    assert_eq!(given.state.alerts.due(later(15 * MINUTE - 1), 9), []);
    let refused = decide(&given, "lotline", Command::Alert(escalate(2)), later(15 * MINUTE - 1));
    assert_eq!(code(refused).0, "ALERT_NOT_DUE");
    assert_eq!(given.state.alerts.due(later(15 * MINUTE), 9), [escalate(2)]);
    happen(&mut given, "lotline", Command::Alert(escalate(2)), later(15 * MINUTE));
    // Who asks a second time changes nothing.
    for level in [2, 3] {
        let refused = decide(&given, "lotline", Command::Alert(escalate(level)), later(15 * MINUTE));
        assert_eq!(code(refused).0, "ALERT_NOT_DUE", "{level}");
    }
    assert_eq!(given.state.alerts.due(later(60 * MINUTE), 9), [escalate(3)]);
    happen(&mut given, "lotline", Command::Alert(escalate(3)), later(60 * MINUTE));
    assert_eq!(given.state.alerts.due(later(365 * DAY), 9), []);
}

#[test]
fn what_is_acknowledged_or_resolved_escalates_no_more() {
    let (mut given, id) = held();
    happen(&mut given, "ben", acknowledge(id), now());
    assert_eq!(given.state.alerts.due(later(DAY), 9), []);
    let (mut given, id) = held();
    given.happened(&judged("M1", QcOutcome::Pass));
    happen(&mut given, "ben", resolve(id), now());
    assert_eq!(given.state.alerts.due(later(DAY), 9), []);
}

#[test]
fn what_is_due_has_a_limit_and_the_same_key_for_an_hour() {
    let mut given = site(&[]);
    for number in 0..5 {
        given.happened(&lot(&format!("L{number}"), "1", "KGM"));
        let command = Command::RecordQcDecision(judge(&format!("L{number}"), QcOutcome::Hold));
        happen(&mut given, "ann", command, now());
    }
    let due = given.state.alerts.due(later(DAY), 3);
    assert_eq!(due.len(), 3);
    let stream = given.request(acknowledge(AlertId(Uuid::nil()))).stream;
    let key = |at| due[0].key(&stream, at);
    assert_eq!(key(now()), key(later(10 * MINUTE)));
    assert_ne!(key(now()), key(later(60 * MINUTE)));
    assert_ne!(due[0].key(&stream, now()), due[1].key(&stream, now()));
    assert_eq!(key(now()).0.get_version_num(), 7);
}

/// A lot whose last day of use is so many days after today.
fn perishable(code: &str, days: i64) -> Event {
    let expires_on = Some(later(days * DAY).to_utc().date_naive());
    Event::LotRegistered(LotRegistered { expires_on, ..lot_data(code, "10", "KGM") })
}

fn warned(given: &Given) -> Vec<LotId> {
    let due = given.state.alerts.due(now(), 99);
    due.iter()
        .filter_map(|due| if let AlertCommand::WarnOfExpiry { lot_id } = due { Some(*lot_id) } else { None })
        .collect()
}

#[test]
fn somebody_is_warned_once_of_what_is_left_of_a_lot_whose_last_day_comes() {
    let soon = EXPIRY_DAYS as i64;
    let mut given = site(&[
        perishable("later", soon + 1),
        perishable("soon", soon),
        perishable("over", -1),
        perishable("forgotten", -31),
        perishable("used", 0),
        perishable("marked", 0),
        lot("keeps", "1", "KGM"),
        lot_from("of used", "used", "10", "KGM"),
        expired("marked", "2026-11-21"),
    ]);
    assert_eq!(warned(&given), [lot_id("over"), lot_id("soon")]);
    let warn = |code: &str| Command::Alert(AlertCommand::WarnOfExpiry { lot_id: lot_id(code) });
    for code in ["later", "forgotten", "used", "marked", "keeps", "nobody's"] {
        assert_eq!(self::code(decide(&given, "lotline", warn(code), now())).0, "ALERT_NOT_DUE", "{code}");
    }
    let events = alerts(&happen(&mut given, "lotline", warn("over"), now()));
    let [AlertEvent::AlertRaised(raised)] = &events[..] else { panic!("{events:?}") };
    let title = "10 KGM of lot 'over' are left, whose last day of use was 2026-11-20";
    assert_eq!((raised.title.as_str(), raised.severity), (title, Severity::Critical));
    assert_eq!(warned(&given), [lot_id("soon")]);
    assert_eq!(code(decide(&given, "lotline", warn("over"), now())).0, "ALERT_NOT_DUE");
    let id = raised.alert_id;
    happen(&mut given, "ann", resolve(id), now());
    assert_eq!(warned(&given), [lot_id("soon")]);
}

/// A site with run R1 in phase 0, with a gate for the run and one for lots, both with a limit.
fn running() -> Given {
    let limit = || {
        let (name, unit) = ("core".to_owned(), "Cel".to_owned());
        vec![LimitInput { name, unit, low: Some("72".to_owned()), high: None, signal: None }]
    };
    let gate = |key: &str, judges, ccp| GateInput {
        key: key.to_owned(),
        after_phase: 0,
        gate_type: "laboratory".to_owned(),
        judges,
        ccp,
        blocking: true,
        checklist: vec![],
        limits: limit(),
    };
    let phase = |number| PhaseInput { number, name: "Step".to_owned(), stream: "milk".to_owned(), registers: None };
    let (key, name) = ("milk".to_owned(), "Milk".to_owned());
    let definition = DefinitionInput {
        streams: vec![Stream { key, name, colour: "#1e90ff".to_owned(), sort_order: 1 }],
        phases: vec![phase(0), phase(1)],
        gates: vec![gate("heat", Judged::Run, true), gate("each", Judged::Lots, false)],
    };
    site(&[Event::Run(RunEvent::RunStarted(RunStarted {
        run_id: run_id(),
        code: "R1".to_owned(),
        scenario_id: ScenarioId(Uuid::from_u128(1)),
        scenario_name: "Yogurt".to_owned(),
        scenario_version: 1,
        definition: definition.parse().unwrap(),
        lots: vec![],
    }))])
}

fn run_id() -> RunId {
    RunId(Uuid::from_u128(1))
}

fn gate(key: &str, lot: Option<&str>, outcome: QcOutcome, core: &str) -> DecideGate {
    let measurement = MeasurementInput { name: "core".to_owned(), value: core.to_owned(), unit: "Cel".to_owned() };
    DecideGate {
        run: RunRef::Id(run_id()),
        gate: key.to_owned(),
        lot: lot.map(|code| crate::lot::LotRef::Code(code.to_owned())),
        outcome,
        replaces: None,
        measurements: vec![measurement],
        checklist: vec![],
        notes: None,
    }
}

fn titles(events: &[AlertEvent]) -> Vec<(Severity, String)> {
    let raised = |event: &AlertEvent| {
        let AlertEvent::AlertRaised(data) = event else { panic!("{event:?}") };
        (data.severity, data.title.clone())
    };
    events.iter().map(raised).collect()
}

#[test]
fn a_value_outside_its_limit_raises_an_alert_beside_that_of_the_decision() {
    let mut given = running();
    let command = Command::Run(RunCommand::DecideGate(gate("heat", None, QcOutcome::Hold, "71.9")));
    let events = alerts(&happen(&mut given, "ann", command, now()));
    let expected = [
        (Severity::Warning, "run 'R1' has a HOLD at gate 'heat'".to_owned()),
        (Severity::Critical, "core 71.9 Cel is outside 72 or more at gate 'heat' of run 'R1'".to_owned()),
    ];
    assert_eq!(titles(&events), expected);
    let standing = code(decide(&given, "ann", resolve(events[1].alert_id()), now()));
    assert_eq!(standing.0, "ALERT_CAUSE_STANDS");
    assert!(standing.1.ends_with("run 'R1' has a HOLD at gate 'heat'"), "{}", standing.1);
}

#[test]
fn a_lot_at_a_gate_of_its_run_has_alerts_that_name_both() {
    let mut given = running();
    given.happened(&lot("M1", "1", "KGM"));
    let link = RunCommand::LinkLot { run: RunRef::Id(run_id()), lot: crate::lot::LotRef::Code("M1".to_owned()) };
    happen(&mut given, "ann", Command::Run(link), now());
    let command = Command::Run(RunCommand::DecideGate(gate("each", Some("M1"), QcOutcome::Fail, "3")));
    let events = happen(&mut given, "ann", command, now());
    // Both of the decision's own events are older than what followed from them.
    assert!(matches!(
        events[..3],
        [Event::Hold(_), Event::QcDecisionRecorded(_), Event::Run(RunEvent::RunGateDecided(_))]
    ));
    let raised = alerts(&events);
    let expected = [
        (Severity::Critical, "lot 'M1' has a FAIL at gate 'each'".to_owned()),
        (Severity::Warning, "core 3 Cel is outside 72 or more at gate 'each' of lot 'M1'".to_owned()),
    ];
    assert_eq!(titles(&raised), expected);
    for event in raised {
        let AlertEvent::AlertRaised(data) = event else { panic!("raised before") };
        assert_eq!((data.lot_id, data.run_id), (Some(lot_id("M1")), Some(run_id())));
    }
}

fn stuck(given: &Given, at: Timestamp) -> bool {
    given.state.alerts.due(at, 9).contains(&AlertCommand::WarnOfStuckRun { run_id: run_id() })
}

#[test]
fn a_run_without_a_step_is_stuck_until_it_takes_one() {
    let mut given = running();
    let (warn, at) = (Command::Alert(AlertCommand::WarnOfStuckRun { run_id: run_id() }), later(STUCK_MICROS));
    assert!(!stuck(&given, later(STUCK_MICROS - 1)) && stuck(&given, at));
    assert_eq!(code(decide(&given, "lotline", warn.clone(), later(STUCK_MICROS - 1))).0, "ALERT_NOT_DUE");
    let id = alerts(&happen(&mut given, "lotline", warn.clone(), at))[0].alert_id();
    assert!(!stuck(&given, later(9 * DAY)));
    assert_eq!(code(decide(&given, "lotline", warn, at)).0, "ALERT_NOT_DUE");
    let message = format!("alert {id} can't be resolved: run 'R1' has taken no step since");
    assert_eq!(code(decide(&given, "ann", resolve(id), at)), ("ALERT_CAUSE_STANDS", message));
    let events = happen(&mut given, "ann", Command::Run(RunCommand::HoldRun { run: RunRef::Id(run_id()) }), at);
    let [Event::Run(_), Event::Alert(AlertEvent::AlertResolved(resolved))] = &events[..] else { panic!("{events:?}") };
    assert!(resolved.alert_id == id && resolved.by_itself && resolved.by.as_str() == "ann");
    assert!(given.state.alerts.is_empty());
}

#[test]
fn a_run_on_hold_is_not_stuck_and_a_step_counts_from_when_it_was_taken() {
    let mut given = running();
    given.happened(&Event::Run(RunEvent::RunHeld(RunHeld { run_id: run_id() })));
    assert!(!stuck(&given, later(9 * DAY)));
    let mut given = running();
    let advanced = RunPhaseAdvanced { run_id: run_id(), from_phase: 0, to_phase: 1, lots: vec![] };
    given.state.evolve(&Event::Run(RunEvent::RunPhaseAdvanced(advanced)), 2, later(DAY));
    assert!(!stuck(&given, later(STUCK_MICROS)) && stuck(&given, later(DAY + STUCK_MICROS)));
}

#[test]
fn only_lotline_asks_for_what_the_time_does() {
    let given = site(&[]);
    let access = crate::access::state::AccessState::default();
    let due = [
        AlertCommand::EscalateAlert { alert_id: AlertId(Uuid::nil()), level: 2 },
        AlertCommand::WarnOfExpiry { lot_id: lot_id("M1") },
        AlertCommand::WarnOfStuckRun { run_id: run_id() },
    ];
    for command in due {
        let mut request = given.request(Command::Alert(command));
        let may = |request: &CommandRequest| {
            access.authorise(request, crate::access::need::Authorisation::Development, now()).is_ok()
        };
        assert!(!may(&request));
        request.actor = ActorId::lotline();
        assert!(may(&request) && Actor::of(&request.actor) == Actor::Lotline);
    }
}

#[test]
fn an_old_log_without_alerts_still_replays() {
    let mut given = site(&[lot("M1", "1", "KGM"), judged("M1", QcOutcome::Hold)]);
    assert!(given.state.alerts.is_empty());
    // The next HOLD raises the alert that the first did not.
    assert_eq!(verdict(&mut given, QcOutcome::Hold).len(), 1);
}

//! Given nothing, when the server records, then facts; and in whose name it may.

use std::collections::BTreeMap;

use super::*;
use crate::access::need::Authorisation;
use crate::access::state::AccessState;
use crate::command::{Command, CommandRequest};
use crate::event::Event;
use crate::given::{now, tenant};

fn user(number: u128) -> UserId {
    UserId(Uuid::from_u128(number))
}

fn key(number: u128) -> ApiKeyId {
    ApiKeyId(Uuid::from_u128(number))
}

fn session() -> SessionId {
    SessionId(Uuid::from_u128(9))
}

fn signed_in(number: u128) -> SignedIn {
    SignedIn { user_id: user(number), session_id: session(), method: SignInMethod::Password }
}

fn signed_out(number: u128, why: SignOutReason) -> TrailCommand {
    TrailCommand::RecordSignOut(SignedOut { user_id: user(number), session_id: None, why })
}

fn attempts(kind: AttemptKind, field: Option<&str>, count: u64) -> RefusedAttempts {
    let (first_at, last_at) = (now(), now().plus_micros(1));
    let correlation_id = CorrelationId(Uuid::from_u128(5));
    RefusedAttempts { kind, field: field.map(str::to_owned), count, first_at, last_at, correlation_id }
}

fn by(by: Suspect, kind: AttemptKind) -> Counted {
    Counted { by, attempts: attempts(kind, None, 1) }
}

fn batch(entries: Vec<Counted>, others: u64) -> Command {
    Command::Trail(TrailCommand::RecordAttempts { entries, others })
}

fn reading(asked: &[(&str, &str)]) -> TrailCommand {
    let asked = asked.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (field, operation) = ("auditTrail".to_owned(), ReadOperation::Query);
    TrailCommand::RecordReading { field, operation, asked, shown: Some(3) }
}

fn request(actor: &ActorId, command: TrailCommand) -> CommandRequest {
    CommandRequest { actor: actor.clone(), ..tenant(&[]).request(Command::Trail(command)) }
}

#[test]
fn coming_and_going_is_about_the_person() {
    let command = TrailCommand::RecordSignIn(signed_in(1));
    let event = Event::Trail(TrailEvent::SignedIn(signed_in(1)));
    tenant(&[]).when(Command::Trail(command.clone())).event(&event);
    assert_eq!(event.subject(tenant(&[]).request(Command::Trail(command)).command_id), format!("user/{}", user(1)));
    let out = SignedOut { user_id: user(1), session_id: Some(session()), why: SignOutReason::Asked };
    let command = TrailCommand::RecordSignOut(out.clone());
    tenant(&[]).when(Command::Trail(command)).event(&Event::Trail(TrailEvent::SignedOut(out)));
}

#[test]
fn nobody_records_for_somebody_else() {
    let (ann, bob) = (user(1).actor(), user(2).actor());
    let (robot, lotline, system) = (key(1).actor(), ActorId::lotline(), ActorId::system());
    let came = || TrailCommand::RecordSignIn(signed_in(1));
    let (asked, stolen) = (SignOutReason::Asked, SignOutReason::StolenRefreshToken);
    let counted = || TrailCommand::RecordAttempts { entries: Vec::new(), others: 1 };
    for (command, allowed) in [
        (came(), vec![&ann]),
        (signed_out(1, asked), vec![&ann]),
        (signed_out(1, SignOutReason::Reset), vec![&ann]),
        (signed_out(1, stolen), vec![&lotline]),
        (counted(), vec![&lotline]),
        (reading(&[]), vec![&ann, &bob, &robot, &lotline, &system]),
    ] {
        for actor in [&ann, &bob, &robot, &lotline, &system] {
            for authorisation in [Authorisation::Enforced, Authorisation::Development] {
                let verdict = AccessState::default().authorise(&request(actor, command.clone()), authorisation, now());
                assert_eq!(verdict.is_ok(), allowed.contains(&actor), "{actor} {}", command.name());
            }
        }
    }
}

#[test]
fn a_reading_names_its_reader_and_no_value_that_could_be_personal() {
    let id = Uuid::from_u128(3);
    for (name, value, expected) in [
        ("eventType", "lotline.lot.registered.v1", "lotline.lot.registered.v1"),
        ("stream", "north", "north"),
        ("stream", "_tenant", "_tenant"),
        ("actor", "north", "*"),
        ("actor", "ann@dairy.example", "*"),
        ("actor", &format!("user:{id}"), &format!("user:{id}")),
        ("subject", &format!("lot/{id}"), &format!("lot/{id}")),
        ("subject", "signal/ann", "*"),
        ("subject", &format!("ann/{id}"), "*"),
        ("correlationId", &id.to_string(), &id.to_string()),
        ("decidedFrom", "2026-11-21T03:15:00.000000Z", "2026-11-21T03:15:00.000000Z"),
    ] {
        assert_eq!(shown(name, value), expected, "{name}");
        let decided = tenant(&[]).when(Command::Trail(reading(&[(name, value)])));
        if shown(name, value) == value {
            let read = TrailRead {
                reader: ActorId::new("ann").unwrap(),
                field: "auditTrail".to_owned(),
                operation: ReadOperation::Query,
                asked: BTreeMap::from([(name.to_owned(), value.to_owned())]),
                shown: Some(3),
            };
            decided.event(&Event::Trail(TrailEvent::TrailRead(read)));
        } else {
            decided.refused("INVALID_RECORD", None, "this is nothing that the server records");
        }
    }
    for (actor, subject) in [
        (user(1).actor(), format!("user/{}", user(1))),
        (key(1).actor(), format!("api_key/{}", key(1))),
        (ActorId::new("ann").unwrap(), "actor/ann".to_owned()),
    ] {
        let decided = tenant(&[]).when_asked(&request(&actor, reading(&[]))).accepted();
        assert_eq!(decided.events[0].subject(request(&actor, reading(&[])).command_id), subject);
    }
}

#[test]
fn attempts_are_told_by_whom_they_concern() {
    let entries = vec![
        by(Suspect::Unknown, AttemptKind::BadToken),
        by(Suspect::User(user(2)), AttemptKind::WrongPassword),
        by(Suspect::Key(key(1)), AttemptKind::OutsideScope),
        by(Suspect::User(user(2)), AttemptKind::Locked),
    ];
    let decision = tenant(&[]).when(batch(entries, 7)).accepted();
    let told: Vec<_> = decision
        .events
        .iter()
        .map(|event| {
            let Event::Trail(TrailEvent::AttemptsRefused(data)) = event else { panic!("{event:?}") };
            (data.user_id, data.key_id, data.attempts.iter().map(|one| one.kind).collect::<Vec<_>>(), data.others)
        })
        .collect();
    let expected = [
        (Some(user(2)), None, vec![AttemptKind::WrongPassword, AttemptKind::Locked], 0),
        (None, Some(key(1)), vec![AttemptKind::OutsideScope], 0),
        (None, None, vec![AttemptKind::BadToken], 7),
    ];
    assert_eq!(told, expected);
    let subjects: Vec<String> =
        decision.events.iter().map(|event| event.subject(tenant(&[]).request(batch(vec![], 1)).command_id)).collect();
    assert_eq!(subjects, [format!("user/{}", user(2)), format!("api_key/{}", key(1)), "door/unknown".to_owned()]);
    let only = tenant(&[]).when(batch(vec![], 1)).accepted();
    assert_eq!(only.events.len(), 1, "what was only added up is told too");
}

#[test]
fn what_the_server_never_asks_is_refused() {
    let one = || by(Suspect::Unknown, AttemptKind::BadToken);
    let with = |attempts: RefusedAttempts| vec![Counted { by: Suspect::Unknown, attempts }];
    let backwards =
        RefusedAttempts { last_at: now().plus_micros(-1), ..attempts(AttemptKind::NotAllowed, Some("lots"), 1) };
    for entries in [
        vec![],
        vec![one(); MAX_ENTRIES + 1],
        with(attempts(AttemptKind::NotAllowed, None, 0)),
        with(attempts(AttemptKind::NotAllowed, Some("ann@dairy.example"), 1)),
        with(attempts(AttemptKind::NotAllowed, Some(""), 1)),
        with(backwards),
    ] {
        tenant(&[]).when(batch(entries, 0)).refused("INVALID_RECORD", None, "this is nothing that the server records");
    }
    tenant(&[]).when(batch(vec![one(); MAX_ENTRIES], u64::MAX)).accepted();
}

#[test]
fn words_are_written_as_they_are_named() {
    fn same<T: serde::Serialize + Copy>(all: &[T], word: fn(T) -> &'static str) {
        for one in all {
            assert_eq!(serde_json::to_value(one).unwrap(), word(*one));
        }
    }
    same(AttemptKind::ALL, AttemptKind::as_str);
    same(SignInMethod::ALL, SignInMethod::as_str);
    same(SignOutReason::ALL, SignOutReason::as_str);
}

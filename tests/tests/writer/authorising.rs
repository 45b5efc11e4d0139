//! Writers that ask who may: nobody gets in where he does not belong, and each verdict can be reached again from the log alone.

use std::collections::BTreeMap;

use lotline_adapters::log::memory::{Fault, MemoryLog};
use lotline_commands::bus::{Receipt, SubmitError};
use lotline_commands::fold::SNAPSHOT_FORMAT;
use lotline_commands::writer::WriterOptions;
use lotline_domain::access::command::{AccessCommand, Appointee, IssueApiKey, Profile};
use lotline_domain::access::event::{AccessEvent, AccessSubject};
use lotline_domain::access::need::Authorisation;
use lotline_domain::access::role::{Permission, Role, RoleSet};
use lotline_domain::access::state::SharedAccess;
use lotline_domain::access::{actor::Actor, refusal::AccessRefusal};
use lotline_domain::command::{Command, CommandRequest};
use lotline_domain::event::Event;
use lotline_domain::id::{ActorId, ApiKeyId, StreamKey, UserId};
use lotline_domain::personal::PersonalKey;
use lotline_domain::port::{Clock, Snapshot};
use lotline_domain::state::Subject;
use uuid::Uuid;

use crate::stand::{MINUTE, Process, Stand, answer, draft, register, settle, site};

pub(crate) fn profile() -> Profile {
    let key = PersonalKey { id: Uuid::from_u128(7), secret: [7; 32] };
    Profile { name: key.seal("name", "Ann"), email: key.seal("email", "ann@dairy.example") }
}

pub(crate) fn enforced(log: MemoryLog) -> Stand {
    let mut stand = Stand::on(log);
    stand.options.authorisation = Authorisation::Enforced;
    stand
}

fn one_partition() -> MemoryLog {
    MemoryLog::new("lotline.dairy.ledger.v1", 1)
}

/// A request of somebody's.
pub(crate) fn by(stand: &Stand, actor: &ActorId, command: Command) -> CommandRequest {
    CommandRequest { actor: actor.clone(), ..stand.request(command) }
}

pub(crate) fn appoint() -> Command {
    Command::Access(AccessCommand::AppointAdmin { appointee: Appointee::New(profile()), recovery: false })
}

pub(crate) fn give(user_id: UserId, roles: &[Role]) -> Command {
    Command::Access(AccessCommand::ChangeMembership { user_id, site: None, roles: RoleSet::of(roles) })
}

pub(crate) fn user_of(receipt: &Receipt) -> UserId {
    let Subject::Access(AccessSubject::User(id)) = receipt.subject else { panic!("no user: {receipt:?}") };
    id
}

/// The first admin, and a user without any role.
async fn people(stand: &Stand, process: &Process) -> (UserId, UserId) {
    let admin = user_of(&process.accepted(by(stand, &ActorId::system(), appoint())).await);
    let register = Command::Access(AccessCommand::RegisterUser(profile()));
    let user = user_of(&process.accepted(by(stand, &admin.actor(), register)).await);
    (admin, user)
}

#[tokio::test]
async fn without_a_setting_nobody_may_anything() {
    let stand = Stand { options: WriterOptions::default(), ..Stand::new() };
    let process = stand.serve().await;
    let request = stand.request(register("M1"));
    let said = "'register_lot' needs the permission DECIDE at site 'north': the actor is no known user or key";
    assert_eq!(process.refused(request.clone()).await, (AccessRefusal::FORBIDDEN.into(), said.into()));
    let events = stand.events(0).await;
    let [(envelope, Event::CommandRefused(refused))] = events.as_slice() else { panic!("not one refusal: {events:?}") };
    assert_eq!((refused.command.as_str(), refused.code.as_str()), ("register_lot", "FORBIDDEN"));
    assert_eq!((envelope.attributes.actor.as_str(), &envelope.attributes.stream), ("ann", &site("north")));
    process.stop().await;
}

#[tokio::test]
async fn of_two_first_admins_one_is_appointed() {
    let stand = enforced(one_partition());
    let process = stand.serve().await;
    for nobody in ["ann", "lotline"] {
        let request = by(&stand, &ActorId::new(nobody).unwrap(), appoint());
        assert_eq!(process.refused(request).await.0, "FORBIDDEN");
    }
    let gate = stand.hold();
    let (one, two) = (by(&stand, &ActorId::system(), appoint()), by(&stand, &ActorId::system(), appoint()));
    let (first, second) = (process.begin(one.clone()).await, process.begin(two).await);
    gate.open();
    let first = answer(first).await.expect("the first is appointed");
    let Err(SubmitError::Refused { code, .. }) = answer(second).await else { panic!("two first admins") };
    assert_eq!(code, "ADMIN_EXISTS");
    let again = process.accepted(one).await;
    assert!(again.replayed && user_of(&again) == user_of(&first));
    assert_eq!(
        stand.types().await,
        ["command.refused", "command.refused", "user.registered", "admin.appointed", "command.refused"]
    );
    let admin = user_of(&first).actor();
    process.accepted(by(&stand, &admin, register("M1"))).await;
    process.accepted(by(&stand, &admin, draft("nightly"))).await;
    process.stop().await;
}

#[tokio::test]
async fn a_role_lost_while_commands_wait_is_lost_for_those_after_it() {
    let stand = enforced(one_partition());
    let process = stand.serve().await;
    let (admin, user) = people(&stand, &process).await;
    process.accepted(by(&stand, &admin.actor(), give(user, &[Role::Operator]))).await;
    // All of them wait for one batch, of which the writer does not hear; it then asks the log and decides the next ones on that.
    let gate = stand.hold();
    let held = process.begin(by(&stand, &user.actor(), register("M0"))).await;
    gate.reached().await;
    stand.log.faults().push(Fault::Unacknowledged);
    let before = by(&stand, &user.actor(), register("M1"));
    let waiting = process.begin(before.clone()).await;
    let taken = process.begin(by(&stand, &admin.actor(), give(user, &[]))).await;
    let after = by(&stand, &user.actor(), register("M2"));
    let late = process.begin(after.clone()).await;
    gate.open();
    answer(held).await.unwrap();
    let first = answer(waiting).await.expect("the role was still there");
    answer(taken).await.unwrap();
    let Err(SubmitError::Refused { code, .. }) = answer(late).await else { panic!("without the role") };
    assert_eq!(code, "FORBIDDEN");
    // What was accepted before is answered as before, now and after a restart; and so is what was refused.
    process.stop().await;
    let process = stand.serve().await;
    let again = process.accepted(before).await;
    assert_eq!((again.replayed, again.version, again.subject), (true, first.version, first.subject));
    assert_eq!(process.refused(by(&stand, &user.actor(), register("M3"))).await.0, "FORBIDDEN");
    process.accepted(by(&stand, &admin.actor(), give(user, &[Role::Operator]))).await;
    assert_eq!(process.refused(after).await.0, "FORBIDDEN", "a command is decided once");
    process.accepted(by(&stand, &user.actor(), register("M2"))).await;
    process.stop().await;
}

#[tokio::test]
async fn keys_and_users_that_are_out_stay_out_after_a_takeover() {
    let stand = enforced(one_partition());
    let process = stand.serve().await;
    let (admin, user) = people(&stand, &process).await;
    let admin = admin.actor();
    process.accepted(by(&stand, &admin, give(user, &[Role::Operator]))).await;
    let issue = |prefix: &str| {
        Command::Access(AccessCommand::IssueApiKey(IssueApiKey {
            label: "robot".into(),
            prefix: prefix.into(),
            roles: RoleSet::of(&[Role::Operator]),
            sites: Vec::new(),
            expires_at: stand.clock.now().plus_micros(10 * MINUTE),
        }))
    };
    let mut keys: Vec<ApiKeyId> = Vec::new();
    for prefix in ["key-1", "key-2"] {
        let receipt = process.accepted(by(&stand, &admin, issue(prefix))).await;
        let Subject::Access(AccessSubject::ApiKey(id)) = receipt.subject else { panic!("no key") };
        keys.push(id);
    }
    for (number, actor) in [user.actor(), keys[0].actor(), keys[1].actor()].into_iter().enumerate() {
        process.accepted(by(&stand, &actor, register(&format!("M{number}")))).await;
    }
    process.accepted(by(&stand, &admin, Command::Access(AccessCommand::DeactivateUser { user_id: user }))).await;
    let revoke = Command::Access(AccessCommand::RevokeApiKey { key_id: keys[0] });
    process.accepted(by(&stand, &admin, revoke)).await;
    let snapshot: Snapshot = stand.fold(0).await.to_snapshot().unwrap();
    process.stop().await;
    assert_eq!(snapshot.format, SNAPSHOT_FORMAT);
    // Once from the whole log, once from a snapshot.
    for with_snapshot in [false, true] {
        if with_snapshot {
            stand.shelf.0.lock().unwrap().insert(0, snapshot.clone());
            stand.clock.forward(10 * MINUTE);
        }
        let process = stand.serve().await;
        let refused = async |actor: ActorId| process.refused(by(&stand, &actor, register("N1"))).await.1;
        assert!(refused(user.actor()).await.ends_with("the user is deactivated"));
        assert!(refused(keys[0].actor()).await.ends_with("the key is revoked"));
        let second = process.submit(by(&stand, &keys[1].actor(), register(&format!("K{with_snapshot}")))).await;
        assert_eq!(second.is_ok(), !with_snapshot, "expired by then: {second:?}");
        process.accepted(by(&stand, &admin, register(&format!("A{with_snapshot}")))).await;
        process.stop().await;
    }
}

/// Roles come and go while commands are in flight in two partitions, appends fail, the process is restarted. Afterwards each verdict is
/// reached again from the log: by folding the tenant's stream up to the sequence that the decision recorded.
#[tokio::test]
async fn every_verdict_is_that_of_the_sequence_it_records() {
    let stand = enforced(MemoryLog::new("lotline.dairy.ledger.v1", 2));
    let mut process = stand.serve().await;
    let (admin, user) = people(&stand, &process).await;
    let mut waiting = Vec::new();
    for round in 0..60 {
        let roles: &[Role] = if round % 2 == 0 { &[Role::Operator] } else { &[] };
        waiting.push(process.begin(by(&stand, &admin.actor(), give(user, roles))).await);
        for (place, number) in [("north", 0), ("south", 1), ("south", 2), ("north", 3)] {
            let mut request = by(&stand, &user.actor(), register(&format!("M{round}-{number}")));
            request.stream = site(place);
            let bus = process.bus.clone();
            waiting.push(tokio::spawn(async move { bus.submit(request).await }));
            if (round + number) % 3 == 0 {
                tokio::task::yield_now().await;
            }
        }
        match round % 10 {
            3 => stand.log.faults().push(Fault::Unacknowledged),
            6 => stand.log.faults().push(Fault::Lost),
            _ => {}
        }
        if round % 20 == 19 {
            for command in waiting.drain(..) {
                let answered = answer(command).await;
                assert!(matches!(answered, Ok(_) | Err(SubmitError::Refused { .. })), "{answered:?}");
            }
            process.stop().await;
            process = stand.serve().await;
        }
        settle().await;
    }
    process.stop().await;
    let (accepted, forbidden) = judge_again(&stand, user).await;
    assert!(accepted > 60 && forbidden > 60, "both happen: {accepted} accepted, {forbidden} forbidden");
}

/// How many of a user's registrations were accepted and how many forbidden, after judging all again.
pub(crate) async fn judge_again(stand: &Stand, user: UserId) -> (u32, u32) {
    let mut access = SharedAccess::default();
    let mut by_sequence = BTreeMap::from([(0, access.clone())]);
    let events = [stand.events(0).await, stand.events(1).await].concat();
    for (envelope, event) in events.iter().filter(|(envelope, _)| envelope.attributes.stream == StreamKey::Tenant) {
        access.evolve(event, envelope.attributes.sequence);
        by_sequence.insert(envelope.attributes.sequence, access.clone());
    }
    let (mut accepted, mut forbidden) = (0, 0);
    for (envelope, event) in &events {
        let StreamKey::Site(place) = &envelope.attributes.stream else { continue };
        let access = &by_sequence[&envelope.attributes.tenant_sequence.expect("a site's event has it")];
        let verdict = access.may(Actor::User(user), Permission::Decide, Some(place), envelope.attributes.time);
        match event {
            Event::LotRegistered(_) => {
                assert_eq!(verdict, Ok(()), "{envelope:?}");
                accepted += 1;
            }
            Event::CommandRefused(refused) if refused.code == AccessRefusal::FORBIDDEN => {
                assert!(verdict.is_err(), "{envelope:?}");
                forbidden += 1;
            }
            other => panic!("neither: {other:?}"),
        }
    }
    (accepted, forbidden)
}

#[tokio::test]
async fn in_development_only_what_is_the_machines_is_refused() {
    let stand = Stand::new();
    let process = stand.serve().await;
    let anybody = stand.request(Command::Access(AccessCommand::RegisterUser(profile())));
    process.accepted(anybody).await;
    assert_eq!(process.refused(stand.request(appoint())).await.0, "FORBIDDEN");
    process.accepted(by(&stand, &ActorId::system(), appoint())).await;
    let events = stand.events(0).await;
    let last = events.iter().rev().find(|(_, event)| matches!(event, Event::Access(AccessEvent::AdminAppointed(_))));
    assert_eq!(last.map(|(envelope, _)| envelope.attributes.actor.as_str()), Some("system"));
    process.stop().await;
}

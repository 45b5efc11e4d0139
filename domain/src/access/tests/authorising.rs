//! Who may give which command.

use super::*;
use crate::access::event::{ApiKeyRevoked, PipelineAccessSet, UserReactivated};
use crate::access::grant::{PipelineRight, RightSet};
use crate::access::need::Authorisation;
use crate::command::{CommandRequest, DeclareSignal};
use crate::given::{Given, judge, register, site, tenant};
use crate::hold::command::{HoldCommand, HoldRef};
use crate::id::{ActorId, ScenarioId, StreamKey};
use crate::qc::QcOutcome;
use crate::refusal::Refusal;
use crate::run::command::{RunCommand, RunRef};
use crate::scenario::command::{DefinitionInput, ScenarioCommand};
use crate::signal::{Address, DataType, ModbusTable, WordOrder};
use crate::timestamp::Timestamp;

fn declare() -> Command {
    Command::DeclareSignal(DeclareSignal {
        name: "t".into(),
        description: None,
        unit: "1".into(),
        data_type: DataType::Bool,
        device: "press".into(),
        address: Address::Modbus { unit: 0, table: ModbusTable::Coils, address: 0, word_order: WordOrder::Abcd },
        scale: None,
        offset: None,
    })
}

/// One of each command, beside the permission that it takes: at the site `north`, else everywhere.
fn commands() -> Vec<(Command, &'static str)> {
    let (user_id, scenario_id) = (user(50), ScenarioId(Uuid::nil()));
    let (run, hold) = (RunRef::Code("R1".into()), HoldRef::Code("H-1".into()));
    vec![
        (Command::RegisterLot(register("A", "1", "KGM")), "DECIDE"),
        (Command::RecordQcDecision(judge("A", QcOutcome::Pass)), "DECIDE"),
        (Command::Run(RunCommand::StartRun { scenario_id, version: None, code: None }), "DECIDE"),
        (Command::Run(RunCommand::AdvancePhase { run: run.clone(), from_phase: 0 }), "DECIDE"),
        (Command::Run(RunCommand::AbortRun { run }), "DECIDE"),
        (Command::Hold(HoldCommand::Place { lots: vec![] }), "DECIDE"),
        (Command::Hold(HoldCommand::Release { hold: hold.clone() }), "RELEASE"),
        (Command::Hold(HoldCommand::ReleaseLots { hold, lots: vec![] }), "RELEASE"),
        (declare(), "ENGINEER"),
        (Command::DraftPipeline { name: "P".into(), definition: definition() }, "ENGINEER"),
        (Command::RevisePipeline { pipeline_id: pipeline(5), name: "P".into(), definition: definition() }, "ENGINEER"),
        (Command::PublishPipeline { pipeline_id: pipeline(5) }, "ENGINEER"),
        (Command::ArchivePipeline { pipeline_id: pipeline(5) }, "ENGINEER"),
        (set_access(), "ENGINEER"),
        (Command::Scenario(draft_scenario()), "ENGINEER"),
        (Command::Scenario(ScenarioCommand::PublishScenario { scenario_id }), "ENGINEER"),
        (Command::Scenario(ScenarioCommand::RetireScenario { scenario_id }), "ENGINEER"),
        (Command::RetryProjection { model: "lots".into(), stream: "north".into() }, "ADMINISTER"),
        (Command::SkipProjectionEvent { model: "lots".into(), stream: "north".into(), sequence: 1 }, "ADMINISTER"),
        (register_site(), "ADMINISTER"),
        (access(AccessCommand::RegisterUser(profile())), "ADMINISTER"),
        (access(AccessCommand::ChangeUserProfile { user_id, profile: profile() }), "ADMINISTER"),
        (access(AccessCommand::DeactivateUser { user_id }), "ADMINISTER"),
        (access(AccessCommand::ReactivateUser { user_id }), "ADMINISTER"),
        (access(AccessCommand::IssuePasswordReset { user_id }), "ADMINISTER"),
        (give(50, None, &[Role::Viewer]), "ADMINISTER"),
        (give(50, Some("north"), &[Role::Viewer]), "ADMINISTER"),
        (access(AccessCommand::IssueApiKey(issue("key-9", &[Role::Viewer], &[]))), "ADMINISTER"),
        (access(AccessCommand::RevokeApiKey { key_id: key(1) }), "ADMINISTER"),
    ]
}

fn draft_scenario() -> ScenarioCommand {
    ScenarioCommand::DraftScenario { name: "Yogurt".into(), definition: DefinitionInput::default() }
}

fn register_site() -> Command {
    access(AccessCommand::RegisterSite { site: "west".into(), name: "W".into(), time_zone: "UTC".into() })
}

fn set_access() -> Command {
    let rights = RightSet::of(&[PipelineRight::View]);
    access(AccessCommand::SetPipelineAccess { pipeline_id: pipeline(5), user_id: user(50), rights })
}

fn is_for_site(command: &Command) -> bool {
    command.belongs_to(&StreamKey::Site(site_id("north")))
}

fn ask_at(given: &Given, actor: &ActorId, command: &Command, now: Timestamp) -> Result<(), Refusal> {
    let stream = if is_for_site(command) { site(&[]) } else { tenant(&[]) };
    let request = CommandRequest { actor: actor.clone(), ..stream.request(command.clone()) };
    given.state.access.authorise(&request, Authorisation::Enforced, now)
}

fn ask(given: &Given, actor: &ActorId, command: &Command) -> Result<(), Refusal> {
    ask_at(given, actor, command, now())
}

/// Refused, in these words.
#[track_caller]
fn forbidden(given: &Given, actor: &ActorId, command: &Command, because: &str) {
    let refusal = ask(given, actor, command).unwrap_err();
    assert_eq!((refusal.code(), refusal.field()), ("FORBIDDEN", None));
    assert!(refusal.to_string().ends_with(because), "{refusal}");
}

#[test]
fn each_role_gives_the_commands_of_its_permissions_and_no_other() {
    let mut given = tenant(&[site_registered("north"), site_registered("south")]);
    for (number, role) in (1..).zip(Role::ALL) {
        given.happened(&registered(number));
        given.happened(&member(number, None, &[role]));
        given.happened(&registered(number + 10));
        given.happened(&member(number + 10, Some("north"), &[role]));
        given.happened(&registered(number + 20));
        given.happened(&member(number + 20, Some("south"), &[role]));
        given.happened(&issued(number, &[role], &[]));
        given.happened(&issued(number + 10, &[role], &["north"]));
        given.happened(&issued(number + 20, &[role], &["south"]));
    }
    for (command, permission) in commands() {
        let at_north = is_for_site(&command) || command == give(50, Some("north"), &[Role::Viewer]);
        for (number, role) in (1..).zip(Role::ALL) {
            let granted = roles(&[role]).permissions().iter().any(|held| held.as_str() == permission);
            for (offset, here) in [(0, true), (10, at_north), (20, false)] {
                for actor in [user(number + offset).actor(), key(number + offset).actor()] {
                    let verdict = ask(&given, &actor, &command);
                    assert_eq!(verdict.is_ok(), granted && here, "{} by {role} +{offset}: {verdict:?}", command.name());
                    if let Err(refusal) = verdict {
                        let said = refusal.to_string();
                        let place = if at_north { " at site 'north'" } else { " everywhere" };
                        let start = format!("'{}' needs the permission {permission}{place}", command.name());
                        assert!(said.starts_with(&start), "{said}");
                    }
                }
            }
        }
    }
}

#[test]
fn roles_everywhere_and_at_a_site_add_up() {
    let given = tenant(&[
        site_registered("north"),
        registered(1),
        member(1, None, &[Role::Engineer]),
        member(1, Some("north"), &[Role::Operator]),
    ]);
    let (lot, ann) = (Command::RegisterLot(register("A", "1", "KGM")), user(1).actor());
    assert_eq!((ask(&given, &ann, &lot), ask(&given, &ann, &declare())), (Ok(()), Ok(())));
    let empty = tenant(&[registered(1), member(1, None, &[Role::Engineer])]);
    forbidden(&empty, &ann, &lot, "needs the permission DECIDE at site 'north': no role of the actor grants it");
    assert_eq!(ask(&empty, &ann, &declare()), Ok(()), "a site that only the configuration names");
}

#[test]
fn who_is_out_may_nothing_at_once() {
    let mut given = tenant(&[registered(1), member(1, None, &[Role::Admin]), issued(1, &[Role::Admin], &[])]);
    let (lot, ann, robot) = (Command::RegisterLot(register("A", "1", "KGM")), user(1).actor(), key(1).actor());
    assert_eq!((ask(&given, &ann, &lot), ask(&given, &robot, &lot)), (Ok(()), Ok(())));
    let end = now().plus_micros(HOUR);
    assert_eq!(ask_at(&given, &robot, &lot, end.plus_micros(-1)), Ok(()));
    let expired = ask_at(&given, &robot, &lot, end).unwrap_err().to_string();
    assert!(expired.ends_with("the key expired at 2026-11-21T04:15:00.000000Z"), "{expired}");
    given.happened(&deactivated(1));
    forbidden(&given, &ann, &lot, "the user is deactivated");
    given.happened(&Event::Access(AccessEvent::UserReactivated(UserReactivated { user_id: user(1) })));
    assert_eq!(ask(&given, &ann, &lot), Ok(()), "the roles are still there");
    given.happened(&Event::Access(AccessEvent::ApiKeyRevoked(ApiKeyRevoked { key_id: key(1) })));
    forbidden(&given, &robot, &lot, "the key is revoked");
    given.happened(&member(1, None, &[]));
    forbidden(&given, &ann, &lot, "no role of the actor grants it");
    for stranger in ["ann", "dev", "lotline", "system", "user:1"].map(|name| ActorId::new(name).unwrap()) {
        forbidden(&given, &stranger, &lot, "the actor is no known user or key");
    }
    forbidden(&given, &user(9).actor(), &lot, "the actor is no known user or key");
    forbidden(&given, &key(9).actor(), &lot, "the actor is no known user or key");
}

#[test]
fn a_key_of_sites_stays_there() {
    let given = tenant(&[site_registered("north"), site_registered("south"), issued(1, &[Role::Admin], &["south"])]);
    let lot = Command::RegisterLot(register("A", "1", "KGM"));
    forbidden(&given, &key(1).actor(), &lot, "DECIDE at site 'north': the key is not for this place");
    forbidden(&given, &key(1).actor(), &register_site(), "ADMINISTER everywhere: the key is not for this place");
    // Of an event that names a site which is not there, a key must not come to act everywhere.
    let odd = tenant(&[issued(1, &[Role::Admin], &["atlantis"])]);
    forbidden(&odd, &key(1).actor(), &lot, "the key is revoked");
}

#[test]
fn a_grant_is_for_its_pipeline_and_person() {
    let grant = |pipeline_id, rights: &[PipelineRight]| {
        let rights = RightSet::of(rights);
        Event::Access(AccessEvent::PipelineAccessSet(PipelineAccessSet { pipeline_id, user_id: user(1), rights }))
    };
    let mut given = tenant(&[drafted(5), drafted(6), registered(1), registered(2)]);
    let revise = |number| {
        let (pipeline_id, name) = (pipeline(number), "P".to_owned());
        Command::RevisePipeline { pipeline_id, name, definition: definition() }
    };
    let publish = Command::PublishPipeline { pipeline_id: pipeline(5) };
    let said = format!(
        "'revise_pipeline' needs the permission ENGINEER everywhere or the right EDIT on pipeline {}: no role of the actor grants it",
        pipeline(5)
    );
    assert_eq!(ask(&given, &user(1).actor(), &revise(5)).unwrap_err().to_string(), said);
    for (rights, may) in [
        (&[PipelineRight::View, PipelineRight::Execute][..], (false, false)),
        (&[PipelineRight::Edit], (true, false)),
        (&[PipelineRight::Manage], (true, true)),
        (&[], (false, false)),
    ] {
        given.happened(&grant(pipeline(5), rights));
        let asked = |command: &Command| ask(&given, &user(1).actor(), command).is_ok();
        assert_eq!((asked(&revise(5)), asked(&publish), asked(&set_access())), (may.0, may.1, may.1), "{rights:?}");
        assert!(!asked(&revise(6)), "another pipeline");
        assert!(ask(&given, &user(2).actor(), &revise(5)).is_err(), "another person");
        assert!(ask(&given, &key(1).actor(), &revise(5)).is_err());
    }
    given.happened(&grant(pipeline(5), &[PipelineRight::Manage]));
    given.happened(&deactivated(1));
    forbidden(&given, &user(1).actor(), &publish, "the user is deactivated");
}

#[test]
fn only_the_machine_appoints_and_it_does_little_else() {
    let mut given = tenant(&[registered(1), member(1, None, &[Role::Admin])]);
    given.happened(&issued(1, &[Role::Admin], &[]));
    let said = "'appoint_admin' needs the command line of the machine: no role of the actor grants it";
    for authorisation in [Authorisation::Enforced, Authorisation::Development] {
        let asked = |actor: ActorId| {
            let request = CommandRequest { actor, ..given.request(appoint(1, true)) };
            given.state.access.authorise(&request, authorisation, now()).map_err(|refusal| refusal.to_string())
        };
        for actor in [user(1).actor(), key(1).actor(), ActorId::lotline(), ActorId::new("ann").unwrap()] {
            assert_eq!(asked(actor), Err(said.to_owned()));
        }
        assert_eq!(asked(ActorId::system()), Ok(()));
    }
    let allowed: Vec<&str> = commands()
        .iter()
        .filter(|(command, _)| ask(&given, &ActorId::system(), command).is_ok())
        .map(|(command, _)| command.name())
        .collect();
    assert_eq!(allowed, ["register_site", "register_user", "change_membership", "change_membership"]);
}

#[test]
fn in_development_everybody_may_the_rest() {
    for (command, _) in commands() {
        let request = tenant(&[]).request(command);
        assert_eq!(tenant(&[]).state.access.authorise(&request, Authorisation::Development, now()), Ok(()));
    }
}

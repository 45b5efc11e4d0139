//! What may be decided, whoever asks.

use super::*;
use crate::access::event::{
    AdminAppointed, ApiKeyRevoked, PasswordResetIssued, PipelineAccessSet, UserProfileChanged, UserReactivated,
};
use crate::access::grant::{PipelineRight, RightSet};
use crate::given::tenant;
use crate::pipeline::PipelineArchived;

fn appointed(user_id: UserId, given: &[Role], recovery: bool) -> Event {
    Event::Access(AccessEvent::AdminAppointed(AdminAppointed { user_id, roles: roles(given), recovery }))
}

#[test]
fn the_first_admin_is_appointed_once() {
    let given = tenant(&[]);
    let fresh = UserId(given.fresh());
    let command = access(AccessCommand::AppointAdmin { appointee: Appointee::New(profile()), recovery: false });
    let events = given.when(command.clone()).accepted().events;
    let Profile { name, email } = profile();
    let first = Event::Access(AccessEvent::UserRegistered(UserRegistered { user_id: fresh, name, email }));
    assert_eq!(events, [first, appointed(fresh, &[Role::Admin], false)]);
    let said = "the tenant has an active ADMIN already; appointing another one from outside is a recovery";
    tenant(&events).when(command).refused("ADMIN_EXISTS", None, said);
}

#[test]
fn an_admin_is_recovered_with_a_reason() {
    let mut given = tenant(&[registered(1), member(1, None, &[Role::Admin]), registered(2), deactivated(2)]);
    given.happened(&member(2, None, &[Role::Viewer]));
    given.when(appoint(2, true)).refused("REASON_REQUIRED", Some("reason"), "this command needs a reason");
    let mut request = given.request(appoint(2, true));
    request.reason = Some("the admin has left".into());
    let reactivated = Event::Access(AccessEvent::UserReactivated(UserReactivated { user_id: user(2) }));
    let decision = given.when_asked(&request).accepted();
    assert_eq!(decision.events, [reactivated, appointed(user(2), &[Role::Viewer, Role::Admin], true)]);
    request.command = appoint(1, true);
    given.when_asked(&request).refused("NOTHING_TO_CHANGE", None, "nothing would change");
    request.command = appoint(3, true);
    assert_eq!(given.when_asked(&request).refusal().code(), "UNKNOWN_USER");
    // Without an active ADMIN it is no recovery, however it was asked for.
    let orphaned = tenant(&[registered(1)]);
    orphaned.when(appoint(1, false)).event(&appointed(user(1), &[Role::Admin], false));
}

#[test]
fn the_last_active_admin_stays() {
    let mut given = tenant(&[site_registered("north"), registered(1), member(1, None, &[Role::Admin]), registered(2)]);
    // None of these is one: a viewer, an ADMIN of a site, a key.
    given.happened(&member(2, Some("north"), &[Role::Admin]));
    given.happened(&issued(9, &[Role::Admin], &[]));
    let said = format!("user {} is the last active ADMIN of the tenant", user(1));
    for command in [give(1, None, &[Role::Manager]), give(1, None, &[]), deactivate(1)] {
        given.when(command).refused("LAST_ADMIN", None, &said);
    }
    given.when(give(1, None, &[Role::Admin, Role::Viewer])).accepted();
    given.happened(&member(2, None, &[Role::Admin]));
    given.when(deactivate(1)).accepted();
    given.happened(&deactivated(2));
    given.when(deactivate(1)).refused("LAST_ADMIN", None, &said);
    // Who is no active ADMIN can always lose roles.
    given.when(give(2, None, &[])).accepted();
}

fn deactivate(number: u128) -> Command {
    access(AccessCommand::DeactivateUser { user_id: user(number) })
}

#[test]
fn users_come_go_and_come_back() {
    let mut given = tenant(&[]);
    let user_id = UserId(given.fresh());
    let Profile { name, email } = profile();
    let event = Event::Access(AccessEvent::UserRegistered(UserRegistered { user_id, name, email }));
    given.when(access(AccessCommand::RegisterUser(profile()))).event(&event);
    given.happened(&registered(1));
    let other = Profile { name: sealed("Anne"), email: sealed("anne@dairy.example") };
    let change = AccessCommand::ChangeUserProfile { user_id: user(1), profile: other.clone() };
    let Profile { name, email } = other;
    let changed = UserProfileChanged { user_id: user(1), name, email };
    given.when(access(change)).event(&Event::Access(AccessEvent::UserProfileChanged(changed)));
    let reactivate = |number| access(AccessCommand::ReactivateUser { user_id: user(number) });
    let said = format!("user {} is active", user(1));
    given.when(reactivate(1)).refused("USER_ACTIVE", Some("userId"), &said);
    let reset = |number| access(AccessCommand::IssuePasswordReset { user_id: user(number) });
    let issued = AccessEvent::PasswordResetIssued(PasswordResetIssued { user_id: user(1) });
    given.when(reset(1)).event(&Event::Access(issued));
    given.when(deactivate(1)).event(&deactivated(1));
    given.happened(&deactivated(1));
    let said = format!("user {} is deactivated", user(1));
    for command in [deactivate(1), reset(1)] {
        given.when(command).refused("USER_DEACTIVATED", Some("userId"), &said);
    }
    let back = AccessEvent::UserReactivated(UserReactivated { user_id: user(1) });
    given.when(reactivate(1)).event(&Event::Access(back));
    let said = format!("user {} does not exist", user(8));
    for command in [deactivate(8), reactivate(8), reset(8), give(8, None, &[Role::Viewer])] {
        given.when(command).refused("UNKNOWN_USER", Some("userId"), &said);
    }
}

#[test]
fn what_is_not_encrypted_is_no_profile() {
    let good = sealed("Ann");
    let plain = Personal { ciphertext: "Ann".into(), ..good.clone() };
    let empty = sealed("");
    let long = sealed(&"x".repeat(321));
    let nonce = Personal { nonce: "00".into(), ..good.clone() };
    for bad in [plain, empty, long, nonce] {
        let profile = Profile { name: good.clone(), email: bad };
        let said = "email is not an encrypted text of at most 320 bytes";
        let command = access(AccessCommand::RegisterUser(profile));
        tenant(&[]).when(command).refused("INVALID_PERSONAL", Some("email"), said);
    }
    let profile = Profile { name: sealed(&"x".repeat(320)), email: sealed("a") };
    tenant(&[]).when(access(AccessCommand::RegisterUser(profile))).accepted();
}

#[test]
fn sites_are_unique_and_have_a_time_zone() {
    let given = tenant(&[site_registered("north")]);
    let register = |site: &str, name: &str, zone: &str| {
        let (site, name, time_zone) = (site.to_owned(), name.to_owned(), zone.to_owned());
        access(AccessCommand::RegisterSite { site, name, time_zone })
    };
    given.when(register("north", "N", "UTC")).refused(
        "DUPLICATE_SITE",
        Some("site"),
        "site 'north' is already registered",
    );
    let event = SiteRegistered { site: site_id("south"), name: "South".into(), time_zone: "America/New_York".into() };
    given
        .when(register("south", " South ", "America/New_York"))
        .event(&Event::Access(AccessEvent::SiteRegistered(event)));
    let said = "'Europe/Atlantis' is not a time zone of the IANA database, such as Europe/Copenhagen";
    given.when(register("south", "South", "Europe/Atlantis")).refused("UNKNOWN_TIME_ZONE", Some("timeZone"), said);
    assert_eq!(given.when(register("_tenant", "South", "UTC")).refusal().code(), "INVALID_ID");
    assert_eq!(given.when(register("south", "", "UTC")).refusal().field(), Some("name"));
}

#[test]
fn a_membership_states_all_roles() {
    let mut given = tenant(&[site_registered("north"), registered(1)]);
    given.when(give(1, Some("north"), &[Role::Operator, Role::Engineer])).event(&member(
        1,
        Some("north"),
        &[Role::Operator, Role::Engineer],
    ));
    given.happened(&member(1, Some("north"), &[Role::Operator]));
    given.when(give(1, Some("north"), &[Role::Operator])).refused("NOTHING_TO_CHANGE", None, "nothing would change");
    given.when(give(1, None, &[])).refused("NOTHING_TO_CHANGE", None, "nothing would change");
    given.when(give(1, Some("north"), &[])).event(&member(1, Some("north"), &[]));
    given.when(give(1, Some("south"), &[Role::Viewer])).refused(
        "UNKNOWN_SITE",
        Some("site"),
        "site 'south' is not registered",
    );
    assert_eq!(given.when(give(1, Some("No Site"), &[Role::Viewer])).refusal().code(), "INVALID_ID");
}

#[test]
fn nobody_gives_himself_more() {
    let given = tenant(&[
        site_registered("north"),
        registered(1),
        member(1, Some("north"), &[Role::Manager, Role::Operator]),
        registered(2),
        member(2, None, &[Role::Admin]),
        registered(3),
        member(3, None, &[Role::Admin]),
    ]);
    let ask = |who: u128, command: Command| {
        let mut request = given.request(command);
        request.actor = user(who).actor();
        given.when_asked(&request)
    };
    let said = "nobody but an ADMIN gives roles to himself";
    ask(1, give(1, None, &[Role::Viewer])).refused("OWN_ROLES", Some("roles"), said);
    ask(1, give(1, Some("north"), &[Role::Manager, Role::Admin])).refused("OWN_ROLES", Some("roles"), said);
    ask(1, give(1, Some("north"), &[Role::Manager])).accepted();
    ask(2, give(2, None, &[Role::Viewer])).accepted();
    ask(2, give(2, Some("north"), &[Role::Manager])).accepted();
}

#[test]
fn keys_have_roles_an_end_and_their_own_prefix() {
    let mut given = tenant(&[site_registered("north")]);
    let issue_key = |command: IssueApiKey| access(AccessCommand::IssueApiKey(command));
    let good = issue("key-1", &[Role::Operator], &["north", "north"]);
    let event = Event::Access(AccessEvent::ApiKeyIssued(ApiKeyIssued {
        key_id: ApiKeyId(given.fresh()),
        label: "robot".into(),
        prefix: "key-1".into(),
        roles: roles(&[Role::Operator]),
        sites: [site_id("north")].into(),
        expires_at: now().plus_micros(HOUR),
    }));
    given.when(issue_key(good.clone())).event(&event);
    given.happened(&issued(1, &[Role::Viewer], &[]));
    let said = format!("the prefix 'key-1' is already that of key {}", key(1));
    given.when(issue_key(good.clone())).refused("DUPLICATE_KEY_PREFIX", Some("prefix"), &said);
    for (code, field, bad) in [
        ("KEY_WITHOUT_ROLES", "roles", issue("key-2", &[], &[])),
        ("UNKNOWN_SITE", "sites", issue("key-2", &[Role::Viewer], &["south"])),
        ("EXPIRY_IN_PAST", "expiresAt", IssueApiKey { expires_at: now(), ..issue("key-2", &[Role::Viewer], &[]) }),
        ("INVALID_KEY_PREFIX", "prefix", issue("k 2 ü", &[Role::Viewer], &[])),
        ("INVALID_KEY_PREFIX", "prefix", issue("k2", &[Role::Viewer], &[])),
        ("INVALID_TEXT", "label", IssueApiKey { label: " ".into(), ..issue("key-2", &[Role::Viewer], &[]) }),
    ] {
        let refusal = given.when(issue_key(bad)).refusal();
        assert_eq!((refusal.code(), refusal.field()), (code, Some(field)), "{refusal}");
    }
    let revoke = |number| access(AccessCommand::RevokeApiKey { key_id: key(number) });
    let revoked = Event::Access(AccessEvent::ApiKeyRevoked(ApiKeyRevoked { key_id: key(1) }));
    given.when(revoke(1)).event(&revoked);
    given.happened(&revoked);
    given.when(revoke(1)).refused("API_KEY_REVOKED", Some("keyId"), &format!("key {} is revoked", key(1)));
    given.when(revoke(2)).refused("UNKNOWN_API_KEY", Some("keyId"), &format!("key {} does not exist", key(2)));
    // The prefix of a revoked key is not given again: the audit trail must not show two keys as one.
    assert_eq!(given.when(issue_key(good)).refusal().code(), "DUPLICATE_KEY_PREFIX");
}

#[test]
fn rights_on_a_pipeline_are_stated_whole() {
    let mut given = tenant(&[drafted(5), registered(1)]);
    let set = |pipeline_id, user_id, rights: &[PipelineRight]| {
        access(AccessCommand::SetPipelineAccess { pipeline_id, user_id, rights: RightSet::of(rights) })
    };
    let event = |rights: &[PipelineRight]| {
        let rights = RightSet::of(rights);
        let set = PipelineAccessSet { pipeline_id: pipeline(5), user_id: user(1), rights };
        Event::Access(AccessEvent::PipelineAccessSet(set))
    };
    let edit = [PipelineRight::Edit];
    given.when(set(pipeline(5), user(1), &edit)).event(&event(&edit));
    given.when(set(pipeline(5), user(1), &[])).refused("NOTHING_TO_CHANGE", None, "nothing would change");
    given.happened(&event(&edit));
    given.when(set(pipeline(5), user(1), &edit)).refused("NOTHING_TO_CHANGE", None, "nothing would change");
    given.when(set(pipeline(5), user(1), &[])).event(&event(&[]));
    assert_eq!(given.when(set(pipeline(6), user(1), &edit)).refusal().code(), "UNKNOWN_PIPELINE");
    assert_eq!(given.when(set(pipeline(5), user(2), &edit)).refusal().code(), "UNKNOWN_USER");
    given.happened(&Event::PipelineArchived(PipelineArchived { pipeline_id: pipeline(5) }));
    assert_eq!(given.when(set(pipeline(5), user(1), &[])).refusal().code(), "PIPELINE_ARCHIVED");
}

#[test]
fn versions_are_those_of_the_thing() {
    let given =
        tenant(&[registered(1), registered(2), member(1, None, &[Role::Viewer]), issued(4, &[Role::Viewer], &[])]);
    for (command, current) in [
        (deactivate(1), 3),
        (deactivate(2), 2),
        (access(AccessCommand::RevokeApiKey { key_id: key(4) }), 4),
        (access(AccessCommand::RegisterUser(profile())), 0),
    ] {
        let mut request = given.request(command);
        request.expected_version = Some(current);
        given.when_asked(&request).accepted();
        request.expected_version = Some(current + 1);
        assert_eq!(given.when_asked(&request).refusal().code(), "VERSION_CONFLICT");
    }
}

//! The state: what it never forgets, and how large it gets.

use std::mem::size_of;

use proptest::prelude::*;

use super::*;
use crate::access::grant::{PipelineRight, RightSet};
use crate::access::state::{AccessState, Grant, SharedAccess, Site, User};
use crate::given::tenant;

/// Commands about three users and what they may, many of them refused.
fn any_command() -> impl Strategy<Value = Command> {
    let number = 1_u128..4;
    let set = proptest::collection::vec(proptest::sample::select(&Role::ALL[..]), 0..3);
    prop_oneof![
        (number.clone(), set.clone(), any::<bool>()).prop_map(|(user, roles, north)| give(
            user,
            north.then_some("north"),
            &roles
        )),
        number.clone().prop_map(|number| access(AccessCommand::DeactivateUser { user_id: user(number) })),
        number.clone().prop_map(|number| access(AccessCommand::ReactivateUser { user_id: user(number) })),
        number.clone().prop_map(|number| access(AccessCommand::IssuePasswordReset { user_id: user(number) })),
        (number.clone(), any::<bool>()).prop_map(|(number, recovery)| appoint(number, recovery)),
        (number, set).prop_map(|(number, roles)| access(AccessCommand::IssueApiKey(issue(
            &format!("key-{number}"),
            &roles,
            &[]
        )))),
    ]
}

proptest! {
    #[test]
    fn a_tenant_never_loses_its_last_admin(commands in proptest::collection::vec(any_command(), 1..60)) {
        let mut given = tenant(&[site_registered("north"), registered(1), registered(2), registered(3)]);
        let mut replayed = given.state.access.clone();
        let mut had_admin = false;
        let mut sequence = 4;
        for command in commands {
            let mut request = given.request(command);
            request.reason = Some("because".into());
            if let Ok(decision) = given.state.decide(&request, now()) {
                for event in &decision.events {
                    given.happened(event);
                    sequence += 1;
                    replayed.evolve(event, sequence);
                }
            }
            had_admin |= given.state.access.has_admin();
            prop_assert_eq!(given.state.access.has_admin(), had_admin);
        }
        prop_assert_eq!(&replayed, &given.state.access);
    }
}

#[test]
fn whoever_looks_keeps_what_was_there() {
    let mut given = tenant(&[registered(1)]);
    let looked: SharedAccess = given.state.access.clone();
    given.happened(&deactivated(1));
    assert!(looked.is_active(user(1)) && !given.state.access.is_active(user(1)));
}

/// Ten thousand users with a thousand roles, some at sites, fit into two megabytes.
#[test]
fn it_is_small() {
    let mut state = AccessState::default();
    let mut sequence = 0;
    let mut happen = |event: &Event| {
        let Event::Access(event) = event else { panic!("not about access") };
        sequence += 1;
        state.evolve(event, sequence);
    };
    for number in 0..20 {
        happen(&site_registered(&format!("site-{number}")));
    }
    for number in 0..10_000 {
        happen(&registered(number));
    }
    for number in 0..1_000_u128 {
        let site = format!("site-{}", number % 20);
        happen(&member(number * 7, (number % 2 == 0).then_some(site.as_str()), &[Role::Operator]));
    }
    for number in 0..1_000 {
        let rights = RightSet::of(&[PipelineRight::Edit]);
        let set =
            crate::access::event::PipelineAccessSet { pipeline_id: pipeline(number), user_id: user(number), rights };
        happen(&Event::Access(AccessEvent::PipelineAccessSet(set)));
    }
    // One control byte per slot of a hash table.
    let users = state.users.capacity() * (size_of::<(UserId, User)>() + 1);
    let at_sites: usize = state.users.values().map(|user| user.at.capacity() * size_of::<(u32, RoleSet)>()).sum();
    let sites = state.sites.capacity() * (size_of::<(SiteId, Site)>() + 32);
    // A tree's nodes may be half empty.
    let grants = state.grants.len() * 2 * size_of::<((UserId, PipelineId), Grant)>();
    let bytes = users + at_sites + sites + grants;
    assert!(bytes < 2 << 20, "{bytes} bytes: {users} of users, {at_sites} at sites, {grants} of grants");
    assert!(size_of::<User>() <= 40, "{} bytes", size_of::<User>());
}

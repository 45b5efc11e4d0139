//! Where somebody has a permission: what lists without a site show.

use super::*;
use crate::access::actor::Actor;
use crate::access::event::{ApiKeyRevoked, PipelineAccessSet};
use crate::access::grant::{PipelineRight, RightSet};
use crate::access::reach::Reach;
use crate::access::refusal::Denial;
use crate::access::role::Permission;
use crate::access::state::AccessState;

fn state(events: &[Event]) -> AccessState {
    let mut state = AccessState::default();
    for (sequence, event) in (1..).zip(events) {
        let Event::Access(event) = event else { panic!("not about access: {event:?}") };
        state.evolve(event, sequence);
    }
    state
}

fn sites(names: &[&str]) -> Reach<SiteId> {
    Reach::Only(names.iter().map(|name| site_id(name)).collect())
}

fn set(number: u128, rights: &[PipelineRight]) -> Event {
    let (pipeline_id, user_id) = (pipeline(number), user(1));
    Event::Access(AccessEvent::PipelineAccessSet(PipelineAccessSet {
        pipeline_id,
        user_id,
        rights: RightSet::of(rights),
    }))
}

#[test]
fn a_permission_reaches_the_sites_where_a_role_grants_it() {
    let mut events = vec![site_registered("south"), site_registered("north"), registered(1)];
    let reach = |events: &[Event], permission| state(events).sites_of(Actor::User(user(1)), permission, now());
    assert_eq!(reach(&events, Permission::LookUp), Err(Denial::NotGranted));
    events.push(member(1, Some("south"), &[Role::Viewer]));
    events.push(member(1, Some("north"), &[Role::Manager]));
    assert_eq!(reach(&events, Permission::LookUp), Ok(sites(&["north", "south"])));
    assert_eq!(reach(&events, Permission::Validate), Ok(sites(&["north"])));
    assert_eq!(reach(&events, Permission::Administer), Err(Denial::NotGranted));
    events.push(member(1, None, &[Role::Viewer]));
    assert_eq!(reach(&events, Permission::LookUp), Ok(Reach::All));
    assert_eq!(reach(&events, Permission::Validate), Ok(sites(&["north"])), "a role everywhere takes none away");
    events.push(deactivated(1));
    assert_eq!(reach(&events, Permission::LookUp), Err(Denial::Deactivated));
}

#[test]
fn a_key_of_sites_reaches_them_and_no_further() {
    let mut events = vec![site_registered("north"), issued(1, &[Role::Viewer], &["north"])];
    let reach = |events: &[Event], permission| state(events).sites_of(Actor::Key(key(1)), permission, now());
    assert_eq!(reach(&events, Permission::LookUp), Ok(sites(&["north"])));
    assert_eq!(reach(&events, Permission::Decide), Err(Denial::OtherSite));
    events.push(Event::Access(AccessEvent::ApiKeyRevoked(ApiKeyRevoked { key_id: key(1) })));
    assert_eq!(reach(&events, Permission::LookUp), Err(Denial::Revoked));
}

#[test]
fn grants_reach_their_pipelines() {
    let mut events = vec![site_registered("north"), registered(1), registered(2)];
    events.extend([
        set(9, &[PipelineRight::View]),
        set(5, &[PipelineRight::Manage]),
        set(7, &[PipelineRight::View]),
        set(7, &[]),
    ]);
    let reach = |events: &[Event], right| state(events).pipelines_of(Actor::User(user(1)), right, now());
    assert_eq!(reach(&events, PipelineRight::View), Ok(Reach::Only(vec![pipeline(5), pipeline(9)])));
    assert_eq!(reach(&events, PipelineRight::Edit), Ok(Reach::Only(vec![pipeline(5)])));
    assert_eq!(reach(&events, PipelineRight::Execute), Err(Denial::NotGranted));
    let other = state(&events).pipelines_of(Actor::User(user(2)), PipelineRight::View, now());
    assert_eq!(other, Err(Denial::NotGranted));
    events.push(member(1, Some("north"), &[Role::Viewer]));
    let two = Ok(Reach::Only(vec![pipeline(5), pipeline(9)]));
    assert_eq!(reach(&events, PipelineRight::View), two, "pipelines are of no site");
    events.push(member(1, None, &[Role::Viewer]));
    assert_eq!(reach(&events, PipelineRight::View), Ok(Reach::All));
    events.push(deactivated(1));
    assert_eq!(reach(&events, PipelineRight::View), Err(Denial::Deactivated));
    assert!(state(&events).grants_of(Actor::User(user(1))).is_empty());
}

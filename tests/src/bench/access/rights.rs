//! `access.decision_us`, `access.reach_us`: what it costs to ask who may do what in a tenant of ten thousand people.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use lotline_domain::access::actor::Actor;
use lotline_domain::access::event::{
    AccessEvent, MembershipChanged, PipelineAccessSet, SiteRegistered, UserRegistered,
};
use lotline_domain::access::grant::{PipelineRight, RightSet};
use lotline_domain::access::role::{Permission, Role, RoleSet};
use lotline_domain::access::state::AccessState;
use lotline_domain::id::{PipelineId, SiteId, UserId};
use lotline_domain::personal::PersonalKey;
use lotline_domain::timestamp::Timestamp;
use uuid::Uuid;

use super::PEOPLE_OF_A_TENANT;
use crate::bench::report::Report;

const SITES: usize = 20;
const ROLES_AT_SITES: usize = 1_000;
const GRANTS: usize = 1_000;
const ROUNDS: u32 = 100;

/// Measures both.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let (state, sites) = tenant()?;
    let people: Vec<UserId> = (0..PEOPLE_OF_A_TENANT).map(person).collect();
    let now = Timestamp::from_millis(1_700_000_000_000);
    let decision = each(&people, |at, user| {
        black_box(state.may(Actor::User(user), Permission::Decide, Some(&sites[at % SITES]), now)).is_ok()
    });
    let reach = each(&people, |_, user| {
        let sites = black_box(state.sites_of(Actor::User(user), Permission::Decide, now)).is_ok();
        black_box(state.pipelines_of(Actor::User(user), PipelineRight::Edit, now)).is_ok() | sites
    });
    let bare: HashMap<UserId, u64> = people.iter().map(|user| (*user, 1)).collect();
    let look_up = each(&people, |_, user| black_box(bare.get(&user)).is_some());
    let micros = |length: Duration| length.as_secs_f64() * 1e6;
    let ratio = |length: Duration| Some(length.as_secs_f64() / look_up.as_secs_f64());
    report.note(&format!(
        "access: {PEOPLE_OF_A_TENANT} people, {ROLES_AT_SITES} roles at {SITES} sites, {GRANTS} grants; the raw probe is one look-up in a hash map"
    ));
    report.result("access.decision_us", micros(decision), "us", ratio(decision));
    report.result("access.reach_us", micros(reach), "us", ratio(reach));
    Ok(())
}

/// The mean over all people and rounds.
fn each(people: &[UserId], ask: impl Fn(usize, UserId) -> bool) -> Duration {
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        for (at, user) in people.iter().enumerate() {
            black_box(ask(at, *user));
        }
    }
    begun.elapsed() / (ROUNDS * u32::try_from(people.len()).expect("invariant: people are few"))
}

fn person(number: usize) -> UserId {
    UserId(Uuid::from_u128(number as u128))
}

fn tenant() -> anyhow::Result<(AccessState, Vec<SiteId>)> {
    let sites: Result<Vec<SiteId>, _> = (0..SITES).map(|number| SiteId::new(format!("site-{number}"))).collect();
    let sites = sites?;
    let sealed = PersonalKey { id: Uuid::nil(), secret: [7; 32] }.seal("bench", "Somebody");
    let registered = sites.iter().map(|site| {
        let (name, time_zone) = (site.to_string(), "Etc/UTC".to_owned());
        AccessEvent::SiteRegistered(SiteRegistered { site: site.clone(), name, time_zone })
    });
    let people = (0..PEOPLE_OF_A_TENANT).map(|number| {
        let (name, email) = (sealed.clone(), sealed.clone());
        AccessEvent::UserRegistered(UserRegistered { user_id: person(number), name, email })
    });
    let roles = (0..ROLES_AT_SITES).map(|number| {
        let (user_id, site) = (person(number * 7), Some(sites[number % SITES].clone()));
        AccessEvent::MembershipChanged(MembershipChanged { user_id, site, roles: RoleSet::of(&[Role::Operator]) })
    });
    let grants = (0..GRANTS).map(|number| {
        let pipeline_id = PipelineId(Uuid::from_u128(number as u128));
        let rights = RightSet::of(&[PipelineRight::Edit]);
        AccessEvent::PipelineAccessSet(PipelineAccessSet { pipeline_id, user_id: person(number % 100), rights })
    });
    let mut state = AccessState::default();
    for (sequence, event) in (1..).zip(registered.chain(people).chain(roles).chain(grants)) {
        state.evolve(&event, sequence);
    }
    Ok((state, sites))
}

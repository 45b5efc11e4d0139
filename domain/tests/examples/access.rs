//! The golden events about access.

use std::collections::BTreeSet;

use lotline_domain::access::event::{
    AccessEvent, AdminAppointed, ApiKeyIssued, ApiKeyRevoked, MembershipChanged, PasswordResetIssued,
    PipelineAccessSet, SiteRegistered, UserDeactivated, UserProfileChanged, UserReactivated, UserRegistered,
};
use lotline_domain::access::grant::{PipelineRight, RightSet};
use lotline_domain::access::role::{Role, RoleSet};
use lotline_domain::event::Event;
use lotline_domain::id::{ApiKeyId, PipelineId, SiteId, UserId};
use lotline_domain::personal::Personal;

use crate::{id, time};

/// The minimal and the full event of every type.
pub(crate) fn examples() -> Vec<[Event; 2]> {
    let pairs = [
        site_registered(),
        user_registered(),
        user_profile_changed(),
        [1, 2].map(|last| AccessEvent::UserDeactivated(UserDeactivated { user_id: UserId(id(last)) })),
        [1, 2].map(|last| AccessEvent::UserReactivated(UserReactivated { user_id: UserId(id(last)) })),
        [1, 2].map(|last| AccessEvent::PasswordResetIssued(PasswordResetIssued { user_id: UserId(id(last)) })),
        membership_changed(),
        admin_appointed(),
        api_key_issued(),
        [1, 2].map(|last| AccessEvent::ApiKeyRevoked(ApiKeyRevoked { key_id: ApiKeyId(id(last)) })),
        pipeline_access_set(),
    ];
    pairs.into_iter().map(|pair| pair.map(Event::Access)).collect()
}

fn site(name: &str) -> SiteId {
    SiteId::new(name).expect("a valid id")
}

fn sealed(last: u128) -> Personal {
    Personal {
        key_id: id(last),
        nonce: "000102030405060708090a0b".into(),
        ciphertext: "00112233445566778899aabbccddeeff00".into(),
    }
}

fn site_registered() -> [AccessEvent; 2] {
    [("north", "North", "UTC"), ("south", "Süd \"2\"", "America/Argentina/ComodRivadavia")].map(|(id, name, zone)| {
        let site = site(id);
        AccessEvent::SiteRegistered(SiteRegistered { site, name: name.into(), time_zone: zone.into() })
    })
}

fn user_registered() -> [AccessEvent; 2] {
    [1, 2].map(|last| {
        let (user_id, name, email) = (UserId(id(last)), sealed(last + 10), sealed(last + 10));
        AccessEvent::UserRegistered(UserRegistered { user_id, name, email })
    })
}

fn user_profile_changed() -> [AccessEvent; 2] {
    [1, 2].map(|last| {
        let (user_id, name, email) = (UserId(id(last)), sealed(last + 10), sealed(last + 10));
        AccessEvent::UserProfileChanged(UserProfileChanged { user_id, name, email })
    })
}

fn membership_changed() -> [AccessEvent; 2] {
    [(None, RoleSet::EMPTY), (Some(site("north")), Role::ALL.into_iter().collect())]
        .map(|(site, roles)| AccessEvent::MembershipChanged(MembershipChanged { user_id: UserId(id(1)), site, roles }))
}

fn admin_appointed() -> [AccessEvent; 2] {
    [(RoleSet::of(&[Role::Admin]), false), (RoleSet::of(&[Role::Admin, Role::Viewer]), true)].map(
        |(roles, recovery)| AccessEvent::AdminAppointed(AdminAppointed { user_id: UserId(id(1)), roles, recovery }),
    )
}

fn api_key_issued() -> [AccessEvent; 2] {
    let minimal = ApiKeyIssued {
        key_id: ApiKeyId(id(1)),
        label: "robot".into(),
        prefix: "lk_1".into(),
        roles: RoleSet::of(&[Role::Operator]),
        sites: BTreeSet::new(),
        expires_at: time("2027-11-21T03:15:00Z"),
    };
    let full = ApiKeyIssued {
        label: "Roboter \"ü\"".into(),
        prefix: "lk-ABCDEFGHIJKLMNOPQRSTUVWXYZ_09".into(),
        roles: RoleSet::of(&[Role::Engineer, Role::Operator]),
        sites: BTreeSet::from([site("south"), site("north")]),
        ..minimal.clone()
    };
    [AccessEvent::ApiKeyIssued(minimal), AccessEvent::ApiKeyIssued(full)]
}

fn pipeline_access_set() -> [AccessEvent; 2] {
    [RightSet::EMPTY, PipelineRight::ALL.into_iter().collect()].map(|rights| {
        let (pipeline_id, user_id) = (PipelineId(id(1)), UserId(id(2)));
        AccessEvent::PipelineAccessSet(PipelineAccessSet { pipeline_id, user_id, rights })
    })
}

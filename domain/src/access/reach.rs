//! Where an actor has a permission: what a list shows that is asked for without naming a site or a pipeline.

use uuid::Uuid;

use super::actor::Actor;
use super::grant::{PipelineRight, RightSet};
use super::refusal::Denial;
use super::role::Permission;
use super::state::AccessState;
use crate::id::{PipelineId, SiteId};
use crate::timestamp::Timestamp;

/// On which things something holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach<T> {
    /// On all, those to come included.
    All,
    /// On these alone: at least one, in order.
    Only(Vec<T>),
}

impl AccessState {
    /// The sites at which an actor has a permission.
    ///
    /// # Errors
    /// [`Denial`] when it is none.
    pub fn sites_of(&self, actor: Actor, permission: Permission, now: Timestamp) -> Result<Reach<SiteId>, Denial> {
        let denial = match self.may(actor, permission, None, now) {
            Ok(()) => return Ok(Reach::All),
            Err(denial) => denial,
        };
        let memberships = self.memberships(actor, now).into_iter();
        let sites = memberships.filter(|(_, roles)| roles.grants(permission)).filter_map(|(site, _)| site);
        let sites: Vec<SiteId> = sites.collect();
        if sites.is_empty() { Err(denial) } else { Ok(Reach::Only(sites)) }
    }

    /// The pipelines on which an actor has a right.
    ///
    /// # Errors
    /// [`Denial`] when it is none.
    pub fn pipelines_of(
        &self,
        actor: Actor,
        right: PipelineRight,
        now: Timestamp,
    ) -> Result<Reach<PipelineId>, Denial> {
        let denial = match self.may(actor, right.permission(), None, now) {
            Ok(()) => return Ok(Reach::All),
            Err(denial) => denial,
        };
        let grants = self.grants_of(actor).into_iter();
        let pipelines: Vec<PipelineId> =
            grants.filter(|(_, rights)| rights.allows(right)).map(|(pipeline, _)| pipeline).collect();
        if pipelines.is_empty() { Err(denial) } else { Ok(Reach::Only(pipelines)) }
    }

    /// The rights of an actor on single pipelines, in the order of their ids. Only active users have any.
    pub fn grants_of(&self, actor: Actor) -> Vec<(PipelineId, RightSet)> {
        let Actor::User(user) = actor else { return Vec::new() };
        if !self.is_active(user) {
            return Vec::new();
        }
        let all = (user, PipelineId(Uuid::nil()))..=(user, PipelineId(Uuid::max()));
        let own = self.grants.range(all).filter(|(_, grant)| !grant.rights.is_empty());
        own.map(|((_, pipeline), grant)| (*pipeline, grant.rights)).collect()
    }
}

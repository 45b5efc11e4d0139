//! What an answer shows its caller, as the ledger has it at this moment: lists that name no site or pipeline are narrowed to those where the
//! caller holds what the field takes.
//!
//! [`super::authority`] lets in whoever holds it anywhere; here is where. Subscriptions look again for each change.

use async_graphql::Error;
use lotline_domain::access::actor::Actor;
use lotline_domain::access::grant::{PipelineRight, RightSet};
use lotline_domain::access::reach::Reach;
use lotline_domain::access::refusal::Denial;
use lotline_domain::access::role::{Permission, RoleSet};
use lotline_domain::access::state::SharedAccess;
use lotline_domain::id::{PipelineId, SiteId};
use lotline_domain::timestamp::Timestamp;
use uuid::Uuid;

use super::failure::coded;
use crate::auth::Door;
use crate::server::Server;

/// What one actor may see.
pub struct Sight {
    /// Nothing in development mode, where everybody sees everything.
    access: Option<SharedAccess>,
    actor: Actor,
    now: Timestamp,
}

/// Which sites' rows a list has: of one, of several, or of all when neither is there.
pub struct Narrowed {
    /// Of one.
    pub site: Option<String>,
    /// Of several.
    pub sites: Option<Vec<String>>,
}

impl Sight {
    /// As it is now.
    ///
    /// # Errors
    /// `UNAVAILABLE` while it is not known who may do what.
    pub fn now(server: &Server, actor: Actor) -> Result<Self, Error> {
        let access = match &server.state.door {
            Door::Open => None,
            Door::Guarded(guard) => Some(guard.access().map_err(|problem| coded(problem.code, problem.message))?),
        };
        Ok(Self { access, actor, now: server.state.clock.now() })
    }

    /// Whether the actor has a permission everywhere.
    pub fn may(&self, permission: Permission) -> bool {
        self.access.as_ref().is_none_or(|access| access.may(self.actor, permission, None, self.now).is_ok())
    }

    /// Whether the actor has a permission at a site. At one that can't be, only what holds everywhere counts.
    pub fn may_at(&self, permission: Permission, site: &str) -> bool {
        let site = SiteId::new(site).ok();
        self.access.as_ref().is_none_or(|access| access.may(self.actor, permission, site.as_ref(), self.now).is_ok())
    }

    /// Whether the actor may look at a pipeline.
    pub fn may_view(&self, pipeline: Uuid) -> bool {
        let id = PipelineId(pipeline);
        let verdict = |access: &SharedAccess| access.may_on_pipeline(self.actor, PipelineRight::View, id, self.now);
        self.access.as_ref().is_none_or(|access| verdict(access).is_ok())
    }

    /// Which sites' rows a list shows that takes a permission and may name a site.
    ///
    /// # Errors
    /// `FORBIDDEN` when they are none.
    pub fn narrow(&self, permission: Permission, site: Option<String>) -> Result<Narrowed, Error> {
        let Some(access) = &self.access else { return Ok(Narrowed { site, sites: None }) };
        if let Some(site) = site {
            let id = SiteId::new(site.as_str()).ok();
            access
                .may(self.actor, permission, id.as_ref(), self.now)
                .map_err(|denial| forbidden(permission, denial))?;
            return Ok(Narrowed { site: Some(site), sites: None });
        }
        match access.sites_of(self.actor, permission, self.now).map_err(|denial| forbidden(permission, denial))? {
            Reach::All => Ok(Narrowed { site: None, sites: None }),
            Reach::Only(sites) => {
                let mut sites: Vec<String> = sites.into_iter().map(|site| site.to_string()).collect();
                // Of one site is what the tables are best at.
                if sites.len() == 1 {
                    return Ok(Narrowed { site: sites.pop(), sites: None });
                }
                Ok(Narrowed { site: None, sites: Some(sites) })
            }
        }
    }

    /// The pipelines that the actor may look at; nothing means all.
    ///
    /// # Errors
    /// `FORBIDDEN` when they are none.
    pub fn pipelines(&self) -> Result<Option<Vec<Uuid>>, Error> {
        let Some(access) = &self.access else { return Ok(None) };
        let reach = access.pipelines_of(self.actor, PipelineRight::View, self.now);
        match reach.map_err(|denial| forbidden(Permission::LookUp, denial))? {
            Reach::All => Ok(None),
            Reach::Only(ids) => Ok(Some(ids.into_iter().map(|id| id.0).collect())),
        }
    }

    /// The actor's roles: everywhere (`None`), and at single sites. Nothing in development mode, where nobody has any.
    pub fn memberships(&self) -> Option<Vec<(Option<SiteId>, RoleSet)>> {
        self.access.as_ref().map(|access| access.memberships(self.actor, self.now))
    }

    /// The actor's rights on single pipelines.
    pub fn grants(&self) -> Vec<(PipelineId, RightSet)> {
        self.access.as_ref().map(|access| access.grants_of(self.actor)).unwrap_or_default()
    }
}

fn forbidden(permission: Permission, denial: Denial) -> Error {
    coded("FORBIDDEN", format!("this needs {permission} there: {denial}"))
}

//! Who may do what, as the fold of the tenant's stream: an answer costs one or two look-ups in memory.
//!
//! Small on purpose, since every node holds it and copies it when it changes: a user is some 60 bytes, sites are numbers, roles are bits.
//! [`SharedAccess`] is how it travels: writers of other partitions hold the same copy until a newer one is there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::actor::Actor;
use super::grant::{PipelineRight, RightSet};
use super::refusal::Denial;
use super::role::{Permission, Role, RoleSet};
use crate::event::Event;
use crate::id::{ApiKeyId, PipelineId, SiteId, UserId};
use crate::timestamp::Timestamp;

/// Sites, users, keys and grants of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccessState {
    pub(super) sites: HashMap<SiteId, Site>,
    pub(super) users: HashMap<UserId, User>,
    pub(super) keys: HashMap<ApiKeyId, Key>,
    pub(super) grants: HashMap<(PipelineId, UserId), Grant>,
}

/// A registered plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Site {
    /// Stands for its id wherever it is referred to.
    pub(super) number: u32,
    pub(super) version: u64,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) active: bool,
    /// Everywhere.
    pub(super) roles: RoleSet,
    /// At single sites, by number; a few at most for most people.
    pub(super) at: Vec<(u32, RoleSet)>,
    pub(super) version: u64,
}

/// A program's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) prefix: Box<str>,
    pub(super) roles: RoleSet,
    /// Numbers of sites in order; everywhere when there are none.
    pub(super) sites: Vec<u32>,
    pub(super) expires_at: Timestamp,
    pub(super) revoked: bool,
    pub(super) version: u64,
}

/// A person's rights on a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grant {
    pub(super) rights: RightSet,
    pub(super) version: u64,
}

impl AccessState {
    /// Whether an actor has a permission at a site, or everywhere when none is given.
    ///
    /// # Errors
    /// [`Denial`].
    pub fn may(
        &self,
        actor: Actor,
        permission: Permission,
        site: Option<&SiteId>,
        now: Timestamp,
    ) -> Result<(), Denial> {
        let roles = match actor {
            Actor::User(id) => self.active(id)?.roles_at(self.number(site)),
            Actor::Key(id) => self.key_roles(id, site, now)?,
            // Whoever has the machine acts by the commands that are made for it, and by no other.
            Actor::System | Actor::Lotline | Actor::Other => return Err(Denial::UnknownActor),
        };
        if roles.grants(permission) { Ok(()) } else { Err(Denial::NotGranted) }
    }

    /// Whether an actor has a right on a pipeline: by a role that holds everywhere, or by a grant.
    ///
    /// # Errors
    /// [`Denial`].
    pub fn may_on_pipeline(
        &self,
        actor: Actor,
        right: PipelineRight,
        pipeline: PipelineId,
        now: Timestamp,
    ) -> Result<(), Denial> {
        match self.may(actor, right.permission(), None, now) {
            Err(Denial::NotGranted) => {
                let granted = matches!(actor, Actor::User(id)
                    if self.grants.get(&(pipeline, id)).is_some_and(|grant| grant.rights.allows(right)));
                if granted { Ok(()) } else { Err(Denial::NotGranted) }
            }
            verdict => verdict,
        }
    }

    /// Whether an actor may come in at all: an active user, or a key that is good now. What it may do there is another question.
    ///
    /// # Errors
    /// [`Denial`].
    pub fn admits(&self, actor: Actor, now: Timestamp) -> Result<(), Denial> {
        match actor {
            Actor::User(id) => self.active(id).map(|_| ()),
            Actor::Key(id) => self.good_key(id, now).map(|_| ()),
            Actor::System | Actor::Lotline | Actor::Other => Err(Denial::UnknownActor),
        }
    }

    /// What an actor is, and where: first everywhere (`None`), then at single sites by their ids. A key that is for some sites is
    /// nothing elsewhere. Empty for whoever is not admitted.
    pub fn memberships(&self, actor: Actor, now: Timestamp) -> Vec<(Option<SiteId>, RoleSet)> {
        let (everywhere, at) = match actor {
            Actor::User(id) => match self.active(id) {
                Ok(user) => (user.roles, user.at.clone()),
                Err(_) => return Vec::new(),
            },
            Actor::Key(id) => match self.good_key(id, now) {
                Ok(key) if key.sites.is_empty() => (key.roles, Vec::new()),
                Ok(key) => (RoleSet::EMPTY, key.sites.iter().map(|site| (*site, key.roles)).collect()),
                Err(_) => return Vec::new(),
            },
            Actor::System | Actor::Lotline | Actor::Other => return Vec::new(),
        };
        let id = |number: u32| self.sites.iter().find(|(_, site)| site.number == number).map(|(id, _)| id.clone());
        let mut found: Vec<_> = at.into_iter().filter_map(|(site, roles)| Some((Some(id(site)?), roles))).collect();
        found.push((None, everywhere));
        found.retain(|(_, roles)| !roles.is_empty());
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        found
    }

    /// Whether the user exists and is active.
    pub fn is_active(&self, user: UserId) -> bool {
        self.active(user).is_ok()
    }

    /// Whether a site is registered, so that roles can be limited to it.
    pub fn knows_site(&self, site: &SiteId) -> bool {
        self.sites.contains_key(site)
    }

    /// Whether anybody can administer the tenant. Keys do not count: they expire.
    pub fn has_admin(&self) -> bool {
        self.users.values().any(User::is_admin)
    }

    fn active(&self, id: UserId) -> Result<&User, Denial> {
        let user = self.users.get(&id).ok_or(Denial::UnknownActor)?;
        if user.active { Ok(user) } else { Err(Denial::Deactivated) }
    }

    fn good_key(&self, id: ApiKeyId, now: Timestamp) -> Result<&Key, Denial> {
        let key = self.keys.get(&id).ok_or(Denial::UnknownActor)?;
        if key.revoked {
            return Err(Denial::Revoked);
        }
        if now >= key.expires_at { Err(Denial::Expired(key.expires_at)) } else { Ok(key) }
    }

    fn key_roles(&self, id: ApiKeyId, site: Option<&SiteId>, now: Timestamp) -> Result<RoleSet, Denial> {
        let key = self.good_key(id, now)?;
        let here = key.sites.is_empty() || self.number(site).is_some_and(|site| key.sites.binary_search(&site).is_ok());
        if here { Ok(key.roles) } else { Err(Denial::OtherSite) }
    }

    /// A site that nobody registered has no number, so that only what holds everywhere holds there.
    fn number(&self, site: Option<&SiteId>) -> Option<u32> {
        site.and_then(|site| self.sites.get(site)).map(|site| site.number)
    }
}

impl User {
    pub(super) fn is_admin(&self) -> bool {
        self.active && self.roles.has(Role::Admin)
    }

    /// The roles at one site alone.
    pub(super) fn at(&self, site: u32) -> RoleSet {
        self.at.iter().find(|(at, _)| *at == site).map_or(RoleSet::EMPTY, |(_, roles)| *roles)
    }

    fn roles_at(&self, site: Option<u32>) -> RoleSet {
        site.map_or(self.roles, |site| self.roles.and(self.at(site)))
    }
}

/// An [`AccessState`] that is copied only when it changes while somebody else looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedAccess(Arc<AccessState>);

impl SharedAccess {
    /// Applies an event that stands at `sequence` in the tenant's stream.
    pub fn evolve(&mut self, event: &Event, sequence: u64) {
        if let Event::Access(event) = event {
            Arc::make_mut(&mut self.0).evolve(event, sequence);
        }
    }
}

impl std::ops::Deref for SharedAccess {
    type Target = AccessState;

    fn deref(&self) -> &AccessState {
        &self.0
    }
}

impl Serialize for SharedAccess {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedAccess {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        AccessState::deserialize(deserializer).map(|state| Self(Arc::new(state)))
    }
}

/// Numbers of sites, for a key.
pub(super) fn numbers(sites: &HashMap<SiteId, Site>, ids: &BTreeSet<SiteId>) -> Vec<u32> {
    let mut numbers: Vec<u32> = ids.iter().filter_map(|id| sites.get(id)).map(|site| site.number).collect();
    numbers.sort_unstable();
    numbers
}

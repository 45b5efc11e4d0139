//! How each event about access changes the state. Events were decided by the rules, so what they refer to is there; of a log that was not,
//! the rest still folds.

use super::event::{AccessEvent, MembershipChanged};
use super::role::RoleSet;
use super::state::{AccessState, Grant, Key, Site, User, numbers};
use crate::id::{SiteId, UserId};

impl AccessState {
    /// Applies an event that stands at `sequence` in the tenant's stream.
    pub fn evolve(&mut self, event: &AccessEvent, sequence: u64) {
        match event {
            AccessEvent::SiteRegistered(data) => {
                let number = u32::try_from(self.sites.len()).expect("invariant: no tenant has 2^32 sites");
                self.sites.insert(data.site.clone(), Site { number, version: sequence });
            }
            AccessEvent::UserRegistered(data) => {
                let user = User { active: true, roles: RoleSet::EMPTY, at: Vec::new(), version: sequence };
                self.users.insert(data.user_id, user);
            }
            AccessEvent::UserProfileChanged(data) => self.change_user(data.user_id, sequence, |_| {}),
            AccessEvent::PasswordResetIssued(data) => self.change_user(data.user_id, sequence, |_| {}),
            AccessEvent::UserDeactivated(data) => {
                self.change_user(data.user_id, sequence, |user| user.active = false);
            }
            AccessEvent::UserReactivated(data) => self.change_user(data.user_id, sequence, |user| user.active = true),
            AccessEvent::MembershipChanged(MembershipChanged { user_id, site, roles }) => {
                self.set_roles(*user_id, site.as_ref(), *roles, sequence);
            }
            AccessEvent::AdminAppointed(data) => self.set_roles(data.user_id, None, data.roles, sequence),
            AccessEvent::ApiKeyIssued(data) => {
                let key = Key {
                    prefix: data.prefix.as_str().into(),
                    roles: data.roles,
                    sites: numbers(&self.sites, &data.sites),
                    expires_at: data.expires_at,
                    // Sites of which none is known must not widen the key to all of them.
                    revoked: !data.sites.iter().all(|site| self.sites.contains_key(site)),
                    version: sequence,
                };
                self.keys.insert(data.key_id, key);
            }
            AccessEvent::ApiKeyRevoked(data) => {
                if let Some(key) = self.keys.get_mut(&data.key_id) {
                    (key.revoked, key.version) = (true, sequence);
                }
            }
            AccessEvent::PipelineAccessSet(data) => {
                let grant = Grant { rights: data.rights, version: sequence };
                self.grants.insert((data.user_id, data.pipeline_id), grant);
            }
        }
    }

    fn change_user(&mut self, id: UserId, sequence: u64, change: impl FnOnce(&mut User)) {
        if let Some(user) = self.users.get_mut(&id) {
            change(user);
            user.version = sequence;
        }
    }

    fn set_roles(&mut self, id: UserId, site: Option<&SiteId>, roles: RoleSet, sequence: u64) {
        let number = match site {
            None => None,
            Some(site) => match self.sites.get(site) {
                Some(site) => Some(site.number),
                None => return,
            },
        };
        self.change_user(id, sequence, |user| match number {
            None => user.roles = roles,
            Some(number) => {
                user.at.retain(|(at, _)| *at != number);
                if !roles.is_empty() {
                    user.at.push((number, roles));
                }
            }
        });
    }
}

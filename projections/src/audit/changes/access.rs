//! What events about access changed.

use std::collections::BTreeMap;

use lotline_domain::access::event::AccessEvent;
use lotline_domain::access::grant::RightSet;
use lotline_domain::access::role::RoleSet;
use lotline_domain::personal::Personal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Changes, State, States, wrong_kind};
use crate::failure::ApplyError;

/// A user as later events can change them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::audit) struct UserState {
    name: Personal,
    email: Personal,
    active: bool,
    /// Everywhere.
    roles: RoleSet,
    /// At single sites.
    at: BTreeMap<String, RoleSet>,
}

/// Whether the event needs no earlier state. Rights on a pipeline have none before they are set, and then one like any other.
pub(super) fn is_creation(event: &AccessEvent) -> bool {
    match event {
        AccessEvent::SiteRegistered(_) | AccessEvent::UserRegistered(_) | AccessEvent::ApiKeyIssued(_) => true,
        AccessEvent::UserProfileChanged(_)
        | AccessEvent::UserDeactivated(_)
        | AccessEvent::UserReactivated(_)
        | AccessEvent::PasswordResetIssued(_)
        | AccessEvent::MembershipChanged(_)
        | AccessEvent::AdminAppointed(_)
        | AccessEvent::ApiKeyRevoked(_)
        | AccessEvent::PipelineAccessSet(_) => false,
    }
}

impl States {
    pub(super) fn change_access(
        &mut self,
        subject: &str,
        event: &AccessEvent,
        data: &RawValue,
        changes: &mut Changes,
    ) -> Result<(), ApplyError> {
        match event {
            AccessEvent::SiteRegistered(_) => changes.creation(data)?,
            AccessEvent::UserRegistered(user) => {
                changes.creation(data)?;
                let (name, email) = (user.name.clone(), user.email.clone());
                let user = UserState { name, email, active: true, roles: RoleSet::EMPTY, at: BTreeMap::new() };
                self.put(subject, State::User(user));
            }
            AccessEvent::ApiKeyIssued(_) => {
                changes.creation(data)?;
                self.put(subject, State::ApiKey { revoked: false });
            }
            AccessEvent::ApiKeyRevoked(_) => {
                let State::ApiKey { revoked } = self.get(subject)? else { return Err(wrong_kind(subject)) };
                changes.push("revoked", &*revoked, &true)?;
                *revoked = true;
            }
            AccessEvent::PipelineAccessSet(set) => {
                let before = match self.known.get(subject) {
                    Some(State::PipelineAccess { rights }) => *rights,
                    Some(_) => return Err(wrong_kind(subject)),
                    None => RightSet::EMPTY,
                };
                changes.push("rights", &before, &set.rights)?;
                self.put(subject, State::PipelineAccess { rights: set.rights });
            }
            AccessEvent::UserProfileChanged(_)
            | AccessEvent::UserDeactivated(_)
            | AccessEvent::UserReactivated(_)
            | AccessEvent::PasswordResetIssued(_)
            | AccessEvent::MembershipChanged(_)
            | AccessEvent::AdminAppointed(_) => {
                let State::User(user) = self.get(subject)? else { return Err(wrong_kind(subject)) };
                change_user(user, event, changes)?;
            }
        }
        Ok(())
    }
}

fn change_user(user: &mut UserState, event: &AccessEvent, changes: &mut Changes) -> Result<(), ApplyError> {
    match event {
        AccessEvent::UserProfileChanged(data) => {
            for (field, before, after) in
                [("name", &mut user.name, &data.name), ("email", &mut user.email, &data.email)]
            {
                if before != after {
                    changes.push(field, &*before, after)?;
                    before.clone_from(after);
                }
            }
        }
        AccessEvent::UserDeactivated(_) => set(&mut user.active, false, "active", changes)?,
        AccessEvent::UserReactivated(_) => set(&mut user.active, true, "active", changes)?,
        AccessEvent::MembershipChanged(data) => match &data.site {
            None => set(&mut user.roles, data.roles, "roles", changes)?,
            Some(site) => {
                let roles = user.at.entry(site.to_string()).or_default();
                set(roles, data.roles, &format!("roles.{site}"), changes)?;
            }
        },
        AccessEvent::AdminAppointed(data) => set(&mut user.roles, data.roles, "roles", changes)?,
        // Sessions and links are not in the ledger, and the rest is not about users.
        AccessEvent::PasswordResetIssued(_)
        | AccessEvent::SiteRegistered(_)
        | AccessEvent::UserRegistered(_)
        | AccessEvent::ApiKeyIssued(_)
        | AccessEvent::ApiKeyRevoked(_)
        | AccessEvent::PipelineAccessSet(_) => {}
    }
    Ok(())
}

fn set<T: Serialize + Copy>(value: &mut T, after: T, field: &str, changes: &mut Changes) -> Result<(), ApplyError> {
    changes.push(field, &*value, &after)?;
    *value = after;
    Ok(())
}

//! The rules about access.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::actor::Actor;
use super::command::{AccessCommand, Appointee, IssueApiKey, Profile};
use super::event::{
    AccessEvent, AdminAppointed, ApiKeyIssued, ApiKeyRevoked, MembershipChanged, PasswordResetIssued,
    PipelineAccessSet, SiteRegistered, UserDeactivated, UserProfileChanged, UserReactivated, UserRegistered,
};
use super::grant::RightSet;
use super::refusal::AccessRefusal;
use super::role::{Permission, Role, RoleSet};
use super::state::{AccessState, Key, User};
use crate::command::text;
use crate::id::{ApiKeyId, PipelineId, SiteId, UserId};
use crate::personal::Personal;
use crate::pipeline::Pipelines;
use crate::refusal::Refusal;
use crate::timestamp::Timestamp;

/// Longest name of a person or e-mail, in bytes of UTF-8. RFC 5321 section 4.5.3.1 allows 64 + 1 + 255.
const MAX_PERSONAL: usize = 320;
/// Most sites of one key.
const MAX_SITES: usize = 1_000;

/// What the decision depends on beside the state and the command.
pub(crate) struct Circumstances<'a> {
    /// Who asks.
    pub(crate) actor: Actor,
    /// The id of what the command creates.
    pub(crate) fresh: Uuid,
    /// Time of the decision.
    pub(crate) now: Timestamp,
    /// The tenant's pipelines.
    pub(crate) pipelines: &'a Pipelines,
}

impl AccessState {
    /// Decides a command.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub(crate) fn decide(&self, command: &AccessCommand, at: &Circumstances<'_>) -> Result<Vec<AccessEvent>, Refusal> {
        let event = match command {
            AccessCommand::RegisterSite { site, name, time_zone } => self.register_site(site, name, time_zone)?,
            AccessCommand::RegisterUser(profile) => register_user(UserId(at.fresh), profile)?,
            AccessCommand::ChangeUserProfile { user_id, profile } => {
                self.user(*user_id)?;
                let Profile { name, email } = checked(profile)?;
                AccessEvent::UserProfileChanged(UserProfileChanged { user_id: *user_id, name, email })
            }
            AccessCommand::DeactivateUser { user_id } => self.deactivate(*user_id)?,
            AccessCommand::ReactivateUser { user_id } => {
                if self.user(*user_id)?.active {
                    return Err(AccessRefusal::UserActive(*user_id).into());
                }
                AccessEvent::UserReactivated(UserReactivated { user_id: *user_id })
            }
            AccessCommand::IssuePasswordReset { user_id } => {
                if !self.user(*user_id)?.active {
                    return Err(AccessRefusal::UserDeactivated(*user_id).into());
                }
                AccessEvent::PasswordResetIssued(PasswordResetIssued { user_id: *user_id })
            }
            AccessCommand::ChangeMembership { user_id, site, roles } => {
                self.change_membership(*user_id, site.as_deref(), *roles, at)?
            }
            AccessCommand::AppointAdmin { appointee, recovery } => return self.appoint(appointee, *recovery, at.fresh),
            AccessCommand::IssueApiKey(command) => self.issue_key(ApiKeyId(at.fresh), command, at.now)?,
            AccessCommand::RevokeApiKey { key_id } => {
                if self.key(*key_id)?.revoked {
                    return Err(AccessRefusal::ApiKeyRevoked(*key_id).into());
                }
                AccessEvent::ApiKeyRevoked(ApiKeyRevoked { key_id: *key_id })
            }
            AccessCommand::SetPipelineAccess { pipeline_id, user_id, rights } => {
                at.pipelines.active(*pipeline_id)?;
                self.set_pipeline_access(*pipeline_id, *user_id, *rights)?
            }
        };
        Ok(vec![event])
    }

    /// Sequence of the last event that touched the thing a command is about.
    pub(crate) fn version(&self, command: &AccessCommand) -> Option<u64> {
        match command {
            AccessCommand::ChangeUserProfile { user_id, .. }
            | AccessCommand::DeactivateUser { user_id }
            | AccessCommand::ReactivateUser { user_id }
            | AccessCommand::IssuePasswordReset { user_id }
            | AccessCommand::ChangeMembership { user_id, .. }
            | AccessCommand::AppointAdmin { appointee: Appointee::User(user_id), .. } => {
                self.users.get(user_id).map(|user| user.version)
            }
            AccessCommand::RevokeApiKey { key_id } => self.keys.get(key_id).map(|key| key.version),
            AccessCommand::SetPipelineAccess { pipeline_id, user_id, .. } => {
                self.grants.get(&(*user_id, *pipeline_id)).map(|grant| grant.version)
            }
            AccessCommand::RegisterSite { site, .. } => {
                let site = SiteId::new(site.as_str()).ok()?;
                self.sites.get(&site).map(|site| site.version)
            }
            AccessCommand::RegisterUser(_)
            | AccessCommand::AppointAdmin { appointee: Appointee::New(_), .. }
            | AccessCommand::IssueApiKey(_) => None,
        }
    }

    fn register_site(&self, site: &str, name: &str, time_zone: &str) -> Result<AccessEvent, Refusal> {
        let site = site_id("site", site)?;
        if self.sites.contains_key(&site) {
            return Err(AccessRefusal::DuplicateSite(site).into());
        }
        let name = text("name", name, 128)?;
        let time_zone = text("timeZone", time_zone, 64)?;
        if time_zone.parse::<chrono_tz::Tz>().is_err() {
            return Err(AccessRefusal::UnknownTimeZone(time_zone).into());
        }
        Ok(AccessEvent::SiteRegistered(SiteRegistered { site, name, time_zone }))
    }

    fn deactivate(&self, user_id: UserId) -> Result<AccessEvent, Refusal> {
        let user = self.user(user_id)?;
        if !user.active {
            return Err(AccessRefusal::UserDeactivated(user_id).into());
        }
        self.refuse_last_admin(user_id, user)?;
        Ok(AccessEvent::UserDeactivated(UserDeactivated { user_id }))
    }

    fn change_membership(
        &self,
        user_id: UserId,
        site: Option<&str>,
        roles: RoleSet,
        at: &Circumstances<'_>,
    ) -> Result<AccessEvent, Refusal> {
        let user = self.user(user_id)?;
        let site = site.map(|site| site_id("site", site)).transpose()?;
        let before = match &site {
            None => user.roles,
            Some(site) => user.at(self.known_site("site", site)?),
        };
        if roles == before {
            return Err(AccessRefusal::NothingToChange.into());
        }
        let upward = at.actor == Actor::User(user_id) && !before.covers(roles);
        if upward && self.may(at.actor, Permission::Administer, site.as_ref(), at.now).is_err() {
            return Err(AccessRefusal::OwnRoles.into());
        }
        if site.is_none() && !roles.has(Role::Admin) {
            self.refuse_last_admin(user_id, user)?;
        }
        Ok(AccessEvent::MembershipChanged(MembershipChanged { user_id, site, roles }))
    }

    /// One or more events: a person who is not known is registered, one who is deactivated reactivated.
    fn appoint(&self, appointee: &Appointee, recovery: bool, fresh: Uuid) -> Result<Vec<AccessEvent>, Refusal> {
        let has_admin = self.has_admin();
        if has_admin && !recovery {
            return Err(AccessRefusal::AdminExists.into());
        }
        let mut events = Vec::with_capacity(2);
        let (user_id, before) = match appointee {
            Appointee::New(profile) => {
                events.push(register_user(UserId(fresh), profile)?);
                (UserId(fresh), RoleSet::EMPTY)
            }
            Appointee::User(user_id) => {
                let user = self.user(*user_id)?;
                if user.is_admin() {
                    return Err(AccessRefusal::NothingToChange.into());
                }
                if !user.active {
                    events.push(AccessEvent::UserReactivated(UserReactivated { user_id: *user_id }));
                }
                (*user_id, user.roles)
            }
        };
        let roles = before.and(RoleSet::of(&[Role::Admin]));
        events.push(AccessEvent::AdminAppointed(AdminAppointed { user_id, roles, recovery: has_admin }));
        Ok(events)
    }

    fn issue_key(&self, key_id: ApiKeyId, command: &IssueApiKey, now: Timestamp) -> Result<AccessEvent, Refusal> {
        let label = text("label", &command.label, 128)?;
        let prefix = command.prefix.as_str();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !(4..=32).contains(&prefix.len()) || !prefix.bytes().all(plain) {
            return Err(AccessRefusal::InvalidKeyPrefix.into());
        }
        if let Some((by, _)) = self.keys.iter().find(|(_, key)| &*key.prefix == prefix) {
            return Err(AccessRefusal::DuplicateKeyPrefix { prefix: prefix.to_owned(), by: *by }.into());
        }
        if command.roles.is_empty() {
            return Err(AccessRefusal::KeyWithoutRoles.into());
        }
        if command.sites.len() > MAX_SITES {
            return Err(Refusal::TooMany { field: "sites", given: command.sites.len(), max: MAX_SITES });
        }
        let mut sites = BTreeSet::new();
        for site in &command.sites {
            let site = site_id("sites", site)?;
            self.known_site("sites", &site)?;
            sites.insert(site);
        }
        if command.expires_at <= now {
            return Err(AccessRefusal::ExpiryInPast { given: command.expires_at, now }.into());
        }
        Ok(AccessEvent::ApiKeyIssued(ApiKeyIssued {
            key_id,
            label,
            prefix: prefix.to_owned(),
            roles: command.roles,
            sites,
            expires_at: command.expires_at,
        }))
    }

    fn set_pipeline_access(
        &self,
        pipeline_id: PipelineId,
        user_id: UserId,
        rights: RightSet,
    ) -> Result<AccessEvent, Refusal> {
        self.user(user_id)?;
        let before = self.grants.get(&(user_id, pipeline_id)).map_or(RightSet::EMPTY, |grant| grant.rights);
        if rights == before {
            return Err(AccessRefusal::NothingToChange.into());
        }
        Ok(AccessEvent::PipelineAccessSet(PipelineAccessSet { pipeline_id, user_id, rights }))
    }

    fn user(&self, id: UserId) -> Result<&User, AccessRefusal> {
        self.users.get(&id).ok_or(AccessRefusal::UnknownUser(id))
    }

    fn key(&self, id: ApiKeyId) -> Result<&Key, AccessRefusal> {
        self.keys.get(&id).ok_or(AccessRefusal::UnknownApiKey(id))
    }

    fn known_site(&self, field: &'static str, site: &SiteId) -> Result<u32, AccessRefusal> {
        let known = self.sites.get(site).map(|known| known.number);
        known.ok_or_else(|| AccessRefusal::UnknownSite { field, site: site.clone() })
    }

    /// A person who is about to be ADMIN no more must not be the only one.
    fn refuse_last_admin(&self, id: UserId, user: &User) -> Result<(), AccessRefusal> {
        let others = || self.users.iter().any(|(other, user)| *other != id && user.is_admin());
        if user.is_admin() && !others() { Err(AccessRefusal::LastAdmin(id)) } else { Ok(()) }
    }
}

fn register_user(user_id: UserId, profile: &Profile) -> Result<AccessEvent, Refusal> {
    let Profile { name, email } = checked(profile)?;
    Ok(AccessEvent::UserRegistered(UserRegistered { user_id, name, email }))
}

fn checked(profile: &Profile) -> Result<Profile, AccessRefusal> {
    for (field, personal) in [("name", &profile.name), ("email", &profile.email)] {
        if !is_encrypted_text(personal) {
            return Err(AccessRefusal::InvalidPersonal { field, max: MAX_PERSONAL });
        }
    }
    Ok(profile.clone())
}

/// The domain can't read it; it can only see that it has the form, and is neither empty nor endless.
fn is_encrypted_text(personal: &Personal) -> bool {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let size = personal.ciphertext.len() / 2;
    personal.nonce.len() == 24
        && hex(&personal.nonce)
        && personal.ciphertext.len().is_multiple_of(2)
        && hex(&personal.ciphertext)
        && (17..=MAX_PERSONAL + 16).contains(&size)
}

fn site_id(field: &'static str, given: &str) -> Result<SiteId, Refusal> {
    SiteId::new(given).map_err(|error| Refusal::invalid_id(field, &error))
}

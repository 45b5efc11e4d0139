//! Who somebody whom a provider sends is here, and what they may do from now on.
//!
//! A subject that is known is its user. One that is not is linked once: to the user who was invited under an address that the provider has verified,
//! or, where configuration says so, to a user who is registered just now. What changes is decided by the ledger, as commands of `system` with
//! [`REASON`]; only what differs is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use lotline_commands::bus::{Receipt, SubmitError};
use lotline_domain::access::actor::Actor;
use lotline_domain::access::command::AccessCommand;
use lotline_domain::access::role::RoleSet;
use lotline_domain::command::{Command, CommandRequest};
use lotline_domain::id::{ActorId, CommandId, SiteId, StreamKey, UserId};
use lotline_domain::identity::name::LoginName;
use lotline_domain::identity::port::NameError;
use lotline_domain::identity::sign_on::{Person, RoleMap};
use lotline_domain::trail::{AttemptKind, Suspect};

use super::sign_on::{Desk, stranger};
use super::{Guard, json, setup};
use crate::server::Server;
use crate::trail::attempts::Attempt;
use crate::transport::caller::Trace;
use crate::transport::problem::Problem;

/// Why the machine decides about a person.
const REASON: &str = "single sign-on";

/// How long a decision of the ledger may take to be known here.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// Longest name that is taken over, in characters.
const NAME_CHARACTERS: usize = 64;

/// One person at the desk.
pub(super) struct Arrival<'a> {
    pub(super) server: &'a Server,
    pub(super) guard: &'a Guard,
    pub(super) desk: &'a Desk,
    pub(super) person: &'a Person,
    pub(super) trace: &'a Trace,
}

impl Arrival<'_> {
    /// The user, with the roles that the provider's groups give.
    ///
    /// # Errors
    /// 403 for who is nobody here, 503.
    pub(super) async fn user(&self) -> Result<UserId, Problem> {
        let known = self.guard.identity.subjects.find(&self.person.subject).await;
        let user = match known.map_err(|error| json::store(&error))? {
            Some(user) => user,
            None => self.introduce().await?,
        };
        if !self.guard.access()?.is_active(user) {
            return Err(stranger(Attempt::new(AttemptKind::NotAdmitted, Suspect::User(user))));
        }
        if let Some(map) = &self.desk.roles {
            self.assign(user, map).await?;
        }
        Ok(user)
    }

    /// Links a subject that is not known.
    async fn introduce(&self) -> Result<UserId, Problem> {
        let names = &self.guard.identity.names;
        let nobody = || stranger(Attempt::unknown(AttemptKind::Stranger));
        let name = self.person.email.as_deref().and_then(|email| LoginName::new(email).ok()).ok_or_else(nobody)?;
        let user = match names.find(&name).await.map_err(|error| json::store(&error))? {
            Some(user) => user,
            None if self.desk.invite_unknown => self.register(&name).await?,
            None => return Err(nobody()),
        };
        let linked = self.guard.identity.subjects.link(&self.person.subject, user).await;
        if !linked.map_err(|error| json::store(&error))? {
            tracing::warn!(user.id = %user, "a stranger came from the provider with the address of a user who is somebody else there");
            return Err(stranger(Attempt::new(AttemptKind::Stranger, Suspect::User(user))));
        }
        tracing::info!(user.id = %user, "a subject of the provider is this user from now on");
        Ok(user)
    }

    async fn register(&self, name: &LoginName) -> Result<UserId, Problem> {
        let (state, names) = (&self.server.state, &self.guard.identity.names);
        let command = CommandId(state.ids.uuid_v7(state.clock.now()));
        let user = setup::appointed(&state.tenant, command);
        match names.reserve(name, user).await {
            Ok(()) => {}
            // They come a second time, at the same time.
            Err(NameError::Taken) => return Err(json::unavailable()),
            Err(NameError::Store(error)) => return Err(json::store(&error)),
        }
        let given = self.person.name.as_deref().unwrap_or_default();
        let shown: String = given.trim().chars().filter(|c| !c.is_control()).take(NAME_CHARACTERS).collect();
        let shown = if shown.is_empty() { name.as_str() } else { &shown };
        let profile = setup::profile(self.server, user, name, shown).await?;
        match self.decide(command, AccessCommand::RegisterUser(profile)).await {
            Ok(receipt) => self.known(receipt.version).await?,
            Err(error) => {
                if matches!(error, SubmitError::Refused { .. }) {
                    names.release(name, user).await.map_err(|error| json::store(&error))?;
                }
                return Err(setup::not_decided(&error));
            }
        }
        names.confirm(name, user).await.map_err(|error| json::name(&error))?;
        Ok(user)
    }

    /// Gives the roles of the groups, place by place.
    async fn assign(&self, user: UserId, map: &RoleMap) -> Result<(), Problem> {
        let state = &self.server.state;
        let access = self.guard.access()?;
        let held: BTreeMap<Option<SiteId>, RoleSet> =
            access.memberships(Actor::User(user), state.clock.now()).into_iter().collect();
        let mut last = None;
        for (site, roles) in map.roles(&self.person.groups) {
            if held.get(&site).copied().unwrap_or(RoleSet::EMPTY) == roles {
                continue;
            }
            if let Some(unknown) = site.as_ref().filter(|site| !access.knows_site(site)) {
                tracing::warn!(site = %unknown, "access.oidc.roles names a site that is not registered: nobody gets roles there");
                continue;
            }
            let site = site.map(|site| site.as_str().to_owned());
            let command = CommandId(state.ids.uuid_v7(state.clock.now()));
            match self.decide(command, AccessCommand::ChangeMembership { user_id: user, site, roles }).await {
                Ok(receipt) => last = Some(receipt.version),
                // Somebody, or they at another door, has done it meanwhile.
                Err(SubmitError::Refused { code, .. }) if code == "NOTHING_TO_CHANGE" => {}
                Err(SubmitError::Refused { code, .. }) if code == "LAST_ADMIN" => {
                    tracing::warn!(user.id = %user, "the provider takes ADMIN from the last who has it: it stays");
                }
                Err(error) => return Err(setup::not_decided(&error)),
            }
        }
        match last {
            Some(version) => self.known(version).await,
            None => Ok(()),
        }
    }

    async fn decide(&self, command_id: CommandId, command: AccessCommand) -> Result<Receipt, SubmitError> {
        let request = CommandRequest {
            tenant: self.server.state.tenant.clone(),
            stream: StreamKey::Tenant,
            actor: ActorId::system(),
            command_id,
            correlation_id: self.trace.correlation_id,
            traceparent: self.trace.traceparent.clone(),
            expected_version: None,
            occurred_at: None,
            reason: Some(REASON.to_owned()),
            command: Command::Access(command),
        };
        self.server.state.bus.submit(request).await
    }

    /// Returns once this node knows a decision of the tenant's stream.
    async fn known(&self, sequence: u64) -> Result<(), Problem> {
        let reached = tokio::time::timeout(KNOWN_WITHIN, self.guard.access.reached(sequence)).await;
        reached.map_err(|_| json::unavailable())
    }
}

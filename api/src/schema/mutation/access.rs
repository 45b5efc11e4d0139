//! Users, roles, keys and sites: what administrators decide. The ledger judges and records it; secrets are made beside it and shown once.
//!
//! A name or an address is encrypted under the person's own key before it becomes part of a command.

use async_graphql::{Context, Enum, Error, InputObject, Object};
use chrono::{DateTime, Utc};
use lotline_domain::access::actor::Actor;
use lotline_domain::access::command::{AccessCommand, IssueApiKey, Profile, email_context, name_context};
use lotline_domain::access::event::AccessSubject;
use lotline_domain::access::role::{Permission, Role as DomainRole, RoleSet};
use lotline_domain::command::Command;
use lotline_domain::id::{ApiKeyId, CommandId, StreamKey, UserId};
use lotline_domain::identity::name::LoginName;
use lotline_domain::identity::port::{Identity, LinkPurpose, NameError};
use lotline_domain::identity::session::EndReason;
use lotline_domain::state::Subject;
use uuid::Uuid;

use crate::auth::Door;
use crate::schema::failure::{OrFail, coded};
use crate::schema::payload::{Given, Outcome, UserError, payload, submit};
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;

/// What somebody is to the tenant or to a site.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainRole")]
pub enum Role {
    /// Looks at dashboards, lots and runs.
    Viewer,
    /// Works at the line.
    Operator,
    /// Connects devices, defines signals and pipelines.
    Engineer,
    /// Runs the plant.
    Manager,
    /// Examines what happened.
    Auditor,
    /// Manages users, keys and sites.
    Admin,
}

/// A person who is to come in.
#[derive(InputObject)]
pub struct InviteUserInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again, and another link in place of the first.
    pub idempotency_key: Uuid,
    /// The login name.
    pub email: String,
    /// For people to read.
    pub name: String,
}

/// Roles of a person in one place.
#[derive(InputObject)]
pub struct SetRolesInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// The person.
    pub user_id: Uuid,
    /// Where; everywhere when absent.
    pub site: Option<String>,
    /// All roles there from now on; none when empty.
    pub roles: Vec<Role>,
}

/// A person who is not to act any more.
#[derive(InputObject)]
pub struct DeactivateUserInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// The person.
    pub user_id: Uuid,
    /// Why.
    pub reason: Option<String>,
}

/// A key for a program.
#[derive(InputObject)]
pub struct IssueApiKeyInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again, and another secret in place of the first.
    pub idempotency_key: Uuid,
    /// What it is for.
    pub label: String,
    /// A short unique name: 4 to 32 of A-Z a-z 0-9 _ -.
    pub prefix: String,
    /// What it may act as; at least one.
    pub roles: Vec<Role>,
    /// Registered sites; everywhere when empty.
    #[graphql(default)]
    pub sites: Vec<String>,
    /// In the future.
    pub expires_at: DateTime<Utc>,
}

/// A key that is not to count any more.
#[derive(InputObject)]
pub struct RevokeApiKeyInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// The key.
    pub key_id: Uuid,
    /// Why.
    pub reason: Option<String>,
}

/// A plant with a name. Only at a registered one roles and keys can be limited.
#[derive(InputObject)]
pub struct RegisterSiteInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Its id, as in the configuration.
    pub site: String,
    /// For people to read.
    pub name: String,
    /// Of the IANA database, such as Europe/Copenhagen.
    pub time_zone: String,
}

/// A decision, and a secret that is shown this once.
pub struct Decided {
    outcome: Outcome,
    secret: Option<String>,
}

payload! {
    /// What became of a decision about access.
    AccessPayload {
        /// The user or key that it is about; null when refused.
        async fn subject_id(&self) -> Option<Uuid> {
            subject(&self.0)
        }
    }
}

/// What became of a decision that comes with a secret.
pub struct SecretPayload(Decided);

impl SecretPayload {
    /// A secret is there only when the decision was accepted.
    pub(super) fn new(outcome: Outcome, secret: Option<String>) -> Self {
        Self(Decided { outcome, secret })
    }
}

/// What became of a decision that comes with a secret.
#[Object]
impl SecretPayload {
    /// The user or key; null when refused.
    async fn subject_id(&self) -> Option<Uuid> {
        subject(&self.0.outcome)
    }

    /// The text of the link for the page /setup, or of the API key. It is shown this once; null when refused.
    async fn secret(&self) -> Option<&str> {
        self.0.secret.as_deref()
    }

    /// Why it was refused; empty when it was not.
    async fn user_errors(&self) -> Vec<UserError> {
        self.0.outcome.user_errors()
    }
}

/// People, keys and sites.
#[derive(Default)]
pub struct AccessMutation;

#[Object]
impl AccessMutation {
    /// For administrators: makes a person known and gives a link by which they set a password. They have no roles yet.
    async fn invite_user(&self, ctx: &Context<'_>, input: InviteUserInput) -> Result<SecretPayload, Error> {
        let scope = Scope::of(ctx);
        let identity = identity(scope)?;
        let name = match LoginName::new(&input.email) {
            Ok(name) => name,
            Err(error) => {
                let error = UserError::at("email", "INVALID_EMAIL", error.to_string());
                return Ok(SecretPayload::new(refused(error), None));
            }
        };
        let user = UserId(fresh(scope, input.idempotency_key));
        // Who may not invite learns nothing of which names there are. The ledger refuses and records it.
        let owner = if administers(scope)? {
            match identity.names.reserve(&name, user).await {
                Ok(()) => user.actor(),
                Err(error @ NameError::Taken) => {
                    let error = UserError::at("email", "NAME_TAKEN", error.to_string());
                    return Ok(SecretPayload::new(refused(error), None));
                }
                Err(NameError::Store(error)) => return Err(error).or_fail("reserve a login name"),
            }
        } else {
            scope.caller.actor.clone()
        };
        let key = scope.server.state.keys.key_of(scope.tenant(), &owner).await.or_fail("encrypt a name")?;
        let profile = Profile {
            name: key.seal(&name_context(user), input.name.trim()),
            email: key.seal(&email_context(user), name.as_str()),
        };
        let outcome = decide(scope, input.idempotency_key, None, AccessCommand::RegisterUser(profile)).await?;
        if outcome.receipt().is_none() {
            identity.names.release(&name, user).await.or_fail("release a login name")?;
            return Ok(SecretPayload::new(outcome, None));
        }
        if !administers(scope)? {
            return Ok(SecretPayload::new(outcome, None));
        }
        identity.names.confirm(&name, user).await.or_fail("confirm a login name")?;
        let link = identity.links.issue(LinkPurpose::Invitation, user).await.or_fail("make a link")?;
        Ok(SecretPayload::new(outcome, Some(handed_out(scope, link.token.expose()))))
    }

    /// For administrators, also of one site: gives a person exactly these roles in a place.
    async fn set_roles(&self, ctx: &Context<'_>, input: SetRolesInput) -> Result<AccessPayload, Error> {
        let (user_id, site, roles) = (UserId(input.user_id), input.site, role_set(input.roles));
        let command = AccessCommand::ChangeMembership { user_id, site, roles };
        decide(Scope::of(ctx), input.idempotency_key, None, command).await.map(AccessPayload)
    }

    /// For administrators: has a person not act any more, and ends their sessions.
    async fn deactivate_user(&self, ctx: &Context<'_>, input: DeactivateUserInput) -> Result<AccessPayload, Error> {
        let (scope, user_id) = (Scope::of(ctx), UserId(input.user_id));
        let identity = identity(scope)?;
        let command = AccessCommand::DeactivateUser { user_id };
        let outcome = decide(scope, input.idempotency_key, input.reason, command).await?;
        if outcome.receipt().is_some() && administers(scope)? {
            // Nobody is let in by them since the ledger has it; now they are over.
            identity.sessions.end_all(user_id, None, EndReason::Deactivated).await.or_fail("end sessions")?;
        }
        Ok(AccessPayload(outcome))
    }

    /// For administrators: gives a program a key. Its secret is shown this once.
    async fn issue_api_key(&self, ctx: &Context<'_>, input: IssueApiKeyInput) -> Result<SecretPayload, Error> {
        let scope = Scope::of(ctx);
        let identity = identity(scope)?;
        let command = AccessCommand::IssueApiKey(IssueApiKey {
            label: input.label,
            prefix: input.prefix,
            roles: role_set(input.roles),
            sites: input.sites,
            expires_at: input.expires_at.into(),
        });
        let outcome = decide(scope, input.idempotency_key, None, command).await?;
        let may = administers(scope)?;
        let secret = match subject(&outcome).filter(|_| may) {
            Some(key) => Some(identity.api_keys.issue(ApiKeyId(key)).await.or_fail("make the secret of a key")?),
            None => None,
        };
        Ok(SecretPayload::new(outcome, secret.map(|secret| handed_out(scope, secret.expose()))))
    }

    /// For administrators: withdraws a key and destroys its secret.
    async fn revoke_api_key(&self, ctx: &Context<'_>, input: RevokeApiKeyInput) -> Result<AccessPayload, Error> {
        let (scope, key_id) = (Scope::of(ctx), ApiKeyId(input.key_id));
        let identity = identity(scope)?;
        let command = AccessCommand::RevokeApiKey { key_id };
        let outcome = decide(scope, input.idempotency_key, input.reason, command).await?;
        if outcome.receipt().is_some() && administers(scope)? {
            identity.api_keys.revoke(key_id).await.or_fail("destroy the secret of a key")?;
        }
        Ok(AccessPayload(outcome))
    }

    /// For administrators: names a plant.
    async fn register_site(&self, ctx: &Context<'_>, input: RegisterSiteInput) -> Result<AccessPayload, Error> {
        let command = AccessCommand::RegisterSite { site: input.site, name: input.name, time_zone: input.time_zone };
        decide(Scope::of(ctx), input.idempotency_key, None, command).await.map(AccessPayload)
    }
}

pub(super) async fn decide(
    scope: &Scope,
    key: Uuid,
    reason: Option<String>,
    command: AccessCommand,
) -> Result<Outcome, Error> {
    decide_at(scope, key, None, reason, command).await
}

pub(super) async fn decide_at(
    scope: &Scope,
    key: Uuid,
    expected_version: Option<Version>,
    reason: Option<String>,
    command: AccessCommand,
) -> Result<Outcome, Error> {
    let given = Given { key, expected_version, occurred_at: None, reason };
    submit(scope, StreamKey::Tenant, given, Command::Access(command)).await
}

/// A secret for its owner, who is no stranger when they come with it.
pub(super) fn handed_out(scope: &Scope, secret: &str) -> String {
    if let Door::Guarded(guard) = &scope.server.state.door {
        guard.strangers.remember(secret);
    }
    secret.to_owned()
}

pub(super) fn identity(scope: &Scope) -> Result<&Identity, Error> {
    match &scope.server.state.door {
        Door::Guarded(guard) => Ok(&guard.identity),
        Door::Open => Err(coded("NOT_ENFORCED", "in development mode there are no credentials")),
    }
}

/// Whether the caller may administer the tenant at this moment. A command that was accepted once is answered again to whoever gave it, though
/// the role may be gone since; secrets are not, and nothing is destroyed again.
pub(super) fn administers(scope: &Scope) -> Result<bool, Error> {
    let Door::Guarded(guard) = &scope.server.state.door else { return Ok(false) };
    let access = guard.access().map_err(|problem| coded(problem.code, problem.message))?;
    let actor = Actor::of(&scope.caller.actor);
    Ok(access.may(actor, Permission::Administer, None, scope.server.state.clock.now()).is_ok())
}

/// The id of what a command of the caller creates.
fn fresh(scope: &Scope, key: Uuid) -> Uuid {
    CommandId(key).derive(scope.tenant(), &StreamKey::Tenant, &scope.caller.actor)
}

fn subject(outcome: &Outcome) -> Option<Uuid> {
    match &outcome.receipt()?.subject {
        Subject::Access(AccessSubject::User(id) | AccessSubject::Pipeline(_, id)) => Some(id.0),
        Subject::Access(AccessSubject::ApiKey(id)) => Some(id.0),
        Subject::Access(AccessSubject::Site(_))
        | Subject::Lot(_)
        | Subject::QcDecision(_)
        | Subject::Pipeline(_)
        | Subject::Signal(_)
        | Subject::Projection(_)
        | Subject::Trail(_)
        | Subject::Scenario(_)
        | Subject::Run(_) => None,
    }
}

fn role_set(roles: Vec<Role>) -> RoleSet {
    roles.into_iter().map(DomainRole::from).collect()
}

/// Refused before there was a command.
pub(super) fn refused(error: UserError) -> Outcome {
    Outcome::Refused(error, None)
}

//! What becomes of people who are known: another profile, another password, back again, and rights on single pipelines.

use async_graphql::{Context, Error, ID, InputObject, Object};
use lotline_domain::access::command::{AccessCommand, Profile, email_context, name_context};
use lotline_domain::access::grant::{PipelineRight as DomainRight, RightSet};
use lotline_domain::id::{PipelineId, UserId};
use lotline_domain::identity::name::LoginName;
use lotline_domain::identity::port::{Identity, LinkPurpose, NameError};
use lotline_domain::identity::session::EndReason;
use lotline_domain::personal::Personal;
use lotline_projections::access;
use lotline_projections::model::Model;
use uuid::Uuid;

use super::access::{AccessPayload, SecretPayload, administers, decide, decide_at, handed_out, identity, refused};
use crate::schema::failure::OrFail;
use crate::schema::global_id;
use crate::schema::loaders::KeyById;
use crate::schema::payload::{Outcome, UserError};
use crate::schema::people::PipelineRight;
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;

/// What a person is called from now on, and signs in by.
#[derive(InputObject)]
pub struct ChangeUserProfileInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// The person.
    pub user_id: Uuid,
    /// The login name. The one before is free for others.
    pub email: String,
    /// For people to read.
    pub name: String,
    /// Refuse when the person has changed since; see the version of a user.
    pub expected_version: Option<Version>,
    /// Why.
    pub reason: Option<String>,
}

/// A person who may act again.
#[derive(InputObject)]
pub struct ReactivateUserInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// The person.
    pub user_id: Uuid,
    /// Why.
    pub reason: Option<String>,
}

/// A person who is to choose another password.
#[derive(InputObject)]
pub struct IssuePasswordResetInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again, and another link in place of the first.
    pub idempotency_key: Uuid,
    /// The person.
    pub user_id: Uuid,
    /// Why.
    pub reason: Option<String>,
}

/// Rights of a person on one pipeline.
#[derive(InputObject)]
pub struct SetPipelineAccessInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Global id of the pipeline.
    pub pipeline_id: ID,
    /// The person.
    pub user_id: Uuid,
    /// All rights on it from now on; none when empty.
    pub rights: Vec<PipelineRight>,
    /// Why.
    pub reason: Option<String>,
}

/// People who are known.
#[derive(Default)]
pub struct PeopleMutation;

#[Object]
impl PeopleMutation {
    /// For administrators: changes what a person is called and signs in by. Sessions go on.
    async fn change_user_profile(
        &self,
        ctx: &Context<'_>,
        input: ChangeUserProfileInput,
    ) -> Result<AccessPayload, Error> {
        let scope = Scope::of(ctx);
        let (identity, user) = (identity(scope)?, UserId(input.user_id));
        let name = match LoginName::new(&input.email) {
            Ok(name) => name,
            Err(error) => return Ok(not_decided(UserError::at("email", "INVALID_EMAIL", error.to_string()))),
        };
        // Who may not do it learns nothing of which names there are, and makes no key. The ledger refuses and records it.
        let may = administers(scope)?;
        let profile = if may {
            match identity.names.reserve(&name, user).await {
                Ok(()) => {}
                Err(error @ NameError::Taken) => {
                    return Ok(not_decided(UserError::at("email", "NAME_TAKEN", error.to_string())));
                }
                Err(NameError::Store(error)) => return Err(error).or_fail("reserve a login name"),
            }
            sealed(scope, user, &name, &input.name).await?
        } else {
            unreadable()
        };
        let command = AccessCommand::ChangeUserProfile { user_id: user, profile };
        let outcome = decide_at(scope, input.idempotency_key, input.expected_version, input.reason, command).await?;
        if may {
            settle(ctx, identity, &outcome, user, &name).await?;
        }
        Ok(AccessPayload(outcome))
    }

    /// For administrators: lets a person act again, with the roles and the password that are theirs.
    async fn reactivate_user(&self, ctx: &Context<'_>, input: ReactivateUserInput) -> Result<AccessPayload, Error> {
        let command = AccessCommand::ReactivateUser { user_id: UserId(input.user_id) };
        decide(Scope::of(ctx), input.idempotency_key, input.reason, command).await.map(AccessPayload)
    }

    /// For administrators: ends a person's sessions and gives a link by which they choose another password, good for 30 minutes. Until they do,
    /// the old password stays good: deactivate whoever must not come in meanwhile.
    async fn issue_password_reset(
        &self,
        ctx: &Context<'_>,
        input: IssuePasswordResetInput,
    ) -> Result<SecretPayload, Error> {
        let (scope, user_id) = (Scope::of(ctx), UserId(input.user_id));
        let identity = identity(scope)?;
        let command = AccessCommand::IssuePasswordReset { user_id };
        let outcome = decide(scope, input.idempotency_key, input.reason, command).await?;
        if outcome.receipt().is_none() || !administers(scope)? {
            return Ok(SecretPayload::new(outcome, None));
        }
        identity.sessions.end_all(user_id, None, EndReason::SignedOutEverywhere).await.or_fail("end sessions")?;
        let link = identity.links.issue(LinkPurpose::PasswordReset, user_id).await.or_fail("make a link")?;
        Ok(SecretPayload::new(outcome, Some(handed_out(scope, link.token.expose()))))
    }

    /// For engineers, and whoever has the right MANAGE on the pipeline: gives a person exactly these rights on it.
    async fn set_pipeline_access(
        &self,
        ctx: &Context<'_>,
        input: SetPipelineAccessInput,
    ) -> Result<AccessPayload, Error> {
        let pipeline_id = match global_id::pipeline("pipelineId", &input.pipeline_id) {
            Ok(id) => PipelineId(id),
            Err(error) => return Ok(not_decided(UserError::id("pipelineId", &error))),
        };
        let rights: RightSet = input.rights.into_iter().map(DomainRight::from).collect();
        let command = AccessCommand::SetPipelineAccess { pipeline_id, user_id: UserId(input.user_id), rights };
        decide(Scope::of(ctx), input.idempotency_key, input.reason, command).await.map(AccessPayload)
    }
}

fn not_decided(error: UserError) -> AccessPayload {
    AccessPayload(refused(error))
}

/// A profile under the person's own key.
async fn sealed(scope: &Scope, user: UserId, email: &LoginName, name: &str) -> Result<Profile, Error> {
    let key = scope.server.state.keys.key_of(scope.tenant(), &user.actor()).await.or_fail("encrypt a name")?;
    Ok(Profile {
        name: key.seal(&name_context(user), name.trim()),
        email: key.seal(&email_context(user), email.as_str()),
    })
}

/// What no rule accepts, for a command that is to be refused by its actor.
fn unreadable() -> Profile {
    let nothing = Personal { key_id: Uuid::nil(), nonce: String::new(), ciphertext: String::new() };
    Profile { name: nothing.clone(), email: nothing }
}

/// Makes a reserved name the one by which the person signs in, or gives it up: as the ledger has decided.
async fn settle(
    ctx: &Context<'_>,
    identity: &Identity,
    outcome: &Outcome,
    user: UserId,
    name: &LoginName,
) -> Result<(), Error> {
    let is_theirs = match outcome.receipt() {
        None => false,
        Some(receipt) if receipt.replayed => is_current(ctx, outcome, user, name).await?,
        Some(_) => true,
    };
    if is_theirs {
        identity.names.confirm(name, user).await.or_fail("confirm a login name")
    } else {
        identity.names.release(name, user).await.or_fail("release a login name")
    }
}

/// Whether a name is still the one of the person's profile: a request that comes again may have been overtaken by another.
async fn is_current(ctx: &Context<'_>, outcome: &Outcome, user: UserId, name: &LoginName) -> Result<bool, Error> {
    let Some((scope, _)) = outcome.visible(ctx, &[Model::Access]).await? else { return Ok(false) };
    let row = access::user(scope.pool(), scope.tenant(), user.0).await.or_fail("read a user")?;
    let Some(email) = row.map(|row| row.email.0) else { return Ok(false) };
    let key = scope.loader.load_one(KeyById(email.key_id)).await.or_fail("read a personal key")?;
    let Some(key) = key else { return Ok(false) };
    Ok(key.open(&email_context(user), &email).or_fail("open a personal field")? == name.as_str())
}

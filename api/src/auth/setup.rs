//! Coming in for the first time: by a one-time link, which is used up by setting a password.
//!
//! The link of a set-up is for a user who does not exist yet. It carries the command that will appoint that user, and the user's id is the one
//! that this command derives, so that nothing has to be remembered and a request that is sent again finds what it has done:
//!
//! ```text
//! lotline_link_<64 hex digits> . <id of the command>
//! ```
//!
//! Order: the password is looked at, the name reserved, the appointment decided by the ledger, the name confirmed, and with the password the link
//! used up. A stop between two of them leaves a link that goes on where it stopped.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use lotline_commands::bus::SubmitError;
use lotline_domain::access::command::{AccessCommand, Appointee, Profile, email_context, name_context};
use lotline_domain::command::{Command, CommandRequest};
use lotline_domain::id::{ActorId, CommandId, StreamKey, TenantId, UserId};
use lotline_domain::identity::name::LoginName;
use lotline_domain::identity::password::choose;
use lotline_domain::identity::port::{LinkError, LinkPurpose, LinkRefusal, PasswordError};
use lotline_domain::trail::SignOutReason;
use serde::Deserialize;
use uuid::Uuid;

use super::strangers::Account;
use super::{Guard, json, record};
use crate::server::Server;
use crate::transport::caller::Trace;
use crate::transport::problem::Problem;

const PAGE: &str = include_str!("setup.html");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FirstAdmin {
    link: String,
    email: String,
    name: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPassword {
    link: String,
    password: String,
}

/// The user whom a command of the machine creates.
pub fn appointed(tenant: &TenantId, command: CommandId) -> UserId {
    UserId(command.derive(tenant, &StreamKey::Tenant, &ActorId::system()))
}

/// GET `/setup`: a page for the person with the link, which stands behind the `#` and so never reaches a log.
pub(super) async fn page() -> Response {
    let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(PAGE)).into_response()
}

/// POST `setup`: the first administrator.
pub(super) async fn first_admin(State(server): State<Arc<Server>>, request: Request) -> Result<StatusCode, Problem> {
    let guard = server.guard()?;
    let (parts, body) = request.into_parts();
    let given: FirstAdmin = json::read(&server, &parts, body).await?;
    let (link, user, command) = {
        let (link, command) = given.link.split_once('.').ok_or_else(unknown_link)?;
        let command = CommandId(Uuid::try_parse(command).map_err(|_| unknown_link())?);
        let account = Account::of(Trace::of(&parts.extensions).address);
        let user = look(guard, account, LinkPurpose::Setup, link).await?;
        (link, user, command)
    };
    if user != appointed(&server.state.tenant, command) {
        return Err(unknown_link());
    }
    let name = login(&given.email)?;
    if given.name.trim().is_empty() {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_NAME", "the name is empty"));
    }
    let about = [name.as_str(), given.name.as_str()];
    choose(&given.password, &about).map_err(|weakness| json::password(&weakness.into()))?;
    guard.identity.names.reserve(&name, user).await.map_err(|error| json::name(&error))?;
    let trace = Trace::of(&parts.extensions).clone();
    let appointment = appointment(&server, &name, &given.name, user, command, trace).await?;
    if let Err(error) = server.state.bus.submit(appointment).await {
        if matches!(error, SubmitError::Refused { .. }) {
            guard.identity.names.release(&name, user).await.map_err(|error| json::store(&error))?;
        }
        return Err(not_decided(&error));
    }
    guard.identity.names.confirm(&name, user).await.map_err(|error| json::name(&error))?;
    let set = guard.identity.passwords.set_by_link(link, LinkPurpose::Setup, &given.password, &about).await;
    set.map_err(|error| json::password(&error))?;
    tracing::info!(user.id = %user, "the first administrator has been appointed");
    Ok(StatusCode::NO_CONTENT)
}

/// POST `password`: by an invitation, or after one was forgotten.
pub(super) async fn password(State(server): State<Arc<Server>>, request: Request) -> Result<StatusCode, Problem> {
    let guard = server.guard()?;
    let (parts, body) = request.into_parts();
    let given: NewPassword = json::read(&server, &parts, body).await?;
    let look_up = guard.strangers.charge(Account::of(Trace::of(&parts.extensions).address), &given.link)?;
    let invited = guard.identity.links.look(LinkPurpose::Invitation, &given.link).await;
    let purpose = match invited {
        Err(LinkError::Refused(LinkRefusal::Unknown)) => LinkPurpose::PasswordReset,
        Err(LinkError::Refused(_) | LinkError::Store(_)) | Ok(_) => LinkPurpose::Invitation,
    };
    let set = guard.identity.passwords.set_by_link(&given.link, purpose, &given.password, &[]).await;
    match &set {
        // A password is looked at when the link was found to be good.
        Ok(_) | Err(PasswordError::Weak(_) | PasswordError::Busy) => look_up.good(),
        Err(PasswordError::Store(_)) => look_up.void(),
        Err(PasswordError::Link(_)) => look_up.bad(),
    }
    let user = set.map_err(|error| json::password(&error))?;
    // Whoever is invited has had no password, and so no session.
    if purpose == LinkPurpose::PasswordReset {
        record::ended(guard, user, None, SignOutReason::Reset, Trace::of(&parts.extensions)).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Whose link it is.
async fn look(guard: &Guard, account: Account, purpose: LinkPurpose, link: &str) -> Result<UserId, Problem> {
    let look_up = guard.strangers.charge(account, link)?;
    let found = guard.identity.links.look(purpose, link).await;
    match &found {
        Ok(_) => look_up.good(),
        Err(LinkError::Store(_)) => look_up.void(),
        Err(LinkError::Refused(_)) => look_up.bad(),
    }
    found.map_err(json::link)
}

/// A person's name and address under the person's key.
pub(super) async fn profile(server: &Server, user: UserId, email: &LoginName, name: &str) -> Result<Profile, Problem> {
    let key = server.state.keys.key_of(&server.state.tenant, &user.actor()).await.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "keys of personal data can't be reached");
        json::unavailable()
    })?;
    Ok(Profile { name: key.seal(&name_context(user), name), email: key.seal(&email_context(user), email.as_str()) })
}

async fn appointment(
    server: &Server,
    email: &LoginName,
    name: &str,
    user: UserId,
    command: CommandId,
    trace: Trace,
) -> Result<CommandRequest, Problem> {
    let tenant = server.state.tenant.clone();
    let profile = profile(server, user, email, name.trim()).await?;
    let command_of = AccessCommand::AppointAdmin { appointee: Appointee::New(profile), recovery: false };
    Ok(CommandRequest {
        tenant,
        stream: StreamKey::Tenant,
        actor: ActorId::system(),
        command_id: command,
        correlation_id: trace.correlation_id,
        traceparent: trace.traceparent,
        expected_version: None,
        occurred_at: None,
        reason: None,
        command: Command::Access(command_of),
    })
}

fn login(email: &str) -> Result<LoginName, Problem> {
    LoginName::new(email)
        .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_EMAIL", error.to_string()))
}

fn unknown_link() -> Problem {
    json::link(LinkRefusal::Unknown.into())
}

/// The ledger has not taken a command.
pub(super) fn not_decided(error: &SubmitError) -> Problem {
    match error {
        SubmitError::Refused { code, message, .. } if code == "ADMIN_EXISTS" => {
            Problem::new(StatusCode::CONFLICT, "ADMIN_EXISTS", message.clone())
        }
        SubmitError::Refused { message, .. } => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "REFUSED", message.clone())
        }
        SubmitError::Busy { .. } | SubmitError::Unavailable | SubmitError::UnknownStream(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_no_other_host() {
        for foreign in ["http://", "https://", "//cdn", "@import", "src="] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }
}

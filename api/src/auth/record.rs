//! What the handlers of the door record: no tokens go out before the ledger has their sign-in.

use axum::http::StatusCode;
use lotline_commands::bus::SubmitError;
use lotline_domain::id::{ActorId, SessionId, UserId};
use lotline_domain::identity::name::LoginName;
use lotline_domain::identity::port::{IssuedTokens, RefreshError, SignInError};
use lotline_domain::identity::session::{EndReason, RefreshRefusal};
use lotline_domain::trail::{AttemptKind, SignInMethod, SignOutReason, SignedIn, SignedOut, Suspect, TrailCommand};

use super::{Guard, json};
use crate::trail::attempts::Attempt;
use crate::transport::caller::Trace;
use crate::transport::problem::Problem;

/// Begins a session for somebody who has proved who they are, and records it. One that can't be recorded is ended again.
///
/// # Errors
/// 503.
pub(super) async fn open(
    guard: &Guard,
    user: UserId,
    client: &str,
    method: SignInMethod,
    trace: &Trace,
) -> Result<IssuedTokens, Problem> {
    let sessions = &guard.identity.sessions;
    let tokens = sessions.open(user, client).await.map_err(|error| json::store(&error))?;
    let came = TrailCommand::RecordSignIn(SignedIn { user_id: user, session_id: tokens.session, method });
    if let Err(error) = guard.trail.record(user.actor(), came, trace).await {
        let ended = sessions.end(user, tokens.session, EndReason::SignedOut).await;
        ended.map_err(|error| json::store(&error))?;
        return Err(unrecorded(&error));
    }
    Ok(tokens)
}

/// Records that sessions of a person have ended: one, or all of them.
pub(super) async fn ended(guard: &Guard, user: UserId, session: Option<SessionId>, why: SignOutReason, trace: &Trace) {
    let actor = match why {
        SignOutReason::StolenRefreshToken => ActorId::lotline(),
        SignOutReason::Asked | SignOutReason::Reset => user.actor(),
    };
    let went = TrailCommand::RecordSignOut(SignedOut { user_id: user, session_id: session, why });
    guard.trail.settle(actor, went, trace).await;
}

/// What a sign-in that failed was an attempt at. The same is asked of the database for names that exist and those that do not.
pub(super) async fn sign_in(guard: &Guard, name: &str, error: &SignInError) -> Option<Attempt> {
    let kind = match error {
        SignInError::Busy | SignInError::Store(_) => return None,
        // What turned it away is the address, and nothing else is to be asked for it.
        SignInError::Throttled { .. } => return Some(Attempt::unknown(AttemptKind::Throttled)),
        SignInError::Locked { .. } => AttemptKind::Locked,
        SignInError::Wrong => AttemptKind::WrongPassword,
    };
    let found = match LoginName::new(name) {
        Ok(name) => guard.identity.names.find(&name).await.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "whose name was tried can't be found out");
            None
        }),
        Err(_) => None,
    };
    Some(match found {
        Some(user) => Attempt::new(kind, Suspect::User(user)),
        None if kind == AttemptKind::Locked => Attempt::unknown(kind),
        None => Attempt::unknown(AttemptKind::UnknownName),
    })
}

/// The answer to a refresh token that gives no other. One that came twice has ended its session, which is recorded as that.
pub(super) async fn refresh(guard: &Guard, error: &RefreshError, trace: &Trace) -> Problem {
    if let RefreshError::Refused { refusal: RefreshRefusal::Reused, of: Some((user, session)) } = error {
        ended(guard, *user, Some(*session), SignOutReason::StolenRefreshToken, trace).await;
    }
    json::refresh(error)
}

fn unrecorded(error: &SubmitError) -> Problem {
    tracing::warn!(error = error as &dyn std::error::Error, "nobody can sign in: the ledger does not take it");
    let message = "signing in can't be recorded at the moment; try again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message)
}

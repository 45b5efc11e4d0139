//! Proving again who one is, for one command: `/api/v1/auth/proofs`, and the use of what it gives.
//!
//! ```text
//! POST proofs        {"mutation", "input", "password"}     a proof, for who has a password
//! POST proofs/oidc   {"mutation", "input", "returnTo"?}    where to go for one: to the provider, which asks again (prompt=login, max_age=0)
//! ```
//!
//! A proof comes with its mutation as `extensions: {"proof": "…"}`, on every transport. It is used up before the mutation runs; one that does not fit
//! has the request refused. To have a mutation need one: `Command` in the table of root fields, where no mutation does so far.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use lotline_domain::access::actor::Actor;
use lotline_domain::identity::port::ProofScope;
use lotline_domain::identity::proof;
use lotline_domain::identity::sign_on::Person;
use lotline_domain::identity::token::TokenRefusal;
use lotline_domain::trail::{AttemptKind, Suspect};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::attempt::Purpose;
use super::door::{Credential, Intent};
use super::{Door, Guard, json, record, session, sign_on};
use crate::server::Server;
use crate::trail::attempts;
use crate::transport::caller::Caller;
use crate::transport::problem::Problem;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ByPassword {
    mutation: String,
    input: Map<String, Value>,
    password: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AtProvider {
    mutation: String,
    input: Map<String, Value>,
    /// A path of this server, which then has the proof behind its `#`; JSON when absent.
    return_to: Option<String>,
}

/// A mutation with its input, as it stands in a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The field.
    pub mutation: String,
    /// Its argument `input`, variables put in.
    pub input: Value,
}

/// POST `proofs`. Tries are counted and locked like those of signing in.
pub(super) async fn by_password(State(server): State<Arc<Server>>, request: Request) -> Result<Response, Problem> {
    let guard = server.guard()?;
    let (parts, body) = request.into_parts();
    let caller = server.required(Intent::Change, &parts).await?;
    server.count(&caller, &parts.extensions)?;
    let (user, session) = session::person(&caller)?;
    let given: ByPassword = json::read_of_known(&server, &parts, body).await?;
    let confirmed = guard.identity.passwords.confirm(user, &given.password, session::address(&parts)).await;
    confirmed.map_err(|error| record::confirmation(&error, user, &*server.state.clock))?;
    let command = proof::digest(&given.mutation, &Value::Object(given.input));
    issue(guard, ProofScope { user, session, command }).await
}

/// POST `proofs/oidc`: the address to go to, and the cookie to go with.
pub(super) async fn at_provider(State(server): State<Arc<Server>>, request: Request) -> Result<Response, Problem> {
    let guard = server.guard()?;
    let (parts, body) = request.into_parts();
    let caller = server.required(Intent::Change, &parts).await?;
    server.count(&caller, &parts.extensions)?;
    let (user, session) = session::person(&caller)?;
    let given: AtProvider = json::read_of_known(&server, &parts, body).await?;
    let return_to = given.return_to.map(sign_on::own_path).transpose()?;
    let command = hex::encode(proof::digest(&given.mutation, &Value::Object(given.input)));
    let (address, attempt) = sign_on::begin(&server, Purpose::Prove { user, session, command, return_to }).await?;
    let mut answer = Json(serde_json::json!({ "location": address })).into_response();
    guard.cookies.set_attempt(answer.headers_mut(), &attempt);
    Ok(session::private(answer))
}

/// A proof for who has come back from the provider, if it is who went there.
pub(super) async fn by_provider(guard: &Guard, person: &Person, scope: ProofScope) -> Result<Response, Problem> {
    let known = guard.identity.subjects.find(&person.subject).await.map_err(|error| json::store(&error))?;
    let (tokens, access) = (&guard.identity.tokens, guard.access()?);
    let goes_on = match tokens.goes_on(scope.session) {
        Err(TokenRefusal::Unavailable) => return Err(json::unavailable()),
        verdict => verdict.is_ok(),
    };
    if known != Some(scope.user) || !goes_on || !access.is_active(scope.user) {
        let message = "somebody else has signed in at the provider than is signed in here";
        let attempt = attempts::Attempt::new(AttemptKind::ProofRefused, Suspect::User(scope.user));
        return Err(Problem::new(StatusCode::FORBIDDEN, "PROOF_OF_ANOTHER", message).of(attempt));
    }
    issue(guard, scope).await
}

async fn issue(guard: &Guard, scope: ProofScope) -> Result<Response, Problem> {
    let proof = guard.identity.proofs.issue(scope).await.map_err(|error| json::store(&error))?;
    let mut answer = Json(serde_json::json!({ "proof": proof.expose() })).into_response();
    // For a page that goes on with it.
    answer.extensions_mut().insert(proof);
    Ok(session::private(answer))
}

/// Uses up the proof that came with a request, before anything of the request is done.
///
/// # Errors
/// 403 when it does not fit, 503.
pub(crate) async fn redeem(door: &Door, caller: &Caller, text: &str, asked: &[Asked]) -> Result<(), Problem> {
    let attempt = attempts::Attempt::new(AttemptKind::ProofRefused, Suspect::of(&caller.actor));
    let refuse = |message: &str| Problem::new(StatusCode::FORBIDDEN, "PROOF_REFUSED", message).of(attempt);
    let (Door::Guarded(guard), [asked]) = (door, asked) else {
        return Err(refuse("a proof is for one mutation; send it alone"));
    };
    let (Actor::User(user), Credential::Session { session, .. }) = (Actor::of(&caller.actor), &caller.credential)
    else {
        return Err(refuse("a proof is for a person who has signed in"));
    };
    let command = proof::digest(&asked.mutation, &asked.input);
    let scope = ProofScope { user, session: *session, command };
    let good = guard.identity.proofs.redeem(text, scope).await.map_err(|error| json::store(&error))?;
    if good {
        Ok(())
    } else {
        Err(refuse("the proof is unknown, used, too old, or for another command, person or session"))
    }
}

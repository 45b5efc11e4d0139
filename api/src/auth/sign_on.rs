//! `/api/v1/auth/oidc`: single sign-on by a provider of OpenID Connect.
//!
//! ```text
//! GET start     303 to the provider, with a cookie of the attempt
//! GET callback  back from there: what sign-in by password gives, as cookies and a page, or as tokens in JSON
//! ```
//!
//! Invariant: an attempt is good in the browser that began it, once, whatever comes back.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use lotline_domain::identity::port::{IssuedTokens, ProofScope};
use lotline_domain::identity::secret::OpaqueToken;
use lotline_domain::identity::sign_on::{Answer, Person, Question, RoleMap, SignOn, SignOnError};
use lotline_domain::trail::{AttemptKind, SignInMethod};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::attempt::{Attempt, Purpose, same};
use super::newcomer::Arrival;
use super::strangers::Account;
use super::{Guard, json, proof, record, session};
use crate::server::Server;
use crate::trail::attempts;
use crate::transport::caller::Trace;
use crate::transport::problem::Problem;

/// Where pages go on when they do not say.
const HOME: &str = "/graphiql";
const LONGEST_PATH: usize = 512;
const CALLBACK: &str = "/api/v1/auth/oidc/callback";

/// Single sign-on, where it is configured.
pub struct Desk {
    /// The provider.
    pub provider: Arc<dyn SignOn>,
    /// Which groups give which roles; nothing when roles are not the provider's matter.
    pub roles: Option<RoleMap>,
    /// Whether people whom nobody has invited are registered when they come.
    pub invite_unknown: bool,
    /// Where browsers reach this server, such as `https://lotline.plant.example`.
    pub origin: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Start {
    /// A path of this server where the page goes on.
    return_to: Option<String>,
    /// Tokens as JSON in place of cookies: for programs.
    #[serde(default)]
    tokens: bool,
}

/// What the browser brings. Providers may add more.
#[derive(Deserialize)]
struct Back {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// GET `oidc/start`.
pub(super) async fn start(State(server): State<Arc<Server>>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let given: Start = query(&parts)?;
    let path = own_path(given.return_to.unwrap_or_else(|| HOME.to_owned()))?;
    let purpose = Purpose::SignIn { return_to: (!given.tokens).then_some(path) };
    let (address, attempt) = begin(&server, purpose).await?;
    let location = HeaderValue::from_str(&address).map_err(|_| unusable("its address is no URL"))?;
    let mut answer = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
    server.guard()?.cookies.set_attempt(answer.headers_mut(), &attempt);
    Ok(session::private(answer))
}

/// GET `oidc/callback`.
pub(super) async fn callback(State(server): State<Arc<Server>>, request: Request) -> Result<Response, Problem> {
    let guard = server.guard()?;
    let (parts, _) = request.into_parts();
    let answer = finish(&server, &parts).await;
    let outcome = match &answer {
        Ok(_) => "right",
        Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        Err(problem) if problem.status == StatusCode::FORBIDDEN => "stranger",
        Err(_) => "wrong",
    };
    metrics::counter!("lotline_sign_ons_total", "outcome" => outcome).increment(1);
    let mut answer = answer.unwrap_or_else(Problem::into_response);
    guard.cookies.clear_attempt(answer.headers_mut());
    Ok(session::private(answer))
}

/// An attempt, and where the browser goes with it.
///
/// # Errors
/// 404 where there is no single sign-on, 503.
pub(super) async fn begin(server: &Server, purpose: Purpose) -> Result<(String, Attempt), Problem> {
    let guard = server.guard()?;
    let desk = desk(guard)?;
    let now = server.state.clock.now();
    let attempt = Attempt { id: server.state.ids.uuid_v7(now), begun_at: now, purpose };
    let (state, nonce) = (guard.cookies.state(&attempt), guard.cookies.nonce(&attempt));
    let (verifier, redirect_uri) = (guard.cookies.verifier(&attempt), redirect_uri(desk));
    let again = matches!(attempt.purpose, Purpose::Prove { .. });
    let question = Question { state: &state, nonce: &nonce, verifier: &verifier, redirect_uri: &redirect_uri, again };
    let address = desk.provider.address(&question).await.map_err(|error| refused(&error))?;
    Ok((address, attempt))
}

async fn finish(server: &Server, parts: &Parts) -> Result<Response, Problem> {
    let guard = server.guard()?;
    let desk = desk(guard)?;
    let back: Back = query(parts)?;
    let attempt = guard.cookies.attempt(&parts.headers, server.state.clock.now()).ok_or_else(over)?;
    if !back.state.is_some_and(|state| same(&state, &guard.cookies.state(&attempt))) {
        return Err(over());
    }
    // A way back costs a row here and a request at the provider, whoever comes by it.
    let account = Account::of(Trace::of(&parts.extensions).address);
    let look_up = back.code.as_deref().map(|code| guard.strangers.charge(account, code)).transpose()?;
    let used_up = guard.identity.subjects.use_up(attempt.digest(), attempt.ends_at()).await;
    if !used_up.map_err(|error| json::store(&error))? {
        return Err(over());
    }
    if let Some(error) = back.error {
        let shown: String = error.chars().filter(char::is_ascii_graphic).take(80).collect();
        let message = format!("the provider has not let you in: {shown}");
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "SIGN_ON_DENIED", message);
        return Err(problem.of(attempts::Attempt::unknown(AttemptKind::SignOnRefused)));
    }
    let code = back.code.ok_or_else(over)?;
    let (nonce, verifier) = (guard.cookies.nonce(&attempt), guard.cookies.verifier(&attempt));
    let answer = Answer {
        code: &code,
        issuer: back.iss.as_deref(),
        nonce: &nonce,
        verifier: &verifier,
        redirect_uri: &redirect_uri(desk),
        authenticated_since: matches!(attempt.purpose, Purpose::Prove { .. }).then_some(attempt.begun_at),
    };
    let person = desk.provider.redeem(&answer).await;
    match (look_up, &person) {
        (Some(look_up), Ok(_) | Err(SignOnError::Provider(_))) => look_up.void(),
        (Some(look_up), Err(SignOnError::Code(_) | SignOnError::Token(_))) => look_up.bad(),
        (None, _) => {}
    }
    let person = person.map_err(|error| refused(&error))?;
    match attempt.purpose {
        Purpose::SignIn { return_to } => {
            let tokens = arrive(server, guard, &person, parts).await?;
            Ok(hand_out(server, guard, &tokens, return_to.as_deref()))
        }
        Purpose::Prove { user, session, command, return_to } => {
            let mut bytes = [0; 32];
            hex::decode_to_slice(&command, &mut bytes).map_err(|_| over())?;
            let answer = proof::by_provider(guard, &person, ProofScope { user, session, command: bytes }).await?;
            let proof = answer.extensions().get::<OpaqueToken>().cloned();
            // Behind the `#` it reaches neither a server nor a log.
            let target = return_to.zip(proof).map(|(path, proof)| format!("{path}#proof={}", proof.expose()));
            Ok(target.map_or(answer, |target| page(&target)))
        }
    }
}

async fn arrive(server: &Server, guard: &Guard, person: &Person, parts: &Parts) -> Result<IssuedTokens, Problem> {
    let trace = Trace::of(&parts.extensions);
    let user = Arrival { server, guard, desk: desk(guard)?, person, trace }.user().await?;
    let client = session::client(parts, None);
    let tokens = record::open(guard, user, &client, SignInMethod::SingleSignOn, trace).await?;
    Ok(tokens)
}

fn hand_out(server: &Server, guard: &Guard, tokens: &IssuedTokens, return_to: Option<&str>) -> Response {
    let now = server.state.clock.now();
    let Some(path) = return_to else { return session::hand_out(guard, tokens, false, now) };
    let mut answer = page(path);
    guard.cookies.set(answer.headers_mut(), tokens, now);
    answer
}

/// A page of ours leads on, not a redirect: after one, the browser would still be on its way from the provider's site, and send no cookie.
fn page(path: &str) -> Response {
    let path = path.replace('&', "&amp;");
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0;url={path}\">\
         <title>Lotline</title><p>You have signed in. <a href=\"{path}\">Go on</a></p></html>"
    );
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(page)).into_response()
}

fn desk(guard: &Guard) -> Result<&Desk, Problem> {
    let message = "no provider of single sign-on is configured: see [access.oidc]";
    guard.desk.as_ref().ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "NO_SIGN_ON", message))
}

fn redirect_uri(desk: &Desk) -> String {
    format!("{}{CALLBACK}", desk.origin)
}

fn query<T: DeserializeOwned>(parts: &Parts) -> Result<T, Problem> {
    let read = Query::<T>::try_from_uri(&parts.uri);
    let message = "the query string is not what is expected here";
    read.map(|Query(given)| given).map_err(|_| Problem::bad_request("INVALID_QUERY_STRING", message))
}

/// Where a page may go on.
///
/// # Errors
/// 400.
pub(super) fn own_path(path: String) -> Result<String, Problem> {
    let message = "returnTo must be a path of this server, such as /graphiql";
    if is_own_path(&path) { Ok(path) } else { Err(Problem::bad_request("INVALID_PATH", message)) }
}

/// A path that stays here: `//host`, `/\host` and everything that HTML or a refresh could read otherwise are none.
fn is_own_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/?&=%+,:@".contains(&b);
    path.len() <= LONGEST_PATH && path.starts_with('/') && !path.starts_with("//") && path.bytes().all(plain)
}

/// Not begun here, or too long ago, or used: not told apart.
fn over() -> Problem {
    let message = "this sign-in was not begun in this browser, has been used, or has taken too long; begin again at /api/v1/auth/oidc/start";
    Problem::bad_request("SIGN_ON_OVER", message).of(attempts::Attempt::unknown(AttemptKind::SignOnRefused))
}

/// The provider knows them, and nobody here does, or not any more: the person is told the same.
pub(super) fn stranger(attempt: attempts::Attempt) -> Problem {
    let message = "the provider knows you, but you are not a user here; ask an administrator to invite you";
    Problem::new(StatusCode::FORBIDDEN, "SIGN_ON_STRANGER", message).of(attempt)
}

fn unusable(why: &str) -> Problem {
    tracing::warn!(why, "the provider of single sign-on can't be used");
    let message = "the provider of single sign-on can't be used at the moment; try again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "SIGN_ON_UNAVAILABLE", message)
}

/// The log says why; the person, that it did not work.
fn refused(error: &SignOnError) -> Problem {
    match error {
        SignOnError::Provider(why) => unusable(why),
        SignOnError::Code(_) | SignOnError::Token(_) => {
            tracing::warn!(error = error as &dyn std::error::Error, "a sign-in by the provider was refused");
            let message = "what came from the provider does not count here; begin again";
            let problem = Problem::new(StatusCode::UNAUTHORIZED, "SIGN_ON_REFUSED", message);
            problem.of(attempts::Attempt::unknown(AttemptKind::SignOnRefused))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_here_and_nowhere_else() {
        for own in ["/", "/graphiql", "/lots?site=north&code=a%20b"] {
            assert!(is_own_path(own), "{own}");
        }
        let long = format!("/{}", "x".repeat(LONGEST_PATH));
        for foreign in [
            "",
            "graphiql",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\"b",
            "/a;b",
            "/a<b",
            "/a b",
            &long,
        ] {
            assert!(!is_own_path(foreign), "{foreign}");
        }
    }
}

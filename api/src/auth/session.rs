//! `/api/v1/auth`: signing in and out, refreshing, and who one is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lotline_domain::access::actor::Actor;
use lotline_domain::access::role::Role;
use lotline_domain::id::{SessionId, SiteId, UserId};
use lotline_domain::identity::port::{IssuedTokens, RefreshError};
use lotline_domain::identity::session::{EndReason, RefreshRefusal};
use lotline_domain::timestamp::Timestamp;
use lotline_domain::trail::{AttemptKind, SignInMethod, SignOutReason, Suspect};
use serde::{Deserialize, Serialize};

use super::door::{Credential, Intent};
use super::strangers::Account;
use super::{Door, Guard, json, record};
use crate::server::Server;
use crate::trail::attempts::Attempt;
use crate::transport::caller::{Caller, Trace};
use crate::transport::problem::Problem;

/// Longest name that a client gives itself, in characters.
const CLIENT_CHARACTERS: usize = 128;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignIn {
    email: String,
    password: String,
    /// What to call this client in the list of sessions; its `User-Agent` when absent.
    client: Option<String>,
    /// Whether the tokens are to be cookies: for pages in browsers.
    #[serde(default)]
    cookies: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Refresh {
    /// The cookie when absent.
    refresh_token: Option<String>,
}

/// What a client has from signing in. A browser gets no tokens to read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedIn {
    user_id: UserId,
    session_id: SessionId,
    access_expires_at: String,
    refresh_expires_at: String,
    #[serde(flatten)]
    handed: Handed,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", untagged)]
enum Handed {
    Tokens { token_type: &'static str, access_token: String, refresh_token: String },
    Cookies { csrf_token: String },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Membership {
    /// Everywhere when absent.
    site: Option<SiteId>,
    roles: Vec<Role>,
}

impl Server {
    /// What guards the door.
    ///
    /// # Errors
    /// 404 in development mode, where nobody signs in.
    pub(super) fn guard(&self) -> Result<&Guard, Problem> {
        match &self.state.door {
            Door::Guarded(guard) => Ok(guard),
            Door::Open => {
                let message = "in development mode nobody signs in: the actor is whoever the request says";
                Err(Problem::new(StatusCode::NOT_FOUND, "NOT_ENFORCED", message))
            }
        }
    }

    pub(super) async fn required(&self, intent: Intent, parts: &Parts) -> Result<Caller, Problem> {
        let headers = &parts.headers;
        let caller =
            self.state.door.require(headers, intent, Trace::of(&parts.extensions), self.state.clock.now()).await?;
        // Nobody is kept from signing out.
        if intent == Intent::Read {
            self.count(&caller, &parts.extensions)?;
        }
        Ok(caller)
    }
}

/// POST `sign-in`.
pub(super) async fn sign_in(State(server): State<Arc<Server>>, request: Request) -> Result<Response, Problem> {
    let guard = server.guard()?;
    let (parts, body) = request.into_parts();
    let given: SignIn = json::read(&server, &parts, body).await?;
    let access = guard.access()?;
    let signed_in = guard.identity.passwords.sign_in(&given.email, &given.password, address(&parts)).await;
    let user = match signed_in {
        Ok(user) => user,
        Err(error) => {
            let attempt = record::sign_in(guard, &given.email, &error).await;
            let problem = json::sign_in(&error, &*server.state.clock);
            return Err(attempt.into_iter().fold(problem, Problem::of));
        }
    };
    if !access.is_active(user) {
        return Err(json::wrong().of(Attempt::new(AttemptKind::NotAdmitted, Suspect::User(user))));
    }
    let client = client(&parts, given.client);
    let tokens = record::open(guard, user, &client, SignInMethod::Password, Trace::of(&parts.extensions)).await?;
    Ok(hand_out(guard, &tokens, given.cookies, server.state.clock.now()))
}

/// POST `refresh`, by the body or by the cookie.
pub(super) async fn refresh(State(server): State<Arc<Server>>, request: Request) -> Result<Response, Problem> {
    let guard = server.guard()?;
    let (parts, body) = request.into_parts();
    let given: Refresh = json::read(&server, &parts, body).await?;
    let cookie = guard.cookies.refresh(&parts.headers).filter(|_| given.refresh_token.is_none());
    if cookie.is_some() {
        // Which session the token is of is known when it has been used up, so the text may be of any session of this installation.
        guard.protect(&parts.headers, Intent::Change, None)?;
    }
    let Some(token) = given.refresh_token.as_deref().or(cookie) else {
        return Err(Problem::bad_request("NO_REFRESH_TOKEN", "send {\"refreshToken\": \"…\"}, or the cookie"));
    };
    let trace = Trace::of(&parts.extensions);
    // Whoever has a text of ours is told from others behind the same address.
    let session = guard.cookies.csrf_session(&parts.headers).filter(|_| cookie.is_some());
    let account = session.map_or_else(|| Account::of(trace.address), Account::Session);
    let look_up = guard.strangers.charge(account, token)?;
    let refreshed = guard.identity.sessions.refresh(token).await;
    match &refreshed {
        // Two tabs at once are no guess.
        Ok(_) | Err(RefreshError::Refused { refusal: RefreshRefusal::Superseded, .. } | RefreshError::Store(_)) => {
            look_up.void();
        }
        Err(RefreshError::Refused { .. }) => look_up.bad(),
    }
    let tokens = match refreshed {
        Ok(tokens) => tokens,
        Err(error) => return Err(record::refresh(guard, &error, trace).await),
    };
    if !guard.access()?.is_active(tokens.user) {
        let ended = guard.identity.sessions.end_all(tokens.user, None, EndReason::Deactivated).await;
        ended.map_err(|error| json::store(&error))?;
        return Err(json::wrong().of(Attempt::new(AttemptKind::NotAdmitted, Suspect::User(tokens.user))));
    }
    Ok(hand_out(guard, &tokens, cookie.is_some(), server.state.clock.now()))
}

/// POST `sign-out`: ends the session of the caller.
pub(super) async fn sign_out(State(server): State<Arc<Server>>, request: Request) -> Result<Response, Problem> {
    end(&server, request, false).await
}

/// POST `sign-out-everywhere`: ends all sessions of the caller.
pub(super) async fn sign_out_everywhere(
    State(server): State<Arc<Server>>,
    request: Request,
) -> Result<Response, Problem> {
    end(&server, request, true).await
}

async fn end(server: &Server, request: Request, everywhere: bool) -> Result<Response, Problem> {
    let guard = server.guard()?;
    let (parts, _) = request.into_parts();
    let caller = server.required(Intent::Change, &parts).await?;
    let (user, session) = person(&caller)?;
    let sessions = &guard.identity.sessions;
    let ended = if everywhere {
        sessions.end_all(user, None, EndReason::SignedOutEverywhere).await
    } else {
        sessions.end(user, session, EndReason::SignedOut).await.map(u64::from)
    };
    let ended = ended.map_err(|error| json::store(&error))?;
    if ended > 0 {
        let session = (!everywhere).then_some(session);
        record::ended(guard, user, session, SignOutReason::Asked, &caller.trace).await;
    }
    let mut answer = Json(serde_json::json!({ "ended": ended })).into_response();
    guard.cookies.clear(answer.headers_mut());
    Ok(private(answer))
}

/// GET `session`: who the caller is.
pub(super) async fn current(State(server): State<Arc<Server>>, request: Request) -> Result<Response, Problem> {
    let guard = server.guard()?;
    let (parts, _) = request.into_parts();
    let caller = server.required(Intent::Read, &parts).await?;
    let memberships = guard.access()?.memberships(Actor::of(&caller.actor), server.state.clock.now());
    let memberships: Vec<Membership> =
        memberships.into_iter().map(|(site, roles)| Membership { site, roles: roles.iter().collect() }).collect();
    let (session, expires_at) = match &caller.credential {
        Credential::Session { session, expires_at } => (Some(session), Some(expires_at.to_string())),
        Credential::Key | Credential::Name => (None, None),
    };
    let body = serde_json::json!({
        "actor": caller.actor, "tenant": server.state.tenant, "memberships": memberships, "sessionId": session,
        "accessExpiresAt": expires_at, "csrfToken": session.map(|session| guard.cookies.csrf(*session)),
    });
    Ok(private(Json(body).into_response()))
}

/// GET `sessions`: where the caller is signed in.
pub(super) async fn list(State(server): State<Arc<Server>>, request: Request) -> Result<Response, Problem> {
    let guard = server.guard()?;
    let (parts, _) = request.into_parts();
    let caller = server.required(Intent::Read, &parts).await?;
    let (user, own) = person(&caller)?;
    let sessions = guard.identity.sessions.list(user).await.map_err(|error| json::store(&error))?;
    let shown = sessions.into_iter().map(|open| {
        serde_json::json!({
            "sessionId": open.session, "client": open.client, "current": open.session == own,
            "startedAt": open.started_at.to_string(), "refreshedAt": open.refreshed_at.to_string(),
            "expiresAt": open.expires_at.to_string(),
        })
    });
    let body = serde_json::json!({ "sessions": shown.collect::<Vec<_>>() });
    Ok(private(Json(body).into_response()))
}

/// GET `/.well-known/jwks.json`: the keys by which others can verify access tokens.
pub(super) async fn jwks(State(server): State<Arc<Server>>) -> Result<Response, Problem> {
    let keys = server.guard()?.identity.tokens.jwks();
    // A new key is published a day before it signs.
    let headers = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, "public, max-age=300")];
    Ok((headers, keys).into_response())
}

/// What to call a client in the list of sessions.
pub(super) fn client(parts: &Parts, given: Option<String>) -> String {
    let agent = || parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned);
    let client: String = given.or_else(agent).unwrap_or_default();
    client.chars().filter(|c| !c.is_control()).take(CLIENT_CHARACTERS).collect()
}

/// Tokens, as JSON or as cookies.
pub(super) fn hand_out(guard: &Guard, tokens: &IssuedTokens, cookies: bool, now: Timestamp) -> Response {
    guard.strangers.remember(tokens.refresh.expose());
    let handed = if cookies {
        Handed::Cookies { csrf_token: guard.cookies.csrf(tokens.session) }
    } else {
        let refresh_token = tokens.refresh.expose().to_owned();
        Handed::Tokens { token_type: "Bearer", access_token: tokens.access.clone(), refresh_token }
    };
    let body = SignedIn {
        user_id: tokens.user,
        session_id: tokens.session,
        access_expires_at: tokens.access_expires_at.to_string(),
        refresh_expires_at: tokens.refresh_expires_at.to_string(),
        handed,
    };
    let mut answer = Json(body).into_response();
    if cookies {
        guard.cookies.set(answer.headers_mut(), tokens, now);
    }
    private(answer)
}

/// For nobody's cache.
pub(super) fn private(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A person who has signed in.
pub(super) fn person(caller: &Caller) -> Result<(UserId, SessionId), Problem> {
    if let (Actor::User(user), Credential::Session { session, .. }) = (Actor::of(&caller.actor), &caller.credential) {
        return Ok((user, *session));
    }
    let message = "only a person who has signed in has sessions; this is an API key";
    let attempt = Attempt::new(AttemptKind::OutsideScope, Suspect::of(&caller.actor));
    Err(Problem::new(StatusCode::FORBIDDEN, "NO_SESSION", message).of(attempt))
}

/// Where a request comes from. Whoever can't be told shares one address.
pub(super) fn address(parts: &Parts) -> IpAddr {
    let connected = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    connected.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip().to_canonical())
}

//! Looks at what a request brings to prove who sends it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use lotline_domain::access::actor::Actor;
use lotline_domain::access::state::SharedAccess;
use lotline_domain::id::{ActorId, ApiKeyId, SessionId};
use lotline_domain::identity::port::ApiKeyError;
use lotline_domain::identity::token::TokenRefusal;
use lotline_domain::timestamp::Timestamp;
use lotline_domain::trail::{AttemptKind, Suspect};

use super::strangers::Account;
use super::{Door, Guard, json};
use crate::trail::attempts::Attempt;
use crate::transport::caller::{self, Caller, Trace};
use crate::transport::problem::Problem;

/// Header in which an API key may stand, beside `Authorization`.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// How every API key begins; no access token does.
const KEY_BRAND: &str = "lotline_";
const BEARER: &str = "bearer ";

/// By what somebody came in: it has to be good for as long as they stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Development mode: by a name.
    Name,
    /// A person, by a token of a session.
    Session {
        /// Which.
        session: SessionId,
        /// When the token ends.
        expires_at: Timestamp,
    },
    /// A program, by an API key.
    Key,
}

/// What a request wants to do, as far as cookies are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Only read.
    Read,
    /// Perhaps change something.
    Change,
    /// Open a socket, on which anything may come, and which no rule of browsers about origins protects.
    Socket,
}

impl Intent {
    /// What a method stands for (RFC 9110 section 9.2.1).
    pub fn of(method: &Method) -> Self {
        if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) { Self::Read } else { Self::Change }
    }
}

/// What was presented.
enum Presented<'a> {
    Token(&'a str),
    Key(&'a str),
    Cookie(&'a str),
}

impl Door {
    /// Who sends a request; nothing when it brings nothing by which to tell.
    ///
    /// # Errors
    /// 400 for more than one credential, 401 for one that does not count, 403 for a cookie without protection, 429 when too many keys that nobody
    /// has came from there, 503.
    pub async fn identify(
        &self,
        headers: &HeaderMap,
        intent: Intent,
        trace: &Trace,
        now: Timestamp,
    ) -> Result<Option<Caller>, Problem> {
        let guard = match self {
            Self::Open => return Caller::by_name(headers, trace.clone()).map(Some),
            Self::Guarded(guard) => guard,
        };
        let Some(presented) = guard.presented(headers)? else { return Ok(None) };
        let (actor, credential) = guard.admit(&presented, Account::of(trace.address), now).await?;
        if let (Presented::Cookie(_), Credential::Session { session, .. }) = (&presented, &credential) {
            let protected = guard.protect(headers, intent, Some(*session));
            protected.map_err(|problem| by(problem, &actor))?;
        }
        Ok(Some(Caller { actor, credential, trace: trace.clone() }))
    }

    /// Who sends a request that nobody may send without a name.
    ///
    /// # Errors
    /// As [`Door::identify`], and 401 when there is nothing by which to tell.
    pub async fn require(
        &self,
        headers: &HeaderMap,
        intent: Intent,
        trace: &Trace,
        now: Timestamp,
    ) -> Result<Caller, Problem> {
        self.identify(headers, intent, trace, now).await?.ok_or_else(nobody)
    }

    /// Who introduces themselves on a socket, by the text of an `Authorization` header.
    ///
    /// # Errors
    /// As [`Door::identify`].
    pub async fn introduce(&self, authorization: &str, trace: &Trace, now: Timestamp) -> Result<Caller, Problem> {
        match self {
            Self::Open => Err(Problem::bad_request("NOT_ENFORCED", "in development mode nobody signs in")),
            Self::Guarded(guard) => {
                let account = Account::of(trace.address);
                let (actor, credential) = guard.admit(&bearer(authorization)?, account, now).await?;
                Ok(Caller { actor, credential, trace: trace.clone() })
            }
        }
    }

    /// Whether somebody who came in may stay: the token lasts, the session goes on, the key and the user are good. Asks nobody.
    ///
    /// # Errors
    /// 401, or 503 when it can't be known.
    pub fn recheck(&self, caller: &Caller, now: Timestamp) -> Result<(), Problem> {
        let Self::Guarded(guard) = self else { return Ok(()) };
        if let Credential::Session { session, expires_at } = &caller.credential {
            if now >= *expires_at {
                return Err(refused(TokenRefusal::Expired));
            }
            guard.identity.tokens.goes_on(*session).map_err(refused)?;
        }
        guard.standing(&caller.actor, now)
    }

    /// Refuses what a page of a site that is not listed has made a browser send.
    ///
    /// # Errors
    /// 403.
    pub fn check_origin(&self, headers: &HeaderMap, origins: &[String]) -> Result<(), Problem> {
        match self {
            Self::Open => caller::check_origin(headers, origins),
            Self::Guarded(guard) if headers.contains_key(header::ORIGIN) => guard.own_origin(headers),
            Self::Guarded(_) => Ok(()),
        }
    }
}

impl Guard {
    /// Who may do what.
    ///
    /// # Errors
    /// 503 while that is not known.
    pub fn access(&self) -> Result<SharedAccess, Problem> {
        self.access.now().ok_or_else(json::unavailable)
    }

    fn presented<'a>(&self, headers: &'a HeaderMap) -> Result<Option<Presented<'a>>, Problem> {
        let authorizations = headers.get_all(header::AUTHORIZATION).iter();
        let given: Vec<&HeaderValue> = authorizations.chain(headers.get_all(API_KEY)).collect();
        match given.as_slice() {
            [] => Ok(self.cookies.access(headers).map(Presented::Cookie)),
            [one] => {
                let text = one.to_str().map_err(|_| refused(TokenRefusal::Malformed))?;
                if headers.contains_key(API_KEY) { Ok(Some(Presented::Key(text))) } else { bearer(text).map(Some) }
            }
            _ => {
                let message = "send one credential: one Authorization header, or one X-API-Key header";
                Err(Problem::bad_request("AMBIGUOUS_CREDENTIALS", message).of(Attempt::unknown(AttemptKind::Ambiguous)))
            }
        }
    }

    async fn admit(
        &self,
        presented: &Presented<'_>,
        account: Account,
        now: Timestamp,
    ) -> Result<(ActorId, Credential), Problem> {
        let (actor, credential) = match presented {
            Presented::Token(text) | Presented::Cookie(text) => {
                let claims = self.identity.tokens.verify(text).map_err(refused)?;
                let expires_at = Timestamp::from_millis(claims.expires_at.saturating_mul(1_000));
                // Nothing that is done by it would be let, see `recheck`; what clocks may differ by is no longer life.
                if now >= expires_at {
                    return Err(refused(TokenRefusal::Expired));
                }
                (claims.user.actor(), Credential::Session { session: claims.session, expires_at })
            }
            Presented::Key(text) => (self.key(text, account).await?.actor(), Credential::Key),
        };
        self.standing(&actor, now)?;
        Ok((actor, credential))
    }

    async fn key(&self, text: &str, account: Account) -> Result<ApiKeyId, Problem> {
        let look_up = self.strangers.charge(account, text)?;
        let invalid = |error: &ApiKeyError| unauthorised(AttemptKind::UnknownKey, "INVALID_API_KEY", error.to_string());
        match self.identity.api_keys.check(text).await {
            Ok(key) => {
                look_up.good();
                Ok(key)
            }
            Err(ApiKeyError::Store(error)) => {
                look_up.void();
                Err(json::store(&error))
            }
            // A mistyped one is seen to be one without a query.
            Err(error @ ApiKeyError::Malformed(_)) => {
                look_up.void();
                Err(invalid(&error))
            }
            Err(error @ ApiKeyError::Unknown) => {
                look_up.bad();
                Err(invalid(&error))
            }
        }
    }

    /// Whether the ledger knows the actor as one that may come in.
    fn standing(&self, actor: &ActorId, now: Timestamp) -> Result<(), Problem> {
        let verdict = self.access()?.admits(Actor::of(actor), now);
        verdict.map_err(|denial| by(unauthorised(AttemptKind::NotAdmitted, "NOT_ADMITTED", denial.to_string()), actor))
    }

    /// Whether a request that came by a cookie was meant by its sender.
    pub(super) fn protect(
        &self,
        headers: &HeaderMap,
        intent: Intent,
        session: Option<SessionId>,
    ) -> Result<(), Problem> {
        if intent == Intent::Read {
            return Ok(());
        }
        self.own_origin(headers)?;
        // A browser can't set headers on a socket; its Origin is what can be asked for there.
        if intent == Intent::Socket {
            return Ok(());
        }
        let handed_out = self.cookies.csrf_session(headers);
        if handed_out.is_some() && (session.is_none() || handed_out == session) {
            return Ok(());
        }
        let message = "a request that changes something by a cookie needs the header x-csrf-token, as sign-in gave it";
        Err(Problem::new(StatusCode::FORBIDDEN, "CSRF", message).of(Attempt::unknown(AttemptKind::Csrf)))
    }

    fn own_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let own = text(header::ORIGIN).is_some_and(|origin| match &self.origin {
            _ if self.origins.iter().any(|listed| listed == origin) => true,
            Some(own) => origin == own,
            None => origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == text(header::HOST)),
        });
        if own {
            return Ok(());
        }
        let problem = Problem::new(StatusCode::FORBIDDEN, "FOREIGN_ORIGIN", "the Origin is missing or another site's");
        Err(problem.of(Attempt::unknown(AttemptKind::ForeignOrigin)))
    }
}

/// Nothing was brought.
pub(crate) fn nobody() -> Problem {
    let message = "sign in first: send Authorization: Bearer with an access token or an API key";
    let challenge = HeaderValue::from_static("Bearer realm=\"lotline\"");
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message);
    let problem = problem.of(Attempt::unknown(AttemptKind::Anonymous));
    Problem { header: Some((header::WWW_AUTHENTICATE, challenge)), ..problem }
}

/// The same as an attempt of somebody known.
fn by(problem: Problem, actor: &ActorId) -> Problem {
    let attempt = problem.attempt.map(|attempt| Box::new(Attempt { by: Suspect::of(actor), ..*attempt }));
    Problem { attempt, ..problem }
}

fn bearer(text: &str) -> Result<Presented<'_>, Problem> {
    let scheme = text.get(..BEARER.len()).filter(|scheme| scheme.eq_ignore_ascii_case(BEARER));
    let credential = scheme.map(|scheme| text[scheme.len()..].trim()).ok_or_else(|| {
        unauthorised(
            AttemptKind::BadToken,
            "UNKNOWN_SCHEME",
            "the Authorization header is not of the form Bearer <token>".to_owned(),
        )
    })?;
    let is_key = credential.starts_with(KEY_BRAND);
    Ok(if is_key { Presented::Key(credential) } else { Presented::Token(credential) })
}

/// A token does not count. Those who have none of ours learn nothing of why; whose token has expired gets the next one.
fn refused(refusal: TokenRefusal) -> Problem {
    tracing::debug!(refusal = %refusal, "a token was refused");
    match refusal {
        TokenRefusal::Unavailable => json::unavailable(),
        TokenRefusal::Expired => unauthorised(AttemptKind::ExpiredToken, "TOKEN_EXPIRED", refusal.to_string()),
        TokenRefusal::SessionEnded => unauthorised(AttemptKind::EndedSession, "SESSION_ENDED", refusal.to_string()),
        TokenRefusal::TooLong | TokenRefusal::Malformed => invalid(AttemptKind::BadToken),
        TokenRefusal::Kind
        | TokenRefusal::UnknownKey
        | TokenRefusal::Signature
        | TokenRefusal::Elsewhere
        | TokenRefusal::Times => invalid(AttemptKind::ForgedToken),
    }
}

fn invalid(kind: AttemptKind) -> Problem {
    unauthorised(kind, "INVALID_TOKEN", "the token does not count here".to_owned())
}

/// RFC 6750 section 3.1.
fn unauthorised(kind: AttemptKind, code: &'static str, message: String) -> Problem {
    let challenge = HeaderValue::from_static("Bearer realm=\"lotline\", error=\"invalid_token\"");
    let problem = Problem::new(StatusCode::UNAUTHORIZED, code, message).of(Attempt::unknown(kind));
    Problem { header: Some((header::WWW_AUTHENTICATE, challenge)), ..problem }
}

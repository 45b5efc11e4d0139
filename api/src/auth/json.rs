//! Bodies of `/api/v1/auth`, and the answers of its failures. Nothing here tells a known user from an unknown one.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use lotline_domain::identity::port::{LinkError, NameError, PasswordError, RefreshError, SignInError, StoreError};
use lotline_domain::identity::session::RefreshRefusal;
use lotline_domain::port::Clock;
use lotline_domain::trail::{AttemptKind, Suspect};
use serde::de::DeserializeOwned;

use crate::server::Server;
use crate::trail::attempts::Attempt;
use crate::transport::accept::json_content_type;
use crate::transport::http::collect;
use crate::transport::problem::Problem;

/// Largest body of somebody who has not come in: a name, a password and a link are less than one kilobyte.
const BODY_BYTES: usize = 16 << 10;

/// Reads a JSON object of anybody. Only JSON is taken, which a form of another site can't send.
pub(super) async fn read<T: DeserializeOwned>(server: &Server, parts: &Parts, body: Body) -> Result<T, Problem> {
    up_to(server, parts, body, BODY_BYTES.min(server.state.limits.body_bytes)).await
}

/// Reads a JSON object of somebody who has come in, with what may be as large as a mutation.
pub(super) async fn read_of_known<T: DeserializeOwned>(
    server: &Server,
    parts: &Parts,
    body: Body,
) -> Result<T, Problem> {
    up_to(server, parts, body, server.state.limits.body_bytes).await
}

async fn up_to<T: DeserializeOwned>(server: &Server, parts: &Parts, body: Body, most: usize) -> Result<T, Problem> {
    json_content_type(&parts.headers)?;
    let bytes = collect(server, parts, body, most).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        // Its text could repeat a value, and a value could be a password.
        let message = format!("the body is not the JSON that is expected here, at line {}", error.line());
        Problem::bad_request("INVALID_BODY", message)
    })
}

/// Nothing can be found out at the moment.
pub(crate) fn unavailable() -> Problem {
    let problem = Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "IDENTITY_UNAVAILABLE",
        "who you are can't be found out at the moment; try again",
    );
    Problem { header: Some((header::RETRY_AFTER, HeaderValue::from_static("1"))), ..problem }
}

/// The store failed: told once to the operator, and without details to the client.
pub(super) fn store(error: &StoreError) -> Problem {
    tracing::warn!(error = error as &dyn std::error::Error, cause = %error.source, "credentials can't be reached");
    unavailable()
}

/// Signing in failed.
pub(super) fn sign_in(error: &SignInError, clock: &dyn Clock) -> Problem {
    let seconds = match error {
        SignInError::Wrong => return wrong(),
        SignInError::Store(error) => return store(error),
        SignInError::Busy => 1,
        SignInError::Locked { until } => (until.millis() - clock.now().millis()).max(0) / 1_000 + 1,
        SignInError::Throttled { retry_after } => i64::try_from(retry_after.as_secs()).unwrap_or(i64::MAX - 1) + 1,
    };
    let (status, code) = match error {
        SignInError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "BUSY"),
        _ => (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_TRIES"),
    };
    let wait = HeaderValue::from_str(&seconds.to_string()).expect("invariant: digits make a header");
    Problem { header: Some((header::RETRY_AFTER, wait)), ..Problem::new(status, code, error.to_string()) }
}

/// Unknown, without a password, wrong, or deactivated: one answer.
pub(super) fn wrong() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "SIGN_IN_REFUSED", SignInError::Wrong.to_string())
}

/// There are no next tokens.
pub(super) fn refresh(error: &RefreshError) -> Problem {
    match error {
        RefreshError::Store(error) => store(error),
        RefreshError::Refused { refusal, of } => {
            let reused = *refusal == RefreshRefusal::Reused;
            if reused {
                let (user, session) = of.map(|(user, session)| (user.to_string(), session.to_string())).unzip();
                tracing::warn!(
                    user.id = user,
                    session.id = session,
                    "a refresh token came a second time; its session has ended"
                );
            }
            let code = if *refusal == RefreshRefusal::Superseded { "REFRESH_SUPERSEDED" } else { "REFRESH_REFUSED" };
            let problem = Problem::new(StatusCode::UNAUTHORIZED, code, refusal.to_string());
            let by = of.map_or(Suspect::Unknown, |(user, _)| Suspect::User(user));
            // One that came twice is recorded as the end of its session.
            if reused { problem } else { problem.of(Attempt::new(AttemptKind::RefreshRefused, by)) }
        }
    }
}

/// A password was not set.
pub(super) fn password(error: &PasswordError) -> Problem {
    match error {
        PasswordError::Weak(weakness) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "WEAK_PASSWORD", weakness.to_string())
        }
        PasswordError::Link(refusal) => Problem::new(StatusCode::GONE, "LINK_REFUSED", refusal.to_string())
            .of(Attempt::unknown(AttemptKind::BadLink)),
        PasswordError::Busy => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "BUSY", error.to_string()),
        PasswordError::Store(error) => store(error),
    }
}

/// A link gives no user.
pub(super) fn link(error: LinkError) -> Problem {
    password(&error.into())
}

/// A name is not to be had.
pub(super) fn name(error: &NameError) -> Problem {
    match error {
        NameError::Taken => Problem::new(StatusCode::CONFLICT, "NAME_TAKEN", error.to_string()),
        NameError::Store(error) => store(error),
    }
}

//! Who asks, and what ties the request to others.
//!
//! Development mode: the actor is whatever the header says. That is why the server then refuses to listen beyond the loopback interface.
//! Otherwise [`crate::auth::door`] finds out who it is, and the header is not looked at.

use std::net::IpAddr;

use axum::http::{Extensions, HeaderMap, HeaderName, StatusCode, header};
use lotline_domain::id::{ActorId, CorrelationId};
use lotline_domain::port::{Clock, Ids};
use lotline_domain::trace::TraceContext;
use uuid::Uuid;

use super::problem::Problem;
use crate::auth::door::Credential;

/// Request header with the actor's id.
pub const ACTOR: HeaderName = HeaderName::from_static("x-lotline-actor");
/// Request and response header with the correlation id.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// Response header with the trace and the span of a request that is recorded: W3C Trace Context, level 2 draft, section 4.
pub const TRACE: HeaderName = HeaderName::from_static("traceresponse");
/// Response header that says how callers are identified.
pub const MODE: HeaderName = HeaderName::from_static("x-lotline-mode");
/// The actor of requests that name none.
const DEFAULT_ACTOR: &str = "dev";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Opaque id.
    pub actor: ActorId,
    /// By what they came in.
    pub credential: Credential,
    /// What the request belongs to.
    pub trace: Trace,
}

/// What ties a request to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// From the request, or fresh.
    pub correlation_id: CorrelationId,
    /// W3C Trace Context, of the request or of the span that it has here.
    pub traceparent: Option<String>,
    /// Where the request comes from. For the program's log only: it is personal, and the ledger is for ever.
    pub address: Option<IpAddr>,
    /// Whether each operation may begin a trace of its own, as on a socket, which outlives any trace.
    pub is_socket: bool,
}

impl Caller {
    /// Believes the header, as in development mode.
    ///
    /// # Errors
    /// 400 when the actor's id is malformed or reserved.
    pub fn by_name(headers: &HeaderMap, trace: Trace) -> Result<Self, Problem> {
        let given = headers.get(ACTOR).map_or(Ok(DEFAULT_ACTOR), |value| value.to_str());
        let actor = parse_actor(given.unwrap_or_default())?;
        Ok(Self { actor, credential: Credential::Name, trace })
    }
}

impl Trace {
    /// Reads the headers.
    pub fn from_headers(headers: &HeaderMap, correlation_id: CorrelationId) -> Self {
        let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        let traceparent = traceparent.filter(|text| is_traceparent(text)).map(str::to_owned);
        Self { correlation_id, traceparent, address: None, is_socket: is_socket(headers) }
    }

    /// What the router has noted with a request.
    pub fn of(extensions: &Extensions) -> &Self {
        extensions.get().expect("invariant: every request passes the router's frame")
    }
}

/// Whether a request asks for a WebSocket.
pub fn is_socket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Reads an actor's id.
///
/// # Errors
/// 400 that says the rule. The names of Lotline itself are refused: what they may do is nobody's from outside.
pub fn parse_actor(text: &str) -> Result<ActorId, Problem> {
    let actor = ActorId::new(text).map_err(|error| Problem::bad_request("INVALID_ACTOR", error.to_string()))?;
    if actor.is_reserved() {
        let message = format!("'{actor}' is Lotline's own name; nobody acts under it from outside");
        return Err(Problem::bad_request("RESERVED_ACTOR", message));
    }
    Ok(actor)
}

/// The request's correlation id when it is a UUID, else a fresh one.
pub fn correlation_id(headers: &HeaderMap, clock: &dyn Clock, ids: &dyn Ids) -> CorrelationId {
    let given = headers.get(CORRELATION_ID).and_then(|value| value.to_str().ok());
    let given = given.and_then(|text| Uuid::parse_str(text).ok());
    CorrelationId(given.unwrap_or_else(|| ids.uuid_v7(clock.now())))
}

/// Refuses requests that a page of another site has made a browser send: a foreign `Origin` that is not listed, or a `Host` that is not this machine (a
/// name that was rebound to it).
///
/// # Errors
/// 403.
pub fn check_origin(headers: &HeaderMap, origins: &[String]) -> Result<(), Problem> {
    let refuse = |message: &str| Problem::new(StatusCode::FORBIDDEN, "FOREIGN_ORIGIN", message);
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("invalid"));
    let host = text(header::HOST);
    if host.is_some_and(|host| !is_loopback_name(host)) {
        return Err(refuse("in development mode the Host must be localhost or a loopback address"));
    }
    let listed = text(header::ORIGIN).is_some_and(|origin| origins.iter().any(|listed| listed == origin));
    let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://").map(|(_, authority)| authority));
    if headers.contains_key(header::ORIGIN) && !listed && (origin.is_none() || origin != host) {
        return Err(refuse("the Origin is another site's"));
    }
    Ok(())
}

fn is_loopback_name(authority: &str) -> bool {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_traceparent(text: &str) -> bool {
    text.parse::<TraceContext>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn callers_are_read_from_headers() {
        let id = CorrelationId(Uuid::nil());
        let read = |headers: &HeaderMap| Caller::by_name(headers, Trace::from_headers(headers, id));
        let caller = read(&HeaderMap::new()).unwrap();
        assert_eq!((caller.actor.as_str(), caller.trace.traceparent), ("dev", None));
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let caller = read(&headers(&[("x-lotline-actor", "ann"), ("traceparent", trace)])).unwrap();
        assert_eq!((caller.actor.as_str(), caller.trace.traceparent.as_deref()), ("ann", Some(trace)));
        assert!(read(&headers(&[("x-lotline-actor", "a b")])).is_err());
        for reserved in ["system", "lotline"] {
            assert!(read(&headers(&[("x-lotline-actor", reserved)])).is_err(), "{reserved}");
        }
        for bad in ["", "00-0-0-00", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    #[test]
    fn foreign_origins_and_rebound_hosts_are_refused() {
        for (given, fine) in [
            (headers(&[]), true),
            (headers(&[("host", "localhost:8080")]), true),
            (headers(&[("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")]), true),
            (headers(&[("host", "[::1]:8080"), ("origin", "http://[::1]:8080")]), true),
            (headers(&[("host", "localhost:8080"), ("origin", "http://evil.example")]), false),
            (headers(&[("host", "localhost:8080"), ("origin", "null")]), false),
            (headers(&[("host", "evil.example:8080")]), false),
        ] {
            assert_eq!(check_origin(&given, &[]).is_ok(), fine, "{given:?}");
        }
    }
}

//! Routes, and what every request passes: where it comes from, who asks, and the headers of every answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Extensions, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use metrics::{counter, histogram};
use tokio::time::Instant;
use tower::util::option_layer;
use tracing::Instrument;

use crate::auth::{self, Door, Mode};
use crate::health::Health;
use crate::peer::PeerState;
use crate::rate::Meter;
use crate::server::{ApiState, Server};
use crate::trail::attempts::Attempt;
use crate::transport::caller::{CORRELATION_ID, MODE, Trace, check_origin, correlation_id};
use crate::transport::problem::Problem;
use crate::{health, pages, peer, playground, spans, transport};

/// Whatever has no route of its own.
pub(crate) const OTHER: &str = "other";

/// The label of everything that signs in and out.
const AUTH: &str = "/api/v1/auth";

/// The whole API.
pub fn router(state: ApiState) -> Router {
    let server = Server::new(state);
    let peers = server.state.peers.clone();
    let origins = &server.state.edge.origins;
    // Without listed origins a preflight is a request like any other, which nothing here takes.
    let cors = (!origins.is_empty()).then(|| pages::cors(origins));
    Router::new()
        .route("/", get(playground::redirect))
        .route("/graphql", any(transport::http::graphql))
        .route("/graphiql", get(playground::page))
        .route("/graphiql/page.mjs", get(playground::script))
        .route("/graphiql/door.mjs", get(playground::door))
        .merge(auth::routes())
        .with_state(Arc::clone(&server))
        .merge(health::routes(Health::from(&server.state)))
        .merge(peers.map_or_else(Router::new, peer::routes))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(option_layer(cors))
        .layer(middleware::from_fn_with_state(server, frame))
}

/// What a process without the API serves: how it is, its metrics, and what other nodes forward.
pub fn health_router(health: Health, peers: Option<PeerState>) -> Router {
    let mode = health.mode;
    let router = health::routes(health)
        .merge(peers.map_or_else(Router::new, peer::routes))
        .fallback(no_api)
        .method_not_allowed_fallback(method_not_allowed);
    match mode {
        Mode::Development => router.layer(middleware::from_fn(local_only)),
        // No browser has anything to bring here: other nodes sign what they send.
        Mode::Enforced => router,
    }
}

async fn no_api() -> Problem {
    let message = "this process does not have the role api: it serves /health/live, /health/ready and /metrics only";
    Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
}

/// Refuses foreign requests.
async fn local_only(request: Request, next: Next) -> Response {
    match check_origin(request.headers(), &[]) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn not_found(request: Request) -> Problem {
    let shown: String = request.uri().path().chars().take(128).collect();
    Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", format!("there is nothing at {shown}; GraphQL is at /graphql"))
}

async fn method_not_allowed(request: Request) -> Problem {
    if request.uri().path().starts_with("/api/") {
        return Problem::method(format!("{} is not accepted here; use POST", request.method()), "POST");
    }
    Problem::method(format!("{} is not accepted here; use GET", request.method()), "GET, HEAD")
}

/// Refuses foreign requests, notes what a request belongs to, and stamps the answer.
async fn frame(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = correlation_id(request.headers(), &*server.state.clock, &*server.state.ids);
    let route = route(request.uri().path());
    let door = &server.state.door;
    let foreign = door.check_origin(request.headers(), &server.state.edge.origins);
    let address = connected(request.extensions());
    let mut trace = Trace { address, ..Trace::from_headers(request.headers(), id) };
    let mut recorded = spans::request(&server.state.traces, request.method(), route, &mut trace);
    let meter = Meter::default();
    let span = spans::line(request.method(), route, &trace);
    request.extensions_mut().insert(trace.clone());
    request.extensions_mut().insert(meter.clone());
    request.extensions_mut().extend(spans::extension(&recorded));
    let (counting, asked) = (Arc::clone(&server), request);
    let answer = async move {
        let mut response = match foreign {
            Ok(()) => next.run(asked).await,
            Err(problem) => problem.into_response(),
        };
        if let (Door::Guarded(guard), Some(attempt)) =
            (&counting.state.door, response.extensions_mut().remove::<Attempt>())
        {
            guard.trail.refused(attempt, &trace);
        }
        response
    };
    let answer = answer.instrument(span);
    let mut response = if route == AUTH { to_its_end(answer).await } else { answer.await };
    let headers = response.headers_mut();
    meter.write(headers);
    pages::protect(headers, server.state.edge.https);
    headers.insert(MODE, HeaderValue::from_static(door.mode().as_str()));
    let id = HeaderValue::from_str(&id.to_string()).expect("invariant: a UUID is visible ASCII");
    headers.insert(CORRELATION_ID, id);
    spans::answer(&mut recorded, &mut response);
    let status = response.status().as_u16().to_string();
    counter!("lotline_http_requests_total", "route" => route, "status" => status).increment(1);
    histogram!("lotline_http_request_seconds", "route" => route).record(started.elapsed().as_secs_f64());
    response
}

/// Answers also when nobody waits for it any more: whoever closes the connection early neither keeps a session's end from being recorded, nor their own
/// failure from being counted.
async fn to_its_end(answer: impl Future<Output = Response> + Send + 'static) -> Response {
    match tokio::spawn(answer).await {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the server is stopping").into_response()
            }
        },
    }
}

/// Where a connection comes from.
fn connected(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip().to_canonical())
}

/// A label of bounded cardinality; [`OTHER`] is no route.
fn route(path: &str) -> &'static str {
    match path {
        "/graphql" => "/graphql",
        "/graphiql" | "/graphiql/page.mjs" | "/graphiql/door.mjs" => "/graphiql",
        "/health/live" => "/health/live",
        "/health/ready" => "/health/ready",
        "/metrics" => "/metrics",
        peer::PATH => peer::PATH,
        path if path.starts_with("/api/v1/auth/") => AUTH,
        _ => OTHER,
    }
}

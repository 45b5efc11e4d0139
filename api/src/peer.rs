//! Commands between nodes: one hop, from the node that a client asked to the node that writes the stream's partition.
//!
//! `POST /peer/v1/commands` with a JSON [`Forwarded`]; the answer is a JSON `Result<Receipt, ForwardError>`. The actor is inside of what is
//! signed, so a node vouches for who asked it, and nobody without the secret of the tenant's nodes can speak for anybody. A request that is sent
//! again within its time is harmless: a command is decided once.

mod client;
mod signature;

pub use self::client::PeerClient;
pub use self::signature::PeerKey;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Extension, Json, Router};
use lotline_commands::bus::{CommandBus, ForwardError, Forwarded, Receipt};
use lotline_domain::port::Clock;

use crate::spans::RequestSpan;
use crate::transport::problem::Problem;

/// Where nodes ask each other.
pub(crate) const PATH: &str = "/peer/v1/commands";

/// Largest command that a node takes from another, and the longest that it may take to arrive.
const BODY_BYTES: usize = 2 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a node needs to take commands from others.
#[derive(Clone)]
pub struct PeerState {
    /// The secret of the tenant's nodes.
    pub key: PeerKey,
    /// The way to this node's writers.
    pub bus: CommandBus,
    /// Tells signatures that are out of date.
    pub clock: Arc<dyn Clock>,
}

/// The one route.
pub(crate) fn routes(state: PeerState) -> Router {
    Router::new().route(PATH, post(take)).with_state(state)
}

/// Takes a command that another node forwards.
async fn take(
    State(state): State<PeerState>,
    span: Option<Extension<RequestSpan>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Result<Receipt, ForwardError>>, Problem> {
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES)).await;
    let body =
        body.map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT", "the body did not arrive in time"))?;
    let body = body.map_err(|error| Problem::bad_request("BROKEN_BODY", error.to_string()))?;
    if let Err(reason) = state.key.check(&headers, &body, state.clock.now()) {
        tracing::warn!(reason = %reason, "a request as from another node was refused");
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "NOT_A_NODE", reason.to_string()));
    }
    let mut command: Forwarded =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request("MALFORMED_COMMAND", error.to_string()))?;
    // The span of this very request, which goes on from what the other node has sent.
    if let Some(Extension(span)) = span {
        command.request.traceparent = Some(span.0.to_string());
    }
    metrics::counter!("lotline_commands_taken_total").increment(1);
    Ok(Json(state.bus.submit_here(command).await))
}

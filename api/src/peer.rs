//! Commands between nodes: one hop, from the node that a client asked to the node that writes the stream's partition.
//!
//! `POST /peer/v1/commands` with a JSON [`Forwarded`]; the answer is a JSON `Result<Receipt, ForwardError>`. The actor is inside of what is
//! signed, so a node vouches for who asked it, and nobody without the installation's secret can speak for anybody. A request that is sent
//! again within its time is harmless: a command is decided once.

mod client;
mod signature;

pub use self::client::PeerClient;
pub use self::signature::PeerKey;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use lotline_commands::bus::{ForwardError, Forwarded, Receipt};

use crate::server::Server;
use crate::transport::problem::Problem;

/// Where nodes ask each other.
pub(crate) const PATH: &str = "/peer/v1/commands";

/// Takes a command that another node forwards.
pub(crate) async fn take(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Result<Receipt, ForwardError>>, Problem> {
    let Some(key) = &server.state.peers else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", "this server has no other nodes"));
    };
    if let Err(reason) = key.check(&headers, &body, server.state.clock.now()) {
        tracing::warn!(reason = %reason, "a request as from another node was refused");
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "NOT_A_NODE", reason.to_string()));
    }
    let command: Forwarded =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request("MALFORMED_COMMAND", error.to_string()))?;
    metrics::counter!("lotline_commands_taken_from_nodes_total").increment(1);
    Ok(Json(server.state.bus.submit_here(command).await))
}

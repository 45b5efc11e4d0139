//! GraphQL over WebSocket, subprotocol `graphql-transport-ws` (github.com/enisdenjo/graphql-ws, PROTOCOL.md).
//!
//! [`protocol`] is the protocol without a socket: messages in, actions out. `session` connects it to one.

pub mod protocol;
mod session;

use std::sync::Arc;

use axum::extract::WebSocketUpgrade;
use axum::http::HeaderValue;
use axum::response::Response;
use tracing::{Instrument, Span};

use super::caller::{Caller, Trace};
use super::problem::Problem;
use crate::server::Server;

/// The subprotocol's name.
pub const SUBPROTOCOL: &str = "graphql-transport-ws";

/// Who is at the other end of a socket.
struct Visitor {
    /// Known by what the request brought, or by the introduction.
    caller: Option<Caller>,
    trace: Trace,
}

/// Takes over a socket. Without a caller its `connection_init` has to say who it is.
///
/// # Errors
/// 503 when too many connections are open.
pub fn accept(
    server: &Arc<Server>,
    upgrade: WebSocketUpgrade,
    caller: Option<Caller>,
    trace: Trace,
) -> Result<Response, Problem> {
    let connection = server.connect()?;
    let server = Arc::clone(server);
    let size = server.state.limits.body_bytes;
    let upgrade = upgrade.protocols([SUBPROTOCOL]).max_message_size(size).max_frame_size(size);
    let spoken = upgrade.selected_protocol().is_some_and(|chosen: &HeaderValue| chosen == SUBPROTOCOL);
    // What is logged on the socket belongs to the request that opened it.
    let span = Span::current();
    Ok(upgrade.on_upgrade(move |socket| {
        let served = async move {
            session::run(server, socket, Visitor { caller, trace }, spoken).await;
            drop(connection);
        };
        served.instrument(span)
    }))
}

//! GraphQL over WebSocket, subprotocol `graphql-transport-ws` (github.com/enisdenjo/graphql-ws, PROTOCOL.md).
//!
//! [`protocol`] is the protocol without a socket: messages in, actions out. `session` connects it to one.

pub mod protocol;
mod session;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::WebSocketUpgrade;
use axum::http::HeaderValue;
use axum::response::Response;
use lotline_domain::identity::lockout::neighbourhood;
use tracing::{Instrument, Span};

use super::caller::{Caller, Trace};
use super::problem::Problem;
use crate::auth::door::Credential;
use crate::lobby::Whose;
use crate::server::Server;

/// The subprotocol's name.
pub const SUBPROTOCOL: &str = "graphql-transport-ws";

/// Who is at the other end of a socket.
struct Visitor {
    /// Known by what the request brought, or by the introduction.
    caller: Option<Caller>,
    trace: Trace,
}

/// Takes over a socket. Without a caller its `connection_init` has to say who it is; in any case it takes a place among the connections then.
///
/// # Errors
/// 503 when the server is stopping.
pub fn accept(
    server: &Arc<Server>,
    upgrade: WebSocketUpgrade,
    caller: Option<Caller>,
    trace: Trace,
) -> Result<Response, Problem> {
    let newcomer = server.welcome(whose(caller.as_ref(), &trace))?;
    let server = Arc::clone(server);
    let size = server.state.limits.body_bytes;
    let upgrade = upgrade.protocols([SUBPROTOCOL]).max_message_size(size).max_frame_size(size);
    let spoken = upgrade.selected_protocol().is_some_and(|chosen: &HeaderValue| chosen == SUBPROTOCOL);
    // What is logged on the socket belongs to the request that opened it.
    let span = Span::current();
    Ok(upgrade.on_upgrade(move |socket| {
        let served = async move {
            session::run(server, socket, (Visitor { caller, trace }, newcomer), spoken).await;
        };
        served.instrument(span)
    }))
}

/// Whose a socket is before it begins. In development mode a name says nothing.
fn whose(caller: Option<&Caller>, trace: &Trace) -> Whose {
    match caller {
        Some(Caller { actor, credential: Credential::Session { .. } | Credential::Key, .. }) => {
            Whose::Known(actor.clone())
        }
        Some(Caller { credential: Credential::Name, .. }) | None => {
            Whose::Stranger(neighbourhood(trace.address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))))
        }
    }
}

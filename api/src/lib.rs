//! GraphQL over HTTP, WebSocket and server-sent events, with health and metrics.
//!
//! A request passes [`mod@router`] (where it comes from), [`auth`] (who asks), a transport in [`transport`] (how it was sent), [`guard`] (what it would cost), and the
//! [`schema`], whose mutations go to the command bus and whose queries read the read models. The composition root fills
//! [`server::ApiState`] and calls [`serve::bind`] and [`serve::serve`].

pub mod auth;
pub mod config;
pub mod guard;
mod health;
pub mod lobby;
mod pages;
pub mod peer;
mod playground;
pub mod rate;
pub mod router;
pub mod schema;
pub mod serve;
pub mod server;
mod spans;
mod tally;
#[cfg(test)]
mod testing;
pub mod trail;
pub mod transport;

pub use auth::setup::appointed;
pub use auth::strangers::Strangers;
pub use auth::{Desk, Door, Guard, Mode};
pub use config::Limits;
pub use health::Health;
pub use peer::{PeerClient, PeerKey, PeerState};
pub use router::{health_router, router};
pub use schema::sdl;
pub use serve::tls::{Tls, TlsError};
pub use serve::{ServeError, bind, serve, serve_health};
pub use server::{ApiState, Edge, Partitions, Readiness};
pub use trail::Trail;

//! How requests come in and answers go out: GraphQL over HTTP, over WebSocket (`graphql-transport-ws`), and over server-sent events.
//!
//! async-graphql's own axum integration is not used: it ignores `Accept`, runs mutations over GET, and closes sockets with the wrong
//! codes. These transports call the schema directly.

pub mod accept;
pub mod caller;
pub mod execute;
pub mod http;
pub mod params;
pub mod problem;
pub mod sse;
pub mod websocket;

#[cfg(test)]
mod tests;

//! The API on real parts in one process: writers and read models over an in-memory log, a real PostgreSQL, real sockets.

#![expect(clippy::unwrap_used, reason = "a step that fails here fails its test, as it should")]

#[path = "api/attacks.rs"]
mod attacks;
#[path = "api/injection.rs"]
mod injection;
#[path = "api/live.rs"]
mod live;
#[path = "api/mutations.rs"]
mod mutations;
#[path = "api/pages.rs"]
mod pages;
#[path = "api/plant.rs"]
mod plant;
#[path = "api/playground.rs"]
mod playground;
#[path = "api/rates.rs"]
mod rates;
#[path = "api/refusals.rs"]
mod refusals;
#[path = "api/sockets.rs"]
mod sockets;
#[path = "api/tls.rs"]
mod tls;
#[path = "api/wire.rs"]
mod wire;

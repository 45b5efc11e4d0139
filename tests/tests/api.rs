//! The API on real parts in one process: writers and read models over an in-memory log, a real PostgreSQL, real sockets.

#[path = "api/live.rs"]
mod live;
#[path = "api/mutations.rs"]
mod mutations;
#[path = "api/plant.rs"]
mod plant;
#[path = "api/playground.rs"]
mod playground;
#[path = "api/refusals.rs"]
mod refusals;
#[path = "api/sockets.rs"]
mod sockets;

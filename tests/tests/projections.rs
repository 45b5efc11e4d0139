//! Read models on real PostgreSQL: nothing twice, nothing half, nothing lost, and it is said when something can't be applied.

#![expect(clippy::unwrap_used, reason = "what a test prepares fails by panicking, as the test itself does")]

#[path = "projections/access.rs"]
mod access;
#[path = "projections/balance.rs"]
mod balance;
#[path = "projections/faults.rs"]
mod faults;
#[path = "projections/fixture.rs"]
mod fixture;
#[path = "projections/graph.rs"]
mod graph;
#[path = "projections/lots.rs"]
mod lots;
#[path = "projections/poison.rs"]
mod poison;
#[path = "projections/process.rs"]
mod process;
#[path = "projections/queries.rs"]
mod queries;
#[path = "projections/rebuild.rs"]
mod rebuild;
#[path = "projections/replay.rs"]
mod replay;
#[path = "projections/rig.rs"]
mod rig;
#[path = "projections/samples.rs"]
mod samples;
#[path = "projections/waiting.rs"]
mod waiting;

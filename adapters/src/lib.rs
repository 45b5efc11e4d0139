//! Outside systems: event logs, snapshots, keys, the clock, field protocols and the collector that polls them.

pub mod collector;
pub mod field;
pub mod log;

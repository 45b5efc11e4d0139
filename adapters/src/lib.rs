//! Outside systems behind the domain's ports: event logs, snapshots, keys, the clock.

pub mod log;

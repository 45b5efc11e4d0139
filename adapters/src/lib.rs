//! Outside systems: event logs, snapshots, keys, the clock, field protocols and the collector that polls them.

pub mod collector;
pub mod field;
//! Outside systems behind the domain's ports: event logs, snapshots, keys of personal data, the clock.

pub mod clock;
pub mod log;
pub mod personal_keys;
pub mod snapshot;

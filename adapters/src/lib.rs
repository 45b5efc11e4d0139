//! Outside systems behind the domain's ports: event logs, snapshots, keys of personal data, the clock.

pub mod clock;
pub mod log;
pub mod personal_keys;
pub mod snapshot;

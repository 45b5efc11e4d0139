//! Outside systems behind the domain's ports: event logs, snapshots, keys of personal data, credentials, providers of single sign-on, the clock, field protocols and the
//! collector that polls them.

pub mod clock;
pub mod cluster;
pub mod collector;
pub mod field;
pub mod identity;
pub mod log;
pub mod personal_keys;
pub mod sign_on;
pub mod snapshot;
pub mod tenancy;
pub mod traces;

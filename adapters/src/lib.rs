//! Outside systems behind the domain's ports: field protocols and the collector that polls them.

pub mod collector;
pub mod field;

//! Field protocols as pure pieces: what to ask a device for, and what its answers mean.
//!
//! Nothing here owns a socket, a timer or a clock. An engine is given the declared signals of one device, says which requests make
//! a poll, takes each answer as it comes and leaves one [`Reading`] per signal. The collector ([`crate::collector`]) owns the
//! connection and the timebase.
//!
//! To add a protocol: its engine and codec in a folder beside [`modbus`], its variant in [`lotline_domain::signal::Address`], and its
//! connection in [`crate::collector::device`].

pub mod modbus;

use lotline_domain::sample::Quality;
use lotline_domain::timestamp::Timestamp;

/// What one signal told in one poll.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Number of the signal.
    pub signal: u32,
    /// Engineering value; 0 where the quality is bad.
    pub value: f64,
    /// Whether and why the value can't be trusted.
    pub quality: Quality,
    /// When the answer arrived, or when it was known that none would.
    pub time: Timestamp,
}

impl Reading {
    /// A reading without a value.
    pub fn bad(signal: u32, quality: Quality, time: Timestamp) -> Self {
        Self { signal, value: 0.0, quality, time }
    }
}

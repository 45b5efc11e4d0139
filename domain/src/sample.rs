//! Batches of machine samples, in columns: what a collector publishes and historians, live views and triggers consume.
//!
//! A batch is known by (collector, epoch, sequence). The epoch is made with the collector's disk buffer, the sequence when the batch
//! enters it; consumers keep the set of sequences they have seen, so that a batch sent twice counts once.

pub mod codec;

use uuid::Uuid;

use crate::id::{CollectorId, DeviceId, SiteId};
use crate::timestamp::Timestamp;

/// OPC UA StatusCode (OPC 10000-4 section 7.39). Good is 0; the top two bits give the severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Quality(pub u32);

impl Quality {
    /// The value is good.
    pub const GOOD: Self = Self(0);
    /// `Bad_NoCommunication`: the device can't be reached.
    pub const BAD_NO_COMMUNICATION: Self = Self(0x8031_0000);
    /// `Bad_DeviceFailure`: the device answered with an exception.
    pub const BAD_DEVICE_FAILURE: Self = Self(0x808B_0000);
    /// `Bad_OutOfRange`: the value is no number (NaN or infinite).
    pub const BAD_OUT_OF_RANGE: Self = Self(0x803C_0000);
    /// `Bad_ConfigurationError`: the device has no such address.
    pub const BAD_CONFIGURATION: Self = Self(0x8089_0000);

    /// Whether the severity is Good.
    pub fn is_good(self) -> bool {
        self.0 >> 30 == 0
    }
}

/// Samples of one device. Invariant: all columns have the same length.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalBatch {
    /// Where the device stands.
    pub site: SiteId,
    /// Who read it.
    pub collector: CollectorId,
    /// The buffer's life.
    pub epoch: Uuid,
    /// Dense within the epoch, from 1.
    pub sequence: u64,
    /// The machine.
    pub device: DeviceId,
    /// Numbers of the signals, as given at their declaration.
    pub signals: Vec<u32>,
    /// When the source produced each value, if it says, else when it was read.
    pub source_times: Vec<Timestamp>,
    /// Engineering values, after scaling; booleans are 0 and 1. Meaningless where the quality is bad.
    pub values: Vec<f64>,
    /// Quality of each.
    pub qualities: Vec<Quality>,
    /// When the collector had read the batch.
    pub collected_at: Timestamp,
}

impl SignalBatch {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.signals.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.signals.is_empty()
    }

    /// Whether all columns have the same length, and every good value is a number.
    pub fn is_consistent(&self) -> bool {
        let n = self.signals.len();
        self.source_times.len() == n
            && self.values.len() == n
            && self.qualities.len() == n
            && self.values.iter().zip(&self.qualities).all(|(value, quality)| value.is_finite() || !quality.is_good())
    }
}

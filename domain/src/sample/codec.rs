//! Signal batches as records: CloudEvents 1.0 headers around Protobuf columns.
//!
//! The schema is [`PROTO`]; the struct below is its hand-kept twin, small enough to need no compiler. A test compiles the schema and
//! holds both against each other, descriptor by descriptor and byte by byte.

use std::borrow::Cow;

use bytes::Bytes;
use prost::Message;
use thiserror::Error;
use uuid::Uuid;

use super::{Quality, SignalBatch};
use crate::id::{CollectorId, DeviceId, SiteId, TenantId};
use crate::record::{Header, Record};
use crate::timestamp::Timestamp;

/// The `ce_type` of every batch.
pub const BATCH_TYPE: &str = "lotline.signal.batch.v1";
/// The schema of the value, Protocol Buffers 3.
pub const PROTO: &str = include_str!("../../proto/signal_batch.proto");
/// Most samples of one batch.
pub const MAX_SAMPLES: usize = 100_000;

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(string, tag = "1")]
    site: String,
    #[prost(string, tag = "2")]
    collector: String,
    #[prost(bytes = "vec", tag = "3")]
    epoch: Vec<u8>,
    #[prost(uint64, tag = "4")]
    sequence: u64,
    #[prost(string, tag = "5")]
    device: String,
    #[prost(sint64, tag = "6")]
    collected_at_us: i64,
    #[prost(uint32, repeated, tag = "7")]
    signals: Vec<u32>,
    #[prost(sint64, repeated, tag = "8")]
    source_time_deltas_us: Vec<i64>,
    #[prost(double, repeated, tag = "9")]
    values: Vec<f64>,
    #[prost(uint32, repeated, tag = "10")]
    qualities: Vec<u32>,
}

/// Why a record is no signal batch.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BatchError {
    /// The `ce_type` is missing or another.
    #[error("the record is not a {BATCH_TYPE}")]
    WrongType,
    /// Not Protobuf of this schema.
    #[error("the value can't be decoded: {0}")]
    Malformed(String),
    /// An id does not follow its rule.
    #[error("the {0} is not valid")]
    InvalidId(&'static str),
    /// Columns of different lengths, too many samples, or a Good value that is no number.
    #[error("the columns do not fit together")]
    Inconsistent,
    /// The key is not the batch's collector, or the source another tenant's.
    #[error("the batch is filed under another collector or tenant")]
    WrongKey,
}

/// The value of a record.
pub fn encode(batch: &SignalBatch) -> Bytes {
    let mut previous = batch.collected_at.micros();
    let mut deltas = Vec::with_capacity(batch.len());
    for time in &batch.source_times {
        deltas.push(time.micros().wrapping_sub(previous));
        previous = time.micros();
    }
    let all_good = batch.qualities.iter().all(|quality| *quality == Quality::GOOD);
    let wire = Wire {
        site: batch.site.as_str().to_owned(),
        collector: batch.collector.as_str().to_owned(),
        epoch: batch.epoch.as_bytes().to_vec(),
        sequence: batch.sequence,
        device: batch.device.as_str().to_owned(),
        collected_at_us: batch.collected_at.micros(),
        signals: batch.signals.clone(),
        source_time_deltas_us: deltas,
        values: batch.values.clone(),
        qualities: if all_good { Vec::new() } else { batch.qualities.iter().map(|quality| quality.0).collect() },
    };
    wire.encode_to_vec().into()
}

/// Reads the value of a record.
///
/// # Errors
/// [`BatchError`].
pub fn decode(value: &[u8]) -> Result<SignalBatch, BatchError> {
    let wire = Wire::decode(value).map_err(|error| BatchError::Malformed(error.to_string()))?;
    let n = wire.signals.len();
    let qualities = if wire.qualities.is_empty() { vec![0; n] } else { wire.qualities };
    if n > MAX_SAMPLES || wire.source_time_deltas_us.len() != n {
        return Err(BatchError::Inconsistent);
    }
    let mut time = wire.collected_at_us;
    let mut source_times = Vec::with_capacity(n);
    for delta in wire.source_time_deltas_us {
        time = time.wrapping_add(delta);
        source_times.push(Timestamp::from_micros(time));
    }
    let batch = SignalBatch {
        site: SiteId::new(wire.site).map_err(|_| BatchError::InvalidId("site"))?,
        collector: CollectorId::new(wire.collector).map_err(|_| BatchError::InvalidId("collector"))?,
        epoch: Uuid::from_slice(&wire.epoch).map_err(|_| BatchError::InvalidId("epoch"))?,
        sequence: wire.sequence,
        device: DeviceId::new(wire.device).map_err(|_| BatchError::InvalidId("device"))?,
        signals: wire.signals,
        source_times,
        values: wire.values,
        qualities: qualities.into_iter().map(Quality).collect(),
        collected_at: Timestamp::from_micros(wire.collected_at_us),
    };
    if batch.is_consistent() && batch.sequence > 0 { Ok(batch) } else { Err(BatchError::Inconsistent) }
}

/// The record to publish.
pub fn to_record(tenant: &TenantId, batch: &SignalBatch) -> Record {
    let id = format!("{}/{}", batch.epoch, batch.sequence);
    Record {
        key: batch.collector.as_str().to_owned(),
        headers: vec![
            Header::new("content-type", Bytes::from_static(b"application/protobuf")),
            Header::new("ce_specversion", Bytes::from_static(b"1.0")),
            Header::new("ce_id", id),
            Header::new("ce_type", Bytes::from_static(BATCH_TYPE.as_bytes())),
            Header::new("ce_source", source(tenant, &batch.collector)),
            Header::new("ce_subject", format!("device/{}", batch.device)),
            Header::new("ce_time", batch.collected_at.to_string()),
        ],
        value: encode(batch),
    }
}

/// Reads a record of the signals topic.
///
/// # Errors
/// [`BatchError`].
pub fn from_record(tenant: &TenantId, record: &Record) -> Result<SignalBatch, BatchError> {
    let header = |name: &str| {
        let found = record.headers.iter().find(|header| header.name == name);
        found.map_or(Cow::Borrowed(""), |header| String::from_utf8_lossy(&header.value))
    };
    if header("ce_type") != BATCH_TYPE {
        return Err(BatchError::WrongType);
    }
    let batch = decode(&record.value)?;
    let filed_right = record.key == batch.collector.as_str() && header("ce_source") == source(tenant, &batch.collector);
    if filed_right { Ok(batch) } else { Err(BatchError::WrongKey) }
}

fn source(tenant: &TenantId, collector: &CollectorId) -> String {
    format!("/lotline/{tenant}/collectors/{collector}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch(samples: &[(u32, i64, f64, u32)]) -> SignalBatch {
        SignalBatch {
            site: SiteId::new("north").unwrap(),
            collector: CollectorId::new("line-1").unwrap(),
            epoch: Uuid::from_u128(7),
            sequence: 3,
            device: DeviceId::new("pasteuriser").unwrap(),
            signals: samples.iter().map(|sample| sample.0).collect(),
            source_times: samples.iter().map(|sample| Timestamp::from_micros(sample.1)).collect(),
            values: samples.iter().map(|sample| sample.2).collect(),
            qualities: samples.iter().map(|sample| Quality(sample.3)).collect(),
            collected_at: Timestamp::from_millis(1_700_000_000_000),
        }
    }

    proptest! {
        #[test]
        fn record_round_trip(samples in proptest::collection::vec((any::<u32>(), any::<i64>(), -1e12_f64..1e12, any::<u32>()), 0..50)) {
            let tenant = TenantId::new("dairy").unwrap();
            let given = batch(&samples);
            prop_assert_eq!(from_record(&tenant, &to_record(&tenant, &given)).unwrap(), given);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn a_good_nan_is_refused() {
        let given = batch(&[(1, 0, f64::NAN, 0)]);
        assert_eq!(decode(&encode(&given)), Err(BatchError::Inconsistent));
    }

    #[test]
    fn another_collectors_key_is_refused() {
        let tenant = TenantId::new("dairy").unwrap();
        let mut record = to_record(&tenant, &batch(&[(1, 0, 1.0, 0)]));
        record.key = "line-2".into();
        assert_eq!(from_record(&tenant, &record), Err(BatchError::WrongKey));
    }
}

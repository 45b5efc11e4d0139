//! Which readings of a poll are worth a sample.
//!
//! Good readings all are. A bad one is when it is news, or when the last one is a heartbeat old: a dead device then costs a few
//! samples a minute, and yet nobody mistakes silence for a steady value.

use std::collections::HashMap;
use std::time::Duration;

use lotline_domain::id::{CollectorId, DeviceId, SiteId};
use lotline_domain::sample::{Quality, SignalBatch};
use lotline_domain::timestamp::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use crate::field::Reading;

/// Whose samples they are.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Where the device stands.
    pub site: SiteId,
    /// Who read it.
    pub collector: CollectorId,
    /// The machine.
    pub device: DeviceId,
}

/// Remembers what was last said of each signal of one device.
#[derive(Debug)]
pub struct Reporter {
    origin: Origin,
    heartbeat: Duration,
    /// Quality of the last sample of a signal, and when it was sent.
    last: HashMap<u32, (Quality, Instant)>,
}

impl Reporter {
    /// A reporter that repeats bad qualities every `heartbeat`.
    pub fn new(origin: Origin, heartbeat: Duration) -> Self {
        Self { origin, heartbeat, last: HashMap::new() }
    }

    /// The batch to send of a poll that ended at `collected_at`; nothing when there is no news.
    pub fn report(&mut self, readings: &[Reading], now: Instant, collected_at: Timestamp) -> Option<SignalBatch> {
        let mut batch = self.empty_batch(readings.len(), collected_at);
        for reading in readings {
            if !reading.quality.is_good() && !self.is_news(reading, now) {
                continue;
            }
            self.last.insert(reading.signal, (reading.quality, now));
            batch.signals.push(reading.signal);
            batch.source_times.push(reading.time);
            batch.values.push(reading.value);
            batch.qualities.push(reading.quality);
        }
        (!batch.is_empty()).then_some(batch)
    }

    fn is_news(&self, reading: &Reading, now: Instant) -> bool {
        self.last.get(&reading.signal).is_none_or(|(quality, sent)| {
            *quality != reading.quality || now.saturating_duration_since(*sent) >= self.heartbeat
        })
    }

    fn empty_batch(&self, capacity: usize, collected_at: Timestamp) -> SignalBatch {
        SignalBatch {
            site: self.origin.site.clone(),
            collector: self.origin.collector.clone(),
            // The buffer fills in both.
            epoch: Uuid::nil(),
            sequence: 0,
            device: self.origin.device.clone(),
            signals: Vec::with_capacity(capacity),
            source_times: Vec::with_capacity(capacity),
            values: Vec::with_capacity(capacity),
            qualities: Vec::with_capacity(capacity),
            collected_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_is_always_sent_and_bad_once_and_then_by_heartbeat() {
        let origin = Origin {
            site: SiteId::new("north").unwrap(),
            collector: CollectorId::new("line-1").unwrap(),
            device: DeviceId::new("press").unwrap(),
        };
        let mut reporter = Reporter::new(origin, Duration::from_secs(10));
        let (start, time) = (Instant::now(), Timestamp::from_millis(1));
        let good = [Reading { signal: 1, value: 2.5, quality: Quality::GOOD, time }];
        let bad = [Reading::bad(1, Quality::BAD_NO_COMMUNICATION, time)];
        let other = [Reading::bad(1, Quality::BAD_DEVICE_FAILURE, time)];
        let mut sent = |readings: &[Reading], seconds: u64| {
            let batch = reporter.report(readings, start + Duration::from_secs(seconds), time);
            batch.map(|batch| {
                assert!(batch.is_consistent());
                batch.qualities[0]
            })
        };
        assert_eq!(sent(&good, 0), Some(Quality::GOOD));
        assert_eq!(sent(&good, 1), Some(Quality::GOOD));
        assert_eq!(sent(&bad, 2), Some(Quality::BAD_NO_COMMUNICATION));
        assert_eq!(sent(&bad, 3), None);
        assert_eq!(sent(&bad, 12), Some(Quality::BAD_NO_COMMUNICATION));
        assert_eq!(sent(&other, 13), Some(Quality::BAD_DEVICE_FAILURE));
        assert_eq!(sent(&good, 14), Some(Quality::GOOD));
        assert_eq!(sent(&[], 15), None);
    }
}

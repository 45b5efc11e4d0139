//! Settings of a collector. Every key has a default but ids and hosts; unknown keys are refused.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use lotline_domain::id::{CollectorId, DeviceId, SiteId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::buffer::{GroupOptions, StoreOptions};
use crate::field::modbus::plan::{Limits, MAX_BITS, MAX_REGISTERS};

/// A process that reads machines of one site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectorConfig {
    /// Key of its batches; unique in the tenant.
    pub id: CollectorId,
    /// The site whose machines it reads.
    pub site: SiteId,
    /// The machines.
    #[serde(default)]
    pub devices: Vec<DeviceConfig>,
    /// The disk between machines and log.
    pub buffer: BufferConfig,
    /// The way from disk to log.
    #[serde(default)]
    pub publisher: PublisherConfig,
}

/// One Modbus TCP device. Its signals come from their declarations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// As named by the declarations.
    pub id: DeviceId,
    /// Name or address.
    pub host: String,
    /// TCP port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Time from poll to poll. 10 to 3,600,000.
    #[serde(default = "default_poll_interval_ms")]
    pub poll_interval_ms: u64,
    /// How long to wait for a connection or an answer. 10 to 60,000.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Unused registers or bits that may be read along to save a request.
    #[serde(default = "default_max_gap")]
    pub max_gap: u16,
    /// Most registers the device gives in one answer. 4 to 125.
    #[serde(default = "default_max_registers")]
    pub max_registers: u16,
    /// Most bits the device gives in one answer. 1 to 2,000.
    #[serde(default = "default_max_bits")]
    pub max_bits: u16,
    /// Longest wait before connecting again. 100 to 60,000.
    #[serde(default = "default_backoff_ms")]
    pub max_backoff_ms: u64,
    /// How often a bad quality that lasts is said again.
    #[serde(default = "default_heartbeat_ms")]
    pub bad_heartbeat_ms: u64,
    /// How often addresses that the device refused are tried again.
    #[serde(default = "default_retry_refused_ms")]
    pub retry_refused_ms: u64,
}

/// The disk buffer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BufferConfig {
    /// Its directory, made when missing. One buffer, one directory.
    pub dir: PathBuf,
    /// Cap on its size; beyond it the oldest batches are dropped and counted.
    #[serde(default = "default_buffer_bytes")]
    pub max_bytes: u64,
    /// Size of its files; at most a quarter of `max_bytes` is used.
    #[serde(default = "default_segment_bytes")]
    pub segment_bytes: u64,
    /// How long batches are gathered before one fsync. 0 to 1,000.
    #[serde(default = "default_fsync_window_ms")]
    pub fsync_window_ms: u64,
    /// Most batches that wait in memory for the disk.
    #[serde(default = "default_queue_batches")]
    pub queue_batches: usize,
}

/// Publishing to the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublisherConfig {
    /// Most batches of one call.
    pub max_batches: usize,
    /// About how many bytes one call carries.
    pub max_bytes: usize,
    /// Longest wait before a failed call is tried again.
    pub max_backoff_ms: u64,
    /// How long a call may take.
    pub timeout_ms: u64,
    /// At shutdown: how long to go on publishing what is buffered.
    pub drain_ms: u64,
}

/// A setting outside its range.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{setting} of {of} must be {rule}")]
pub struct InvalidConfig {
    setting: &'static str,
    of: String,
    rule: &'static str,
}

impl CollectorConfig {
    /// # Errors
    /// The first setting outside its range, or a device that stands twice.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let mut seen = BTreeSet::new();
        for device in &self.devices {
            let fail = |setting, rule| InvalidConfig { setting, of: format!("device {}", device.id), rule };
            if !seen.insert(&device.id) {
                return Err(fail("id", "unique among the devices"));
            }
            device.validate(fail)?;
        }
        let fail = |setting, rule| Err(InvalidConfig { setting, of: format!("collector {}", self.id), rule });
        let (buffer, publisher) = (&self.buffer, &self.publisher);
        if buffer.max_bytes < 1 << 20 || buffer.segment_bytes < 1 << 16 {
            return fail("buffer.max_bytes and buffer.segment_bytes", "at least 1 MiB and 64 KiB");
        }
        if buffer.fsync_window_ms > 1_000 || buffer.queue_batches == 0 {
            return fail("buffer.fsync_window_ms and buffer.queue_batches", "at most 1000, and at least 1");
        }
        if publisher.max_batches == 0 || publisher.max_bytes == 0 {
            return fail("publisher.max_batches and publisher.max_bytes", "at least 1");
        }
        if publisher.timeout_ms < 100 || publisher.max_backoff_ms < 10 {
            return fail("publisher.timeout_ms and publisher.max_backoff_ms", "at least 100 and 10");
        }
        Ok(())
    }
}

impl DeviceConfig {
    /// A device with default settings.
    pub fn new(id: DeviceId, host: impl Into<String>, port: u16) -> Self {
        Self {
            id,
            host: host.into(),
            port,
            poll_interval_ms: default_poll_interval_ms(),
            timeout_ms: default_timeout_ms(),
            max_gap: default_max_gap(),
            max_registers: default_max_registers(),
            max_bits: default_max_bits(),
            max_backoff_ms: default_backoff_ms(),
            bad_heartbeat_ms: default_heartbeat_ms(),
            retry_refused_ms: default_retry_refused_ms(),
        }
    }

    /// What it takes in one request.
    pub fn limits(&self) -> Limits {
        Limits { max_registers: self.max_registers, max_bits: self.max_bits, max_gap: self.max_gap }
    }

    /// Time from poll to poll.
    pub fn poll_interval(&self) -> Duration {
        Duration::from_millis(self.poll_interval_ms)
    }

    fn validate(&self, fail: impl Fn(&'static str, &'static str) -> InvalidConfig) -> Result<(), InvalidConfig> {
        let rules = [
            ("host", "given", !self.host.is_empty()),
            ("port", "1 to 65535", self.port > 0),
            ("poll_interval_ms", "10 to 3600000", (10..=3_600_000).contains(&self.poll_interval_ms)),
            ("timeout_ms", "10 to 60000", (10..=60_000).contains(&self.timeout_ms)),
            ("max_registers", "4 to 125", (4..=MAX_REGISTERS).contains(&self.max_registers)),
            ("max_bits", "1 to 2000", (1..=MAX_BITS).contains(&self.max_bits)),
            ("max_backoff_ms", "100 to 60000", (100..=60_000).contains(&self.max_backoff_ms)),
        ];
        let broken = rules.into_iter().find(|(_, _, kept)| !kept);
        broken.map_or(Ok(()), |(setting, rule, _)| Err(fail(setting, rule)))
    }
}

impl BufferConfig {
    /// A buffer with default settings.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            max_bytes: default_buffer_bytes(),
            segment_bytes: default_segment_bytes(),
            fsync_window_ms: default_fsync_window_ms(),
            queue_batches: default_queue_batches(),
        }
    }

    pub(super) fn store(&self) -> StoreOptions {
        let segment_bytes = self.segment_bytes.min(self.max_bytes / 4);
        StoreOptions { dir: self.dir.clone(), max_bytes: self.max_bytes, segment_bytes }
    }

    pub(super) fn group(&self) -> GroupOptions {
        GroupOptions { window: Duration::from_millis(self.fsync_window_ms), queue: self.queue_batches }
    }
}

impl Default for PublisherConfig {
    fn default() -> Self {
        Self { max_batches: 500, max_bytes: 512 * 1024, max_backoff_ms: 2_000, timeout_ms: 30_000, drain_ms: 2_000 }
    }
}

fn default_port() -> u16 {
    502
}

fn default_poll_interval_ms() -> u64 {
    1_000
}

fn default_timeout_ms() -> u64 {
    1_000
}

fn default_max_gap() -> u16 {
    16
}

fn default_max_registers() -> u16 {
    MAX_REGISTERS
}

fn default_max_bits() -> u16 {
    MAX_BITS
}

fn default_backoff_ms() -> u64 {
    2_000
}

fn default_heartbeat_ms() -> u64 {
    10_000
}

fn default_retry_refused_ms() -> u64 {
    300_000
}

fn default_buffer_bytes() -> u64 {
    1 << 30
}

fn default_segment_bytes() -> u64 {
    16 << 20
}

fn default_fsync_window_ms() -> u64 {
    5
}

fn default_queue_batches() -> usize {
    4_096
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<CollectorConfig, String> {
        let config: CollectorConfig = serde_json::from_str(json).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn little_is_enough_and_unknown_keys_are_refused() {
        let config = read(
            r#"{"id": "line-1", "site": "north", "buffer": {"dir": "/tmp/x"}, "devices": [{"id": "press", "host": "plc"}]}"#,
        );
        assert_eq!(config.unwrap().devices, [DeviceConfig::new(DeviceId::new("press").unwrap(), "plc", 502)]);
        let error =
            read(r#"{"id": "line-1", "site": "north", "buffer": {"dir": "/tmp/x", "max_byte": 1}}"#).unwrap_err();
        assert!(error.contains("max_byte"), "{error}");
    }

    #[test]
    fn settings_outside_their_range_are_named() {
        let with = |devices: &str| {
            read(&format!(r#"{{"id": "l", "site": "n", "buffer": {{"dir": "/tmp/x"}}, "devices": [{devices}]}}"#))
                .unwrap_err()
        };
        let fast = with(r#"{"id": "press", "host": "plc", "poll_interval_ms": 1}"#);
        assert_eq!(fast, "poll_interval_ms of device press must be 10 to 3600000");
        let twice = with(r#"{"id": "a", "host": "x"}, {"id": "a", "host": "y"}"#);
        assert_eq!(twice, "id of device a must be unique among the devices");
    }
}

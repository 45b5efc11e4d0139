//! Section `[collector]`.

use lotline_adapters::collector::config::{BufferConfig, CollectorConfig, DeviceConfig, PublisherConfig};
use lotline_domain::id::{CollectorId, SiteId};
use serde::{Deserialize, Serialize};

/// Machines to read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectorSection {
    /// Key of its records in the signals topic.
    pub id: CollectorId,
    /// Plant in which the devices stand; the first of `tenant.sites` when not given.
    pub site: Option<SiteId>,
    /// Devices. Without any, nothing is collected.
    pub devices: Vec<DeviceConfig>,
    /// The disk buffer. It holds what has been read and not yet acknowledged by the log: keep it on a disk that survives a restart.
    pub buffer: BufferConfig,
    /// The way from the buffer to the log.
    pub publisher: PublisherConfig,
}

impl CollectorSection {
    /// Settings of the collector in this process; `first` is the site when none is given.
    pub fn resolve(&self, first: &SiteId) -> CollectorConfig {
        CollectorConfig {
            id: self.id.clone(),
            site: self.site.clone().unwrap_or_else(|| first.clone()),
            devices: self.devices.clone(),
            buffer: self.buffer.clone(),
            publisher: self.publisher.clone(),
        }
    }
}

impl Default for CollectorSection {
    fn default() -> Self {
        Self {
            id: CollectorId::new("collector-1").expect("invariant: the default follows the rule"),
            site: None,
            devices: Vec::new(),
            buffer: BufferConfig::new("lotline-buffer"),
            publisher: PublisherConfig::default(),
        }
    }
}

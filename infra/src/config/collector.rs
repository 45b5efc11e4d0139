//! Section `[collector]`.

use std::path::PathBuf;

use lotline_adapters::collector::DeviceConfig;
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
    /// Folder of the disk buffer. It holds what has been read and not yet acknowledged by the log: keep it on a disk that survives a restart.
    pub buffer_dir: PathBuf,
    /// Devices. Without any, nothing is collected.
    pub devices: Vec<DeviceConfig>,
}

impl Default for CollectorSection {
    fn default() -> Self {
        Self {
            id: CollectorId::new("collector-1").expect("invariant: the default follows the rule"),
            site: None,
            buffer_dir: PathBuf::from("lotline-buffer"),
            devices: Vec::new(),
        }
    }
}

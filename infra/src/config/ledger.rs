//! Section `[log]`.

use serde::{Deserialize, Serialize};

/// Which event log, and how it is cut.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSection {
    /// `postgres` (embedded, one machine) or `kafka`.
    pub kind: LogKind,
    /// Partitions of the ledger. Fixed at creation: another count is refused afterwards.
    pub partitions: u32,
    /// Partitions of the signals topic. Fixed likewise.
    pub signal_partitions: u32,
    /// Commands that may wait for one writer before it answers "busy".
    pub queue: usize,
    /// Commands decided in one transaction.
    pub max_batch: usize,
    /// Seconds between snapshots of a partition.
    pub snapshot_interval_s: u64,
    /// New records that a snapshot is worth.
    pub snapshot_min_records: i64,
}

/// The event logs that a server can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// The embedded log in PostgreSQL.
    Postgres,
    /// Apache Kafka.
    Kafka,
}

impl LogKind {
    /// As written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Kafka => "kafka",
        }
    }
}

impl Default for LedgerSection {
    fn default() -> Self {
        Self {
            kind: LogKind::Postgres,
            partitions: 4,
            signal_partitions: 2,
            queue: 8_192,
            max_batch: 1_024,
            snapshot_interval_s: 60,
            snapshot_min_records: 20_000,
        }
    }
}

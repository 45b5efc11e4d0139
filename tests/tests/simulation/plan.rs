//! What kind of world a seed makes: how large, how rough, and how long.

use std::time::Duration;

use lotline_commands::snapshotter::SnapshotOptions;
use lotline_commands::writer::WriterOptions;
use lotline_domain::access::need::Authorisation;
use lotline_domain::partition::partition_of;

use crate::chance::Chance;

/// Names that spread over partitions.
const SITES: [&str; 6] = ["north", "south", "dairy-1", "brewery", "mill", "east"];

/// The shape of a world.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) tenant: String,
    pub(crate) partitions: u32,
    pub(crate) sites: Vec<&'static str>,
    pub(crate) nodes: usize,
    pub(crate) clients: usize,
    /// Commands of each client.
    pub(crate) commands: u64,
    /// From 0, where every call is answered, to 1, where about one in three is not.
    pub(crate) roughness: f64,
    /// Crashes, pauses, moves of partitions and jumps of clocks.
    pub(crate) blows: u64,
    /// Whether clocks are right again at the end.
    pub(crate) clocks_heal: bool,
    pub(crate) writer: WriterOptions,
    pub(crate) snapshots: SnapshotOptions,
    pub(crate) settle: Duration,
    /// Whether clients do more with lots than register and judge them.
    pub(crate) operations: bool,
}

impl Plan {
    pub(crate) fn draw(tenant: String, chance: &Chance, operations: bool) -> Self {
        let calm = chance.odds(0.1);
        let partitions = chance.between(1, 4) as u32;
        let first = chance.below(SITES.len());
        let sites = (0..chance.between(2, 4) as usize).map(|index| SITES[(first + index) % SITES.len()]).collect();
        let writer = WriterOptions {
            queue: *chance.pick(&[2, 16, 8_192]),
            max_batch: *chance.pick(&[1, 4, 1_024]),
            answer_deadline: chance.millis(2_000, 12_000),
            refusals_per_window: *chance.pick(&[600, 600, 600, 2]),
            refusal_window: Duration::from_secs(5),
            authorisation: Authorisation::Development,
            ..WriterOptions::default()
        };
        Self {
            tenant,
            partitions,
            sites,
            nodes: chance.between(2, 3) as usize,
            clients: chance.between(2, 5) as usize,
            commands: chance.between(6, 18),
            roughness: if calm { 0.0 } else { *chance.pick(&[0.05, 0.2, 0.5, 1.0]) },
            blows: if calm { 0 } else { chance.between(0, 30) },
            clocks_heal: chance.odds(0.8),
            writer,
            snapshots: SnapshotOptions {
                interval: chance.millis(500, 10_000),
                min_records: chance.between(1, 20) as i64,
            },
            settle: chance.millis(500, 10_000),
            operations,
        }
    }

    /// Whether refusals may be answered without a record.
    pub(crate) fn suppresses(&self) -> bool {
        self.writer.refusals_per_window < 600
    }

    pub(crate) fn partition(&self, stream: &str) -> u32 {
        partition_of(stream, self.partitions)
    }
}

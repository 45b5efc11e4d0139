//! The loops that carry a partition of a log into the read models.

use std::sync::Arc;
use std::time::Duration;

use lotline_domain::chain::ChainBreak;
use lotline_domain::id::TenantId;
use lotline_domain::port::{Clock, LogError, LogRead};
use lotline_domain::trace::Traces;
use sqlx::PgPool;
use thiserror::Error;
use tokio::time::sleep;

pub use self::ledger::LedgerWorker;
pub use self::signals::SignalsWorker;
use crate::failure::full_text;
use crate::offsets::Place;

mod apply;
pub(crate) mod fill;
mod heal;
mod ledger;
mod meter;
mod pace;
mod signals;

/// What a worker needs.
#[derive(Clone)]
pub struct WorkerContext {
    /// Where the read models are. A ledger worker uses up to seven connections at a time.
    pub pool: PgPool,
    /// The topic to follow.
    pub log: Arc<dyn LogRead>,
    /// For the lag in seconds.
    pub clock: Arc<dyn Clock>,
    /// Whose topic it is.
    pub tenant: TenantId,
    /// Where spans go.
    pub traces: Traces,
}

impl WorkerContext {
    fn place(&self, partition: u32) -> Place {
        Place { tenant: self.tenant.clone(), topic: self.log.topic().to_owned(), partition }
    }
}

/// Why a worker gave up. Outages of the log or of PostgreSQL are no reason: they are waited out.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// The ledger does not make sense any more. All its read models are marked degraded.
    #[error("the projections of partition {partition} have stopped")]
    ChainBreak {
        /// The partition.
        partition: u32,
        /// Where and why.
        #[source]
        source: ChainBreak,
    },
    /// The log is not the one that was followed before, or is set up in another way.
    #[error("the projections of partition {partition} can't read their log")]
    Log {
        /// The partition.
        partition: u32,
        /// Why.
        #[source]
        source: LogError,
    },
}

/// Why following a partition was interrupted.
enum Interrupt {
    /// Begin again from the offsets in PostgreSQL: another projector has moved them.
    Overtaken,
    /// Something is out of order for the moment.
    Outage { doing: &'static str, error: String },
    /// Nothing that waiting helps against.
    Fatal(WorkerError),
}

impl Interrupt {
    fn database(error: &sqlx::Error) -> Self {
        Self::Outage { doing: "reading offsets", error: full_text(error) }
    }

    fn log(partition: u32, source: LogError) -> Self {
        match source {
            LogError::Broken { .. } => Self::Outage { doing: "reading the log", error: full_text(&source) },
            LogError::PartitionCount { .. }
            | LogError::NoPartition { .. }
            | LogError::OffsetOutOfRange { .. }
            | LogError::TooLarge { .. } => Self::Fatal(WorkerError::Log { partition, source }),
        }
    }
}

/// Waits longer after each failure in a row: 50 ms, doubled up to 5 s.
#[derive(Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    async fn wait(&mut self) {
        let delay = Duration::from_millis(50 << self.failures.min(7)).min(Duration::from_secs(5));
        self.failures += 1;
        sleep(delay).await;
    }

    fn reset(&mut self) {
        self.failures = 0;
    }
}

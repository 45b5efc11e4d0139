//! Metrics that nothing counts by itself, looked at every few seconds: whether what the process needs answers, what its writers do, how full
//! its pools are.
//!
//! It also runs the upkeep of the histograms, whose observations would pile up in a process that nobody scrapes.

use std::sync::Arc;
use std::time::Duration;

use lotline_api::server::Readiness;
use lotline_commands::bus::CommandBus;
use lotline_commands::writer::WriterStatus;
use lotline_domain::port::EventLog;
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::doctor;
use crate::stores::Databases;

const INTERVAL: Duration = Duration::from_secs(5);
/// Longest that the database or the log may take to answer before it counts as failing.
const PATIENCE: Duration = Duration::from_secs(4);
/// Where Linux tells what the process uses.
const STATUS: &str = "/proc/self/status";

/// What is looked at.
pub(crate) struct Sampler {
    /// Its writers' statuses.
    pub(crate) bus: CommandBus,
    /// Whether it answers.
    pub(crate) ledger: Arc<dyn EventLog>,
    /// Whether they answer, and their pools.
    pub(crate) databases: Databases,
    /// The roles of this process, by name.
    pub(crate) readiness: Vec<(&'static str, Arc<dyn Readiness>)>,
    /// Its upkeep is run.
    pub(crate) metrics: PrometheusHandle,
}

impl Sampler {
    /// Looks until cancelled.
    pub(crate) async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut partition = 0;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            self.metrics.run_upkeep();
            memory();
            self.writers();
            self.queues();
            pool("owner", &self.databases.owner);
            pool("app", &self.databases.app);
            pool("queries", &self.databases.queries);
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                ((), (), next) = async { tokio::join!(self.roles(), self.database(), self.log(partition)) } => partition = next,
            }
        }
    }

    fn writers(&self) {
        for (partition, now) in self.bus.statuses().into_iter().enumerate() {
            for (status, name) in [
                (WriterStatus::Recovering, "recovering"),
                (WriterStatus::Serving, "serving"),
                (WriterStatus::Elsewhere, "elsewhere"),
                (WriterStatus::Stopped, "stopped"),
            ] {
                let partition = partition.to_string();
                let gauge = gauge!("lotline_writer_status", "partition" => partition, "status" => name);
                gauge.set(if now == status { 1.0 } else { 0.0 });
            }
        }
    }

    fn queues(&self) {
        for (partition, waiting) in self.bus.waiting().into_iter().enumerate() {
            gauge!("lotline_writer_queue_commands", "partition" => partition.to_string()).set(waiting as f64);
        }
    }

    async fn roles(&self) {
        for (name, part) in &self.readiness {
            passing(name, matches!(timeout(PATIENCE, part.check()).await, Ok(Ok(()))));
        }
    }

    async fn database(&self) {
        let answered = timeout(PATIENCE, doctor::clock::ahead_of(&self.databases.owner)).await;
        if let Ok(Ok(micros)) = answered {
            gauge!("lotline_clock_ahead_seconds").set(micros as f64 / 1e6);
        }
        passing("database", matches!(answered, Ok(Ok(_))));
    }

    /// Asks for the end of one partition after the other, and stays with one that does not answer: a partition without a leader shows
    /// until it has one. Gives which is next.
    async fn log(&self, partition: u32) -> u32 {
        let answered = matches!(timeout(PATIENCE, self.ledger.end(partition)).await, Ok(Ok(_)));
        passing("log", answered);
        if answered { (partition + 1) % self.ledger.partitions() } else { partition }
    }
}

fn passing(check: &'static str, passes: bool) {
    gauge!("lotline_check_passing", "check" => check).set(if passes { 1.0 } else { 0.0 });
}

fn pool(name: &'static str, pool: &PgPool) {
    let (size, idle) = (pool.size(), pool.num_idle() as u32);
    let connections = |state| gauge!("lotline_postgres_connections", "pool" => name, "state" => state);
    connections("idle").set(f64::from(idle));
    connections("used").set(f64::from(size.saturating_sub(idle)));
    let limit = pool.options().get_max_connections();
    gauge!("lotline_postgres_connections_limit", "pool" => name).set(f64::from(limit));
}

/// Resident memory, where the system tells it.
fn memory() {
    let status = std::fs::read_to_string(STATUS).unwrap_or_default();
    if let Some(kibibytes) = resident(&status) {
        gauge!("process_resident_memory_bytes").set(kibibytes as f64 * 1024.0);
    }
}

/// `VmRSS:     1234 kB`, see proc_pid_status(5).
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::resident;

    #[test]
    fn memory_is_read_as_linux_writes_it() {
        assert_eq!(resident("Name:\tlotline\nVmRSS:\t   33412 kB\nThreads:\t4\n"), Some(33_412));
        assert_eq!(resident("Name:\tlotline\n"), None);
    }
}

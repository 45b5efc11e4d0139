//! The writer of one partition.
//!
//! Takeover, in this order: fence every earlier writer → ask for the end of the log → replay from the snapshot up to that end → serve.
//! Serving: drain the queue, decide each command against the state as it evolves, append all events in one transaction (group commit), answer.
//!
//! When the outcome of an append is not known, the state in memory is worth nothing: the writer takes over again, and the commands
//! that wait are answered from what the log says, or decided anew when it says nothing.

mod batch;
mod due;
mod recovery;
mod spans;

pub(crate) use recovery::load_snapshot;

use std::sync::Arc;
use std::time::Duration;

use lotline_domain::access::need::Authorisation;
use lotline_domain::command::CommandRequest;
use lotline_domain::id::{StreamKey, TenantId};
use lotline_domain::ownership::Directory;
use lotline_domain::partition::partition_of;
use lotline_domain::port::{AppendError, LogError, LogWriter};
use lotline_domain::record::Record;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::bus::{Ports, Receipt, SubmitError};
use crate::fold::{FoldError, PartitionFold};
use crate::refusals::RefusalLimiter;
use crate::tenant::TenantView;
use batch::{Batch, Known, Pending};
use due::Watcher;
use recovery::Taken;

/// The first pause between two tries; each next one is twice as long, up to [`WriterOptions::max_backoff`].
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// Limits of a writer.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Commands that may wait; one more is answered Busy.
    pub queue: usize,
    /// Commands decided in one transaction.
    pub max_batch: usize,
    /// What a Busy answer advises.
    pub busy_retry_after: Duration,
    /// How long a caller waits for an answer.
    pub answer_deadline: Duration,
    /// Refusals of one actor that are recorded in full per window.
    pub refusals_per_window: u64,
    /// Length of that window.
    pub refusal_window: Duration,
    /// Longest pause between two tries to take over.
    pub max_backoff: Duration,
    /// Whether commands are refused to those who may not give them.
    pub authorisation: Authorisation,
    /// How often to look for what the time does to the alerts of sites; nothing for never.
    pub watch: Option<Duration>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            queue: 8_192,
            max_batch: 1_024,
            busy_retry_after: Duration::from_millis(50),
            answer_deadline: Duration::from_secs(30),
            refusals_per_window: 600,
            refusal_window: Duration::from_mins(1),
            max_backoff: Duration::from_secs(2),
            authorisation: Authorisation::Enforced,
            watch: None,
        }
    }
}

/// What a writer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterStatus {
    /// Fencing its predecessor, or replaying.
    Recovering,
    /// Deciding.
    Serving,
    /// Another node's.
    Elsewhere,
    /// Ended, for good or ill.
    Stopped,
}

/// Why a writer gave up. Each needs a human or a restart.
#[derive(Debug, Error)]
pub enum WriterError {
    /// Another process has become the writer.
    #[error("another process has taken over partition {partition}")]
    Fenced {
        /// The partition.
        partition: u32,
    },
    /// What is in the log can't be folded.
    #[error("partition {partition} can't be replayed")]
    Fold {
        /// The partition.
        partition: u32,
        /// Why.
        #[source]
        source: FoldError,
    },
    /// The ledger is being moved to another log, or has been.
    #[error("the ledger is moved to another log, so partition {partition} is not written here any more")]
    Moved {
        /// The partition.
        partition: u32,
    },
    /// The log is not what was configured.
    #[error("partition {partition} can't be used as it is configured")]
    Log {
        /// The partition.
        partition: u32,
        /// Why.
        #[source]
        source: LogError,
    },
}

/// A command on its way through the writer.
#[derive(Debug)]
pub struct Job {
    /// What is asked.
    pub(crate) request: CommandRequest,
    /// Where the answer goes.
    pub(crate) reply: oneshot::Sender<Result<Receipt, Rejected>>,
    /// Where its stream ended before the first append with it, when the outcome of that was unknown. Finding its answer in the log is then
    /// no replay.
    pub(crate) tried_at: Option<u64>,
}

/// Why a job was not done.
#[derive(Debug)]
pub(crate) enum Rejected {
    /// This is the answer.
    Answer(SubmitError),
    /// The partition is another node's by now; here is the job back.
    NotOwner { request: Box<CommandRequest>, tried_at: Option<u64> },
}

impl Job {
    /// Hands it back, for another node to do. A caller that has gone away needs no answer.
    pub(crate) fn turn_away(self) {
        let rejected = Rejected::NotOwner { request: Box::new(self.request), tried_at: self.tried_at };
        drop(self.reply.send(Err(rejected)));
    }

    /// Answers that nothing is known of what became of it.
    fn unavailable(self) {
        drop(self.reply.send(Err(Rejected::Answer(SubmitError::Unavailable))));
    }
}

/// How a writer is connected to the rest of the process.
pub(crate) struct Wires {
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) status: watch::Sender<WriterStatus>,
    pub(crate) tenant: Arc<TenantView>,
}

/// Owns one partition of the ledger.
pub struct PartitionWriter {
    tenant: TenantId,
    partition: u32,
    ports: Ports,
    options: WriterOptions,
    wires: Wires,
    limiter: RefusalLimiter,
    watcher: Watcher,
    /// Commands in the next batch at most: halved after an append without a certain outcome, since its size may be the cause.
    batch_limit: usize,
    /// Appends without a certain outcome since the last good one.
    failures: u32,
}

/// Why serving ended.
enum Ended {
    Cancelled,
    /// These commands wait for the log to say what became of them.
    Unknown(Vec<Job>),
}

impl PartitionWriter {
    pub(crate) fn new(tenant: TenantId, partition: u32, ports: Ports, options: WriterOptions, wires: Wires) -> Self {
        let window_micros = i64::try_from(options.refusal_window.as_micros()).unwrap_or(i64::MAX);
        let limiter = RefusalLimiter::new(options.refusals_per_window, window_micros);
        let (batch_limit, watcher) = (options.max_batch, Watcher::new(options.watch));
        Self { tenant, partition, ports, options, wires, limiter, watcher, batch_limit, failures: 0 }
    }

    /// The partition it owns.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Where the tenant's stream is made known to all writers of the process.
    pub(crate) fn tenant_view(&self) -> Arc<TenantView> {
        Arc::clone(&self.wires.tenant)
    }

    /// Runs until cancelled, as the only node there is.
    ///
    /// # Errors
    /// [`WriterError`]; commands in the queue are then answered Unavailable.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), WriterError> {
        let result = self.hold(None, &cancel).await;
        self.stop();
        result
    }

    /// Runs until cancelled on a node that never writes: whatever comes is another node's.
    pub async fn elsewhere(mut self, cancel: CancellationToken) {
        self.turn_away(&cancel).await;
    }

    /// Nothing comes after this.
    pub(crate) fn stop(&mut self) {
        self.wires.status.send_replace(WriterStatus::Stopped);
    }

    /// Hands back whatever comes, as the partition is another node's, until cancelled.
    pub(crate) async fn turn_away(&mut self, cancel: &CancellationToken) {
        self.wires.status.send_replace(WriterStatus::Elsewhere);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                job = self.wires.jobs.recv() => match job {
                    Some(job) => job.turn_away(),
                    // The bus is gone, and with it everybody who could ask.
                    None => return cancel.cancelled().await,
                },
            }
        }
    }

    /// Takes the partition over and writes it, until cancelled. Jobs whose outcome is open then go back to who asked.
    /// With a directory, it is asked before and after each takeover whether the ledger is still written here.
    pub(crate) async fn hold(
        &mut self,
        directory: Option<&dyn Directory>,
        cancel: &CancellationToken,
    ) -> Result<(), WriterError> {
        self.failures = 0;
        self.batch_limit = self.options.max_batch;
        let mut carried = Vec::new();
        loop {
            self.wires.status.send_replace(WriterStatus::Recovering);
            let prepared = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                prepared = self.prepare(directory) => Some(prepared),
            };
            let taken = match prepared {
                Some(Ok(taken)) => taken,
                ended => {
                    carried.into_iter().for_each(Job::turn_away);
                    return ended.map_or(Ok(()), |failed| failed.map(drop));
                }
            };
            self.wires.status.send_replace(WriterStatus::Serving);
            match self.serve(taken.writer, taken.fold, carried, cancel).await? {
                Ended::Cancelled => return Ok(()),
                Ended::Unknown(jobs) => carried = jobs,
            }
        }
    }

    /// Everything that comes before deciding.
    async fn prepare(&mut self, directory: Option<&dyn Directory>) -> Result<Taken, WriterError> {
        tokio::time::sleep(self.pause()).await;
        self.check_place(directory).await?;
        let taken = self.take_over().await?;
        // A move that began in between has been fenced by this takeover. It fences again, and must not lack what is written meanwhile.
        self.check_place(directory).await?;
        self.publish_tenant(&taken.fold);
        if !self.owns_tenant_stream() {
            // A predecessor may have known more of the tenant's stream than this process has read of it yet.
            self.wires.tenant.reached(taken.fold.tenant_seen).await;
        }
        Ok(taken)
    }

    async fn serve(
        &mut self,
        mut writer: Box<dyn LogWriter>,
        mut fold: PartitionFold,
        carried: Vec<Job>,
        cancel: &CancellationToken,
    ) -> Result<Ended, WriterError> {
        let mut jobs = carried;
        let mut window = tokio::time::interval(Duration::from_secs(1));
        loop {
            if jobs.is_empty() {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return Ok(Ended::Cancelled),
                    received = self.wires.jobs.recv_many(&mut jobs, self.options.max_batch) => {
                        if received == 0 {
                            return Ok(Ended::Cancelled);
                        }
                    }
                    _ = window.tick() => {}
                }
            }
            // Before what waits: it is due on the state as it is.
            jobs.splice(0..0, self.watcher.look(&self.tenant, &fold, &self.ports));
            let Some(known) = self.known() else {
                jobs.drain(..).for_each(Job::unavailable);
                continue;
            };
            let (records, pending) = self.decide(&mut fold, known, &mut jobs);
            if records.is_empty() {
                pending.answer(fold.next);
                continue;
            }
            let started = tokio::time::Instant::now();
            metrics::histogram!("lotline_writer_batch_events").record(records.len() as f64);
            let mut spans = pending.spans(&self.ports, records.len());
            let appended = writer.append(records).await;
            spans.end(appended.as_ref().err());
            match appended {
                Ok(last) => {
                    metrics::histogram!("lotline_writer_append_seconds").record(started.elapsed().as_secs_f64());
                    self.batch_limit = (self.batch_limit * 2).min(self.options.max_batch);
                    self.failures = 0;
                    fold.next = last + 1;
                    self.publish_tenant(&fold);
                    pending.answer(fold.next);
                }
                Err(AppendError::Fenced) => {
                    pending.into_jobs().into_iter().chain(jobs).for_each(Job::turn_away);
                    return Err(WriterError::Fenced { partition: self.partition });
                }
                // Decisions are refused when they are too large, so this is a limit that not even a refusal fits: trying again
                // would go on for ever.
                Err(AppendError::TooLarge { size, max, .. }) => {
                    pending.unavailable();
                    let source = LogError::TooLarge { size, max };
                    return Err(WriterError::Log { partition: self.partition, source });
                }
                Err(error @ AppendError::Unknown(_)) => {
                    self.note_unknown(&error);
                    let mut unanswered = pending.into_jobs();
                    unanswered.append(&mut jobs);
                    return Ok(Ended::Unknown(unanswered));
                }
            }
        }
    }

    /// Decides as many jobs as one transaction takes; the others stay.
    fn decide(&mut self, fold: &mut PartitionFold, known: Known, jobs: &mut Vec<Job>) -> (Vec<Record>, Pending) {
        let mut batch = Batch::new(self, fold, known);
        let mut waiting = std::mem::take(jobs).into_iter();
        while batch.has_room()
            && let Some(job) = waiting.next()
        {
            batch.decide(job);
        }
        jobs.extend(waiting);
        batch.report_suppressed();
        batch.finish()
    }

    fn note_unknown(&mut self, error: &AppendError) {
        let (partition, error) = (self.partition, error as &dyn std::error::Error);
        tracing::warn!(partition, error, "an append had no certain outcome; recovering from the log");
        metrics::counter!("lotline_writer_unknown_outcomes_total").increment(1);
        self.batch_limit = (self.batch_limit / 2).max(1);
        self.failures += 1;
    }

    /// Before the next takeover: none after the first failure, then longer and longer.
    fn pause(&self) -> Duration {
        match self.failures {
            0 | 1 => Duration::ZERO,
            again => (FIRST_BACKOFF * 2_u32.saturating_pow(again - 2)).min(self.options.max_backoff),
        }
    }

    fn owns_tenant_stream(&self) -> bool {
        partition_of(StreamKey::Tenant.as_str(), self.ports.log.partitions()) == self.partition
    }

    /// What decisions of the next batch are based on; nothing when that is not known any more.
    fn known(&self) -> Option<Known> {
        if self.owns_tenant_stream() { Some(Known::Here) } else { self.wires.tenant.known().map(Known::At) }
    }

    fn publish_tenant(&self, fold: &PartitionFold) {
        if self.owns_tenant_stream() {
            self.wires.tenant.advance(fold.tenant_sequence(), &fold.tenant_facts());
        }
    }
}

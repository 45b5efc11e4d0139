//! The way in: hands a command to the writer of its stream and waits for the answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lotline_domain::command::CommandRequest;
use lotline_domain::id::{SiteId, StreamKey, TenantId};
use lotline_domain::partition::partition_of;
use lotline_domain::port::{Clock, EventLog, Ids, SnapshotStore};
use lotline_domain::position::Position;
use lotline_domain::state::Subject;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::writer::{Job, PartitionWriter, WriterOptions, WriterStatus};

/// A command was decided and its events are in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The thing that was created or changed.
    pub subject: Subject,
    /// Sequence of the decision's last event: the thing's version from now on.
    pub version: u64,
    /// Covers the decision; queries wait for it with `consistentWith`.
    pub position: Position,
    /// Whether this is the answer to an earlier try of the same command.
    pub replayed: bool,
}

/// A command was not accepted.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum SubmitError {
    /// A rule was broken. The refusal is in the log, and `position` covers it.
    #[error("{message}")]
    Refused {
        /// Stable code, see `Refusal::code`.
        code: String,
        /// The sentence for the actor.
        message: String,
        /// Input field at fault.
        field: Option<String>,
        /// Covers the refusal.
        position: Position,
    },
    /// The writer's queue is full; nothing was decided.
    #[error("the writer is busy; retry after {} ms", retry_after.as_millis())]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The stream does not exist.
    #[error("there is no site '{0}'")]
    UnknownStream(String),
    /// The partition has no writer at the moment, or it did not answer in time. Whether the command was
    /// decided is not known; the same idempotency key finds out.
    #[error("the ledger is not available at the moment; retry with the same idempotency key")]
    Unavailable,
}

/// Finds the writer of a stream. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CommandBus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tenant: TenantId,
    partitions: HashMap<StreamKey, u32>,
    queues: Vec<mpsc::Sender<Job>>,
    statuses: Vec<watch::Receiver<WriterStatus>>,
    options: WriterOptions,
}

/// What writers need from outside.
#[derive(Clone)]
pub struct Ports {
    /// The tenant's ledger.
    pub log: Arc<dyn EventLog>,
    /// Where snapshots are.
    pub snapshots: Arc<dyn SnapshotStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Fresh ids.
    pub ids: Arc<dyn Ids>,
}

impl CommandBus {
    /// Makes the bus and one writer per partition of the ledger. The caller runs the writers; until one serves, commands wait in its queue.
    pub fn new(
        tenant: &TenantId,
        sites: &[SiteId],
        ports: &Ports,
        options: WriterOptions,
    ) -> (Self, Vec<PartitionWriter>) {
        let count = ports.log.partitions();
        let streams = std::iter::once(StreamKey::Tenant).chain(sites.iter().cloned().map(StreamKey::Site));
        let partitions: HashMap<_, _> =
            streams.map(|stream| (stream.clone(), partition_of(stream.as_str(), count))).collect();
        let tenant_sequence = Arc::new(watch::Sender::new(None));
        let mut queues = Vec::with_capacity(count as usize);
        let mut statuses = Vec::with_capacity(count as usize);
        let mut writers = Vec::with_capacity(count as usize);
        for partition in 0..count {
            let (queue, jobs) = mpsc::channel(options.queue);
            let status = watch::Sender::new(WriterStatus::Recovering);
            queues.push(queue);
            statuses.push(status.subscribe());
            writers.push(PartitionWriter::new(
                tenant.clone(),
                partition,
                ports.clone(),
                options.clone(),
                crate::writer::Wires { jobs, status, tenant_sequence: Arc::clone(&tenant_sequence) },
            ));
        }
        let shared = Shared { tenant: tenant.clone(), partitions, queues, statuses, options };
        (Self { shared: Arc::new(shared) }, writers)
    }

    /// The tenant whose commands this bus takes.
    pub fn tenant(&self) -> &TenantId {
        &self.shared.tenant
    }

    /// Status of each partition's writer, by partition.
    pub fn statuses(&self) -> Vec<WriterStatus> {
        self.shared.statuses.iter().map(|status| *status.borrow()).collect()
    }

    /// Waits until every writer serves. Gives false when one has stopped for good.
    pub async fn ready(&self) -> bool {
        for status in &self.shared.statuses {
            let mut status = status.clone();
            match status.wait_for(|status| *status != WriterStatus::Recovering).await {
                Ok(status) if *status == WriterStatus::Serving => {}
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    /// Submits a command and waits for its decision to be in the log.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn submit(&self, request: CommandRequest) -> Result<Receipt, SubmitError> {
        let shared = &self.shared;
        let known = request.tenant == shared.tenant;
        let partition = shared.partitions.get(&request.stream).filter(|_| known);
        let Some(partition) = partition else {
            return Err(SubmitError::UnknownStream(request.stream.to_string()));
        };
        let (reply, answer) = oneshot::channel();
        let job = Job { request, reply, tried_at: None };
        match shared.queues[*partition as usize].try_send(job) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                metrics::counter!("lotline_commands_total", "outcome" => "busy").increment(1);
                return Err(SubmitError::Busy { retry_after: shared.options.busy_retry_after });
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(SubmitError::Unavailable),
        }
        match tokio::time::timeout(shared.options.answer_deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(SubmitError::Unavailable),
        }
    }
}

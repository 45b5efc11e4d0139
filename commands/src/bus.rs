//! The way in: hands a command to the writer of its stream and waits for the answer.
//!
//! When the stream's partition is another node's, the command goes there, one hop, under the same id and within the same deadline. A node
//! that turns out not to own the partition either says so, and the command is sent again to whoever has been announced since. Sending it
//! twice is harmless: it is decided once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lotline_domain::command::CommandRequest;
use lotline_domain::id::{SiteId, StreamKey, TenantId};
use lotline_domain::partition::partition_of;
use lotline_domain::port::{BoxFuture, Clock, EventLog, Ids, SnapshotStore};
use lotline_domain::position::Position;
use lotline_domain::state::Subject;
use lotline_domain::trace::{Span, SpanKind, Traces};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::access::AccessView;
use crate::tenant::TenantView;
use crate::writer::{Job, PartitionWriter, Rejected, WriterOptions, WriterStatus};

/// Pauses between two tries to find a partition's writer.
const FIRST_LOOK_AGAIN: Duration = Duration::from_millis(20);
const LAST_LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A command was decided and its events are in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The thing that was created or changed.
    pub subject: Subject,
    /// Sequence of the last of the decision's events about it: the thing's version from now on.
    pub version: u64,
    /// Covers the decision; queries wait for it with `consistentWith`.
    pub position: Position,
    /// Whether this is the answer to an earlier try of the same command.
    pub replayed: bool,
}

/// A command was not accepted.
#[derive(Debug, Clone, Error, PartialEq, Eq, Serialize, Deserialize)]
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

/// Why a node did not answer a command that was meant for its writer.
#[derive(Debug, Clone, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardError {
    /// The partition is not that node's, or nobody is known to have it. Look for its owner again.
    #[error("the partition's writer is not there")]
    NotOwner {
        /// As in [`Forwarded::tried_at`].
        tried_at: Option<u64>,
    },
    /// This is the answer.
    #[error(transparent)]
    Answer(SubmitError),
}

/// A command on its way to another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// What is asked, and by whom.
    pub request: CommandRequest,
    /// Where its stream ended before a first append with it whose outcome is unknown. Finding its answer in the log is then no replay.
    pub tried_at: Option<u64>,
    /// How long the caller still waits.
    pub within: Duration,
}

/// Brings commands to other nodes.
pub trait Forward: Send + Sync + 'static {
    /// Asks the owner of a partition. Failures on the way are [`ForwardError::NotOwner`]: whether the command arrived is not known then, and
    /// asking again finds out.
    fn forward<'a>(&'a self, partition: u32, command: &'a Forwarded) -> BoxFuture<'a, Result<Receipt, ForwardError>>;
}

/// Finds the writer of a stream. Cheap to clone.
#[derive(Clone)]
pub struct CommandBus {
    shared: Arc<Shared>,
    others: Option<Arc<dyn Forward>>,
}

struct Shared {
    tenant: TenantId,
    partitions: HashMap<StreamKey, u32>,
    queues: Vec<mpsc::Sender<Job>>,
    statuses: Vec<watch::Receiver<WriterStatus>>,
    tenant_view: Arc<TenantView>,
    options: WriterOptions,
    traces: Traces,
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
    /// Where spans go.
    pub traces: Traces,
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
        let view = Arc::new(TenantView::default());
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
                crate::writer::Wires { jobs, status, tenant: Arc::clone(&view) },
            ));
        }
        let (tenant, traces) = (tenant.clone(), ports.traces.clone());
        let shared = Shared { tenant, partitions, queues, statuses, tenant_view: view, options, traces };
        (Self { shared: Arc::new(shared), others: None }, writers)
    }

    /// The same bus, which also reaches the writers of other nodes.
    #[must_use]
    pub fn with_others(self, others: Arc<dyn Forward>) -> Self {
        Self { others: Some(others), ..self }
    }

    /// Who may do what, as far as this process knows it.
    pub fn access(&self) -> AccessView {
        AccessView::new(self.shared.tenant.clone(), Arc::clone(&self.shared.tenant_view))
    }

    /// The tenant whose commands this bus takes.
    pub fn tenant(&self) -> &TenantId {
        &self.shared.tenant
    }

    /// Status of each partition's writer, by partition.
    pub fn statuses(&self) -> Vec<WriterStatus> {
        self.shared.statuses.iter().map(|status| *status.borrow()).collect()
    }

    /// Commands that wait for each partition's writer, by partition.
    pub fn waiting(&self) -> Vec<usize> {
        self.shared.queues.iter().map(|queue| queue.max_capacity() - queue.capacity()).collect()
    }

    /// Waits until every writer serves, here or elsewhere as far as is known. Gives false when one has stopped for good.
    pub async fn ready(&self) -> bool {
        for status in &self.shared.statuses {
            let mut status = status.clone();
            match status.wait_for(|status| *status != WriterStatus::Recovering).await {
                Ok(status) if matches!(*status, WriterStatus::Serving | WriterStatus::Elsewhere) => {}
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    /// Submits a command and waits for its decision to be in the log, wherever its writer is.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn submit(&self, request: CommandRequest) -> Result<Receipt, SubmitError> {
        let deadline = Instant::now() + self.shared.options.answer_deadline;
        let partition = self.partition(&request)?;
        let (mut request, mut tried_at) = (request, None);
        let mut pause = FIRST_LOOK_AGAIN;
        // Each try goes on from here, not from the one before it.
        let parent = if self.shared.traces.is_on() { request.traceparent.clone() } else { None };
        loop {
            if parent.is_some() {
                request.traceparent.clone_from(&parent);
            }
            let elsewhere = *self.shared.statuses[partition as usize].borrow() == WriterStatus::Elsewhere;
            match &self.others {
                Some(others) if elsewhere => {
                    let within = deadline.saturating_duration_since(Instant::now());
                    let span = self.span("forward", SpanKind::Client, partition, &mut request);
                    let command = Forwarded { request, tried_at, within };
                    match others.forward(partition, &command).await {
                        Ok(receipt) => return Ok(receipt),
                        Err(ForwardError::Answer(error)) => return Err(noted(span, error)),
                        Err(ForwardError::NotOwner { tried_at: at }) => tried_at = tried_at.or(at),
                    }
                    request = command.request;
                }
                Some(_) | None => match self.enqueue(partition, request, tried_at, deadline).await {
                    Ok(receipt) => return Ok(receipt),
                    Err(Rejected::Answer(error)) => return Err(error),
                    Err(Rejected::NotOwner { request: back, tried_at: at }) => (request, tried_at) = (*back, at),
                },
            }
            if Instant::now() + pause >= deadline {
                return Err(SubmitError::Unavailable);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK_AGAIN);
        }
    }

    /// Submits a command that another node sent here. It is not sent on.
    ///
    /// # Errors
    /// [`ForwardError`].
    pub async fn submit_here(&self, command: Forwarded) -> Result<Receipt, ForwardError> {
        let deadline = Instant::now() + command.within.min(self.shared.options.answer_deadline);
        let partition = self.partition(&command.request).map_err(ForwardError::Answer)?;
        let answer = self.enqueue(partition, command.request, command.tried_at, deadline).await;
        answer.map_err(|rejected| match rejected {
            Rejected::Answer(error) => ForwardError::Answer(error),
            Rejected::NotOwner { tried_at, .. } => ForwardError::NotOwner { tried_at },
        })
    }

    fn partition(&self, request: &CommandRequest) -> Result<u32, SubmitError> {
        let known = request.tenant == self.shared.tenant;
        let partition = self.shared.partitions.get(&request.stream).filter(|_| known);
        partition.copied().ok_or_else(|| SubmitError::UnknownStream(request.stream.to_string()))
    }

    /// A span about a command, from which the command goes on.
    fn span(&self, name: &'static str, kind: SpanKind, partition: u32, request: &mut CommandRequest) -> Span {
        let mut span = self.shared.traces.child(name, kind, request.traceparent.as_deref());
        if span.is_recording() {
            span.pass_on(&mut request.traceparent);
            span.set("lotline.command", request.command.name());
            span.set("lotline.command_id", request.command_id.to_string());
            span.set("lotline.correlation_id", request.correlation_id.to_string());
            span.set("lotline.stream", request.stream.to_string());
            span.set("lotline.partition", i64::from(partition));
        }
        span
    }

    async fn enqueue(
        &self,
        partition: u32,
        mut request: CommandRequest,
        tried_at: Option<u64>,
        deadline: Instant,
    ) -> Result<Receipt, Rejected> {
        let mut span = self.span("command", SpanKind::Internal, partition, &mut request);
        let answer = self.wait(partition, request, tried_at, deadline).await;
        if span.is_recording() {
            match &answer {
                Ok(receipt) => {
                    span.set("lotline.outcome", if receipt.replayed { "replayed" } else { "accepted" });
                    span.set("lotline.position", receipt.position.to_string());
                }
                Err(Rejected::Answer(error)) => drop(noted(span, error.clone())),
                Err(Rejected::NotOwner { .. }) => span.fail("not_owner"),
            }
        }
        answer
    }

    async fn wait(
        &self,
        partition: u32,
        request: CommandRequest,
        tried_at: Option<u64>,
        deadline: Instant,
    ) -> Result<Receipt, Rejected> {
        let shared = &self.shared;
        let (reply, answer) = oneshot::channel();
        match shared.queues[partition as usize].try_send(Job { request, reply, tried_at }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                metrics::counter!("lotline_commands_total", "outcome" => "busy").increment(1);
                let retry_after = shared.options.busy_retry_after;
                return Err(Rejected::Answer(SubmitError::Busy { retry_after }));
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Rejected::Answer(SubmitError::Unavailable)),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Rejected::Answer(SubmitError::Unavailable)),
        }
    }
}

/// The same error, which a span now tells of. A refusal is an outcome like any other; the rest are failures.
fn noted(mut span: Span, error: SubmitError) -> SubmitError {
    match &error {
        SubmitError::Refused { code, .. } => {
            span.set("lotline.outcome", "refused");
            span.set("lotline.refusal", code.clone());
        }
        SubmitError::Busy { .. } => span.fail("busy"),
        SubmitError::UnknownStream(_) => span.fail("unknown_stream"),
        SubmitError::Unavailable => span.fail("unavailable"),
    }
    error
}

//! What the door leaves in the ledger: who came and went, and how often somebody was refused (decision 16).
//!
//! Coming and going is recorded one by one, before the answer. Refusals are counted by [`attempts`] and appended in batches, each later than the one before for
//! as long as they go on, so that an attack can neither fill the ledger nor slow its writer.
//!
//! Invariant: what the ledger does not take is kept, at most `MAX_OWED` records and one batch, and tried again under the same id.

pub mod attempts;

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lotline_commands::bus::{CommandBus, SubmitError};
use lotline_domain::command::{Command, CommandRequest};
use lotline_domain::id::{ActorId, CommandId, CorrelationId, StreamKey};
use lotline_domain::port::{Clock, Ids};
use lotline_domain::trail::{Suspect, TrailCommand};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::transport::caller::Trace;
use attempts::{Attempt, Attempts, Batch};

/// From the first refusal to its batch; each next batch waits twice as long, while refusals go on.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How long a last batch may take.
const LAST_BATCH: Duration = Duration::from_secs(2);
/// Most records that are kept while the ledger takes none.
const MAX_OWED: usize = 1_000;

/// Writes down what happens at the door. Cheap to clone.
#[derive(Clone)]
pub struct Trail(Arc<Shared>);

struct Shared {
    bus: CommandBus,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    counted: Mutex<Attempts>,
    owed: Mutex<VecDeque<Owed>>,
    counting: Notify,
}

/// A record that the ledger has not taken yet.
#[derive(Clone)]
struct Owed {
    request: CommandRequest,
    /// How many attempts it tells of; 0 for a record of another kind.
    attempts: u64,
}

impl Trail {
    /// Nothing counted yet.
    pub fn new(bus: CommandBus, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        let (counted, owed, counting) = (Mutex::default(), Mutex::default(), Notify::new());
        Self(Arc::new(Shared { bus, clock, ids, counted, owed, counting }))
    }

    /// Records something and waits until it is in the ledger.
    ///
    /// # Errors
    /// [`SubmitError`]: then it must not be answered as done.
    pub async fn record(&self, actor: ActorId, command: TrailCommand, trace: &Trace) -> Result<(), SubmitError> {
        self.0.bus.submit(self.request(actor, command, Some(trace))).await.map(drop)
    }

    /// Records something that has happened already. What the ledger does not take now is tried again.
    pub async fn settle(&self, actor: ActorId, command: TrailCommand, trace: &Trace) {
        let request = self.request(actor, command, Some(trace));
        match self.0.bus.submit(request.clone()).await {
            Ok(_) => {}
            Err(error @ SubmitError::Refused { .. }) => lose(1, &error),
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, "a record of the door waits for the ledger");
                let mut owed = self.owed();
                if owed.len() < MAX_OWED {
                    owed.push_back(Owed { request, attempts: 0 });
                } else {
                    lose(1, &error);
                }
                self.0.counting.notify_one();
            }
        }
    }

    /// Counts a refusal.
    pub fn refused(&self, attempt: Attempt, trace: &Trace) {
        let kind = attempt.kind.as_str();
        metrics::counter!("lotline_attempts_refused_total", "kind" => kind).increment(1);
        let told = self.counted().note(attempt, self.0.clock.now(), trace);
        self.0.counting.notify_one();
        let (user, key) = match attempt.by {
            Suspect::User(id) => (Some(id.to_string()), None),
            Suspect::Key(id) => (None, Some(id.to_string())),
            Suspect::Unknown => (None, None),
        };
        let (field, address) = (attempt.field, trace.address.map(|address| address.to_string()));
        if told {
            tracing::info!(
                attempt.kind = kind, attempt.field = field, user.id = user, key.id = key, client.address = address,
                correlation_id = %trace.correlation_id, "an attempt was refused"
            );
        } else {
            tracing::debug!(attempt.kind = kind, client.address = address, "an attempt was refused");
        }
    }

    /// Appends what is counted, until cancelled. What is left then is for [`Trail::finish`].
    pub async fn run(&self, cancel: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            let due = async {
                if pause == FIRST_PAUSE {
                    self.0.counting.notified().await;
                }
                sleep(pause).await;
                self.flush().await
            };
            // A batch that is given up in between stays, and goes out again under its id.
            pause = tokio::select! {
                () = cancel.cancelled() => return,
                some = due => if some { (pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE },
            };
        }
    }

    /// Appends what is left, and says what could not be.
    pub async fn finish(&self) {
        // The first goes on with what was kept, the second tells what was counted beside it.
        let flushed = timeout(LAST_BATCH, async {
            self.flush().await;
            self.flush().await
        });
        if flushed.await.is_err() {
            tracing::warn!("the last records of the door were not taken in time");
        }
        let counted = self.counted().take().map_or(0, |batch| batch.total);
        let owed: u64 = self.owed().drain(..).map(|owed| owed.attempts.max(1)).sum();
        if counted + owed > 0 {
            lose(counted + owed, &SubmitError::Unavailable);
        }
    }

    /// Appends what is kept and what is counted. Says whether there was anything.
    async fn flush(&self) -> bool {
        self.close_batch();
        let mut some = false;
        loop {
            let Some(next) = self.owed().front().cloned() else { return some };
            some = true;
            match self.0.bus.submit(next.request).await {
                Ok(_) => {}
                Err(error @ SubmitError::Refused { .. }) => lose(next.attempts.max(1), &error),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn Error, "records of the door wait for the ledger");
                    return true;
                }
            }
            self.owed().pop_front();
        }
    }

    /// Makes a record of what is counted, unless there is one already that waits.
    fn close_batch(&self) {
        let mut owed = self.owed();
        if owed.iter().any(|owed| owed.attempts > 0) {
            return;
        }
        let Some(Batch { entries, others, total, trace }) = self.counted().take() else { return };
        let command = TrailCommand::RecordAttempts { entries, others };
        owed.push_back(Owed { request: self.request(ActorId::lotline(), command, trace.as_ref()), attempts: total });
    }

    fn request(&self, actor: ActorId, command: TrailCommand, trace: Option<&Trace>) -> CommandRequest {
        let id = self.0.ids.uuid_v7(self.0.clock.now());
        CommandRequest {
            tenant: self.0.bus.tenant().clone(),
            stream: StreamKey::Tenant,
            actor,
            command_id: CommandId(id),
            correlation_id: trace.map_or(CorrelationId(id), |trace| trace.correlation_id),
            traceparent: trace.and_then(|trace| trace.traceparent.clone()),
            expected_version: None,
            occurred_at: None,
            reason: None,
            command: Command::Trail(command),
        }
    }

    fn counted(&self) -> MutexGuard<'_, Attempts> {
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owed(&self) -> MutexGuard<'_, VecDeque<Owed>> {
        self.0.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lose(count: u64, error: &SubmitError) {
    metrics::counter!("lotline_trail_lost_total").increment(count);
    tracing::error!(count, error = error as &dyn Error, "the ledger has not got what happened at the door");
}

//! What the time does to the alerts of the sites whose streams a writer writes, found by the writer itself.
//!
//! It looks at the state on which it decides, and puts commands of Lotline before those that wait, so nobody can have changed anything in between. There is
//! one writer of a partition, hence one that looks; one that has been fenced decides nothing. What it asks for goes through the rules like any command.

use std::time::Duration;

use lotline_domain::alert::command::AlertCommand;
use lotline_domain::command::{Command, CommandRequest};
use lotline_domain::id::{ActorId, CorrelationId, StreamKey, TenantId};
use lotline_domain::timestamp::Timestamp;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Job, Rejected};
use crate::bus::{Ports, Receipt, SubmitError};
use crate::fold::PartitionFold;

/// Most of each sort, for each stream, that is asked for at once. The rest is found the next time.
const AT_ONCE: usize = 100;

type Answer = oneshot::Receiver<Result<Receipt, Rejected>>;

/// Looks now and then.
pub(super) struct Watcher {
    every: Option<Duration>,
    next: Instant,
    /// Answers to what was asked for the last time.
    under_way: Vec<Answer>,
}

impl Watcher {
    pub(super) fn new(every: Option<Duration>) -> Self {
        Self { every, next: Instant::now() + every.unwrap_or_default(), under_way: Vec::new() }
    }

    /// What is due, when it is time to look and all that was asked for before is answered.
    pub(super) fn look(&mut self, tenant: &TenantId, fold: &PartitionFold, ports: &Ports) -> Vec<Job> {
        let Some(every) = self.every else { return Vec::new() };
        if Instant::now() < self.next {
            return Vec::new();
        }
        self.under_way.retain_mut(still_open);
        if !self.under_way.is_empty() {
            return Vec::new();
        }
        self.next = Instant::now() + every;
        let now = ports.clock.now();
        let sites = fold.streams.iter().filter_map(|(key, stream)| match StreamKey::parse(key) {
            Ok(site @ StreamKey::Site(_)) => Some((site, stream)),
            Ok(StreamKey::Tenant) | Err(_) => None,
        });
        let due = sites.flat_map(|(site, stream)| {
            let due = stream.state.alerts.due(now, AT_ONCE);
            due.into_iter().map(move |command| (site.clone(), command))
        });
        let requests: Vec<CommandRequest> =
            due.map(|(site, command)| request(tenant.clone(), site, command, now)).collect();
        requests.into_iter().map(|request| self.job(request)).collect()
    }

    fn job(&mut self, request: CommandRequest) -> Job {
        let (reply, answer) = oneshot::channel();
        self.under_way.push(answer);
        Job { request, reply, tried_at: None }
    }
}

fn request(tenant: TenantId, stream: StreamKey, command: AlertCommand, now: Timestamp) -> CommandRequest {
    let command_id = command.key(&stream, now);
    CommandRequest {
        tenant,
        stream,
        actor: ActorId::lotline(),
        command_id,
        correlation_id: CorrelationId(command_id.0),
        traceparent: None,
        expected_version: None,
        occurred_at: None,
        reason: None,
        command: Command::Alert(command),
    }
}

/// Whether an answer is still waited for; counts it when it has come.
fn still_open(answer: &mut Answer) -> bool {
    let outcome = match answer.try_recv() {
        Err(oneshot::error::TryRecvError::Empty) => return true,
        Ok(Ok(_)) => "accepted",
        Ok(Err(Rejected::Answer(SubmitError::Refused { code, message, .. }))) => {
            tracing::info!(code, message, "what was due has become otherwise");
            "refused"
        }
        Ok(Err(Rejected::Answer(error))) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "what is due was not decided; asking again");
            "failed"
        }
        Ok(Err(Rejected::NotOwner { .. })) | Err(oneshot::error::TryRecvError::Closed) => {
            tracing::warn!("what is due was not decided, as the partition was taken away; its next writer will ask");
            "failed"
        }
    };
    metrics::counter!("lotline_writer_watch_commands_total", "outcome" => outcome).increment(1);
    false
}

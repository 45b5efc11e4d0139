//! One batch of commands: decided in order, each against the state that the ones before it left.

use std::borrow::Cow;

use lotline_domain::chain::ChainHead;
use lotline_domain::command::CommandRequest;
use lotline_domain::envelope::{Attributes, CommandHash, Envelope};
use lotline_domain::event::Event;
use lotline_domain::id::{ActorId, CommandId, CorrelationId, EventId, StreamKey};
use lotline_domain::position::{Position, TopicKind};
use lotline_domain::record::{Offset, Record};
use lotline_domain::refusal::Refusal;
use lotline_domain::state::{Decision, Subject};
use lotline_domain::timestamp::Timestamp;
use lotline_domain::trace::SpanKind;

use super::spans::AppendSpans;
use super::{Job, PartitionWriter, Rejected};
use crate::answers::{Outcome, Refused};
use crate::bus::{Ports, Receipt, SubmitError};
use crate::fold::PartitionFold;
use crate::tenant::TenantAt;

pub(super) struct Batch<'a> {
    writer: &'a mut PartitionWriter,
    fold: &'a mut PartitionFold,
    known: Known,
    records: Vec<Record>,
    bytes: usize,
    pending: Pending,
}

/// A batch is closed when its records have this many bytes: one transaction must stay far below the limits of any log.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// The state of the tenant's stream on which a batch is decided.
pub(super) enum Known {
    /// It is in the same partition, so each decision sees all those before it.
    Here,
    /// It is in another one. The whole batch is decided on one moment of it.
    At(TenantAt),
}

/// Commands whose answers wait for the append.
pub(super) struct Pending {
    partition: u32,
    entries: Vec<Entry>,
}

struct Entry {
    job: Job,
    outcome: Outcome,
    /// Whether an earlier try was answered with this outcome already.
    replayed: bool,
    /// Sequence of the stream's last event before this decision.
    head: u64,
}

/// What the events of one decision share.
struct Source<'a> {
    stream: &'a StreamKey,
    actor: &'a ActorId,
    correlation_id: CorrelationId,
    command_id: CommandId,
    command_hash: CommandHash,
    traceparent: Option<&'a str>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(writer: &'a mut PartitionWriter, fold: &'a mut PartitionFold, known: Known) -> Self {
        let pending = Pending { partition: writer.partition, entries: Vec::new() };
        Self { writer, fold, known, records: Vec::new(), bytes: 0, pending }
    }

    /// Whether another command may join.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < MAX_BATCH_BYTES && self.pending.entries.len() < self.writer.batch_limit
    }

    /// Decides a command: its events join the batch, its answer waits for the append.
    pub(super) fn decide(&mut self, job: Job) {
        let request = &job.request;
        let traces = &self.writer.ports.traces;
        let _span = traces.child("decide", SpanKind::Internal, request.traceparent.as_deref());
        let key = request.stream.as_str();
        let hash = request.hash();
        let (clock, head) = (self.writer.ports.clock.now(), self.fold.chain.head(key));
        let now = clock.max(head.time);
        let stream = self.fold.stream_mut(key);
        if let Some(known) =
            job.tried_at.and_then(|at| stream.answers.passing(&request.actor, request.command_id, hash, at))
        {
            let outcome = known.clone();
            self.pending.entries.push(Entry { job, outcome, replayed: false, head: head.sequence });
            return;
        }
        let verdict = match stream.answers.check_age(request.command_id, clock, head.time) {
            Err(refusal) => Err(refusal),
            Ok(()) => match stream.answers.get(&request.actor, request.command_id) {
                Some(answer) if answer.hash == hash => {
                    let (replayed, outcome) = (job.tried_at.is_none(), answer.outcome.clone());
                    self.pending.entries.push(Entry { job, outcome, replayed, head: head.sequence });
                    return;
                }
                Some(_) => Err(Refusal::CommandIdReused),
                None => self.judge(request, now),
            },
        };
        let outcome = match verdict.and_then(|decision| self.accept(request, hash, now, decision)) {
            Ok(outcome) => outcome,
            Err(refusal) => self.refuse(request, hash, now, &refusal),
        };
        self.pending.entries.push(Entry { job, outcome, replayed: false, head: head.sequence });
    }

    /// Whether the actor may, and only then what the rules say: who may not learns nothing of what is there.
    fn judge(&mut self, request: &CommandRequest, now: Timestamp) -> Result<Decision, Refusal> {
        let facts = match &self.known {
            Known::At(tenant) => tenant.facts.clone(),
            Known::Here => self.fold.tenant_facts(),
        };
        facts.access.authorise(request, self.writer.options.authorisation, now)?;
        self.fold.stream_mut(request.stream.as_str()).state.decide_on(request, now, facts.for_sites())
    }

    /// Seals a decision's events; refuses them all when one is too large for the log.
    fn accept(
        &mut self,
        request: &CommandRequest,
        hash: CommandHash,
        now: Timestamp,
        decision: Decision,
    ) -> Result<Outcome, Refusal> {
        let source = Source::of(request, hash);
        let before = self.fold.chain.head(request.stream.as_str());
        let mut head = before;
        let mut sealed = Vec::with_capacity(decision.events.len());
        for event in decision.events {
            let value = event.encode(decision.occurred_at, decision.reason.as_deref());
            let attributes = self.attributes(&source, &event, head.sequence + 1, now);
            let (hash, record) = Envelope::seal_record(&attributes, head.hash, value);
            let (size, max) = (record.size(), self.writer.ports.log.max_record_bytes());
            if size > max {
                return Err(Refusal::TooLarge { size, max });
            }
            head = ChainHead { sequence: attributes.sequence, hash, time: now };
            sealed.push((attributes, event, record));
        }
        let counts = sealed.iter().rev().find(|(_, event, _)| Subject::of(event).is_some());
        let version = counts.map_or(head.sequence, |(attributes, ..)| attributes.sequence);
        self.fold.chain.advance(request.stream.as_str(), head);
        let stream = self.fold.stream_mut(request.stream.as_str());
        for (attributes, event, record) in sealed {
            stream.state.evolve(&event, attributes.sequence, decision.occurred_at);
            stream.answers.record(&attributes, &event);
            self.bytes += record.size();
            self.records.push(record);
        }
        count(request, "accepted");
        Ok(Outcome::Accepted { subject: decision.subject_id, version })
    }

    fn refuse(&mut self, request: &CommandRequest, hash: CommandHash, now: Timestamp, refusal: &Refusal) -> Outcome {
        let refused = refusal.recorded(request.command.name());
        let outcome = Outcome::Refused((&refused).into());
        let clock = self.writer.ports.clock.now();
        if self.writer.limiter.admit(&request.stream, &request.actor, clock) {
            self.record(&Source::of(request, hash), &Event::CommandRefused(refused), now);
            count(request, "refused");
        } else {
            count(request, "suppressed");
        }
        outcome
    }

    /// Adds one event for each window in which refusals were only counted.
    pub(super) fn report_suppressed(&mut self) {
        let now = self.writer.ports.clock.now();
        for (stream, suppressed) in self.writer.limiter.ended(now) {
            let command_id = CommandId(self.writer.ports.ids.uuid_v7(now));
            let actor = ActorId::lotline();
            let source = Source {
                stream: &stream,
                actor: &actor,
                correlation_id: CorrelationId(command_id.0),
                command_id,
                command_hash: CommandHash::default(),
                traceparent: None,
            };
            let now = now.max(self.fold.chain.head(stream.as_str()).time);
            self.record(&source, &Event::RefusalsSuppressed(suppressed), now);
        }
    }

    pub(super) fn finish(self) -> (Vec<Record>, Pending) {
        (self.records, self.pending)
    }

    /// Seals one event that concerns no rule.
    fn record(&mut self, source: &Source<'_>, event: &Event, now: Timestamp) {
        let head = self.fold.chain.head(source.stream.as_str());
        let attributes = self.attributes(source, event, head.sequence + 1, now);
        let (hash, record) = Envelope::seal_record(&attributes, head.hash, event.encode(now, None));
        let next = ChainHead { sequence: attributes.sequence, hash, time: now };
        self.fold.chain.advance(source.stream.as_str(), next);
        self.fold.stream_mut(source.stream.as_str()).answers.record(&attributes, event);
        self.records.push(record);
    }

    fn attributes(&self, source: &Source<'_>, event: &Event, sequence: u64, now: Timestamp) -> Attributes {
        let tenant_sequence = match source.stream {
            StreamKey::Tenant => None,
            StreamKey::Site(_) => Some(self.tenant_sequence()),
        };
        Attributes {
            tenant: self.writer.tenant.clone(),
            stream: source.stream.clone(),
            id: EventId(self.writer.ports.ids.uuid_v7(now)),
            event_type: Cow::Borrowed(event.event_type()),
            subject: event.subject(source.command_id),
            time: now,
            sequence,
            actor: source.actor.clone(),
            correlation_id: source.correlation_id,
            causation_id: source.command_id,
            command_hash: source.command_hash,
            tenant_sequence,
            traceparent: source.traceparent.map(str::to_owned),
        }
    }

    /// That on which decisions are made: what this very batch may have moved, else what is committed.
    fn tenant_sequence(&self) -> u64 {
        match &self.known {
            Known::Here => self.fold.tenant_sequence(),
            Known::At(tenant) => tenant.sequence,
        }
    }
}

impl<'a> Source<'a> {
    fn of(request: &'a CommandRequest, command_hash: CommandHash) -> Self {
        Self {
            stream: &request.stream,
            actor: &request.actor,
            correlation_id: request.correlation_id,
            command_id: request.command_id,
            command_hash,
            traceparent: request.traceparent.as_deref().filter(|text| is_traceparent(text)),
        }
    }
}

/// Whether this looks like a W3C Trace Context (level 1 section 3.2: 55 characters, later versions more). Anything else is left out:
/// it comes from outside and must not make a refusal too large to be recorded.
fn is_traceparent(text: &str) -> bool {
    (55..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

impl Pending {
    /// Spans of the append that all of them wait for.
    pub(super) fn spans(&self, ports: &Ports, records: usize) -> AppendSpans {
        let parents = self.entries.iter().map(|entry| entry.job.request.traceparent.as_deref());
        AppendSpans::begin(ports, self.partition, parents, records)
    }

    /// Answers every command; `next` covers all of them. A caller that has gone away needs no answer.
    pub(super) fn answer(self, next: Offset) {
        let position = Position::at(TopicKind::Ledger, self.partition, next);
        for Entry { job, outcome, replayed, .. } in self.entries {
            let position = position.clone();
            let answer = match outcome {
                Outcome::Accepted { subject, version } => Ok(receipt(subject, version, position, replayed)),
                Outcome::Refused(Refused { code, message, field }) => {
                    Err(Rejected::Answer(SubmitError::Refused { code, message, field, position }))
                }
            };
            drop(job.reply.send(answer));
        }
    }

    pub(super) fn unavailable(self) {
        self.entries.into_iter().for_each(|entry| entry.job.unavailable());
    }

    /// The commands again, after an append of which nothing is known. What was answered from an earlier batch stays a replay.
    pub(super) fn into_jobs(self) -> Vec<Job> {
        let again = |Entry { job, replayed, head, .. }: Entry| {
            let tried_at = job.tried_at.or((!replayed).then_some(head));
            Job { tried_at, ..job }
        };
        self.entries.into_iter().map(again).collect()
    }
}

fn receipt(subject: Subject, version: u64, position: Position, replayed: bool) -> Receipt {
    Receipt { subject, version, position, replayed }
}

fn count(request: &CommandRequest, outcome: &'static str) {
    metrics::counter!("lotline_commands_total", "outcome" => outcome, "command" => request.command.name()).increment(1);
}

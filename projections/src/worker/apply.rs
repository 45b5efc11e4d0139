//! Brings one batch into one read model, and finds the event at fault when it can't.

use std::sync::Arc;

use lotline_domain::event::Event;
use lotline_domain::record::Offset;
use lotline_domain::trace::{MAX_LINKS, Span, SpanKind, TraceContext, Traces};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::{Backoff, meter};
use crate::batch::{LedgerBatch, LedgerEvent, Slice};
use crate::connection::Expendable;
use crate::failure::{ApplyError, full_text};
use crate::model::Model;
use crate::offsets::{Cursor, HaltCause, NewHalt, Place, Step};
use crate::{access, audit, decisions, genealogy, lots, master, pipelines, qc_decisions, runs, scenarios, signals};

/// Where the models are kept, and the partition that is carried there.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) pool: PgPool,
    pub(super) place: Place,
    /// How many models are written at the same time, here and wherever else this is shared; nothing means as many as there are.
    pub(super) lanes: Option<Arc<Semaphore>>,
    /// Where spans go.
    pub(super) traces: Traces,
}

/// Why a batch is not in a model.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Another projector has moved the model's offset, or the model's generation is not this cursor's any more.
    Overtaken,
    /// A rebuild has met an event that can't be applied. Nothing of it, and nothing after it, is in the generation.
    Poison(Poison),
}

/// Why a batch is not in all models.
pub(super) enum Halted {
    /// One of them has stopped; the others have it.
    Stopped(Stopped),
    /// A defect.
    Panicked(JoinError),
}

/// An event that a rebuild can't apply.
#[derive(Debug)]
pub(crate) struct Poison {
    pub(crate) model: Model,
    pub(crate) stream: String,
    pub(crate) sequence: i64,
    pub(crate) offset: Offset,
    pub(crate) error: String,
}

/// What became of one transaction.
enum Attempt {
    Applied,
    Overtaken,
    Poison(String),
}

impl Model {
    fn concerns(self, event: &Event) -> bool {
        match self {
            Self::Lots => lots::concerns(event),
            Self::Genealogy => genealogy::concerns(event),
            Self::QcDecisions => qc_decisions::concerns(event),
            Self::Pipelines => pipelines::concerns(event),
            Self::Signals => signals::concerns(event),
            Self::Master => master::concerns(event),
            Self::Audit => true,
            Self::Access => access::concerns(event),
            Self::Scenarios => scenarios::concerns(event),
            Self::Runs => runs::concerns(event),
            Self::Samples => false,
        }
    }

    pub(super) async fn apply(self, db: &mut PgConnection, slice: Slice<'_>) -> Result<(), ApplyError> {
        match self {
            Self::Lots => lots::apply(db, slice).await,
            Self::Genealogy => genealogy::apply(db, slice).await,
            Self::QcDecisions => qc_decisions::apply(db, slice).await,
            Self::Pipelines => pipelines::apply(db, slice).await,
            Self::Signals => signals::apply(db, slice).await,
            Self::Master => master::apply(db, slice).await,
            Self::Audit => audit::apply(db, slice).await,
            Self::Access => access::apply(db, slice).await,
            Self::Scenarios => scenarios::apply(db, slice).await,
            Self::Runs => runs::apply(db, slice).await,
            Self::Samples => Ok(()),
        }
    }
}

impl Target {
    /// Carries a batch into all models side by side.
    pub(super) async fn carry_all(
        &self,
        cursors: Vec<Cursor>,
        batch: &Arc<LedgerBatch>,
    ) -> Result<Vec<Cursor>, Halted> {
        let mut tasks = JoinSet::new();
        for cursor in cursors {
            tasks.spawn(self.clone().carry(cursor, Arc::clone(batch)));
        }
        let mut carried = Vec::with_capacity(tasks.len());
        let mut halted = None;
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok(Ok(cursor)) => carried.push(cursor),
                Ok(Err(stopped)) => halted = Some(Halted::Stopped(stopped)),
                Err(error) => return Err(Halted::Panicked(error)),
            }
        }
        halted.map_or(Ok(carried), Err)
    }

    /// Applies what the model has not got of the batch. Temporary failures of PostgreSQL are retried until they pass.
    async fn carry(self, mut cursor: Cursor, batch: Arc<LedgerBatch>) -> Result<Cursor, Stopped> {
        let started = Instant::now();
        let begin = batch.index_of(cursor.next);
        let mut span = self.span(&cursor, &batch, begin);
        let mut open = if cursor.next < batch.next { vec![(begin, batch.events.len())] } else { Vec::new() };
        // Ranges still to do, the next one on top. A range that fails is halved until a single event is at fault.
        while let Some((from, to)) = open.pop() {
            let events = &batch.events[from..to];
            if let Some((index, error)) = first_unreadable(events, &cursor) {
                open.extend((from + index + 1 < to).then_some((from + index + 1, to)));
                if index > 0 {
                    open.push((from + index, from + index + 1));
                    open.push((from, from + index));
                } else {
                    self.give_up(&mut cursor, &events[0], batch.next_after(from + 1), error).await?;
                }
                continue;
            }
            match self.attempt(&cursor, &batch, from, to).await {
                Attempt::Applied => cursor.next = batch.next_after(to),
                Attempt::Overtaken => {
                    span.fail("overtaken");
                    return Err(self.overtaken(&cursor));
                }
                Attempt::Poison(error) if events.len() == 1 => {
                    self.give_up(&mut cursor, &events[0], batch.next_after(to), &error).await?;
                }
                Attempt::Poison(_) => {
                    let middle = from + events.len() / 2;
                    open.push((middle, to));
                    open.push((from, middle));
                }
            }
        }
        meter::applied(&self.place, cursor.model, batch.events.len() - begin, started.elapsed());
        Ok(cursor)
    }

    /// A span about bringing events from `begin` on into a model, if any that concerns it is traced.
    fn span(&self, cursor: &Cursor, batch: &LedgerBatch, begin: usize) -> Span {
        if !self.traces.is_on() {
            return Span::default();
        }
        let events = &batch.events[begin..];
        let links = traced(events, cursor.model).map(|(_, context)| context).collect();
        let mut span = self.traces.linked(format!("process {}", cursor.model), SpanKind::Consumer, None, links);
        self.traces.about_log(&mut span, &self.place.topic, self.place.partition, events.len());
        span.set("messaging.operation.name", "project");
        span.set("messaging.operation.type", "process");
        span.set("lotline.model", cursor.model.name());
        span
    }

    async fn attempt(&self, cursor: &Cursor, batch: &LedgerBatch, from: usize, to: usize) -> Attempt {
        let mut backoff = Backoff::default();
        loop {
            match self.apply_once(cursor, batch, from, to).await {
                Ok(true) => return Attempt::Applied,
                Ok(false) => return Attempt::Overtaken,
                Err(error) if error.is_poison() && from < to => return Attempt::Poison(error.full_text()),
                Err(error) => self.retry(cursor, &error.full_text(), &mut backoff).await,
            }
        }
    }

    /// One transaction: the offset, which also shuts out other projectors, then the rows.
    async fn apply_once(
        &self,
        cursor: &Cursor,
        batch: &LedgerBatch,
        from: usize,
        to: usize,
    ) -> Result<bool, ApplyError> {
        let _lane = match &self.lanes {
            Some(lanes) => Some(lanes.acquire().await.expect("invariant: nobody closes the lanes")),
            None => None,
        };
        let events = &batch.events[from..to];
        let (tenant, partition) = (batch.tenant.as_str(), batch.partition as i32);
        let (generation, halted, skipped) = (cursor.generation, &cursor.halted, &cursor.skipped);
        let slice = Slice { tenant, partition, generation, events, halted, skipped };
        let told: Vec<_> = if self.traces.is_on() && !cursor.rebuild {
            traced(events, cursor.model).take(MAX_LINKS).collect()
        } else {
            Vec::new()
        };
        let (next, heads) = (batch.next_after(to), slice.heads());
        let step = Step { from: cursor, next, heads, halt: false, traced: &told };
        // A rebuild knows of no halts and leaves nothing out.
        let decisions = if cursor.rebuild { Vec::new() } else { decisions::about(cursor.model, events) };
        if decisions.is_empty() && !slice.facts().any(|(_, fact)| cursor.model.concerns(&fact.event)) {
            let mut connection = self.pool.acquire().await?;
            return Ok(self.place.advance(&mut connection, &step).await?);
        }
        let mut connection = Expendable::acquire(&self.pool).await?;
        let mut tx = connection.get().begin().await?;
        let free = self.place.advance(&mut tx, &step).await?;
        if free {
            decisions::note(&mut tx, &self.place.tenant, cursor.model, &decisions).await?;
            cursor.model.apply(&mut tx, slice).await?;
            tx.commit().await?;
        } else {
            tx.rollback().await?;
        }
        connection.keep();
        Ok(free)
    }

    /// Leaves an event and the rest of its stream out of the model, and says so where operators and waiters look. A rebuild ends here.
    async fn give_up(&self, cursor: &mut Cursor, event: &LedgerEvent, next: i64, error: &str) -> Result<(), Stopped> {
        if cursor.rebuild {
            return Err(Stopped::Poison(Poison {
                model: cursor.model,
                stream: event.stream().to_owned(),
                sequence: event.sequence(),
                offset: event.offset,
                error: error.to_owned(),
            }));
        }
        let mut backoff = Backoff::default();
        loop {
            match self.halt_once(cursor, event, next, error).await {
                Ok(true) => break,
                Ok(false) => return Err(self.overtaken(cursor)),
                Err(failure) => self.retry(cursor, &full_text(&failure), &mut backoff).await,
            }
        }
        tracing::error!(
            projection.model = cursor.model.name(),
            stream = event.stream(),
            log.partition = self.place.partition,
            log.offset = event.offset,
            event.sequence = event.sequence(),
            error,
            "a read model can't apply an event and no longer follows its stream"
        );
        cursor.next = next;
        cursor.halted.insert(event.stream().to_owned());
        meter::halted(&self.place, cursor.model);
        meter::halted_streams(&self.place, cursor.model, cursor.halted.len());
        Ok(())
    }

    async fn halt_once(
        &self,
        cursor: &Cursor,
        event: &LedgerEvent,
        next: i64,
        error: &str,
    ) -> Result<bool, sqlx::Error> {
        let events = std::slice::from_ref(event);
        let (generation, halted, skipped) = (cursor.generation, &cursor.halted, &cursor.skipped);
        let slice = Slice { tenant: "", partition: 0, generation, events, halted, skipped };
        let step = Step { from: cursor, next, heads: slice.heads(), halt: true, traced: &[] };
        let halt = NewHalt {
            cause: HaltCause::Poison,
            stream: event.stream(),
            offset: event.offset,
            sequence: Some(event.sequence()),
            error,
        };
        let mut connection = Expendable::acquire(&self.pool).await?;
        let mut tx = connection.get().begin().await?;
        if !self.place.advance(&mut tx, &step).await? {
            return Ok(false);
        }
        decisions::note(&mut tx, &self.place.tenant, cursor.model, &decisions::about(cursor.model, events)).await?;
        self.place.halt(&mut tx, &[cursor.model], &halt).await?;
        tx.commit().await?;
        connection.keep();
        Ok(true)
    }

    async fn retry(&self, cursor: &Cursor, error: &str, backoff: &mut Backoff) {
        tracing::warn!(
            projection.model = cursor.model.name(),
            log.partition = self.place.partition,
            error,
            "PostgreSQL did not take a batch, trying again"
        );
        meter::retried(&self.place, cursor.model);
        backoff.wait().await;
    }

    fn overtaken(&self, cursor: &Cursor) -> Stopped {
        meter::overtaken(&self.place, cursor.model);
        Stopped::Overtaken
    }
}

/// The events that concern a model and are part of a recorded trace, with their places.
fn traced(events: &[LedgerEvent], model: Model) -> impl Iterator<Item = (Offset, TraceContext)> {
    events.iter().filter_map(move |event| {
        let context = TraceContext::sampled(event.envelope.attributes.traceparent.as_deref())?;
        let fact = event.fact.as_ref().ok()?;
        model.concerns(&fact.event).then_some((event.offset, context))
    })
}

fn first_unreadable<'a>(events: &'a [LedgerEvent], cursor: &Cursor) -> Option<(usize, &'a str)> {
    events.iter().enumerate().find_map(|(index, event)| match &event.fact {
        Err(error) if !cursor.halted.contains(event.stream()) && !event.is_in(&cursor.skipped) => {
            Some((index, error.as_str()))
        }
        Err(_) | Ok(_) => None,
    })
}

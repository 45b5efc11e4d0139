//! How every subscription follows a read model: woken by its progress, fed from its table.
//!
//! A subscriber owns nothing but its position. It reads what changed from there on, group by group (all rows of one event or batch
//! belong together), and moves behind each group that it hands out; what it has seen it does not see again. Nothing is queued for it
//! beyond one read, so a slow one costs the others nothing.
//!
//! Invariant: progress is published after the commit, so a read that begins after a position was seen finds every row before it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::Context;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use lotline_domain::partition::partition_of;
use lotline_domain::port::BoxFuture;
use lotline_domain::position::{Position, TopicKind};
use lotline_domain::record::Offset;
use lotline_domain::trace::{Span, SpanKind, TraceContext, Traces};
use lotline_projections::model::Model;
use lotline_projections::progress;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::failure::{OrFail, behind};
use super::scalar::PositionToken;
use super::scope::{Scope, used_below};
use crate::server::{ApiState, Server};
use crate::spans;
use crate::transport::caller::Caller;

/// How to read what changed in a model: its rows at an offset of a partition or later, in order, all rows of the last offset included.
pub type Fetch<R> = for<'a> fn(&'a ApiState, u32, Offset, u32) -> BoxFuture<'a, Result<Vec<R>, sqlx::Error>>;

/// A read model that can be followed.
pub struct Feed<R> {
    /// Which.
    pub model: Model,
    /// How to read it.
    pub fetch: Fetch<R>,
    /// Where a row was last changed.
    pub offset: fn(&R) -> Offset,
}

/// Tells a transport that a subscription knows its place: whatever happens from now on will be told.
#[derive(Debug, Clone, Default)]
pub struct Begun(Arc<Beginning>);

#[derive(Debug, Default)]
struct Beginning {
    fired: Notify,
    /// Ends with the beginning.
    span: Mutex<Span>,
}

impl Begun {
    /// Lets a span last until then.
    pub fn during(&self, span: Span) {
        *self.0.span.lock().unwrap_or_else(PoisonError::into_inner) = span;
    }

    fn fire(&self) {
        self.during(Span::default());
        self.0.fired.notify_one();
    }

    /// Returns once it was fired.
    pub async fn wait(&self) {
        self.0.fired.notified().await;
    }
}

/// What the item of a subscription that is being made comes from, for the span of its delivery.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Telling>);

#[derive(Debug, Default)]
struct Telling {
    /// The subscription itself.
    opened: Option<TraceContext>,
    name: Option<String>,
    cause: Mutex<Option<(Model, u32, TraceContext)>>,
}

impl Told {
    /// Nothing yet, to somebody.
    pub fn new(caller: &Caller, name: Option<String>) -> Self {
        let opened = TraceContext::sampled(caller.trace.traceparent.as_deref());
        Self(Arc::new(Telling { opened, name, cause: Mutex::default() }))
    }

    fn note(&self, cause: Option<(Model, u32, TraceContext)>) {
        *self.0.cause.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }

    /// A span about bringing the item to the subscriber, when what it comes from is traced. It is in no trace but its own, which links to that of
    /// the cause and, if that is traced, to the subscription: neither of them goes on for as long.
    pub fn span(&self, traces: &Traces) -> Span {
        let Some((model, partition, cause)) = self.0.cause.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Span::default();
        };
        let links = [cause].into_iter().chain(self.0.opened).collect();
        let mut span = traces.linked("deliver", SpanKind::Producer, None, links);
        span.set("graphql.operation.type", "subscription");
        if let Some(name) = self.0.name.as_deref().filter(|_| span.is_recording()) {
            spans::name(&mut span, name);
        }
        span.set("lotline.model", model.name());
        span.set("lotline.partition", i64::from(partition));
        span
    }
}

/// Rows of one event or batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<R> {
    /// At least one.
    pub rows: Vec<R>,
    /// Everything up to and including this change has been handed out.
    pub position: Position,
    /// Partition and offset of the event or batch.
    spot: (u32, Offset),
}

struct Follower<R> {
    server: Arc<Server>,
    feed: Feed<R>,
    /// Other models that the items' selected fields read. An item waits for them, else it could show a decision without its lot.
    beside: Vec<Model>,
    partitions: Vec<u32>,
    /// Index of the partition to look at next, so that a busy one does not starve the others.
    turn: usize,
    position: Position,
    progress: watch::Receiver<Position>,
    pending: VecDeque<Change<R>>,
    /// Only where spans are recorded.
    told: Option<Told>,
}

/// Follows a model from a position, or from now. `site` narrows it to the partition of the site's stream, or of `_tenant`; the caller
/// has checked that there is one.
///
/// # Errors
/// `BAD_USER_INPUT` for a position that this server's logs can't have; `INTERNAL` when the present can't be read. An item ends the
/// stream with `CONSISTENCY_TIMEOUT` when another model that it shows stays behind; the last token goes on from there.
pub async fn follow<R: Send + 'static>(
    ctx: &Context<'_>,
    feed: Feed<R>,
    site: Option<&str>,
    after: Option<PositionToken>,
) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<Change<R>>> + use<R>> {
    let scope = Scope::of(ctx);
    if let Some(PositionToken(position)) = &after {
        scope.check_position("after", position)?;
    }
    let server = Arc::clone(&scope.server);
    let count = server.state.partitions.of(feed.model.topic());
    let partitions = match site {
        Some(site) if feed.model.topic() == TopicKind::Ledger => vec![partition_of(site, count)],
        Some(_) | None => (0..count).collect(),
    };
    // Subscribed before the present is read: what happens in between wakes the follower.
    let progress = server.state.progress.subscribe(feed.model);
    let position = start(&server.state, &feed, &partitions, after).await?;
    if let Some(begun) = ctx.data_opt::<Begun>() {
        begun.fire();
    }
    let mut beside = Vec::new();
    used_below(ctx.field(), &mut beside);
    beside.retain(|model| *model != feed.model);
    let told = ctx.data_opt::<Told>().filter(|_| server.state.traces.is_on()).cloned();
    let pending = VecDeque::new();
    let follower = Follower { server, feed, beside, partitions, turn: 0, position, progress, pending, told };
    Ok(try_unfold(follower, |mut follower| async move {
        let change = follower.next().await?;
        Ok(change.map(|change| (change, follower)))
    }))
}

/// The token's place in each partition; the present in those that it does not name, as a mutation's token names only its own.
async fn start<R>(
    state: &ApiState,
    feed: &Feed<R>,
    partitions: &[u32],
    after: Option<PositionToken>,
) -> async_graphql::Result<Position> {
    let topic = feed.model.topic();
    let given = after.map(|PositionToken(position)| position).unwrap_or_default();
    let mut present = Position::default();
    if partitions.iter().any(|partition| given.get(topic, *partition).is_none()) {
        let all = progress::status(&state.pool, &state.tenant).await.or_fail("read the present position")?;
        for status in all.iter().filter(|status| status.model == feed.model) {
            present.advance(topic, status.partition, status.next_offset);
        }
    }
    let mut position = Position::default();
    for partition in partitions {
        let place = given.get(topic, *partition).or_else(|| present.get(topic, *partition));
        // A partition that the model has not begun is named too, so that the next token leaves no doubt.
        position.advance(topic, *partition, place.unwrap_or(0));
    }
    Ok(position)
}

impl<R> Follower<R> {
    async fn next(&mut self) -> async_graphql::Result<Option<Change<R>>> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                let deadline = Instant::now() + self.server.state.limits.consistency_timeout();
                let waited = self.server.state.progress.wait_for(&self.beside, &change.position, deadline).await;
                if let Some(told) = &self.told {
                    let (model, (partition, offset)) = (self.feed.model, change.spot);
                    let cause = self.server.state.progress.cause(model, partition, offset);
                    told.note(cause.map(|cause| (model, partition, cause)));
                }
                return waited.map(|()| Some(change)).map_err(|error| behind(&error));
            }
            let reached = self.progress.borrow_and_update().clone();
            if !self.read_on(&reached).await? && self.progress.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Reads once from the first partition that has moved, if any has.
    async fn read_on(&mut self, reached: &Position) -> async_graphql::Result<bool> {
        let topic = self.feed.model.topic();
        for step in 0..self.partitions.len() {
            let index = (self.turn + step) % self.partitions.len();
            let partition = self.partitions[index];
            let from = self.position.get(topic, partition).unwrap_or(0);
            let until = reached.get(topic, partition).unwrap_or(0);
            if until > from {
                self.turn = index + 1;
                self.read(partition, from, until).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn read(&mut self, partition: u32, from: Offset, until: Offset) -> async_graphql::Result<()> {
        let topic = self.feed.model.topic();
        let batch = self.server.state.limits.subscription_batch.max(1);
        let rows = (self.feed.fetch)(&self.server.state, partition, from, batch).await.or_fail("read what changed")?;
        let complete = rows.len() < batch as usize;
        for row in rows {
            let next = (self.feed.offset)(&row) + 1;
            match self.pending.back_mut() {
                Some(change) if change.position.get(topic, partition) == Some(next) => change.rows.push(row),
                Some(_) | None => {
                    self.position.advance(topic, partition, next);
                    let (position, spot) = (self.position.clone(), (partition, next - 1));
                    self.pending.push_back(Change { rows: vec![row], position, spot });
                }
            }
        }
        if complete {
            self.position.advance(topic, partition, until);
        }
        Ok(())
    }
}

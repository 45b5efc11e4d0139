//! Keeps the graph of a tenant in memory beside the read models, and answers from it or from the tables.

use std::sync::Arc;
use std::time::Duration;

use lotline_domain::id::TenantId;
use lotline_domain::position::{Position, TopicKind};
use lotline_domain::record::Offset;
use metrics::{counter, gauge, histogram};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::base::{Arc32, Base};
use super::load::{LoadError, Stand, load};
use super::tables::{Moment, from_tables};
use super::tail::Piece;
use super::trace::{Gap, Source, Trace, TraceError, Ways};
use super::view::View;
use crate::connection::Expendable;
use crate::failure::full_text;
use crate::genealogy::followed as edges;
use crate::lots::followed as lots;
use crate::model::Model;
use crate::progress::Progress;

/// A swap of generations wakes nobody by itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// At least between two looks, so that a flood of commits makes large steps and not many.
const APART: Duration = Duration::from_millis(20);
/// Rows of each model that one step takes of a partition.
const STEP: i64 = 5_000;
/// Lots and edges of which the tail is worth a merge, unless something else is said.
const MERGE_FROM: usize = 100_000;

/// What the graph of this process is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphState {
    /// Not wanted here.
    Off,
    /// Being read for the first time.
    Loading,
    /// In use, and kept up.
    Following,
    /// In use as it was, while it is read anew: a rebuilt model has taken the place of one that it is made from.
    Reloading,
}

/// The graph of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphStatus {
    /// What it is at.
    pub state: GraphState,
    /// How far it is.
    pub position: Position,
    /// Lots in it.
    pub lots: usize,
    /// Edges in it.
    pub edges: usize,
    /// What it takes in memory.
    pub bytes: usize,
    /// Lots and edges that have come since the load and are not merged yet.
    pub tail: usize,
}

/// How the graph is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphOptions {
    /// The tail is not merged into the base before it has so many lots and edges, and not before it has an eighth of what the base has.
    pub merge_from: usize,
}

impl Default for GraphOptions {
    fn default() -> Self {
        Self { merge_from: MERGE_FROM }
    }
}

/// The graph of a tenant. Cheap to clone; [`LiveGraph::run`] loads it and keeps it up.
#[derive(Debug, Clone)]
pub struct LiveGraph {
    options: GraphOptions,
    shared: Arc<watch::Sender<Published>>,
}

#[derive(Debug, Clone)]
struct Published {
    state: GraphState,
    view: Option<Arc<View>>,
}

/// What is asked of the graph.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// From where.
    pub start: Uuid,
    /// Which ways.
    pub ways: Ways,
    /// As of when.
    pub moment: Moment,
    /// Most lots each way.
    pub most: usize,
    /// What the answer must have seen, which the read models have.
    pub seen: &'a Position,
}

impl LiveGraph {
    /// A graph that nobody has loaded yet.
    pub fn new(options: GraphOptions) -> Self {
        Self { options, ..Self::with(GraphState::Loading) }
    }

    /// None: everything is answered from the tables.
    pub fn off() -> Self {
        Self::with(GraphState::Off)
    }

    fn with(state: GraphState) -> Self {
        let shared = Arc::new(watch::Sender::new(Published { state, view: None }));
        Self { options: GraphOptions::default(), shared }
    }

    /// What it is at, and how far.
    pub fn status(&self) -> GraphStatus {
        let Published { state, view } = self.shared.borrow().clone();
        let view = view.unwrap_or_default();
        let (lots, edges, bytes, tail) = (view.lots(), view.edges(), view.bytes(), view.tail_size());
        GraphStatus { state, position: view.position.clone(), lots, edges, bytes, tail }
    }

    /// Waits until it has seen a position. Gives `false` at the deadline, or at once when it is not being kept up.
    pub async fn wait_for(&self, position: &Position, deadline: Instant) -> bool {
        self.view_at(position, deadline).await.is_some()
    }

    async fn view_at(&self, position: &Position, deadline: Instant) -> Option<Arc<View>> {
        let mut published = self.shared.subscribe();
        loop {
            {
                let now = published.borrow_and_update();
                let view = now.view.as_ref()?;
                if has_seen(&view.position, position) {
                    return Some(Arc::clone(view));
                }
                if now.state != GraphState::Following {
                    return None;
                }
            }
            timeout_at(deadline, published.changed()).await.ok()?.ok()?;
        }
    }

    /// Answers a question about a lot: from the graph when it is at the position by the deadline and the question is about the present,
    /// else from the tables. Nothing when there is no such lot.
    ///
    /// # Errors
    /// [`TraceError`].
    pub async fn trace(
        &self,
        pool: &PgPool,
        progress: &Progress,
        tenant: &TenantId,
        asked: Question<'_>,
        deadline: Instant,
    ) -> Result<Option<Trace>, TraceError> {
        let Question { start, ways, moment, most, seen } = asked;
        let started = Instant::now();
        let view = if moment.is_now() { self.view_at(seen, deadline).await } else { None };
        let mut trace = match view {
            Some(view) => {
                let follow = move || Trace::of(&view, start, ways, most, Source::Memory);
                spawn_blocking(follow).await?
            }
            None => from_tables(pool, tenant, start, ways, moment, most).await?,
        };
        if let Some(trace) = &mut trace {
            let models = progress.subscribe(Model::Genealogy).borrow().clone();
            if trace.source == Source::Memory && !has_seen(&trace.position, &models) {
                trace.gaps.push(Gap::Behind);
            }
            let halted = progress.halted(&[Model::Genealogy, Model::Lots]);
            if !halted.is_empty() {
                trace.gaps.push(Gap::Halted(halted));
            }
            let source = match trace.source {
                Source::Memory => "memory",
                Source::Tables => "tables",
            };
            counter!("lotline_traces_total", "source" => source).increment(1);
            histogram!("lotline_trace_seconds", "source" => source).record(started.elapsed().as_secs_f64());
        }
        Ok(trace)
    }

    /// Loads the graph, keeps it up, and loads it anew beside the old one when a rebuild has swapped a model. Outages are waited out.
    pub async fn run(self, pool: PgPool, tenant: TenantId, progress: Progress, cancel: CancellationToken) {
        let keeper = Keeper { pool, tenant, progress, graph: self };
        cancel.run_until_cancelled(keeper.keep()).await;
    }

    fn publish(&self, state: GraphState, view: Option<Arc<View>>) {
        self.shared.send_modify(|published| {
            published.state = state;
            if let Some(view) = view {
                published.view = Some(view);
            }
        });
    }
}

/// Whether everything before `wanted` has been seen. At 0 there is nothing to see.
fn has_seen(reached: &Position, wanted: &Position) -> bool {
    let mut ledger = wanted.iter().filter(|(topic, ..)| *topic == TopicKind::Ledger);
    ledger.all(|(topic, partition, next)| reached.get(topic, partition).unwrap_or(0) >= next)
}

struct Keeper {
    pool: PgPool,
    tenant: TenantId,
    progress: Progress,
    graph: LiveGraph,
}

/// A merge of the first pieces of the tail into a new base.
struct Merge {
    pieces: usize,
    task: JoinHandle<Base>,
}

/// The graph as it is, and what comes next.
struct Follower {
    view: View,
    stand: Stand,
    merge: Option<Merge>,
}

/// What a step has found.
enum Found {
    Nothing,
    Some,
    /// And there is more.
    Part,
    /// Another generation is in use.
    Swapped,
}

impl Keeper {
    async fn keep(&self) {
        loop {
            let started = Instant::now();
            match load(&self.pool, &self.tenant).await {
                Ok((view, stand)) => {
                    let (lots, edges, took) = (view.lots(), view.edges(), started.elapsed());
                    tracing::info!(lots, edges, duration_ms = took.as_millis(), "the genealogy is in memory");
                    gauge!("lotline_graph_load_seconds").set(took.as_secs_f64());
                    self.follow(Follower { view, stand, merge: None }).await;
                    self.graph.publish(GraphState::Reloading, None);
                }
                Err(error) => {
                    self.complain(&error, "the genealogy can't be loaded into memory; the tables answer");
                    sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    /// Until another generation is in use.
    async fn follow(&self, mut follower: Follower) {
        let mut moves = [Model::Genealogy, Model::Lots].map(|model| self.progress.subscribe(model));
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.show(&follower);
        let mut due = Instant::now();
        loop {
            let [genealogy, lots] = &mut moves;
            tokio::select! {
                _ = look.tick() => {}
                _ = genealogy.changed() => {}
                _ = lots.changed() => {}
            }
            sleep_until(due).await;
            due = Instant::now() + APART;
            loop {
                match follower.step(&self.pool, &self.tenant).await {
                    Ok(Found::Part) => self.show(&follower),
                    Ok(Found::Some) => {
                        self.show(&follower);
                        break;
                    }
                    Ok(Found::Nothing) => break,
                    Ok(Found::Swapped) => return,
                    Err(error) => {
                        self.complain(&error, "the genealogy in memory can't be kept up; trying again");
                        sleep(AGAIN_AFTER).await;
                    }
                }
            }
            match follower.merge(self.graph.options.merge_from).await {
                Ok(false) => {}
                Ok(true) => self.show(&follower),
                Err(error) => {
                    self.complain(&error.into(), "the genealogy in memory could not be merged; it is loaded anew");
                    return;
                }
            }
        }
    }

    fn show(&self, follower: &Follower) {
        let view = Arc::new(follower.view.clone());
        gauge!("lotline_graph_lots").set(view.lots() as f64);
        gauge!("lotline_graph_edges").set(view.edges() as f64);
        gauge!("lotline_graph_bytes").set(view.bytes() as f64);
        for (_, partition, next) in view.position.iter() {
            gauge!("lotline_graph_next_offset", "partition" => partition.to_string()).set(next as f64);
        }
        self.graph.publish(GraphState::Following, Some(view));
    }

    fn complain(&self, error: &LoadError, what: &'static str) {
        let (tenant, error) = (self.tenant.as_str(), full_text(error));
        tracing::warn!(tenant, error, "{what}");
    }
}

impl Follower {
    /// Takes in what has come, at most [`STEP`] rows of each model and partition, from one snapshot. What failed has changed nothing.
    async fn step(&mut self, pool: &PgPool, tenant: &TenantId) -> Result<Found, LoadError> {
        let mut connection = Expendable::acquire(pool).await?;
        let db = connection.get();
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *db).await?;
        let mut now = Stand::read(db, tenant).await?;
        if now.generations != self.stand.generations {
            return Ok(Found::Swapped);
        }
        let (mut new_lots, mut new_edges, mut part) = (Vec::new(), Vec::new(), false);
        for (partition, next) in &mut now.lots {
            let from = self.stand.lots.get(partition).copied().unwrap_or(0);
            if from < *next {
                let place = (*partition, from);
                let (found, last) = lots::changed_since(db, tenant, now.generations.lots, place, STEP).await?;
                part |= cut(found.len(), last, next);
                new_lots.extend(found);
            }
            *next = from.max(*next);
        }
        for (partition, next) in &mut now.genealogy {
            let from = self.stand.genealogy.get(partition).copied().unwrap_or(0);
            if from < *next {
                let place = (*partition, from);
                let (found, last) = edges::added_since(db, tenant, now.generations.genealogy, place, STEP).await?;
                part |= cut(found.len(), last, next);
                new_edges.extend(found);
            }
            *next = from.max(*next);
        }
        sqlx::raw_sql("COMMIT").execute(db).await?;
        connection.keep();
        if now.lots == self.stand.lots && now.genealogy == self.stand.genealogy {
            return Ok(Found::Nothing);
        }
        let mut view = self.view.grown(&new_lots, &new_edges);
        view.position = now.position();
        self.stand = now;
        self.view = view;
        self.compact();
        Ok(if part { Found::Part } else { Found::Some })
    }

    /// Joins pieces at the end of the tail that are of like size, but none that are being merged.
    fn compact(&mut self) {
        let fixed = self.merge.as_ref().map_or(0, |merge| merge.pieces);
        let tail = &mut self.view.tail;
        while let [.., before, last] = &tail[fixed..]
            && last.size() * 2 >= before.size()
        {
            let joined = Arc::new(before.joined(last));
            tail.truncate(tail.len() - 2);
            tail.push(joined);
        }
    }

    /// Begins to merge the tail into a new base when it has become large, or puts a base in place that is ready. Gives whether it did the latter.
    async fn merge(&mut self, from: usize) -> Result<bool, JoinError> {
        let mut placed = false;
        if let Some(Merge { pieces, task }) = self.merge.take_if(|merge| merge.task.is_finished()) {
            self.view.base = Arc::new(task.await?);
            self.view.tail.drain(..pieces);
            placed = true;
        }
        let base = self.view.base.lots() + self.view.base.edges();
        if self.merge.is_none() && self.view.tail_size() >= from.max(base / 8) {
            let (base, tail) = (Arc::clone(&self.view.base), self.view.tail.clone());
            let (pieces, task) = (tail.len(), spawn_blocking(move || merged(&base, &tail)));
            self.merge = Some(Merge { pieces, task });
        }
        Ok(placed)
    }
}

/// Moves the end of a step behind the last row that came, when there may be more rows. Gives whether it did.
fn cut(rows: usize, last: Option<Offset>, next: &mut Offset) -> bool {
    let is_part = rows as i64 >= STEP;
    if let Some(last) = last.filter(|_| is_part) {
        *next = last + 1;
    }
    is_part
}

/// A base with all of the tail.
pub(super) fn merged(base: &Base, tail: &[Arc<Piece>]) -> Base {
    let ids: Vec<Uuid> = tail.iter().flat_map(|piece| piece.ids().iter().copied()).collect();
    let edges: Vec<Arc32> = tail.iter().flat_map(|piece| piece.edges().iter().copied()).collect();
    base.with(&ids, &edges)
}

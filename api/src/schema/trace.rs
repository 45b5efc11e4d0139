//! Trace: every lot that a lot was made from, and every lot that was made from it, with how much of one is in the other.

use std::str::FromStr;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, Error, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::quantity::Dimension;
use lotline_projections::graph::{self, Direction, Gap, MOST_LOTS, Moment, Question, Source, TracedLot, Ways};
use lotline_projections::model::Model;
use tokio::time::Instant;
use uuid::Uuid;

use super::connection::{self, Cursor};
use super::failure::OrFail;
use super::global_id::{self, NodeId};
use super::lot::{Lot, Quantity};
use super::scalar::PositionToken;
use super::scope::Scope;
use crate::guard::cost;

/// Which way to follow.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceDirection {
    /// To what it was made from.
    Backward,
    /// To what was made from it.
    Forward,
    /// Both ways.
    Both,
}

/// Where an answer comes from. Both say the same; memory is faster.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceSource {
    /// The graph in this node's memory.
    Memory,
    /// The tables: while there is no graph, or for a moment in the past.
    Tables,
}

/// Why a trace is not all there is.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceGapReason {
    /// Lots of sites that the caller may not see are left out. What lies behind them is shown.
    OtherSites,
    /// Lots that so far only an edge names are left out.
    UnknownLots,
    /// There are more lots than are followed.
    Limit,
    /// Of some lots it can't be said how much.
    UnknownAmounts,
    /// The read models have more than the graph has taken in yet.
    Behind,
    /// The read models no longer follow some streams.
    HaltedStreams,
}

/// Something that a trace lacks.
#[derive(SimpleObject)]
pub struct TraceGap {
    /// Why.
    pub reason: TraceGapReason,
    /// How many lots are concerned, where that is known.
    pub lots: Option<usize>,
    /// The same for people.
    pub message: String,
}

/// How much was found one way. Lots that are not shown are not counted.
#[derive(SimpleObject)]
pub struct TraceTotals {
    /// Lots.
    pub lots: usize,
    /// Those of them with which the graph ends: backward nothing is known that they were made from, forward nothing was made from them.
    pub ends: usize,
    /// Steps to the farthest of them by the shortest way.
    pub depth: u32,
    /// Edges on the way, also from and to lots that are not shown.
    pub edges: usize,
}

/// A lot that was found.
pub struct TraceLot(TracedLot);

/// A lot that was found.
#[Object]
impl TraceLot {
    /// Global id of the lot.
    async fn id(&self) -> ID {
        NodeId::Lot(self.0.id).encode()
    }

    /// The lot.
    async fn lot(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
        Lot::load(Scope::of(ctx), self.0.id).await
    }

    /// Which way it was found: BACKWARD or FORWARD.
    async fn direction(&self) -> TraceDirection {
        match self.0.direction {
            Direction::Backward => TraceDirection::Backward,
            Direction::Forward => TraceDirection::Forward,
        }
    }

    /// Fewest steps from the start, from 1.
    async fn depth(&self) -> u32 {
        self.0.depth
    }

    /// Forward, how much of the start is in it; backward, how much of it is in the start: at each step the share that was taken goes along. In the
    /// base unit (KGM, LTR, C62, MTR), exact where the divisions end, else rounded down at the 18th decimal of each step. Null when a
    /// quantity on the way is not known.
    async fn attributed(&self) -> Option<Quantity> {
        let unit = base_unit(self.0.dimension);
        self.0.amount.map(|amount| Quantity { value: amount.to_decimal(), unit: unit.to_owned() })
    }

    /// Whether the graph ends with it.
    async fn is_end(&self) -> bool {
        self.0.is_end
    }
}

/// A lot followed to the ends of the graph, without a limit of depth.
pub struct Trace {
    start: Lot,
    found: Arc<graph::Trace>,
}

/// A lot followed to the ends of the graph, without a limit of depth.
#[Object]
impl Trace {
    /// From where.
    async fn start(&self) -> &Lot {
        &self.start
    }

    /// Where the answer comes from.
    async fn source(&self) -> TraceSource {
        match self.found.source {
            Source::Memory => TraceSource::Memory,
            Source::Tables => TraceSource::Tables,
        }
    }

    /// Everything before this has been seen.
    async fn position(&self) -> PositionToken {
        PositionToken(self.found.position.clone())
    }

    /// Whether nothing is missing.
    async fn complete(&self) -> bool {
        self.found.gaps.is_empty()
    }

    /// What is missing.
    async fn gaps(&self) -> Vec<TraceGap> {
        self.found.gaps.iter().map(TraceGap::from).collect()
    }

    /// How much it was made from; null when that was not asked.
    async fn backward(&self) -> Option<TraceTotals> {
        self.totals(Direction::Backward)
    }

    /// How much was made from it; null when that was not asked.
    async fn forward(&self) -> Option<TraceTotals> {
        self.totals(Direction::Forward)
    }

    /// The lots, each once: backward before forward, the nearest first, then by id. A lot keeps its place while the graph grows.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn lots(
        &self,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last lot of the page before.")] after: Option<String>,
        #[graphql(desc = "Only lots with which the graph ends.", default)] ends_only: bool,
    ) -> Result<Connection<Cursor, TraceLot>, Error> {
        let size = connection::size(first)?;
        let after: Option<Place> = connection::after(after.as_deref(), |text| text.parse().ok())?;
        let lots = &self.found.lots;
        let from = after.map_or(0, |after| lots.partition_point(|lot| Place::of(lot) <= after));
        let wanted = lots[from..].iter().filter(|lot| lot.is_end || !ends_only).take(size as usize + 1);
        let rows = wanted.copied().collect();
        Ok(connection::connection(rows, size, after.is_some(), |lot| Cursor::new(&Place::of(lot)), TraceLot))
    }
}

impl Trace {
    fn totals(&self, direction: Direction) -> Option<TraceTotals> {
        let totals = self.found.totals(direction)?;
        Some(TraceTotals { lots: totals.lots, ends: totals.ends, depth: totals.depth, edges: totals.edges })
    }
}

/// UNECE Rec 20 code of the base unit.
pub fn base_unit(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Mass => "KGM",
        Dimension::Volume => "LTR",
        Dimension::Count => "C62",
        Dimension::Length => "MTR",
    }
}

impl From<&Gap> for TraceGap {
    fn from(gap: &Gap) -> Self {
        let (reason, lots, message) = match gap {
            Gap::OtherSites(lots) => {
                let message = format!("{lots} lots are of sites that you may not see");
                (TraceGapReason::OtherSites, Some(*lots), message)
            }
            Gap::UnknownLots(lots) => {
                let message = format!("of {lots} lots no more is known than that they were used");
                (TraceGapReason::UnknownLots, Some(*lots), message)
            }
            Gap::Limit(lots) => {
                let message = format!("{lots} lots were found one way, and there are more");
                (TraceGapReason::Limit, Some(*lots), message)
            }
            Gap::UnknownAmounts(lots) => {
                (TraceGapReason::UnknownAmounts, Some(*lots), format!("of {lots} lots it can't be said how much"))
            }
            Gap::Behind => (TraceGapReason::Behind, None, "the newest changes are not in it yet".to_owned()),
            Gap::Halted(streams) => {
                let message = format!("the read models no longer follow {}", streams.join(", "));
                (TraceGapReason::HaltedStreams, None, message)
            }
        };
        Self { reason, lots, message }
    }
}

/// Where a lot stands in the order of a trace: `<b|f>.<depth>.<id>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place(Direction, u32, Uuid);

impl Place {
    fn of(lot: &TracedLot) -> Self {
        Self(lot.direction, lot.depth, lot.id)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(direction, depth, id) = self;
        let letter = match direction {
            Direction::Backward => 'b',
            Direction::Forward => 'f',
        };
        write!(f, "{letter}.{depth}.{id}")
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.splitn(3, '.');
        let mut word = || words.next().ok_or(());
        let direction = match word()? {
            "b" => Direction::Backward,
            "f" => Direction::Forward,
            _ => return Err(()),
        };
        let depth = word()?.parse().map_err(|_| ())?;
        Ok(Self(direction, depth, Uuid::try_parse(word()?).map_err(|_| ())?))
    }
}

impl From<TraceDirection> for Ways {
    fn from(direction: TraceDirection) -> Self {
        match direction {
            TraceDirection::Backward => Self::Backward,
            TraceDirection::Forward => Self::Forward,
            TraceDirection::Both => Self::Both,
        }
    }
}

/// Trace.
#[derive(Default)]
pub struct TraceQuery;

#[Object]
impl TraceQuery {
    /// Follows a lot to the ends of the graph. Null when there is no such lot at the sites where the caller may validate.
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the GraphQL field")]
    async fn trace(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id of the lot.")] lot: ID,
        direction: TraceDirection,
        #[graphql(desc = "Only what had come into being in the world by then.")] as_of: Option<DateTime<Utc>>,
        #[graphql(desc = "Only what had been decided by then.")] as_known_at: Option<DateTime<Utc>>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<Trace>, Error> {
        let scope = Scope::of(ctx);
        let id = global_id::lot("lot", &lot)?;
        let state = &scope.server.state;
        let deadline = Instant::now() + scope.patience(consistency_timeout_ms);
        let seen = consistent_with.as_ref().map(|PositionToken(position)| position.clone()).unwrap_or_default();
        scope.wait(ctx, &[Model::Genealogy, Model::Lots], consistent_with, consistency_timeout_ms).await?;
        let sight = scope.sight()?;
        let start = Lot::load(scope, id).await?.filter(|lot| sight.may_at(Permission::Validate, &lot.0.site));
        let Some(start) = start else { return Ok(None) };
        let moment = Moment { as_of, known_at: as_known_at };
        let asked = Question { start: id, ways: direction.into(), moment, most: MOST_LOTS, seen: &seen };
        let found = state.graph.trace(scope.pool(), &state.progress, scope.tenant(), asked, deadline).await;
        let Some(mut found) = found.or_fail("follow the genealogy")? else { return Ok(None) };
        found.narrow(|site| sight.may_at(Permission::Validate, site));
        Ok(Some(Trace { start, found: Arc::new(found) }))
    }
}

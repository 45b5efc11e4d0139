//! Questions to the graph and what they give.

use std::sync::Arc;

use lotline_domain::position::Position;
use lotline_domain::quantity::Dimension;
use thiserror::Error;
use tokio::task::JoinError;
use uuid::Uuid;

use super::Direction;
use super::amount::Amount;
use super::reach::{Reach, reach};
use super::view::View;

/// Most lots that a question follows each way unless it says otherwise.
pub const MOST_LOTS: usize = 1_000_000;

/// A question was not answered.
#[derive(Debug, Error)]
pub enum TraceError {
    /// PostgreSQL can't be reached or refused.
    #[error("the genealogy could not be read")]
    Database(#[from] sqlx::Error),
    /// The thread that followed the graph has failed.
    #[error("the genealogy could not be followed")]
    Failed(#[from] JoinError),
}

/// Which ways to go from a lot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// To what it was made from.
    Backward,
    /// To what was made from it.
    Forward,
    /// Both.
    Both,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The graph in memory.
    Memory,
    /// The tables, level by level.
    Tables,
}

/// A lot that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracedLot {
    /// Which.
    pub id: Uuid,
    /// Which way.
    pub direction: Direction,
    /// Fewest steps from the start, from 1.
    pub depth: u32,
    /// Forward: how much of the start is in it. Backward: how much of it is in the start. Nothing when a quantity on a way to it is not known.
    pub amount: Option<Amount>,
    /// What the amount measures, in its base unit.
    pub dimension: Dimension,
    /// Whether the graph ends with it.
    pub is_end: bool,
    site: u16,
}

/// How much was found one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Lots that are shown.
    pub lots: usize,
    /// Those of them with which the graph ends: roots backward, leaves forward.
    pub ends: usize,
    /// Most of the smallest numbers of steps.
    pub depth: u32,
    /// Edges on the way, also from and to lots that are not shown.
    pub edges: usize,
}

/// Why an answer is not all there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// So many lots are of sites that the caller may not see. What lies behind them is shown.
    OtherSites(usize),
    /// So many lots are known by an edge only: the read model of lots does not have them.
    UnknownLots(usize),
    /// So many lots were found and not followed further, and there are more.
    Limit(usize),
    /// Of so many lots it can't be said how much.
    UnknownAmounts(usize),
    /// The read models know of more than the graph has taken in.
    Behind,
    /// The read models miss events of these streams.
    Halted(Vec<String>),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Trace {
    /// From where.
    pub start: Uuid,
    /// As of which position of the read models.
    pub position: Position,
    /// Where it comes from.
    pub source: Source,
    /// Every lot once and without the start: backward before forward, by depth, then by id. Lots never change their place in this order, since
    /// edges come with new lots only.
    pub lots: Vec<TracedLot>,
    /// What is missing.
    pub gaps: Vec<Gap>,
    edges: [Option<usize>; 2],
    sites: Arc<Vec<Arc<str>>>,
}

impl Trace {
    /// Follows a view from a lot; nothing when it has no such lot.
    pub(super) fn of(view: &View, start: Uuid, ways: Ways, most: usize, source: Source) -> Option<Self> {
        let from = view.find(start).filter(|number| (*number as usize) < view.lots())?;
        let mut trace = Self {
            start,
            position: view.position.clone(),
            source,
            lots: Vec::new(),
            gaps: Vec::new(),
            edges: [None; 2],
            sites: Arc::clone(&view.sites),
        };
        let mut unknown = usize::from(!view.cell(from).known);
        for direction in ways.directions() {
            let found = reach(view, from, *direction, most);
            trace.edges[*direction as usize] = Some(found.edges);
            unknown += trace.take(view, from, *direction, &found);
            if found.limited {
                trace.gaps.push(Gap::Limit(found.lots.len()));
            }
        }
        if unknown > 0 {
            trace.gaps.push(Gap::UnknownLots(unknown));
        }
        let amounts = trace.lots.iter().filter(|lot| lot.amount.is_none()).count();
        if amounts > 0 {
            trace.gaps.push(Gap::UnknownAmounts(amounts));
        }
        Some(trace)
    }

    /// Leaves out lots of sites that the caller may not see, and says how many.
    pub fn narrow(&mut self, sees: impl Fn(&str) -> bool) {
        let seen: Vec<bool> = self.sites.iter().map(|site| sees(site)).collect();
        let all = self.lots.len();
        self.lots.retain(|lot| seen.get(lot.site as usize) == Some(&true));
        let hidden = all - self.lots.len();
        if hidden > 0 {
            self.gaps.push(Gap::OtherSites(hidden));
        }
    }

    /// The site of one of its lots.
    pub fn site_of(&self, lot: &TracedLot) -> &str {
        self.sites.get(lot.site as usize).map_or("", |site| site)
    }

    /// How much was found one way; nothing when that was not asked.
    pub fn totals(&self, direction: Direction) -> Option<Totals> {
        let edges = self.edges[direction as usize]?;
        let totals = Totals { edges, ..Totals::default() };
        let shown = self.lots.iter().filter(|lot| lot.direction == direction);
        Some(shown.fold(totals, |sum, lot| Totals {
            lots: sum.lots + 1,
            ends: sum.ends + usize::from(lot.is_end),
            depth: sum.depth.max(lot.depth),
            edges,
        }))
    }

    /// Adds what was found one way, in order, and gives how many lots of it nobody knows more of than their id.
    fn take(&mut self, view: &View, from: u32, direction: Direction, found: &Reach) -> usize {
        let start = view.cell(from).dimension;
        let before = self.lots.len();
        for reached in &found.lots {
            let cell = view.cell(reached.number);
            if !cell.known {
                continue;
            }
            let dimension = match direction {
                Direction::Forward => start,
                Direction::Backward => cell.dimension,
            };
            let (depth, amount, is_end) = (reached.depth, reached.amount, reached.is_end);
            let id = view.id(reached.number);
            self.lots.push(TracedLot { id, direction, depth, amount, dimension, is_end, site: cell.site });
        }
        self.lots[before..].sort_unstable_by_key(|lot| (lot.depth, lot.id));
        before + found.lots.len() - self.lots.len()
    }
}

impl Ways {
    fn directions(self) -> &'static [Direction] {
        match self {
            Self::Backward => &[Direction::Backward],
            Self::Forward => &[Direction::Forward],
            Self::Both => &[Direction::Backward, Direction::Forward],
        }
    }

    /// The same one by one.
    pub(super) fn each(self) -> impl Iterator<Item = Direction> {
        self.directions().iter().copied()
    }
}

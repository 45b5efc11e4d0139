//! The genealogy of a tenant in memory: which lot went into which and how much, for questions that follow it to its ends.
//!
//! ```text
//! tables ──COPY──▶ load ──▶ View { base, tail, cells } ◀── Trace: breadth first, then amounts in topological order
//!    └── each commit wakes ──▶ follow ──▶ the next View, which shares all that has not changed
//! ```
//!
//! Lots are dense numbers, `u32`. What a byte pays for, with 1.7 edges to a lot as in the measured plant:
//!
//! | what | bytes | an edge |
//! |---|---|---|
//! | forward edge: child, and the quantity, exact (`amount`) | 12 | 12 |
//! | backward edge: parent, place of the forward edge | 8 | 8 |
//! | where each lot's edges begin, both ways | 8 a lot | 4.7 |
//! | ids by number | 16 a lot | 9.4 |
//! | numbers by id: four bytes a slot, three eighths to three quarters taken (`index`) | 5.3 to 10.7 a lot | 3.1 to 6.3 |
//! | quantity, site, dimension (`cells`) | 16 a lot | 9.4 |
//!
//! So 47 to 50 bytes an edge. `base` never changes; what comes later stands in the `tail`, in pieces of growing size, and is merged into a new base
//! beside the old one when it has grown to an eighth of it. Readers hold a view and wait for nobody; nobody waits for them.
//!
//! The graph follows the read models of genealogy and lots and has a position of its own. It is loaded from one snapshot of both and their
//! positions; every step after it is another. Edges are facts of the log and only added, so a model that falls back after a crash of PostgreSQL
//! changes nothing here. When a rebuild puts another generation in a model's place, the graph is loaded anew beside the old one.
//!
//! Times are not in it: what was so at a time, or known at a time, is answered from the tables (`tables`), as everything is while there is no
//! graph. See `infra/docs/decisions/0020`.

pub use self::amount::Amount;
pub use self::live::{GraphOptions, GraphState, GraphStatus, LiveGraph, Question};
pub(crate) use self::tables::Reading;
pub use self::tables::{Moment, from_tables};
pub use self::trace::{Gap, MOST_LOTS, Source, Totals, Trace, TraceError, TracedLot, Ways};

pub(crate) mod amount;
mod base;
mod cells;
mod copy_out;
mod index;
mod live;
mod load;
mod reach;
mod tables;
mod tail;
mod trace;
pub(crate) mod view;

#[cfg(test)]
mod tests;

/// One way along the edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From a lot to what it was made from.
    Backward,
    /// From a lot to what was made from it.
    Forward,
}

//! Which lots were made from which, for the rules: children as forward stars, appended to only.
//!
//! A lot is a dense number here. Its children are a list through [`Graph::edges`], the newest first: four bytes a lot and eight an edge.

use serde::{Deserialize, Serialize};

const NONE: u32 = u32::MAX;

/// The edges of a site.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Graph {
    /// The newest edge of each lot, or [`NONE`].
    newest: Vec<u32>,
    edges: Vec<Edge>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Edge {
    child: u32,
    /// The edge before it of the same parent, or [`NONE`].
    before: u32,
}

impl Graph {
    /// The next lot.
    pub(super) fn add_lot(&mut self) {
        self.newest.push(NONE);
    }

    /// A lot was made from another.
    pub(super) fn add_edge(&mut self, parent: u32, child: u32) {
        let before = std::mem::replace(&mut self.newest[parent as usize], self.edges.len() as u32);
        self.edges.push(Edge { child, before });
    }

    /// What was made from a lot, the newest first.
    pub(crate) fn children(&self, lot: u32) -> impl Iterator<Item = u32> {
        let edge = |place: u32| self.edges.get(place as usize).copied();
        let first = edge(self.newest[lot as usize]);
        std::iter::successors(first, move |last| edge(last.before)).map(|edge| edge.child)
    }
}

//! What has come since the load, in pieces that never change: each batch is one, and pieces of like size are joined.
//!
//! So a view has about as many pieces as the logarithm of what has come, and taking in a batch copies each edge as often.

use uuid::Uuid;

use super::amount::Packed;
use super::base::Arc32;

/// Some lots, numbered on from `first`, and some edges.
#[derive(Debug)]
pub(super) struct Piece {
    first: u32,
    ids: Vec<Uuid>,
    /// Numbers by id.
    by_id: Vec<u32>,
    /// By parent.
    edges: Vec<Arc32>,
    /// Places in `edges`, by child.
    by_child: Vec<u32>,
}

impl Piece {
    pub(super) fn new(first: u32, ids: Vec<Uuid>, mut edges: Vec<Arc32>) -> Self {
        let mut by_id: Vec<u32> = (first..first + ids.len() as u32).collect();
        by_id.sort_unstable_by_key(|number| ids[(number - first) as usize]);
        edges.sort_unstable_by_key(|edge| (edge.parent, edge.child));
        let mut by_child: Vec<u32> = (0..edges.len() as u32).collect();
        by_child.sort_unstable_by_key(|place| (edges[*place as usize].child, *place));
        Self { first, ids, by_id, edges, by_child }
    }

    /// Both in one; `next` comes right after this.
    pub(super) fn joined(&self, next: &Self) -> Self {
        Self::new(self.first, [&self.ids[..], &next.ids].concat(), [&self.edges[..], &next.edges].concat())
    }

    /// How much it holds.
    pub(super) fn size(&self) -> usize {
        self.ids.len() + self.edges.len()
    }

    pub(super) fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    pub(super) fn edges(&self) -> &[Arc32] {
        &self.edges
    }

    pub(super) fn find(&self, id: Uuid) -> Option<u32> {
        let place = self.by_id.binary_search_by_key(&id, |number| self.ids[(number - self.first) as usize]).ok()?;
        Some(self.by_id[place])
    }

    pub(super) fn id(&self, number: u32) -> Option<Uuid> {
        self.ids.get(number.checked_sub(self.first)? as usize).copied()
    }

    pub(super) fn each_child(&self, lot: u32, mut visit: impl FnMut(u32, Packed)) {
        let from = self.edges.partition_point(|edge| edge.parent < lot);
        for edge in self.edges[from..].iter().take_while(|edge| edge.parent == lot) {
            visit(edge.child, edge.quantity);
        }
    }

    pub(super) fn each_parent(&self, lot: u32, mut visit: impl FnMut(u32, Packed)) {
        let edge = |place: &u32| self.edges[*place as usize];
        let from = self.by_child.partition_point(|place| edge(place).child < lot);
        for edge in self.by_child[from..].iter().map(edge).take_while(|edge| edge.child == lot) {
            visit(edge.parent, edge.quantity);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.ids.capacity() * size_of::<Uuid>()
            + (self.by_id.capacity() + self.by_child.capacity()) * size_of::<u32>()
            + self.edges.capacity() * size_of::<Arc32>()
    }
}

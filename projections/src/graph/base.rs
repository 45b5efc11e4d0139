//! The large part of the graph, which never changes: what was there at the load or has been merged into it.
//!
//! Compressed sparse rows, both ways:
//!
//! ```text
//! forward:   from[lot] .. from[lot + 1]  →  child, u32 | quantity, 8 bytes      an edge: 12 bytes
//! backward:  from[lot] .. from[lot + 1]  →  parent, u32 | place of the forward edge, u32        8 bytes
//! ```

use uuid::Uuid;

use super::amount::Packed;
use super::index::Index;

/// An amount of `parent` that became part of `child`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arc32 {
    pub(super) parent: u32,
    pub(super) child: u32,
    pub(super) quantity: Packed,
}

/// Lots and edges that do not change any more.
#[derive(Debug, Default)]
pub(super) struct Base {
    ids: Vec<Uuid>,
    index: Index,
    children_from: Vec<u32>,
    children: Vec<u32>,
    quantities: Vec<Packed>,
    parents_from: Vec<u32>,
    parents: Vec<(u32, u32)>,
}

impl Base {
    /// Of ids by number, their index, and edges in any order.
    pub(super) fn new(mut ids: Vec<Uuid>, index: Index, edges: Vec<Arc32>) -> Self {
        ids.shrink_to_fit();
        let (lots, count) = (ids.len(), edges.len());
        let children_from = starts(lots, edges.iter().map(|edge| edge.parent));
        let mut next = children_from.clone();
        let (mut children, mut quantities) = (vec![0; count], vec![Packed::NONE; count]);
        for edge in edges {
            let place = take(&mut next, edge.parent);
            children[place] = edge.child;
            quantities[place] = edge.quantity;
        }
        drop(next);
        let (parents_from, parents) = turned(lots, &children_from, &children);
        Self { ids, index, children_from, children, quantities, parents_from, parents }
    }

    /// This with more lots and edges.
    pub(super) fn with(&self, ids: &[Uuid], edges: &[Arc32]) -> Self {
        let mut all = Vec::with_capacity(self.ids.len() + ids.len());
        all.extend_from_slice(&self.ids);
        let mut index = self.index.clone();
        for id in ids {
            all.push(*id);
            index.add(&all, (all.len() - 1) as u32);
        }
        let mut more: Vec<Arc32> = Vec::with_capacity(self.children.len() + edges.len());
        for parent in 0..self.ids.len() as u32 {
            let row = self.row(parent);
            let pairs = self.children[row.clone()].iter().zip(&self.quantities[row]);
            more.extend(pairs.map(|(child, quantity)| Arc32 { parent, child: *child, quantity: *quantity }));
        }
        more.extend_from_slice(edges);
        Self::new(all, index, more)
    }

    pub(super) fn lots(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn edges(&self) -> usize {
        self.children.len()
    }

    pub(super) fn find(&self, id: Uuid) -> Option<u32> {
        self.index.find(&self.ids, id)
    }

    pub(super) fn id(&self, number: u32) -> Option<Uuid> {
        self.ids.get(number as usize).copied()
    }

    pub(super) fn each_child(&self, lot: u32, mut visit: impl FnMut(u32, Packed)) {
        for place in self.row(lot) {
            visit(self.children[place], self.quantities[place]);
        }
    }

    pub(super) fn each_parent(&self, lot: u32, mut visit: impl FnMut(u32, Packed)) {
        for (parent, edge) in &self.parents[range(&self.parents_from, lot)] {
            visit(*parent, self.quantities[*edge as usize]);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let words = self.children_from.capacity() + self.children.capacity() + self.parents_from.capacity();
        self.index.bytes()
            + self.ids.capacity() * size_of::<Uuid>()
            + words * size_of::<u32>()
            + self.quantities.capacity() * size_of::<Packed>()
            + self.parents.capacity() * size_of::<(u32, u32)>()
    }

    fn row(&self, lot: u32) -> std::ops::Range<usize> {
        range(&self.children_from, lot)
    }
}

/// The edges by child: for each, the parent and its place.
fn turned(lots: usize, children_from: &[u32], children: &[u32]) -> (Vec<u32>, Vec<(u32, u32)>) {
    let parents_from = starts(lots, children.iter().copied());
    let mut next = parents_from.clone();
    let mut parents = vec![(0, 0); children.len()];
    for parent in 0..lots as u32 {
        for edge in range(children_from, parent) {
            parents[take(&mut next, children[edge])] = (parent, edge as u32);
        }
    }
    (parents_from, parents)
}

/// Where each lot's row begins, and at the end where the last one ends.
fn starts(lots: usize, of: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut from = vec![0_u32; lots + 1];
    for lot in of {
        from[lot as usize + 1] += 1;
    }
    for lot in 0..lots {
        from[lot + 1] += from[lot];
    }
    from
}

fn take(next: &mut [u32], lot: u32) -> usize {
    let place = next[lot as usize];
    next[lot as usize] += 1;
    place as usize
}

/// A lot that is not in the base has an empty row.
fn range(from: &[u32], lot: u32) -> std::ops::Range<usize> {
    let end = from.get(lot as usize + 1).copied();
    end.map_or(0..0, |end| from[lot as usize] as usize..end as usize)
}

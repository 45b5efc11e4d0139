//! The graph at one position. Readers hold a view as long as they like; the next one shares with it all that has not changed.

use std::collections::HashMap;
use std::sync::Arc;

use lotline_domain::position::Position;
use lotline_domain::quantity::Dimension;
use uuid::Uuid;

use super::Direction;
use super::amount::{Aside, Packed, Scaled};
use super::base::{Arc32, Base};
use super::cells::{Cell, Cells};
use super::tail::Piece;

/// What a table says of a lot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LotFact {
    pub(crate) id: Uuid,
    pub(crate) site: String,
    /// In the base unit; nothing when it can't be read as a positive number.
    pub(crate) quantity: Option<Scaled>,
    pub(crate) dimension: Dimension,
}

/// What a table says of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EdgeFact {
    pub(crate) child: Uuid,
    pub(crate) parent: Uuid,
    /// Of the parent, in the base unit.
    pub(crate) quantity: Option<Scaled>,
}

/// Which generations of the two models a view is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Generations {
    pub(crate) lots: i32,
    pub(crate) genealogy: i32,
}

/// The graph at one position.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(super) base: Arc<Base>,
    pub(super) tail: Vec<Arc<Piece>>,
    pub(super) cells: Cells,
    pub(super) sites: Arc<Vec<Arc<str>>>,
    pub(super) aside: Arc<Aside>,
    /// Invariant: every lot and edge of the read models before it is in the view.
    pub(crate) position: Position,
    pub(crate) generations: Generations,
}

impl View {
    /// Of nothing but these facts.
    pub(crate) fn of(lots: &[LotFact], edges: &[EdgeFact]) -> Self {
        Self::default().grown(lots, edges)
    }

    pub(crate) fn find(&self, id: Uuid) -> Option<u32> {
        self.base.find(id).or_else(|| self.tail.iter().find_map(|piece| piece.find(id)))
    }

    /// The id of a number that this view has.
    pub(super) fn id(&self, number: u32) -> Uuid {
        let found = self.base.id(number).or_else(|| self.tail.iter().find_map(|piece| piece.id(number)));
        found.expect("invariant: a view gives out numbers of its own only")
    }

    pub(super) fn cell(&self, number: u32) -> Cell {
        self.cells.get(number)
    }

    pub(super) fn quantity(&self, packed: Packed) -> Option<Scaled> {
        packed.read(&self.aside)
    }

    /// Visits the next lots along a direction, each with the quantity of the parent that went into the child.
    pub(super) fn each(&self, lot: u32, direction: Direction, mut visit: impl FnMut(u32, Packed)) {
        match direction {
            Direction::Forward => {
                self.base.each_child(lot, &mut visit);
                self.tail.iter().for_each(|piece| piece.each_child(lot, &mut visit));
            }
            Direction::Backward => {
                self.base.each_parent(lot, &mut visit);
                self.tail.iter().for_each(|piece| piece.each_parent(lot, &mut visit));
            }
        }
    }

    pub(crate) fn lots(&self) -> usize {
        self.cells.len()
    }

    pub(crate) fn edges(&self) -> usize {
        self.base.edges() + self.tail.iter().map(|piece| piece.edges().len()).sum::<usize>()
    }

    /// Lots and edges that are not in the base.
    pub(crate) fn tail_size(&self) -> usize {
        self.tail.iter().map(|piece| piece.size()).sum()
    }

    /// What it takes in memory, other than lists that hold a few entries.
    pub(crate) fn bytes(&self) -> usize {
        let tail: usize = self.tail.iter().map(|piece| piece.bytes()).sum();
        self.base.bytes() + tail + self.cells.bytes() + self.aside.bytes()
    }

    /// This with more. A lot that is known is overwritten; an edge must be new.
    pub(crate) fn grown(&self, lots: &[LotFact], edges: &[EdgeFact]) -> Self {
        let mut next = self.clone();
        let mut newcomers =
            Newcomers { view: self, first: self.lots() as u32, ids: Vec::new(), numbers: HashMap::new() };
        let named: Vec<u32> = lots.iter().map(|lot| newcomers.number(lot.id)).collect();
        let aside = Arc::make_mut(&mut next.aside);
        let arcs = edges.iter().map(|edge| {
            let (parent, child) = (newcomers.number(edge.parent), newcomers.number(edge.child));
            Arc32 { parent, child, quantity: Packed::new(edge.quantity, aside) }
        });
        let arcs: Vec<Arc32> = arcs.collect();
        let (first, ids) = (newcomers.first, newcomers.ids);
        next.cells.grow_to(first as usize + ids.len());
        for (number, lot) in named.into_iter().zip(lots) {
            next.note(number, lot);
        }
        if !ids.is_empty() || !arcs.is_empty() {
            next.tail.push(Arc::new(Piece::new(first, ids, arcs)));
        }
        next
    }

    fn note(&mut self, number: u32, lot: &LotFact) {
        let before = self.cells.get(number);
        // Packed anew only when it is another one, so that nothing is put aside twice.
        let quantity = if before.known && self.quantity(before.quantity) == lot.quantity {
            before.quantity
        } else {
            Packed::new(lot.quantity, Arc::make_mut(&mut self.aside))
        };
        let site = site_number(&mut self.sites, &lot.site);
        self.cells.set(number, Cell { quantity, site, dimension: lot.dimension, known: true });
    }
}

/// The place of a site in the list, which grows when it is new. Sites beyond the 65,535th are taken for one that nobody knows.
pub(super) fn site_number(sites: &mut Arc<Vec<Arc<str>>>, site: &str) -> u16 {
    let place = sites.iter().position(|known| **known == *site).unwrap_or_else(|| {
        Arc::make_mut(sites).push(site.into());
        sites.len() - 1
    });
    u16::try_from(place).unwrap_or(u16::MAX)
}

/// Gives numbers to lots that a view does not have.
struct Newcomers<'a> {
    view: &'a View,
    first: u32,
    ids: Vec<Uuid>,
    numbers: HashMap<Uuid, u32>,
}

impl Newcomers<'_> {
    fn number(&mut self, id: Uuid) -> u32 {
        if let Some(known) = self.numbers.get(&id).copied().or_else(|| self.view.find(id)) {
            return known;
        }
        let number = self.first + self.ids.len() as u32;
        self.ids.push(id);
        self.numbers.insert(id, number);
        number
    }
}

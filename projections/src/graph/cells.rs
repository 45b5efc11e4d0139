//! What the graph knows of each lot, by number.

use std::sync::Arc;

use lotline_domain::quantity::Dimension;

use super::amount::Packed;

/// Lots whose facts are copied together when one of them changes.
const CHUNK: usize = 4_096;

/// A lot, in sixteen bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    /// How much there was, in the base unit of its dimension.
    pub(super) quantity: Packed,
    /// Place in the list of sites.
    pub(super) site: u16,
    /// What its quantity measures.
    pub(super) dimension: Dimension,
    /// Whether the table of lots has been seen to have it. Else only an edge has named it, and the rest says nothing.
    pub(super) known: bool,
}

/// All lots, in chunks that views share until one changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Cells {
    chunks: Vec<Arc<Vec<Cell>>>,
    len: usize,
}

impl Cell {
    /// A lot that only an edge has named.
    pub(super) const UNKNOWN: Self =
        Self { quantity: Packed::NONE, site: u16::MAX, dimension: Dimension::Mass, known: false };
}

impl Cells {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, number: u32) -> Cell {
        self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }

    /// Makes room up to so many lots, of which nothing is known yet.
    pub(super) fn grow_to(&mut self, len: usize) {
        while self.len < len {
            if self.len.is_multiple_of(CHUNK) {
                self.chunks.push(Arc::new(Vec::with_capacity(CHUNK)));
            }
            let last = self.chunks.last_mut().expect("invariant: a chunk was just made or has room");
            let room = (CHUNK - self.len % CHUNK).min(len - self.len);
            let chunk = Arc::make_mut(last);
            // A clone has no more capacity than it has lots.
            chunk.reserve_exact(CHUNK - chunk.len());
            chunk.extend(std::iter::repeat_n(Cell::UNKNOWN, room));
            self.len += room;
        }
    }

    /// Notes what is known of a lot. One that has not changed is not copied.
    pub(super) fn set(&mut self, number: u32, cell: Cell) {
        let (chunk, place) = (number as usize / CHUNK, number as usize % CHUNK);
        if self.chunks[chunk][place] != cell {
            Arc::make_mut(&mut self.chunks[chunk])[place] = cell;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<Cell>()).sum();
        chunks + self.chunks.capacity() * size_of::<Arc<Vec<Cell>>>()
    }
}

//! Joins the addresses of many signals into few requests.
//!
//! Reading a few unused registers costs less than another round trip, so neighbours share a request when the gap between them is
//! small. One sort and one pass: O(n log n), however the addresses lie.
//!
//! Invariants: every span lies whole within exactly one block · a block is no longer than the device's limit, unless a single span
//! is · no block joins units, tables, or spans on two sides of a fence.

use std::collections::BTreeSet;
use std::ops::Range;

use lotline_domain::signal::ModbusTable;

use super::{Request, holds_bits};

/// Most registers of one read (V1.1b3 sections 6.3 and 6.4).
pub const MAX_REGISTERS: u16 = 125;
/// Most bits of one read (V1.1b3 sections 6.1 and 6.2).
pub const MAX_BITS: u16 = 2_000;

/// Addresses of one signal. The order of the fields is the order of planning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Unit id.
    pub unit: u8,
    /// Address space.
    pub table: ModbusTable,
    /// First address.
    pub start: u16,
    /// Registers or bits. `start + len` is at most 65,536.
    pub len: u16,
}

impl Span {
    /// The address after the last one; wider than an address, because that may be 65,536.
    pub fn end(self) -> u32 {
        u32::from(self.start) + u32::from(self.len)
    }
}

/// What a device takes in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most registers of one request.
    pub max_registers: u16,
    /// Most bits of one request.
    pub max_bits: u16,
    /// Unused registers, or bits, that may be read along to save a request.
    pub max_gap: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_registers: MAX_REGISTERS, max_bits: MAX_BITS, max_gap: 16 }
    }
}

/// A request and the spans it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What to ask for.
    pub request: Request,
    /// The spans served, as places in the sorted list.
    pub spans: Range<usize>,
}

/// What a device has taught us by its refusals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Learned {
    /// Spans that the device refuses even alone; no block covers them on purpose or in passing.
    pub bad: BTreeSet<usize>,
    /// Spans before which a request must end: joined with what lies before them they were refused, apart they were not.
    pub fences: BTreeSet<usize>,
}

/// Plans the reading of `spans`, which must be sorted.
pub fn plan(spans: &[Span], limits: Limits, learned: &Learned) -> Vec<Block> {
    debug_assert!(spans.is_sorted(), "invariant: spans are sorted");
    let mut blocks: Vec<Block> = Vec::new();
    let mut fenced = true;
    for (place, span) in spans.iter().enumerate() {
        if learned.bad.contains(&place) {
            fenced = true;
            continue;
        }
        fenced |= learned.fences.contains(&place);
        let last = blocks.last_mut().filter(|_| !fenced);
        match last.and_then(|block| joined(block, *span, limits).map(|count| (block, count))) {
            Some((block, count)) => {
                block.request.count = count;
                block.spans.end = place + 1;
            }
            None => blocks.push(Block { request: request_of(*span), spans: place..place + 1 }),
        }
        fenced = false;
    }
    blocks
}

/// The smallest request that covers all of `spans`, which must share unit and table and not be empty.
pub fn cover(spans: &[Span]) -> Request {
    let mut request = request_of(spans[0]);
    let end = spans.iter().copied().map(Span::end).max().expect("invariant: a block serves at least one span");
    request.count = (end - u32::from(request.start)) as u16;
    request
}

fn request_of(span: Span) -> Request {
    Request { unit: span.unit, table: span.table, start: span.start, count: span.len }
}

/// The length of the block once it serves the span too, if it may.
fn joined(block: &Block, span: Span, limits: Limits) -> Option<u16> {
    let request = &block.request;
    if (request.unit, request.table) != (span.unit, span.table) {
        return None;
    }
    let start = u32::from(request.start);
    let end = start + u32::from(request.count);
    let gap = u32::from(span.start).saturating_sub(end);
    let count = end.max(span.end()) - start;
    let max = if holds_bits(span.table) { limits.max_bits } else { limits.max_registers };
    (gap <= u32::from(limits.max_gap) && count <= u32::from(max)).then_some(count as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registers(start: u16, len: u16) -> Span {
        Span { unit: 1, table: ModbusTable::HoldingRegisters, start, len }
    }

    fn any_span() -> impl Strategy<Value = Span> {
        let table = prop_oneof![Just(ModbusTable::Coils), Just(ModbusTable::HoldingRegisters)];
        (1..4_u8, table, prop_oneof![0..300_u16, 65_400..65_532_u16], 1..5_u16)
            .prop_map(|(unit, table, start, len)| Span { unit, table, start, len })
    }

    #[test]
    fn neighbours_share_a_request_and_strangers_do_not() {
        let spans = [registers(0, 2), registers(2, 2), registers(20, 1), registers(38, 4)];
        let blocks = plan(&spans, Limits::default(), &Learned::default());
        // 4..20 is a gap of 16, just allowed; 21..38 is one of 17, just not.
        let requests: Vec<_> = blocks.iter().map(|block| (block.request.start, block.request.count)).collect();
        assert_eq!(requests, [(0, 21), (38, 4)]);
    }

    #[test]
    fn the_last_address_and_the_largest_request_fit_exactly() {
        let spans: Vec<Span> = (0..126).map(|at| registers(65_410 + at, 1)).collect();
        let blocks = plan(&spans, Limits::default(), &Learned::default());
        let requests: Vec<_> = blocks.iter().map(|block| (block.request.start, block.request.count)).collect();
        assert_eq!(requests, [(65_410, 125), (65_535, 1)]);
    }

    proptest! {
        #[test]
        fn every_span_is_served_once_within_the_limits(
            mut spans in prop::collection::vec(any_span(), 0..200),
            max_gap in 0..40_u16,
            max in 4..130_u16,
            bad in prop::collection::btree_set(0..200_usize, 0..5),
            fences in prop::collection::btree_set(0..200_usize, 0..5),
        ) {
            spans.sort_unstable();
            let limits = Limits { max_registers: max, max_bits: max, max_gap };
            let learned = Learned { bad, fences };
            let mut served = vec![0; spans.len()];
            for block in plan(&spans, limits, &learned) {
                prop_assert!(block.request.count <= max);
                prop_assert_eq!(block.request, cover(&spans[block.spans.clone()]));
                for place in block.spans.clone() {
                    prop_assert!(place == block.spans.start || !learned.fences.contains(&place));
                    let (span, request) = (&spans[place], &block.request);
                    prop_assert_eq!((span.unit, span.table), (request.unit, request.table));
                    prop_assert!(span.start >= request.start);
                    prop_assert!(span.end() <= u32::from(request.start) + u32::from(request.count));
                    served[place] += 1;
                }
            }
            for (place, times) in served.into_iter().enumerate() {
                prop_assert_eq!(times, usize::from(!learned.bad.contains(&place)));
            }
        }

        #[test]
        fn no_two_neighbouring_blocks_could_have_been_one(mut spans in prop::collection::vec(any_span(), 1..100)) {
            spans.sort_unstable();
            let limits = Limits::default();
            let blocks = plan(&spans, limits, &Learned::default());
            for pair in blocks.windows(2) {
                prop_assert_eq!(joined(&pair[0], spans[pair[1].spans.start], limits), None);
            }
        }
    }
}

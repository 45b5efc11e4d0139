//! The lots that can be reached from one, with the smallest number of steps to each, and how much of one is in the other.
//!
//! Breadth first, so each lot and each edge is visited once. Amounts then go along the same edges in topological order: what leaves a lot
//! towards the next is `amount × quantity / quantity of the lot it leaves`. Forward that is how much of the start is in the next lot. Backward
//! the same formula gives how much of the next lot is in the start: the share of `x` that is in the start, times what `x` took of its parent.

use super::Direction;
use super::amount::{Amount, Packed};
use super::view::View;

const FREE: u32 = u32::MAX;
const SMALLEST: usize = 64;

/// A lot on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) number: u32,
    /// Fewest steps.
    pub(super) depth: u32,
    /// Nothing when a quantity on a way to it is not known.
    pub(super) amount: Option<Amount>,
    /// Whether nothing follows.
    pub(super) is_end: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reach {
    /// Without the start, by depth.
    pub(super) lots: Vec<Reached>,
    /// Edges on the way.
    pub(super) edges: usize,
    /// Whether there are more than asked for. Then no amount is known: ways over the others are missing.
    pub(super) limited: bool,
}

/// Follows the graph from a lot, to at most so many others.
pub(super) fn reach(view: &View, start: u32, direction: Direction, most: usize) -> Reach {
    let mut walk = Walk::from(start);
    let limited = walk.run(view, direction, most);
    let amounts = if limited { vec![None; walk.lots.len()] } else { walk.amounts(view) };
    let depths = walk.depths.iter().zip(amounts);
    let lots = walk.lots.iter().zip(depths).enumerate().skip(1).map(|(place, (number, (depth, amount)))| Reached {
        number: *number,
        depth: *depth,
        amount,
        is_end: walk.row(place).is_empty() && !limited,
    });
    Reach { lots: lots.collect(), edges: walk.steps.len(), limited }
}

/// One edge of the walk.
struct Step {
    to: u32,
    quantity: Packed,
}

/// Lots by the order in which they were found; steps by where they begin.
struct Walk {
    lots: Vec<u32>,
    depths: Vec<u32>,
    /// How many steps lead to each.
    arriving: Vec<u32>,
    steps: Vec<Step>,
    /// Where the steps of each end.
    ends: Vec<usize>,
    places: Places,
}

impl Walk {
    fn from(start: u32) -> Self {
        let mut places = Places::default();
        places.put(start, 0);
        Self { lots: vec![start], depths: vec![0], arriving: vec![0], steps: Vec::new(), ends: Vec::new(), places }
    }

    /// Gives whether the limit was met.
    fn run(&mut self, view: &View, direction: Direction, most: usize) -> bool {
        let (mut at, mut limited) = (0, false);
        while at < self.lots.len() {
            let depth = self.depths[at] + 1;
            view.each(self.lots[at], direction, |next, quantity| {
                let to = match self.places.get(next) {
                    Some(place) => place,
                    None if self.lots.len() > most => {
                        limited = true;
                        return;
                    }
                    None => self.found(next, depth),
                };
                self.arriving[to as usize] += 1;
                self.steps.push(Step { to, quantity });
            });
            self.ends.push(self.steps.len());
            at += 1;
        }
        limited
    }

    fn found(&mut self, lot: u32, depth: u32) -> u32 {
        let place = self.lots.len() as u32;
        self.places.put(lot, place);
        self.lots.push(lot);
        self.depths.push(depth);
        self.arriving.push(0);
        place
    }

    fn row(&self, place: usize) -> &[Step] {
        let from = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.steps[from..self.ends[place]]
    }

    /// What arrives at each lot. A lot on a cycle, which the plant's rules exclude, waits for ever, and its amount is not known.
    fn amounts(&mut self, view: &View) -> Vec<Option<Amount>> {
        let mut waiting = std::mem::take(&mut self.arriving);
        let mut amounts = vec![Some(Amount::default()); self.lots.len()];
        let mut settled = vec![None; self.lots.len()];
        amounts[0] = view.quantity(view.cell(self.lots[0]).quantity).and_then(Amount::whole);
        let mut ready = if waiting[0] == 0 { vec![0_usize] } else { Vec::new() };
        while let Some(place) = ready.pop() {
            let amount = amounts[place];
            settled[place] = amount;
            let whole = view.quantity(view.cell(self.lots[place]).quantity);
            for step in self.row(place) {
                let to = step.to as usize;
                let part = view.quantity(step.quantity);
                let share = amount.zip(part).zip(whole).and_then(|((amount, part), whole)| amount.share(part, whole));
                amounts[to] = amounts[to].zip(share).and_then(|(sum, share)| sum.plus(share));
                waiting[to] -= 1;
                if waiting[to] == 0 {
                    ready.push(to);
                }
            }
        }
        settled
    }
}

/// From a lot's number to its place in the walk: open addressing, at most half full.
#[derive(Default)]
struct Places {
    slots: Vec<(u32, u32)>,
    taken: usize,
}

impl Places {
    fn get(&self, lot: u32) -> Option<u32> {
        let mut slot = self.home(lot)?;
        loop {
            match self.slots[slot] {
                (FREE, _) => return None,
                (known, place) if known == lot => return Some(place),
                _ => slot = (slot + 1) & (self.slots.len() - 1),
            }
        }
    }

    fn put(&mut self, lot: u32, place: u32) {
        if (self.taken + 1) * 2 > self.slots.len() {
            let wanted = (self.slots.len() * 4).max(SMALLEST);
            let old = std::mem::replace(&mut self.slots, vec![(FREE, 0); wanted]);
            old.into_iter().filter(|(lot, _)| *lot != FREE).for_each(|(lot, place)| self.set(lot, place));
        }
        self.taken += 1;
        self.set(lot, place);
    }

    fn set(&mut self, lot: u32, place: u32) {
        let mut slot = self.home(lot).expect("invariant: there are slots when a lot is put");
        while self.slots[slot].0 != FREE {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.slots[slot] = (lot, place);
    }

    fn home(&self, lot: u32) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        Some((lot.wrapping_mul(0x9e37_79b1) >> 7) as usize & mask)
    }
}

//! From a lot's id to its number.

use uuid::Uuid;

const EMPTY: u32 = u32::MAX;
const SMALLEST: usize = 16;
/// Look-ups that are begun before the first is finished: their cache misses then overlap instead of waiting for each other.
const AT_ONCE: usize = 32;

/// A hash table with open addressing whose slots hold numbers only, four bytes each: the ids stand in the caller's array, by number, once.
/// At most three quarters of the slots are taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    slots: Vec<u32>,
    taken: usize,
}

impl Index {
    /// The number of an id among `ids`.
    pub(super) fn find(&self, ids: &[Uuid], id: Uuid) -> Option<u32> {
        let mut slot = self.home(id)?;
        loop {
            match self.slots[slot] {
                EMPTY => return None,
                number if ids[number as usize] == id => return Some(number),
                _ => slot = (slot + 1) & (self.slots.len() - 1),
            }
        }
    }

    /// The number of an id, which becomes the next one when it has none: then it is added to `ids`.
    pub(super) fn number(&mut self, ids: &mut Vec<Uuid>, id: Uuid) -> u32 {
        if let Some(known) = self.find(ids, id) {
            return known;
        }
        let number = ids.len() as u32;
        ids.push(id);
        self.add(ids, number);
        number
    }

    /// The numbers of many ids, in their order.
    pub(super) fn numbers(&mut self, ids: &mut Vec<Uuid>, asked: &[Uuid], found: &mut Vec<u32>) {
        found.clear();
        for group in asked.chunks(AT_ONCE) {
            let mut guesses = [EMPTY; AT_ONCE];
            for (guess, id) in guesses.iter_mut().zip(group) {
                *guess = self.home(*id).map_or(EMPTY, |slot| self.slots[slot]);
            }
            let mut right = [false; AT_ONCE];
            for ((right, guess), id) in right.iter_mut().zip(guesses).zip(group) {
                *right = ids.get(guess as usize) == Some(id);
            }
            for ((right, guess), id) in right.into_iter().zip(guesses).zip(group) {
                found.push(if right { guess } else { self.number(ids, *id) });
            }
        }
    }

    /// Adds the id of a number, which is not there yet.
    pub(super) fn add(&mut self, ids: &[Uuid], number: u32) {
        if (self.taken + 1) * 4 > self.slots.len() * 3 {
            self.grow(ids);
        }
        self.place(ids, number);
        self.taken += 1;
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }

    fn grow(&mut self, ids: &[Uuid]) {
        let wanted = (self.slots.len() * 2).max(SMALLEST);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; wanted]);
        for number in old.into_iter().filter(|number| *number != EMPTY) {
            self.place(ids, number);
        }
    }

    fn place(&mut self, ids: &[Uuid], number: u32) {
        let mut slot = self.home(ids[number as usize]).expect("invariant: a table that takes a number has slots");
        while self.slots[slot] != EMPTY {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.slots[slot] = number;
    }

    fn home(&self, id: Uuid) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let (high, low) = id.as_u64_pair();
        // Fibonacci hashing: the product's high bits depend on all bits of the id.
        let hash = (high.rotate_left(32) ^ low).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Some((hash >> 32) as usize & mask)
    }
}

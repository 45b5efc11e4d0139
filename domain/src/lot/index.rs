//! Where lots stand in the list of all of them, by id and by code: five bytes a name, because the names themselves stand in the list.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::Lot;
use crate::id::LotId;

/// Numbers of lots by name. What it says follows from the list, so any two are equal.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    hasher: RandomState,
    ids: HashTable<u32>,
    codes: HashTable<u32>,
}

impl PartialEq for Index {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Index {}

impl Index {
    /// That of a list.
    pub(super) fn of(lots: &[Lot]) -> Self {
        let mut index = Self::default();
        index.ids.reserve(lots.len(), |_| 0);
        index.codes.reserve(lots.len(), |_| 0);
        (0..lots.len() as u32).for_each(|number| index.insert(lots, number));
        index
    }

    pub(super) fn by_id(&self, lots: &[Lot], id: LotId) -> Option<u32> {
        self.ids.find(self.hasher.hash_one(id), |number| lots[*number as usize].id == id).copied()
    }

    pub(super) fn by_code(&self, lots: &[Lot], code: &str) -> Option<u32> {
        self.codes.find(self.hasher.hash_one(code), |number| lots[*number as usize].code == code).copied()
    }

    /// A lot of the list, with names that it has not.
    pub(super) fn insert(&mut self, lots: &[Lot], number: u32) {
        let (hasher, lot) = (&self.hasher, &lots[number as usize]);
        let id = |number: &u32| hasher.hash_one(lots[*number as usize].id);
        self.ids.insert_unique(hasher.hash_one(lot.id), number, id);
        let code = |number: &u32| hasher.hash_one(lots[*number as usize].code.as_str());
        self.codes.insert_unique(hasher.hash_one(lot.code.as_str()), number, code);
    }
}

//! How many of something each of many has open, such as connections of an address. Keeps nothing of those who have none.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The numbers.
pub(crate) struct Tally<K>(Arc<Mutex<HashMap<K, usize>>>);

/// One more, until dropped.
pub struct Entered<K: Eq + Hash> {
    tally: Tally<K>,
    key: K,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K> Tally<K> {
    fn numbers(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        // Numbers are changed whole, so they are good even after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> Tally<K> {
    /// Counts one more, unless there are `most` already.
    pub(crate) fn enter(&self, key: K, most: usize) -> Option<Entered<K>> {
        let mut numbers = self.numbers();
        let open = numbers.get(&key).copied().unwrap_or(0);
        if open >= most {
            return None;
        }
        numbers.insert(key.clone(), open + 1);
        drop(numbers);
        Some(Entered { tally: Self(Arc::clone(&self.0)), key })
    }
}

impl<K: Eq + Hash> Drop for Entered<K> {
    fn drop(&mut self) {
        let mut numbers = self.tally.numbers();
        if let Some(open) = numbers.get_mut(&self.key) {
            *open -= 1;
            if *open == 0 {
                numbers.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_leaves_makes_room_and_is_forgotten() {
        let tally = Tally::default();
        let first = tally.enter("a", 2).unwrap();
        let second = tally.enter("a", 2).unwrap();
        assert!(tally.enter("a", 2).is_none() && tally.enter("b", 2).is_some());
        drop(first);
        let third = tally.enter("a", 2).unwrap();
        assert_eq!(tally.numbers().len(), 1);
        drop((second, third));
        assert!(tally.numbers().is_empty());
    }
}

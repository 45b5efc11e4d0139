//! A bounded map that forgets what was not used for longest, roughly: two halves, of which the older is dropped when the younger is full.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// Holds at most twice `half` entries, and all of the last `half` that were put in or found.
pub(super) struct Recent<K, V> {
    half: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash + Clone, V> Recent<K, V> {
    pub(super) fn new(half: usize) -> Self {
        Self { half, young: HashMap::new(), old: HashMap::new() }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.put(key, value);
        }
        self.young.get_mut(key)
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        self.young.retain(|_, value| keep(value));
        self.old.retain(|_, value| keep(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_bounded_and_keeps_what_is_used() {
        let mut recent = Recent::new(10);
        recent.put(0, "used");
        for key in 1..1_000 {
            recent.put(key, "once");
            assert!(recent.young.len() + recent.old.len() <= 20);
            assert_eq!(recent.get(&0).map(|value| *value), Some("used"), "after {key}");
        }
        assert!(recent.get(&500).is_none());
        assert!(recent.get(&999).is_some());
    }

    #[test]
    fn what_is_dropped_is_gone_from_both_halves() {
        let mut recent = Recent::new(2);
        for key in 0..4 {
            recent.put(key, key);
        }
        recent.retain(|value| *value != 0 && *value != 3);
        let left: Vec<_> = (0..4).filter(|key| recent.get(key).is_some()).collect();
        assert_eq!(left, [1, 2]);
    }
}

//! A set of sequence numbers that is dense but for a few gaps.
//!
//! A plain high-water mark would not do: after an outage a collector sends live batches first and its backlog later.

use std::collections::BTreeMap;

/// Closed intervals by their start. Invariant: between two intervals at least one number is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IntervalSet(BTreeMap<i64, i64>);

impl IntervalSet {
    /// From the columns that [`IntervalSet::columns`] gave.
    pub(super) fn resume(starts: &[i64], ends: &[i64]) -> Self {
        Self(starts.iter().copied().zip(ends.iter().copied()).collect())
    }

    /// Starts and ends, in order.
    pub(super) fn columns(&self) -> (Vec<i64>, Vec<i64>) {
        self.0.iter().map(|(start, end)| (*start, *end)).unzip()
    }

    /// Adds a number; `false` when it was there.
    pub(super) fn insert(&mut self, number: i64) -> bool {
        let before = self.0.range(..=number).next_back().map(|(start, end)| (*start, *end));
        if before.is_some_and(|(_, end)| number <= end) {
            return false;
        }
        let start = match before {
            Some((start, end)) if end.checked_add(1) == Some(number) => start,
            Some(_) | None => number,
        };
        let joined = number.checked_add(1).and_then(|next| self.0.remove(&next));
        self.0.insert(start, joined.unwrap_or(number));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn gaps_fill_and_join() {
        let mut set = IntervalSet::default();
        for number in [1, 2, 5, 7, 6] {
            assert!(set.insert(number), "{number}");
        }
        assert_eq!(set.columns(), (vec![1, 5], vec![2, 7]));
        assert!(!set.insert(6));
        assert!(set.insert(4) && set.insert(3));
        assert_eq!(set.columns(), (vec![1], vec![7]));
        assert!(set.insert(i64::MAX) && !set.insert(i64::MAX));
        let (starts, ends) = set.columns();
        assert_eq!(IntervalSet::resume(&starts, &ends), set);
    }

    #[test]
    fn agrees_with_a_plain_set() {
        let (mut set, mut plain, mut random) = (IntervalSet::default(), BTreeSet::new(), 7_u64);
        for _ in 0..5_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = (random >> 54) as i64;
            assert_eq!(set.insert(number), plain.insert(number));
        }
        let (starts, ends) = set.columns();
        let spelled: BTreeSet<i64> = starts.iter().zip(&ends).flat_map(|(start, end)| *start..=*end).collect();
        assert_eq!(spelled, plain);
        assert!(starts.iter().skip(1).zip(&ends).all(|(start, end)| end + 1 < *start));
    }
}

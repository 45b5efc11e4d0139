//! How far one has seen: a vector of next offsets over partitions.
//!
//! A mutation returns one, a query waits for one, a subscription goes on from one.
//! Text form: `l<partition>.<offset>` for the ledger and `s<partition>.<offset>` for signals, joined by `_`, in order.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::record::Offset;

/// Which topic of the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicKind {
    /// Decided events.
    Ledger,
    /// Signal batches.
    Signals,
}

/// Everything before these offsets has been seen. A partition that is not named has not been looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Position(BTreeMap<(TopicKind, u32), Offset>);

/// A text that is no position.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
#[error("the position token is malformed")]
pub struct MalformedPosition;

/// Most partitions that a token may name.
const MAX_ENTRIES: usize = 4_096;

impl Position {
    /// A position in one partition.
    pub fn at(topic: TopicKind, partition: u32, next: Offset) -> Self {
        Self(BTreeMap::from([((topic, partition), next)]))
    }

    /// Next offset in a partition.
    pub fn get(&self, topic: TopicKind, partition: u32) -> Option<Offset> {
        self.0.get(&(topic, partition)).copied()
    }

    /// Moves one partition forward; never back.
    pub fn advance(&mut self, topic: TopicKind, partition: u32, next: Offset) {
        let entry = self.0.entry((topic, partition)).or_insert(next);
        *entry = next.max(*entry);
    }

    /// Whether this has seen all that `other` has.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(place, next)| self.0.get(place).is_some_and(|mine| mine >= next))
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (TopicKind, u32, Offset)> + '_ {
        self.0.iter().map(|((topic, partition), next)| (*topic, *partition, *next))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (topic, partition, next)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "_" };
            let letter = match topic {
                TopicKind::Ledger => 'l',
                TopicKind::Signals => 's',
            };
            write!(f, "{separator}{letter}{partition}.{next}")?;
        }
        Ok(())
    }
}

impl From<Position> for String {
    fn from(position: Position) -> Self {
        position.to_string()
    }
}

impl TryFrom<String> for Position {
    type Error = MalformedPosition;

    fn try_from(text: String) -> Result<Self, MalformedPosition> {
        text.parse()
    }
}

impl FromStr for Position {
    type Err = MalformedPosition;

    fn from_str(text: &str) -> Result<Self, MalformedPosition> {
        let mut entries = BTreeMap::new();
        if text.is_empty() {
            return Ok(Self(entries));
        }
        for part in text.split('_') {
            let topic = match part.as_bytes().first() {
                Some(b'l') => TopicKind::Ledger,
                Some(b's') => TopicKind::Signals,
                Some(_) | None => return Err(MalformedPosition),
            };
            let (partition, next) = part[1..].split_once('.').ok_or(MalformedPosition)?;
            let partition: u32 = partition.parse().map_err(|_| MalformedPosition)?;
            let next: Offset = next.parse().map_err(|_| MalformedPosition)?;
            let fresh = entries.insert((topic, partition), next).is_none();
            if next < 0 || !fresh || entries.len() > MAX_ENTRIES {
                return Err(MalformedPosition);
            }
        }
        Ok(Self(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip() {
        let mut position = Position::at(TopicKind::Ledger, 3, 17);
        position.advance(TopicKind::Signals, 0, 4);
        assert_eq!(position.to_string(), "l3.17_s0.4");
        assert_eq!("l3.17_s0.4".parse(), Ok(position));
        assert_eq!("".parse(), Ok(Position::default()));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["x0.1", "l0", "l0.-1", "l0.1_l0.2", "l.1", "é", "l0.1_", "l99999999999.1"] {
            assert_eq!(text.parse::<Position>(), Err(MalformedPosition), "{text}");
        }
    }

    #[test]
    fn covers_compares_each_partition() {
        let seen: Position = "l0.5_l1.2".parse().unwrap();
        assert!(seen.covers(&"l0.5".parse().unwrap()));
        assert!(!seen.covers(&"l0.6".parse().unwrap()));
        assert!(!seen.covers(&"s0.0".parse().unwrap()));
    }
}

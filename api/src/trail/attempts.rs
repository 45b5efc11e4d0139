//! Counts refusals between two batches: what is the same raises one number, and what is too much is only added up.

use std::collections::BTreeMap;

use lotline_domain::timestamp::Timestamp;
use lotline_domain::trail::{AttemptKind, Counted, MAX_ENTRIES, RefusedAttempts, Suspect};

use crate::transport::caller::Trace;

/// Refusals of a batch that are told in the program's log one by one.
const TOLD: u64 = 100;

/// Something that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    /// Whose name, token or key it was.
    pub by: Suspect,
    /// Why.
    pub kind: AttemptKind,
    /// The field of the API that was asked for; one that there is.
    pub field: Option<&'static str>,
}

impl Attempt {
    /// At the door.
    pub const fn new(kind: AttemptKind, by: Suspect) -> Self {
        Self { by, kind, field: None }
    }

    /// By nobody known.
    pub const fn unknown(kind: AttemptKind) -> Self {
        Self::new(kind, Suspect::Unknown)
    }
}

struct Tally {
    count: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    last: Trace,
}

/// What was refused since the last batch.
#[derive(Default)]
pub(super) struct Attempts {
    entries: BTreeMap<Attempt, Tally>,
    others: u64,
    total: u64,
}

/// What goes into one record.
pub(super) struct Batch {
    pub(super) entries: Vec<Counted>,
    pub(super) others: u64,
    /// All attempts together.
    pub(super) total: u64,
    /// The request of the only attempt, when there is one.
    pub(super) trace: Option<Trace>,
}

impl Attempts {
    /// Counts one. Says whether it is to be told in the program's log.
    pub(super) fn note(&mut self, attempt: Attempt, now: Timestamp, trace: &Trace) -> bool {
        self.total += 1;
        let room = self.entries.len() < MAX_ENTRIES;
        match self.entries.get_mut(&attempt) {
            Some(tally) => {
                tally.count += 1;
                // A clock may go back.
                tally.last_at = tally.last_at.max(now);
                tally.last = trace.clone();
            }
            None if room => {
                self.entries.insert(attempt, Tally { count: 1, first_at: now, last_at: now, last: trace.clone() });
            }
            None => self.others += 1,
        }
        self.total <= TOLD
    }

    /// Begins anew; nothing when nothing was counted.
    pub(super) fn take(&mut self) -> Option<Batch> {
        let Self { entries, others, total } = std::mem::take(self);
        let trace = entries.values().next().filter(|_| total == 1).map(|tally| tally.last.clone());
        let counted = |(attempt, tally): (Attempt, Tally)| Counted {
            by: attempt.by,
            attempts: RefusedAttempts {
                kind: attempt.kind,
                field: attempt.field.map(str::to_owned),
                count: tally.count,
                first_at: tally.first_at,
                last_at: tally.last_at,
                correlation_id: tally.last.correlation_id,
            },
        };
        let entries = entries.into_iter().map(counted).collect();
        (total > 0).then_some(Batch { entries, others, total, trace })
    }
}

#[cfg(test)]
mod tests {
    use lotline_domain::id::{CorrelationId, UserId};
    use uuid::Uuid;

    use super::*;

    fn trace(number: u128) -> Trace {
        Trace {
            correlation_id: CorrelationId(Uuid::from_u128(number)),
            traceparent: None,
            address: None,
            is_socket: false,
        }
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn the_same_raises_a_number_and_its_last_request_is_kept() {
        let mut attempts = Attempts::default();
        assert!(attempts.take().is_none());
        let wrong = Attempt::unknown(AttemptKind::BadToken);
        for (number, time) in [(1, 5), (2, 9), (3, 7)] {
            assert!(attempts.note(wrong, at(time), &trace(number)));
        }
        let batch = attempts.take().unwrap();
        let told = &batch.entries[0].attempts;
        assert_eq!((batch.entries.len(), batch.others, batch.total), (1, 0, 3));
        assert_eq!((told.count, told.first_at, told.last_at), (3, at(5), at(9)));
        assert_eq!(told.correlation_id, trace(3).correlation_id);
        assert_eq!(batch.trace, None, "ids of many requests are nobody's");
        attempts.note(wrong, at(10), &trace(4));
        assert_eq!(attempts.take().unwrap().trace, Some(trace(4)));
    }

    #[test]
    fn a_flood_of_different_ones_stays_small_and_is_counted() {
        let mut attempts = Attempts::default();
        let mut told = 0;
        for number in 0..1_000 {
            let user = Suspect::User(UserId(Uuid::from_u128(number)));
            told += u64::from(attempts.note(Attempt::new(AttemptKind::WrongPassword, user), at(1), &trace(1)));
        }
        let batch = attempts.take().unwrap();
        assert_eq!((batch.entries.len(), batch.others, batch.total, told), (MAX_ENTRIES, 968, 1_000, TOLD));
        assert!(attempts.take().is_none(), "and then it begins anew");
    }
}

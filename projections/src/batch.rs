//! Events of one partition, checked and decoded once for all read models.

use std::collections::{BTreeMap, HashSet};

use lotline_domain::chain::{Chain, ChainBreak, ChainHead};
use lotline_domain::envelope::Envelope;
use lotline_domain::event::{Event, Fact};
use lotline_domain::id::TenantId;
use lotline_domain::record::{Offset, ReadBatch};

use crate::decisions::Skipped;
use crate::failure::full_text;

/// Records between two chances for other tasks to run: hashing and decoding them takes a few milliseconds.
const YIELD_EVERY: usize = 200;

/// An event whose place in the chain is proved.
#[derive(Debug)]
pub(crate) struct LedgerEvent {
    pub(crate) offset: Offset,
    pub(crate) envelope: Envelope,
    /// What it says, or why this version can't read it.
    pub(crate) fact: Result<Fact, String>,
}

impl LedgerEvent {
    pub(crate) fn stream(&self) -> &str {
        self.envelope.attributes.stream.as_str()
    }

    pub(crate) fn sequence(&self) -> i64 {
        self.envelope.attributes.sequence as i64
    }

    /// Whether somebody has decided to leave this event out.
    pub(crate) fn is_in(&self, skipped: &Skipped) -> bool {
        !skipped.is_empty() && skipped.get(self.stream()).is_some_and(|sequences| sequences.contains(&self.sequence()))
    }
}

/// Consecutive events of a partition.
#[derive(Debug)]
pub(crate) struct LedgerBatch {
    pub(crate) tenant: TenantId,
    pub(crate) partition: u32,
    pub(crate) events: Vec<LedgerEvent>,
    /// Where the next batch starts.
    pub(crate) next: Offset,
    /// Size of the records.
    pub(crate) bytes: usize,
}

impl LedgerBatch {
    /// Checks and decodes records. Stops before the first that breaks the chain and gives the break beside what came before.
    pub(crate) async fn admit(
        tenant: &TenantId,
        partition: u32,
        chain: &mut Chain,
        read: ReadBatch,
    ) -> (Self, Option<ChainBreak>) {
        let mut batch = Self {
            tenant: tenant.clone(),
            partition,
            events: Vec::with_capacity(read.records.len()),
            next: read.next,
            bytes: 0,
        };
        for (index, stored) in read.records.iter().enumerate() {
            if index % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
            let envelope = match chain.admit(tenant, stored) {
                Ok(envelope) => envelope,
                Err(broken) => {
                    batch.next = stored.offset;
                    return (batch, Some(broken));
                }
            };
            let fact =
                Event::decode(&envelope.attributes.event_type, &envelope.value).map_err(|error| full_text(&error));
            batch.bytes += stored.record.size();
            batch.events.push(LedgerEvent { offset: stored.offset, envelope, fact });
        }
        (batch, None)
    }

    /// The next offset of a reader that has seen the events before `end`.
    pub(crate) fn next_after(&self, end: usize) -> Offset {
        self.events.get(end).map_or(self.next, |event| event.offset)
    }

    /// Index of the first event at or after an offset.
    pub(crate) fn index_of(&self, offset: Offset) -> usize {
        self.events.partition_point(|event| event.offset < offset)
    }
}

/// Events that one read model applies in one transaction.
#[derive(Clone, Copy)]
pub(crate) struct Slice<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) partition: i32,
    /// Which generation of the model's rows.
    ///
    /// Of one that is being built, or of a tenant that is new, the planner's statistics know nothing: it believes that there are no rows, and
    /// would read all of them for each batch by whatever index begins with the tenant and the generation. So a query that looks rows up by key
    /// does so one by one, in a `LATERAL … LIMIT 1`, which the planner can't turn into a join; finds each by the one index that begins with
    /// the generation and the key; and writes `tenant || ''`, to which no index fits.
    pub(crate) generation: i32,
    pub(crate) events: &'a [LedgerEvent],
    /// Streams that the model does not follow any more.
    pub(crate) halted: &'a HashSet<String>,
    /// Events that it leaves out.
    pub(crate) skipped: &'a Skipped,
}

impl<'a> Slice<'a> {
    /// The events to apply, in order. Invariant: events that can't be decoded are not part of a slice unless their stream is halted or they are
    /// left out.
    pub(crate) fn facts(self) -> impl Iterator<Item = (&'a LedgerEvent, &'a Fact)> {
        let followed =
            self.events.iter().filter(move |event| !self.halted.contains(event.stream()) && !event.is_in(self.skipped));
        followed.filter_map(|event| {
            let fact = event.fact.as_ref().ok()?;
            Some((event, fact))
        })
    }

    /// The last event of each stream.
    pub(crate) fn heads(self) -> BTreeMap<&'a str, ChainHead> {
        let heads = self.events.iter().map(|event| {
            let attributes = &event.envelope.attributes;
            let head = ChainHead { sequence: attributes.sequence, hash: event.envelope.hash, time: attributes.time };
            (event.stream(), head)
        });
        heads.collect()
    }
}

//! Follows the tenant's stream on a node that does not write it.
//!
//! Events of a site are decided on the tenant's stream at a sequence that they record. The node that writes the tenant's partition knows it;
//! every other one learns it from the log, some milliseconds later. A stream that can't be read further is no ground to decide on: the
//! writers here then answer that the ledger is not available.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lotline_domain::chain::{Chain, ChainBreak};
use lotline_domain::event::{DecodeError, Event};
use lotline_domain::id::{StreamKey, TenantId};
use lotline_domain::partition::partition_of;
use lotline_domain::port::LogError;
use lotline_domain::record::StoredRecord;
use thiserror::Error;

use crate::bus::Ports;
use crate::tenant::{TenantFacts, TenantView};
use crate::writer::load_snapshot;

const READ_AT_ONCE: usize = 4_096;
const READ_WAIT: Duration = Duration::from_secs(1);

/// Why following ended.
#[derive(Debug, Error)]
pub(crate) enum FollowError {
    /// The log failed.
    #[error("the tenant's partition can't be read")]
    Log(#[from] LogError),
    /// What is in it can't be trusted.
    #[error("the tenant's partition can't be trusted")]
    Chain(#[from] ChainBreak),
    /// An event that this version can't read.
    #[error("an event of the tenant's stream can't be read; was it written by a newer version?")]
    Event(#[from] DecodeError),
}

/// Reads the partition of the tenant's stream.
pub(crate) struct TenantFollower {
    tenant: TenantId,
    ports: Ports,
    view: Arc<TenantView>,
}

/// What is kept of the partition.
struct Followed {
    chain: Chain,
    facts: TenantFacts,
}

impl TenantFollower {
    pub(crate) fn new(tenant: TenantId, ports: Ports, view: Arc<TenantView>) -> Self {
        Self { tenant, ports, view }
    }

    /// Where the tenant's stream is.
    pub(crate) fn partition(&self) -> u32 {
        partition_of(StreamKey::Tenant.as_str(), self.ports.log.partitions())
    }

    /// Makes the stream known, first once all that was there at the start has been read. Ends with a failure only.
    pub(crate) async fn follow(&self) -> FollowError {
        match self.try_follow().await {
            Ok(never) => match never {},
            Err(error) => {
                match error {
                    // It may answer again in a moment, and nothing says that what was read is wrong.
                    FollowError::Log(_) => {}
                    FollowError::Chain(_) | FollowError::Event(_) => self.view.withdraw(),
                }
                error
            }
        }
    }

    async fn try_follow(&self) -> Result<Infallible, FollowError> {
        let partition = self.partition();
        let end = self.ports.log.end(partition).await?;
        let fold = load_snapshot(&self.ports, partition).await;
        let mut next = fold.next;
        let facts = fold.tenant_facts();
        let mut followed = Followed { chain: fold.chain, facts };
        let mut reader = self.ports.log.reader(partition, next).await?;
        loop {
            if next >= end {
                let sequence = followed.chain.head(StreamKey::Tenant.as_str()).sequence;
                self.view.advance(sequence, &followed.facts);
            }
            let read = reader.read(READ_AT_ONCE, READ_WAIT).await?;
            for stored in &read.records {
                followed.apply(&self.tenant, stored)?;
            }
            next = next.max(read.next);
        }
    }
}

impl Followed {
    fn apply(&mut self, tenant: &TenantId, stored: &StoredRecord) -> Result<(), FollowError> {
        let envelope = self.chain.admit(tenant, stored)?;
        let attributes = &envelope.attributes;
        if attributes.stream != StreamKey::Tenant {
            return Ok(());
        }
        let fact = Event::decode(&attributes.event_type, &envelope.value)?;
        self.facts.evolve(&fact.event, attributes.sequence);
        Ok(())
    }
}

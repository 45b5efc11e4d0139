//! Follows the tenant's stream on a node that does not write it.
//!
//! Events of a site record the sequence of the tenant's stream on which they were decided. The node that writes the tenant's partition
//! knows it; every other one learns it from the log, some milliseconds later.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lotline_domain::chain::{Chain, ChainBreak};
use lotline_domain::id::{StreamKey, TenantId};
use lotline_domain::partition::partition_of;
use lotline_domain::port::LogError;
use thiserror::Error;

use crate::bus::Ports;
use crate::tenant_sequence::TenantSequence;
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
}

/// Reads the partition of the tenant's stream.
pub(crate) struct TenantFollower {
    tenant: TenantId,
    ports: Ports,
    sequence: Arc<TenantSequence>,
}

impl TenantFollower {
    pub(crate) fn new(tenant: TenantId, ports: Ports, sequence: Arc<TenantSequence>) -> Self {
        Self { tenant, ports, sequence }
    }

    /// Where the tenant's stream is.
    pub(crate) fn partition(&self) -> u32 {
        partition_of(StreamKey::Tenant.as_str(), self.ports.log.partitions())
    }

    /// Publishes how far the stream is, first once all that was there at the start has been read. Ends with a failure only.
    pub(crate) async fn follow(&self) -> FollowError {
        match self.try_follow().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn try_follow(&self) -> Result<Infallible, FollowError> {
        let partition = self.partition();
        let end = self.ports.log.end(partition).await?;
        let fold = load_snapshot(&self.ports, partition).await;
        let mut next = fold.next;
        let mut chain: Chain = fold.chain;
        let mut reader = self.ports.log.reader(partition, next).await?;
        loop {
            if next >= end {
                self.sequence.advance(chain.head(StreamKey::Tenant.as_str()).sequence);
            }
            let read = reader.read(READ_AT_ONCE, READ_WAIT).await?;
            for stored in &read.records {
                chain.admit(&self.tenant, stored)?;
            }
            next = next.max(read.next);
        }
    }
}

//! Who is to write which partition, when several nodes share a ledger.
//!
//! Three things, each for one purpose. A [`Membership`] assigns partitions to living nodes. A [`Directory`] says where a partition's writer
//! listens, so that a command that reached another node can be forwarded. And the log itself fences: only that makes writing exclusive.
//! Assignment and directory are hints that can be late; whoever believes a stale one is refused by the log.

use std::collections::BTreeSet;

use crate::port::{BoxFuture, LogError};

/// A partition's writer, as it was announced last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Name of its node.
    pub node: String,
    /// `http://host:port` of that node.
    pub address: String,
    /// Counts the announcements of the partition; a higher one is a later writer.
    pub epoch: u64,
}

/// Assigns partitions to living nodes.
pub trait Membership: Send + 'static {
    /// Waits until the assignment of this node has changed and gives all of it; at the first call, until there is one.
    /// When the node can't tell any more whether it is a member, nothing is assigned to it. Safe to cancel.
    fn changed(&mut self) -> BoxFuture<'_, BTreeSet<u32>>;
    /// Gives everything back at once, so that others need not wait for a timeout.
    fn leave(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Where the writers of partitions are.
pub trait Directory: Send + Sync + 'static {
    /// Names this node as the writer of a partition from now on, and gives the epoch of that.
    fn announce(&self, partition: u32) -> BoxFuture<'_, Result<u64, LogError>>;
    /// Who was named last.
    fn owner(&self, partition: u32) -> BoxFuture<'_, Result<Option<Owner>, LogError>>;
    /// Whether the ledger is still written where this node would write it. It is not once it has been moved to another log, or while it is.
    /// Asked before and after each takeover.
    fn may_write(&self) -> BoxFuture<'_, Result<bool, LogError>>;
    /// Name of this node.
    fn node(&self) -> &str;
}

//! From a command to its event.
//!
//! One [`writer::PartitionWriter`] owns one partition of the ledger: it decides commands in order against in-memory state, appends all
//! events of a batch in one transaction, and then answers. [`bus::CommandBus`] finds the writer of a stream. [`snapshotter::Snapshotter`]
//! folds the same log a second time and keeps snapshots, so that a writer never has to. [`ownership::Owners`] starts and stops the writers of
//! a node as partitions come to it and go, when several nodes share a ledger.
//!
//! Invariant: a command is answered only after its events are committed to the log.

pub mod access;
pub mod answers;
pub mod bus;
pub mod fold;
mod follower;
pub mod ownership;
pub mod refusals;
pub mod snapshotter;
mod tenant;
pub mod writer;

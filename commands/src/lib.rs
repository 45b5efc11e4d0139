//! From a command to its event.
//!
//! One [`writer`] task owns one partition of the ledger: it decides commands in order against in-memory state, appends all events of a
//! batch in one transaction, and then answers. [`bus::CommandBus`] finds the writer of a stream.

pub mod bus;

//! Where folded states are kept, so that a restart need not fold the whole log.
//!
//! A snapshot can be lost at any time; it must only never be wrong. So it is replaced as a whole, and one with a chunk missing counts
//! as none.

mod memory;
mod postgres;

pub use memory::MemorySnapshots;
pub use postgres::PostgresSnapshots;

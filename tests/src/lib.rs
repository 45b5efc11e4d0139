//! The stack under test, shared by the end-to-end tests and the benches.

pub mod bench;
pub mod contract;
pub mod oracle;
pub mod server;
pub mod stack;

//! The stack under test, shared by the end-to-end tests and the benches.

pub mod contract;
pub mod stack;

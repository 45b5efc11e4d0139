//! The stack under test, shared by the end-to-end tests and the benches.

#[expect(clippy::unwrap_used, reason = "the functions of the suite are tests; a failing step fails the test")]
pub mod contract;
pub mod stack;

//! The stack under test, shared by the end-to-end tests and the benches.

pub mod bench;
pub mod client;
#[expect(clippy::unwrap_used, reason = "the functions of the suite are tests; a failing step fails the test")]
pub mod contract;
pub mod fuzz;
pub mod genealogy;
pub mod modbus;
pub mod operations;
pub mod oracle;
pub mod playground;
pub mod provider;
pub mod proxy;
pub mod server;
pub mod small_disk;
pub mod stack;
pub mod timing;

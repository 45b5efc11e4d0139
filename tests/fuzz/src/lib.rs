//! Targets for `cargo fuzz`: the functions that the tests of every change run too.

#[path = "../../src/fuzz.rs"]
pub mod targets;

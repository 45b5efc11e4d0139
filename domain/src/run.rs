//! Production runs: a process of a published scenario on its way at a site, phase by phase.
//!
//! Invariants: a code names one run · a run keeps the definition with which it started · phases are entered in the order of their numbers · a run goes no further
//! past a blocking gate without a PASS, of its own or of each lot in the phase before the gate · what is over does not change.

pub mod command;
pub mod decide;
pub mod event;
mod gate;
pub mod refusal;
pub mod state;
mod summary;

#[cfg(test)]
mod tests;

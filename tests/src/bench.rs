//! Benchmarks: figures with their raw probe in the same run.
//!
//! Each figure is one line `RESULT <name> <value> <unit> <ratio>`; the ratio is against the plain tool that does the same without Lotline,
//! `-` where there is none. Names are contracts. All lines of a run go to `results/<date>-<machine>.txt` as well.

pub mod access;
pub mod api;
pub mod cluster;
pub mod hold;
pub mod ledger;
pub mod load;
pub mod probe;
pub mod projection;
pub mod report;
pub mod trace;

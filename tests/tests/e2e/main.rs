//! End to end, on the real binary, the real PostgreSQL and the real Kafka: one test per flow that a user sees.

#![expect(clippy::unwrap_used, reason = "a step that fails here fails its test, as it should")]

mod authority;
mod backup;
mod crash;
mod doctor;
mod door;
mod edge;
mod expiry;
mod faults;
mod flow;
mod input;
mod integrator;
mod leaving;
mod live;
mod load;
mod looking;
mod machines;
mod metric;
mod moving;
mod neighbours;
mod nodes;
mod operations;
mod people;
mod plant;
mod poison;
mod proofs;
mod readme;
mod rebuild;
mod rights;
mod roles;
mod secured;
mod settings;
mod sign_on;
mod site;
mod snapshots;
mod span_collector;
mod stopping;
mod strangers;
mod tenancy;
mod tools;
mod traces;
mod trail;
mod verdicts;
mod visitor;

//! End to end, on the real binary, the real PostgreSQL and the real Kafka: one test per flow that a user sees.

#![expect(clippy::unwrap_used, reason = "a step that fails here fails its test, as it should")]

mod authority;
mod backup;
mod crash;
mod doctor;
mod door;
mod faults;
mod flow;
mod input;
mod live;
mod load;
mod nodes;
mod operations;
mod people;
mod plant;
mod poison;
mod readme;
mod rebuild;
mod roles;
mod secured;
mod site;
mod tools;
mod trail;
mod visitor;

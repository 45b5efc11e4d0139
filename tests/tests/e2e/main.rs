//! End to end, on the real binary, the real PostgreSQL and the real Kafka: one test per flow that a user sees.

mod crash;
mod flow;
mod input;
mod live;
mod plant;
mod site;

//! What Lotline stands on fails under load: a node is cut off, brokers and PostgreSQL are killed, a subscriber does not read, a disk is full, a
//! transaction hangs, two projectors work on the same partitions, a stranger writes into the ledger.
//!
//! Each test kills services of its own only, draws its moments by a seed that it prints, and ends by a deadline.

mod brokers;
mod cut_off;
mod database;
mod disk;
mod foreign;
mod full;
mod hanging;
mod projectors;
mod subscriber;
mod unheard;

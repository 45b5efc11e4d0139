//! Every event log against the one contract, and each against what only it can be asked.

#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use lotline_tests::contract::subject::{Kafka, Memory, Postgres};
use lotline_tests::log_contract;

#[path = "contract/deaf.rs"]
mod kafka_deaf;
#[path = "contract/kafka.rs"]
mod kafka_transactions;
#[path = "contract/membership.rs"]
mod membership;
#[path = "contract/memory.rs"]
mod memory_faults;
#[path = "contract/postgres.rs"]
mod postgres_table;

log_contract!(memory, async { Memory::new() });
log_contract!(postgres, Postgres::new());
log_contract!(kafka, async { Kafka::new() });
#[cfg(feature = "eventstoredb")]
log_contract!(eventstoredb, when given async { lotline_tests::contract::eventstoredb::EventStore::new() });

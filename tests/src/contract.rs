//! The contract of an event log: one suite for every implementation of the ports in `lotline_domain::port`.
//!
//! A store comes as a [`Subject`]; `log_contract!` makes one test of each function in the suite. What only one store can be asked
//! (its faults, its privileges, its transactions) is tested beside it in `tests/tests/contract/`.
//!
//! To add a store: a [`Subject`] in `contract/subject.rs` and a line in `tests/tests/contract.rs`.
//! To add a test: a function in one of the modules here and its name in the macro.

use std::time::Duration;

use lotline_domain::chain::ChainHead;
use lotline_domain::envelope::{Attributes, CommandHash, Envelope};
use lotline_domain::id::{ActorId, CommandId, CorrelationId, EventId, SiteId, StreamKey, TenantId};
use lotline_domain::port::{BoxFuture, EventLog, LogError, LogRead, LogReader, SignalLog};
use lotline_domain::record::{Header, Offset, Record, StoredRecord};
use lotline_domain::timestamp::Timestamp;
use uuid::Uuid;

pub mod appending;
pub mod chaining;
pub mod copying;
#[cfg(feature = "eventstoredb")]
pub mod eventstoredb;
pub mod reading;
pub mod subject;

/// How long a condition that must come true may take. Only a failing test waits this long.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A store with one ledger topic and one signals topic of its own, which any number of handles may open.
pub trait Subject: Send + Sync {
    /// Opens the ledger as a process of its own would; creates it when it is not there.
    fn ledger(&self, partitions: u32) -> BoxFuture<'_, Result<Box<dyn EventLog>, LogError>>;
    /// Opens the signals topic likewise.
    fn signals(&self, partitions: u32) -> BoxFuture<'_, Result<Box<dyn SignalLog>, LogError>>;
    /// Puts a record into the ledger without Lotline, as a stranger with access to the store would.
    fn append_foreign(&self, partition: u32, record: Record) -> BoxFuture<'_, ()>;
}

/// Makes one test per function of the suite, in a module named after the store.
#[macro_export]
macro_rules! log_contract {
    // A store that may not be at hand comes as an option, and says so by itself.
    ($store:ident, when given $subject:expr) => {
        $crate::log_contract! { @all $store, $subject.await }
    };
    ($store:ident, $subject:expr) => {
        $crate::log_contract! { @all $store, Some($subject.await) }
    };
    (@all $store:ident, $subject:expr) => {
        $crate::log_contract! { @tests $store, $subject,
            appending { keeps_the_order_of_appends, a_batch_is_seen_whole_or_not_at_all, a_cancelled_append_is_whole_or_nothing,
                a_new_writer_fences_the_old_one, an_oversized_record_is_refused_and_the_writer_goes_on,
                a_changed_partition_count_is_refused, partitions_have_writers_of_their_own, unknown_partitions_are_refused,
                a_reopened_log_has_its_records }
            reading { an_empty_log_ends_at_its_start, the_end_covers_what_was_acknowledged, a_reader_starts_anywhere,
                a_reader_beyond_the_end_is_refused, a_read_gives_up_after_its_wait, a_waiting_reader_is_woken,
                records_come_back_verbatim, large_batches_come_back_in_small_reads, signals_of_many_producers_all_arrive,
                an_oversized_signal_is_refused }
            chaining { sealed_events_form_a_chain, a_foreign_record_is_detected, a_forged_continuation_is_detected,
                a_doubled_event_is_detected }
            copying { a_copy_has_the_same_bytes, an_interrupted_copy_goes_on, a_target_with_other_content_is_refused,
                a_broken_source_is_not_copied }
        }
    };
    (@tests $store:ident, $subject:expr, $($module:ident { $($test:ident),* $(,)? })*) => {
        mod $store {
            use super::*;
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    if let Some(subject) = $subject {
                        $crate::contract::$module::$test(&subject).await;
                    }
                }
            )*)*
        }
    };
}

/// Opens the ledger, which must work.
pub async fn ledger(subject: &dyn Subject, partitions: u32) -> Box<dyn EventLog> {
    subject.ledger(partitions).await.expect("the ledger opens")
}

/// Reads a partition from its start up to its end now, and checks on the way that offsets grow and that `next` gets there.
pub async fn read_all(log: &(impl LogRead + ?Sized), partition: u32) -> Vec<StoredRecord> {
    let end = log.end(partition).await.expect("the log has an end");
    let mut reader = log.reader(partition, 0).await.expect("a reader opens at the start");
    let records = read_until(reader.as_mut(), end).await;
    assert!(records.iter().all(|stored| stored.offset < end), "no record stands at or beyond the end");
    records
}

/// Reads on until `next` has reached `end`.
pub async fn read_until(reader: &mut dyn LogReader, end: Offset) -> Vec<StoredRecord> {
    let mut records: Vec<StoredRecord> = Vec::new();
    let mut next = 0;
    let reading = async {
        while next < end {
            let batch = reader.read(100, Duration::from_secs(1)).await.expect("the log can be read");
            assert!(batch.next >= next, "progress never goes back");
            next = batch.next;
            records.extend(batch.records);
            assert!(records.last().is_none_or(|last| last.offset < next), "progress lies behind the last record");
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("reading reaches the end of the log");
    assert!(records.windows(2).all(|pair| pair[0].offset < pair[1].offset), "offsets grow");
    records
}

/// Values as text, to compare at a glance.
pub fn values(records: &[StoredRecord]) -> Vec<String> {
    records.iter().map(|stored| String::from_utf8_lossy(&stored.record.value).into_owned()).collect()
}

/// A record that is no event, for tests that do not care.
pub fn plain(value: impl Into<String>) -> Record {
    let headers = vec![Header::new("ce_type", "lotline.test.v1")];
    Record { key: "north".to_owned(), headers, value: value.into().into_bytes().into() }
}

/// Many of them: `<name>-0`, `<name>-1`, …
pub fn plain_batch(name: &str, count: usize) -> Vec<Record> {
    (0..count).map(|index| plain(format!("{name}-{index}"))).collect()
}

/// The tenant whose ledger the suite writes.
pub fn tenant() -> TenantId {
    TenantId::new("dairy").expect("a valid tenant id")
}

/// Writes the next events of one site, properly sealed.
pub struct Sealer {
    stream: StreamKey,
    head: ChainHead,
}

impl Sealer {
    /// A stream without events.
    pub fn new(site: &str) -> Self {
        let site = SiteId::new(site).expect("a valid site id");
        Self { stream: StreamKey::Site(site), head: ChainHead::default() }
    }

    /// Seals the next event, so that the one after it continues it.
    pub fn seal(&mut self, value: &str) -> Record {
        let attributes = self.attributes(self.head.sequence + 1);
        let (hash, record) = Envelope::seal_record(&attributes, self.head.hash, value.to_owned().into());
        self.head = ChainHead { sequence: attributes.sequence, hash, time: attributes.time };
        record
    }

    /// Seals `count` events.
    pub fn seal_many(&mut self, count: usize) -> Vec<Record> {
        (0..count).map(|index| self.seal(&format!(r#"{{"index":{index}}}"#))).collect()
    }

    /// The head after the last sealed event.
    pub fn head(&self) -> ChainHead {
        self.head
    }

    fn attributes(&self, sequence: u64) -> Attributes {
        let id = Uuid::from_u128(u128::from(sequence));
        Attributes {
            tenant: tenant(),
            stream: self.stream.clone(),
            id: EventId(id),
            event_type: "lotline.lot.registered.v1".into(),
            subject: format!("lot/{id}"),
            time: Timestamp::from_millis(1_700_000_000_000 + sequence as i64),
            sequence,
            actor: ActorId::new("ann").expect("a valid actor id"),
            correlation_id: CorrelationId(id),
            causation_id: CommandId(id),
            command_hash: CommandHash::default(),
            tenant_sequence: Some(0),
            traceparent: None,
        }
    }
}

//! One append as one transaction, on the thread of its writer.
//!
//! All acknowledgements are awaited before the commit: rdkafka's own flush inside of it would wait in slices of 100 ms.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lotline_domain::port::AppendError;
use lotline_domain::record::{Offset, Record};
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::record::headers_of;
use super::trouble::Witness;
use super::{REQUEST_TIMEOUT, TRANSACTION_TIMEOUT};

/// Longer than the producer's own limit on a message, so that its answer is heard where there is one.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(TRANSACTION_TIMEOUT.as_secs() + 2);

/// How long the producer may take to let go of what has been acknowledged. It needs microseconds, or it is stuck.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a missing acknowledgement makes us ask whether the producer has failed for good.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// How long an abort may take. It only spares readers the wait for the broker's own timeout.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type TransactionalProducer = ThreadedProducer<Deliveries>;

/// The acknowledgements of the transaction under way, as the producer's polling thread hears of them.
#[derive(Clone, Default)]
pub(super) struct Deliveries(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    complete: Condvar,
    witness: Witness,
}

#[derive(Default)]
struct State {
    missing: usize,
    last: Option<Offset>,
    failure: Option<KafkaError>,
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        self.witness().hear(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut state = self.lock();
        state.missing = state.missing.saturating_sub(1);
        match result {
            Ok(message) => state.last = state.last.max(Some(message.offset())),
            Err((error, _)) => {
                state.failure.get_or_insert_with(|| error.clone());
            }
        }
        if state.missing == 0 || state.failure.is_some() {
            self.0.complete.notify_one();
        }
    }
}

impl Deliveries {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("invariant: nothing panics while it holds this lock")
    }

    /// What the producer has reported beside them.
    pub(super) fn witness(&self) -> &Witness {
        &self.0.witness
    }

    fn expect(&self, count: usize) {
        *self.lock() = State { missing: count, last: None, failure: None };
    }

    /// Waits for all acknowledgements and gives the greatest offset.
    fn wait(&self, producer: &TransactionalProducer) -> KafkaResult<Option<Offset>> {
        let deadline = Instant::now() + ACKNOWLEDGE_TIMEOUT;
        let mut state = self.lock();
        while state.missing > 0 && state.failure.is_none() {
            let (woken, slice) = self
                .0
                .complete
                .wait_timeout(state, ASK_AGAIN)
                .expect("invariant: nothing panics while it holds this lock");
            state = woken;
            if slice.timed_out() {
                if let Some((code, _)) = producer.client().fatal_error() {
                    return Err(KafkaError::Global(code));
                }
                if Instant::now() >= deadline {
                    return Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
                }
            }
        }
        state.failure.take().map_or(Ok(state.last), Err)
    }
}

/// Where the writer stands.
pub(super) struct Transactions<'a> {
    pub(super) producer: &'a TransactionalProducer,
    pub(super) deliveries: &'a Deliveries,
    pub(super) topic: &'a str,
    pub(super) partition: u32,
}

impl Transactions<'_> {
    /// Appends all records in one transaction and gives the offset of the last one.
    ///
    /// # Errors
    /// After any error the producer must not be used again: a late answer could hit its next transaction.
    pub(super) fn append(&self, records: &[Record]) -> Result<Offset, AppendError> {
        let last = match self.send(records) {
            Ok(last) => last,
            // Not committed, hence never visible. Whether a successor exists or the broker gave up waiting, nothing was appended.
            Err(error) if self.is_fenced(&error) => return Err(AppendError::Fenced),
            Err(error) => {
                // Best effort: without it the transaction ends by its timeout or by the successor.
                let _ = self.producer.abort_transaction(ABORT_TIMEOUT);
                return Err(AppendError::Unknown(Box::new(error)));
            }
        };
        // Even a fenced commit may have been carried out, its answer lost, before the fence: only the log can tell.
        let committed = self.producer.commit_transaction(REQUEST_TIMEOUT);
        committed.map_err(|error| AppendError::Unknown(Box::new(error)))?;
        Ok(last)
    }

    fn send(&self, records: &[Record]) -> KafkaResult<Offset> {
        self.producer.begin_transaction()?;
        self.deliveries.expect(records.len());
        for record in records {
            let message = BaseRecord::to(self.topic)
                .partition(self.partition as i32)
                .key(record.key.as_str())
                .payload(record.value.as_ref())
                .headers(headers_of(record));
            self.producer.send(message).map_err(|(error, _)| error)?;
        }
        let last = self.deliveries.wait(self.producer)?;
        // The producer counts a message until its polling thread has let go of the report, which it is doing right now.
        let deadline = Instant::now() + LET_GO_TIMEOUT;
        while self.producer.in_flight_count() > 0 {
            if Instant::now() >= deadline {
                return Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
            }
            std::thread::yield_now();
        }
        last.ok_or(KafkaError::NoMessageReceived)
    }

    fn is_fenced(&self, error: &KafkaError) -> bool {
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        [error.rdkafka_error_code(), fatal].into_iter().flatten().any(|code| {
            matches!(
                code,
                RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch
            )
        })
    }
}

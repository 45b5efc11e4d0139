//! The transactional producers of one partition's writer, used in turn.
//!
//! A broker answers a commit before its markers are written, and refuses the next transaction of the same id until they are
//! (CONCURRENT_TRANSACTIONS); librdkafka then waits 20 ms. So a writer has several ids: while the markers of one are written, the next one
//! is used. One transaction is open at a time, so the order of records is that of the appends.
//!
//! Taking a partition over has to fence all ids of whoever wrote before, and two that do so at the same time could each keep some of them. Hence
//! two rules: ids are initialised in order, and every writer's first append uses the first of them.
//!
//! Why that is enough. Let W append for the first time, by id 0. Somebody else, Y, could append between W's reading and that moment only by an id k > 0 that Y
//! initialised after W did. Y has used id 0 before id k, and no later than W initialised id 0, or else W would be fenced there. But Y used it
//! after it had initialised all of its ids, k among them; and W initialises k after 0. So Y initialised k before W did, and is fenced there.
//! Two takers may fence each other so that none is left; whoever is still entitled to starts again.

use std::sync::Arc;

use lotline_domain::port::{AppendError, LogError};
use lotline_domain::record::{Offset, Record};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::Producer;

use super::transaction::{Deliveries, TransactionalProducer, Transactions};
use super::trouble::explain;
use super::{KafkaOptions, OPEN_TIMEOUT, settings};

/// All ids of a partition, taken over.
pub(super) struct Rotation {
    options: Arc<KafkaOptions>,
    partition: u32,
    producers: Vec<(TransactionalProducer, Deliveries)>,
    turn: usize,
}

impl Rotation {
    /// Takes the partition over.
    ///
    /// # Errors
    /// [`LogError::Broken`] when the brokers can't be reached or refuse.
    pub(super) fn open(options: &Arc<KafkaOptions>, partition: u32) -> Result<Self, LogError> {
        let mut producers = Vec::with_capacity(options.transactional_ids as usize);
        for number in 0..options.transactional_ids.max(1) {
            let deliveries = Deliveries::default();
            let producer = initialise(options, partition, number, &deliveries);
            let producer = producer.map_err(|error| broken(error, &deliveries))?;
            producers.push((producer, deliveries));
        }
        Ok(Self { options: Arc::clone(options), partition, producers, turn: 0 })
    }

    /// Appends all records in one transaction of the id whose turn it is.
    ///
    /// # Errors
    /// After any error none of the ids may be used again.
    pub(super) fn append(&mut self, records: &[Record]) -> Result<Offset, AppendError> {
        let (producer, deliveries) = &self.producers[self.turn];
        self.turn = (self.turn + 1) % self.producers.len();
        Transactions { producer, deliveries, topic: &self.options.topic, partition: self.partition }.append(records)
    }
}

fn broken(error: KafkaError, deliveries: &Deliveries) -> LogError {
    LogError::broken("take over the partition", explain(error, deliveries.witness()))
}

fn initialise(
    options: &KafkaOptions,
    partition: u32,
    number: u32,
    deliveries: &Deliveries,
) -> KafkaResult<TransactionalProducer> {
    let config = settings::transactional_producer(options, partition, number);
    let producer = TransactionalProducer::from_config_and_context(&config, deliveries.clone())?;
    producer.init_transactions(OPEN_TIMEOUT)?;
    Ok(producer)
}

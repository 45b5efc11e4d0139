//! Publishing signals: one idempotent producer without transactions.

use futures_util::future::try_join_all;
use lotline_domain::partition::partition_of;
use lotline_domain::port::LogError;
use lotline_domain::record::Record;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::Semaphore;

use super::record::headers_of;
use super::trouble::{Witness, explain};
use super::{KafkaOptions, destroy, settings};

/// Most records in flight; further callers wait. Well below the producer's own queue, which refuses instead of waiting.
const IN_FLIGHT: usize = 10_000;

pub(super) struct Publisher {
    topic: String,
    partitions: u32,
    /// Present until this is dropped.
    producer: Option<FutureProducer>,
    in_flight: Semaphore,
}

impl Publisher {
    pub(super) fn new(options: &KafkaOptions) -> Result<Self, LogError> {
        let created: KafkaResult<FutureProducer> =
            settings::producer(options).set("delivery.timeout.ms", "30000").create();
        let explained = |error| LogError::broken("create a Kafka client", explain(error, &Witness::default()));
        let producer = created.map_err(explained)?;
        Ok(Self {
            topic: options.topic.clone(),
            partitions: options.partitions,
            producer: Some(producer),
            in_flight: Semaphore::new(IN_FLIGHT),
        })
    }

    pub(super) async fn publish(&self, records: &[Record]) -> Result<(), LogError> {
        for records in records.chunks(IN_FLIGHT) {
            let explained = |error| LogError::broken("publish signals", explain(error, &Witness::default()));
            self.publish_some(records).await.map_err(explained)?;
        }
        Ok(())
    }

    async fn publish_some(&self, records: &[Record]) -> KafkaResult<()> {
        let _in_flight = self.in_flight.acquire_many(records.len() as u32).await.map_err(|_| KafkaError::Canceled)?;
        let producer = self.producer.as_ref().expect("invariant: the producer is there until this is dropped");
        let mut deliveries = Vec::with_capacity(records.len());
        for record in records {
            let message = FutureRecord::to(&self.topic)
                .partition(partition_of(&record.key, self.partitions) as i32)
                .key(record.key.as_str())
                .payload(record.value.as_ref())
                .headers(headers_of(record));
            deliveries.push(producer.send_result(message).map_err(|(error, _)| error)?);
        }
        let acknowledged = deliveries
            .into_iter()
            .map(|delivery| async { delivery.await.map_err(|_| KafkaError::Canceled)?.map_err(|(error, _)| error) });
        try_join_all(acknowledged).await.map(|_| ())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        destroy(self.producer.take());
    }
}

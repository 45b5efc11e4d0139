//! The writer of a partition: a thread that owns a transactional producer, and the handle that hands it batches.

use std::sync::{Arc, mpsc};

use lotline_domain::port::{AppendError, BoxFuture, LogError, LogWriter};
use lotline_domain::record::{Offset, Record};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::Producer;
use tokio::sync::oneshot;
use tracing::debug;

use super::transaction::{Deliveries, TransactionalProducer, Transactions};
use super::trouble::explain;
use super::{KafkaOptions, OPEN_TIMEOUT, settings};
use crate::log::{check_sizes, spent};

pub(super) struct KafkaWriter {
    /// Dropping it ends the thread, which destroys the producer.
    jobs: mpsc::SyncSender<Job>,
    max_record_bytes: usize,
    /// False while an append is under way, so one that is cancelled leaves it so.
    usable: bool,
}

struct Job {
    records: Vec<Record>,
    reply: oneshot::Sender<Result<Offset, AppendError>>,
}

impl KafkaWriter {
    /// Takes the partition: the broker fences earlier producers and decides what they had in flight.
    pub(super) async fn open(options: &Arc<KafkaOptions>, partition: u32) -> Result<Self, LogError> {
        let broken = |error| LogError::broken("start the writer's thread", error);
        let (jobs, inbox) = mpsc::sync_channel(1);
        let (ready, opened) = oneshot::channel();
        let shared = Arc::clone(options);
        std::thread::Builder::new()
            .name(format!("log-writer-{partition}"))
            .spawn(move || run(&shared, partition, &inbox, ready))
            .map_err(broken)?;
        opened.await.unwrap_or(Err(LogError::broken("take over the partition", KafkaError::Canceled)))?;
        Ok(Self { jobs, max_record_bytes: options.max_record_bytes, usable: true })
    }
}

impl LogWriter for KafkaWriter {
    fn append(&mut self, records: Vec<Record>) -> BoxFuture<'_, Result<Offset, AppendError>> {
        Box::pin(async move {
            check_sizes(&records, self.max_record_bytes)?;
            if !std::mem::take(&mut self.usable) {
                return Err(spent());
            }
            let (reply, answer) = oneshot::channel();
            // There is at most one append under way, so this never blocks; a thread that has ended does not answer.
            if self.jobs.try_send(Job { records, reply }).is_err() {
                return Err(spent());
            }
            let result = answer.await.unwrap_or_else(|_| Err(spent()));
            self.usable = result.is_ok();
            result
        })
    }
}

fn run(
    options: &KafkaOptions,
    partition: u32,
    inbox: &mpsc::Receiver<Job>,
    ready: oneshot::Sender<Result<(), LogError>>,
) {
    let deliveries = Deliveries::default();
    let (producer, opened) = match open(options, partition, &deliveries) {
        Ok(producer) => (Some(producer), Ok(())),
        Err(error) => {
            let explained = explain(error, deliveries.witness());
            (None, Err(LogError::broken("take over the partition", explained)))
        }
    };
    // Whoever asked for the writer may have gone; then the inbox is closed as well.
    let _ = ready.send(opened);
    let Some(producer) = producer else {
        return;
    };
    let transactions = Transactions { producer: &producer, deliveries: &deliveries, topic: &options.topic, partition };
    while let Ok(job) = inbox.recv() {
        let result = transactions.append(&job.records);
        let failed = result.is_err();
        // The caller may have gone; the log knows what became of the records.
        let _ = job.reply.send(result);
        if failed {
            break;
        }
    }
    debug!(topic = options.topic, partition, "the writer's producer is closed");
}

fn open(options: &KafkaOptions, partition: u32, deliveries: &Deliveries) -> KafkaResult<TransactionalProducer> {
    let config = settings::transactional_producer(options, partition);
    let producer = TransactionalProducer::from_config_and_context(&config, deliveries.clone())?;
    producer.init_transactions(OPEN_TIMEOUT)?;
    Ok(producer)
}

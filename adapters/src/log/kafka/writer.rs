//! The writer of a partition: a thread that owns a transactional producer, and the handle that hands it batches.

use std::sync::{Arc, mpsc};

use lotline_domain::port::{AppendError, BoxFuture, LogError, LogWriter};
use lotline_domain::record::{Offset, Record};
use rdkafka::error::KafkaError;
use tokio::sync::oneshot;
use tracing::debug;

use super::rotation::Rotation;
use super::{KafkaOptions, threads};
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
        threads::spawn(format!("log-writer-{partition}"), move || run(&shared, partition, &inbox, ready))
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
    options: &Arc<KafkaOptions>,
    partition: u32,
    inbox: &mpsc::Receiver<Job>,
    ready: oneshot::Sender<Result<(), LogError>>,
) {
    let (rotation, opened) = match Rotation::open(options, partition) {
        Ok(rotation) => (Some(rotation), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Whoever asked for the writer may have gone; then the inbox is closed as well.
    let _ = ready.send(opened);
    let Some(mut rotation) = rotation else {
        return;
    };
    while let Ok(job) = inbox.recv() {
        let result = rotation.append(&job.records);
        let failed = result.is_err();
        // The caller may have gone; the log knows what became of the records.
        let _ = job.reply.send(result);
        if failed {
            break;
        }
    }
    debug!(topic = options.topic, partition, "the writer's producer is closed");
}

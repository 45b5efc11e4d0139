//! The disk between machines and the log: a sample that was read is not lost because the log can't be reached.
//!
//! All file I/O is blocking and runs on one thread, which gathers batches for a few milliseconds and fsyncs them together. A batch
//! gets its sequence when it is written; only what has been fsynced is ever given to the publisher. While the disk fails or is full
//! the thread tries again with the same group, the queue before it fills, and what no longer fits is counted as dropped.

pub mod recovery;
#[cfg(test)]
pub(crate) mod scratch;
pub mod segment;
pub mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use lotline_domain::sample::{SignalBatch, codec};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

pub use self::segment::Entry;
use self::store::Store;
pub use self::store::{BufferError, StoreOptions};

/// How a buffer gathers and queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupOptions {
    /// How long batches are gathered before one fsync.
    pub window: Duration,
    /// Most batches that wait for the disk.
    pub queue: usize,
}

/// Handle of a buffer; clones share it.
#[derive(Debug, Clone)]
pub struct Buffer {
    tasks: Sender<Task>,
    queued: Arc<AtomicUsize>,
    queue: usize,
    epoch: Uuid,
    progress: watch::Receiver<Progress>,
}

/// How far the buffer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Sequence of the next batch; all before it are on disk.
    pub next: u64,
    /// First sequence that is not acknowledged.
    pub cursor: u64,
    /// Size on disk.
    pub bytes: u64,
    /// Batches lost since the opening: dropped at the cap, or damaged on disk.
    pub lost: u64,
}

type Reply<T> = oneshot::Sender<Result<T, BufferError>>;

#[derive(Debug)]
enum Task {
    Append(SignalBatch, Option<Reply<u64>>),
    Read { max_entries: usize, max_bytes: usize, reply: Reply<Vec<Entry>> },
    Acknowledge { next: u64, reply: Reply<()> },
    Flush(Reply<()>),
    Close(Reply<()>),
}

impl Buffer {
    /// Opens the buffer and starts its thread. `fresh` becomes the epoch when the buffer is new.
    ///
    /// # Errors
    /// [`BufferError`] when the directory can't be used.
    pub async fn open(store: StoreOptions, group: GroupOptions, fresh: Uuid) -> Result<Self, BufferError> {
        let (tasks, inbox) = channel();
        let (opened, ready) = oneshot::channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&queued);
        let run = move || match Store::open(store, fresh) {
            Ok(store) => {
                let (sender, progress) = watch::channel(progress_of(&store));
                if opened.send(Ok((store.epoch(), progress))).is_ok() {
                    Writer { store, window: group.window, queued: counter, progress: sender }.run(&inbox);
                }
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        };
        thread::Builder::new().name("buffer".into()).spawn(run).map_err(BufferError::io("start its thread"))?;
        let (epoch, progress) = ready.await.map_err(|_| BufferError::Closed)??;
        Ok(Self { tasks, queued, queue: group.queue, epoch, progress })
    }

    /// UUID of this buffer's life.
    pub fn epoch(&self) -> Uuid {
        self.epoch
    }

    /// How far it has come, to look at or to wait on.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Queues a batch without waiting; its epoch and sequence are filled in. False when it had to be dropped.
    pub fn offer(&self, batch: SignalBatch) -> bool {
        let taken = self.send(batch, None).is_ok();
        if !taken {
            metrics::counter!("lotline_collector_dropped_batches_total", "reason" => "queue").increment(1);
        }
        taken
    }

    /// Queues a batch and waits until it is on disk; gives its sequence.
    ///
    /// # Errors
    /// [`BufferError::Full`], nothing was queued, or [`BufferError::Closed`], it is not known whether the batch is on disk.
    pub async fn append(&self, batch: SignalBatch) -> Result<u64, BufferError> {
        let (reply, answer) = oneshot::channel();
        self.send(batch, Some(reply))?;
        answer.await.map_err(|_| BufferError::Closed)?
    }

    /// The next entries after those given out before: at most `max_entries`, and about `max_bytes`.
    ///
    /// # Errors
    /// The file system's, or [`BufferError::Closed`].
    pub async fn read(&self, max_entries: usize, max_bytes: usize) -> Result<Vec<Entry>, BufferError> {
        self.ask(|reply| Task::Read { max_entries, max_bytes, reply }).await
    }

    /// Everything before `next` has arrived in the log.
    ///
    /// # Errors
    /// The file system's, or [`BufferError::Closed`]; entries may then be published again after a restart.
    pub async fn acknowledge(&self, next: u64) -> Result<(), BufferError> {
        self.ask(|reply| Task::Acknowledge { next, reply }).await
    }

    /// Writes what is queued without waiting for the window to end.
    ///
    /// # Errors
    /// What is queued could not be written and is tried again later, or [`BufferError::Closed`].
    pub async fn flush(&self) -> Result<(), BufferError> {
        self.ask(Task::Flush).await
    }

    /// Writes what is queued and ends the thread.
    ///
    /// # Errors
    /// What is queued could not be written, or [`BufferError::Closed`].
    pub async fn close(&self) -> Result<(), BufferError> {
        self.ask(Task::Close).await
    }

    fn send(&self, batch: SignalBatch, reply: Option<Reply<u64>>) -> Result<(), BufferError> {
        let room = |queued: usize| (queued < self.queue).then_some(queued + 1);
        self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).map_err(|_| BufferError::Full)?;
        self.tasks.send(Task::Append(batch, reply)).map_err(|_| BufferError::Closed)
    }

    async fn ask<T>(&self, task: impl FnOnce(Reply<T>) -> Task) -> Result<T, BufferError> {
        let (reply, answer) = oneshot::channel();
        self.tasks.send(task(reply)).map_err(|_| BufferError::Closed)?;
        answer.await.map_err(|_| BufferError::Closed)?
    }
}

/// A group is written before its window ends once it has this many batches.
const MAX_GROUP: usize = 1_024;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);

struct Writer {
    store: Store,
    window: Duration,
    queued: Arc<AtomicUsize>,
    progress: watch::Sender<Progress>,
}

/// Batches on their way to disk.
#[derive(Default)]
struct Group {
    batches: Vec<SignalBatch>,
    replies: Vec<Option<Reply<u64>>>,
    due: Option<Instant>,
    retry: Option<Duration>,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Task>) {
        let mut group = Group::default();
        loop {
            let next = match group.due {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match next {
                Ok(Task::Append(batch, reply)) => {
                    group.due.get_or_insert_with(|| Instant::now() + self.window);
                    group.batches.push(batch);
                    group.replies.push(reply);
                }
                Ok(Task::Read { max_entries, max_bytes, reply }) => {
                    let entries = self.store.read(max_entries, max_bytes).map_err(BufferError::io("read entries"));
                    let _ = reply.send(entries);
                    self.report();
                }
                Ok(Task::Acknowledge { next, reply }) => {
                    let moved = self.store.acknowledge(next).map_err(BufferError::io("move its cursor"));
                    let _ = reply.send(moved);
                    self.report();
                }
                Ok(Task::Flush(reply)) => {
                    let _ = reply.send(self.commit(&mut group).map_err(BufferError::io("write entries")));
                }
                Ok(Task::Close(reply)) => {
                    let written = self.commit(&mut group).map_err(BufferError::io("write entries"));
                    // Closed means that the directory can be opened again.
                    drop(self.store);
                    let _ = reply.send(written);
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.commit(&mut group);
                    return;
                }
            }
            let full = group.batches.len() >= MAX_GROUP && group.retry.is_none();
            if full || group.due.is_some_and(|due| due <= Instant::now()) {
                let _ = self.commit(&mut group);
            }
        }
    }

    /// Writes the group; after a failure the group stays, to be tried again later.
    fn commit(&mut self, group: &mut Group) -> std::io::Result<()> {
        if group.batches.is_empty() {
            return Ok(());
        }
        let (base, epoch) = (self.store.next_sequence(), self.store.epoch());
        let mut payloads = Vec::with_capacity(group.batches.len());
        for (sequence, batch) in (base..).zip(&mut group.batches) {
            (batch.epoch, batch.sequence) = (epoch, sequence);
            payloads.push(codec::encode(batch));
        }
        let began = Instant::now();
        if let Err(error) = self.store.append(&payloads) {
            let wait = group.retry.map_or(FIRST_RETRY, |last| (last * 2).min(LAST_RETRY));
            if group.retry.is_none() {
                tracing::error!(%error, batches = payloads.len(), "the buffer can't be written; trying again");
            }
            metrics::counter!("lotline_collector_buffer_write_errors_total").increment(1);
            group.retry = Some(wait);
            group.due = Some(Instant::now() + wait);
            return Err(error);
        }
        metrics::histogram!("lotline_collector_buffer_fsync_seconds").record(began.elapsed().as_secs_f64());
        if group.retry.is_some() {
            tracing::info!("the buffer is written again");
        }
        self.queued.fetch_sub(payloads.len(), Ordering::Relaxed);
        for (sequence, reply) in (base..).zip(std::mem::take(group).replies) {
            if let Some(reply) = reply {
                let _ = reply.send(Ok(sequence));
            }
        }
        self.report();
        Ok(())
    }

    fn report(&self) {
        let now = progress_of(&self.store);
        let mut lost = 0;
        self.progress.send_if_modified(|before| {
            lost = now.lost - before.lost;
            std::mem::replace(before, now) != now
        });
        if lost > 0 {
            metrics::counter!("lotline_collector_dropped_batches_total", "reason" => "cap").increment(lost);
            tracing::error!(batches = lost, "the buffer lost batches that were not yet published");
        }
        metrics::gauge!("lotline_collector_buffer_batches").set((now.next - now.cursor) as f64);
        metrics::gauge!("lotline_collector_buffer_bytes").set(now.bytes as f64);
    }
}

fn progress_of(store: &Store) -> Progress {
    Progress { next: store.next_sequence(), cursor: store.cursor(), bytes: store.bytes(), lost: store.lost() }
}

#[cfg(test)]
mod tests;

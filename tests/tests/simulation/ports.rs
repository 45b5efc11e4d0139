//! The outside of a simulated process: its log, snapshots, clock and ids, each of which fails as the world's chance will have it.
//!
//! Planted bugs live here too, at the ports: a log that acknowledges before it appends shows from outside what a writer that answers
//! before it has committed would show. Nothing in the product knows of them.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lotline_adapters::log::memory::{Fault, MemoryLog};
use lotline_domain::port::{AppendError, BoxFuture, Clock, EventLog, Ids, LogError, LogRead, LogReader, LogWriter};
use lotline_domain::record::{Offset, ReadBatch, Record};
use lotline_domain::timestamp::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::mutations::Mutation;
use crate::world::World;

/// Stands open or shut; those who wait go on in the order in which they came.
#[derive(Default)]
pub(crate) struct Gate {
    shut: AtomicBool,
    opened: Notify,
}

impl Gate {
    pub(crate) fn set(&self, open: bool) {
        self.shut.store(!open, Ordering::Relaxed);
        if open {
            self.opened.notify_waiters();
        }
    }

    pub(crate) async fn pass(&self) {
        loop {
            let opened = self.opened.notified();
            if !self.shut.load(Ordering::Relaxed) {
                return;
            }
            opened.await;
        }
    }
}

/// Where a process runs, for as long as it lives.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) world: Arc<World>,
    /// Shut while the process is paused: nothing goes out and nothing comes in.
    pub(crate) gate: Gate,
}

impl Host {
    /// A call that leaves the process.
    pub(crate) async fn call(&self, action: &'static str) -> Result<(), LogError> {
        self.gate.pass().await;
        self.world.lag().await;
        self.gate.pass().await;
        if self.world.hiccup(0.05) { Err(LogError::broken(action, "injected")) } else { Ok(()) }
    }
}

/// The time of a process, which may be wrong.
pub(crate) struct SimClock {
    pub(crate) started: Instant,
    /// Added to the right time, in microseconds.
    pub(crate) wrong_by: AtomicI64,
}

pub(crate) const EPOCH: &str = "2026-11-21T03:15:00Z";

impl SimClock {
    pub(crate) fn right(&self) -> Timestamp {
        let start = Timestamp::parse(EPOCH).expect("a valid time");
        start.plus_micros(self.started.elapsed().as_micros() as i64)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.right().plus_micros(self.wrong_by.load(Ordering::Relaxed))
    }
}

/// Ids that count.
#[derive(Default)]
pub(crate) struct SimIds(AtomicU64);

impl Ids for SimIds {
    fn uuid_v7(&self, now: Timestamp) -> Uuid {
        let millis = u128::from(now.millis().unsigned_abs()) & 0xffff_ffff_ffff;
        let count = u128::from(self.0.fetch_add(1, Ordering::Relaxed));
        Uuid::from_u128((millis << 80) | (0x7 << 76) | (0x2 << 62) | count)
    }
}

/// The ledger as one process reaches it.
pub(crate) struct SimLog {
    pub(crate) host: Arc<Host>,
    pub(crate) log: MemoryLog,
    /// Ends that were asked for too early, by partition; for one planted bug.
    early_ends: Mutex<Vec<Option<Offset>>>,
}

impl SimLog {
    pub(crate) fn new(host: Arc<Host>, log: MemoryLog) -> Self {
        let early_ends = Mutex::new(vec![None; log.partitions() as usize]);
        Self { host, log, early_ends }
    }

    fn early_end(&self, partition: u32) -> Option<Offset> {
        self.early_ends.lock().expect("nothing panics under this lock")[partition as usize].take()
    }
}

impl LogRead for SimLog {
    fn topic(&self) -> &str {
        self.log.topic()
    }

    fn partitions(&self) -> u32 {
        self.log.partitions()
    }

    fn end(&self, partition: u32) -> BoxFuture<'_, Result<Offset, LogError>> {
        Box::pin(async move {
            self.host.call("find the end").await?;
            let end = self.log.end(partition).await?;
            match self.host.world.mutation {
                Some(Mutation::ServesBeforeTheEnd) => Ok((end - 1).max(0)),
                Some(Mutation::LooksThenFences) => Ok(self.early_end(partition).unwrap_or(end)),
                _ => Ok(end),
            }
        })
    }

    fn reader(&self, partition: u32, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        Box::pin(async move {
            self.host.call("open a reader").await?;
            let inner = self.log.reader(partition, from).await?;
            Ok(Box::new(SimReader { host: Arc::clone(&self.host), inner }) as Box<dyn LogReader>)
        })
    }
}

impl EventLog for SimLog {
    fn max_record_bytes(&self) -> usize {
        self.log.max_record_bytes()
    }

    fn writer(&self, partition: u32) -> BoxFuture<'_, Result<Box<dyn LogWriter>, LogError>> {
        Box::pin(async move {
            let world = &self.host.world;
            self.host.call("become the writer").await?;
            if world.mutation == Some(Mutation::LooksThenFences) {
                let end = self.log.end(partition).await?;
                self.early_ends.lock().expect("nothing panics under this lock")[partition as usize] = Some(end);
                sleep(world.chance.millis(50, 1_000)).await;
            }
            let inner = self.log.writer(partition).await?;
            world.tally(|tally| tally.takeovers += 1);
            // The fence may stand although nobody says so.
            self.host.call("become the writer").await?;
            let (host, inner) = (Arc::clone(&self.host), Arc::new(tokio::sync::Mutex::new(inner)));
            Ok(Box::new(SimWriter { host, log: self.log.clone(), partition, inner, promised: 0 }) as Box<dyn LogWriter>)
        })
    }
}

/// The right to append. The broker is another machine: what has reached it lands although its sender dies.
struct SimWriter {
    host: Arc<Host>,
    log: MemoryLog,
    partition: u32,
    inner: Arc<tokio::sync::Mutex<Box<dyn LogWriter>>>,
    /// The end as it was promised to the writer; for one planted bug.
    promised: Offset,
}

impl SimWriter {
    fn fate(&self) -> Vec<Fault> {
        let world = &self.host.world;
        let mut fate = Vec::new();
        if world.hiccup(0.1) {
            fate.push(Fault::Gap(world.chance.between(1, 3) as u32));
        }
        if world.hiccup(0.3) {
            fate.push(match world.chance.between(0, 3) {
                0 => Fault::Lost,
                1 => {
                    world.tally(|tally| tally.lost_answers += 1);
                    Fault::Unacknowledged
                }
                2 => {
                    world.tally(|tally| tally.late_appends += 1);
                    Fault::Late(world.chance.millis(1, 2_000))
                }
                _ => Fault::Fenced,
            });
        }
        if fate.iter().any(|fault| !matches!(fault, Fault::Gap(_))) {
            world.tally(|tally| tally.unsure += 1);
        }
        fate
    }

    async fn append_through(&self, records: Vec<Record>) -> Result<Offset, AppendError> {
        let world = Arc::clone(&self.host.world);
        let (log, partition, fate) = (self.log.clone(), self.partition, self.fate());
        let inner = Arc::clone(&self.inner);
        let (reply, answer) = oneshot::channel();
        tokio::spawn(async move {
            world.lag().await;
            let mut inner = inner.lock().await;
            // Nobody else runs between these and the append, so they happen to it.
            for fault in fate {
                log.faults().push(fault);
            }
            let landed = match world.mutation {
                Some(Mutation::WritesWithoutFence) => {
                    let landed = inner.append(records.clone()).await;
                    if matches!(landed, Err(AppendError::Fenced)) { foreign(&log, partition, records) } else { landed }
                }
                Some(Mutation::AppendsAgainBlindly) => {
                    let landed = inner.append(records.clone()).await;
                    if matches!(landed, Err(AppendError::Unknown(_)))
                        && let Ok(fresh) = log.writer(partition).await
                    {
                        *inner = fresh;
                        inner.append(records).await
                    } else {
                        landed
                    }
                }
                Some(Mutation::TearsBatches) if records.len() > 1 => {
                    let torn = inner.append(records[..records.len() - 1].to_vec()).await;
                    torn.map(|last| last + 1)
                }
                _ => inner.append(records).await,
            };
            drop(inner);
            world.lag().await;
            drop(reply.send(landed));
        });
        let landed = answer.await.map_err(|_| unknown("the broker is gone"))?;
        self.host.gate.pass().await;
        landed
    }

    /// Says that it is done, and only then does it.
    async fn append_afterwards(&mut self, records: Vec<Record>) -> Result<Offset, AppendError> {
        let end = self.log.end(self.partition).await.map_err(|_| unknown("no end"))?;
        self.promised = self.promised.max(end) + records.len() as Offset;
        let (inner, delay) = (Arc::clone(&self.inner), self.host.world.chance.millis(1, 20));
        tokio::spawn(async move {
            let mut inner = inner.lock().await;
            sleep(delay).await;
            drop(inner.append(records).await);
        });
        Ok(self.promised - 1)
    }
}

impl LogWriter for SimWriter {
    fn append(&mut self, records: Vec<Record>) -> BoxFuture<'_, Result<Offset, AppendError>> {
        Box::pin(async move {
            self.host.gate.pass().await;
            if self.host.world.mutation == Some(Mutation::AnswersBeforeCommit) {
                return self.append_afterwards(records).await;
            }
            self.append_through(records).await
        })
    }
}

fn unknown(why: &'static str) -> AppendError {
    AppendError::Unknown(why.into())
}

fn foreign(log: &MemoryLog, partition: u32, records: Vec<Record>) -> Result<Offset, AppendError> {
    let mut last = Err(unknown("nothing to append"));
    for record in records {
        last = log.append_foreign(partition, record).map_err(|_| unknown("no such partition"));
    }
    last
}

struct SimReader {
    host: Arc<Host>,
    inner: Box<dyn LogReader>,
}

impl LogReader for SimReader {
    fn read(&mut self, max: usize, wait: Duration) -> BoxFuture<'_, Result<ReadBatch, LogError>> {
        Box::pin(async move {
            self.host.call("read").await?;
            let world = &self.host.world;
            // One by one, so that this bug is not healed by reading further than it asked for.
            let max = if world.mutation == Some(Mutation::LooksThenFences) { 1 } else { max };
            let max = if world.hiccup(0.3) { max.min(world.chance.between(1, 5) as usize) } else { max };
            let mut read = self.inner.read(max, wait).await?;
            if world.mutation == Some(Mutation::SkipsARecord) && read.records.len() > 1 && world.chance.odds(0.1) {
                let skipped = world.chance.below(read.records.len());
                read.records.remove(skipped);
            }
            self.host.gate.pass().await;
            Ok(read)
        })
    }
}

//! Follows one partition of the signals topic: counts each batch once and keeps latest values and history.
//!
//! A record that is no batch, or of an absurd time, or that PostgreSQL will not take, is recorded as rejected and skipped; other
//! collectors go on.

use lotline_domain::port::LogReader;
use lotline_domain::record::Offset;
use lotline_domain::timestamp::Timestamp;
use sqlx::Connection;
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::pace::{Pace, READ_WAIT};
use super::{Backoff, Interrupt, WorkerContext, WorkerError, meter};
use crate::connection::Expendable;
use crate::failure::ApplyError;
use crate::model::Model;
use crate::offsets::{Cursor, Place, Stage, Step};
use crate::samples::{self, Dropped, Seen, Shelf, SignalRecord};

const MAX_RECORDS: usize = 2_000;
/// About a hundred thousand samples in one transaction.
const MAX_BYTES: usize = 2 << 20;
const LOOK_AT_END_EVERY: Duration = Duration::from_secs(1);

/// Carries one partition of the signals topic into [`Model::Samples`].
pub struct SignalsWorker {
    context: WorkerContext,
    place: Place,
}

/// A partition being followed.
pub(super) struct Followed {
    pub(super) cursor: Cursor,
    reader: Box<dyn LogReader>,
    pace: Pace,
    seen: Seen,
    looked: Option<Instant>,
    /// When the last batch was collected.
    last: Option<Timestamp>,
}

/// Records of one read.
struct SignalBatches {
    records: Vec<SignalRecord>,
    next: Offset,
}

/// What became of one transaction.
enum Attempt {
    Applied(Seen, Dropped),
    Overtaken,
}

impl SignalsWorker {
    /// A worker for a partition. Any number may run on one partition, in any processes; they slow each other down and do no harm.
    pub fn new(context: WorkerContext, partition: u32) -> Self {
        let place = context.place(partition);
        Self { context, place }
    }

    /// Follows the log until cancelled.
    ///
    /// # Errors
    /// [`WorkerError::Log`] for what waiting can't heal.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), WorkerError> {
        let mut backoff = Backoff::default();
        loop {
            let interrupt = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                interrupt = self.follow(&mut backoff) => interrupt,
            };
            match interrupt {
                Interrupt::Fatal(error) => return Err(error),
                Interrupt::Overtaken => meter::overtaken(&self.place, Model::Samples),
                Interrupt::Outage { doing, error } => {
                    let partition = self.place.partition;
                    tracing::warn!(log.partition = partition, doing, error, "signals are interrupted, trying again");
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = backoff.wait() => {}
            }
        }
    }

    async fn follow(&self, backoff: &mut Backoff) -> Interrupt {
        match self.try_follow(backoff).await {
            Err(interrupt) => interrupt,
            Ok(never) => match never {},
        }
    }

    async fn try_follow(&self, backoff: &mut Backoff) -> Result<std::convert::Infallible, Interrupt> {
        let mut followed = self.open(Stage::Live).await?;
        loop {
            self.step(&mut followed).await?;
            backoff.reset();
            self.show(&mut followed).await;
        }
    }

    /// Reads once and carries what came.
    pub(super) async fn step(&self, followed: &mut Followed) -> Result<(), Interrupt> {
        let read = followed.reader.read(followed.pace.records(), READ_WAIT).await;
        let read = read.map_err(|error| Interrupt::log(self.place.partition, error))?;
        followed.pace.learn(read.records.len(), read.records.iter().map(|stored| stored.record.size()).sum());
        let records = read.records.iter().map(|stored| SignalRecord::read(&self.place.tenant, stored)).collect();
        self.carry(followed, SignalBatches { records, next: read.next }).await
    }

    pub(super) async fn open(&self, stage: Stage) -> Result<Followed, Interrupt> {
        let pool = &self.context.pool;
        let resumed = self.place.resume(pool, &[Model::Samples], stage).await;
        let cursor = resumed.map_err(|error| Interrupt::database(&error))?.cursors.pop().ok_or(Interrupt::Overtaken)?;
        // Should another projector commit in between, this set is newer than the offset, and the first step fails for the offset.
        let seen = Seen::load(pool, &self.place, cursor.generation).await;
        let seen = seen.map_err(|error| Interrupt::database(&error))?;
        let reader = self.context.log.reader(self.place.partition, cursor.next).await;
        let reader = reader.map_err(|error| Interrupt::log(self.place.partition, error))?;
        let pace = Pace::new(MAX_RECORDS, MAX_BYTES);
        Ok(Followed { cursor, reader, pace, seen, looked: None, last: None })
    }

    async fn carry(&self, followed: &mut Followed, mut batches: SignalBatches) -> Result<(), Interrupt> {
        let started = Instant::now();
        let mut backoff = Backoff::default();
        let mut open = if followed.cursor.next < batches.next { vec![(0, batches.records.len())] } else { Vec::new() };
        // Ranges still to do, the next one on top. A range that fails is halved until a single record is at fault.
        while let Some((from, to)) = open.pop() {
            let (records, next) = (&batches.records[from..to], batches.next_after(to));
            match self.apply_once(&followed.cursor, &followed.seen, records, next).await {
                Ok(Attempt::Applied(newer, dropped)) => {
                    followed.cursor.next = next;
                    followed.seen.merge(newer);
                    let mut good = batches.records[from..to].iter().rev().filter(|record| record.complaint().is_none());
                    let good = good.find_map(|record| record.batch.as_ref().ok());
                    followed.last = good.map(|batch| batch.collected_at).or(followed.last);
                    self.report(&batches.records[from..to], dropped);
                }
                Ok(Attempt::Overtaken) => return Err(Interrupt::Overtaken),
                Err(error) if error.is_poison() && from + 1 < to => {
                    let middle = usize::midpoint(from, to);
                    open.push((middle, to));
                    open.push((from, middle));
                }
                Err(error)
                    if error.is_poison() && batches.records.get(from).is_some_and(|record| record.batch.is_ok()) =>
                {
                    batches.records[from].batch = Err(error.full_text());
                    open.push((from, to));
                }
                Err(error) => {
                    let (partition, error) = (self.place.partition, error.full_text());
                    tracing::warn!(log.partition = partition, error, "PostgreSQL did not take signals, trying again");
                    meter::retried(&self.place, Model::Samples);
                    backoff.wait().await;
                    open.push((from, to));
                }
            }
        }
        meter::applied(&self.place, Model::Samples, batches.records.len(), started.elapsed());
        Ok(())
    }

    /// One transaction: the offset, which also shuts out other projectors, then the rows.
    async fn apply_once(
        &self,
        cursor: &Cursor,
        seen: &Seen,
        records: &[SignalRecord],
        next: Offset,
    ) -> Result<Attempt, ApplyError> {
        let step = Step { from: cursor, next, heads: std::collections::BTreeMap::new(), halt: false, traced: &[] };
        let mut connection = Expendable::acquire(&self.context.pool).await?;
        let mut tx = connection.get().begin().await?;
        if !self.place.advance(&mut tx, &step).await? {
            return Ok(Attempt::Overtaken);
        }
        let shelf = Shelf { place: &self.place, generation: cursor.generation };
        let (newer, dropped) = samples::apply(&mut tx, shelf, records, seen).await?;
        tx.commit().await?;
        connection.keep();
        Ok(Attempt::Applied(newer, dropped))
    }

    fn report(&self, records: &[SignalRecord], dropped: Dropped) {
        meter::dropped(&self.place, dropped.duplicates, dropped.rejected);
        for record in records {
            if let Some(error) = record.complaint() {
                tracing::warn!(
                    log.partition = self.place.partition,
                    log.offset = record.offset,
                    error,
                    "a record of the signals topic was rejected"
                );
            }
        }
    }

    async fn show(&self, followed: &mut Followed) {
        if followed.looked.is_some_and(|looked| looked.elapsed() < LOOK_AT_END_EVERY) {
            return;
        }
        followed.looked = Some(Instant::now());
        if let Ok(Ok(end)) = timeout(LOOK_AT_END_EVERY, self.context.log.end(self.place.partition)).await {
            let now = self.context.clock.now();
            meter::stands(&self.place, Model::Samples, followed.cursor.next, end, followed.last, now);
        }
    }
}

impl SignalBatches {
    /// The next offset of a reader that has seen the records before `end`.
    fn next_after(&self, end: usize) -> Offset {
        self.records.get(end).map_or(self.next, |record| record.offset)
    }
}

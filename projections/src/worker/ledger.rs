//! Follows one partition of the ledger: checks the chain, decodes each event once, and carries it into every read model.
//!
//! While the models apply one batch, the next is read and checked. Models are carried side by side, each by its own offset, so one that
//! is rebuilt or slow does not hold the others' offsets back; a batch is read from the rearmost.

use std::collections::BTreeMap;
use std::sync::Arc;

use lotline_domain::chain::{Chain, ChainBreak, ChainHead};
use lotline_domain::port::LogReader;
use lotline_domain::record::Offset;
use lotline_domain::timestamp::Timestamp;
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::apply::{Halted, Stopped, Target};
use super::pace::{Pace, READ_WAIT};
use super::{Backoff, Interrupt, WorkerContext, WorkerError, meter};
use crate::batch::LedgerBatch;
use crate::failure::full_text;
use crate::model::Model;
use crate::offsets::{Cursor, HaltCause, NewHalt, Place, Resume, Stage};

const MAX_RECORDS: usize = 10_000;
const MAX_BYTES: usize = 16 << 20;
const LOOK_AT_END_EVERY: Duration = Duration::from_secs(1);

/// Carries one partition of the ledger into all its read models.
pub struct LedgerWorker {
    pub(super) context: WorkerContext,
    pub(super) target: Target,
}

/// What was read ahead.
pub(super) struct Fetched {
    pub(super) batch: Arc<LedgerBatch>,
    pub(super) broken: Option<ChainBreak>,
}

/// A partition being read.
pub(super) struct Source {
    reader: Box<dyn LogReader>,
    chain: Chain,
    pace: Pace,
    place: Place,
}

impl LedgerWorker {
    /// A worker for a partition. Any number may run on one partition, in any processes; they slow each other down and do no harm.
    pub fn new(context: WorkerContext, partition: u32) -> Self {
        let (pool, place, traces) = (context.pool.clone(), context.place(partition), context.traces.clone());
        let target = Target { pool, place, lanes: None, traces };
        Self { context, target }
    }

    /// Follows the log until cancelled.
    ///
    /// # Errors
    /// [`WorkerError`] for what waiting can't heal.
    pub async fn run(self, cancel: CancellationToken) -> Result<(), WorkerError> {
        let mut backoff = Backoff::default();
        loop {
            let interrupt = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                interrupt = self.follow(&mut backoff) => interrupt,
            };
            match interrupt {
                Interrupt::Fatal(error) => return Err(error),
                Interrupt::Overtaken => {}
                Interrupt::Outage { doing, error } => {
                    let partition = self.target.place.partition;
                    tracing::warn!(
                        log.partition = partition,
                        doing,
                        error,
                        "projections are interrupted, trying again"
                    );
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
        let place = &self.target.place;
        let resumed = place.resume(&self.context.pool, &Model::LEDGER, Stage::Live).await;
        let Resume { mut cursors, heads, mut broken_at } = resumed.map_err(|error| Interrupt::database(&error))?;
        let mut source = Source::open(&self.context, place, &cursors, heads).await?;
        let mut meter = Meter::new(self, &cursors);
        let mut fetched = source.fetch().await?;
        loop {
            if let Some(broken) = fetched.broken {
                self.carry(cursors, &fetched.batch).await?;
                return Err(self.stop(broken).await?);
            }
            let (carried, ahead) = tokio::join!(self.carry(cursors, &fetched.batch), source.fetch());
            cursors = carried?;
            backoff.reset();
            if broken_at.is_some_and(|offset| fetched.batch.next > offset) {
                place.mend(&self.context.pool, &Model::LEDGER).await.map_err(|error| Interrupt::database(&error))?;
                broken_at = None;
            }
            let looked = meter.show(self, &cursors, &fetched.batch).await;
            if looked && cursors.iter().any(|cursor| !cursor.halted.is_empty()) && self.heal().await? {
                return Err(Interrupt::Overtaken);
            }
            fetched = ahead?;
        }
    }

    async fn carry(&self, cursors: Vec<Cursor>, batch: &Arc<LedgerBatch>) -> Result<Vec<Cursor>, Interrupt> {
        match self.target.carry_all(cursors, batch).await {
            Ok(carried) => Ok(carried),
            // Only a rebuild stops at poison, and this is none.
            Err(Halted::Stopped(Stopped::Overtaken | Stopped::Poison(_))) => Err(Interrupt::Overtaken),
            Err(Halted::Panicked(error)) => {
                Err(Interrupt::Outage { doing: "applying a batch", error: full_text(&error) })
            }
        }
    }

    /// Marks every model degraded and gives the reason to stop.
    async fn stop(&self, source: ChainBreak) -> Result<Interrupt, Interrupt> {
        let place = &self.target.place;
        let error = full_text(&source);
        tracing::error!(
            stream = source.stream,
            log.partition = place.partition,
            log.offset = source.offset,
            error,
            "the ledger is broken: the projections of this partition have stopped"
        );
        meter::chain_broken(place, true);
        // A foreign record's key is of any content; the table takes no NUL.
        let stream = source.stream.replace('\0', "\u{fffd}");
        let halt = NewHalt {
            cause: HaltCause::ChainBreak,
            stream: &stream,
            offset: source.offset,
            sequence: None,
            error: &error,
        };
        let recorded = async {
            let mut connection = self.context.pool.acquire().await?;
            place.halt(&mut connection, &Model::LEDGER, &halt).await
        };
        recorded.await.map_err(|error| Interrupt::database(&error))?;
        Ok(Interrupt::Fatal(WorkerError::ChainBreak { partition: place.partition, source }))
    }
}

impl Source {
    /// Opens the log where the rearmost of the cursors stands; `heads` are those of the streams there.
    pub(super) async fn open(
        context: &WorkerContext,
        place: &Place,
        cursors: &[Cursor],
        heads: BTreeMap<String, ChainHead>,
    ) -> Result<Self, Interrupt> {
        let from = cursors.iter().map(|cursor| cursor.next).min().unwrap_or(0);
        let opened = context.log.reader(place.partition, from).await;
        let reader = opened.map_err(|error| Interrupt::log(place.partition, error))?;
        Ok(Self { reader, chain: Chain::resume(heads), pace: Pace::new(MAX_RECORDS, MAX_BYTES), place: place.clone() })
    }

    pub(super) async fn fetch(&mut self) -> Result<Fetched, Interrupt> {
        let place = &self.place;
        let read = self.reader.read(self.pace.records(), READ_WAIT).await;
        let read = read.map_err(|error| Interrupt::log(place.partition, error))?;
        let (batch, broken) = LedgerBatch::admit(&place.tenant, place.partition, &mut self.chain, read).await;
        self.pace.learn(batch.events.len(), batch.bytes);
        Ok(Fetched { batch: Arc::new(batch), broken })
    }
}

/// Looks at the end of the log now and then, and shows how far the models are from it.
struct Meter {
    looked: Option<Instant>,
    end: Offset,
    last: Option<Timestamp>,
}

impl Meter {
    fn new(worker: &LedgerWorker, cursors: &[Cursor]) -> Self {
        for cursor in cursors {
            meter::halted_streams(&worker.target.place, cursor.model, cursor.halted.len());
        }
        meter::chain_broken(&worker.target.place, false);
        Self { looked: None, end: 0, last: None }
    }

    /// Gives whether it has looked this time.
    async fn show(&mut self, worker: &LedgerWorker, cursors: &[Cursor], batch: &LedgerBatch) -> bool {
        self.last = batch.events.last().map(|event| event.envelope.attributes.time).or(self.last);
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_AT_END_EVERY) {
            return false;
        }
        self.looked = Some(Instant::now());
        let place = &worker.target.place;
        if let Ok(Ok(end)) = timeout(LOOK_AT_END_EVERY, worker.context.log.end(place.partition)).await {
            self.end = end;
        }
        let now = worker.context.clock.now();
        for cursor in cursors {
            meter::stands(place, cursor.model, cursor.next, self.end, self.last, now);
        }
        true
    }
}

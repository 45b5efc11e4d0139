//! Carries one partition into the generations that a rebuild is building, up to a given offset.
//!
//! It differs from following in three ways: it ends; an event that can't be applied ends it too; and it never begins again by itself from what
//! the tables say, so who has been replaced stays out.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lotline_domain::position::TopicKind;
use lotline_domain::record::Offset;
use lotline_domain::trace::Traces;
use tokio::sync::Semaphore;

use super::apply::{Halted, Poison, Stopped, Target};
use super::ledger::{Fetched, Source};
use super::signals::{Followed, SignalsWorker};
use super::{Interrupt, WorkerContext, WorkerError};
use crate::failure::full_text;
use crate::model::Model;
use crate::offsets::{Cursor, Stage};

/// Why a partition was not filled.
pub(crate) enum FillError {
    /// The generation is somebody else's by now, or was given up.
    Overtaken,
    Poison(Poison),
    /// The log or PostgreSQL failed.
    Outage(&'static str, String),
    Fatal(WorkerError),
}

/// A partition on its way into the building generations of some models of its topic.
pub(crate) struct Filler {
    kind: Kind,
    done: Arc<AtomicI64>,
}

enum Kind {
    Ledger(LedgerFiller),
    Signals(SignalsWorker, Box<Followed>),
}

struct LedgerFiller {
    target: Target,
    cursors: Vec<Cursor>,
    source: Source,
    ahead: Option<Fetched>,
}

impl From<Interrupt> for FillError {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Overtaken => Self::Overtaken,
            Interrupt::Outage { doing, error } => Self::Outage(doing, error),
            Interrupt::Fatal(error) => Self::Fatal(error),
        }
    }
}

impl From<Halted> for FillError {
    fn from(halted: Halted) -> Self {
        match halted {
            Halted::Stopped(Stopped::Overtaken) => Self::Overtaken,
            Halted::Stopped(Stopped::Poison(poison)) => Self::Poison(poison),
            Halted::Panicked(error) => Self::Outage("applying a batch", full_text(&error)),
        }
    }
}

impl Filler {
    /// Goes on where the building generations of the models stand. All of them are made from the topic that `context` reads.
    /// What is opened with the same `lanes` writes only so many models at a time.
    pub(crate) async fn open(
        context: &WorkerContext,
        partition: u32,
        models: &[Model],
        lanes: Arc<Semaphore>,
    ) -> Result<Self, FillError> {
        let signals = models.iter().any(|model| model.topic() == TopicKind::Signals);
        let kind = if signals {
            let worker = SignalsWorker::new(context.clone(), partition);
            let followed = worker.open(Stage::Building).await?;
            Kind::Signals(worker, Box::new(followed))
        } else {
            let place = context.place(partition);
            let resumed = place.resume(&context.pool, models, Stage::Building).await;
            let resumed = resumed.map_err(|error| Interrupt::database(&error))?;
            if resumed.cursors.len() != models.len() {
                return Err(FillError::Overtaken);
            }
            let source = Source::open(context, &place, &resumed.cursors, resumed.heads).await?;
            // What is read again was traced when it was new.
            let target = Target { pool: context.pool.clone(), place, lanes: Some(lanes), traces: Traces::default() };
            Kind::Ledger(LedgerFiller { target, cursors: resumed.cursors, source, ahead: None })
        };
        let filler = Self { kind, done: Arc::new(AtomicI64::new(0)) };
        filler.show();
        Ok(filler)
    }

    /// Where the rearmost model stands, for whoever wants to look while this is filling.
    pub(crate) fn done(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.done)
    }

    /// Carries on until every model stands at `until` or beyond.
    pub(crate) async fn fill(&mut self, until: Offset) -> Result<(), FillError> {
        while self.rearmost() < until {
            match &mut self.kind {
                Kind::Ledger(filler) => filler.step(until).await?,
                Kind::Signals(worker, followed) => worker.step(followed).await?,
            }
            self.show();
        }
        Ok(())
    }

    fn rearmost(&self) -> Offset {
        match &self.kind {
            Kind::Ledger(filler) => filler.cursors.iter().map(|cursor| cursor.next).min().unwrap_or(Offset::MAX),
            Kind::Signals(_, followed) => followed.cursor.next,
        }
    }

    fn show(&self) {
        self.done.store(self.rearmost(), Ordering::Relaxed);
    }
}

impl LedgerFiller {
    /// Carries what was read ahead, and reads on meanwhile as long as there is more to come: at the end a read would only wait.
    async fn step(&mut self, until: Offset) -> Result<(), FillError> {
        let fetched = match self.ahead.take() {
            Some(fetched) => fetched,
            None => self.source.fetch().await?,
        };
        let cursors = std::mem::take(&mut self.cursors);
        if let Some(source) = fetched.broken {
            self.target.carry_all(cursors, &fetched.batch).await?;
            let partition = self.target.place.partition;
            return Err(FillError::Fatal(WorkerError::ChainBreak { partition, source }));
        }
        if fetched.batch.next >= until {
            self.cursors = self.target.carry_all(cursors, &fetched.batch).await?;
            return Ok(());
        }
        let (carried, ahead) = tokio::join!(self.target.carry_all(cursors, &fetched.batch), self.source.fetch());
        self.cursors = carried?;
        self.ahead = Some(ahead?);
        Ok(())
    }
}

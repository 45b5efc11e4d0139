//! Builds a model anew from the beginning of its log, beside the one that readers see, and then puts it in its place.
//!
//! The building generation has offsets of its own, and the live workers know nothing of it. When it has nearly caught up, the swap holds the
//! live offsets still, lets the rest be filled, checks that no partition of the new generation stands behind the old one, and makes it
//! live: a few changed rows in one transaction. Live workers then find their offsets gone and go on from the new generation's.
//!
//! A rebuild is strict: an event that can't be applied ends it, and readers have noticed nothing. One that is interrupted is gone on with by
//! the next one, from its offsets. See `infra/docs/decisions/0008`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lotline_domain::port::LogError;
use lotline_domain::record::Offset;
use sqlx::{Connection, PgConnection, PgPool};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::decisions::{self, Skip};
use crate::generations::{self, Stand};
use crate::model::Model;
use crate::offsets::{Halt, Stage, halts_of_tenant};
use crate::retired;
use crate::samples;
use crate::worker::fill::{FillError, Filler};
use crate::worker::{WorkerContext, WorkerError};

/// Longest that the swap waits for a row that a live worker has locked.
const LOCK_TIMEOUT: &str = "2s";
/// Longest that live workers are held up while the rest is filled. What takes longer is filled without holding them, and tried again.
const HELD_AT_MOST: Duration = Duration::from_secs(2);
/// Between two attempts, so that live workers get on.
const BETWEEN_SWAPS: Duration = Duration::from_millis(500);
const SWAPS: u32 = 60;
/// The swap is tried once no partition is further behind than this.
const NEAR: Offset = 5_000;
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Why models were not rebuilt. The live ones are as they were.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// Another process is at it.
    #[error("read model '{model}' is being rebuilt by another process")]
    Busy {
        /// The model.
        model: Model,
    },
    /// An event that this version can't apply. What had been built is deleted.
    #[error(
        "event {sequence} of stream '{stream}' (partition {partition}, offset {offset}) can't be applied to read model '{model}': {error}"
    )]
    Poison {
        /// The model.
        model: Model,
        /// The stream.
        stream: String,
        /// Sequence of the event in its stream.
        sequence: i64,
        /// Its partition.
        partition: u32,
        /// Its offset.
        offset: Offset,
        /// What went wrong.
        error: String,
    },
    /// The log can't be read or trusted.
    #[error("the log can't be read to its end")]
    Worker(#[from] WorkerError),
    /// The log does not say where it ends.
    #[error("the end of the log is not known")]
    End(#[from] LogError),
    /// Somebody else works on the same generation, or PostgreSQL was restarted and has lost its last moments.
    #[error("the rebuild has lost its place; start it again and it goes on")]
    Overtaken,
    /// Something failed on the way; what had been built stays.
    #[error("the rebuild was interrupted while {doing}: {error}; start it again and it goes on")]
    Interrupted {
        /// What it was at.
        doing: &'static str,
        /// What went wrong.
        error: String,
    },
    /// The log does not hold all batches any more that the live model was made from.
    #[error(
        "the log no longer has all signal batches that the live samples came from ({lives} lives of collectors' buffers); a rebuild would lose them"
    )]
    SamplesLost {
        /// Collectors, counted once for each life of their buffer.
        lives: i64,
    },
    /// The live offsets could not be held, again and again.
    #[error("the live read models could not be held still for the swap; start the rebuild again and it goes on")]
    Restless,
    /// PostgreSQL can't be reached or refused.
    #[error("PostgreSQL failed during the rebuild")]
    Database(#[from] sqlx::Error),
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildProgress {
    /// Log entries that all models have, over all partitions.
    pub done: i64,
    /// Log entries there were when the rebuild last looked.
    pub total: i64,
}

/// What a rebuild has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Models whose interrupted rebuild was gone on with.
    pub resumed: Vec<Model>,
    /// Halts of the old generation, which the new one does not have.
    pub healed: Vec<Halt>,
    /// Events that the old generation left out and the new one has.
    pub unskipped: Vec<Skip>,
    /// Longest that live workers may have been held up by the swap.
    pub held: Duration,
    /// Rows of old generations that were deleted.
    pub deleted: u64,
}

/// What a swap has done.
struct Swapped {
    healed: Vec<Halt>,
    unskipped: Vec<Skip>,
    held: Duration,
}

/// Rebuilds models of one topic together, reading it once.
pub struct Rebuild {
    /// Where the models are, and their log. The pool must be the rebuild's own: one that live workers use could be full of workers that wait for
    /// the swap. It needs [`Rebuild::CONNECTIONS`] more connections than `lanes`.
    pub context: WorkerContext,
    /// Models that are made from that log.
    pub models: Vec<Model>,
    /// Begin from nothing even if an interrupted rebuild could be gone on with.
    pub restart: bool,
    /// How many models are written at the same time, over all partitions. The more, the harder the rebuild works and the less is left for
    /// those it works beside.
    pub lanes: u32,
}

impl Rebuild {
    /// Connections besides those that write: one holds the lock, one the live offsets during the swap.
    pub const CONNECTIONS: u32 = 2;

    /// Fills new generations and swaps them in. Dropping the future interrupts it; the next one goes on from there.
    ///
    /// # Errors
    /// [`RebuildError`]; the live models are as they were.
    pub async fn run(self, report: &mut (dyn FnMut(RebuildProgress) + Send)) -> Result<Rebuilt, RebuildError> {
        let (pool, tenant) = (&self.context.pool, &self.context.tenant);
        // Held by this connection until the end, and let go by PostgreSQL when this process dies.
        let mut lock = pool.acquire().await?.detach();
        let resumed = self.begin(&mut lock).await?;
        let mut deleted = retired::clear(pool, tenant, &self.models).await?;
        let filled = self.fill_and_swap(report).await;
        if let Err(RebuildError::Poison { .. } | RebuildError::SamplesLost { .. }) = &filled {
            generations::abandon(pool, tenant, &self.models).await?;
            retired::clear(pool, tenant, &self.models).await?;
        }
        let Swapped { healed, unskipped, held } = filled?;
        deleted += retired::clear(pool, tenant, &self.models).await?;
        generations::unlock(lock).await?;
        Ok(Rebuilt { resumed, healed, unskipped, held, deleted })
    }

    async fn begin(&self, lock: &mut PgConnection) -> Result<Vec<Model>, RebuildError> {
        let tenant = &self.context.tenant;
        for model in &self.models {
            if !generations::lock(lock, tenant, *model).await? {
                return Err(RebuildError::Busy { model: *model });
            }
        }
        generations::ensure_live(&self.context.pool, tenant, &self.models).await?;
        let mut resumed = Vec::new();
        let mut tx = lock.begin().await?;
        for model in &self.models {
            if generations::begin(&mut tx, tenant, *model, self.restart).await? {
                resumed.push(*model);
            }
        }
        tx.commit().await?;
        Ok(resumed)
    }

    async fn fill_and_swap(&self, report: &mut (dyn FnMut(RebuildProgress) + Send)) -> Result<Swapped, RebuildError> {
        let mut fillers = Vec::new();
        let lanes = Arc::new(Semaphore::new(self.lanes.max(1) as usize));
        for partition in 0..self.context.log.partitions() {
            let opened = Filler::open(&self.context, partition, &self.models, Arc::clone(&lanes)).await;
            fillers.push(opened.map_err(|error| named(partition, error))?);
        }
        let mut swaps = 0;
        loop {
            let ends = self.ends().await?;
            let far = far_behind(&fillers, &ends);
            fillers = fill(fillers, &ends, report).await?;
            if far {
                continue;
            }
            let (again, swapped) = self.swap(fillers, report).await?;
            if let Some(done) = swapped {
                return Ok(done);
            }
            fillers = again;
            swaps += 1;
            if swaps == SWAPS {
                return Err(RebuildError::Restless);
            }
            tokio::time::sleep(BETWEEN_SWAPS).await;
        }
    }

    async fn ends(&self) -> Result<Vec<Offset>, RebuildError> {
        let mut ends = Vec::new();
        for partition in 0..self.context.log.partitions() {
            ends.push(self.context.log.end(partition).await?);
        }
        Ok(ends)
    }

    /// Holds the live offsets still, fills what is missing up to there, and swaps. Nothing when it would take too long.
    async fn swap(
        &self,
        fillers: Vec<Filler>,
        report: &mut (dyn FnMut(RebuildProgress) + Send),
    ) -> Result<(Vec<Filler>, Option<Swapped>), RebuildError> {
        let (pool, tenant) = (&self.context.pool, &self.context.tenant);
        let mut tx = pool.begin().await?;
        sqlx::query!("SELECT set_config('lock_timeout', $1, TRUE) AS timeout", LOCK_TIMEOUT)
            .fetch_one(&mut *tx)
            .await?;
        let started = Instant::now();
        let live = match generations::hold(&mut tx, tenant, &self.models, Stage::Live).await {
            Err(error) if is_lock_timeout(&error) => return Ok((fillers, None)),
            held => held?,
        };
        let mut until = vec![0; fillers.len()];
        for (&(_, partition), &next) in &live {
            if let Some(until) = until.get_mut(partition as usize) {
                *until = next.max(*until);
            }
        }
        let mut rest = Box::pin(fill(fillers, &until, report));
        let Ok(filled) = timeout(HELD_AT_MOST, &mut rest).await else {
            tx.rollback().await?;
            return Ok((rest.await?, None));
        };
        let fillers = filled?;
        let built = generations::hold(&mut tx, tenant, &self.models, Stage::Building).await?;
        if !covers(&built, &live) {
            return Err(RebuildError::Overtaken);
        }
        if self.models.contains(&Model::Samples) {
            let lives = samples::lost(&mut tx, tenant).await?;
            if lives > 0 {
                return Err(RebuildError::SamplesLost { lives });
            }
        }
        let mut healed = halts_of_tenant(&mut *tx, tenant).await?;
        healed.retain(|halt| self.models.contains(&halt.model));
        let mut unskipped = decisions::skips(&mut *tx, tenant).await?;
        unskipped.retain(|skip| self.models.contains(&skip.model));
        generations::swap(&mut tx, tenant, &self.models, &built).await?;
        tx.commit().await?;
        Ok((fillers, Some(Swapped { healed, unskipped, held: started.elapsed() })))
    }
}

/// Deletes what interrupted rebuilds of a model have left, without going on with them.
///
/// # Errors
/// [`RebuildError::Busy`] when one is under way.
pub async fn discard(pool: &PgPool, tenant: &lotline_domain::id::TenantId, model: Model) -> Result<u64, RebuildError> {
    let mut lock = pool.acquire().await?.detach();
    if !generations::lock(&mut lock, tenant, model).await? {
        return Err(RebuildError::Busy { model });
    }
    generations::abandon(pool, tenant, &[model]).await?;
    let rows = retired::clear(pool, tenant, &[model]).await?;
    generations::unlock(lock).await?;
    Ok(rows)
}

/// No partition of the new generation may stand behind the old one: a reader would see the past again.
fn covers(built: &Stand, live: &Stand) -> bool {
    live.iter().all(|(place, next)| built.get(place).is_some_and(|reached| reached >= next))
}

fn far_behind(fillers: &[Filler], ends: &[Offset]) -> bool {
    fillers.iter().zip(ends).any(|(filler, end)| end - filler.done().load(Ordering::Relaxed) > NEAR)
}

/// Fills all partitions side by side and reports now and then.
async fn fill(
    fillers: Vec<Filler>,
    until: &[Offset],
    report: &mut (dyn FnMut(RebuildProgress) + Send),
) -> Result<Vec<Filler>, RebuildError> {
    let done: Vec<Arc<AtomicI64>> = fillers.iter().map(Filler::done).collect();
    let total = until.iter().sum();
    let mut running = JoinSet::new();
    for (partition, (mut filler, until)) in fillers.into_iter().zip(until.to_vec()).enumerate() {
        running.spawn(async move {
            let filled = filler.fill(until).await;
            filled.map(|()| (partition, filler)).map_err(|error| named(partition as u32, error))
        });
    }
    let mut ticker = interval(REPORT_EVERY);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut filled = Vec::with_capacity(done.len());
    loop {
        tokio::select! {
            joined = running.join_next() => match joined {
                Some(Ok(ended)) => filled.push(ended?),
                Some(Err(error)) => {
                    return Err(RebuildError::Interrupted { doing: "filling a partition", error: error.to_string() });
                }
                None => break,
            },
            _ = ticker.tick() => {
                let reached: i64 = done.iter().zip(until).map(|(done, until)| done.load(Ordering::Relaxed).min(*until)).sum();
                report(RebuildProgress { done: reached, total });
            }
        }
    }
    filled.sort_by_key(|(partition, _)| *partition);
    Ok(filled.into_iter().map(|(_, filler)| filler).collect())
}

fn named(partition: u32, error: FillError) -> RebuildError {
    match error {
        FillError::Overtaken => RebuildError::Overtaken,
        FillError::Outage(doing, error) => RebuildError::Interrupted { doing, error },
        FillError::Fatal(error) => RebuildError::Worker(error),
        FillError::Poison(poison) => RebuildError::Poison {
            model: poison.model,
            stream: poison.stream,
            sequence: poison.sequence,
            partition,
            offset: poison.offset,
            error: poison.error,
        },
    }
}

/// SQLSTATE 55P03, lock_not_available.
fn is_lock_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().is_some_and(|code| code == "55P03"))
}

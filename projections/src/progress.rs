//! How far the read models are, for those who wait: queries with `consistentWith`, and subscriptions.
//!
//! One connection LISTENs for what the workers announce at each commit; the offsets table is read again when the connection is made and
//! every second besides, so a lost notification costs a second and nothing else. After a crash of PostgreSQL a model may have
//! fallen back by what was not yet flushed; the position then falls back with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::position::{Position, TopicKind};
use lotline_domain::record::Offset;
use lotline_domain::trace::TraceContext;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::causes::Causes;
use crate::generations::{self, Idle};
use crate::model::Model;
use crate::offsets;
pub use crate::offsets::{Halt, HaltCause};

/// The channel on which workers announce.
const CHANNEL: &str = "lotline_read";
const RELOAD_EVERY: Duration = Duration::from_secs(1);
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// The positions of all read models of one tenant. Cheap to clone; [`Progress::run`] keeps it current.
#[derive(Debug, Clone)]
pub struct Progress {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: PgPool,
    tenant: TenantId,
    positions: BTreeMap<Model, watch::Sender<Position>>,
    /// Invariant: a halt is published before any position that lies beyond it.
    halts: watch::Sender<Arc<[Halt]>>,
    causes: Causes,
}

/// A read model can't be had at the position asked for.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum WaitError {
    /// It did not get there in time.
    #[error("read model '{model}' has not reached offset {wanted} of partition {partition}; it is at {}", reached.unwrap_or(0))]
    Timeout {
        /// The model.
        model: Model,
        /// The partition.
        partition: u32,
        /// Next offset asked for.
        wanted: Offset,
        /// Next offset reached, if the model has started at all.
        reached: Option<Offset>,
    },
    /// It is there, but without events of these streams, or it will never be there because the chain is broken.
    #[error("read model '{model}' does not follow {} any more; see the halted streams in `lotline doctor`", streams.join(", "))]
    Degraded {
        /// The model.
        model: Model,
        /// The streams it misses events of, in the partitions of the position. Other streams are complete.
        streams: Vec<String>,
    },
}

/// What a worker announces at a commit: `<model> <l|s> <partition> <next> <tenant>`, ` halt` when a stream was given up, and ` <offset>=<traceparent>` for
/// each event that is traced. PostgreSQL takes 8,000 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) model: Model,
    pub(crate) partition: u32,
    pub(crate) next: Offset,
    pub(crate) tenant: String,
    pub(crate) halt: bool,
    pub(crate) traced: Vec<(Offset, TraceContext)>,
}

/// State of a model in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStatus {
    /// The model.
    pub model: Model,
    /// Topic name.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Everything before this offset is in the model, but for halted streams.
    pub next_offset: Offset,
    /// What it could not follow.
    pub halts: Vec<Halt>,
    /// When the newest event that it has was decided; not known of samples.
    pub decided_until: Option<DateTime<Utc>>,
    /// A rebuild that is under way or was abandoned.
    pub rebuild: Option<Idle>,
}

impl ModelStatus {
    /// Whether it misses events.
    pub fn is_degraded(&self) -> bool {
        !self.halts.is_empty()
    }
}

/// Where all models of a tenant are, straight from the tables, for health and doctor.
pub async fn status(pool: &PgPool, tenant: &TenantId) -> Result<Vec<ModelStatus>, sqlx::Error> {
    let offsets = offsets::of_tenant(pool, tenant).await?;
    let halts = offsets::halts_of_tenant(pool, tenant).await?;
    let decided = offsets::decided_until(pool, tenant).await?;
    let idle = generations::idle(pool, tenant).await?;
    let status = offsets.into_iter().map(|offset| ModelStatus {
        decided_until: decided.get(&(offset.model, offset.partition)).copied(),
        rebuild: idle.iter().find(|idle| idle.model == offset.model && idle.building).cloned(),
        halts: halts
            .iter()
            .filter(|halt| (halt.model, &halt.topic, halt.partition) == (offset.model, &offset.topic, offset.partition))
            .cloned()
            .collect(),
        model: offset.model,
        topic: offset.topic,
        partition: offset.partition,
        next_offset: offset.next,
    });
    Ok(status.collect())
}

impl Progress {
    /// A hub that knows nothing until [`Progress::run`] is polled.
    pub fn new(pool: PgPool, tenant: TenantId) -> Self {
        let positions = Model::ALL.into_iter().map(|model| (model, watch::Sender::new(Position::default()))).collect();
        let halts = watch::Sender::new(Arc::from([]));
        Self { shared: Arc::new(Shared { pool, tenant, positions, halts, causes: Causes::default() }) }
    }

    /// Follows the workers until cancelled. Outages of PostgreSQL are waited out.
    pub async fn run(self, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            let outcome = tokio::select! {
                () = cancel.cancelled() => return,
                outcome = self.shared.follow() => outcome,
            };
            if let Err(error) = outcome {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "lost track of the read models, connecting again"
                );
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(RECONNECT_AFTER) => {}
            }
        }
    }

    /// Waits until each of the models has seen all of `position` that concerns it.
    ///
    /// # Errors
    /// [`WaitError`] at the deadline, or as soon as it is known that a model misses events before the position.
    pub async fn wait_for(&self, models: &[Model], position: &Position, deadline: Instant) -> Result<(), WaitError> {
        for model in models {
            self.shared.wait_for(*model, position, deadline).await?;
        }
        Ok(())
    }

    /// Tells of each move of a model; the value is where it is now.
    pub fn subscribe(&self, model: Model) -> watch::Receiver<Position> {
        self.shared.position(model).subscribe()
    }

    /// Streams of which any of the models misses events.
    pub fn halted(&self, models: &[Model]) -> Vec<String> {
        let halts = self.shared.halts.borrow();
        let streams = halts.iter().filter(|halt| models.contains(&halt.model)).map(|halt| halt.stream.clone());
        streams.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The trace of an event that a model has just taken, if it is recorded and was announced here.
    pub fn cause(&self, model: Model, partition: u32, offset: Offset) -> Option<TraceContext> {
        self.shared.causes.of(model, partition, offset)
    }
}

impl Shared {
    fn position(&self, model: Model) -> &watch::Sender<Position> {
        self.positions.get(&model).expect("invariant: the hub is made with every model")
    }

    async fn follow(&self) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        let mut reload = interval(RELOAD_EVERY);
        reload.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = reload.tick() => self.reload().await?,
                notification = listener.try_recv() => match notification? {
                    Some(notification) => self.hear(notification.payload()).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    async fn hear(&self, payload: &str) -> Result<(), sqlx::Error> {
        let Ok(announcement) = payload.parse::<Announcement>() else {
            tracing::debug!(payload, "heard an announcement that this version does not understand");
            return Ok(());
        };
        if announcement.tenant != self.tenant.as_str() {
            return Ok(());
        }
        // Before the position is published, which wakes whoever asks for them.
        self.causes.note(announcement.model, announcement.partition, &announcement.traced);
        if announcement.halt {
            return self.reload().await;
        }
        self.position(announcement.model).send_if_modified(|position| {
            let topic = announcement.model.topic();
            let moved = position.get(topic, announcement.partition).is_none_or(|next| next < announcement.next);
            position.advance(topic, announcement.partition, announcement.next);
            moved
        });
        Ok(())
    }

    async fn reload(&self) -> Result<(), sqlx::Error> {
        // Offsets first: the halts read afterwards include all that lie before them.
        let offsets = offsets::of_tenant(&self.pool, &self.tenant).await?;
        let halts = offsets::halts_of_tenant(&self.pool, &self.tenant).await?;
        self.halts.send_if_modified(|known| {
            let changed = **known != *halts;
            if changed {
                *known = Arc::from(halts);
            }
            changed
        });
        for (model, sender) in &self.positions {
            let mut position = Position::default();
            for offset in offsets.iter().filter(|offset| offset.model == *model) {
                position.advance(model.topic(), offset.partition, offset.next);
            }
            sender.send_if_modified(|known| {
                let changed = *known != position;
                *known = position;
                changed
            });
        }
        Ok(())
    }

    async fn wait_for(&self, model: Model, position: &Position, deadline: Instant) -> Result<(), WaitError> {
        let wanted: Vec<(u32, Offset)> = position
            .iter()
            .filter(|(topic, _, _)| *topic == model.topic())
            .map(|(_, partition, next)| (partition, next))
            .collect();
        let mut positions = self.position(model).subscribe();
        let mut halts = self.halts.subscribe();
        loop {
            let behind = first_behind(&positions.borrow_and_update(), model.topic(), &wanted);
            let (missing, broken) = missing_streams(&halts.borrow_and_update(), model, &wanted);
            if !missing.is_empty() && (broken || behind.is_none()) {
                return Err(WaitError::Degraded { model, streams: missing });
            }
            let Some((partition, wanted, reached)) = behind else { return Ok(()) };
            let change = async {
                tokio::select! {
                    changed = positions.changed() => changed,
                    changed = halts.changed() => changed,
                }
            };
            match timeout_at(deadline, change).await {
                Ok(changed) => changed.expect("invariant: the hub that is borrowed here keeps its senders"),
                Err(_) => return Err(WaitError::Timeout { model, partition, wanted, reached }),
            }
        }
    }
}

fn first_behind(
    position: &Position,
    topic: TopicKind,
    wanted: &[(u32, Offset)],
) -> Option<(u32, Offset, Option<Offset>)> {
    wanted.iter().find_map(|(partition, next)| {
        let reached = position.get(topic, *partition);
        // Before its first event a model stands at 0, and everybody has seen that.
        (reached.unwrap_or(0) < *next).then_some((*partition, *next, reached))
    })
}

fn missing_streams(halts: &[Halt], model: Model, wanted: &[(u32, Offset)]) -> (Vec<String>, bool) {
    let mut broken = false;
    let mut streams: Vec<String> = halts
        .iter()
        .filter(|halt| {
            halt.model == model
                && wanted.iter().any(|(partition, next)| halt.partition == *partition && halt.offset < *next)
        })
        .map(|halt| {
            broken |= halt.cause == HaltCause::ChainBreak;
            halt.stream.clone()
        })
        .collect();
    streams.dedup();
    (streams, broken)
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = match self.model.topic() {
            TopicKind::Ledger => 'l',
            TopicKind::Signals => 's',
        };
        write!(f, "{} {topic} {} {} {}", self.model, self.partition, self.next, self.tenant)?;
        if self.halt {
            f.write_str(" halt")?;
        }
        self.traced.iter().try_for_each(|(offset, context)| write!(f, " {offset}={context}"))
    }
}

/// A payload that is no announcement of this version's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotUnderstood;

impl FromStr for Announcement {
    type Err = NotUnderstood;

    fn from_str(payload: &str) -> Result<Self, NotUnderstood> {
        let mut words = payload.split(' ');
        let mut word = || words.next().ok_or(NotUnderstood);
        let model = Model::parse(word()?).ok_or(NotUnderstood)?;
        word()?;
        let partition = word()?.parse().map_err(|_| NotUnderstood)?;
        let next = word()?.parse().map_err(|_| NotUnderstood)?;
        let tenant = word()?.to_owned();
        let mut halt = false;
        let mut traced = Vec::new();
        for word in words {
            halt |= word == "halt";
            traced
                .extend(word.split_once('=').and_then(|(at, context)| Some((at.parse().ok()?, context.parse().ok()?))));
        }
        Ok(Self { model, partition, next, tenant, halt, traced })
    }
}

#[cfg(test)]
mod tests {
    use lotline_domain::trace::MAX_LINKS;

    use super::*;

    #[test]
    fn announcements_read_back() {
        let context = TraceContext { trace_id: [0xab; 16], span_id: [0xff; 8], flags: 1 };
        for (halt, count) in [(false, 0), (true, 0), (true, 1), (false, MAX_LINKS)] {
            let (model, tenant) = (Model::QcDecisions, "x".repeat(63));
            let traced = vec![(Offset::MAX, context); count];
            let announcement = Announcement { model, partition: 3, next: Offset::MAX, tenant, halt, traced };
            let told = announcement.to_string();
            assert!(told.len() < 8_000, "PostgreSQL takes it: {}", told.len());
            assert_eq!(told.parse(), Ok(announcement));
        }
        assert_eq!("".parse::<Announcement>(), Err(NotUnderstood));
        assert_eq!("herds l 0 1 dairy".parse::<Announcement>(), Err(NotUnderstood));
    }
}

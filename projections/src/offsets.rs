//! How far each read model has come, the chain heads it stands on, and the streams it could not follow.
//!
//! Invariant: what a model has applied and its offset move in one transaction, so the tables always show a whole number of events.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use lotline_domain::chain::ChainHead;
use lotline_domain::envelope::Hash;
use lotline_domain::id::TenantId;
use lotline_domain::record::Offset;
use lotline_domain::timestamp::Timestamp;
use lotline_domain::trace::TraceContext;
use sqlx::{Connection, PgConnection, PgExecutor, PgPool};

use crate::connection::Expendable;
use crate::decisions::{self, Skipped};
use crate::generations;
use crate::model::Model;
use crate::progress::Announcement;

/// How far a model has come in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelOffset {
    pub(crate) model: Model,
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) next: Offset,
}

/// Why a model stopped following a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltCause {
    /// An event that this version can't decode or apply. The model goes on with other streams.
    Poison,
    /// The hash chain does not hold. The whole partition has stopped.
    ChainBreak,
}

impl HaltCause {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Poison => "poison",
            Self::ChainBreak => "chain_break",
        }
    }
}

/// A stream that a model does not follow any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// The model.
    pub model: Model,
    /// Topic name.
    pub topic: String,
    /// Partition of the stream.
    pub partition: u32,
    /// The stream.
    pub stream: String,
    /// Why.
    pub cause: HaltCause,
    /// Offset of the event that could not be applied.
    pub offset: Offset,
    /// Its sequence, when it could be read.
    pub sequence: Option<i64>,
    /// What went wrong.
    pub error: String,
    /// When this was found.
    pub halted_at: DateTime<Utc>,
}

/// Offsets of the live generations of all models of a tenant.
pub(crate) async fn of_tenant(pool: &PgPool, tenant: &TenantId) -> Result<Vec<ModelOffset>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT place.model, place.topic, place.partition, place.next_offset
         FROM read.projection_offset AS place JOIN read.projection_generation AS live USING (tenant, model, generation)
         WHERE tenant = $1 AND live.state = 'live' ORDER BY place.model, place.topic, place.partition",
        tenant.as_str()
    )
    .fetch_all(pool)
    .await?;
    // A model of a newer version is not this version's business.
    let known = rows.into_iter().filter_map(|row| {
        let model = Model::parse(&row.model)?;
        Some(ModelOffset { model, topic: row.topic, partition: row.partition as u32, next: row.next_offset })
    });
    Ok(known.collect())
}

/// When the newest event was decided that each live model has in each partition.
pub(crate) async fn decided_until(
    pool: &PgPool,
    tenant: &TenantId,
) -> Result<BTreeMap<(Model, u32), DateTime<Utc>>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT head.model, head.partition, MAX(head.decided_at) AS \"decided_at!\"
         FROM read.projection_head AS head JOIN read.projection_generation AS live USING (tenant, model, generation)
         WHERE tenant = $1 AND live.state = 'live' GROUP BY head.model, head.partition",
        tenant.as_str()
    )
    .fetch_all(pool)
    .await?;
    let known =
        rows.into_iter().filter_map(|row| Some(((Model::parse(&row.model)?, row.partition as u32), row.decided_at)));
    Ok(known.collect())
}

/// Halts of all models of a tenant.
pub(crate) async fn halts_of_tenant(db: impl PgExecutor<'_>, tenant: &TenantId) -> Result<Vec<Halt>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT model, topic, partition, stream, cause, log_offset, sequence, error, halted_at FROM read.projection_halt
         WHERE tenant = $1 ORDER BY model, topic, partition, log_offset, stream, cause",
        tenant.as_str()
    )
    .fetch_all(db)
    .await?;
    let known = rows.into_iter().filter_map(|row| {
        let cause = if row.cause == HaltCause::Poison.as_str() { HaltCause::Poison } else { HaltCause::ChainBreak };
        Some(Halt {
            model: Model::parse(&row.model)?,
            topic: row.topic,
            partition: row.partition as u32,
            stream: row.stream,
            cause,
            offset: row.log_offset,
            sequence: row.sequence,
            error: row.error,
            halted_at: row.halted_at,
        })
    });
    Ok(known.collect())
}

/// The partition that a worker follows.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) tenant: TenantId,
    pub(crate) topic: String,
    pub(crate) partition: u32,
}

/// A model's way through a partition.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) model: Model,
    /// Which generation of the model's rows it makes.
    pub(crate) generation: i32,
    /// Whether that generation is being built beside the live one: nobody is told, and an event that can't be applied is the end of it.
    pub(crate) rebuild: bool,
    /// What the offset's row must say for this way to be still the right one.
    pub(crate) fence: i64,
    pub(crate) next: Offset,
    /// Streams that it does not follow any more.
    pub(crate) halted: HashSet<String>,
    /// Events that it leaves out.
    pub(crate) skipped: Skipped,
}

/// Which generation of each model to go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The one that readers see.
    Live,
    /// The one that a rebuild fills.
    Building,
}

impl Stage {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Building => "building",
        }
    }
}

/// Where a worker goes on.
#[derive(Debug)]
pub(crate) struct Resume {
    pub(crate) cursors: Vec<Cursor>,
    /// Heads of the streams at the smallest of the offsets.
    pub(crate) heads: BTreeMap<String, ChainHead>,
    /// Offset of the record at which the chain broke the last time.
    pub(crate) broken_at: Option<Offset>,
}

/// A model's step past a number of events.
pub(crate) struct Step<'a> {
    /// Where the model must stand.
    pub(crate) from: &'a Cursor,
    pub(crate) next: Offset,
    /// The last event of each stream among them.
    pub(crate) heads: BTreeMap<&'a str, ChainHead>,
    /// Whether a stream is given up with this step.
    pub(crate) halt: bool,
    /// Events among them that are traced, at most [`lotline_domain::trace::MAX_LINKS`].
    pub(crate) traced: &'a [(Offset, TraceContext)],
}

/// A stream to give up.
pub(crate) struct NewHalt<'a> {
    pub(crate) cause: HaltCause,
    pub(crate) stream: &'a str,
    pub(crate) offset: Offset,
    pub(crate) sequence: Option<i64>,
    pub(crate) error: &'a str,
}

impl Place {
    fn partition(&self) -> i32 {
        self.partition as i32
    }

    /// Reads where the models stand, in one snapshot; those that never started begin at 0.
    pub(crate) async fn resume(&self, pool: &PgPool, models: &[Model], stage: Stage) -> Result<Resume, sqlx::Error> {
        let names: Vec<&str> = models.iter().map(|model| model.name()).collect();
        generations::ensure_live(pool, &self.tenant, models).await?;
        self.start(pool, &names, stage).await?;
        // Heads must belong to the offset: another projector may move both between two statements.
        let mut connection = Expendable::acquire(pool).await?;
        let mut snapshot = connection.get().begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let rows = sqlx::query!(
            "SELECT place.model, place.generation, place.fence, place.next_offset, halt.stream AS \"stream?\",
                halt.cause AS \"cause?\", halt.log_offset AS \"log_offset?\"
             FROM read.projection_offset AS place
             JOIN read.projection_generation AS found USING (tenant, model, generation)
             LEFT JOIN read.projection_halt AS halt
                ON (halt.tenant, halt.model, halt.topic, halt.partition) = (place.tenant, place.model, place.topic, place.partition)
                AND found.state = 'live'
             WHERE place.tenant = $1 AND place.model = ANY($2) AND found.state = $3 AND place.topic = $4 AND place.partition = $5",
            self.tenant.as_str(),
            &names as _,
            stage.as_str(),
            self.topic,
            self.partition()
        )
        .fetch_all(&mut *snapshot)
        .await?;
        let mut cursors: BTreeMap<Model, Cursor> = BTreeMap::new();
        let mut broken_at = None;
        for row in rows {
            let Some(model) = Model::parse(&row.model) else { continue };
            let fresh = || Cursor {
                model,
                generation: row.generation,
                rebuild: stage == Stage::Building,
                fence: row.fence,
                next: row.next_offset,
                halted: HashSet::new(),
                skipped: Skipped::new(),
            };
            let cursor = cursors.entry(model).or_insert_with(fresh);
            match row.cause.as_deref() {
                Some(cause) if cause == HaltCause::Poison.as_str() => cursor.halted.extend(row.stream),
                Some(_) => broken_at = broken_at.max(row.log_offset),
                None => {}
            }
        }
        let mut cursors: Vec<Cursor> = cursors.into_values().collect();
        if stage == Stage::Live {
            let mut skipped = decisions::skipped(&mut *snapshot, &self.tenant).await?;
            for cursor in &mut cursors {
                cursor.skipped = skipped.remove(&cursor.model).unwrap_or_default();
            }
        }
        let heads = match cursors.iter().min_by_key(|cursor| cursor.next) {
            Some(rearmost) => self.heads(&mut snapshot, rearmost).await?,
            None => BTreeMap::new(),
        };
        snapshot.commit().await?;
        connection.keep();
        Ok(Resume { cursors, heads, broken_at })
    }

    /// Makes the offsets of models that never started here.
    async fn start(&self, pool: &PgPool, names: &[&str], stage: Stage) -> Result<(), sqlx::Error> {
        // The lock makes this wait for a swap that is under way, and then find the generation that is live afterwards.
        sqlx::query!(
            "INSERT INTO read.projection_offset (tenant, model, generation, topic, partition, next_offset)
             SELECT found.tenant, found.model, found.generation, $4, $5, 0 FROM (
                SELECT tenant, model, generation FROM read.projection_generation
                WHERE tenant = $1 AND model = ANY($2) AND state = $3 FOR SHARE
             ) AS found
             ON CONFLICT (tenant, model, generation, topic, partition) DO NOTHING",
            self.tenant.as_str(),
            names as _,
            stage.as_str(),
            self.topic,
            self.partition()
        )
        .execute(pool)
        .await?;
        Ok(())
    }

    async fn heads(&self, db: &mut PgConnection, of: &Cursor) -> Result<BTreeMap<String, ChainHead>, sqlx::Error> {
        let rows = sqlx::query!(
            "SELECT stream, sequence, hash, decided_at FROM read.projection_head
             WHERE tenant = $1 AND model = $2 AND generation = $3 AND topic = $4 AND partition = $5",
            self.tenant.as_str(),
            of.model.name(),
            of.generation,
            self.topic,
            self.partition()
        )
        .fetch_all(db)
        .await?;
        let mut heads = BTreeMap::new();
        for row in rows {
            let hash = row.hash.try_into().map_err(|_| sqlx::Error::Decode("a chain head without 32 bytes".into()))?;
            let time = Timestamp::from(row.decided_at);
            heads.insert(row.stream, ChainHead { sequence: row.sequence as u64, hash: Hash(hash), time });
        }
        Ok(heads)
    }

    /// Moves a model's offset from where it is expected to be, keeps the heads, and announces both at the commit. `false` when
    /// another projector has moved it: the transaction must then be dropped.
    ///
    /// The first statement of the transaction: its row lock makes a second projector wait here and then see that it came too late.
    pub(crate) async fn advance(&self, db: &mut PgConnection, step: &Step<'_>) -> Result<bool, sqlx::Error> {
        let from = step.from;
        let announcement = Announcement {
            model: from.model,
            partition: self.partition,
            next: step.next,
            tenant: self.tenant.to_string(),
            halt: step.halt,
            traced: step.traced.to_vec(),
        };
        // Not waiting for the disk: after a crash the offset falls back together with the rows, and the log is read again from there.
        let moved = sqlx::query!(
            "WITH moved AS (
                UPDATE read.projection_offset SET next_offset = $6
                WHERE tenant = $1 AND model = $2 AND generation = $12 AND topic = $3 AND partition = $4 AND next_offset = $5
                    AND fence = $13
                RETURNING next_offset
             ), kept AS (
                INSERT INTO read.projection_head (tenant, model, generation, topic, partition, stream, sequence, hash, decided_at)
                SELECT $1, $2, $12, $3, $4, u.stream, u.sequence, u.hash, u.decided_at
                FROM UNNEST($7::TEXT[], $8::BIGINT[], $9::BYTEA[], $10::TIMESTAMPTZ[]) AS u (stream, sequence, hash, decided_at)
                WHERE EXISTS (SELECT next_offset FROM moved)
                ON CONFLICT (tenant, model, generation, topic, partition, stream)
                DO UPDATE SET sequence = EXCLUDED.sequence, hash = EXCLUDED.hash, decided_at = EXCLUDED.decided_at
             )
             SELECT set_config('synchronous_commit', 'off', TRUE) AS relaxed,
                CASE WHEN $11::TEXT IS NOT NULL THEN pg_notify('lotline_read', $11)::TEXT END AS announced
             FROM moved",
            self.tenant.as_str(),
            from.model.name(),
            self.topic,
            self.partition(),
            from.next,
            step.next,
            &step.heads.keys().copied().collect::<Vec<_>>() as _,
            &step.heads.values().map(|head| head.sequence as i64).collect::<Vec<_>>(),
            &step.heads.values().map(|head| head.hash.0.as_slice()).collect::<Vec<_>>() as _,
            &step.heads.values().map(|head| head.time.to_utc()).collect::<Vec<_>>(),
            (!from.rebuild).then(|| announcement.to_string()),
            from.generation,
            from.fence,
        )
        .fetch_optional(db)
        .await?;
        Ok(moved.is_some())
    }

    /// Records that a model gives up a stream. Where it was decided before that the event is to be left out, the halt is due at once.
    pub(crate) async fn halt(
        &self,
        db: &mut PgConnection,
        models: &[Model],
        halt: &NewHalt<'_>,
    ) -> Result<(), sqlx::Error> {
        let names: Vec<&str> = models.iter().map(|model| model.name()).collect();
        sqlx::query!(
            "INSERT INTO read.projection_halt (tenant, model, topic, partition, stream, cause, log_offset, sequence, error, due)
             SELECT $1, u.model, $3, $4, $5, $6, $7, $8, $9, EXISTS (
                SELECT 1 FROM read.projection_skip AS skip
                WHERE skip.tenant = $1 AND skip.model = u.model AND skip.stream = $5 AND skip.sequence = $8
             ) FROM UNNEST($2::TEXT[]) AS u (model)
             ON CONFLICT (tenant, model, topic, partition, stream, cause)
             DO UPDATE SET log_offset = EXCLUDED.log_offset, sequence = EXCLUDED.sequence, error = EXCLUDED.error, due = EXCLUDED.due",
            self.tenant.as_str(),
            &names as _,
            self.topic,
            self.partition(),
            halt.stream,
            halt.cause.as_str(),
            halt.offset,
            halt.sequence,
            halt.error
        )
        .execute(db)
        .await?;
        Ok(())
    }

    /// Forgets a broken chain once the log has been read beyond it.
    pub(crate) async fn mend(&self, pool: &PgPool, models: &[Model]) -> Result<(), sqlx::Error> {
        let names: Vec<&str> = models.iter().map(|model| model.name()).collect();
        sqlx::query!(
            "DELETE FROM read.projection_halt
             WHERE tenant = $1 AND model = ANY($2) AND topic = $3 AND partition = $4 AND cause = 'chain_break'",
            self.tenant.as_str(),
            &names as _,
            self.topic,
            self.partition()
        )
        .execute(pool)
        .await?;
        Ok(())
    }
}

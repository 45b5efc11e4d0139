//! How far each read model has come, the chain heads it stands on, and the streams it could not follow.
//!
//! Invariant: what a model has applied and its offset move in one transaction, so the tables always show a whole number of events.

use chrono::{DateTime, Utc};
use lotline_domain::id::TenantId;
use lotline_domain::record::Offset;
use sqlx::PgPool;

use crate::model::Model;

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

/// Offsets of all models of a tenant.
pub(crate) async fn of_tenant(pool: &PgPool, tenant: &TenantId) -> Result<Vec<ModelOffset>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT model, topic, partition, next_offset FROM read.projection_offset WHERE tenant = $1
         ORDER BY model, topic, partition",
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

/// Halts of all models of a tenant.
pub(crate) async fn halts_of_tenant(pool: &PgPool, tenant: &TenantId) -> Result<Vec<Halt>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT model, topic, partition, stream, cause, log_offset, sequence, error, halted_at FROM read.projection_halt
         WHERE tenant = $1 ORDER BY model, topic, partition, log_offset, stream, cause",
        tenant.as_str()
    )
    .fetch_all(pool)
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

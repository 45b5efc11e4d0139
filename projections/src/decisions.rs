//! What administrators have decided about events that could not be applied: to try again, or to leave one out.
//!
//! The decision is an event of the tenant's stream. Each model takes note of those that concern it as it passes them, in the transaction of
//! its step, so a decision is noted once, and again when the tables are made from nothing. The worker of the halted stream's partition, which
//! may be another, then finds the halt marked as due. A model notes a decision even where it does not follow the tenant's stream any more,
//! for that is a stream that may need one.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use lotline_domain::event::{Event, Fact};
use lotline_domain::id::TenantId;
use sqlx::{PgConnection, PgExecutor};

use crate::batch::LedgerEvent;
use crate::model::Model;

/// Sequences that a model leaves out, by stream.
pub(crate) type Skipped = HashMap<String, HashSet<i64>>;

/// An event that a model leaves out because somebody has decided so. A rebuild of the model forgets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The model.
    pub model: Model,
    /// The stream.
    pub stream: String,
    /// Sequence of the event in it.
    pub sequence: i64,
    /// Why, in the actor's words.
    pub reason: String,
    /// Who decided.
    pub actor: String,
    /// When.
    pub decided_at: DateTime<Utc>,
}

/// Everything that models of a tenant leave out.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn skips(db: impl PgExecutor<'_>, tenant: &TenantId) -> Result<Vec<Skip>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT model, stream, sequence, reason, actor, decided_at FROM read.projection_skip
         WHERE tenant = $1 ORDER BY model, stream, sequence",
        tenant.as_str()
    )
    .fetch_all(db)
    .await?;
    let known = rows.into_iter().filter_map(|row| {
        Some(Skip {
            model: Model::parse(&row.model)?,
            stream: row.stream,
            sequence: row.sequence,
            reason: row.reason,
            actor: row.actor,
            decided_at: row.decided_at,
        })
    });
    Ok(known.collect())
}

/// What each model leaves out.
pub(crate) async fn skipped(
    db: impl PgExecutor<'_>,
    tenant: &TenantId,
) -> Result<HashMap<Model, Skipped>, sqlx::Error> {
    let mut skipped: HashMap<Model, Skipped> = HashMap::new();
    for skip in skips(db, tenant).await? {
        skipped.entry(skip.model).or_default().entry(skip.stream).or_default().insert(skip.sequence);
    }
    Ok(skipped)
}

/// The events among these that decide about the model.
pub(crate) fn about(model: Model, events: &[LedgerEvent]) -> Vec<(&LedgerEvent, &Fact)> {
    let facts = events.iter().filter_map(|event| Some((event, event.fact.as_ref().ok()?)));
    facts.filter(|(_, fact)| subject(&fact.event) == Some(model.name())).collect()
}

fn subject(event: &Event) -> Option<&str> {
    match event {
        Event::ProjectionRetried(data) => Some(&data.model),
        Event::ProjectionEventSkipped(data) => Some(&data.model),
        Event::LotRegistered(_)
        | Event::QcDecisionRecorded(_)
        | Event::PipelineDrafted(_)
        | Event::PipelineRevised(_)
        | Event::PipelinePublished(_)
        | Event::PipelineArchived(_)
        | Event::SignalDeclared(_)
        | Event::Master(_)
        | Event::Lot(_)
        | Event::Access(_)
        | Event::Trail(_)
        | Event::Scenario(_)
        | Event::Run(_)
        | Event::Alert(_)
        | Event::Hold(_)
        | Event::CommandRefused(_)
        | Event::RefusalsSuppressed(_) => None,
    }
}

/// Takes note of decisions about the model, in the order of the log.
pub(crate) async fn note(
    db: &mut PgConnection,
    tenant: &TenantId,
    model: Model,
    decisions: &[(&LedgerEvent, &Fact)],
) -> Result<(), sqlx::Error> {
    for (event, fact) in decisions {
        match &fact.event {
            Event::ProjectionRetried(data) => due(db, tenant, model, &data.stream, None).await?,
            Event::ProjectionEventSkipped(data) => {
                // No event has a sequence that PostgreSQL can't hold.
                let Ok(sequence) = i64::try_from(data.sequence) else { continue };
                sqlx::query!(
                    "INSERT INTO read.projection_skip (tenant, model, stream, sequence, reason, actor, decided_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, model, stream, sequence) DO NOTHING",
                    tenant.as_str(),
                    model.name(),
                    data.stream,
                    sequence,
                    fact.reason.as_deref().unwrap_or_default(),
                    event.envelope.attributes.actor.as_str(),
                    event.envelope.attributes.time.to_utc()
                )
                .execute(&mut *db)
                .await?;
                due(db, tenant, model, &data.stream, Some(sequence)).await?;
            }
            Event::LotRegistered(_)
            | Event::QcDecisionRecorded(_)
            | Event::PipelineDrafted(_)
            | Event::PipelineRevised(_)
            | Event::PipelinePublished(_)
            | Event::PipelineArchived(_)
            | Event::SignalDeclared(_)
            | Event::Master(_)
            | Event::Lot(_)
            | Event::Access(_)
            | Event::Trail(_)
            | Event::Scenario(_)
            | Event::Run(_)
            | Event::Alert(_)
            | Event::Hold(_)
            | Event::CommandRefused(_)
            | Event::RefusalsSuppressed(_) => {}
        }
    }
    Ok(())
}

/// Marks the halt of a stream, if it is at that event, for the worker that follows its partition.
async fn due(
    db: &mut PgConnection,
    tenant: &TenantId,
    model: Model,
    stream: &str,
    sequence: Option<i64>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE read.projection_halt SET due = TRUE
         WHERE tenant = $1 AND model = $2 AND stream = $3 AND cause = 'poison' AND ($4::BIGINT IS NULL OR sequence = $4)",
        tenant.as_str(),
        model.name(),
        stream,
        sequence
    )
    .execute(db)
    .await?;
    Ok(())
}

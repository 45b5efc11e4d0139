//! What made lots out of lots: the inputs, outputs, losses and papers that the edges of the genealogy leave out.
//!
//! Part of the model `genealogy`, which applies and rebuilds it with its edges.

use chrono::{DateTime, Utc};
use lotline_domain::id::{LotId, TenantId};
use lotline_domain::lot::event::{DocumentReference, LotsTransformed, TransformationInput};
use lotline_domain::quantity::Quantity;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::batch::{LedgerEvent, Slice};
use crate::failure::ApplyError;

/// A lot that came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeLot {
    /// The lot.
    pub lot_id: LotId,
    /// How much there was.
    pub quantity: Quantity,
    /// Its share of every input, where one was stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Decimal>,
}

/// A transformation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformationRow {
    /// `TransformationId`.
    pub id: Uuid,
    /// Where.
    pub site: String,
    /// `TransformationKind::as_str`.
    pub kind: String,
    /// What went in.
    pub inputs: Json<Vec<TransformationInput>>,
    /// What came out.
    pub outputs: Json<Vec<MadeLot>>,
    /// What went in and came out nowhere.
    pub loss: Option<Json<Quantity>>,
    /// What came out and went in nowhere.
    pub gain: Option<Json<Quantity>>,
    /// The step of the process.
    pub step: Option<String>,
    /// Where in the plant.
    pub location: Option<String>,
    /// Records elsewhere.
    pub documents: Json<Vec<DocumentReference>>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Who.
    pub actor: String,
    /// When, in the world.
    pub occurred_at: DateTime<Utc>,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// Sequence in the stream.
    pub sequence: i64,
}

/// A transformation that a batch brings.
pub(crate) struct Transformed<'a> {
    pub(crate) event: &'a LedgerEvent,
    pub(crate) data: &'a LotsTransformed,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) reason: Option<&'a str>,
}

/// The transformations among `ids` that exist, in no order.
pub async fn by_ids(pool: &PgPool, tenant: &TenantId, ids: &[Uuid]) -> Result<Vec<TransformationRow>, sqlx::Error> {
    sqlx::query_as!(
        TransformationRow,
        "SELECT id, site, kind, inputs AS \"inputs: Json<Vec<TransformationInput>>\", outputs AS \"outputs: Json<Vec<MadeLot>>\",
            loss AS \"loss: Json<Quantity>\", gain AS \"gain: Json<Quantity>\", step, location,
            documents AS \"documents: Json<Vec<DocumentReference>>\", reason, actor, occurred_at, decided_at, sequence
         FROM read.transformations WHERE tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
            WHERE live.tenant = $1 AND live.model = 'genealogy' AND live.state = 'live') AND id = ANY($2)",
        tenant.as_str(),
        ids
    )
    .fetch_all(pool)
    .await
}

pub(crate) async fn insert(
    db: &mut PgConnection,
    slice: Slice<'_>,
    rows: &[Transformed<'_>],
) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let (mut inputs, mut outputs, mut documents) = (Vec::new(), Vec::new(), Vec::new());
    let (mut losses, mut gains) = (Vec::new(), Vec::new());
    for row in rows {
        let made = |output: &lotline_domain::lot::event::TransformationOutput| MadeLot {
            lot_id: output.lot_id,
            quantity: output.quantity,
            share: output.share,
        };
        inputs.push(serde_json::to_string(&row.data.inputs)?);
        outputs.push(serde_json::to_string(&row.data.outputs.iter().map(made).collect::<Vec<_>>())?);
        documents.push(serde_json::to_string(&row.data.documents)?);
        losses.push(row.data.loss.as_ref().map(serde_json::to_string).transpose()?);
        gains.push(row.data.gain.as_ref().map(serde_json::to_string).transpose()?);
    }
    let decided = rows.iter().map(|row| row.event.envelope.attributes.time.to_utc());
    sqlx::query!(
        "INSERT INTO read.transformations (tenant, generation, id, site, kind, inputs, outputs, loss, gain, step, location, documents,
            reason, actor, occurred_at, decided_at, sequence)
         SELECT $1, $2, id, site, kind, inputs::JSONB, outputs::JSONB, loss::JSONB, gain::JSONB, step, location, documents::JSONB,
            reason, actor, occurred_at, decided_at, sequence
         FROM UNNEST($3::UUID[], $4::TEXT[], $5::TEXT[], $6::TEXT[], $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[], $11::TEXT[],
            $12::TEXT[], $13::TEXT[], $14::TEXT[], $15::TIMESTAMPTZ[], $16::TIMESTAMPTZ[], $17::BIGINT[])
            AS u (id, site, kind, inputs, outputs, loss, gain, step, location, documents, reason, actor, occurred_at, decided_at, sequence)",
        slice.tenant,
        slice.generation,
        &rows.iter().map(|row| row.data.transformation_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event.stream()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.data.kind.as_str()).collect::<Vec<_>>() as _,
        &inputs,
        &outputs,
        &losses as _,
        &gains as _,
        &rows.iter().map(|row| row.data.step.as_deref()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.data.location.as_deref()).collect::<Vec<_>>() as _,
        &documents,
        &rows.iter().map(|row| row.reason).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.event.envelope.attributes.actor.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &decided.collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event.sequence()).collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(())
}

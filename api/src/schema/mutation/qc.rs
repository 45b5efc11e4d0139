//! `recordQcDecision`.

use async_graphql::{Context, Error, ID, InputObject, Object};
use chrono::{DateTime, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::command::{Command, MeasurementInput as DomainMeasurement, RecordQcDecision};
use lotline_domain::id::{CommandId, StreamKey};
use lotline_domain::personal::Personal;
use lotline_domain::qc::{ChecklistAnswer, QcOutcome as DomainOutcome};
use lotline_domain::state::Subject;
use lotline_projections::model::Model;
use lotline_projections::qc_decisions;
use uuid::Uuid;

use super::LotReferenceInput;
use crate::schema::failure::OrFail;
use crate::schema::global_id::NodeId;
use crate::schema::payload::{Given, Outcome, UserError, payload, site_stream, submit};
use crate::schema::qc::{QcDecision, QcOutcome, notes_context};
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;

/// Longest notes, in characters. They are encrypted before the domain sees them, so the limit is kept here.
const MAX_NOTES: usize = 4_000;

/// A measured value.
#[derive(InputObject, Debug)]
pub struct MeasurementInput {
    /// What was measured, such as pH.
    pub name: String,
    /// A decimal as text, such as "72.4".
    pub value: String,
    /// UCUM code, such as Cel or 1.
    pub unit: String,
}

/// An answered item of a gate's checklist.
#[derive(InputObject, Debug)]
pub struct ChecklistAnswerInput {
    /// The question.
    pub item: String,
    /// The answer.
    pub answer: String,
}

impl From<MeasurementInput> for DomainMeasurement {
    fn from(given: MeasurementInput) -> Self {
        Self { name: given.name, value: given.value, unit: given.unit }
    }
}

impl From<ChecklistAnswerInput> for ChecklistAnswer {
    fn from(given: ChecklistAnswerInput) -> Self {
        Self { item: given.item, answer: given.answer }
    }
}

/// A quality decision to record.
#[derive(InputObject, Debug)]
pub struct RecordQcDecisionInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the lot's version.
    pub expected_version: Option<Version>,
    /// When it was decided in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// The plant.
    pub site: String,
    /// The lot.
    pub lot: LotReferenceInput,
    /// The gate, such as pasteurisation.
    pub gate: String,
    /// The verdict.
    pub outcome: QcOutcome,
    /// What was measured, at most 200.
    #[graphql(default)]
    pub measurements: Vec<MeasurementInput>,
    /// What was asked and answered, at most 200.
    #[graphql(default)]
    pub checklist: Vec<ChecklistAnswerInput>,
    /// Free text about people and things, at most 4,000 characters. Kept encrypted under the actor's key, and erased with it.
    pub notes: Option<String>,
}

payload! {
    /// What became of the decision.
    RecordQcDecisionPayload {
        /// Global id of the decision; null when refused.
        async fn qc_decision_id(&self) -> Option<ID> {
            let Subject::QcDecision(id) = &self.0.receipt()?.subject else { return None };
            Some(NodeId::QcDecision(id.0).encode())
        }

        /// The decision, as soon as the read model shows it; null when refused, or when the caller may look it up no more.
        async fn qc_decision(&self, ctx: &Context<'_>) -> Result<Option<QcDecision>, Error> {
            let Some((scope, receipt)) = self.0.visible(ctx, &[Model::QcDecisions]).await? else { return Ok(None) };
            let Subject::QcDecision(id) = &receipt.subject else { return Ok(None) };
            let row = qc_decisions::find(scope.pool(), scope.tenant(), id.0).await;
            let (row, sight) = (row.or_fail("read a quality decision")?, scope.sight()?);
            Ok(row.filter(|row| sight.may_at(Permission::LookUp, &row.site)).map(QcDecision))
        }
    }
}

/// Quality decisions.
#[derive(Default)]
pub struct QcMutation;

#[Object]
impl QcMutation {
    /// Records a quality decision on a lot at a gate.
    async fn record_qc_decision(
        &self,
        ctx: &Context<'_>,
        mut input: RecordQcDecisionInput,
    ) -> Result<RecordQcDecisionPayload, Error> {
        let scope = Scope::of(ctx);
        let given = Given {
            key: input.idempotency_key,
            expected_version: input.expected_version,
            occurred_at: input.occurred_at,
            reason: input.reason.take(),
        };
        let notes = input.notes.take().filter(|text| !text.trim().is_empty());
        let prepared = site_stream(&input.site).and_then(|stream| {
            check_notes(notes.as_deref())?;
            Ok((stream, command(input)?))
        });
        let (stream, mut command) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(RecordQcDecisionPayload(Outcome::Refused(error, None))),
        };
        if let Some(notes) = notes {
            command.notes = Some(seal(scope, &stream, given.key, &notes).await?);
        }
        submit(scope, stream, given, Command::RecordQcDecision(command)).await.map(RecordQcDecisionPayload)
    }
}

pub(super) fn check_notes(notes: Option<&str>) -> Result<(), UserError> {
    if notes.is_some_and(|text| text.chars().count() > MAX_NOTES) {
        let message = format!("notes must have at most {MAX_NOTES} characters");
        return Err(UserError::at("notes", "INVALID_TEXT", message));
    }
    Ok(())
}

/// Encrypts notes for the place that they will have: the decision's id derives from the command's.
pub(super) async fn seal(scope: &Scope, stream: &StreamKey, command_id: Uuid, notes: &str) -> Result<Personal, Error> {
    let (tenant, actor) = (scope.tenant(), &scope.caller.actor);
    let key = scope.server.state.keys.key_of(tenant, actor).await.or_fail("encrypt the notes")?;
    let decision = CommandId(command_id).derive(tenant, stream, actor);
    Ok(key.seal(&notes_context(decision), notes))
}

fn command(input: RecordQcDecisionInput) -> Result<RecordQcDecision, UserError> {
    Ok(RecordQcDecision {
        lot: input.lot.resolve("lot")?,
        gate: input.gate,
        outcome: DomainOutcome::from(input.outcome),
        measurements: input.measurements.into_iter().map(Into::into).collect(),
        checklist: input.checklist.into_iter().map(Into::into).collect(),
        notes: None,
    })
}

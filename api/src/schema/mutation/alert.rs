//! `acknowledgeAlert`, `resolveAlert`.

use async_graphql::{Context, Error, ID, InputObject, Object};
use chrono::{DateTime, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::alert::command::AlertCommand;
use lotline_domain::command::Command;
use lotline_domain::id::AlertId;
use lotline_domain::state::Subject;
use lotline_projections::model::Model;
use uuid::Uuid;

use super::qc::check_notes;
use crate::schema::alert::{Alert, note_context};
use crate::schema::failure::OrFail;
use crate::schema::global_id::{self, NodeId};
use crate::schema::payload::{Given, Outcome, UserError, payload, site_stream, submit};
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;

/// An alert to see to.
#[derive(InputObject, Debug)]
pub struct AcknowledgeAlertInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the alert's version.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// The plant.
    pub site: String,
    /// Global id of the alert.
    pub alert: ID,
    /// Free text about people and things, at most 4,000 characters. Kept encrypted under the actor's key, and erased with it.
    pub notes: Option<String>,
}

/// An alert that is over.
#[derive(InputObject, Debug)]
pub struct ResolveAlertInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the alert's version.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why it is over, such as what was done. Required.
    pub reason: Option<String>,
    /// The plant.
    pub site: String,
    /// Global id of the alert.
    pub alert: ID,
}

payload! {
    /// What became of a change of an alert.
    AlertPayload {
        /// Global id of the alert; null when refused.
        async fn alert_id(&self) -> Option<ID> {
            let Subject::Alert(id) = &self.0.receipt()?.subject else { return None };
            Some(NodeId::Alert(id.0).encode())
        }

        /// The alert, as soon as the read model shows it; null when refused, or when the caller may look it up no more.
        async fn alert(&self, ctx: &Context<'_>) -> Result<Option<Alert>, Error> {
            let Some((scope, receipt)) = self.0.visible(ctx, &[Model::QcDecisions]).await? else { return Ok(None) };
            let Subject::Alert(id) = &receipt.subject else { return Ok(None) };
            let (alert, sight) = (Alert::load(scope, id.0).await?, scope.sight()?);
            Ok(alert.filter(|alert| sight.may_at(Permission::LookUp, &alert.0.site)))
        }
    }
}

/// Alerts.
#[derive(Default)]
pub struct AlertMutation;

#[Object]
impl AlertMutation {
    /// Says that the caller sees to an alert. It escalates no further, unless it becomes worse. Refused when somebody does already.
    async fn acknowledge_alert(
        &self,
        ctx: &Context<'_>,
        mut input: AcknowledgeAlertInput,
    ) -> Result<AlertPayload, Error> {
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
            Ok((stream, alert(&input.alert)?))
        });
        let (stream, alert_id) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(AlertPayload(Outcome::Refused(error, None))),
        };
        let note = match notes {
            Some(notes) => {
                let key = scope.server.state.keys.key_of(scope.tenant(), &scope.caller.actor).await;
                Some(key.or_fail("encrypt the notes")?.seal(&note_context(alert_id.0), &notes))
            }
            None => None,
        };
        let command = Command::Alert(AlertCommand::AcknowledgeAlert { alert_id, note });
        submit(scope, stream, given, command).await.map(AlertPayload)
    }

    /// Says that an alert is over, with a reason. Refused while the HOLD stands that raised it, or the run is still stuck.
    async fn resolve_alert(&self, ctx: &Context<'_>, mut input: ResolveAlertInput) -> Result<AlertPayload, Error> {
        let given = Given {
            key: input.idempotency_key,
            expected_version: input.expected_version,
            occurred_at: input.occurred_at,
            reason: input.reason.take(),
        };
        match site_stream(&input.site).and_then(|stream| Ok((stream, alert(&input.alert)?))) {
            Ok((stream, alert_id)) => {
                let command = Command::Alert(AlertCommand::ResolveAlert { alert_id });
                submit(Scope::of(ctx), stream, given, command).await.map(AlertPayload)
            }
            Err(error) => Ok(AlertPayload(Outcome::Refused(error, None))),
        }
    }
}

fn alert(id: &ID) -> Result<AlertId, UserError> {
    global_id::alert("alert", id).map(AlertId).map_err(|error| UserError::id("alert", &error))
}

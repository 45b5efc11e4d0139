//! `retryProjection`, `skipProjectionEvent`: what administrators decide about read models that can't follow a stream.
//!
//! The decision is recorded in the tenant's stream first; the workers act on it when they come to it, at the latest when they are started again.

use async_graphql::{Context, Enum, Error, InputObject, Object};
use chrono::{DateTime, Utc};
use lotline_domain::command::Command;
use lotline_domain::id::StreamKey;
use lotline_domain::state::Subject;
use lotline_projections::model::Model;
use uuid::Uuid;

use crate::schema::payload::{Given, payload, submit};
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;

/// A read model that is made from the ledger.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerReadModel {
    /// Lots as they are now.
    Lots,
    /// Which lot went into which.
    Genealogy,
    /// Quality decisions.
    QcDecisions,
    /// Pipelines and their versions.
    Pipelines,
    /// Declarations of signals.
    Signals,
    /// Products and partners.
    Master,
    /// Every event.
    Audit,
    /// Sites, users, keys and grants.
    Access,
    /// Scenarios and their versions.
    Scenarios,
    /// Runs with their phases, lots and decisions at gates.
    Runs,
}

impl From<LedgerReadModel> for Model {
    fn from(model: LedgerReadModel) -> Self {
        match model {
            LedgerReadModel::Lots => Self::Lots,
            LedgerReadModel::Genealogy => Self::Genealogy,
            LedgerReadModel::QcDecisions => Self::QcDecisions,
            LedgerReadModel::Pipelines => Self::Pipelines,
            LedgerReadModel::Signals => Self::Signals,
            LedgerReadModel::Master => Self::Master,
            LedgerReadModel::Audit => Self::Audit,
            LedgerReadModel::Access => Self::Access,
            LedgerReadModel::Scenarios => Self::Scenarios,
            LedgerReadModel::Runs => Self::Runs,
        }
    }
}

/// A stream that a read model shall try again to follow.
#[derive(InputObject, Debug)]
pub struct RetryProjectionInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why, such as what has been put right.
    pub reason: String,
    /// The read model.
    pub read_model: LedgerReadModel,
    /// Key of the stream: a site id or _tenant.
    pub stream: String,
}

/// An event that a read model shall leave out.
#[derive(InputObject, Debug)]
pub struct SkipProjectionEventInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why it may be left out.
    pub reason: String,
    /// The read model.
    pub read_model: LedgerReadModel,
    /// Key of the stream: a site id or _tenant.
    pub stream: String,
    /// Number of the event in the stream.
    pub sequence: Version,
}

payload! {
    /// What became of a decision about a read model.
    ProjectionPayload {
        /// Name of the read model; null when refused.
        async fn read_model(&self) -> Option<&str> {
            let Subject::Projection(model) = &self.0.receipt()?.subject else { return None };
            Some(model)
        }
    }
}

/// Read models.
#[derive(Default)]
pub struct ProjectionMutation;

#[Object]
impl ProjectionMutation {
    /// For administrators: has a read model try again to follow a stream from the event at which it stopped.
    async fn retry_projection(
        &self,
        ctx: &Context<'_>,
        input: RetryProjectionInput,
    ) -> Result<ProjectionPayload, Error> {
        let model = Model::from(input.read_model).name().to_owned();
        let given = given(input.idempotency_key, input.occurred_at, input.reason);
        let command = Command::RetryProjection { model, stream: input.stream };
        submit(Scope::of(ctx), StreamKey::Tenant, given, command).await.map(ProjectionPayload)
    }

    /// For administrators: has a read model leave out exactly one event and follow the rest of its stream. A rebuild of the read model
    /// forgets this.
    async fn skip_projection_event(
        &self,
        ctx: &Context<'_>,
        input: SkipProjectionEventInput,
    ) -> Result<ProjectionPayload, Error> {
        let model = Model::from(input.read_model).name().to_owned();
        let Version(sequence) = input.sequence;
        let given = given(input.idempotency_key, input.occurred_at, input.reason);
        let command = Command::SkipProjectionEvent { model, stream: input.stream, sequence };
        submit(Scope::of(ctx), StreamKey::Tenant, given, command).await.map(ProjectionPayload)
    }
}

fn given(key: Uuid, occurred_at: Option<DateTime<Utc>>, reason: String) -> Given {
    Given { key, expected_version: None, occurred_at, reason: Some(reason) }
}

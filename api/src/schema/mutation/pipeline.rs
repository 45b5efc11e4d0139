//! `draftPipeline`, `revisePipeline`, `publishPipeline`, `archivePipeline`. Pipelines belong to the tenant, so these take no site.

use async_graphql::{Context, Error, ID, InputObject, Object};
use chrono::{DateTime, Utc};
use lotline_domain::command::Command;
use lotline_domain::id::{PipelineId, StreamKey};
use lotline_domain::pipeline::{Definition, Edge, Task};
use lotline_domain::state::Subject;
use lotline_projections::model::Model;
use serde_json::Value;
use uuid::Uuid;

use crate::schema::global_id::{self, NodeId};
use crate::schema::payload::{Given, Outcome, UserError, payload, submit};
use crate::schema::pipeline::Pipeline;
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;

/// One step of a pipeline.
#[derive(InputObject, Debug)]
pub struct PipelineTaskInput {
    /// Unique in the pipeline, at most 64 characters.
    pub id: String,
    /// Which connector or transformation, such as extract.csv.
    pub kind: String,
    /// Settings of that kind.
    pub config: Option<Value>,
}

/// `to` waits for `from`.
#[derive(InputObject, Debug)]
pub struct PipelineTaskEdgeInput {
    /// Runs first.
    pub from: String,
    /// Runs after.
    pub to: String,
}

/// A graph of tasks without a cycle.
#[derive(InputObject, Debug)]
pub struct PipelineDefinitionInput {
    /// The steps, 1 to 1,000.
    pub tasks: Vec<PipelineTaskInput>,
    /// Their order, at most 5,000.
    #[graphql(default)]
    pub edges: Vec<PipelineTaskEdgeInput>,
}

impl From<PipelineDefinitionInput> for Definition {
    fn from(given: PipelineDefinitionInput) -> Self {
        let task =
            |task: PipelineTaskInput| Task { id: task.id, kind: task.kind, config: task.config.unwrap_or_default() };
        let edge = |edge: PipelineTaskEdgeInput| Edge { from: edge.from, to: edge.to };
        Self { tasks: given.tasks.into_iter().map(task).collect(), edges: given.edges.into_iter().map(edge).collect() }
    }
}

/// A pipeline to begin.
#[derive(InputObject, Debug)]
pub struct DraftPipelineInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the version; 0 for a thing that is new.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// Unique among pipelines that are not archived.
    pub name: String,
    /// Its first draft.
    pub definition: PipelineDefinitionInput,
}

/// A pipeline's new draft.
#[derive(InputObject, Debug)]
pub struct RevisePipelineInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the pipeline's version.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// Global id of the pipeline.
    pub pipeline_id: ID,
    /// Its name from now on.
    pub name: String,
    /// Its draft from now on.
    pub definition: PipelineDefinitionInput,
}

/// A pipeline to publish or to archive.
#[derive(InputObject, Debug)]
pub struct PipelineInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the pipeline's version.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// Global id of the pipeline.
    pub pipeline_id: ID,
}

payload! {
    /// What became of a change of a pipeline.
    PipelinePayload {
        /// Global id of the pipeline; null when refused.
        async fn pipeline_id(&self) -> Option<ID> {
            match &self.0.receipt()?.subject {
                Subject::Pipeline(id) => Some(NodeId::Pipeline(id.0).encode()),
                Subject::Lot(_) | Subject::QcDecision(_) | Subject::Signal(_) | Subject::Projection(_) | Subject::Access(_) | Subject::Trail(_) | Subject::Scenario(_) | Subject::Run(_) => None,
            }
        }

        /// The pipeline, as soon as the read model shows it; null when refused, or when the caller may view it no more.
        async fn pipeline(&self, ctx: &Context<'_>) -> Result<Option<Pipeline>, Error> {
            let Some((scope, receipt)) = self.0.visible(ctx, &[Model::Pipelines]).await? else { return Ok(None) };
            match &receipt.subject {
                Subject::Pipeline(id) if scope.sight()?.may_view(id.0) => Pipeline::load(scope, id.0).await,
                Subject::Pipeline(_) | Subject::Lot(_) | Subject::QcDecision(_) | Subject::Signal(_) | Subject::Projection(_) | Subject::Access(_) | Subject::Trail(_) | Subject::Scenario(_) | Subject::Run(_) => Ok(None),
            }
        }
    }
}

impl PipelineInput {
    async fn submit(self, ctx: &Context<'_>, command: fn(PipelineId) -> Command) -> Result<PipelinePayload, Error> {
        let id = match pipeline_id(&self.pipeline_id) {
            Ok(id) => id,
            Err(error) => return Ok(PipelinePayload(Outcome::Refused(error, None))),
        };
        let given = Given {
            key: self.idempotency_key,
            expected_version: self.expected_version,
            occurred_at: self.occurred_at,
            reason: self.reason,
        };
        submit(Scope::of(ctx), StreamKey::Tenant, given, command(id)).await.map(PipelinePayload)
    }
}

fn pipeline_id(given: &ID) -> Result<PipelineId, UserError> {
    let field = "pipelineId";
    global_id::pipeline(field, given).map(PipelineId).map_err(|error| UserError::id(field, &error))
}

/// Pipelines.
#[derive(Default)]
pub struct PipelineMutation;

#[Object]
impl PipelineMutation {
    /// Begins a pipeline.
    async fn draft_pipeline(&self, ctx: &Context<'_>, input: DraftPipelineInput) -> Result<PipelinePayload, Error> {
        let given = Given {
            key: input.idempotency_key,
            expected_version: input.expected_version,
            occurred_at: input.occurred_at,
            reason: input.reason,
        };
        let command = Command::DraftPipeline { name: input.name, definition: input.definition.into() };
        submit(Scope::of(ctx), StreamKey::Tenant, given, command).await.map(PipelinePayload)
    }

    /// Replaces a pipeline's draft and name.
    async fn revise_pipeline(&self, ctx: &Context<'_>, input: RevisePipelineInput) -> Result<PipelinePayload, Error> {
        let pipeline_id = match pipeline_id(&input.pipeline_id) {
            Ok(id) => id,
            Err(error) => return Ok(PipelinePayload(Outcome::Refused(error, None))),
        };
        let given = Given {
            key: input.idempotency_key,
            expected_version: input.expected_version,
            occurred_at: input.occurred_at,
            reason: input.reason,
        };
        let command = Command::RevisePipeline { pipeline_id, name: input.name, definition: input.definition.into() };
        submit(Scope::of(ctx), StreamKey::Tenant, given, command).await.map(PipelinePayload)
    }

    /// Makes a pipeline's draft its next version.
    async fn publish_pipeline(&self, ctx: &Context<'_>, input: PipelineInput) -> Result<PipelinePayload, Error> {
        input.submit(ctx, |pipeline_id| Command::PublishPipeline { pipeline_id }).await
    }

    /// Retires a pipeline. Its name is free again.
    async fn archive_pipeline(&self, ctx: &Context<'_>, input: PipelineInput) -> Result<PipelinePayload, Error> {
        input.submit(ctx, |pipeline_id| Command::ArchivePipeline { pipeline_id }).await
    }
}

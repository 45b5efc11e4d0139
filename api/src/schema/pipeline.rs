//! Pipelines: drafts, published versions, and their graphs of tasks.

use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject, Subscription};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use lotline_domain::pipeline::Definition;
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use lotline_projections::pipelines::{self, PipelineFilter, PipelineRow, VersionRow};
use serde_json::Value;
use uuid::Uuid;

use super::connection::{self, Cursor};
use super::failure::OrFail;
use super::global_id::{self, NodeId};
use super::live::{self, Change, Feed};
use super::loaders::{PipelineById, VersionsOf};
use super::scalar::{PositionToken, Version};
use super::scope::Scope;
use super::sight::Sight;
use crate::guard::cost;

/// One step of a pipeline.
#[derive(SimpleObject, Debug)]
pub struct PipelineTask {
    /// Unique in the pipeline.
    pub id: String,
    /// Which connector or transformation, such as extract.csv.
    pub kind: String,
    /// Settings of that kind.
    pub config: Value,
}

/// `to` waits for `from`.
#[derive(SimpleObject, Debug)]
pub struct PipelineTaskEdge {
    /// Runs first.
    pub from: String,
    /// Runs after.
    pub to: String,
}

/// A graph of tasks.
#[derive(SimpleObject, Debug)]
pub struct PipelineDefinition {
    /// The steps.
    #[graphql(complexity = "cost::list(child_complexity)")]
    pub tasks: Vec<PipelineTask>,
    /// Their order. The graph has no cycle.
    #[graphql(complexity = "cost::list(child_complexity)")]
    pub edges: Vec<PipelineTaskEdge>,
}

impl From<&Definition> for PipelineDefinition {
    fn from(definition: &Definition) -> Self {
        let task = |task: &lotline_domain::pipeline::Task| PipelineTask {
            id: task.id.clone(),
            kind: task.kind.clone(),
            config: task.config.clone(),
        };
        let edge =
            |edge: &lotline_domain::pipeline::Edge| PipelineTaskEdge { from: edge.from.clone(), to: edge.to.clone() };
        Self { tasks: definition.tasks.iter().map(task).collect(), edges: definition.edges.iter().map(edge).collect() }
    }
}

/// A published version; it never changes.
pub struct PipelineVersion(pub VersionRow);

/// A published version; it never changes.
#[Object]
impl PipelineVersion {
    /// Counts 1, 2, 3, …
    async fn number(&self) -> i32 {
        self.0.version
    }

    /// The pipeline's name when it was published.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The graph.
    async fn definition(&self) -> PipelineDefinition {
        (&self.0.definition.0).into()
    }

    /// SHA-256 of the definition's JSON, in hex.
    async fn definition_hash(&self) -> &str {
        &self.0.definition_hash
    }

    /// Why, in the actor's words.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Who published it.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it was published in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When it was recorded.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }
}

/// A graph of tasks that is drafted, published as numbered versions, and archived.
pub struct Pipeline(pub PipelineRow);

impl Pipeline {
    /// The pipeline of an id.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load(scope: &Scope, id: Uuid) -> Result<Option<Self>, Error> {
        Ok(scope.loader.load_one(PipelineById(id)).await.or_fail("read a pipeline")?.map(Self))
    }
}

/// A graph of tasks that is drafted, published as numbered versions, and archived.
#[Object]
impl Pipeline {
    /// Global id.
    pub async fn id(&self) -> ID {
        NodeId::Pipeline(self.0.id).encode()
    }

    /// The pipeline's UUID, as it stands in events.
    async fn uuid(&self) -> Uuid {
        self.0.id
    }

    /// Unique among pipelines that are not archived.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The graph as it was last drafted or revised.
    async fn draft(&self) -> PipelineDefinition {
        (&self.0.draft.0).into()
    }

    /// Whether the draft differs from the newest version.
    async fn has_unpublished_changes(&self) -> bool {
        self.0.has_unpublished_changes()
    }

    /// Number of the newest version; null before the first.
    async fn published_version(&self) -> Option<i32> {
        self.0.published_version
    }

    /// Whether it is retired.
    async fn archived(&self) -> bool {
        self.0.archived
    }

    /// Published versions, the newest first.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn versions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "1 to 100.")] first: i32,
    ) -> Result<Vec<PipelineVersion>, Error> {
        let key = VersionsOf(self.0.id, connection::size(first)?);
        let rows = Scope::of(ctx).loader.load_one(key).await.or_fail("read versions")?;
        Ok(rows.unwrap_or_default().into_iter().map(PipelineVersion).collect())
    }

    /// Who drafted it.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it was drafted in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When its draft was recorded.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }

    /// When its last change was recorded.
    async fn changed_at(&self) -> DateTime<Utc> {
        self.0.changed_at
    }

    /// What `expectedVersion` is compared with. Not the number of a published version.
    async fn version(&self) -> Version {
        self.0.version.into()
    }
}

/// Which pipelines; what is absent does not matter.
#[derive(InputObject, Debug, Default)]
pub struct PipelineFilterInput {
    /// The name, exactly.
    pub name: Option<String>,
    /// Whether retired.
    pub archived: Option<bool>,
    /// Whether any version was published.
    pub published: Option<bool>,
}

/// Pipelines.
#[derive(Default)]
pub struct PipelineQuery;

#[Object]
impl PipelineQuery {
    /// A pipeline.
    async fn pipeline(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id.")] id: ID,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<Pipeline>, Error> {
        let scope = Scope::of(ctx);
        let id = global_id::pipeline("id", &id)?;
        scope.wait(ctx, &[Model::Pipelines], consistent_with, consistency_timeout_ms).await?;
        Pipeline::load(scope, id).await
    }

    /// Pipelines of the tenant, the newest first: all to whoever may look up everything, else those on which the caller has a right.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn pipelines(
        &self,
        ctx: &Context<'_>,
        filter: Option<PipelineFilterInput>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last pipeline of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, Pipeline>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), |text| Uuid::try_parse(text).ok())?;
        scope.wait(ctx, &[Model::Pipelines], consistent_with, consistency_timeout_ms).await?;
        let given = filter.unwrap_or_default();
        let filter = PipelineFilter {
            ids: scope.sight()?.pipelines()?,
            name: given.name,
            archived: given.archived,
            published: given.published,
        };
        let page = Page { first: size + 1, after };
        let rows = pipelines::list(scope.pool(), scope.tenant(), &filter, &page).await.or_fail("list pipelines")?;
        Ok(connection::connection(rows, size, after.is_some(), |row| Cursor::new(&row.id), Pipeline))
    }
}

/// A pipeline that changed.
#[derive(SimpleObject)]
pub struct PipelineChange {
    /// As it is now.
    pub pipeline: Pipeline,
    /// From where to go on after this item.
    pub position: PositionToken,
}

/// Changes of pipelines.
#[derive(Default)]
pub struct PipelineSubscription;

#[Subscription]
impl PipelineSubscription {
    /// Pipelines as they are drafted, revised, published and archived, after each commit: those that the caller may look at at that moment.
    async fn pipeline_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Go on from here; from now when absent. Partitions that the token does not name begin now.")]
        after: Option<PositionToken>,
    ) -> Result<impl Stream<Item = Result<PipelineChange, Error>> + use<>, Error> {
        let feed = Feed::<PipelineRow> {
            model: Model::Pipelines,
            fetch: |state, partition, from, rows| {
                Box::pin(pipelines::changed_since(&state.pool, &state.tenant, partition, from, rows))
            },
            offset: |row| row.changed_offset,
        };
        let scope = Scope::of(ctx);
        let (server, actor) = (Arc::clone(&scope.server), scope.actor());
        let changes = live::follow(ctx, feed, None, after).await?;
        Ok(changes.filter_map(move |change| {
            // One event touches one pipeline.
            let item = change.and_then(|Change { mut rows, position, .. }| {
                let sight = Sight::now(&server, actor)?;
                let pipeline = rows.pop().filter(|row| sight.may_view(row.id)).map(Pipeline);
                Ok(pipeline.map(|pipeline| PipelineChange { pipeline, position: PositionToken(position) }))
            });
            std::future::ready(item.transpose())
        }))
    }
}

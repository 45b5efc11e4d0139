//! The server about itself: its plants, and how far its read models are.

use async_graphql::{Context, Enum, Error, Object, SimpleObject};
use chrono::{DateTime, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::id::SiteId;
use lotline_domain::position::{Position, TopicKind};
use lotline_projections::model::Model;
use lotline_projections::progress::{self, Halt, ModelStatus};
use lotline_projections::{decisions, graph};

use super::failure::OrFail;
use super::scalar::{PositionToken, Version};
use super::scope::Scope;

/// A stream that a read model no longer follows.
#[derive(SimpleObject)]
pub struct ProjectionHalt {
    /// The stream.
    pub stream: String,
    /// Number of the event in the stream that could not be applied, when it could be read.
    pub sequence: Option<Version>,
    /// Why.
    pub error: String,
    /// Since when.
    pub halted_at: DateTime<Utc>,
}

/// An event that a read model leaves out because an administrator has decided so.
#[derive(SimpleObject)]
pub struct SkippedEvent {
    /// Such as lots.
    pub read_model: String,
    /// The stream.
    pub stream: String,
    /// Number of the event in the stream.
    pub sequence: Version,
    /// Why, in the actor's words.
    pub reason: String,
    /// Who decided.
    pub actor: String,
    /// When.
    pub decided_at: DateTime<Utc>,
}

/// A rebuild of a read model beside the one in use.
#[derive(SimpleObject)]
pub struct ProjectionRebuild {
    /// Since when.
    pub started_at: DateTime<Utc>,
    /// Whether a process is working on it; else it was abandoned.
    pub attended: bool,
}

/// What the graph of genealogy in this node's memory is at.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "lotline_projections::graph::GraphState")]
pub enum GraphState {
    /// Not wanted here: the tables answer.
    Off,
    /// Being read for the first time: the tables answer.
    Loading,
    /// In use, and kept up.
    Following,
    /// In use as it was, while it is read anew because a rebuilt read model is in use.
    Reloading,
}

/// The graph of genealogy in this node's memory.
#[derive(SimpleObject)]
pub struct GraphStatus {
    /// What it is at.
    pub state: GraphState,
    /// Everything of this partition before this offset is in it.
    pub next_offset: Version,
    /// Lots in it, of all partitions.
    pub lots: Version,
    /// Edges in it, of all partitions.
    pub edges: Version,
    /// What it takes in memory.
    pub bytes: Version,
}

/// State of a read model in one partition of its topic.
#[derive(SimpleObject)]
pub struct ProjectionStatus {
    /// Such as lots.
    pub read_model: String,
    /// Topic name.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Everything before this offset is in the read model, but for halted streams.
    pub next_offset: Version,
    /// The same as a token.
    pub position: PositionToken,
    /// Whether it misses events.
    pub degraded: bool,
    /// What it could not follow.
    pub halts: Vec<ProjectionHalt>,
    /// When the newest event that it has was decided; not known of samples.
    pub decided_until: Option<DateTime<Utc>>,
    /// A rebuild that is under way or was abandoned.
    pub rebuild: Option<ProjectionRebuild>,
    /// Of genealogy, the graph that this node makes of it.
    pub graph: Option<GraphStatus>,
}

impl GraphStatus {
    fn of(graph: &graph::GraphStatus, partition: u32) -> Self {
        let version = |count: usize| Version(count as u64);
        Self {
            state: graph.state.into(),
            next_offset: graph.position.get(TopicKind::Ledger, partition).unwrap_or(0).into(),
            lots: version(graph.lots),
            edges: version(graph.edges),
            bytes: version(graph.bytes),
        }
    }
}

impl From<Halt> for ProjectionHalt {
    fn from(halt: Halt) -> Self {
        let sequence = halt.sequence.map(Version::from);
        Self { stream: halt.stream, sequence, error: halt.error, halted_at: halt.halted_at }
    }
}

impl From<ModelStatus> for ProjectionStatus {
    fn from(status: ModelStatus) -> Self {
        Self {
            degraded: status.is_degraded(),
            read_model: status.model.to_string(),
            position: PositionToken(Position::at(status.model.topic(), status.partition, status.next_offset)),
            topic: status.topic,
            partition: status.partition,
            next_offset: status.next_offset.into(),
            graph: None,
            halts: status.halts.into_iter().map(ProjectionHalt::from).collect(),
            decided_until: status.decided_until,
            rebuild: status
                .rebuild
                .map(|idle| ProjectionRebuild { started_at: idle.started_at, attended: idle.attended }),
        }
    }
}

/// The server about itself.
#[derive(Default)]
pub struct StatusQuery;

#[Object]
impl StatusQuery {
    /// The tenant whose data is served.
    async fn tenant<'a>(&self, ctx: &Context<'a>) -> &'a str {
        Scope::of(ctx).tenant().as_str()
    }

    /// Its plants, where the caller may look something up.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn sites<'a>(&self, ctx: &Context<'a>) -> Result<Vec<&'a str>, Error> {
        let scope = Scope::of(ctx);
        let sight = scope.sight()?;
        let all = scope.server.state.sites.iter().map(SiteId::as_str);
        Ok(all.filter(|site| sight.may_at(Permission::LookUp, site)).collect())
    }

    /// Events that read models leave out. A rebuild of the read model applies them, or fails.
    async fn skipped_events(&self, ctx: &Context<'_>) -> Result<Vec<SkippedEvent>, Error> {
        let scope = Scope::of(ctx);
        let all =
            decisions::skips(scope.pool(), scope.tenant()).await.or_fail("read what the read models leave out")?;
        let shown = all.into_iter().map(|skip| SkippedEvent {
            read_model: skip.model.to_string(),
            stream: skip.stream,
            sequence: skip.sequence.into(),
            reason: skip.reason,
            actor: skip.actor,
            decided_at: skip.decided_at,
        });
        Ok(shown.collect())
    }

    /// How far each read model is, partition by partition.
    async fn projection_status(&self, ctx: &Context<'_>) -> Result<Vec<ProjectionStatus>, Error> {
        let scope = Scope::of(ctx);
        let all = progress::status(scope.pool(), scope.tenant()).await.or_fail("read the state of the read models")?;
        let graph = scope.server.state.graph.status();
        let shown = all.into_iter().map(|status| {
            let graph = (status.model == Model::Genealogy).then(|| GraphStatus::of(&graph, status.partition));
            ProjectionStatus { graph, ..ProjectionStatus::from(status) }
        });
        Ok(shown.collect())
    }
}

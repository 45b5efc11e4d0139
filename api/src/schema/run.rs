//! Production runs: where each stands, its gates, and what became of it.

use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject, Subscription};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use lotline_domain::access::role::Permission;
use lotline_domain::run::state::Stage;
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use lotline_projections::runs::{self, PhaseRow, RunFilter, RunRow};
use uuid::Uuid;

use super::connection::{self, Cursor};
use super::failure::{OrFail, bad_input};
use super::global_id::{self, NodeId};
use super::live::{self, Change, Feed};
use super::loaders::{InForceOf, RunById, RunDecisionsOf, RunLotsOf, RunPhasesOf};
use super::scalar::{PositionToken, Version};
use super::scenario::{Scenario, ScenarioDefinition, ScenarioPhase};
use super::scope::Scope;
use super::sight::{Narrowed, Sight};
use crate::guard::cost;

pub mod parts;

use parts::{RunDecision, RunGate, RunLot, RunPhase, RunSummary};

/// Where a run stands.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Stage")]
pub enum RunStage {
    /// On its way.
    Running,
    /// Stopped for a while.
    Held,
    /// Done.
    Completed,
    /// Given up.
    Aborted,
}

impl RunStage {
    fn read(name: &str) -> Result<Self, Error> {
        let all = [Stage::Running, Stage::Held, Stage::Completed, Stage::Aborted];
        let known = all.into_iter().find(|known| known.as_str() == name);
        known.map(Self::from).ok_or("unknown stage").or_fail("read a run")
    }
}

/// A process of a scenario on its way at a site. It keeps the version with which it started.
pub struct Run(pub RunRow);

impl Run {
    /// The run of an id.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load(scope: &Scope, id: Uuid) -> Result<Option<Self>, Error> {
        Ok(scope.loader.load_one(RunById(id)).await.or_fail("read a run")?.map(Self))
    }
}

/// A process of a scenario on its way at a site. It keeps the version with which it started.
#[Object]
impl Run {
    /// Global id.
    pub async fn id(&self) -> ID {
        NodeId::Run(self.0.id).encode()
    }

    /// The run's UUID, as it stands in events.
    async fn uuid(&self) -> Uuid {
        self.0.id
    }

    /// The plant.
    async fn site(&self) -> &str {
        &self.0.site
    }

    /// Unique in the site.
    async fn code(&self) -> &str {
        &self.0.code
    }

    /// The scenario as it is now.
    async fn scenario(&self, ctx: &Context<'_>) -> Result<Option<Scenario>, Error> {
        Scenario::load(Scope::of(ctx), self.0.scenario_id).await
    }

    /// The scenario's name when the run started.
    async fn scenario_name(&self) -> &str {
        &self.0.scenario_name
    }

    /// The version that the run keeps.
    async fn scenario_version(&self) -> i32 {
        self.0.scenario_version
    }

    /// What that version says.
    async fn definition(&self) -> ScenarioDefinition {
        (&self.0.definition.0).into()
    }

    /// Where it stands.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn stage(&self) -> Result<RunStage, Error> {
        RunStage::read(&self.0.stage)
    }

    /// Number of the phase in which it is, or was when it ended.
    async fn phase(&self) -> i32 {
        self.0.phase
    }

    /// That phase.
    async fn current_phase(&self) -> Option<ScenarioPhase> {
        let number = u32::try_from(self.0.phase).ok()?;
        self.0.definition.phase(number).map(ScenarioPhase::from)
    }

    /// When it entered that phase, in the world.
    async fn phase_since(&self) -> DateTime<Utc> {
        self.0.phase_since
    }

    /// Since when it is on hold; null when it is not.
    async fn held_since(&self) -> Option<DateTime<Utc>> {
        self.0.held_since
    }

    /// Why it is on hold or was given up, in the actor's words.
    async fn stage_reason(&self) -> Option<&str> {
        self.0.stage_reason.as_deref()
    }

    /// When it ended, in the world; null while it goes on.
    async fn ended_at(&self) -> Option<DateTime<Utc>> {
        self.0.ended_at
    }

    /// The phases that it entered, in order.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn phases(&self, ctx: &Context<'_>) -> Result<Vec<RunPhase>, Error> {
        let rows = Scope::of(ctx).loader.load_one(RunPhasesOf(self.0.id)).await.or_fail("read phases of a run")?;
        Ok(rows.unwrap_or_default().into_iter().map(RunPhase::from).collect())
    }

    /// Its gates, each with how far it is passed, in the order of the definition.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn gates(&self, ctx: &Context<'_>) -> Result<Vec<RunGate>, Error> {
        let loader = &Scope::of(ctx).loader;
        let decisions = loader.load_one(InForceOf(self.0.id)).await.or_fail("read decisions of a run")?;
        let lots = loader.load_one(RunLotsOf(self.0.id)).await.or_fail("read lots of a run")?;
        RunGate::all(&self.0, &decisions.unwrap_or_default(), &lots.unwrap_or_default())
    }

    /// Lots that belong to it, in the order in which they were linked; one entry for each phase.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn lots(&self, ctx: &Context<'_>, #[graphql(desc = "1 to 100.")] first: i32) -> Result<Vec<RunLot>, Error> {
        let size = connection::size(first)? as usize;
        let rows = Scope::of(ctx).loader.load_one(RunLotsOf(self.0.id)).await.or_fail("read lots of a run")?;
        Ok(rows.unwrap_or_default().into_iter().take(size).map(RunLot).collect())
    }

    /// Decisions at its gates, the last one first.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn decisions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "1 to 100.")] first: i32,
    ) -> Result<Vec<RunDecision>, Error> {
        let key = RunDecisionsOf(self.0.id, connection::size(first)?);
        let rows = Scope::of(ctx).loader.load_one(key).await.or_fail("read decisions of a run")?;
        Ok(rows.unwrap_or_default().into_iter().map(RunDecision).collect())
    }

    /// What it came to; null until it is completed.
    async fn summary(&self) -> Option<RunSummary> {
        self.0.summary.as_ref().map(|summary| (&summary.0).into())
    }

    /// Who started it.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it started, in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When its start was recorded.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }

    /// When its last change was recorded.
    async fn changed_at(&self) -> DateTime<Utc> {
        self.0.changed_at
    }

    /// What `expectedVersion` is compared with.
    async fn version(&self) -> Version {
        self.0.version.into()
    }
}

/// Which runs; what is absent does not matter.
#[derive(InputObject, Debug, Default)]
pub struct RunFilterInput {
    /// In any of these stages.
    pub stages: Option<Vec<RunStage>>,
    /// Global id of the scenario.
    pub scenario: Option<ID>,
}

/// Runs.
#[derive(Default)]
pub struct RunQuery;

#[Object]
impl RunQuery {
    /// A run, by `id` alone or by `site` and `code`; null when there is none at the sites where the caller may look it up.
    async fn run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id.")] id: Option<ID>,
        #[graphql(desc = "Plant of the code.")] site: Option<String>,
        #[graphql(desc = "Code within the site.")] code: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<Run>, Error> {
        let scope = Scope::of(ctx);
        scope.check_site(site.as_deref()).await?;
        scope.wait(ctx, &[Model::Runs], consistent_with, consistency_timeout_ms).await?;
        let found = match (id, site, code) {
            (Some(id), None, None) => Run::load(scope, global_id::run("id", &id)?).await?,
            (None, Some(site), Some(code)) => {
                let row = runs::find_by_code(scope.pool(), scope.tenant(), &site, &code).await;
                row.or_fail("read a run")?.map(Run)
            }
            _ => return Err(bad_input("give either 'id', or 'site' and 'code'")),
        };
        let sight = scope.sight()?;
        Ok(found.filter(|run| sight.may_at(Permission::LookUp, &run.0.site)))
    }

    /// Runs, the newest first; without a site, those of every site where the caller may look them up. The board of a plant: those that are
    /// RUNNING or HELD.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the GraphQL field")]
    async fn runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        filter: Option<RunFilterInput>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last run of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, Run>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), |text| Uuid::try_parse(text).ok())?;
        scope.check_site(site.as_deref()).await?;
        scope.wait(ctx, &[Model::Runs], consistent_with, consistency_timeout_ms).await?;
        let given = filter.unwrap_or_default();
        let Narrowed { site, sites } = scope.sight()?.narrow(Permission::LookUp, site)?;
        let stage = |stage: RunStage| Stage::from(stage).as_str().to_owned();
        let filter = RunFilter {
            site,
            sites,
            stages: given.stages.map(|stages| stages.into_iter().map(stage).collect()),
            scenario_id: given.scenario.map(|id| global_id::scenario("filter.scenario", &id)).transpose()?,
        };
        let page = Page { first: size + 1, after };
        let rows = runs::list(scope.pool(), scope.tenant(), &filter, &page).await.or_fail("list runs")?;
        Ok(connection::connection(rows, size, after.is_some(), |row| Cursor::new(&row.id), Run))
    }
}

/// A run that changed.
#[derive(SimpleObject)]
pub struct RunChange {
    /// As it is now.
    pub run: Run,
    /// From where to go on after this item.
    pub position: PositionToken,
}

/// A run that entered its next phase.
pub struct PhaseAdvance {
    row: PhaseRow,
    position: PositionToken,
}

/// A run that entered its next phase.
#[Object]
impl PhaseAdvance {
    /// The run as it is now.
    async fn run(&self, ctx: &Context<'_>) -> Result<Option<Run>, Error> {
        Run::load(Scope::of(ctx), self.row.run_id).await
    }

    /// Number of the phase.
    async fn phase(&self) -> i32 {
        self.row.phase
    }

    /// When, in the world.
    async fn entered_at(&self) -> DateTime<Utc> {
        self.row.entered_at
    }

    /// Who let it.
    async fn actor(&self) -> &str {
        &self.row.actor
    }

    /// From where to go on after this item.
    async fn position(&self) -> PositionToken {
        self.position.clone()
    }
}

/// Changes of runs.
#[derive(Default)]
pub struct RunSubscription;

#[Subscription]
impl RunSubscription {
    /// Runs as they change, after each commit; without a site, those of every site where the caller may look them up at that moment.
    async fn run_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        #[graphql(desc = "Go on from here; from now when absent. Partitions that the token does not name begin now.")]
        after: Option<PositionToken>,
    ) -> Result<impl Stream<Item = Result<RunChange, Error>> + use<>, Error> {
        let feed = Feed::<RunRow> {
            model: Model::Runs,
            fetch: |state, partition, from, rows| {
                Box::pin(runs::changed_since(&state.pool, &state.tenant, partition, from, rows))
            },
            offset: |row| row.changed_offset,
        };
        let scope = Scope::of(ctx);
        let (server, actor) = (Arc::clone(&scope.server), scope.actor());
        scope.check_site(site.as_deref()).await?;
        let changes = live::follow(ctx, feed, site.as_deref(), after).await?;
        Ok(changes.filter_map(move |change| {
            // One event touches one run.
            let item = change.and_then(|Change { mut rows, position, .. }| {
                let sight = Sight::now(&server, actor)?;
                rows.retain(|row| site.as_ref().is_none_or(|site| *site == row.site));
                rows.retain(|row| sight.may_at(Permission::LookUp, &row.site));
                Ok(rows.pop().map(|row| RunChange { run: Run(row), position: PositionToken(position) }))
            });
            std::future::ready(item.transpose())
        }))
    }

    /// Phases as runs enter them after their first, each after its commit; without a site, those of every site where the caller may look
    /// them up at that moment.
    async fn phase_advanced(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        #[graphql(desc = "Go on from here; from now when absent. Partitions that the token does not name begin now.")]
        after: Option<PositionToken>,
    ) -> Result<impl Stream<Item = Result<PhaseAdvance, Error>> + use<>, Error> {
        let feed = Feed::<PhaseRow> {
            model: Model::Runs,
            fetch: |state, partition, from, rows| {
                Box::pin(runs::advanced_since(&state.pool, &state.tenant, partition, from, rows))
            },
            offset: |row| row.log_offset,
        };
        let scope = Scope::of(ctx);
        let (server, actor) = (Arc::clone(&scope.server), scope.actor());
        scope.check_site(site.as_deref()).await?;
        let changes = live::follow(ctx, feed, site.as_deref(), after).await?;
        Ok(changes.filter_map(move |change| {
            // One event enters one phase.
            let item = change.and_then(|Change { mut rows, position, .. }| {
                let sight = Sight::now(&server, actor)?;
                rows.retain(|row| site.as_ref().is_none_or(|site| *site == row.site));
                rows.retain(|row| sight.may_at(Permission::LookUp, &row.site));
                Ok(rows.pop().map(|row| PhaseAdvance { row, position: PositionToken(position) }))
            });
            std::future::ready(item.transpose())
        }))
    }
}

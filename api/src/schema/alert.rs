//! Alerts: the inbox of a plant, and how it is followed.

use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject, Subscription};
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::{Stream, StreamExt};
use lotline_domain::access::role::Permission;
use lotline_domain::alert::{AlertKind as DomainKind, Severity as DomainSeverity};
use lotline_domain::personal::Personal;
use lotline_projections::alerts::{self, ACKNOWLEDGED, AlertFilter, AlertRow, OPEN, RESOLVED, rank};
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use uuid::Uuid;

use super::connection::{self, Cursor};
use super::failure::OrFail;
use super::global_id::{self, NodeId};
use super::live::{self, Change, Feed, Fetch};
use super::loaders::KeyById;
use super::lot::Lot;
use super::qc::QcDecision;
use super::run::Run;
use super::scalar::{PositionToken, Version};
use super::scope::Scope;
use super::sight::{Narrowed, Sight};
use crate::guard::cost;

/// What an alert is about.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainKind")]
pub enum AlertKind {
    /// A HOLD or FAIL.
    Decision,
    /// A measured value outside its limit.
    Limit,
    /// Something is left of a lot whose last day of use comes or is over.
    Expiry,
    /// A run takes no step.
    StuckRun,
}

/// How bad it is.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainSeverity")]
pub enum AlertSeverity {
    /// Good to know.
    Info,
    /// To be seen to.
    Warning,
    /// To be seen to at once.
    Critical,
}

/// Where an alert stands.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertStatus {
    /// Nobody sees to it.
    Open,
    /// Somebody sees to it.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl AlertStatus {
    const ALL: [Self; 3] = [Self::Open, Self::Acknowledged, Self::Resolved];

    fn written(self) -> &'static str {
        match self {
            Self::Open => OPEN,
            Self::Acknowledged => ACKNOWLEDGED,
            Self::Resolved => RESOLVED,
        }
    }
}

/// Something at a plant that needs attention.
pub struct Alert(pub AlertRow);

/// The place under which what was said to an alert is sealed. Changing it makes every sealed note unreadable.
pub fn note_context(alert: Uuid) -> String {
    format!("alert/{alert}/note")
}

impl Alert {
    /// The alert of an id.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load(scope: &Scope, id: Uuid) -> Result<Option<Self>, Error> {
        let row = alerts::find(scope.pool(), scope.tenant(), id).await;
        Ok(row.or_fail("read an alert")?.map(Self))
    }

    async fn opened(&self, ctx: &Context<'_>, sealed: &Personal) -> Result<Option<String>, Error> {
        let key = Scope::of(ctx).loader.load_one(KeyById(sealed.key_id)).await.or_fail("read a personal key")?;
        let Some(key) = key else { return Ok(None) };
        key.open(&note_context(self.0.id), sealed).map(Some).or_fail("open the note")
    }
}

/// Something at a plant that needs attention.
#[Object]
impl Alert {
    /// Global id.
    pub async fn id(&self) -> ID {
        NodeId::Alert(self.0.id).encode()
    }

    /// The alert's UUID, as it stands in events.
    async fn uuid(&self) -> Uuid {
        self.0.id
    }

    /// The plant.
    async fn site(&self) -> &str {
        &self.0.site
    }

    /// What it is about.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn kind(&self) -> Result<AlertKind, Error> {
        let known = DomainKind::ALL.into_iter().find(|known| known.as_str() == self.0.kind);
        known.map(AlertKind::from).ok_or("unknown kind").or_fail("read an alert")
    }

    /// How bad it is.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn severity(&self) -> Result<AlertSeverity, Error> {
        let known = DomainSeverity::ALL.into_iter().find(|known| known.as_str() == self.0.severity);
        known.map(AlertSeverity::from).ok_or("unknown severity").or_fail("read an alert")
    }

    /// To whom it speaks: 1 to those at hand, 2 and 3 to those above them.
    async fn level(&self) -> i32 {
        self.0.level
    }

    /// Where it stands.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn status(&self) -> Result<AlertStatus, Error> {
        let known = AlertStatus::ALL.into_iter().find(|known| known.written() == self.0.status);
        known.ok_or("unknown status").or_fail("read an alert")
    }

    /// What is known, in a sentence.
    async fn title(&self) -> &str {
        &self.0.title
    }

    /// The lot that it is about.
    async fn lot(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
        let Some(id) = self.0.lot_id else { return Ok(None) };
        Lot::load(Scope::of(ctx), id).await
    }

    /// The run that it is about, or at whose gate the lot was judged.
    async fn run(&self, ctx: &Context<'_>) -> Result<Option<Run>, Error> {
        let Some(id) = self.0.run_id else { return Ok(None) };
        Run::load(Scope::of(ctx), id).await
    }

    /// The gate.
    async fn gate(&self) -> Option<&str> {
        self.0.gate.as_deref()
    }

    /// UUID of the decision that raised it, or made it worse last.
    async fn decision_id(&self) -> Option<Uuid> {
        self.0.decision_id
    }

    /// That decision, where it is one on a lot. Those on runs are among the run's decisions.
    async fn decision(&self, ctx: &Context<'_>) -> Result<Option<QcDecision>, Error> {
        let (Some(id), Some(_)) = (self.0.decision_id, self.0.lot_id) else { return Ok(None) };
        QcDecision::load(Scope::of(ctx), id).await
    }

    /// Last day of use of the lot, where that is what it is about.
    async fn expires_on(&self) -> Option<NaiveDate> {
        self.0.expires_on
    }

    /// When it goes to the next level, unless somebody acknowledges it before.
    async fn escalates_at(&self) -> Option<DateTime<Utc>> {
        self.0.escalates_at
    }

    /// Who sees to it.
    async fn acknowledged_by(&self) -> Option<&str> {
        self.0.acknowledged_by.as_deref()
    }

    /// Since when, in the world.
    async fn acknowledged_at(&self) -> Option<DateTime<Utc>> {
        self.0.acknowledged_at
    }

    /// What whoever acknowledged it said; null when nothing, or when it was erased.
    async fn note(&self, ctx: &Context<'_>) -> Result<Option<String>, Error> {
        match &self.0.note {
            Some(sealed) => self.opened(ctx, &sealed.0).await,
            None => Ok(None),
        }
    }

    /// Who resolved it.
    async fn resolved_by(&self) -> Option<&str> {
        self.0.resolved_by.as_deref()
    }

    /// When, in the world.
    async fn resolved_at(&self) -> Option<DateTime<Utc>> {
        self.0.resolved_at
    }

    /// True where nobody said that it is over, but what was wrong is so no more.
    async fn resolved_by_itself(&self) -> bool {
        self.0.resolved_by_itself
    }

    /// Why it is over, in the words of whoever resolved it.
    async fn resolution(&self) -> Option<&str> {
        self.0.resolution.as_deref()
    }

    /// Whose decision raised it; lotline where it was the time.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it was raised, in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When that was recorded.
    async fn raised_at(&self) -> DateTime<Utc> {
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

/// Which alerts; what is absent does not matter.
#[derive(InputObject, Debug, Default)]
pub struct AlertFilterInput {
    /// Where they stand: any of these.
    pub statuses: Option<Vec<AlertStatus>>,
    /// As bad as this at least.
    pub severity: Option<AlertSeverity>,
    /// What they are about: any of these.
    pub kinds: Option<Vec<AlertKind>>,
    /// Global id of the lot that they are about.
    pub lot: Option<ID>,
    /// Global id of the run that they are about, or at whose gates lots were judged.
    pub run: Option<ID>,
}

/// Alerts.
#[derive(Default)]
pub struct AlertQuery;

#[Object]
impl AlertQuery {
    /// An alert; null when there is none at the sites where the caller may look it up.
    async fn alert(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id.")] id: ID,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<Alert>, Error> {
        let scope = Scope::of(ctx);
        let id = global_id::alert("id", &id)?;
        scope.wait(ctx, &[Model::QcDecisions], consistent_with, consistency_timeout_ms).await?;
        let (found, sight) = (Alert::load(scope, id).await?, scope.sight()?);
        Ok(found.filter(|alert| sight.may_at(Permission::LookUp, &alert.0.site)))
    }

    /// Alerts, the worst first, and of those that are equally bad the newest; without a site, those of every site where the caller may look them
    /// up. The inbox of a plant: those that are OPEN or ACKNOWLEDGED.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the GraphQL field")]
    async fn alerts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        filter: Option<AlertFilterInput>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last alert of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, Alert>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), read_key)?;
        scope.check_site(site.as_deref()).await?;
        let given = filter.unwrap_or_default();
        let Narrowed { site, sites } = scope.sight()?.narrow(Permission::LookUp, site)?;
        let words = |kind: AlertKind| DomainKind::from(kind).as_str().to_owned();
        let filter = AlertFilter {
            site,
            sites,
            statuses: given.statuses.map(|all| all.into_iter().map(|one| one.written().to_owned()).collect()),
            rank: given.severity.map(|least| rank(DomainSeverity::from(least))),
            kinds: given.kinds.map(|kinds| kinds.into_iter().map(words).collect()),
            lot_id: given.lot.map(|id| global_id::lot("filter.lot", &id)).transpose()?,
            run_id: given.run.map(|id| global_id::run("filter.run", &id)).transpose()?,
        };
        scope.wait(ctx, &[Model::QcDecisions], consistent_with, consistency_timeout_ms).await?;
        let page = Page { first: size + 1, after };
        let rows = alerts::list(scope.pool(), scope.tenant(), &filter, &page).await.or_fail("list alerts")?;
        let cursor = |row: &AlertRow| Cursor::new(&format!("{}:{}", row.rank, row.id));
        Ok(connection::connection(rows, size, after.is_some(), cursor, Alert))
    }
}

fn read_key(text: &str) -> Option<(i16, Uuid)> {
    let (rank, id) = text.split_once(':')?;
    Some((rank.parse().ok()?, Uuid::try_parse(id).ok()?))
}

/// An alert that was raised, or that changed.
#[derive(SimpleObject)]
pub struct AlertItem {
    /// As it is now.
    pub alert: Alert,
    /// From where to go on after this item.
    pub position: PositionToken,
}

/// Alerts as they come and change.
#[derive(Default)]
pub struct AlertSubscription;

#[Subscription]
impl AlertSubscription {
    /// Alerts as they are raised, each after its commit and as it is by then; without a site, those of every site where the caller may look them up at
    /// that moment.
    async fn alert_raised(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        #[graphql(desc = "Go on from here; from now when absent. Partitions that the token does not name begin now.")]
        after: Option<PositionToken>,
    ) -> Result<impl Stream<Item = Result<AlertItem, Error>> + use<>, Error> {
        let fetch: Fetch<AlertRow> = |state, partition, from, rows| {
            Box::pin(alerts::raised_since(&state.pool, &state.tenant, partition, from, rows))
        };
        follow(ctx, site, after, fetch, |row| row.raised_offset).await
    }

    /// Alerts as they are raised, acknowledged, escalated and resolved, after each commit; without a site, those of every site where the caller may
    /// look them up at that moment.
    async fn alert_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        #[graphql(desc = "Go on from here; from now when absent. Partitions that the token does not name begin now.")]
        after: Option<PositionToken>,
    ) -> Result<impl Stream<Item = Result<AlertItem, Error>> + use<>, Error> {
        let fetch: Fetch<AlertRow> = |state, partition, from, rows| {
            Box::pin(alerts::changed_since(&state.pool, &state.tenant, partition, from, rows))
        };
        follow(ctx, site, after, fetch, |row| row.changed_offset).await
    }
}

async fn follow(
    ctx: &Context<'_>,
    site: Option<String>,
    after: Option<PositionToken>,
    fetch: Fetch<AlertRow>,
    offset: fn(&AlertRow) -> i64,
) -> Result<impl Stream<Item = Result<AlertItem, Error>> + use<>, Error> {
    let feed = Feed::<AlertRow> { model: Model::QcDecisions, fetch, offset };
    let scope = Scope::of(ctx);
    let (server, actor) = (Arc::clone(&scope.server), scope.actor());
    scope.check_site(site.as_deref()).await?;
    let changes = live::follow(ctx, feed, site.as_deref(), after).await?;
    Ok(changes.filter_map(move |change| {
        // One event touches one alert.
        let item = change.and_then(|Change { mut rows, position, .. }| {
            let sight = Sight::now(&server, actor)?;
            rows.retain(|row| site.as_ref().is_none_or(|site| *site == row.site));
            rows.retain(|row| sight.may_at(Permission::LookUp, &row.site));
            Ok(rows.pop().map(|row| AlertItem { alert: Alert(row), position: PositionToken(position) }))
        });
        std::future::ready(item.transpose())
    }))
}

//! Quality decisions.

use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject, Subscription};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use lotline_domain::access::role::Permission;
use lotline_domain::personal::Personal;
use lotline_domain::qc::QcOutcome as DomainOutcome;
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use lotline_projections::qc_decisions::{self, QcDecisionFilter, QcDecisionRow};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::connection::{self, Cursor};
use super::failure::OrFail;
use super::global_id::{self, NodeId};
use super::live::{self, Change, Feed};
use super::loaders::KeyById;
use super::lot::Lot;
use super::scalar::{PositionToken, Version};
use super::scope::Scope;
use super::sight::{Narrowed, Sight};
use crate::guard::cost;

/// The verdict.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainOutcome")]
pub enum QcOutcome {
    /// Conforms.
    Pass,
    /// Not to be used until decided again.
    Hold,
    /// Does not conform. Final.
    Fail,
}

impl QcOutcome {
    /// Reads the name used in tables.
    ///
    /// # Errors
    /// `INTERNAL` for any other.
    pub fn read(name: &str) -> Result<Self, Error> {
        let all = [DomainOutcome::Pass, DomainOutcome::Hold, DomainOutcome::Fail];
        let known = all.into_iter().find(|known| known.as_str() == name);
        known.map(Self::from).ok_or("unknown outcome").or_fail("read a quality decision")
    }

    /// The name used in tables.
    pub fn written(self) -> String {
        DomainOutcome::from(self).as_str().to_owned()
    }
}

/// A value that was measured.
#[derive(SimpleObject, Debug)]
pub struct Measurement {
    /// What was measured, such as pH.
    pub name: String,
    /// A decimal.
    pub value: Decimal,
    /// UCUM code, such as Cel or 1.
    pub unit: String,
}

/// An answered item of a gate's checklist.
#[derive(SimpleObject, Debug)]
pub struct ChecklistAnswer {
    /// The question.
    pub item: String,
    /// The answer.
    pub answer: String,
}

/// A quality decision as it was taken.
pub struct QcDecision(pub QcDecisionRow);

/// The place under which notes are sealed. Changing it makes every sealed note unreadable.
pub fn notes_context(decision: Uuid) -> String {
    format!("qc_decision/{decision}/notes")
}

/// The notes of a decision, or nothing when their key was destroyed.
///
/// # Errors
/// `INTERNAL`.
pub async fn open_notes(ctx: &Context<'_>, decision: Uuid, sealed: &Personal) -> Result<Option<String>, Error> {
    let key = Scope::of(ctx).loader.load_one(KeyById(sealed.key_id)).await.or_fail("read a personal key")?;
    let Some(key) = key else { return Ok(None) };
    key.open(&notes_context(decision), sealed).map(Some).or_fail("open the notes")
}

impl QcDecision {
    /// The decision of an id.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load(scope: &Scope, id: Uuid) -> Result<Option<Self>, Error> {
        let row = qc_decisions::find(scope.pool(), scope.tenant(), id).await;
        Ok(row.or_fail("read a quality decision")?.map(Self))
    }
}

/// A quality decision as it was taken.
#[Object]
impl QcDecision {
    /// Global id.
    pub async fn id(&self) -> ID {
        NodeId::QcDecision(self.0.id).encode()
    }

    /// The decision's UUID, as it stands in events.
    async fn uuid(&self) -> Uuid {
        self.0.id
    }

    /// The plant.
    async fn site(&self) -> &str {
        &self.0.site
    }

    /// The lot it judges.
    async fn lot(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
        Lot::load(Scope::of(ctx), self.0.lot_id).await
    }

    /// The gate, such as pasteurisation.
    async fn gate(&self) -> &str {
        &self.0.gate
    }

    /// The verdict.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn outcome(&self) -> Result<QcOutcome, Error> {
        QcOutcome::read(&self.0.outcome)
    }

    /// What was measured.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn measurements(&self) -> Vec<Measurement> {
        let all = self.0.measurements.0.iter();
        all.map(|m| Measurement { name: m.name.clone(), value: m.value, unit: m.unit.clone() }).collect()
    }

    /// What was asked and answered.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn checklist(&self) -> Vec<ChecklistAnswer> {
        let all = self.0.checklist.0.iter();
        all.map(|given| ChecklistAnswer { item: given.item.clone(), answer: given.answer.clone() }).collect()
    }

    /// Free text; null when there is none, or when it was erased.
    async fn notes(&self, ctx: &Context<'_>) -> Result<Option<String>, Error> {
        match &self.0.notes {
            Some(sealed) => open_notes(ctx, self.0.id, &sealed.0).await,
            None => Ok(None),
        }
    }

    /// Whether there were notes that can't be read any more, because the key of the person who wrote them was destroyed.
    async fn notes_erased(&self, ctx: &Context<'_>) -> Result<bool, Error> {
        match &self.0.notes {
            Some(sealed) => Ok(open_notes(ctx, self.0.id, &sealed.0).await?.is_none()),
            None => Ok(false),
        }
    }

    /// Why, in the actor's words.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Who decided.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it was decided in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When it was recorded.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }

    /// Sequence of its event in the site's stream.
    async fn version(&self) -> Version {
        self.0.sequence.into()
    }
}

/// Which decisions; what is absent does not matter.
#[derive(InputObject, Debug, Default)]
pub struct QcDecisionFilterInput {
    /// Global id of the lot.
    pub lot: Option<ID>,
    /// The gate, exactly.
    pub gate: Option<String>,
    /// The verdict.
    pub outcome: Option<QcOutcome>,
}

/// Quality decisions.
#[derive(Default)]
pub struct QcQuery;

#[Object]
impl QcQuery {
    /// Quality decisions, the newest first; without a site, those of every site where the caller may look them up.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the GraphQL field")]
    async fn qc_decisions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        filter: Option<QcDecisionFilterInput>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last decision of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, QcDecision>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), |text| Uuid::try_parse(text).ok())?;
        scope.check_site(site.as_deref()).await?;
        let filter = filter.unwrap_or_default();
        let Narrowed { site, sites } = scope.sight()?.narrow(Permission::LookUp, site)?;
        let filter = QcDecisionFilter {
            site,
            sites,
            lot_id: filter.lot.map(|id| global_id::lot("filter.lot", &id)).transpose()?,
            gate: filter.gate,
            outcome: filter.outcome.map(QcOutcome::written),
        };
        scope.wait(ctx, &[Model::QcDecisions], consistent_with, consistency_timeout_ms).await?;
        let page = Page { first: size + 1, after };
        let rows = qc_decisions::list(scope.pool(), scope.tenant(), &filter, &page).await;
        let rows = rows.or_fail("list quality decisions")?;
        Ok(connection::connection(rows, size, after.is_some(), |row| Cursor::new(&row.id), QcDecision))
    }
}

/// A decision that was recorded.
#[derive(SimpleObject)]
pub struct QcDecisionItem {
    /// The decision.
    pub decision: QcDecision,
    /// From where to go on after this item.
    pub position: PositionToken,
}

/// Quality decisions as they are recorded.
#[derive(Default)]
pub struct QcSubscription;

#[Subscription]
impl QcSubscription {
    /// Quality decisions, each after its commit; without a site, those of every site where the caller may look them up at that moment.
    async fn qc_decision_recorded(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        #[graphql(desc = "Go on from here; from now when absent. Partitions that the token does not name begin now.")]
        after: Option<PositionToken>,
    ) -> Result<impl Stream<Item = Result<QcDecisionItem, Error>> + use<>, Error> {
        let feed = Feed::<QcDecisionRow> {
            model: Model::QcDecisions,
            fetch: |state, partition, from, rows| {
                Box::pin(qc_decisions::changed_since(&state.pool, &state.tenant, partition, from, rows))
            },
            offset: |row| row.log_offset,
        };
        let scope = Scope::of(ctx);
        let (server, actor) = (Arc::clone(&scope.server), scope.actor());
        scope.check_site(site.as_deref()).await?;
        let changes = live::follow(ctx, feed, site.as_deref(), after).await?;
        Ok(changes.filter_map(move |change| {
            // One event is one decision.
            let item = change.and_then(|Change { mut rows, position, .. }| {
                let sight = Sight::now(&server, actor)?;
                rows.retain(|row| site.as_ref().is_none_or(|site| *site == row.site));
                rows.retain(|row| sight.may_at(Permission::LookUp, &row.site));
                let decision = rows.pop().map(QcDecision);
                Ok(decision.map(|decision| QcDecisionItem { decision, position: PositionToken(position) }))
            });
            std::future::ready(item.transpose())
        }))
    }
}

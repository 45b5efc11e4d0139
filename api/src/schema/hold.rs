//! Holds: what keeps lots and all that was made from them from being used.

use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject, Subscription};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use lotline_domain::access::role::Permission;
use lotline_domain::hold::event::HoldCause as DomainCause;
use lotline_projections::holds::{self, HeldLotRow, HoldFilter, HoldRow};
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use uuid::Uuid;

use super::connection::{self, Cursor};
use super::failure::{OrFail, bad_input};
use super::global_id::{self, NodeId};
use super::live::{self, Change, Feed};
use super::loaders::HoldById;
use super::lot::Lot;
use super::scalar::{PositionToken, Version};
use super::scope::Scope;
use super::sight::{Narrowed, Sight};
use crate::guard::cost;

/// What placed a hold.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainCause")]
pub enum HoldCause {
    /// Somebody, for a reason.
    Person,
    /// A quality decision.
    Decision,
    /// A rule that watches the plant.
    Rule,
}

/// What keeps lots, and all that was made from them in the site, from being used.
pub struct Hold(pub HoldRow);

impl Hold {
    /// The hold of an id.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load(scope: &Scope, id: Uuid) -> Result<Option<Self>, Error> {
        Ok(scope.loader.load_one(HoldById(id)).await.or_fail("read a hold")?.map(Self))
    }
}

/// What keeps lots, and all that was made from them in the site, from being used.
#[Object]
impl Hold {
    /// Global id.
    pub async fn id(&self) -> ID {
        NodeId::Hold(self.0.id).encode()
    }

    /// The hold's UUID, as it stands in events.
    async fn uuid(&self) -> Uuid {
        self.0.id
    }

    /// The plant.
    async fn site(&self) -> &str {
        &self.0.site
    }

    /// Unique in the site, such as H-12.
    async fn code(&self) -> &str {
        &self.0.code
    }

    /// What placed it.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn cause(&self) -> Result<HoldCause, Error> {
        let known = DomainCause::ALL.into_iter().find(|known| known.as_str() == self.0.cause);
        known.map(HoldCause::from).ok_or("unknown cause").or_fail("read a hold")
    }

    /// UUID of the quality decision that placed it, where one did.
    async fn decision_id(&self) -> Option<Uuid> {
        self.0.decision_id
    }

    /// Name of the rule that placed it, where one did.
    async fn rule(&self) -> Option<&str> {
        self.0.rule.as_deref()
    }

    /// Why it was placed, in the actor's words.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Who placed it.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it was placed, in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When that was decided.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }

    /// Whether it is not released as a whole.
    async fn open(&self) -> bool {
        self.0.released_at.is_none()
    }

    /// When its release was decided; null while it is open.
    async fn released_at(&self) -> Option<DateTime<Utc>> {
        self.0.released_at
    }

    /// Who released it.
    async fn released_by(&self) -> Option<&str> {
        self.0.released_by.as_deref()
    }

    /// Why it was released, in the actor's words.
    async fn release_reason(&self) -> Option<&str> {
        self.0.release_reason.as_deref()
    }

    /// UUID of the quality decision that released it, where one did.
    async fn release_decision_id(&self) -> Option<Uuid> {
        self.0.release_decision_id
    }

    /// Lots that it is or was on: those that it names and those that were made from them, by id.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn lots(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last lot of the page before.")] after: Option<String>,
        #[graphql(desc = "Those that are on it, or those that are not any more.")] held: Option<bool>,
    ) -> Result<Connection<Cursor, HeldLot>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), |text| Uuid::try_parse(text).ok())?;
        let page = Page { first: size + 1, after };
        let rows = holds::lots_of(scope.pool(), scope.tenant(), self.0.id, held, &page).await;
        let rows = rows.or_fail("read the lots of a hold")?;
        Ok(connection::connection(rows, size, after.is_some(), |row| Cursor::new(&row.lot_id), HeldLot))
    }

    /// What `expectedVersion` is compared with.
    async fn version(&self) -> Version {
        self.0.version.into()
    }
}

/// A lot that a hold is or was on.
pub struct HeldLot(pub HeldLotRow);

/// A lot that a hold is or was on.
#[Object]
impl HeldLot {
    /// The hold.
    async fn hold(&self, ctx: &Context<'_>) -> Result<Option<Hold>, Error> {
        Hold::load(Scope::of(ctx), self.0.hold_id).await
    }

    /// The lot.
    async fn lot(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
        Lot::load(Scope::of(ctx), self.0.lot_id).await
    }

    /// Whether the hold names it; otherwise it was made from a lot that it names.
    async fn direct(&self) -> bool {
        self.0.direct
    }

    /// Whether it is on the hold.
    async fn held(&self) -> bool {
        self.0.released_at.is_none()
    }

    /// When it was decided that it is on the hold.
    async fn held_since(&self) -> DateTime<Utc> {
        self.0.held_since
    }

    /// When its release was decided; null while it is on the hold.
    async fn released_at(&self) -> Option<DateTime<Utc>> {
        self.0.released_at
    }

    /// Who released it.
    async fn released_by(&self) -> Option<&str> {
        self.0.released_by.as_deref()
    }

    /// Why it was released, in the actor's words.
    async fn release_reason(&self) -> Option<&str> {
        self.0.release_reason.as_deref()
    }
}

/// Which holds; what is absent does not matter.
#[derive(InputObject, Debug, Default)]
pub struct HoldFilterInput {
    /// Those that are open, or those that are released.
    pub open: Option<bool>,
}

/// Holds.
#[derive(Default)]
pub struct HoldQuery;

#[Object]
impl HoldQuery {
    /// A hold, by `id` alone or by `site` and `code`; null when there is none at the sites where the caller may look it up.
    async fn hold(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id.")] id: Option<ID>,
        #[graphql(desc = "Plant of the code.")] site: Option<String>,
        #[graphql(desc = "Code within the site.")] code: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<Hold>, Error> {
        let scope = Scope::of(ctx);
        scope.check_site(site.as_deref()).await?;
        scope.wait(ctx, &[Model::Genealogy], consistent_with, consistency_timeout_ms).await?;
        let found = match (id, site, code) {
            (Some(id), None, None) => Hold::load(scope, global_id::hold("id", &id)?).await?,
            (None, Some(site), Some(code)) => {
                let row = holds::find_by_code(scope.pool(), scope.tenant(), &site, &code).await;
                row.or_fail("read a hold")?.map(Hold)
            }
            _ => return Err(bad_input("give either 'id', or 'site' and 'code'")),
        };
        let sight = scope.sight()?;
        Ok(found.filter(|hold| sight.may_at(Permission::LookUp, &hold.0.site)))
    }

    /// Holds, the newest first; without a site, those of every site where the caller may look them up.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the GraphQL field")]
    async fn holds(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        filter: Option<HoldFilterInput>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last hold of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, Hold>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), |text| Uuid::try_parse(text).ok())?;
        scope.check_site(site.as_deref()).await?;
        scope.wait(ctx, &[Model::Genealogy], consistent_with, consistency_timeout_ms).await?;
        let Narrowed { site, sites } = scope.sight()?.narrow(Permission::LookUp, site)?;
        let filter = HoldFilter { site, sites, open: filter.unwrap_or_default().open };
        let page = Page { first: size + 1, after };
        let rows = holds::list(scope.pool(), scope.tenant(), &filter, &page).await.or_fail("list holds")?;
        Ok(connection::connection(rows, size, after.is_some(), |row| Cursor::new(&row.id), Hold))
    }
}

/// A hold that was placed, released, or let lots go.
#[derive(SimpleObject)]
pub struct HoldChange {
    /// As it is now.
    pub hold: Hold,
    /// From where to go on after this item.
    pub position: PositionToken,
}

/// Changes of holds.
#[derive(Default)]
pub struct HoldSubscription;

#[Subscription]
impl HoldSubscription {
    /// Holds as they change, after each commit; without a site, those of every site where the caller may look them up at that moment.
    async fn hold_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        #[graphql(desc = "Go on from here; from now when absent. Partitions that the token does not name begin now.")]
        after: Option<PositionToken>,
    ) -> Result<impl Stream<Item = Result<HoldChange, Error>> + use<>, Error> {
        let feed = Feed::<HoldRow> {
            model: Model::Genealogy,
            fetch: |state, partition, from, rows| {
                Box::pin(holds::changed_since(&state.pool, &state.tenant, partition, from, rows))
            },
            offset: |row| row.changed_offset,
        };
        let scope = Scope::of(ctx);
        let (server, actor) = (Arc::clone(&scope.server), scope.actor());
        scope.check_site(site.as_deref()).await?;
        let changes = live::follow(ctx, feed, site.as_deref(), after).await?;
        Ok(changes.filter_map(move |change| {
            // One event touches one hold.
            let item = change.and_then(|Change { mut rows, position, .. }| {
                let sight = Sight::now(&server, actor)?;
                rows.retain(|row| site.as_ref().is_none_or(|site| *site == row.site));
                rows.retain(|row| sight.may_at(Permission::LookUp, &row.site));
                Ok(rows.pop().map(|row| HoldChange { hold: Hold(row), position: PositionToken(position) }))
            });
            std::future::ready(item.transpose())
        }))
    }
}

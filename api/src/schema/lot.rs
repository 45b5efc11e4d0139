//! Lots: identified amounts of material, what they were made from, and the quality decisions on them.

use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject, Subscription};
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::{Stream, StreamExt};
use lotline_domain::access::role::Permission;
use lotline_domain::lot::LotType as DomainLotType;
use lotline_projections::lots::{self, LotFilter, LotRow};
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::connection::{self, Cursor};
use super::failure::{OrFail, bad_input};
use super::flow::{Receipt, ShippedLot};
use super::genealogy::GenealogyEdge;
use super::global_id::{self, NodeId};
use super::hold::HeldLot;
use super::live::{self, Change, Feed};
use super::loaders::{ChildrenOf, DecisionsOn, HoldsOn, IsHeld, LotById, ParentsOf, ReceiptOf, ShipmentsOf};
use super::qc::{QcDecision, QcOutcome};
use super::scalar::{PositionToken, Version};
use super::scope::Scope;
use super::sight::{Narrowed, Sight};
use super::transformation::Transformation;
use crate::guard::cost;

/// What a lot is to the process.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainLotType")]
pub enum LotType {
    /// As delivered.
    Raw,
    /// Prepared for use.
    Ingredient,
    /// Between two steps.
    Intermediate,
    /// Ready to ship.
    Finished,
    /// What it is packed in.
    Packaging,
    /// Made along the way, of value.
    ByProduct,
    /// Made along the way, of none.
    Waste,
}

/// An amount.
#[derive(SimpleObject, Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    /// A decimal.
    pub value: Decimal,
    /// UNECE Rec 20 code, such as KGM (kilogram), LTR (litre), C62 (piece).
    pub unit: String,
}

/// A named text.
#[derive(SimpleObject, Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// An identified amount of material.
#[derive(Debug, Clone)]
pub struct Lot(pub LotRow);

impl Lot {
    /// The lot of an id that a row refers to.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load(scope: &Scope, id: Uuid) -> Result<Option<Self>, Error> {
        Ok(scope.loader.load_one(LotById(id)).await.or_fail("read a lot")?.map(Self))
    }

    /// Those of the lots that are there, in the order of the ids.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load_all(scope: &Scope, ids: &[Uuid]) -> Result<Vec<Self>, Error> {
        let mut found = scope.loader.load_many(ids.iter().copied().map(LotById)).await.or_fail("read lots")?;
        Ok(ids.iter().filter_map(|id| found.remove(&LotById(*id)).map(Self)).collect())
    }
}

/// An identified amount of material.
#[Object]
impl Lot {
    /// Global id.
    pub async fn id(&self) -> ID {
        NodeId::Lot(self.0.id).encode()
    }

    /// The lot's UUID, as it stands in events.
    async fn uuid(&self) -> Uuid {
        self.0.id
    }

    /// The plant whose stream decides about it.
    async fn site(&self) -> &str {
        &self.0.site
    }

    /// What operators scan; unique in the site.
    async fn code(&self) -> &str {
        &self.0.code
    }

    /// What it is to the process.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn lot_type(&self) -> Result<LotType, Error> {
        let known = DomainLotType::ALL.into_iter().find(|known| known.as_str() == self.0.lot_type);
        known.map(LotType::from).ok_or("unknown lot type").or_fail("read a lot")
    }

    /// Product name or GTIN.
    async fn product(&self) -> &str {
        &self.0.product
    }

    /// How much was registered.
    async fn quantity(&self) -> Quantity {
        Quantity { value: self.0.quantity, unit: self.0.unit.clone() }
    }

    /// How much is left after what went into other lots, in the unit of `quantity`.
    async fn remaining(&self) -> Quantity {
        Quantity { value: self.0.remaining(), unit: self.0.unit.clone() }
    }

    /// Degrees Celsius when it was registered.
    async fn temperature_c(&self) -> Option<Decimal> {
        self.0.temperature_c
    }

    /// The supplier's own code.
    async fn supplier_lot(&self) -> Option<&str> {
        self.0.supplier_lot.as_deref()
    }

    /// Last day of use.
    async fn expires_on(&self) -> Option<NaiveDate> {
        self.0.expires_on
    }

    /// Whether it was marked as expired.
    async fn expired(&self) -> bool {
        self.0.expired
    }

    /// Where it lies.
    async fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// Anything else that the plant records, by name.
    async fn attributes(&self) -> Vec<Attribute> {
        let pairs = self.0.attributes.0.iter();
        pairs.map(|(name, value)| Attribute { name: name.clone(), value: value.clone() }).collect()
    }

    /// The quality decision in force; null when none was taken. HOLD and FAIL place holds; a lot on FAIL can't go into another for good.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn qc_status(&self) -> Result<Option<QcOutcome>, Error> {
        self.0.qc_status.as_deref().map(QcOutcome::read).transpose()
    }

    /// Whether it is on hold and can't go into another lot.
    async fn on_hold(&self, ctx: &Context<'_>) -> Result<bool, Error> {
        let held = Scope::of(ctx).loader.load_one(IsHeld(self.0.id)).await.or_fail("read whether a lot is on hold")?;
        Ok(held.is_some())
    }

    /// The holds that it is or was on: those that it is on first, then the newest.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn holds(&self, ctx: &Context<'_>, #[graphql(desc = "1 to 100.")] first: i32) -> Result<Vec<HeldLot>, Error> {
        let key = HoldsOn(self.0.id, connection::size(first)?);
        let rows = Scope::of(ctx).loader.load_one(key).await.or_fail("read the holds of a lot")?;
        Ok(rows.unwrap_or_default().into_iter().map(HeldLot).collect())
    }

    /// Who registered it.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it came into being, in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When its registration was decided.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }

    /// What `expectedVersion` is compared with.
    async fn version(&self) -> Version {
        self.0.version.into()
    }

    /// What made it out of other lots; null when it was registered by itself.
    async fn transformation(&self, ctx: &Context<'_>) -> Result<Option<Transformation>, Error> {
        match self.0.transformation_id {
            Some(id) => Transformation::load(Scope::of(ctx), id).await,
            None => Ok(None),
        }
    }

    /// How it came in; null when it was not received from a supplier.
    async fn receipt(&self, ctx: &Context<'_>) -> Result<Option<Receipt>, Error> {
        let found = Scope::of(ctx).loader.load_one(ReceiptOf(self.0.id)).await;
        Ok(found.or_fail("read a receipt")?.map(Receipt))
    }

    /// With what it left, the newest shipment first.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn shipments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "1 to 100.")] first: i32,
    ) -> Result<Vec<ShippedLot>, Error> {
        let key = ShipmentsOf(self.0.id, connection::size(first)?);
        let rows = Scope::of(ctx).loader.load_one(key).await.or_fail("read shipments")?;
        Ok(rows.unwrap_or_default().into_iter().map(ShippedLot).collect())
    }

    /// What it was made from; at most 1,000.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn parents(&self, ctx: &Context<'_>) -> Result<Vec<GenealogyEdge>, Error> {
        let edges = Scope::of(ctx).loader.load_one(ParentsOf(self.0.id)).await.or_fail("read parents")?;
        Ok(edges.unwrap_or_default().into_iter().map(GenealogyEdge).collect())
    }

    /// What was made from it, the newest first.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn children(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "1 to 100.")] first: i32,
    ) -> Result<Vec<GenealogyEdge>, Error> {
        let key = ChildrenOf(self.0.id, connection::size(first)?);
        let edges = Scope::of(ctx).loader.load_one(key).await.or_fail("read children")?;
        Ok(edges.unwrap_or_default().into_iter().map(GenealogyEdge).collect())
    }

    /// Quality decisions on it, the last one first.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    async fn qc_decisions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "1 to 100.")] first: i32,
    ) -> Result<Vec<QcDecision>, Error> {
        let key = DecisionsOn(self.0.id, connection::size(first)?);
        let rows = Scope::of(ctx).loader.load_one(key).await.or_fail("read quality decisions")?;
        Ok(rows.unwrap_or_default().into_iter().map(QcDecision).collect())
    }
}

/// Which lots; what is absent does not matter.
#[derive(InputObject, Debug, Default)]
pub struct LotFilterInput {
    /// Product name or GTIN, exactly.
    pub product: Option<String>,
    /// What it is to the process.
    pub lot_type: Option<LotType>,
    /// The decision in force.
    pub qc_status: Option<QcOutcome>,
    /// How the code begins.
    pub code_prefix: Option<String>,
}

/// Lots.
#[derive(Default)]
pub struct LotQuery;

#[Object]
impl LotQuery {
    /// A lot, by `id` alone or by `site` and `code`; null when there is none at the sites where the caller may look it up.
    async fn lot(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id.")] id: Option<ID>,
        #[graphql(desc = "Plant of the code.")] site: Option<String>,
        #[graphql(desc = "Code within the site.")] code: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<Lot>, Error> {
        let scope = Scope::of(ctx);
        scope.check_site(site.as_deref()).await?;
        scope.wait(ctx, &[Model::Lots], consistent_with, consistency_timeout_ms).await?;
        let found = match (id, site, code) {
            (Some(id), None, None) => Lot::load(scope, global_id::lot("id", &id)?).await?,
            (None, Some(site), Some(code)) => {
                let row = lots::find_by_code(scope.pool(), scope.tenant(), &site, &code).await;
                row.or_fail("read a lot")?.map(Lot)
            }
            _ => return Err(bad_input("give either 'id', or 'site' and 'code'")),
        };
        let sight = scope.sight()?;
        Ok(found.filter(|lot| sight.may_at(Permission::LookUp, &lot.0.site)))
    }

    /// Lots, the newest first; without a site, those of every site where the caller may look them up.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the GraphQL field")]
    async fn lots(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        filter: Option<LotFilterInput>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last lot of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, Lot>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), |text| Uuid::try_parse(text).ok())?;
        scope.check_site(site.as_deref()).await?;
        scope.wait(ctx, &[Model::Lots], consistent_with, consistency_timeout_ms).await?;
        let filter = filter.unwrap_or_default();
        let Narrowed { site, sites } = scope.sight()?.narrow(Permission::LookUp, site)?;
        let filter = LotFilter {
            site,
            sites,
            product: filter.product,
            lot_type: filter.lot_type.map(|given| DomainLotType::from(given).as_str().to_owned()),
            qc_status: filter.qc_status.map(QcOutcome::written),
            code_prefix: filter.code_prefix,
        };
        let page = Page { first: size + 1, after };
        let rows = lots::list(scope.pool(), scope.tenant(), &filter, &page).await.or_fail("list lots")?;
        Ok(connection::connection(rows, size, after.is_some(), |row| Cursor::new(&row.id), Lot))
    }
}

/// Lots that one decision changed, as they are now: a new lot and its parents, or a lot that was judged.
#[derive(SimpleObject)]
pub struct LotChange {
    /// At least one. A lot that has changed again since is told of with its later change only.
    pub lots: Vec<Lot>,
    /// From where to go on after this item.
    pub position: PositionToken,
}

/// Changes of lots.
#[derive(Default)]
pub struct LotSubscription;

#[Subscription]
impl LotSubscription {
    /// Lots as they change, after each commit; without a site, those of every site where the caller may look them up at that moment.
    async fn lot_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of one plant only.")] site: Option<String>,
        #[graphql(desc = "Go on from here; from now when absent. Partitions that the token does not name begin now.")]
        after: Option<PositionToken>,
    ) -> Result<impl Stream<Item = Result<LotChange, Error>> + use<>, Error> {
        let feed = Feed::<LotRow> {
            model: Model::Lots,
            fetch: |state, partition, from, rows| {
                Box::pin(lots::changed_since(&state.pool, &state.tenant, partition, from, rows))
            },
            offset: |row| row.changed_offset,
        };
        let scope = Scope::of(ctx);
        let (server, actor) = (Arc::clone(&scope.server), scope.actor());
        scope.check_site(site.as_deref()).await?;
        let changes = live::follow(ctx, feed, site.as_deref(), after).await?;
        Ok(changes.filter_map(move |change| {
            let item = change.and_then(|Change { mut rows, position, .. }| {
                let sight = Sight::now(&server, actor)?;
                rows.retain(|row| site.as_ref().is_none_or(|site| *site == row.site));
                rows.retain(|row| sight.may_at(Permission::LookUp, &row.site));
                let lots: Vec<Lot> = rows.into_iter().map(Lot).collect();
                Ok((!lots.is_empty()).then_some(LotChange { lots, position: PositionToken(position) }))
            });
            std::future::ready(item.transpose())
        }))
    }
}

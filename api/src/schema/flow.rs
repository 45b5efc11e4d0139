//! What came in and what went out: receipts, shipments.

use async_graphql::connection::Connection;
use async_graphql::{Context, Error, Object};
use chrono::{DateTime, NaiveDate, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::lot::event::DocumentReference as DomainDocument;
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use lotline_projections::receipts::ReceiptRow;
use lotline_projections::shipments::{self, ShipmentFilter, ShipmentRow, ShippedLotRow};
use uuid::Uuid;

use super::connection::{self, Cursor};
use super::failure::{OrFail, bad_input};
use super::loaders::{PartnerById, ShipmentById, ShippedLotsOf};
use super::lot::{Lot, Quantity};
use super::master::Partner;
use super::scalar::PositionToken;
use super::scope::Scope;
use super::sight::Narrowed;
use super::transformation::DocumentReference;
use crate::guard::cost;

/// How a lot came in.
pub struct Receipt(pub ReceiptRow);

/// How a lot came in.
#[Object]
impl Receipt {
    /// UUID of the delivery, as it stands in events: the lots that came at once have one.
    async fn delivery_uuid(&self) -> Uuid {
        self.0.delivery_id
    }

    /// From whom it came.
    async fn supplier(&self, ctx: &Context<'_>) -> Result<Option<Partner>, Error> {
        let found = Scope::of(ctx).loader.load_one(PartnerById(self.0.supplier_id)).await;
        Ok(found.or_fail("read a partner")?.map(Partner))
    }

    /// The supplier's code in the master data.
    async fn supplier_code(&self) -> &str {
        &self.0.supplier_code
    }

    /// Who assigned the traceability lot code.
    async fn traceability_lot_code_source(&self) -> Option<&str> {
        self.0.traceability_lot_code_source.as_deref()
    }

    /// Records elsewhere, such as the bill of lading.
    async fn documents(&self) -> Vec<DocumentReference> {
        documents(&self.0.documents.0)
    }

    /// Day of making.
    async fn produced_on(&self) -> Option<NaiveDate> {
        self.0.produced_on
    }

    /// The product's shelf life from which the last day of use was reckoned, where none was stated.
    async fn shelf_life_days(&self) -> Option<i32> {
        self.0.shelf_life_days
    }

    /// Why it was taken in though its last day of use was over.
    async fn exception(&self) -> Option<&str> {
        self.0.exception.as_deref()
    }

    /// Why, in the actor's words.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Who.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it came, in the world.
    async fn received_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When it was decided.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }
}

/// An amount of a lot that left with a shipment.
pub struct ShippedLot(pub ShippedLotRow);

/// An amount of a lot that left with a shipment.
#[Object]
impl ShippedLot {
    /// The lot.
    async fn lot(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
        Lot::load(Scope::of(ctx), self.0.lot_id).await
    }

    /// The shipment.
    async fn shipment(&self, ctx: &Context<'_>) -> Result<Option<Shipment>, Error> {
        Shipment::load(Scope::of(ctx), self.0.shipment_id).await
    }

    /// How much left.
    async fn quantity(&self) -> Quantity {
        Quantity { value: self.0.quantity, unit: self.0.unit.clone() }
    }
}

/// What left a site at once.
#[derive(Clone)]
pub struct Shipment(pub ShipmentRow);

impl Shipment {
    /// The shipment of an id that a row refers to.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load(scope: &Scope, id: Uuid) -> Result<Option<Self>, Error> {
        Ok(scope.loader.load_one(ShipmentById(id)).await.or_fail("read a shipment")?.map(Self))
    }
}

/// What left a site at once.
#[Object]
impl Shipment {
    /// The shipment's UUID, as it stands in events.
    async fn uuid(&self) -> Uuid {
        self.0.id
    }

    /// The plant from which it left.
    async fn site(&self) -> &str {
        &self.0.site
    }

    /// Unique in the site.
    async fn code(&self) -> &str {
        &self.0.code
    }

    /// To whom it went.
    async fn customer(&self, ctx: &Context<'_>) -> Result<Option<Partner>, Error> {
        let Some(id) = self.0.customer_id else { return Ok(None) };
        let found = Scope::of(ctx).loader.load_one(PartnerById(id)).await;
        Ok(found.or_fail("read a partner")?.map(Partner))
    }

    /// The customer's code in the master data.
    async fn customer_code(&self) -> Option<&str> {
        self.0.customer_code.as_deref()
    }

    /// What left with it; at most 1,000.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn lots(&self, ctx: &Context<'_>) -> Result<Vec<ShippedLot>, Error> {
        let rows = Scope::of(ctx).loader.load_one(ShippedLotsOf(self.0.id)).await.or_fail("read a shipment's lots")?;
        Ok(rows.unwrap_or_default().into_iter().map(ShippedLot).collect())
    }

    /// How the carrier knows it.
    async fn carrier_reference(&self) -> Option<&str> {
        self.0.carrier_reference.as_deref()
    }

    /// Records elsewhere, such as the bill of lading.
    async fn documents(&self) -> Vec<DocumentReference> {
        documents(&self.0.documents.0)
    }

    /// Why, in the actor's words.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Who.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it left, in the world.
    async fn shipped_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When it was decided.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }
}

fn documents(given: &[DomainDocument]) -> Vec<DocumentReference> {
    let shown = |one: &DomainDocument| DocumentReference {
        document_type: one.document_type.clone(),
        number: one.number.clone(),
    };
    given.iter().map(shown).collect()
}

/// Shipments.
#[derive(Default)]
pub struct FlowQuery;

#[Object]
impl FlowQuery {
    /// A shipment, by `uuid` alone or by `site` and `code`; null when there is none at the sites where the caller may look it up.
    async fn shipment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The shipment's UUID.")] uuid: Option<Uuid>,
        #[graphql(desc = "Plant of the code.")] site: Option<String>,
        #[graphql(desc = "Code within the site.")] code: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Option<Shipment>, Error> {
        let scope = Scope::of(ctx);
        scope.check_site(site.as_deref()).await?;
        scope.wait(ctx, &[Model::Lots], consistent_with, consistency_timeout_ms).await?;
        let found = match (uuid, site, code) {
            (Some(id), None, None) => Shipment::load(scope, id).await?,
            (None, Some(site), Some(code)) => {
                let row = shipments::find_by_code(scope.pool(), scope.tenant(), &site, &code).await;
                row.or_fail("read a shipment")?.map(Shipment)
            }
            _ => return Err(bad_input("give either 'uuid', or 'site' and 'code'")),
        };
        let sight = scope.sight()?;
        Ok(found.filter(|shipment| sight.may_at(Permission::LookUp, &shipment.0.site)))
    }

    /// Shipments, the newest first; without a site, those of every site where the caller may look them up.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the GraphQL field")]
    async fn shipments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "From one plant only.")] site: Option<String>,
        #[graphql(desc = "To one customer only, by its code in the master data.")] customer: Option<String>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last shipment of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, Shipment>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), |text| Uuid::try_parse(text).ok())?;
        scope.check_site(site.as_deref()).await?;
        scope.wait(ctx, &[Model::Lots], consistent_with, consistency_timeout_ms).await?;
        let Narrowed { site, sites } = scope.sight()?.narrow(Permission::LookUp, site)?;
        let filter = ShipmentFilter { site, sites, customer };
        let page = Page { first: size + 1, after };
        let rows = shipments::list(scope.pool(), scope.tenant(), &filter, &page).await.or_fail("list shipments")?;
        Ok(connection::connection(rows, size, after.is_some(), |row| Cursor::new(&row.id), Shipment))
    }
}

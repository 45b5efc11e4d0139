//! `receiveLot`, `receiveLots`, `shipLots`: what comes in and goes out.

use async_graphql::{Context, Error, InputObject, Object};
use chrono::{DateTime, NaiveDate, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::command::Command;
use lotline_domain::flow::FlowCommand;
use lotline_domain::flow::receipt::{ReceiveLot, ReceiveLots};
use lotline_domain::flow::shipment::{ShipLot, ShipLots};
use lotline_domain::lot::LotType as DomainLotType;
use lotline_domain::state::Subject;
use lotline_projections::model::Model;
use lotline_projections::receipts;
use uuid::Uuid;

use super::lot::{AttributeInput, attributes};
use super::transformation::{DocumentReferenceInput, documents};
use super::{LotReferenceInput, QuantityInput};
use crate::schema::failure::OrFail;
use crate::schema::flow::Shipment;
use crate::schema::lot::{Lot, LotType};
use crate::schema::payload::{Given, Outcome, UserError, payload, site_stream, submit};
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;

macro_rules! lot_inputs {
    ($($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $own_doc:literal])* $own:ident: $type:ty,)* })*) => {$(
        $(#[doc = $doc])*
        #[derive(InputObject, Debug)]
        pub struct $name {
            $($(#[doc = $own_doc])* pub $own: $type,)*
            /// What operators scan; unique in the site, at most 64 characters.
            pub code: String,
            /// What it is to the process.
            pub lot_type: LotType,
            /// Code or GTIN of a product, or a name that the master data does not know; at most 128 characters. What the master data
            /// knows is recorded by its code, and must convert to its unit.
            pub product: String,
            /// How much came.
            pub quantity: QuantityInput,
            /// Degrees Celsius as a decimal text, such as "4.2".
            pub temperature_c: Option<String>,
            /// The supplier's own code, which is the traceability lot code where one was assigned before; at most 64 characters.
            pub supplier_lot: Option<String>,
            /// Who assigned the traceability lot code: a GLN, an address, a registration number or a web address; at most 128 characters.
            pub traceability_lot_code_source: Option<String>,
            /// Day of making.
            pub produced_on: Option<NaiveDate>,
            /// Last day of use. When absent, the product's shelf life after the day of making or else of arrival, where that is known.
            pub expires_on: Option<NaiveDate>,
            /// Why it is taken in although its last day of use is over; at most 500 characters.
            pub exception: Option<String>,
            /// Where it lies.
            pub location: Option<String>,
            /// Anything else, at most 64.
            #[graphql(default)]
            pub attributes: Vec<AttributeInput>,
        }

        impl $name {
            fn resolve(self) -> Result<ReceiveLot, UserError> {
                Ok(ReceiveLot {
                    code: self.code,
                    lot_type: DomainLotType::from(self.lot_type),
                    product: self.product,
                    quantity: self.quantity.into(),
                    temperature_c: self.temperature_c,
                    supplier_lot: self.supplier_lot,
                    traceability_lot_code_source: self.traceability_lot_code_source,
                    produced_on: self.produced_on,
                    expires_on: self.expires_on,
                    exception: self.exception,
                    location: self.location,
                    attributes: attributes(self.attributes)?,
                })
            }
        }
    )*};
}

lot_inputs! {
    /// A lot of a delivery.
    ReceivedLotInput {}
    /// A delivery of one lot.
    ReceiveLotInput {
        /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
        idempotency_key: Uuid,
        /// When it came in the world; now when absent.
        occurred_at: Option<DateTime<Utc>>,
        /// Why.
        reason: Option<String>,
        /// The plant.
        site: String,
        /// Code of the supplier in the master data.
        supplier: String,
        /// Records elsewhere, such as the bill of lading; at most 16.
        documents: Option<Vec<DocumentReferenceInput>>,
    }
}

/// A delivery.
#[derive(InputObject, Debug)]
pub struct ReceiveLotsInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// When it came in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// The plant.
    pub site: String,
    /// Code of the supplier in the master data.
    pub supplier: String,
    /// Records elsewhere, such as the bill of lading; at most 16.
    #[graphql(default)]
    pub documents: Vec<DocumentReferenceInput>,
    /// What came; 1 to 1,000.
    pub lots: Vec<ReceivedLotInput>,
}

/// How much of which lot goes out.
#[derive(InputObject, Debug)]
pub struct ShipLotInput {
    /// The lot, of the same site.
    pub lot: LotReferenceInput,
    /// How much of it; all that is left when absent.
    pub quantity: Option<QuantityInput>,
}

/// Lots to ship.
#[derive(InputObject, Debug)]
pub struct ShipLotsInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the highest version of the lots.
    pub expected_version: Option<Version>,
    /// When it left in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// The plant.
    pub site: String,
    /// Unique in the site, at most 64 characters; like S-20261121-01 when absent.
    pub code: Option<String>,
    /// Code of the customer in the master data.
    pub customer: String,
    /// What goes out; 1 to 1,000.
    pub lots: Vec<ShipLotInput>,
    /// Records elsewhere, such as the bill of lading; at most 16.
    #[graphql(default)]
    pub documents: Vec<DocumentReferenceInput>,
    /// How the carrier knows it, at most 64 characters.
    pub carrier_reference: Option<String>,
}

payload! {
    /// What became of a delivery.
    DeliveryPayload {
        /// The delivery's UUID; null when refused.
        async fn delivery_uuid(&self) -> Option<Uuid> {
            delivery(&self.0)
        }

        /// The new lots in the order of the input, as soon as the read model shows them; empty when refused.
        async fn lots(&self, ctx: &Context<'_>) -> Result<Vec<Lot>, Error> {
            let Some((scope, _)) = self.0.visible(ctx, &[Model::Lots]).await? else { return Ok(Vec::new()) };
            let Some(id) = delivery(&self.0) else { return Ok(Vec::new()) };
            let sight = scope.sight()?;
            let ids = receipts::lots_of(scope.pool(), scope.tenant(), id).await.or_fail("read a delivery")?;
            let mut lots = Lot::load_all(scope, &ids).await?;
            lots.retain(|lot| sight.may_at(Permission::LookUp, &lot.0.site));
            Ok(lots)
        }
    }
}

payload! {
    /// What became of a shipment.
    ShipmentPayload {
        /// The shipment's UUID; null when refused.
        async fn shipment_uuid(&self) -> Option<Uuid> {
            shipment(&self.0)
        }

        /// The shipment, as soon as the read model shows it; null when refused, or when the caller may look it up no more.
        async fn shipment(&self, ctx: &Context<'_>) -> Result<Option<Shipment>, Error> {
            let Some((scope, _)) = self.0.visible(ctx, &[Model::Lots]).await? else { return Ok(None) };
            let Some(id) = shipment(&self.0) else { return Ok(None) };
            let sight = scope.sight()?;
            Ok(Shipment::load(scope, id).await?.filter(|found| sight.may_at(Permission::LookUp, &found.0.site)))
        }
    }
}

/// Deliveries and shipments.
#[derive(Default)]
pub struct FlowMutation;

#[Object]
impl FlowMutation {
    /// Takes in a delivery of one lot.
    async fn receive_lot(&self, ctx: &Context<'_>, mut input: ReceiveLotInput) -> Result<DeliveryPayload, Error> {
        let given = Given {
            key: input.idempotency_key,
            expected_version: None,
            occurred_at: input.occurred_at,
            reason: input.reason.take(),
        };
        let (site, supplier) = (std::mem::take(&mut input.site), std::mem::take(&mut input.supplier));
        let documents = documents(input.documents.take().unwrap_or_default());
        let command = input.resolve().map(|lot| ReceiveLots { supplier, documents, lots: vec![lot] });
        decide(ctx, &site, given, command.map(FlowCommand::Receive)).await.map(DeliveryPayload)
    }

    /// Takes in a delivery: all of it or, if anything is wrong, nothing.
    async fn receive_lots(&self, ctx: &Context<'_>, input: ReceiveLotsInput) -> Result<DeliveryPayload, Error> {
        let given = Given {
            key: input.idempotency_key,
            expected_version: None,
            occurred_at: input.occurred_at,
            reason: input.reason,
        };
        let (supplier, documents) = (input.supplier, documents(input.documents));
        let lots: Result<_, _> = input.lots.into_iter().map(ReceivedLotInput::resolve).collect();
        let command = lots.map(|lots| FlowCommand::Receive(ReceiveLots { supplier, documents, lots }));
        decide(ctx, &input.site, given, command).await.map(DeliveryPayload)
    }

    /// Sends lots to a customer: all of them or, if anything is wrong, nothing.
    async fn ship_lots(&self, ctx: &Context<'_>, input: ShipLotsInput) -> Result<ShipmentPayload, Error> {
        let given = Given {
            key: input.idempotency_key,
            expected_version: input.expected_version,
            occurred_at: input.occurred_at,
            reason: input.reason,
        };
        let lots: Result<Vec<_>, UserError> = input.lots.into_iter().map(ShipLotInput::resolve).collect();
        let command = lots.map(|lots| {
            FlowCommand::Ship(ShipLots {
                code: input.code,
                customer: input.customer,
                lots,
                documents: documents(input.documents),
                carrier_reference: input.carrier_reference,
            })
        });
        decide(ctx, &input.site, given, command).await.map(ShipmentPayload)
    }
}

impl ShipLotInput {
    fn resolve(self) -> Result<ShipLot, UserError> {
        Ok(ShipLot { lot: self.lot.resolve("lots")?, quantity: self.quantity.map(Into::into) })
    }
}

async fn decide(
    ctx: &Context<'_>,
    site: &str,
    given: Given,
    command: Result<FlowCommand, UserError>,
) -> Result<Outcome, Error> {
    match site_stream(site).and_then(|stream| Ok((stream, command?))) {
        Ok((stream, command)) => submit(Scope::of(ctx), stream, given, Command::Flow(command)).await,
        Err(error) => Ok(Outcome::Refused(error, None)),
    }
}

fn delivery(outcome: &Outcome) -> Option<Uuid> {
    let Subject::Delivery(id) = &outcome.receipt()?.subject else { return None };
    Some(id.0)
}

fn shipment(outcome: &Outcome) -> Option<Uuid> {
    let Subject::Shipment(id) = &outcome.receipt()?.subject else { return None };
    Some(id.0)
}

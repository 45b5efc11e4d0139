//! `registerLot`.

use std::collections::BTreeMap;

use async_graphql::{Context, Error, ID, InputObject, Object};
use chrono::{DateTime, NaiveDate, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::command::{Command, ParentInput, RegisterLot};
use lotline_domain::lot::LotType as DomainLotType;
use lotline_domain::state::Subject;
use lotline_projections::model::Model;
use uuid::Uuid;

use super::{LotReferenceInput, QuantityInput};
use crate::schema::global_id::NodeId;
use crate::schema::lot::{Lot, LotType};
use crate::schema::payload::{Given, Outcome, UserError, payload, site_stream, submit};
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;

/// How much of which lot went in.
#[derive(InputObject, Debug)]
pub struct LotParentInput {
    /// The parent, of the same site.
    pub lot: LotReferenceInput,
    /// How much of it.
    pub quantity: QuantityInput,
}

/// A named text.
#[derive(InputObject, Debug)]
pub struct AttributeInput {
    /// Name, at most 64 characters.
    pub name: String,
    /// Value, at most 1,000 characters.
    pub value: String,
}

/// A lot to register.
#[derive(InputObject, Debug)]
pub struct RegisterLotInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the version; 0 for a thing that is new.
    pub expected_version: Option<Version>,
    /// When it came into being in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// The plant.
    pub site: String,
    /// What operators scan; unique in the site, at most 64 characters.
    pub code: String,
    /// What it is to the process.
    pub lot_type: LotType,
    /// Product name or GTIN, at most 128 characters.
    pub product: String,
    /// How much there is.
    pub quantity: QuantityInput,
    /// Degrees Celsius as a decimal text, such as "4.2".
    pub temperature_c: Option<String>,
    /// The supplier's own code.
    pub supplier_lot: Option<String>,
    /// Last day of use.
    pub expires_on: Option<NaiveDate>,
    /// Where it lies.
    pub location: Option<String>,
    /// Anything else, at most 64.
    #[graphql(default)]
    pub attributes: Vec<AttributeInput>,
    /// What it was made from, at most 1,000. What is taken here is no longer there for others.
    #[graphql(default)]
    pub parents: Vec<LotParentInput>,
}

payload! {
    /// What became of the registration.
    RegisterLotPayload {
        /// Global id of the new lot; null when refused.
        async fn lot_id(&self) -> Option<ID> {
            match &self.0.receipt()?.subject {
                Subject::Lot(id) => Some(NodeId::Lot(id.0).encode()),
                Subject::QcDecision(_) | Subject::Pipeline(_) | Subject::Signal(_) | Subject::Projection(_) | Subject::Access(_) | Subject::Trail(_) | Subject::Scenario(_) | Subject::Run(_) => None,
            }
        }

        /// The lot, as soon as the read model shows it; null when refused, or when the caller may look it up no more.
        async fn lot(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
            let Some((scope, receipt)) = self.0.visible(ctx, &[Model::Lots]).await? else { return Ok(None) };
            match &receipt.subject {
                Subject::Lot(id) => {
                    let sight = scope.sight()?;
                    Ok(Lot::load(scope, id.0).await?.filter(|lot| sight.may_at(Permission::LookUp, &lot.0.site)))
                }
                Subject::QcDecision(_) | Subject::Pipeline(_) | Subject::Signal(_) | Subject::Projection(_) | Subject::Access(_) | Subject::Trail(_) | Subject::Scenario(_) | Subject::Run(_) => Ok(None),
            }
        }
    }
}

/// Lots.
#[derive(Default)]
pub struct LotMutation;

#[Object]
impl LotMutation {
    /// Registers a lot, with the parents it was made from.
    async fn register_lot(&self, ctx: &Context<'_>, input: RegisterLotInput) -> Result<RegisterLotPayload, Error> {
        let given = Given {
            key: input.idempotency_key,
            expected_version: input.expected_version,
            occurred_at: input.occurred_at,
            reason: input.reason.clone(),
        };
        let prepared = site_stream(&input.site).and_then(|stream| Ok((stream, command(input)?)));
        match prepared {
            Ok((stream, command)) => submit(Scope::of(ctx), stream, given, command).await.map(RegisterLotPayload),
            Err(error) => Ok(RegisterLotPayload(Outcome::Refused(error, None))),
        }
    }
}

fn command(input: RegisterLotInput) -> Result<Command, UserError> {
    let mut parents = Vec::with_capacity(input.parents.len());
    for parent in input.parents {
        parents.push(ParentInput { lot: parent.lot.resolve("parents")?, quantity: parent.quantity.into() });
    }
    let mut attributes = BTreeMap::new();
    for given in input.attributes {
        if let Some(_earlier) = attributes.insert(given.name.clone(), given.value) {
            let shown: String = given.name.chars().take(64).collect();
            let message = format!("the attribute '{shown}' stands twice");
            return Err(UserError::at("attributes", "DUPLICATE_ATTRIBUTE", message));
        }
    }
    Ok(Command::RegisterLot(RegisterLot {
        code: input.code,
        lot_type: DomainLotType::from(input.lot_type),
        product: input.product,
        quantity: input.quantity.into(),
        temperature_c: input.temperature_c,
        supplier_lot: input.supplier_lot,
        expires_on: input.expires_on,
        location: input.location,
        attributes,
        parents,
    }))
}

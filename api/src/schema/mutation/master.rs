//! `defineProduct`, `definePartner`. Master data belongs to the tenant, so these take no site.

use async_graphql::{Context, Error, ID, InputObject, Object};
use chrono::{DateTime, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::command::Command;
use lotline_domain::id::StreamKey;
use lotline_domain::master::MasterCommand;
use lotline_domain::master::partner::DefinePartner;
use lotline_domain::master::product::{ConversionInput, DefineProduct};
use lotline_domain::state::Subject;
use lotline_projections::model::Model;
use uuid::Uuid;

use crate::schema::global_id::NodeId;
use crate::schema::master::{Partner, Product};
use crate::schema::payload::{Given, payload, submit};
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;

/// How much of the canonical unit one of another unit makes.
#[derive(InputObject, Debug)]
pub struct UnitConversionInput {
    /// UNECE Rec 20 code, of another dimension than the canonical unit.
    pub unit: String,
    /// Canonical units in one of it: a decimal as text, such as "1.032".
    pub factor: String,
}

/// What a product is, from now on.
#[derive(InputObject, Debug)]
pub struct DefineProductInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the version; 0 for a thing that is new.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// Unique in the tenant, for good, at most 64 characters. One that is known is defined anew.
    pub code: String,
    /// For people to read, at most 128 characters.
    pub name: String,
    /// GS1 Global Trade Item Number: 8, 12, 13 or 14 digits.
    pub gtin: Option<String>,
    /// UNECE Rec 20 code of the unit in which it is kept, for good, such as KGM, LTR or C62.
    pub unit: String,
    /// From units of other dimensions, such as the weight of a piece or of a litre.
    #[graphql(default)]
    pub conversions: Vec<UnitConversionInput>,
    /// Days from making it to the last day of use, 1 to 36525.
    pub shelf_life_days: Option<u32>,
    /// Whether it is still made or used.
    #[graphql(default = true)]
    pub active: bool,
}

/// Who a supplier or customer is, from now on.
#[derive(InputObject, Debug)]
pub struct DefinePartnerInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the version; 0 for a thing that is new.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// Unique in the tenant, for good, at most 64 characters. One that is known is defined anew.
    pub code: String,
    /// Of the company, at most 128 characters. A person's name does not belong here: it could not be erased.
    pub name: String,
    /// GS1 Global Location Number: 13 digits.
    pub gln: Option<String>,
    /// Whether things come from it.
    #[graphql(default)]
    pub supplies: bool,
    /// Whether things go to it.
    #[graphql(default)]
    pub buys: bool,
    /// Whether there is still trade with it.
    #[graphql(default = true)]
    pub active: bool,
}

payload! {
    /// What became of the definition of a product.
    DefineProductPayload {
        /// Global id of the product; null when refused.
        async fn product_id(&self) -> Option<ID> {
            let Subject::Product(id) = &self.0.receipt()?.subject else { return None };
            Some(NodeId::Product(id.0).encode())
        }

        /// The product, as soon as the read model shows it; null when refused.
        async fn product(&self, ctx: &Context<'_>) -> Result<Option<Product>, Error> {
            let Some((scope, receipt)) = self.0.visible(ctx, &[Model::Master]).await? else { return Ok(None) };
            let Subject::Product(id) = &receipt.subject else { return Ok(None) };
            scope.sight()?.narrow(Permission::LookUp, None)?;
            Product::load(scope, id.0).await
        }
    }
}

payload! {
    /// What became of the definition of a partner.
    DefinePartnerPayload {
        /// Global id of the partner; null when refused.
        async fn partner_id(&self) -> Option<ID> {
            let Subject::Partner(id) = &self.0.receipt()?.subject else { return None };
            Some(NodeId::Partner(id.0).encode())
        }

        /// The partner, as soon as the read model shows it; null when refused.
        async fn partner(&self, ctx: &Context<'_>) -> Result<Option<Partner>, Error> {
            let Some((scope, receipt)) = self.0.visible(ctx, &[Model::Master]).await? else { return Ok(None) };
            let Subject::Partner(id) = &receipt.subject else { return Ok(None) };
            scope.sight()?.narrow(Permission::LookUp, None)?;
            Partner::load(scope, id.0).await
        }
    }
}

/// Master data.
#[derive(Default)]
pub struct MasterMutation;

#[Object]
impl MasterMutation {
    /// Says what a product is from now on: a new one, or all of one whose code is known.
    async fn define_product(
        &self,
        ctx: &Context<'_>,
        input: DefineProductInput,
    ) -> Result<DefineProductPayload, Error> {
        let given = Given {
            key: input.idempotency_key,
            expected_version: input.expected_version,
            occurred_at: input.occurred_at,
            reason: input.reason,
        };
        let conversion = |given: UnitConversionInput| ConversionInput { unit: given.unit, factor: given.factor };
        let command = MasterCommand::DefineProduct(DefineProduct {
            code: input.code,
            name: input.name,
            gtin: input.gtin,
            unit: input.unit,
            conversions: input.conversions.into_iter().map(conversion).collect(),
            shelf_life_days: input.shelf_life_days,
            active: input.active,
        });
        let outcome = submit(Scope::of(ctx), StreamKey::Tenant, given, Command::Master(command)).await;
        outcome.map(DefineProductPayload)
    }

    /// Says who a supplier or customer is from now on: a new one, or all of one whose code is known.
    async fn define_partner(
        &self,
        ctx: &Context<'_>,
        input: DefinePartnerInput,
    ) -> Result<DefinePartnerPayload, Error> {
        let given = Given {
            key: input.idempotency_key,
            expected_version: input.expected_version,
            occurred_at: input.occurred_at,
            reason: input.reason,
        };
        let command = MasterCommand::DefinePartner(DefinePartner {
            code: input.code,
            name: input.name,
            gln: input.gln,
            supplies: input.supplies,
            buys: input.buys,
            active: input.active,
        });
        let outcome = submit(Scope::of(ctx), StreamKey::Tenant, given, Command::Master(command)).await;
        outcome.map(DefinePartnerPayload)
    }
}

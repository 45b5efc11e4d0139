//! Master data: products, and the partners who supply and buy. The tenant's, so whoever may look things up anywhere may look these up.

use async_graphql::connection::Connection;
use async_graphql::{Context, Error, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use lotline_domain::master::gs1;
use lotline_domain::master::product::Conversion;
use lotline_projections::master::{self, PartnerFilter, PartnerRow, ProductFilter, ProductRow};
use lotline_projections::model::Model;
use lotline_projections::page::Page;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::connection::{self, Cursor};
use super::failure::{OrFail, bad_input};
use super::global_id::NodeId;
use super::scalar::{PositionToken, Version};
use super::scope::Scope;
use crate::guard::cost;

/// How much of the canonical unit one of another unit makes.
#[derive(SimpleObject, Debug)]
pub struct UnitConversion {
    /// UNECE Rec 20 code, of another dimension than the canonical unit.
    pub unit: String,
    /// Canonical units in one of it.
    pub factor: Decimal,
}

impl From<&Conversion> for UnitConversion {
    fn from(conversion: &Conversion) -> Self {
        Self { unit: conversion.unit.code().to_owned(), factor: conversion.factor }
    }
}

/// What lots are of.
pub struct Product(pub ProductRow);

impl Product {
    /// The product of an id.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load(scope: &Scope, id: Uuid) -> Result<Option<Self>, Error> {
        let rows = master::products_by_ids(scope.pool(), scope.tenant(), &[id]).await.or_fail("read a product")?;
        Ok(rows.into_iter().next().map(Self))
    }
}

/// What lots are of.
#[Object]
impl Product {
    /// Global id.
    pub async fn id(&self) -> ID {
        NodeId::Product(self.0.id).encode()
    }

    /// Unique in the tenant, for good.
    async fn code(&self) -> &str {
        &self.0.code
    }

    /// For people to read.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// GS1 Global Trade Item Number, as it stands on the item.
    async fn gtin(&self) -> Option<&str> {
        self.0.gtin.as_deref()
    }

    /// UNECE Rec 20 code of the unit in which it is kept, for good.
    async fn unit(&self) -> &str {
        &self.0.unit
    }

    /// From units of other dimensions; those of the same convert by definition.
    async fn conversions(&self) -> Vec<UnitConversion> {
        self.0.conversions.iter().map(UnitConversion::from).collect()
    }

    /// Days from making it to the last day of use.
    async fn shelf_life_days(&self) -> Option<i32> {
        self.0.shelf_life_days
    }

    /// Whether it is still made or used.
    async fn active(&self) -> bool {
        self.0.active
    }

    /// Who defined it last.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it was defined last.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }

    /// What `expectedVersion` is compared with.
    async fn version(&self) -> Version {
        self.0.version.into()
    }
}

/// A supplier or customer.
pub struct Partner(pub PartnerRow);

impl Partner {
    /// The partner of an id.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load(scope: &Scope, id: Uuid) -> Result<Option<Self>, Error> {
        let rows = master::partners_by_ids(scope.pool(), scope.tenant(), &[id]).await.or_fail("read a partner")?;
        Ok(rows.into_iter().next().map(Self))
    }
}

/// A supplier or customer.
#[Object]
impl Partner {
    /// Global id.
    pub async fn id(&self) -> ID {
        NodeId::Partner(self.0.id).encode()
    }

    /// Unique in the tenant, for good.
    async fn code(&self) -> &str {
        &self.0.code
    }

    /// Of the company.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// GS1 Global Location Number.
    async fn gln(&self) -> Option<&str> {
        self.0.gln.as_deref()
    }

    /// Whether things come from it.
    async fn supplies(&self) -> bool {
        self.0.supplies
    }

    /// Whether things go to it.
    async fn buys(&self) -> bool {
        self.0.buys
    }

    /// Whether there is still trade with it.
    async fn active(&self) -> bool {
        self.0.active
    }

    /// Who defined it last.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When it was defined last.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }

    /// What `expectedVersion` is compared with.
    async fn version(&self) -> Version {
        self.0.version.into()
    }
}

/// Master data.
#[derive(Default)]
pub struct MasterQuery;

#[Object]
impl MasterQuery {
    /// Products by code.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the GraphQL field")]
    async fn products(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Still made or used, or not.")] active: Option<bool>,
        #[graphql(desc = "With exactly this code.")] code: Option<String>,
        #[graphql(desc = "With this GTIN of 8, 12, 13 or 14 digits, however many zeros stand in front of it.")]
        gtin: Option<String>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last product of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, Product>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), |code| Some(code.to_owned()))?;
        let gtin = gtin.map(|given| gs1::Gtin::parse("gtin", &given)).transpose();
        let gtin = gtin.map_err(|refusal| bad_input(refusal.to_string()))?;
        scope.wait(ctx, &[Model::Master], consistent_with, consistency_timeout_ms).await?;
        let (filter, has_previous) = (ProductFilter { active, code, gtin }, after.is_some());
        let page = Page { first: size + 1, after };
        let rows = master::products(scope.pool(), scope.tenant(), &filter, &page).await.or_fail("list products")?;
        let cursor = |row: &ProductRow| Cursor::new(&row.code);
        Ok(connection::connection(rows, size, has_previous, cursor, Product))
    }

    /// Suppliers and customers by code.
    #[graphql(complexity = "cost::page(first, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the GraphQL field")]
    async fn partners(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Still traded with, or not.")] active: Option<bool>,
        #[graphql(desc = "With exactly this code.")] code: Option<String>,
        #[graphql(desc = "Who supply, or who do not.")] supplies: Option<bool>,
        #[graphql(desc = "Who buy, or who do not.")] buys: Option<bool>,
        #[graphql(desc = "1 to 100.")] first: i32,
        #[graphql(desc = "Cursor of the last partner of the page before.")] after: Option<String>,
        #[graphql(desc = "Wait until this position has been read.")] consistent_with: Option<PositionToken>,
        #[graphql(desc = "Longest wait in milliseconds.")] consistency_timeout_ms: Option<u32>,
    ) -> Result<Connection<Cursor, Partner>, Error> {
        let scope = Scope::of(ctx);
        let size = connection::size(first)?;
        let after = connection::after(after.as_deref(), |code| Some(code.to_owned()))?;
        scope.wait(ctx, &[Model::Master], consistent_with, consistency_timeout_ms).await?;
        let (filter, has_previous) = (PartnerFilter { active, code, supplies, buys }, after.is_some());
        let page = Page { first: size + 1, after };
        let rows = master::partners(scope.pool(), scope.tenant(), &filter, &page).await.or_fail("list partners")?;
        let cursor = |row: &PartnerRow| Cursor::new(&row.code);
        Ok(connection::connection(rows, size, has_previous, cursor, Partner))
    }
}

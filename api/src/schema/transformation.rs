//! What made lots out of lots.

use async_graphql::{Context, Enum, Error, Object, SimpleObject};
use chrono::{DateTime, NaiveDate, Utc};
use lotline_domain::lot::event::{TransformationInput as DomainInput, TransformationKind as DomainKind};
use lotline_domain::quantity::Quantity as DomainQuantity;
use lotline_projections::transformations::{MadeLot, TransformationRow};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::failure::OrFail;
use super::loaders::TransformationById;
use super::lot::{Lot, Quantity};
use super::scope::Scope;
use crate::guard::cost;

/// How lots became others.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainKind")]
pub enum TransformationKind {
    /// One lot into several of the same product.
    Split,
    /// Several lots of one product into one.
    Merge,
    /// Lots into others, as a recipe or a process has it.
    Transform,
    /// Lots back into the process, as new lots.
    Rework,
}

/// A record elsewhere.
#[derive(SimpleObject, Debug, Clone, PartialEq, Eq)]
pub struct DocumentReference {
    /// What it is, such as batch record.
    pub document_type: String,
    /// Its number.
    pub number: String,
}

/// What went into a transformation.
pub struct TransformationInput(DomainInput);

/// What went into a transformation.
#[Object]
impl TransformationInput {
    /// The lot.
    async fn lot(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
        Lot::load(Scope::of(ctx), self.0.lot_id.0).await
    }

    /// How much of it was taken.
    async fn quantity(&self) -> Quantity {
        quantity(self.0.quantity)
    }

    /// Its last day of use, where that was over.
    async fn expired_on(&self) -> Option<NaiveDate> {
        self.0.expired_on
    }

    /// Why it was taken although its last day of use was over.
    async fn exception(&self) -> Option<&str> {
        self.0.exception.as_deref()
    }
}

/// What came out of a transformation.
pub struct TransformationOutput(MadeLot);

/// What came out of a transformation.
#[Object]
impl TransformationOutput {
    /// The lot.
    async fn lot(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
        Lot::load(Scope::of(ctx), self.0.lot_id.0).await
    }

    /// How much there was.
    async fn quantity(&self) -> Quantity {
        quantity(self.0.quantity)
    }

    /// Its share of every input relative to those of the others, where one was stated.
    async fn share(&self) -> Option<Decimal> {
        self.0.share
    }
}

/// Amounts of lots that became new lots, all at once.
pub struct Transformation(pub TransformationRow);

impl Transformation {
    /// The transformation of an id that a row refers to.
    ///
    /// # Errors
    /// `INTERNAL`.
    pub async fn load(scope: &Scope, id: Uuid) -> Result<Option<Self>, Error> {
        let row = scope.loader.load_one(TransformationById(id)).await;
        Ok(row.or_fail("read a transformation")?.map(Self))
    }
}

/// Amounts of lots that became new lots, all at once.
#[Object]
impl Transformation {
    /// The transformation's UUID, as it stands in events.
    async fn uuid(&self) -> Uuid {
        self.0.id
    }

    /// The plant.
    async fn site(&self) -> &str {
        &self.0.site
    }

    /// How.
    #[expect(clippy::unused_async, reason = "resolvers are asynchronous to the macro")]
    async fn kind(&self) -> Result<TransformationKind, Error> {
        let known = DomainKind::ALL.into_iter().find(|known| known.as_str() == self.0.kind);
        known.map(TransformationKind::from).ok_or("unknown kind").or_fail("read a transformation")
    }

    /// What went in; at most 1,000.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn inputs(&self) -> Vec<TransformationInput> {
        self.0.inputs.0.iter().cloned().map(TransformationInput).collect()
    }

    /// What came out; at most 1,000.
    #[graphql(complexity = "cost::list(child_complexity)")]
    async fn outputs(&self) -> Vec<TransformationOutput> {
        self.0.outputs.0.iter().cloned().map(TransformationOutput).collect()
    }

    /// What went in and is in no output.
    async fn loss(&self) -> Option<Quantity> {
        self.0.loss.as_ref().map(|loss| quantity(loss.0))
    }

    /// What is in the outputs and in no input.
    async fn gain(&self) -> Option<Quantity> {
        self.0.gain.as_ref().map(|gain| quantity(gain.0))
    }

    /// The step of the process.
    async fn step(&self) -> Option<&str> {
        self.0.step.as_deref()
    }

    /// Where in the plant.
    async fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// Records elsewhere that belong to it.
    async fn documents(&self) -> Vec<DocumentReference> {
        let all = self.0.documents.0.iter().cloned();
        all.map(|one| DocumentReference { document_type: one.document_type, number: one.number }).collect()
    }

    /// Why, in the actor's words.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Who.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// When, in the world.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.occurred_at
    }

    /// When it was decided.
    async fn decided_at(&self) -> DateTime<Utc> {
        self.0.decided_at
    }
}

fn quantity(given: DomainQuantity) -> Quantity {
    Quantity { value: given.value(), unit: given.unit().code().to_owned() }
}

//! `splitLot`, `mergeLots`, `transformLots`, `reworkLots`: lots out of lots.

use async_graphql::{Context, Error, InputObject, Object};
use chrono::{DateTime, NaiveDate, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::command::{Command, QuantityInput as DomainQuantity};
use lotline_domain::lot::LotType as DomainLotType;
use lotline_domain::lot::command::{LotCommand, TransformInput, TransformLots, TransformOutput};
use lotline_domain::lot::event::{DocumentReference, TransformationKind};
use lotline_domain::state::Subject;
use lotline_projections::model::Model;
use uuid::Uuid;

use super::lot::{AttributeInput, attributes};
use super::{LotReferenceInput, QuantityInput};
use crate::schema::lot::{Lot, LotType};
use crate::schema::payload::{Given, Outcome, UserError, payload, site_stream, submit};
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;
use crate::schema::transformation::Transformation;

/// A record elsewhere.
#[derive(InputObject, Debug)]
pub struct DocumentReferenceInput {
    /// What it is, such as batch record; at most 64 characters.
    pub document_type: String,
    /// Its number, at most 64 characters.
    pub number: String,
}

/// How much of which lot goes in.
#[derive(InputObject, Debug)]
pub struct LotAmountInput {
    /// The lot, of the same site.
    pub lot: LotReferenceInput,
    /// How much of it; all that is left when absent.
    pub quantity: Option<QuantityInput>,
    /// Why it may go in although its last day of use is over; at most 500 characters.
    pub exception: Option<String>,
}

/// A lot that comes out with the product of what went in.
#[derive(InputObject, Debug)]
pub struct PortionInput {
    /// What operators scan; unique in the site, at most 64 characters.
    pub code: String,
    /// How much there is.
    pub quantity: QuantityInput,
    /// What it is to the process; what the first input is when absent.
    pub lot_type: Option<LotType>,
    /// Last day of use; the earliest of the inputs when absent, and never a later one.
    pub expires_on: Option<NaiveDate>,
    /// Where it lies.
    pub location: Option<String>,
    /// Degrees Celsius as a decimal text, such as "4.2".
    pub temperature_c: Option<String>,
    /// Anything else, at most 64.
    #[graphql(default)]
    pub attributes: Vec<AttributeInput>,
}

/// A lot that comes out.
#[derive(InputObject, Debug)]
pub struct MadeLotInput {
    /// What operators scan; unique in the site, at most 64 characters.
    pub code: String,
    /// What it is to the process.
    pub lot_type: LotType,
    /// Product name or GTIN, at most 128 characters.
    pub product: String,
    /// How much there is.
    pub quantity: QuantityInput,
    /// Its share of every input relative to those of the other outputs, a decimal as text. For all outputs or for none; needed where they are
    /// not all measured in one dimension, and otherwise given by their quantities.
    pub share: Option<String>,
    /// Last day of use; the earliest of the inputs when absent. A later one only for what is another product than they are, and never by rework.
    pub expires_on: Option<NaiveDate>,
    /// Where it lies.
    pub location: Option<String>,
    /// Degrees Celsius as a decimal text, such as "4.2".
    pub temperature_c: Option<String>,
    /// Anything else, at most 64.
    #[graphql(default)]
    pub attributes: Vec<AttributeInput>,
}

/// A lot to split.
#[derive(InputObject, Debug)]
pub struct SplitLotInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the lot's version.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// The plant.
    pub site: String,
    /// The lot. What outputs and loss add up to is taken of it; what is not stays.
    pub lot: LotReferenceInput,
    /// Why it may be split although its last day of use is over; at most 500 characters.
    pub exception: Option<String>,
    /// What comes out; 1 to 1,000.
    pub outputs: Vec<PortionInput>,
    /// What is lost by it.
    pub loss: Option<QuantityInput>,
    /// The step of the process, at most 64 characters.
    pub step: Option<String>,
    /// Where in the plant.
    pub location: Option<String>,
    /// Records elsewhere, at most 16.
    #[graphql(default)]
    pub documents: Vec<DocumentReferenceInput>,
}

/// Lots to merge.
#[derive(InputObject, Debug)]
pub struct MergeLotsInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the highest version of the inputs.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// The plant.
    pub site: String,
    /// What goes in, all of one product; 2 to 1,000.
    pub inputs: Vec<LotAmountInput>,
    /// What comes out: exactly what goes in, less the loss.
    pub output: PortionInput,
    /// What is lost by it.
    pub loss: Option<QuantityInput>,
    /// The step of the process, at most 64 characters.
    pub step: Option<String>,
    /// Where in the plant.
    pub location: Option<String>,
    /// Records elsewhere, at most 16.
    #[graphql(default)]
    pub documents: Vec<DocumentReferenceInput>,
}

/// Lots that become others.
#[derive(InputObject, Debug)]
pub struct TransformLotsInput {
    /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
    pub idempotency_key: Uuid,
    /// Refuse unless this is the highest version of the inputs.
    pub expected_version: Option<Version>,
    /// When it happened in the world; now when absent.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why. Rework needs it.
    pub reason: Option<String>,
    /// The plant.
    pub site: String,
    /// What goes in; 1 to 1,000.
    pub inputs: Vec<LotAmountInput>,
    /// What comes out; 1 to 1,000, and at most 5,000 pairs of an input and an output.
    pub outputs: Vec<MadeLotInput>,
    /// What goes in and comes out nowhere. Where everything is of one dimension, outputs and loss are inputs and gain, exactly.
    pub loss: Option<QuantityInput>,
    /// What comes out and went in nowhere, such as absorbed water.
    pub gain: Option<QuantityInput>,
    /// The step of the process, at most 64 characters.
    pub step: Option<String>,
    /// Where in the plant.
    pub location: Option<String>,
    /// Records elsewhere, at most 16.
    #[graphql(default)]
    pub documents: Vec<DocumentReferenceInput>,
}

payload! {
    /// What became of a transformation.
    TransformationPayload {
        /// The transformation's UUID; null when refused.
        async fn transformation_id(&self) -> Option<Uuid> {
            made_by(&self.0)
        }

        /// The transformation, as soon as the read model shows it; null when refused, or when the caller may look it up no more.
        async fn transformation(&self, ctx: &Context<'_>) -> Result<Option<Transformation>, Error> {
            let Some((scope, _)) = self.0.visible(ctx, &[Model::Genealogy]).await? else { return Ok(None) };
            let Some(id) = made_by(&self.0) else { return Ok(None) };
            let sight = scope.sight()?;
            let found = Transformation::load(scope, id).await?;
            Ok(found.filter(|found| sight.may_at(Permission::LookUp, &found.0.site)))
        }

        /// The new lots in the order of the outputs, as soon as the read models show them; empty when refused.
        async fn lots(&self, ctx: &Context<'_>) -> Result<Vec<Lot>, Error> {
            let Some((scope, _)) = self.0.visible(ctx, &[Model::Genealogy, Model::Lots]).await? else { return Ok(Vec::new()) };
            let Some(id) = made_by(&self.0) else { return Ok(Vec::new()) };
            let sight = scope.sight()?;
            let Some(found) = Transformation::load(scope, id).await? else { return Ok(Vec::new()) };
            let ids: Vec<Uuid> = found.0.outputs.0.iter().map(|output| output.lot_id.0).collect();
            let mut lots = Vec::with_capacity(ids.len());
            for lot in Lot::load_all(scope, &ids).await? {
                if sight.may_at(Permission::LookUp, &lot.0.site) {
                    lots.push(lot);
                }
            }
            Ok(lots)
        }
    }
}

/// Lots out of lots.
#[derive(Default)]
pub struct TransformationMutation;

#[Object]
impl TransformationMutation {
    /// Splits a lot into lots of the same product.
    async fn split_lot(&self, ctx: &Context<'_>, input: SplitLotInput) -> Result<TransformationPayload, Error> {
        let given = Given {
            key: input.idempotency_key,
            expected_version: input.expected_version,
            occurred_at: input.occurred_at,
            reason: input.reason,
        };
        let command = || {
            let lot = input.lot.resolve("lot")?;
            Ok(TransformLots {
                kind: TransformationKind::Split,
                inputs: vec![TransformInput { lot, quantity: None, exception: input.exception }],
                outputs: input.outputs.into_iter().map(PortionInput::resolve).collect::<Result<_, _>>()?,
                loss: input.loss.map(Into::into),
                gain: None,
                step: input.step,
                location: input.location,
                documents: documents(input.documents),
            })
        };
        decide(ctx, &input.site, given, command()).await
    }

    /// Merges lots of one product into one new lot.
    async fn merge_lots(&self, ctx: &Context<'_>, input: MergeLotsInput) -> Result<TransformationPayload, Error> {
        let given = Given {
            key: input.idempotency_key,
            expected_version: input.expected_version,
            occurred_at: input.occurred_at,
            reason: input.reason,
        };
        let command = || {
            Ok(TransformLots {
                kind: TransformationKind::Merge,
                inputs: amounts(input.inputs)?,
                outputs: vec![input.output.resolve()?],
                loss: input.loss.map(Into::into),
                gain: None,
                step: input.step,
                location: input.location,
                documents: documents(input.documents),
            })
        };
        decide(ctx, &input.site, given, command()).await
    }

    /// Makes new lots out of lots, as a recipe or a process has it: all of it or, if anything is wrong, nothing.
    async fn transform_lots(
        &self,
        ctx: &Context<'_>,
        input: TransformLotsInput,
    ) -> Result<TransformationPayload, Error> {
        transform(ctx, TransformationKind::Transform, input).await
    }

    /// Puts lots back into the process, as new lots. Needs a reason.
    async fn rework_lots(&self, ctx: &Context<'_>, input: TransformLotsInput) -> Result<TransformationPayload, Error> {
        transform(ctx, TransformationKind::Rework, input).await
    }
}

async fn transform(
    ctx: &Context<'_>,
    kind: TransformationKind,
    input: TransformLotsInput,
) -> Result<TransformationPayload, Error> {
    let given = Given {
        key: input.idempotency_key,
        expected_version: input.expected_version,
        occurred_at: input.occurred_at,
        reason: input.reason,
    };
    let command = || {
        Ok(TransformLots {
            kind,
            inputs: amounts(input.inputs)?,
            outputs: input.outputs.into_iter().map(MadeLotInput::resolve).collect::<Result<_, _>>()?,
            loss: input.loss.map(Into::into),
            gain: input.gain.map(Into::into),
            step: input.step,
            location: input.location,
            documents: documents(input.documents),
        })
    };
    decide(ctx, &input.site, given, command()).await
}

async fn decide(
    ctx: &Context<'_>,
    site: &str,
    given: Given,
    command: Result<TransformLots, UserError>,
) -> Result<TransformationPayload, Error> {
    match site_stream(site).and_then(|stream| Ok((stream, command?))) {
        Ok((stream, command)) => {
            let command = Command::Lot(LotCommand::Transform(command));
            submit(Scope::of(ctx), stream, given, command).await.map(TransformationPayload)
        }
        Err(error) => Ok(TransformationPayload(Outcome::Refused(error, None))),
    }
}

impl PortionInput {
    fn resolve(self) -> Result<TransformOutput, UserError> {
        Ok(TransformOutput {
            code: self.code,
            lot_type: self.lot_type.map(DomainLotType::from),
            product: None,
            quantity: DomainQuantity::from(self.quantity),
            share: None,
            temperature_c: self.temperature_c,
            expires_on: self.expires_on,
            location: self.location,
            attributes: attributes(self.attributes)?,
        })
    }
}

impl MadeLotInput {
    fn resolve(self) -> Result<TransformOutput, UserError> {
        Ok(TransformOutput {
            code: self.code,
            lot_type: Some(DomainLotType::from(self.lot_type)),
            product: Some(self.product),
            quantity: DomainQuantity::from(self.quantity),
            share: self.share,
            temperature_c: self.temperature_c,
            expires_on: self.expires_on,
            location: self.location,
            attributes: attributes(self.attributes)?,
        })
    }
}

fn amounts(given: Vec<LotAmountInput>) -> Result<Vec<TransformInput>, UserError> {
    let mut inputs = Vec::with_capacity(given.len());
    for input in given {
        inputs.push(TransformInput {
            lot: input.lot.resolve("inputs")?,
            quantity: input.quantity.map(Into::into),
            exception: input.exception,
        });
    }
    Ok(inputs)
}

pub(super) fn documents(given: Vec<DocumentReferenceInput>) -> Vec<DocumentReference> {
    given.into_iter().map(|one| DocumentReference { document_type: one.document_type, number: one.number }).collect()
}

fn made_by(outcome: &Outcome) -> Option<Uuid> {
    let Subject::Transformation(id) = &outcome.receipt()?.subject else { return None };
    Some(id.0)
}

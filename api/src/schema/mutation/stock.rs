//! `adjustLot`, `scrapLot`, `moveLot`, `sampleLot`, `expireLot`: what is done to one lot.

use async_graphql::{Context, Enum, Error, ID, InputObject, Object};
use chrono::{DateTime, Utc};
use lotline_domain::command::Command;
use lotline_domain::lot::LotRef;
use lotline_domain::lot::command::LotCommand;
use lotline_domain::lot::event::AdjustmentDirection as DomainDirection;
use uuid::Uuid;

use super::lot::{registered, shown};
use super::{LotReferenceInput, QuantityInput};
use crate::schema::global_id::NodeId;
use crate::schema::lot::Lot;
use crate::schema::payload::{Given, Outcome, payload, site_stream, submit};
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;

/// Which way the books were wrong.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "DomainDirection")]
pub enum AdjustmentDirection {
    /// More was there.
    Increase,
    /// Less was there.
    Decrease,
}

macro_rules! inputs {
    ($($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $own_doc:literal])* $own:ident: $type:ty,)* })*) => {$(
        $(#[doc = $doc])*
        #[derive(InputObject, Debug)]
        pub struct $name {
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
            /// The lot.
            pub lot: LotReferenceInput,
            $($(#[doc = $own_doc])* pub $own: $type,)*
        }

        impl $name {
            fn given(&self) -> Given {
                Given {
                    key: self.idempotency_key,
                    expected_version: self.expected_version,
                    occurred_at: self.occurred_at,
                    reason: self.reason.clone(),
                }
            }
        }
    )*};
}

inputs! {
    /// A correction of what is left. Needs a reason.
    AdjustLotInput {
        /// More or less.
        direction: AdjustmentDirection,
        /// By how much.
        quantity: QuantityInput,
    }
    /// An amount to throw away. Needs a reason.
    ScrapLotInput {
        /// How much; all that is left when absent.
        quantity: Option<QuantityInput>,
    }
    /// A lot to take elsewhere.
    MoveLotInput {
        /// Where to, at most 128 characters.
        location: String,
    }
    /// A sample to take.
    SampleLotInput {
        /// How much is taken and gone.
        quantity: QuantityInput,
        /// What stands on the sample, as the laboratory knows it; at most 64 characters.
        label: Option<String>,
        /// What for, at most 128 characters.
        purpose: Option<String>,
    }
    /// A lot whose last day of use is over.
    ExpireLotInput {}
}

payload! {
    /// What became of what was to be done to a lot.
    LotPayload {
        /// Global id of the lot; null when refused.
        async fn lot_id(&self) -> Option<ID> {
            registered(&self.0).map(|id| NodeId::Lot(id).encode())
        }

        /// The lot, as soon as the read model shows it; null when refused, or when the caller may look it up no more.
        async fn lot(&self, ctx: &Context<'_>) -> Result<Option<Lot>, Error> {
            shown(ctx, &self.0).await
        }
    }
}

/// What is done to one lot.
#[derive(Default)]
pub struct StockMutation;

#[Object]
impl StockMutation {
    /// Corrects what the books say is left of a lot, by what a count found.
    async fn adjust_lot(&self, ctx: &Context<'_>, input: AdjustLotInput) -> Result<LotPayload, Error> {
        let (given, direction, quantity) = (input.given(), input.direction.into(), input.quantity.into());
        decide(ctx, &input.site, given, input.lot, |lot| LotCommand::Adjust { lot, direction, quantity }).await
    }

    /// Throws an amount of a lot away, also of one on HOLD or FAIL.
    async fn scrap_lot(&self, ctx: &Context<'_>, input: ScrapLotInput) -> Result<LotPayload, Error> {
        let (given, quantity) = (input.given(), input.quantity.map(Into::into));
        decide(ctx, &input.site, given, input.lot, |lot| LotCommand::Scrap { lot, quantity }).await
    }

    /// Takes a lot to another place.
    async fn move_lot(&self, ctx: &Context<'_>, input: MoveLotInput) -> Result<LotPayload, Error> {
        let (given, location) = (input.given(), input.location);
        decide(ctx, &input.site, given, input.lot, |lot| LotCommand::Move { lot, location }).await
    }

    /// Takes a sample of a lot.
    async fn sample_lot(&self, ctx: &Context<'_>, input: SampleLotInput) -> Result<LotPayload, Error> {
        let (given, quantity) = (input.given(), input.quantity.into());
        let (label, purpose) = (input.label, input.purpose);
        decide(ctx, &input.site, given, input.lot, |lot| LotCommand::Sample { lot, quantity, label, purpose }).await
    }

    /// Marks a lot whose last day of use is over.
    async fn expire_lot(&self, ctx: &Context<'_>, input: ExpireLotInput) -> Result<LotPayload, Error> {
        let given = input.given();
        decide(ctx, &input.site, given, input.lot, |lot| LotCommand::Expire { lot }).await
    }
}

async fn decide(
    ctx: &Context<'_>,
    site: &str,
    given: Given,
    lot: LotReferenceInput,
    command: impl FnOnce(LotRef) -> LotCommand,
) -> Result<LotPayload, Error> {
    match site_stream(site).and_then(|stream| Ok((stream, lot.resolve("lot")?))) {
        Ok((stream, lot)) => submit(Scope::of(ctx), stream, given, Command::Lot(command(lot))).await.map(LotPayload),
        Err(error) => Ok(LotPayload(Outcome::Refused(error, None))),
    }
}

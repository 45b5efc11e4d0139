//! `placeHold`, `releaseHold`, `releaseHoldLots`.

use async_graphql::{Context, Error, ID, InputObject, Object, OneofObject};
use chrono::{DateTime, Utc};
use lotline_domain::access::role::Permission;
use lotline_domain::command::Command;
use lotline_domain::hold::command::{HoldCommand, HoldRef};
use lotline_domain::id::HoldId;
use lotline_domain::lot::LotRef;
use lotline_domain::state::Subject;
use lotline_projections::model::Model;
use uuid::Uuid;

use super::LotReferenceInput;
use crate::schema::global_id::{self, NodeId};
use crate::schema::hold::Hold;
use crate::schema::payload::{Given, Outcome, UserError, payload, site_stream, submit};
use crate::schema::scalar::Version;
use crate::schema::scope::Scope;

/// Names a hold.
#[derive(OneofObject, Debug)]
pub enum HoldReferenceInput {
    /// By global id.
    Id(ID),
    /// By code, within the site of the command.
    Code(String),
}

impl HoldReferenceInput {
    fn resolve(self) -> Result<HoldRef, UserError> {
        match self {
            Self::Id(id) => {
                let id = global_id::hold("hold", &id).map_err(|error| UserError::id("hold", &error))?;
                Ok(HoldRef::Id(HoldId(id)))
            }
            Self::Code(code) => Ok(HoldRef::Code(code)),
        }
    }
}

/// Declares an input of a command about holds: the fields that all of them have, then its own.
macro_rules! hold_input {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[doc = $doc])*
        #[derive(InputObject, Debug)]
        pub struct $name {
            /// UUIDv7, not older than 7 days: sent again, it gives the first answer again.
            pub idempotency_key: Uuid,
            /// Refuse unless this is the hold's version; 0 for one that is new.
            pub expected_version: Option<Version>,
            /// When it happened in the world; now when absent.
            pub occurred_at: Option<DateTime<Utc>>,
            /// Why. Needed.
            pub reason: Option<String>,
            /// The plant.
            pub site: String,
            $($(#[$attribute])* pub $field: $type,)*
        }

        impl $name {
            fn given(&mut self) -> Given {
                Given {
                    key: self.idempotency_key,
                    expected_version: self.expected_version,
                    occurred_at: self.occurred_at,
                    reason: self.reason.take(),
                }
            }
        }
    };
}

hold_input! {
    /// Lots to put on hold, with all that was made from them.
    PlaceHoldInput {
        /// The lots, 1 to 1,000.
        lots: Vec<LotReferenceInput>,
    }
}
hold_input! {
    /// A hold to release as a whole.
    ReleaseHoldInput {
        /// The hold.
        hold: HoldReferenceInput,
    }
}
hold_input! {
    /// Lots to release from a hold.
    ReleaseHoldLotsInput {
        /// The hold.
        hold: HoldReferenceInput,
        /// The lots, 1 to 1,000, each on the hold.
        lots: Vec<LotReferenceInput>,
    }
}

payload! {
    /// What became of a change of a hold.
    HoldPayload {
        /// Global id of the hold; null when refused.
        async fn hold_id(&self) -> Option<ID> {
            let id = subject(&self.0.receipt()?.subject)?;
            Some(NodeId::Hold(id.0).encode())
        }

        /// The hold, as soon as the read model shows it; null when refused, or when the caller may look it up no more.
        async fn hold(&self, ctx: &Context<'_>) -> Result<Option<Hold>, Error> {
            let Some((scope, receipt)) = self.0.visible(ctx, &[Model::Genealogy]).await? else { return Ok(None) };
            let Some(id) = subject(&receipt.subject) else { return Ok(None) };
            let (hold, sight) = (Hold::load(scope, id.0).await?, scope.sight()?);
            Ok(hold.filter(|hold| sight.may_at(Permission::LookUp, &hold.0.site)))
        }
    }
}

fn subject(subject: &Subject) -> Option<HoldId> {
    if let Subject::Hold(id) = subject { Some(*id) } else { None }
}

fn named(lots: Vec<LotReferenceInput>) -> Result<Vec<LotRef>, UserError> {
    lots.into_iter().map(|lot| lot.resolve("lots")).collect()
}

async fn send(
    ctx: &Context<'_>,
    site: &str,
    given: Given,
    command: Result<HoldCommand, UserError>,
) -> Result<HoldPayload, Error> {
    match site_stream(site).and_then(|stream| Ok((stream, command?))) {
        Ok((stream, command)) => submit(Scope::of(ctx), stream, given, Command::Hold(command)).await.map(HoldPayload),
        Err(error) => Ok(HoldPayload(Outcome::Refused(error, None))),
    }
}

/// Holds.
#[derive(Default)]
pub struct HoldMutation;

#[Object]
impl HoldMutation {
    /// Puts lots on hold, with all that was made from them in the site until this moment. None of these goes into another lot until every hold that
    /// it is on is released; a split takes of them, and its parts are on hold too.
    async fn place_hold(&self, ctx: &Context<'_>, mut input: PlaceHoldInput) -> Result<HoldPayload, Error> {
        let given = input.given();
        send(ctx, &input.site, given, named(input.lots).map(|lots| HoldCommand::Place { lots })).await
    }

    /// Releases a hold as a whole. Lots that are on others too stay on those.
    async fn release_hold(&self, ctx: &Context<'_>, mut input: ReleaseHoldInput) -> Result<HoldPayload, Error> {
        let given = input.given();
        send(ctx, &input.site, given, input.hold.resolve().map(|hold| HoldCommand::Release { hold })).await
    }

    /// Releases lots from a hold, with what it reaches only through them.
    async fn release_hold_lots(
        &self,
        ctx: &Context<'_>,
        mut input: ReleaseHoldLotsInput,
    ) -> Result<HoldPayload, Error> {
        let given = input.given();
        let names = input.hold.resolve().and_then(|hold| Ok((hold, named(input.lots)?)));
        send(ctx, &input.site, given, names.map(|(hold, lots)| HoldCommand::ReleaseLots { hold, lots })).await
    }
}

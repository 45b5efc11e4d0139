//! The closed list of events, and how each stands in a record's value.
//!
//! Value of every event: `{"occurred_at": <RFC 3339>, "reason": <text, optional>, "data": {…}}`. `occurred_at` is the world's time,
//! `ce_time` the decision's. A released type never changes: a new optional field in `data`, or a `.v2` beside it.
//!
//! To add one: a variant here, its name in [`EVENT_TYPES`], its data in the aggregate's module with decide and evolve, two fixtures in
//! `domain/tests/golden/`, and `make formats` for its schema; the compiler then lists every read model that has to know it.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::access::event::{
    AccessEvent, AdminAppointed, ApiKeyIssued, ApiKeyRevoked, MembershipChanged, PasswordResetIssued,
    PipelineAccessSet, SiteRegistered, UserDeactivated, UserProfileChanged, UserReactivated, UserRegistered,
};
use crate::alert::event::{AlertAcknowledged, AlertEscalated, AlertEvent, AlertRaised, AlertResolved};
use crate::flow::receipt::LotReceived;
use crate::flow::shipment::ShipmentShipped;
use crate::hold::event::{HoldEvent, HoldLotReleased, HoldPlaced, HoldReleased};
use crate::id::CommandId;
use crate::lot::LotRegistered;
use crate::lot::event::{LotAdjusted, LotEvent, LotExpired, LotMoved, LotSampled, LotScrapped, LotsTransformed};
use crate::master::MasterEvent;
use crate::master::partner::PartnerDefined;
use crate::master::product::ProductDefined;
use crate::pipeline::{PipelineArchived, PipelineDrafted, PipelinePublished, PipelineRevised};
use crate::projection::{ProjectionEventSkipped, ProjectionRetried};
use crate::qc::QcDecisionRecorded;
use crate::refusal::{CommandRefused, RefusalsSuppressed};
use crate::run::event::{
    RunAborted, RunCompleted, RunEvent, RunGateDecided, RunHeld, RunLotLinked, RunLotUnlinked, RunPhaseAdvanced,
    RunResumed, RunStarted,
};
use crate::scenario::event::{ScenarioDrafted, ScenarioEvent, ScenarioPublished, ScenarioRetired, ScenarioRevised};
use crate::schema;
use crate::signal::SignalDeclared;
use crate::timestamp::Timestamp;
use crate::trail::{AttemptsRefused, SignedIn, SignedOut, TrailEvent, TrailRead};

/// Something that happened, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A lot came into being.
    LotRegistered(LotRegistered),
    /// Something happened to lots that were there.
    Lot(LotEvent),
    /// Somebody judged a lot at a gate.
    QcDecisionRecorded(QcDecisionRecorded),
    /// A pipeline was begun.
    PipelineDrafted(PipelineDrafted),
    /// A pipeline's draft was changed.
    PipelineRevised(PipelineRevised),
    /// A pipeline's draft became a version.
    PipelinePublished(PipelinePublished),
    /// A pipeline was retired.
    PipelineArchived(PipelineArchived),
    /// A signal got its number, unit and address.
    SignalDeclared(SignalDeclared),
    /// A read model shall try again to follow a stream.
    ProjectionRetried(ProjectionRetried),
    /// A read model shall leave out one event.
    ProjectionEventSkipped(ProjectionEventSkipped),
    /// Master data changed.
    Master(MasterEvent),
    /// Who may do what changed.
    Access(AccessEvent),
    /// Something happened at the door, or to the audit trail.
    Trail(TrailEvent),
    /// A template of a process changed.
    Scenario(ScenarioEvent),
    /// Something happened to a run.
    Run(RunEvent),
    /// Something needs attention, or does no more.
    Alert(AlertEvent),
    /// Something happened to a hold.
    Hold(HoldEvent),
    /// A command was refused.
    CommandRefused(CommandRefused),
    /// Refusals beyond an actor's limit, counted.
    RefusalsSuppressed(RefusalsSuppressed),
}

macro_rules! event_types {
    ({ $($variant:ident => $name:literal,)* } Master { $($master:ident => $master_name:literal,)* }
     Lot { $($lot:ident => $lot_name:literal,)* } Access { $($access:ident => $access_name:literal,)* }
     Trail { $($trail:ident => $trail_name:literal,)* } Scenario { $($scenario:ident => $scenario_name:literal,)* }
     Run { $($run:ident => $run_name:literal,)* } Alert { $($alert:ident => $alert_name:literal,)* }
     Hold { $($hold:ident => $hold_name:literal,)* }) => {
        /// Every event type that Lotline writes, in `ce_type` form.
        pub const EVENT_TYPES: &[&str] = &[
            $($name,)* $($master_name,)* $($lot_name,)* $($access_name,)* $($trail_name,)* $($scenario_name,)* $($run_name,)*
            $($alert_name,)* $($hold_name,)*
        ];

        impl Event {
            /// The `ce_type`.
            pub fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    $(Self::Master(MasterEvent::$master(_)) => $master_name,)*
                    $(Self::Lot(LotEvent::$lot(_)) => $lot_name,)*
                    $(Self::Access(AccessEvent::$access(_)) => $access_name,)*
                    $(Self::Trail(TrailEvent::$trail(_)) => $trail_name,)*
                    $(Self::Scenario(ScenarioEvent::$scenario(_)) => $scenario_name,)*
                    $(Self::Run(RunEvent::$run(_)) => $run_name,)*
                    $(Self::Alert(AlertEvent::$alert(_)) => $alert_name,)*
                    $(Self::Hold(HoldEvent::$hold(_)) => $hold_name,)*
                }
            }

            /// The JSON value of the record.
            pub fn encode(&self, occurred_at: Timestamp, reason: Option<&str>) -> Bytes {
                let reason = reason.map(str::to_owned);
                match self {
                    $(Self::$variant(data) => encode(&Body { occurred_at, reason, data }),)*
                    $(Self::Master(MasterEvent::$master(data)) => encode(&Body { occurred_at, reason, data }),)*
                    $(Self::Lot(LotEvent::$lot(data)) => encode(&Body { occurred_at, reason, data }),)*
                    $(Self::Access(AccessEvent::$access(data)) => encode(&Body { occurred_at, reason, data }),)*
                    $(Self::Trail(TrailEvent::$trail(data)) => encode(&Body { occurred_at, reason, data }),)*
                    $(Self::Scenario(ScenarioEvent::$scenario(data)) => encode(&Body { occurred_at, reason, data }),)*
                    $(Self::Run(RunEvent::$run(data)) => encode(&Body { occurred_at, reason, data }),)*
                    $(Self::Alert(AlertEvent::$alert(data)) => encode(&Body { occurred_at, reason, data }),)*
                    $(Self::Hold(HoldEvent::$hold(data)) => encode(&Body { occurred_at, reason, data }),)*
                }
            }

            /// The JSON Schema of each type's value, as [`Event::encode`] writes it, in the order of [`EVENT_TYPES`].
            pub fn value_schemas() -> Vec<(&'static str, Value)> {
                vec![
                    $(($name, schema::document::<Body<$variant>>($name)),)*
                    $(($master_name, schema::document::<Body<$master>>($master_name)),)*
                    $(($lot_name, schema::document::<Body<$lot>>($lot_name)),)*
                    $(($access_name, schema::document::<Body<$access>>($access_name)),)*
                    $(($trail_name, schema::document::<Body<$trail>>($trail_name)),)*
                    $(($scenario_name, schema::document::<Body<$scenario>>($scenario_name)),)*
                    $(($run_name, schema::document::<Body<$run>>($run_name)),)*
                    $(($alert_name, schema::document::<Body<$alert>>($alert_name)),)*
                    $(($hold_name, schema::document::<Body<$hold>>($hold_name)),)*
                ]
            }

            /// Reads the value of a record of the given type.
            ///
            /// # Errors
            /// [`DecodeError`] for a type of another version or product, or a value that does not fit its type.
            pub fn decode(event_type: &str, value: &[u8]) -> Result<Fact, DecodeError> {
                match event_type {
                    $($name => decode($name, value, Self::$variant),)*
                    $($master_name => decode($master_name, value, |data| Self::Master(MasterEvent::$master(data))),)*
                    $($lot_name => decode($lot_name, value, |data| Self::Lot(LotEvent::$lot(data))),)*
                    $($access_name => decode($access_name, value, |data| Self::Access(AccessEvent::$access(data))),)*
                    $($trail_name => decode($trail_name, value, |data| Self::Trail(TrailEvent::$trail(data))),)*
                    $($scenario_name => decode($scenario_name, value, |data| {
                        Self::Scenario(ScenarioEvent::$scenario(data))
                    }),)*
                    $($run_name => decode($run_name, value, |data| Self::Run(RunEvent::$run(data))),)*
                    $($alert_name => decode($alert_name, value, |data| Self::Alert(AlertEvent::$alert(data))),)*
                    $($hold_name => decode($hold_name, value, |data| Self::Hold(HoldEvent::$hold(data))),)*
                    other => Err(DecodeError::UnknownType(other.chars().take(128).collect())),
                }
            }
        }
    };
}

event_types! {
    {
        LotRegistered => "lotline.lot.registered.v1",
        QcDecisionRecorded => "lotline.qc_decision.recorded.v1",
        PipelineDrafted => "lotline.pipeline.drafted.v1",
        PipelineRevised => "lotline.pipeline.revised.v1",
        PipelinePublished => "lotline.pipeline.published.v1",
        PipelineArchived => "lotline.pipeline.archived.v1",
        SignalDeclared => "lotline.signal.declared.v1",
        ProjectionRetried => "lotline.projection.retried.v1",
        ProjectionEventSkipped => "lotline.projection.event_skipped.v1",
        CommandRefused => "lotline.command.refused.v1",
        RefusalsSuppressed => "lotline.refusals.suppressed.v1",
    }
    Master {
        ProductDefined => "lotline.product.defined.v1",
        PartnerDefined => "lotline.partner.defined.v1",
    }
    Lot {
        LotsTransformed => "lotline.lot.transformed.v1",
        LotAdjusted => "lotline.lot.adjusted.v1",
        LotScrapped => "lotline.lot.scrapped.v1",
        LotMoved => "lotline.lot.moved.v1",
        LotSampled => "lotline.lot.sampled.v1",
        LotExpired => "lotline.lot.expired.v1",
        LotReceived => "lotline.lot.received.v1",
        ShipmentShipped => "lotline.shipment.shipped.v1",
    }
    Access {
        SiteRegistered => "lotline.site.registered.v1",
        UserRegistered => "lotline.user.registered.v1",
        UserProfileChanged => "lotline.user.profile_changed.v1",
        UserDeactivated => "lotline.user.deactivated.v1",
        UserReactivated => "lotline.user.reactivated.v1",
        PasswordResetIssued => "lotline.user.password_reset_issued.v1",
        MembershipChanged => "lotline.membership.changed.v1",
        AdminAppointed => "lotline.admin.appointed.v1",
        ApiKeyIssued => "lotline.api_key.issued.v1",
        ApiKeyRevoked => "lotline.api_key.revoked.v1",
        PipelineAccessSet => "lotline.pipeline.access_set.v1",
    }
    Trail {
        SignedIn => "lotline.access.signed_in.v1",
        SignedOut => "lotline.access.signed_out.v1",
        TrailRead => "lotline.access.trail_read.v1",
        AttemptsRefused => "lotline.access.attempts_refused.v1",
    }
    Scenario {
        ScenarioDrafted => "lotline.scenario.drafted.v1",
        ScenarioRevised => "lotline.scenario.revised.v1",
        ScenarioPublished => "lotline.scenario.published.v1",
        ScenarioRetired => "lotline.scenario.retired.v1",
    }
    Run {
        RunStarted => "lotline.run.started.v1",
        RunPhaseAdvanced => "lotline.run.phase_advanced.v1",
        RunHeld => "lotline.run.held.v1",
        RunResumed => "lotline.run.resumed.v1",
        RunCompleted => "lotline.run.completed.v1",
        RunAborted => "lotline.run.aborted.v1",
        RunLotLinked => "lotline.run.lot_linked.v1",
        RunLotUnlinked => "lotline.run.lot_unlinked.v1",
        RunGateDecided => "lotline.run.gate_decided.v1",
    }
    Alert {
        AlertRaised => "lotline.alert.raised.v1",
        AlertAcknowledged => "lotline.alert.acknowledged.v1",
        AlertEscalated => "lotline.alert.escalated.v1",
        AlertResolved => "lotline.alert.resolved.v1",
    }
    Hold {
        HoldPlaced => "lotline.hold.placed.v1",
        HoldReleased => "lotline.hold.released.v1",
        HoldLotReleased => "lotline.hold.lot_released.v1",
    }
}

/// A decoded record value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// When it happened in the world.
    pub occurred_at: Timestamp,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// What happened.
    pub event: Event,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Body<T> {
    /// When it happened in the world; `ce_time` says when it was decided.
    occurred_at: Timestamp,
    /// Why, in the actor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What happened.
    data: T,
}

/// Why a record value is not an event.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// A type that this version of Lotline does not know.
    #[error("event type '{0}' is unknown to this version")]
    UnknownType(String),
    /// The JSON does not fit the type.
    #[error("the value is no {event_type}")]
    Value {
        /// The type as declared by the record.
        event_type: &'static str,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
}

impl Event {
    /// The `ce_subject`: what the event is about, as `kind/id`.
    pub fn subject(&self, command: CommandId) -> String {
        match self {
            Self::LotRegistered(data) => format!("lot/{}", data.lot_id),
            Self::Lot(event) => event.subject(),
            Self::QcDecisionRecorded(data) => format!("lot/{}", data.lot_id),
            Self::PipelineDrafted(data) => format!("pipeline/{}", data.pipeline_id),
            Self::PipelineRevised(data) => format!("pipeline/{}", data.pipeline_id),
            Self::PipelinePublished(data) => format!("pipeline/{}", data.pipeline_id),
            Self::PipelineArchived(data) => format!("pipeline/{}", data.pipeline_id),
            Self::SignalDeclared(data) => format!("signal/{}", data.name),
            Self::ProjectionRetried(data) => format!("projection/{}", data.model),
            Self::ProjectionEventSkipped(data) => format!("projection/{}", data.model),
            Self::Master(event) => event.subject(),
            Self::Access(event) => event.subject().to_string(),
            Self::Trail(event) => event.subject(),
            Self::Scenario(event) => format!("scenario/{}", event.scenario_id()),
            Self::Run(event) => format!("run/{}", event.run_id()),
            Self::Alert(event) => format!("alert/{}", event.alert_id()),
            Self::Hold(event) => format!("hold/{}", event.hold_id()),
            Self::CommandRefused(_) => format!("command/{command}"),
            Self::RefusalsSuppressed(data) => format!("actor/{}", data.actor),
        }
    }
}

fn decode<T: for<'de> Deserialize<'de>>(
    event_type: &'static str,
    value: &[u8],
    event: impl FnOnce(T) -> Event,
) -> Result<Fact, DecodeError> {
    let body: Body<T> = serde_json::from_slice(value).map_err(|source| DecodeError::Value { event_type, source })?;
    Ok(Fact { occurred_at: body.occurred_at, reason: body.reason, event: event(body.data) })
}

fn encode<T: Serialize>(body: &T) -> Bytes {
    Bytes::from(serde_json::to_vec(body).expect("invariant: event data has string keys and finite numbers"))
}

//! What can be asked about scenarios. Numbers are as they were typed; [`super::validate`] reads them.

use serde::{Deserialize, Serialize};

use super::{ChecklistItem, Judged, Stream};
use crate::command::QuantityInput;
use crate::id::ScenarioId;
use crate::lot::LotType;

/// Something asked about a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScenarioCommand {
    /// Begin a scenario.
    DraftScenario {
        /// Unique among those not retired.
        name: String,
        /// Its first draft.
        definition: DefinitionInput,
    },
    /// Change a scenario's draft.
    ReviseScenario {
        /// The scenario.
        scenario_id: ScenarioId,
        /// Its name from now on.
        name: String,
        /// Its draft from now on.
        definition: DefinitionInput,
    },
    /// Make the draft a version.
    PublishScenario {
        /// The scenario.
        scenario_id: ScenarioId,
    },
    /// Let no run start from it any more.
    RetireScenario {
        /// The scenario.
        scenario_id: ScenarioId,
    },
}

/// A [`super::Definition`] as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DefinitionInput {
    /// See [`super::Definition::streams`].
    pub streams: Vec<Stream>,
    /// See [`super::Definition::phases`].
    pub phases: Vec<PhaseInput>,
    /// See [`super::Definition::gates`].
    pub gates: Vec<GateInput>,
}

/// A [`super::Phase`] as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseInput {
    /// See [`super::Phase::number`].
    pub number: u32,
    /// See [`super::Phase::name`].
    pub name: String,
    /// See [`super::Phase::stream`].
    pub stream: String,
    /// See [`super::Phase::registers`].
    pub registers: Option<AutomaticLotInput>,
}

/// A [`super::AutomaticLot`] as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutomaticLotInput {
    /// See [`super::AutomaticLot::lot_type`].
    pub lot_type: LotType,
    /// See [`super::AutomaticLot::product`].
    pub product: String,
    /// See [`super::AutomaticLot::quantity`].
    pub quantity: QuantityInput,
}

/// A [`super::Gate`] as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateInput {
    /// See [`super::Gate::key`].
    pub key: String,
    /// See [`super::Gate::after_phase`].
    pub after_phase: u32,
    /// See [`super::Gate::gate_type`].
    pub gate_type: String,
    /// See [`super::Gate::judges`].
    pub judges: Judged,
    /// See [`super::Gate::ccp`].
    pub ccp: bool,
    /// See [`super::Gate::blocking`].
    pub blocking: bool,
    /// See [`super::Gate::checklist`].
    pub checklist: Vec<ChecklistItem>,
    /// See [`super::Gate::limits`].
    pub limits: Vec<LimitInput>,
}

/// A [`super::Limit`] as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitInput {
    /// See [`super::Limit::name`].
    pub name: String,
    /// See [`super::Limit::unit`].
    pub unit: String,
    /// A decimal.
    pub low: Option<String>,
    /// A decimal.
    pub high: Option<String>,
    /// See [`super::Limit::signal`].
    pub signal: Option<String>,
}

impl ScenarioCommand {
    /// Name in snake case, as recorded with a refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DraftScenario { .. } => "draft_scenario",
            Self::ReviseScenario { .. } => "revise_scenario",
            Self::PublishScenario { .. } => "publish_scenario",
            Self::RetireScenario { .. } => "retire_scenario",
        }
    }

    /// The scenario that it is about; nothing for a new one.
    pub fn scenario_id(&self) -> Option<ScenarioId> {
        match self {
            Self::DraftScenario { .. } => None,
            Self::ReviseScenario { scenario_id, .. }
            | Self::PublishScenario { scenario_id }
            | Self::RetireScenario { scenario_id } => Some(*scenario_id),
        }
    }
}

//! Events about scenarios, in the tenant's stream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Definition;
use crate::envelope::Hash;
use crate::id::ScenarioId;

/// Something that happened to a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScenarioEvent {
    /// It was begun.
    ScenarioDrafted(ScenarioDrafted),
    /// Its draft was changed.
    ScenarioRevised(ScenarioRevised),
    /// Its draft became a version.
    ScenarioPublished(ScenarioPublished),
    /// No run starts from it any more.
    ScenarioRetired(ScenarioRetired),
}

impl ScenarioEvent {
    /// Which scenario.
    pub fn scenario_id(&self) -> ScenarioId {
        match self {
            Self::ScenarioDrafted(data) => data.scenario_id,
            Self::ScenarioRevised(data) => data.scenario_id,
            Self::ScenarioPublished(data) => data.scenario_id,
            Self::ScenarioRetired(data) => data.scenario_id,
        }
    }
}

/// `lotline.scenario.drafted.v1`: a scenario was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioDrafted {
    /// The new scenario.
    pub scenario_id: ScenarioId,
    /// Unique among those not retired.
    pub name: String,
    /// Its first draft.
    pub definition: Definition,
}

/// `lotline.scenario.revised.v1`: a scenario's draft was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioRevised {
    /// The scenario.
    pub scenario_id: ScenarioId,
    /// Its name from now on.
    pub name: String,
    /// Its draft from now on.
    pub definition: Definition,
}

/// `lotline.scenario.published.v1`: a scenario's draft became a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioPublished {
    /// The scenario.
    pub scenario_id: ScenarioId,
    /// Counts 1, 2, 3, …
    #[schemars(range(min = 1))]
    pub version: u32,
    /// SHA-256 of the definition's JSON as it stood in the event that drafted or revised it.
    pub definition_hash: Hash,
}

/// `lotline.scenario.retired.v1`: no run starts from a scenario any more. Those that have started go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioRetired {
    /// The scenario.
    pub scenario_id: ScenarioId,
}

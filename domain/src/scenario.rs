//! Scenarios: templates of a process, drafted, published as numbered versions, and retired.
//!
//! A version never changes once it is published, and a run keeps the one with which it started. What a definition must be: [`validate`]. How two differ: [`diff`].
//! The tenant's stream decides about scenarios; [`state::SharedScenarios`] is how sites learn of them.

pub mod command;
pub mod diff;
pub mod event;
pub mod refusal;
pub mod state;
pub mod validate;

use std::borrow::Cow;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::envelope::Hash;
use crate::lot::LotType;
use crate::quantity::Quantity;
use crate::schema;

/// A process: its streams, phases and gates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Definition {
    /// Lanes in which phases stand.
    pub streams: Vec<Stream>,
    /// Steps in the order of their numbers. A run starts in phase 0.
    pub phases: Vec<Phase>,
    /// Where quality is decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
}

/// A lane of the process, such as the milk line beside the culture line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stream {
    /// Unique in the scenario.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// sRGB as `#rrggbb`, lowercase.
    #[schemars(regex(pattern = "^#[0-9a-f]{6}$"))]
    pub colour: String,
    /// Lanes are shown by this, the least first.
    pub sort_order: u32,
}

/// A step of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// Unique in the scenario. Phases follow each other by this; gaps do not matter.
    pub number: u32,
    /// What people call it.
    pub name: String,
    /// Key of its lane.
    pub stream: String,
    /// The lot that comes into being when a run enters the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registers: Option<AutomaticLot>,
}

/// A lot that is registered without anybody asking. Its code is the run's, `-` and the phase's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AutomaticLot {
    /// What it is to the process.
    pub lot_type: LotType,
    /// Product name or GTIN.
    pub product: String,
    /// How much there is.
    pub quantity: Quantity,
}

/// A point after a phase at which quality is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// Unique in the scenario. Decisions name it.
    pub key: String,
    /// The phase after which it stands.
    pub after_phase: u32,
    /// What sort of check it is, in the plant's own words, such as `laboratory`.
    pub gate_type: String,
    /// What is judged.
    pub judges: Judged,
    /// Whether it is a critical control point (ISO 22000 8.5.4).
    pub ccp: bool,
    /// Whether a run goes no further until it is passed.
    pub blocking: bool,
    /// What is asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<ChecklistItem>,
    /// What is measured, and within what it must be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
}

/// What a gate judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judged {
    /// The run, once.
    Run,
    /// Each lot that is in the phase before the gate; at least one.
    Lots,
}

/// A question of a checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChecklistItem {
    /// Unique in the gate. Answers name it.
    pub key: String,
    /// What is asked.
    pub question: String,
    /// How it is answered.
    pub answer: AnswerType,
    /// Whether there is no PASS without an answer.
    pub required: bool,
}

/// How a question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerType {
    /// `yes` or `no`.
    YesNo,
    /// A decimal such as `12.5`.
    Number,
    /// Any text.
    Text,
    /// A day as `2026-11-21`.
    Date,
}

/// Bounds of a measured value, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// Unique in the gate. Measurements name it.
    pub name: String,
    /// UCUM code, such as `Cel`.
    pub unit: String,
    /// The least that is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::decimal")]
    pub low: Option<Decimal>,
    /// The most that is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::decimal")]
    pub high: Option<Decimal>,
    /// Name of the signal that measures it, at whatever site the run is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}

impl AnswerType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::YesNo, Self::Number, Self::Text, Self::Date];

    /// The name used in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::YesNo => "yes_no",
            Self::Number => "number",
            Self::Text => "text",
            Self::Date => "date",
        }
    }
}

impl JsonSchema for AnswerType {
    fn schema_name() -> Cow<'static, str> {
        "AnswerType".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schema::open_words("How a question is answered.", &Self::ALL.map(Self::as_str))
    }
}

impl Definition {
    /// A phase by number.
    pub fn phase(&self, number: u32) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.number == number)
    }

    /// The phase that follows a number.
    pub fn phase_after(&self, number: u32) -> Option<&Phase> {
        self.phases.iter().filter(|phase| phase.number > number).min_by_key(|phase| phase.number)
    }

    /// A gate by key.
    pub fn gate(&self, key: &str) -> Option<&Gate> {
        self.gates.iter().find(|gate| gate.key == key)
    }

    /// SHA-256 of the JSON form.
    pub fn hash(&self) -> Hash {
        let json = serde_json::to_vec(self).expect("invariant: a definition has string keys and finite numbers");
        Hash(Sha256::digest(json).into())
    }
}

#[cfg(test)]
mod tests;

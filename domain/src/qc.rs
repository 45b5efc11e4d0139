//! Quality decisions: PASS, HOLD or FAIL of a lot at a gate.
//!
//! A HOLD or FAIL places a hold on the lot and all that was made from it ([`crate::hold`]), by the same command and before the decision itself.
//! A HOLD is lifted by a later PASS at any gate; a FAIL is final until dispositions land. The decision event carries what was measured,
//! because a HACCP record holds actual values (21 CFR 117.305).

use std::fmt;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::{RecordQcDecision, decimal, text};
use crate::id::{LotId, QcDecisionId};
use crate::lot::Lots;
use crate::personal::Personal;
use crate::refusal::Refusal;
use crate::schema;

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum QcOutcome {
    /// Conforms.
    Pass,
    /// Not to be used until decided again.
    Hold,
    /// Does not conform.
    Fail,
}

impl QcOutcome {
    /// The name used in events and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Hold => "HOLD",
            Self::Fail => "FAIL",
        }
    }
}

impl fmt::Display for QcOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value that was measured for the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// What was measured, such as `pH`.
    pub name: String,
    /// The value.
    #[schemars(schema_with = "schema::decimal")]
    pub value: Decimal,
    /// UCUM code, such as `Cel` or `1`.
    pub unit: String,
}

/// An answered item of a gate's checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChecklistAnswer {
    /// The question.
    pub item: String,
    /// The answer.
    pub answer: String,
}

/// `lotline.qc_decision.recorded.v1`: somebody judged a lot at a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QcDecisionRecorded {
    /// This decision.
    pub decision_id: QcDecisionId,
    /// The lot it judges.
    pub lot_id: LotId,
    /// The gate, such as `pasteurisation`.
    pub gate: String,
    /// The verdict.
    pub outcome: QcOutcome,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
    /// What was asked and answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<ChecklistAnswer>,
    /// Free text about people and things, encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<Personal>,
}

/// Most measurements or answers of one decision.
pub const MAX_ENTRIES: usize = 200;

/// Decides a quality decision.
///
/// # Errors
/// The first rule that is broken.
pub fn decide(lots: &Lots, id: QcDecisionId, command: &RecordQcDecision) -> Result<QcDecisionRecorded, Refusal> {
    let (lot_id, lot) = lots.find("lot", &command.lot)?;
    if lot.qc == Some(QcOutcome::Fail) {
        return Err(Refusal::LotFailed { code: lot.code.clone() });
    }
    read(lot_id, id, command)
}

/// Reads what was typed, whatever is known of the lot.
///
/// # Errors
/// The first rule that is broken.
pub(crate) fn read(lot_id: LotId, id: QcDecisionId, command: &RecordQcDecision) -> Result<QcDecisionRecorded, Refusal> {
    for (field, given) in [("measurements", command.measurements.len()), ("checklist", command.checklist.len())] {
        if given > MAX_ENTRIES {
            return Err(Refusal::TooMany { field, given, max: MAX_ENTRIES });
        }
    }
    let mut measurements = Vec::with_capacity(command.measurements.len());
    for given in &command.measurements {
        let rule = Refusal::InvalidNumber { field: "measurements", rule: "with at most 28 digits, such as 72.4" };
        measurements.push(Measurement {
            name: text("measurements", &given.name, 64)?,
            value: decimal(&given.value).ok_or(rule)?,
            unit: text("measurements", &given.unit, 32)?,
        });
    }
    let mut checklist = Vec::with_capacity(command.checklist.len());
    for given in &command.checklist {
        checklist.push(ChecklistAnswer {
            item: text("checklist", &given.item, 200)?,
            answer: text("checklist", &given.answer, 1_000)?,
        });
    }
    Ok(QcDecisionRecorded {
        decision_id: id,
        lot_id,
        gate: text("gate", &command.gate, 64)?,
        outcome: command.outcome,
        measurements,
        checklist,
        notes: command.notes.clone(),
    })
}

#[cfg(test)]
mod tests;

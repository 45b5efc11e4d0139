//! Mutations: each turns its input into one command and gives a payload with the outcome.
//!
//! Inputs carry numbers as the texts that were typed. What is wrong with them is for the domain to say, so that the refusal is recorded.

pub mod access;
pub mod alert;
pub mod flow;
pub mod hold;
pub mod import;
pub mod lot;
pub mod master;
pub mod people;
pub mod pipeline;
pub mod projection;
pub mod qc;
pub mod run;
pub mod scenario;
pub mod signal;
pub mod stock;
pub mod transformation;

use async_graphql::{ID, InputObject, OneofObject};
use lotline_domain::command::QuantityInput as DomainQuantity;
use lotline_domain::id::LotId;
use lotline_domain::lot::LotRef;

use super::global_id;
use super::payload::UserError;

/// An amount.
#[derive(InputObject, Debug)]
pub struct QuantityInput {
    /// A decimal as text, such as "12.5": more than zero, at most 12 digits before the point and 6 after it.
    pub value: String,
    /// UNECE Rec 20 code, such as KGM (kilogram), LTR (litre), C62 (piece).
    pub unit: String,
}

impl From<QuantityInput> for DomainQuantity {
    fn from(given: QuantityInput) -> Self {
        Self { value: given.value, unit: given.unit }
    }
}

/// Names a lot.
#[derive(OneofObject, Debug)]
pub enum LotReferenceInput {
    /// By global id.
    Id(ID),
    /// By code, within the site of the command.
    Code(String),
}

impl LotReferenceInput {
    /// As the domain knows it.
    ///
    /// # Errors
    /// What to tell the user when the id is not a lot's.
    pub fn resolve(self, field: &str) -> Result<LotRef, UserError> {
        match self {
            Self::Id(id) => {
                global_id::lot(field, &id).map(|id| LotRef::Id(LotId(id))).map_err(|error| UserError::id(field, &error))
            }
            Self::Code(code) => Ok(LotRef::Code(code)),
        }
    }
}

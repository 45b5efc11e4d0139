//! Why something can't be done with lots, beyond what their registration asks.

use chrono::NaiveDate;
use thiserror::Error;

use crate::quantity::Quantity;
use crate::refusal::Refusal;

/// A rule about operations on lots was broken.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum LotRefusal {
    /// An entry of a list is wrong by itself.
    #[error("{list}, entry {number}: {problem}")]
    Entry {
        /// The list in the input.
        list: &'static str,
        /// Which entry, from 1.
        number: usize,
        /// What is wrong with it.
        problem: Box<Refusal>,
    },
    /// A list has too few or too many entries for what is done.
    #[error("a {kind} takes {rule}; {field} has {given} entries")]
    WrongCount {
        /// What is done.
        kind: &'static str,
        /// Input field.
        field: &'static str,
        /// What it takes.
        rule: &'static str,
        /// As given.
        given: usize,
    },
    /// Every input would be a parent of every output, and that is too much for one event.
    #[error("{inputs} inputs and {outputs} outputs make {edges} edges; at most {max} are accepted")]
    TooManyEdges {
        /// Number of inputs.
        inputs: usize,
        /// Number of outputs.
        outputs: usize,
        /// Their product.
        edges: usize,
        /// The limit.
        max: usize,
    },
    /// Two outputs have one code.
    #[error("lot code '{code}' stands twice among the outputs")]
    DuplicateOutputCode {
        /// The code.
        code: String,
    },
    /// A transformation must say what each output is.
    #[error("the lot type is missing")]
    LotTypeMissing,
    /// A split or merge does not change the product.
    #[error("a {kind} keeps the product: lot '{code}' is '{is}', not '{given}'")]
    OtherProduct {
        /// What is done.
        kind: &'static str,
        /// Code of the input.
        code: String,
        /// Its product.
        is: String,
        /// What was given, or what the first input is.
        given: String,
    },
    /// A split or merge makes nothing out of nothing.
    #[error("a {kind} gains nothing; {given} given")]
    GainNotAllowed {
        /// What is done.
        kind: &'static str,
        /// As given.
        given: Quantity,
    },
    /// What goes in does not come out.
    #[error(
        "{inputs} {unit} taken and {gain} gained are not {outputs} made and {loss} lost: {difference} {unit} are not accounted for"
    )]
    Unbalanced {
        /// What is taken.
        inputs: String,
        /// What is stated as gained.
        gain: String,
        /// What is made.
        outputs: String,
        /// What is stated as lost.
        loss: String,
        /// What is missing, or too much.
        difference: String,
        /// The base unit of all these numbers.
        unit: &'static str,
    },
    /// The last day of use is over.
    #[error(
        "lot '{code}' has expired: its last day of use is {expires_on}, and {day} is the day; it goes in only by an exception with a reason"
    )]
    LotExpired {
        /// Input field.
        field: &'static str,
        /// Code of the lot.
        code: String,
        /// Its last day of use.
        expires_on: NaiveDate,
        /// The day on which it would go in.
        day: NaiveDate,
    },
    /// An output would outlast what it is made from.
    #[error("lot '{code}' can't last until {given}: lot '{input}' lasts until {latest}")]
    ExpiryTooLate {
        /// Code of the output.
        code: String,
        /// As given.
        given: NaiveDate,
        /// Code of the input.
        input: String,
        /// Its last day of use.
        latest: NaiveDate,
    },
    /// Quantities alone do not say what went where.
    #[error("the outputs are not all measured in one dimension; give each its share")]
    SharesNeeded,
    /// Some outputs have a share and some have none.
    #[error("{given} of {outputs} outputs have a share; give it to all or to none")]
    SharesIncomplete {
        /// How many have one.
        given: usize,
        /// How many there are.
        outputs: usize,
    },
    /// An input is too small to be a parent of every output.
    #[error("{quantity} of lot '{code}' can't be attributed to {outputs} outputs: 0.000001 is the smallest part")]
    TooSmallToShare {
        /// Code of the input.
        code: String,
        /// What is taken of it.
        quantity: Quantity,
        /// How many outputs there are.
        outputs: usize,
    },
    /// All that is left was asked for, and nothing is.
    #[error("lot '{code}' has nothing left")]
    NothingLeft {
        /// Input field.
        field: &'static str,
        /// Code of the lot.
        code: String,
    },
    /// An amount that results from others can't be written down.
    #[error(
        "{amount} of lot '{code}' is no quantity of at most 12 digits before the point and 6 after it; say how much to take"
    )]
    NoQuantity {
        /// Input field.
        field: &'static str,
        /// Code of the lot.
        code: String,
        /// The amount, with its unit.
        amount: String,
    },
    /// It has no last day of use.
    #[error("lot '{code}' has no last day of use")]
    NoExpiry {
        /// Code of the lot.
        code: String,
    },
    /// Its last day of use is not over.
    #[error("the last day of use of lot '{code}' is {expires_on}, not before {day}")]
    NotExpired {
        /// Code of the lot.
        code: String,
        /// Its last day of use.
        expires_on: NaiveDate,
        /// The day in question.
        day: NaiveDate,
    },
    /// Somebody has said so before.
    #[error("lot '{code}' is marked as expired already")]
    AlreadyExpired {
        /// Code of the lot.
        code: String,
    },
}

impl LotRefusal {
    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Entry { problem, .. } => problem.code(),
            Self::WrongCount { .. } => "WRONG_COUNT",
            Self::TooManyEdges { .. } => "TOO_MANY_EDGES",
            Self::DuplicateOutputCode { .. } => "DUPLICATE_OUTPUT_CODE",
            Self::LotTypeMissing => "LOT_TYPE_MISSING",
            Self::OtherProduct { .. } => "OTHER_PRODUCT",
            Self::GainNotAllowed { .. } => "GAIN_NOT_ALLOWED",
            Self::Unbalanced { .. } => "UNBALANCED",
            Self::LotExpired { .. } => "LOT_EXPIRED",
            Self::ExpiryTooLate { .. } => "EXPIRY_TOO_LATE",
            Self::SharesNeeded => "SHARES_NEEDED",
            Self::SharesIncomplete { .. } => "SHARES_INCOMPLETE",
            Self::TooSmallToShare { .. } => "TOO_SMALL_TO_SHARE",
            Self::NothingLeft { .. } => "NOTHING_LEFT",
            Self::NoQuantity { .. } => "NO_QUANTITY",
            Self::NoExpiry { .. } => "NO_EXPIRY",
            Self::NotExpired { .. } => "NOT_EXPIRED",
            Self::AlreadyExpired { .. } => "ALREADY_EXPIRED",
        }
    }

    /// The input field at fault.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Entry { list, .. } => list,
            Self::WrongCount { field, .. }
            | Self::LotExpired { field, .. }
            | Self::NothingLeft { field, .. }
            | Self::NoQuantity { field, .. } => field,
            Self::TooManyEdges { .. }
            | Self::DuplicateOutputCode { .. }
            | Self::LotTypeMissing
            | Self::ExpiryTooLate { .. }
            | Self::SharesNeeded
            | Self::SharesIncomplete { .. }
            | Self::OtherProduct { .. } => "outputs",
            Self::GainNotAllowed { .. } => "gain",
            Self::Unbalanced { .. } => "loss",
            Self::TooSmallToShare { .. } => "inputs",
            Self::NoExpiry { .. } | Self::NotExpired { .. } | Self::AlreadyExpired { .. } => "lot",
        }
    }
}

//! Why something can't come in or go out.

use chrono::NaiveDate;
use thiserror::Error;

use crate::id::ShipmentId;
use crate::quantity::Unit;

/// A rule about what comes in and goes out was broken.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum FlowRefusal {
    /// Nothing is received or shipped.
    #[error("{field} needs at least one entry")]
    Empty {
        /// Input field.
        field: &'static str,
    },
    /// Master data does not know it.
    #[error("partner '{code}' is not in the master data")]
    UnknownPartner {
        /// Input field.
        field: &'static str,
        /// As given.
        code: String,
    },
    /// There is no trade with it any more.
    #[error("partner '{code}' is inactive")]
    PartnerInactive {
        /// Input field.
        field: &'static str,
        /// Its code.
        code: String,
    },
    /// Nothing comes from it.
    #[error("partner '{code}' is no supplier")]
    NoSupplier {
        /// Its code.
        code: String,
    },
    /// Nothing goes to it.
    #[error("partner '{code}' is no customer")]
    NoCustomer {
        /// Its code.
        code: String,
    },
    /// It is neither made nor used any more.
    #[error("product '{product}' is inactive")]
    ProductInactive {
        /// Its code.
        product: String,
    },
    /// The master data does not say how much that is.
    #[error("product '{product}' is kept in {canonical}, and its definition has no conversion from {given}")]
    UnitOfProduct {
        /// Its code.
        product: String,
        /// The unit in which it is kept.
        canonical: Unit,
        /// As given.
        given: Unit,
    },
    /// Two lots of one delivery have one code.
    #[error("lot code '{code}' stands twice in the delivery")]
    CodeTwice {
        /// The code.
        code: String,
    },
    /// It was made after it came.
    #[error("lot '{code}' can't have been made on {produced_on}: it was received on {day}")]
    MadeLater {
        /// Code of the lot.
        code: String,
        /// As given.
        produced_on: NaiveDate,
        /// The day on which it came.
        day: NaiveDate,
    },
    /// The last day of use was over when it came.
    #[error(
        "lot '{code}' has expired on arrival: its last day of use is {expires_on}, and it was received on {day}; it is taken in only by an \
         exception with a reason"
    )]
    ExpiredOnArrival {
        /// Code of the lot.
        code: String,
        /// Its last day of use.
        expires_on: NaiveDate,
        /// The day on which it came.
        day: NaiveDate,
    },
    /// The last day of use is over.
    #[error("lot '{code}' has expired and can't be shipped: its last day of use is {expires_on}, and {day} is the day")]
    ShipsExpired {
        /// Code of the lot.
        code: String,
        /// Its last day of use.
        expires_on: NaiveDate,
        /// The day on which it would go out.
        day: NaiveDate,
    },
    /// The code is taken.
    #[error("shipment code '{code}' is already used by shipment {by}")]
    ShipmentCodeTaken {
        /// The code.
        code: String,
        /// Its owner.
        by: ShipmentId,
    },
}

impl FlowRefusal {
    /// Codes of what depends on master data, which a site's writer may learn of a moment later than its client.
    pub const OF_MASTER_DATA: [&str; 6] = [
        "UNKNOWN_PARTNER",
        "PARTNER_INACTIVE",
        "NO_SUPPLIER",
        "NO_CUSTOMER",
        "PRODUCT_INACTIVE",
        "UNIT_NOT_OF_PRODUCT",
    ];

    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "EMPTY",
            Self::UnknownPartner { .. } => "UNKNOWN_PARTNER",
            Self::PartnerInactive { .. } => "PARTNER_INACTIVE",
            Self::NoSupplier { .. } => "NO_SUPPLIER",
            Self::NoCustomer { .. } => "NO_CUSTOMER",
            Self::ProductInactive { .. } => "PRODUCT_INACTIVE",
            Self::UnitOfProduct { .. } => "UNIT_NOT_OF_PRODUCT",
            Self::CodeTwice { .. } => "DUPLICATE_CODE_IN_DELIVERY",
            Self::MadeLater { .. } => "PRODUCED_LATER",
            Self::ExpiredOnArrival { .. } => "EXPIRED_ON_ARRIVAL",
            Self::ShipsExpired { .. } => "LOT_EXPIRED",
            Self::ShipmentCodeTaken { .. } => "DUPLICATE_SHIPMENT_CODE",
        }
    }

    /// The input field at fault.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Empty { field } | Self::UnknownPartner { field, .. } | Self::PartnerInactive { field, .. } => field,
            Self::NoSupplier { .. } => "supplier",
            Self::NoCustomer { .. } => "customer",
            Self::ProductInactive { .. } => "product",
            Self::UnitOfProduct { .. } => "quantity",
            Self::MadeLater { .. } => "producedOn",
            Self::ExpiredOnArrival { .. } => "expiresOn",
            Self::CodeTwice { .. } | Self::ShipsExpired { .. } => "lots",
            Self::ShipmentCodeTaken { .. } => "code",
        }
    }
}

//! Global ids: opaque, unique over all types, what `node` and `nodes` take.

use async_graphql::{Error, ID};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use lotline_projections::signals::SignalKey;
use uuid::Uuid;

use super::failure::bad_input;
use super::signal;

/// What an id names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NodeId {
    /// A lot.
    Lot(Uuid),
    /// A quality decision.
    QcDecision(Uuid),
    /// A pipeline.
    Pipeline(Uuid),
    /// A scenario.
    Scenario(Uuid),
    /// A run.
    Run(Uuid),
    /// A hold.
    Hold(Uuid),
    /// A signal.
    Signal(SignalKey),
    /// A product.
    Product(Uuid),
    /// A supplier or customer.
    Partner(Uuid),
    /// An alert.
    Alert(Uuid),
    /// An event of the audit trail.
    AuditEntry(Uuid),
}

impl NodeId {
    /// The text form.
    pub fn encode(&self) -> ID {
        let text = match self {
            Self::Lot(id) => format!("lot:{id}"),
            Self::QcDecision(id) => format!("qc_decision:{id}"),
            Self::Pipeline(id) => format!("pipeline:{id}"),
            Self::Scenario(id) => format!("scenario:{id}"),
            Self::Run(id) => format!("run:{id}"),
            Self::Hold(id) => format!("hold:{id}"),
            Self::Signal(key) => format!("signal:{}", signal::write_key(&key.site, key.number)),
            Self::Product(id) => format!("product:{id}"),
            Self::Partner(id) => format!("partner:{id}"),
            Self::Alert(id) => format!("alert:{id}"),
            Self::AuditEntry(id) => format!("audit_entry:{id}"),
        };
        ID(BASE64_URL_SAFE_NO_PAD.encode(text))
    }

    /// Reads the text form.
    pub fn decode(id: &ID) -> Option<Self> {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(id.as_str()).ok()?).ok()?;
        let (kind, rest) = text.split_once(':')?;
        let uuid = || Uuid::try_parse(rest).ok();
        match kind {
            "lot" => uuid().map(Self::Lot),
            "qc_decision" => uuid().map(Self::QcDecision),
            "pipeline" => uuid().map(Self::Pipeline),
            "product" => uuid().map(Self::Product),
            "partner" => uuid().map(Self::Partner),
            "scenario" => uuid().map(Self::Scenario),
            "run" => uuid().map(Self::Run),
            "alert" => uuid().map(Self::Alert),
            "hold" => uuid().map(Self::Hold),
            "audit_entry" => uuid().map(Self::AuditEntry),
            "signal" => signal::read_key(rest).map(Self::Signal),
            _ => None,
        }
    }
}

macro_rules! of_kind {
    ($($(#[$doc:meta])* $name:ident, $variant:ident, $inner:ty, $what:literal;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            /// `BAD_USER_INPUT`.
            pub fn $name(argument: &str, id: &ID) -> Result<$inner, Error> {
                match NodeId::decode(id) {
                    Some(NodeId::$variant(inner)) => Ok(inner),
                    Some(_) | None => Err(bad_input(format!(concat!("'{}' is not the id of a ", $what), argument))),
                }
            }
        )*
    };
}

of_kind! {
    /// Reads the id of a lot.
    lot, Lot, Uuid, "lot";
    /// Reads the id of a pipeline.
    pipeline, Pipeline, Uuid, "pipeline";
    /// Reads the id of a scenario.
    scenario, Scenario, Uuid, "scenario";
    /// Reads the id of a run.
    run, Run, Uuid, "run";
    /// Reads the id of an alert.
    alert, Alert, Uuid, "alert";
    /// Reads the id of a hold.
    hold, Hold, Uuid, "hold";
    /// Reads the id of a signal.
    signal, Signal, SignalKey, "signal";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip() {
        let uuid = Uuid::from_u128(7);
        let key = SignalKey { site: "north".to_owned(), number: 3 };
        for id in [
            NodeId::Lot(uuid),
            NodeId::QcDecision(uuid),
            NodeId::Pipeline(uuid),
            NodeId::Scenario(uuid),
            NodeId::Run(uuid),
            NodeId::Hold(uuid),
            NodeId::Signal(key),
            NodeId::Product(uuid),
            NodeId::Partner(uuid),
            NodeId::Alert(uuid),
            NodeId::AuditEntry(uuid),
        ] {
            assert_eq!(NodeId::decode(&id.encode()), Some(id));
        }
    }

    #[test]
    fn a_wrong_kind_is_named() {
        let error = lot("id", &NodeId::Pipeline(Uuid::nil()).encode()).unwrap_err();
        assert_eq!(error.message, "'id' is not the id of a lot");
        assert!(lot("id", &ID("é".to_owned())).is_err());
    }
}

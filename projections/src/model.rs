//! The closed list of read models.

use std::fmt;

use lotline_domain::position::TopicKind;

/// A read model: tables that move forward together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Model {
    /// Lots as they are now.
    Lots,
    /// Which lot went into which.
    Genealogy,
    /// Quality decisions.
    QcDecisions,
    /// Pipelines as they are now, and their versions.
    Pipelines,
    /// Declarations of signals.
    Signals,
    /// Products and partners.
    Master,
    /// Every event.
    Audit,
    /// Sites, users, keys and grants.
    Access,
    /// Scenarios as they are now, and their versions.
    Scenarios,
    /// Runs with their phases, lots and decisions at gates.
    Runs,
    /// Latest values and history of signals.
    Samples,
}

impl Model {
    /// Every model.
    pub const ALL: [Self; 11] = [
        Self::Lots,
        Self::Genealogy,
        Self::QcDecisions,
        Self::Pipelines,
        Self::Signals,
        Self::Master,
        Self::Audit,
        Self::Access,
        Self::Scenarios,
        Self::Runs,
        Self::Samples,
    ];

    /// The models that follow the ledger.
    pub const LEDGER: [Self; 10] = [
        Self::Lots,
        Self::Genealogy,
        Self::QcDecisions,
        Self::Pipelines,
        Self::Signals,
        Self::Master,
        Self::Audit,
        Self::Access,
        Self::Scenarios,
        Self::Runs,
    ];

    /// The name used in tables, notifications and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lots => "lots",
            Self::Genealogy => "genealogy",
            Self::QcDecisions => "qc_decisions",
            Self::Pipelines => "pipelines",
            Self::Signals => "signals",
            Self::Master => "master",
            Self::Audit => "audit",
            Self::Access => "access",
            Self::Scenarios => "scenarios",
            Self::Runs => "runs",
            Self::Samples => "samples",
        }
    }

    /// The model of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.name() == name)
    }

    /// The topic that it is made from.
    pub fn topic(self) -> TopicKind {
        match self {
            Self::Lots
            | Self::Genealogy
            | Self::QcDecisions
            | Self::Pipelines
            | Self::Signals
            | Self::Master
            | Self::Audit
            | Self::Access
            | Self::Scenarios
            | Self::Runs => TopicKind::Ledger,
            Self::Samples => TopicKind::Signals,
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

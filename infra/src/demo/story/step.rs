//! One thing that one person does.

use lotline_domain::command::{RecordQcDecision, RegisterLot};
use lotline_domain::pipeline::Definition;

/// What somebody does, and whether it ought to succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Counts production batches from 0.
    pub batch: u64,
    /// Opaque id of who does it.
    pub actor: &'static str,
    /// Why, where people would say it.
    pub reason: Option<String>,
    /// What is done.
    pub action: Action,
    /// Whether the server must take it.
    pub expected: Expected,
}

/// What is done. Pipelines are known by name here; the server names them by id once they are drafted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Register a lot.
    RegisterLot(RegisterLot),
    /// Judge a lot at a gate.
    RecordQcDecision(RecordQcDecision),
    /// Begin a pipeline.
    DraftPipeline {
        /// Its name.
        name: String,
        /// Its first draft.
        definition: Definition,
    },
    /// Change a pipeline's draft.
    RevisePipeline {
        /// Its name.
        name: String,
        /// Its next draft.
        definition: Definition,
    },
    /// Publish a pipeline's draft.
    PublishPipeline {
        /// Its name.
        name: String,
    },
}

/// How the server must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It is done.
    Accepted,
    /// It is a mistake, refused with this code.
    Refused(&'static str),
}

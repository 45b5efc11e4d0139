//! The way in: hands a command to the writer of its stream and waits for the answer.

use std::time::Duration;

use lotline_domain::command::CommandRequest;
use lotline_domain::position::Position;
use lotline_domain::state::Subject;
use thiserror::Error;

/// A command was decided and its events are in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The thing that was created or changed.
    pub subject: Subject,
    /// Sequence of the decision's last event: the thing's version from now on.
    pub version: u64,
    /// Covers the decision; queries wait for it with `consistentWith`.
    pub position: Position,
    /// Whether this is the answer to an earlier try of the same command.
    pub replayed: bool,
}

/// A command was not accepted.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum SubmitError {
    /// A rule was broken. The refusal is in the log, and `position` covers it.
    #[error("{message}")]
    Refused {
        /// Stable code, see `Refusal::code`.
        code: String,
        /// The sentence for the actor.
        message: String,
        /// Input field at fault.
        field: Option<String>,
        /// Covers the refusal.
        position: Position,
    },
    /// The writer's queue is full; nothing was decided.
    #[error("the writer is busy; retry after {} ms", retry_after.as_millis())]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The stream does not exist.
    #[error("there is no site '{0}'")]
    UnknownStream(String),
    /// The partition has no writer at the moment, or it did not answer in time. Whether the command was
    /// decided is not known; the same idempotency key finds out.
    #[error("the ledger is not available at the moment; retry with the same idempotency key")]
    Unavailable,
}

/// Finds the writer of a stream. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CommandBus {}

impl CommandBus {
    /// Submits a command and waits for its decision to be in the log.
    ///
    /// # Errors
    /// [`SubmitError`].
    #[expect(clippy::unused_async, reason = "the writer lands next")]
    pub async fn submit(&self, _request: CommandRequest) -> Result<Receipt, SubmitError> {
        Err(SubmitError::Unavailable)
    }
}

//! Why a batch could not be applied, and whether the batch itself is to blame.
//!
//! Only what data can cause counts as poison; everything else (lost connections, serialization failures, a restart, a full disk, a missing
//! table) is waited out, because giving up a stream is final until somebody acts.

use thiserror::Error;

/// A batch was not applied; its transaction was rolled back.
#[derive(Debug, Error)]
pub(crate) enum ApplyError {
    /// PostgreSQL refused or can't be reached.
    #[error("PostgreSQL failed")]
    Database(#[from] sqlx::Error),
    /// The events do not fit what the tables hold.
    #[error("{0}")]
    Inconsistent(String),
    /// JSON that was decoded before, or that a table holds, can't be read.
    #[error("a JSON value can't be read")]
    Json(#[from] serde_json::Error),
}

impl ApplyError {
    /// Whether the same events would fail again on a healthy database.
    pub(crate) fn is_poison(&self) -> bool {
        match self {
            Self::Inconsistent(_)
            | Self::Json(_)
            | Self::Database(sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. }) => true,
            Self::Database(sqlx::Error::Database(error)) => error.code().is_some_and(|code| is_data_error(&code)),
            Self::Database(_) => false,
        }
    }

    /// The whole chain of causes in one line, for the table of halts.
    pub(crate) fn full_text(&self) -> String {
        full_text(self)
    }
}

/// An error and its causes in one line of bounded length.
pub(crate) fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    // PostgreSQL's TEXT can't hold NUL, and what went wrong may quote it.
    text.chars().take(1_000).map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// SQLSTATE classes 22 (data exception), 23 (integrity constraint violation), 21 (cardinality violation) and 54 (program limit
/// exceeded), PostgreSQL documentation, appendix A.
fn is_data_error(code: &str) -> bool {
    ["21", "22", "23", "54"].iter().any(|class| code.starts_with(class))
}

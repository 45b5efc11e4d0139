//! Errors of resolvers, each with a stable `extensions.code`. What broke inside is logged, not told.

use std::sync::Arc;

use async_graphql::{Error, ErrorExtensions};
use lotline_projections::progress::WaitError;
use sqlx::error::DatabaseError;

/// An error that the client can act on.
pub fn coded(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", code))
}

/// Something in the input is wrong.
pub fn bad_input(message: impl Into<String>) -> Error {
    coded("BAD_USER_INPUT", message)
}

/// A read model that was waited for in vain.
pub fn behind(error: &WaitError) -> Error {
    let (code, model) = match error {
        WaitError::Timeout { model, .. } => ("CONSISTENCY_TIMEOUT", model.name()),
        WaitError::Degraded { model, .. } => ("READ_MODEL_DEGRADED", model.name()),
    };
    coded(code, error.to_string()).extend_with(|_, extensions| extensions.set("readModel", model))
}

/// Whether PostgreSQL has refused a text of the client's for a character that it does not know (`character_not_in_repertoire`).
fn has_no_such_text(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let shared = cause.downcast_ref::<Arc<sqlx::Error>>().map(AsRef::as_ref);
        let database = cause.downcast_ref().or(shared).and_then(sqlx::Error::as_database_error);
        database.and_then(DatabaseError::code).is_some_and(|code| code == "22021")
    })
}

/// Turns what broke inside into an error that says only that it did.
pub trait OrFail<T> {
    /// Logs the error. `action` is a verb phrase.
    ///
    /// # Errors
    /// `INTERNAL`; `BAD_USER_INPUT` when it was a text that PostgreSQL can't have.
    fn or_fail(self, action: &'static str) -> Result<T, Error>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_fail(self, action: &'static str) -> Result<T, Error> {
        self.map_err(|error| {
            let error: Box<dyn std::error::Error + Send + Sync> = error.into();
            if has_no_such_text(error.as_ref()) {
                return bad_input("a text has the character U+0000, which no text here can have");
            }
            tracing::error!(
                error = error.as_ref() as &dyn std::error::Error,
                action,
                "a request failed inside the server"
            );
            coded("INTERNAL", format!("the server failed to {action}; the log has the reason under the correlation id"))
        })
    }
}

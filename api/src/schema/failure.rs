//! Errors of resolvers, each with a stable `extensions.code`. What broke inside is logged, not told.

use async_graphql::{Error, ErrorExtensions};
use lotline_projections::progress::WaitError;

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

/// Turns what broke inside into an error that says only that it did.
pub trait OrFail<T> {
    /// Logs the error. `action` is a verb phrase.
    ///
    /// # Errors
    /// `INTERNAL`.
    fn or_fail(self, action: &'static str) -> Result<T, Error>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_fail(self, action: &'static str) -> Result<T, Error> {
        self.map_err(|error| {
            let error: Box<dyn std::error::Error + Send + Sync> = error.into();
            tracing::error!(
                error = error.as_ref() as &dyn std::error::Error,
                action,
                "a request failed inside the server"
            );
            coded("INTERNAL", format!("the server failed to {action}; the log has the reason under the correlation id"))
        })
    }
}

//! What every mutation takes and gives back, and the one way in which commands are submitted.

use async_graphql::{Context, Error, ErrorExtensions, SimpleObject};
use chrono::{DateTime, Utc};
use lotline_commands::bus::{Receipt, SubmitError};
use lotline_domain::command::{Command, CommandRequest};
use lotline_domain::id::{CommandId, SiteId, StreamKey};
use lotline_domain::position::Position;
use lotline_projections::model::Model;
use uuid::Uuid;

use super::failure::coded;
use super::scalar::{PositionToken, Version};
use super::scope::Scope;

/// Something in the input that the user can put right.
#[derive(SimpleObject, Debug, Clone, PartialEq, Eq)]
pub struct UserError {
    /// The input field at fault, where one is.
    pub field: Option<String>,
    /// Stable code for programs, such as DUPLICATE_LOT_CODE.
    pub code: String,
    /// The sentence for people.
    pub message: String,
}

impl UserError {
    /// An error at a field.
    pub fn at(field: &str, code: &str, message: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), code: code.to_owned(), message: message.into() }
    }

    /// The global id at `field` is not of the right kind.
    pub fn id(field: &str, error: &Error) -> Self {
        Self::at(field, "INVALID_ID", error.message.clone())
    }
}

/// What the client says about a command besides its content.
pub struct Given {
    /// Idempotency key.
    pub key: Uuid,
    /// See `CommandRequest::expected_version`.
    pub expected_version: Option<Version>,
    /// When it happened in the world.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was decided.
    Accepted(Receipt),
    /// It was refused; with a position when the refusal is in the log.
    Refused(UserError, Option<Position>),
}

impl Outcome {
    /// The receipt, when accepted.
    pub fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Accepted(receipt) => Some(receipt),
            Self::Refused(..) => None,
        }
    }

    /// See the payloads' `version`.
    pub fn version(&self) -> Option<Version> {
        self.receipt().map(|receipt| Version(receipt.version))
    }

    /// See the payloads' `position`.
    pub fn position(&self) -> Option<PositionToken> {
        let position = match self {
            Self::Accepted(receipt) => Some(&receipt.position),
            Self::Refused(_, position) => position.as_ref(),
        };
        position.cloned().map(PositionToken)
    }

    /// See the payloads' `replayed`.
    pub fn replayed(&self) -> bool {
        self.receipt().is_some_and(|receipt| receipt.replayed)
    }

    /// See the payloads' `userErrors`.
    pub fn user_errors(&self) -> Vec<UserError> {
        match self {
            Self::Accepted(_) => Vec::new(),
            Self::Refused(error, _) => vec![error.clone()],
        }
    }

    /// Waits until the read models show what was decided; `None` when nothing was.
    ///
    /// # Errors
    /// `CONSISTENCY_TIMEOUT`. The decision stands nevertheless.
    pub async fn visible<'a>(
        &self,
        ctx: &Context<'a>,
        models: &[Model],
    ) -> Result<Option<(&'a Scope, &Receipt)>, Error> {
        let Some(receipt) = self.receipt() else { return Ok(None) };
        let scope = Scope::of(ctx);
        scope.wait_for(ctx, models, &receipt.position, None).await?;
        Ok(Some((scope, receipt)))
    }
}

/// The stream of a site.
///
/// # Errors
/// What to tell the user.
pub fn site_stream(site: &str) -> Result<StreamKey, UserError> {
    SiteId::new(site).map(StreamKey::Site).map_err(|error| UserError::at("site", "INVALID_ID", error.to_string()))
}

/// Submits a command.
///
/// # Errors
/// `BUSY` with `retryAfterMs`, or `UNAVAILABLE`: nothing the user can put right.
pub async fn submit(scope: &Scope, stream: StreamKey, given: Given, command: Command) -> Result<Outcome, Error> {
    let caller = scope.caller.clone();
    let request = CommandRequest {
        tenant: scope.tenant().clone(),
        stream,
        actor: caller.actor,
        command_id: CommandId(given.key),
        correlation_id: caller.trace.correlation_id,
        traceparent: caller.trace.traceparent,
        expected_version: given.expected_version.map(|Version(version)| version),
        occurred_at: given.occurred_at.map(Into::into),
        reason: given.reason,
        command,
    };
    let (id, name) = (request.command_id, request.command.name());
    let result = scope.server.state.bus.submit(request).await;
    tracing::debug!(command.id = %id.0, command.name = name, refused = refusal(&result), "a command was answered");
    outcome(result)
}

fn refusal(result: &Result<Receipt, SubmitError>) -> Option<&str> {
    match result {
        Ok(_) => None,
        Err(SubmitError::Refused { code, .. }) => Some(code),
        Err(SubmitError::UnknownStream(_)) => Some("UNKNOWN_SITE"),
        Err(SubmitError::Busy { .. }) => Some("BUSY"),
        Err(SubmitError::Unavailable) => Some("UNAVAILABLE"),
    }
}

fn outcome(result: Result<Receipt, SubmitError>) -> Result<Outcome, Error> {
    match result {
        Ok(receipt) => Ok(Outcome::Accepted(receipt)),
        Err(SubmitError::Refused { code, message, field, position }) => {
            Ok(Outcome::Refused(UserError { field, code, message }, Some(position)))
        }
        Err(error @ SubmitError::UnknownStream(_)) => {
            Ok(Outcome::Refused(UserError::at("site", "UNKNOWN_SITE", error.to_string()), None))
        }
        Err(error @ SubmitError::Busy { retry_after }) => {
            let ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
            Err(coded("BUSY", error.to_string()).extend_with(|_, extensions| extensions.set("retryAfterMs", ms)))
        }
        Err(error @ SubmitError::Unavailable) => Err(coded("UNAVAILABLE", error.to_string())),
    }
}

/// Declares a payload: its own fields first, then those that all payloads share.
macro_rules! payload {
    ($(#[doc = $doc:literal])* $name:ident { $($own:tt)* }) => {
        $(#[doc = $doc])*
        pub struct $name(pub $crate::schema::payload::Outcome);

        $(#[doc = $doc])*
        #[async_graphql::Object]
        impl $name {
            $($own)*

            /// The version of the thing from now on: what `expectedVersion` is compared with. Null when refused.
            async fn version(&self) -> Option<$crate::schema::scalar::Version> {
                self.0.version()
            }

            /// Covers the decision, or its refusal. Null when nothing was recorded.
            async fn position(&self) -> Option<$crate::schema::scalar::PositionToken> {
                self.0.position()
            }

            /// Whether this is the answer to an earlier try with the same idempotency key.
            async fn replayed(&self) -> bool {
                self.0.replayed()
            }

            /// Why it was refused; empty when it was not.
            async fn user_errors(&self) -> Vec<$crate::schema::payload::UserError> {
                self.0.user_errors()
            }
        }
    };
}
pub(crate) use payload;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_graphql::Value;

    use super::*;

    #[test]
    fn refusals_are_user_errors_and_cover_their_record() {
        let position: Position = "l0.3".parse().unwrap();
        let refused = SubmitError::Refused {
            code: "UNKNOWN_LOT".to_owned(),
            message: "lot 'x' does not exist".to_owned(),
            field: Some("parents".to_owned()),
            position: position.clone(),
        };
        let outcome = outcome(Err(refused)).unwrap();
        assert_eq!(outcome.user_errors(), [UserError::at("parents", "UNKNOWN_LOT", "lot 'x' does not exist")]);
        assert_eq!(outcome.position(), Some(PositionToken(position)));
        assert_eq!((outcome.version(), outcome.replayed()), (None, false));
    }

    #[test]
    fn busy_says_when_to_come_back() {
        let error = outcome(Err(SubmitError::Busy { retry_after: Duration::from_millis(40) })).unwrap_err();
        let extensions = error.extensions.unwrap();
        assert_eq!(extensions.get("code"), Some(&Value::from("BUSY")));
        assert_eq!(extensions.get("retryAfterMs"), Some(&Value::from(40)));
        let error = outcome(Err(SubmitError::Unavailable)).unwrap_err();
        assert_eq!(error.extensions.unwrap().get("code"), Some(&Value::from("UNAVAILABLE")));
    }

    #[test]
    fn an_unknown_site_is_the_users_to_put_right() {
        let outcome = outcome(Err(SubmitError::UnknownStream("south".to_owned()))).unwrap();
        assert_eq!(outcome.user_errors()[0].code, "UNKNOWN_SITE");
        assert_eq!(outcome.position(), None);
        assert_eq!(site_stream("A b").unwrap_err().code, "INVALID_ID");
    }
}

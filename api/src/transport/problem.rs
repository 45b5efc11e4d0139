//! An HTTP request that is no GraphQL request: answered with a status and `{"errors": [{"message", "extensions": {"code"}}]}`.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::trail::attempts::Attempt;

/// Why a request was not even looked at by the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable code for programs.
    pub code: &'static str,
    /// The sentence.
    pub message: Box<str>,
    /// A header that the status calls for.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// What it was an attempt at, for the audit trail.
    pub attempt: Option<Box<Attempt>>,
}

impl Problem {
    /// A problem without a header.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into().into_boxed_str(), header: None, attempt: None }
    }

    /// The same, as an attempt that was refused: the frame counts it when it answers.
    #[must_use]
    pub fn of(self, attempt: Attempt) -> Self {
        Self { attempt: Some(Box::new(attempt)), ..self }
    }

    /// 400.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 405, naming the methods that are.
    pub fn method(message: impl Into<String>, allow: &'static str) -> Self {
        let header = Some((header::ALLOW, HeaderValue::from_static(allow)));
        Self { header, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "errors": [{ "message": self.message, "extensions": { "code": self.code } }] });
        let content_type = (header::CONTENT_TYPE, "application/json; charset=utf-8");
        let mut response = (self.status, [content_type], body.to_string()).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        if let Some(attempt) = self.attempt {
            response.extensions_mut().insert(*attempt);
        }
        response
    }
}

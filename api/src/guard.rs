//! Refuses documents that would cost too much to parse, validate or run, before any of that is done.
//!
//! Three passes, each bounded by the one before: [`lexical`] reads the text once and counts, so that the recursive parser never sees a
//! nesting that could exhaust the stack; [`document`] walks the parsed document with each fragment measured once, so that fragments that
//! spread fragments can't multiply; [`cost`] weighs the validated operation with its page sizes.

pub mod cost;
pub mod document;
pub mod lexical;

use async_graphql::{ErrorExtensionValues, Pos, Request, ServerError};

use crate::config::Limits;

/// A document is refused. The text says which limit, and what was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Stable code.
    pub code: &'static str,
    /// The sentence.
    pub message: String,
    /// Where in the document.
    pub position: Option<Pos>,
}

impl From<Rejected> for ServerError {
    fn from(rejected: Rejected) -> Self {
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", rejected.code);
        let mut error = Self::new(rejected.message, rejected.position);
        error.extensions = Some(extensions);
        error
    }
}

/// Checks and parses the document of a request; the request keeps the parsed form.
///
/// # Errors
/// The first limit that is broken, or what the parser says.
pub fn admit(request: &mut Request, limits: &Limits) -> Result<(), ServerError> {
    lexical::check(&request.query, limits)?;
    let parsed = request.parsed_query().map_err(|mut error| {
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", "GRAPHQL_PARSE_FAILED");
        error.extensions = Some(extensions);
        error
    })?;
    document::check(parsed, limits)?;
    Ok(())
}

#[cfg(test)]
mod tests;

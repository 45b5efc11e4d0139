//! The cost of an operation: one per field, times the page size of the lists around it. Shown to the client, and limited.
//!
//! The registry weighs fields through their `complexity` attribute; [`page`] and [`list`] are what those attributes say.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextRequest, NextValidation};
use async_graphql::{Response, ServerError, ValidationResult, value};

use super::Rejected;

/// Rows that a list without a page size is taken to have: parents of a lot, tasks of a pipeline.
const UNPAGED: usize = 10;
/// Beyond any limit, and far from overflow when summed over all fields of a document.
const HIGHEST: usize = 1 << 40;

/// The cost of a page of `first` rows.
pub fn page(first: i32, child: usize) -> usize {
    let rows = usize::try_from(first).unwrap_or(0).max(1);
    rows.saturating_mul(child.max(1)).saturating_add(1).min(HIGHEST)
}

/// The cost of a list whose length the client does not choose.
pub fn list(child: usize) -> usize {
    UNPAGED.saturating_mul(child.max(1)).saturating_add(1).min(HIGHEST)
}

/// Makes the extension that compares the cost with its limit.
pub struct CostLimit {
    /// Highest cost of an operation.
    pub limit: usize,
}

struct Measured {
    limit: usize,
    cost: Mutex<Option<usize>>,
}

impl ExtensionFactory for CostLimit {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Measured { limit: self.limit, cost: Mutex::new(None) })
    }
}

#[async_trait]
impl Extension for Measured {
    async fn request(&self, ctx: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        let response = next.run(ctx).await;
        let cost = *self.cost.lock().unwrap_or_else(PoisonError::into_inner);
        match cost {
            Some(cost) => response.extension("cost", value!({ "requested": cost, "limit": (self.limit) })),
            None => response,
        }
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let result = next.run(ctx).await.map_err(coded)?;
        let cost = result.complexity;
        if cost > self.limit {
            let message = format!("the operation costs {cost}; at most {} is accepted", self.limit);
            return Err(vec![Rejected { code: "TOO_COSTLY", message, position: None }.into()]);
        }
        *self.cost.lock().unwrap_or_else(PoisonError::into_inner) = Some(cost);
        Ok(result)
    }
}

/// Gives each finding of the validator its code.
fn coded(errors: Vec<ServerError>) -> Vec<ServerError> {
    errors
        .into_iter()
        .map(|mut error| {
            error.extensions.get_or_insert_default().set("code", "GRAPHQL_VALIDATION_FAILED");
            error
        })
        .collect()
}

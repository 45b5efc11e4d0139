//! What the resolvers of one request share: the server, who asks, and one set of loaders.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::Context;
use async_graphql::dataloader::DataLoader;
use async_graphql::runtime::{TokioSpawner, TokioTimer};
use lotline_domain::id::TenantId;
use lotline_domain::position::Position;
use lotline_projections::model::Model;
use sqlx::PgPool;
use tokio::time::Instant;

use super::failure;
use super::loaders::Tables;
use super::scalar::PositionToken;
use crate::server::Server;
use crate::transport::caller::Caller;

/// One request.
pub struct Scope {
    /// The running API.
    pub server: Arc<Server>,
    /// Who asks.
    pub caller: Caller,
    /// Batches what the rows of one answer look up.
    pub loader: DataLoader<Tables>,
}

impl Scope {
    /// A request's own scope.
    pub fn new(server: Arc<Server>, caller: Caller) -> Self {
        let loader = DataLoader::new(Tables::new(&server.state), TokioSpawner::current(), TokioTimer::default());
        Self { server, caller, loader }
    }

    /// The scope of the request being resolved.
    pub fn of<'a>(ctx: &Context<'a>) -> &'a Self {
        ctx.data_unchecked()
    }

    /// Where the read models are.
    pub fn pool(&self) -> &PgPool {
        &self.server.state.pool
    }

    /// Whose data is served.
    pub fn tenant(&self) -> &TenantId {
        &self.server.state.tenant
    }

    /// Waits until the read models have passed a position. `timeout_ms` can only shorten the server's own limit.
    ///
    /// # Errors
    /// `CONSISTENCY_TIMEOUT`, naming the read model that is behind.
    pub async fn wait(
        &self,
        models: &[Model],
        consistent_with: Option<PositionToken>,
        timeout_ms: Option<u32>,
    ) -> async_graphql::Result<()> {
        let Some(PositionToken(position)) = consistent_with else { return Ok(()) };
        self.wait_for(models, &position, timeout_ms).await
    }

    /// Like [`Scope::wait`], for a position at hand.
    ///
    /// # Errors
    /// `CONSISTENCY_TIMEOUT`.
    pub async fn wait_for(
        &self,
        models: &[Model],
        position: &Position,
        timeout_ms: Option<u32>,
    ) -> async_graphql::Result<()> {
        let longest = self.server.state.limits.consistency_timeout();
        let limit = timeout_ms.map_or(longest, |ms| longest.min(Duration::from_millis(u64::from(ms))));
        let deadline = Instant::now() + limit;
        self.server.state.progress.wait_for(models, position, deadline).await.map_err(|error| failure::behind(&error))
    }
}

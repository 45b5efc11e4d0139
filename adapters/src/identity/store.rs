//! What every part of a tenant's credentials works with: the database, the clock, fresh ids.

use std::sync::Arc;
use std::time::Duration;

use lotline_domain::id::TenantId;
use lotline_domain::identity::port::StoreError;
use lotline_domain::identity::secret::{OpaqueToken, SecretKind};
use lotline_domain::port::{Clock, Ids};
use lotline_domain::timestamp::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use crate::clock::random_bytes;

/// One tenant's part of the schema `access`.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) pool: PgPool,
    pub(super) tenant: TenantId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn Ids>,
}

impl Store {
    pub(super) fn tenant(&self) -> &str {
        self.tenant.as_str()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn fresh_id(&self) -> Uuid {
        self.ids.uuid_v7(self.now())
    }
}

pub(super) fn fresh_token(kind: SecretKind) -> OpaqueToken {
    OpaqueToken::new(kind, random_bytes())
}

/// Turns a failure of the database into one that says what was tried.
pub(super) fn broken(action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| StoreError::new(action, error)
}

pub(super) fn later(time: Timestamp, length: Duration) -> Timestamp {
    time.plus_micros(i64::try_from(length.as_micros()).unwrap_or(i64::MAX))
}

pub(super) fn earlier(time: Timestamp, length: Duration) -> Timestamp {
    time.plus_micros(i64::try_from(length.as_micros()).map_or(i64::MIN, i64::wrapping_neg))
}

//! What the nodes of one installation share beside the log, in PostgreSQL: who writes what, who lives, and a secret.
//!
//! | part | for |
//! |---|---|
//! | [`PostgresDirectory`] | the address of each partition's writer, for forwarding |
//! | [`PostgresHeard`] | telling a node that others hear more of who may do what than it does |
//! | [`PostgresLeases`] | sharing partitions among nodes where no Kafka group does it: the embedded log's writers, and projections |
//! | [`secret`] | signing what nodes send to each other |
//!
//! What is in the log needs none of it to be safe: writers are fenced by the log, projections by their offsets. A door that shuts in time needs
//! [`PostgresHeard`].

mod directory;
mod heard;
mod lease;

pub use self::directory::PostgresDirectory;
pub use self::heard::PostgresHeard;
pub use self::lease::{LeaseOptions, PostgresLeases};

use lotline_domain::id::TenantId;
use lotline_domain::port::LogError;
use sqlx::PgPool;

use crate::clock::random_bytes;

/// The secret of the tenant's nodes, made by whichever node asks first.
///
/// # Errors
/// [`LogError::Broken`] when the database fails.
pub async fn secret(pool: &PgPool, tenant: &TenantId) -> Result<Vec<u8>, LogError> {
    let broken = |error| LogError::broken("read the secret of the nodes", error);
    let fresh = random_bytes::<32>();
    sqlx::query!(
        "INSERT INTO vault.node_secret (tenant, secret) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        tenant.as_str(),
        fresh.as_slice()
    )
    .execute(pool)
    .await
    .map_err(broken)?;
    sqlx::query_scalar!("SELECT secret FROM vault.node_secret WHERE tenant = $1", tenant.as_str())
        .fetch_one(pool)
        .await
        .map_err(broken)
}

//! Empties the read models of a tenant, so that they are built again from the beginning of its logs.
//!
//! For a ledger that has moved to another log, whose offsets are others. The server must not be running: a rebuild beside a live one comes with
//! `lotline projections rebuild`.

use lotline_domain::id::TenantId;
use sqlx::PgPool;

/// Deletes every row of the tenant that was made from its ledger, and all positions. Samples stay, and so does the knowledge of which batches they
/// came from; only the position in the signals topic is forgotten, for that topic is another one now.
///
/// # Errors
/// When PostgreSQL fails; nothing is deleted then.
pub async fn ledger_models(pool: &PgPool, tenant: &TenantId) -> Result<(), sqlx::Error> {
    let tenant = tenant.as_str();
    let mut tx = pool.begin().await?;
    sqlx::query!("DELETE FROM read.projection_offset WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.projection_generation WHERE tenant = $1 AND model <> 'samples'", tenant)
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "UPDATE read.projection_generation SET state = 'retired' WHERE tenant = $1 AND state = 'building'",
        tenant
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("DELETE FROM read.projection_head WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.projection_halt WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.projection_skip WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.lots WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.receipts WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.shipments WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.shipment_lots WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.genealogy WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.transformations WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.qc_decisions WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.pipelines WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.pipeline_versions WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.signals WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.audit WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM read.audit_state WHERE tenant = $1", tenant).execute(&mut *tx).await?;
    tx.commit().await
}

//! Empties the read models of a tenant, so that they are built again from the beginning of its logs.
//!
//! For a ledger that has moved to another log, whose offsets are others. The server must not be running: a rebuild beside a live one comes with
//! `lotline projections rebuild`.

use lotline_domain::id::TenantId;
use sqlx::PgPool;

use crate::model::Model;
use crate::retired::clear_rows;

/// Deletes every row of the tenant that was made from its ledger, and all positions. Samples stay, and so does the knowledge of which batches they
/// came from; only the position in the signals topic is forgotten, for that topic is another one now.
///
/// # Errors
/// When PostgreSQL fails; nothing is deleted then.
pub async fn ledger_models(pool: &PgPool, tenant: &TenantId) -> Result<(), sqlx::Error> {
    let tenant = tenant.as_str();
    let mut tx = pool.begin().await?;
    let made = sqlx::query!(
        "SELECT model, generation FROM read.projection_generation WHERE tenant = $1 AND model <> 'samples'",
        tenant
    )
    .fetch_all(&mut *tx)
    .await?;
    for row in made {
        let Some(model) = Model::parse(&row.model) else { continue };
        clear_rows(&mut tx, tenant, model, row.generation).await?;
    }
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
    tx.commit().await
}

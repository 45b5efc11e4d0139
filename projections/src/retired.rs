//! Deletes the rows of generations that nobody needs any more.
//!
//! Nobody reads or writes them, so this holds nobody up. One statement per table: what is interrupted is done again the next time.

use lotline_domain::id::TenantId;
use sqlx::{PgConnection, PgPool};

use crate::generations::names;
use crate::model::Model;

/// Deletes the retired generations of the models, and gives how many rows that were.
pub(crate) async fn clear(pool: &PgPool, tenant: &TenantId, models: &[Model]) -> Result<u64, sqlx::Error> {
    let found = sqlx::query!(
        "SELECT model, generation FROM read.projection_generation WHERE tenant = $1 AND model = ANY($2) AND state = 'retired'",
        tenant.as_str(),
        &names(models) as _
    )
    .fetch_all(pool)
    .await?;
    let mut rows = 0;
    for row in found {
        let Some(model) = Model::parse(&row.model) else { continue };
        rows += clear_one(pool, tenant.as_str(), model, row.generation).await?;
    }
    Ok(rows)
}

async fn clear_one(pool: &PgPool, tenant: &str, model: Model, generation: i32) -> Result<u64, sqlx::Error> {
    let name = model.name();
    // The offsets first: who still fills this generation finds no row to step on and writes nothing more.
    sqlx::query!(
        "DELETE FROM read.projection_offset WHERE tenant = $1 AND model = $2 AND generation = $3",
        tenant,
        name,
        generation
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "DELETE FROM read.projection_head WHERE tenant = $1 AND model = $2 AND generation = $3",
        tenant,
        name,
        generation
    )
    .execute(pool)
    .await?;
    let rows = clear_rows(&mut *pool.acquire().await?, tenant, model, generation).await?;
    // Last: as long as it is there, the number is taken and somebody will come back to delete the rest.
    sqlx::query!(
        "DELETE FROM read.projection_generation WHERE tenant = $1 AND model = $2 AND generation = $3",
        tenant,
        name,
        generation
    )
    .execute(pool)
    .await?;
    Ok(rows)
}

/// To add a model: its tables here.
pub(crate) async fn clear_rows(
    db: &mut PgConnection,
    tenant: &str,
    model: Model,
    generation: i32,
) -> Result<u64, sqlx::Error> {
    macro_rules! delete {
        ($($statement:literal),+) => {{
            let mut rows = 0;
            $(rows += sqlx::query!($statement, tenant, generation).execute(&mut *db).await?.rows_affected();)+
            Ok(rows)
        }};
    }
    match model {
        Model::Lots => delete!(
            "DELETE FROM read.lots WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.receipts WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.shipments WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.shipment_lots WHERE tenant = $1 AND generation = $2"
        ),
        Model::Genealogy => delete!(
            "DELETE FROM read.genealogy WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.transformations WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.stock_changes WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.holds WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.held_lots WHERE tenant = $1 AND generation = $2"
        ),
        Model::QcDecisions => delete!(
            "DELETE FROM read.qc_decisions WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.alerts WHERE tenant = $1 AND generation = $2"
        ),
        Model::Pipelines => delete!(
            "DELETE FROM read.pipelines WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.pipeline_versions WHERE tenant = $1 AND generation = $2"
        ),
        Model::Signals => delete!("DELETE FROM read.signals WHERE tenant = $1 AND generation = $2"),
        Model::Master => delete!(
            "DELETE FROM read.products WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.partners WHERE tenant = $1 AND generation = $2"
        ),
        Model::Audit => delete!(
            "DELETE FROM read.audit WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.audit_state WHERE tenant = $1 AND generation = $2"
        ),
        Model::Access => delete!(
            "DELETE FROM read.access_sites WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.access_users WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.access_memberships WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.access_keys WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.access_grants WHERE tenant = $1 AND generation = $2"
        ),
        Model::Scenarios => delete!(
            "DELETE FROM read.scenarios WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.scenario_versions WHERE tenant = $1 AND generation = $2"
        ),
        Model::Runs => delete!(
            "DELETE FROM read.runs WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.run_phases WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.run_lots WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.run_decisions WHERE tenant = $1 AND generation = $2"
        ),
        Model::Samples => delete!(
            "DELETE FROM read.signal_latest WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.signal_history WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.signal_seen WHERE tenant = $1 AND generation = $2",
            "DELETE FROM read.signal_reject WHERE tenant = $1 AND generation = $2"
        ),
    }
}

//! Whether the database has the schemas of this version, found out without changing anything.

use anyhow::{Context, bail};
use sqlx::PgPool;
use sqlx::migrate::Migrator;

use lotline_adapters::log::postgres;

/// The migrations that `lotline_projections::migrate` applies.
static READ: Migrator = sqlx::migrate!("../projections/migrations");

/// Refuses a database that `lotline migrate` would have to change first.
///
/// # Errors
/// One line that says which schema is missing, behind or ahead, and what to do.
pub async fn check(pool: &PgPool, place: &str) -> anyhow::Result<()> {
    for (schema, table, question, migrator) in [
        (
            "log",
            "log._sqlx_migrations",
            "SELECT version FROM log._sqlx_migrations WHERE success",
            postgres::migrations(),
        ),
        ("read", "read._sqlx_migrations", "SELECT version FROM read._sqlx_migrations WHERE success", &READ),
    ] {
        let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(table)
            .fetch_one(pool)
            .await
            .with_context(|| format!("the database {place} can't be read"))?;
        if !exists {
            bail!(
                "the database {place} has no schema '{schema}' yet: run `lotline migrate`, or `lotline serve`, which does it too"
            );
        }
        let applied: Vec<i64> = sqlx::query_scalar(question)
            .fetch_all(pool)
            .await
            .with_context(|| format!("the migrations of schema '{schema}' can't be read"))?;
        compare(schema, place, migrator.iter().map(|migration| migration.version), &applied)?;
    }
    Ok(())
}

fn compare(schema: &str, place: &str, known: impl Iterator<Item = i64>, applied: &[i64]) -> anyhow::Result<()> {
    let known: Vec<i64> = known.collect();
    if let Some(newer) = applied.iter().find(|version| !known.contains(version)) {
        bail!(
            "schema '{schema}' of the database {place} has migration {newer}, which this version of lotline does not know: use the \
             version that made it, or a later one"
        );
    }
    let missing = known.iter().filter(|version| !applied.contains(version)).count();
    if missing > 0 {
        bail!(
            "schema '{schema}' of the database {place} lacks {missing} migrations of this version: run `lotline migrate`"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_and_ahead_are_told_apart() {
        let verdict =
            |applied: &[i64]| compare("log", "h:1/d", [1, 2, 3].into_iter(), applied).map_err(|e| e.to_string());
        assert_eq!(verdict(&[1, 2, 3]), Ok(()));
        assert!(verdict(&[1]).unwrap_err().contains("lacks 2 migrations of this version: run `lotline migrate`"));
        assert!(verdict(&[1, 2, 3, 4]).unwrap_err().contains("has migration 4, which this version"));
    }
}

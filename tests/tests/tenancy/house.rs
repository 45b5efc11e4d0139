//! Two tenants in one database, and whoever signs in there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lotline_adapters::log::postgres;
use lotline_adapters::tenancy;
use lotline_domain::id::TenantId;
use lotline_tests::stack::{self, Database};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

/// Insufficient privilege.
pub(crate) const REFUSED: &str = "42501";

/// Tables that belong to no tenant, and why not. All others are found in the catalogue.
pub(crate) const NOBODYS: [(&str, &str); 3] = [
    ("log._sqlx_migrations", "which migrations of the log have run; the server can't read it"),
    ("read._sqlx_migrations", "the same of the read models"),
    (
        "vault.cluster_secret",
        "what nodes signed with before; nobody reads it any more, and backups of then have a row for it",
    ),
];

pub(crate) fn is_nobodys(table: &str) -> bool {
    NOBODYS.iter().any(|(name, _)| *name == table)
}

/// Two tenants in one database, with a row of each in every table.
pub(crate) struct House {
    pub(crate) database: Database,
    /// Names of this run's, since roles belong to the whole cluster.
    pub(crate) mine: TenantId,
    pub(crate) others: TenantId,
    /// Every table that belongs to tenants, with its columns and their types.
    pub(crate) tables: BTreeMap<String, Vec<(String, String)>>,
}

impl House {
    pub(crate) async fn new() -> Self {
        let database = stack::database("tenancy").await;
        postgres::migrate(&database.pool).await.unwrap();
        lotline_projections::migrate(&database.pool).await.unwrap();
        let [mine, others] = ["mine", "others"].map(|name| TenantId::new(stack::unique(name)).unwrap());
        for tenant in [&mine, &others] {
            tenancy::admit(&database.pool, tenant).await.unwrap();
        }
        let tables = tables(&database.pool).await;
        let house = Self { database, mine, others, tables };
        house.furnish().await;
        house
    }

    /// Rows need not make sense, so what would ask for that is taken away.
    async fn furnish(&self) {
        let constraints: Vec<(String, String)> = sqlx::query_as(
            "SELECT conrelid::regclass::text, quote_ident(conname) FROM pg_constraint
             WHERE contype IN ('c', 'f') AND connamespace::regnamespace::text IN ('log', 'vault', 'cluster', 'access', 'read')",
        )
        .fetch_all(&self.database.pool)
        .await
        .unwrap();
        for (table, constraint) in constraints {
            run(&self.database.pool, &format!("ALTER TABLE {table} DROP CONSTRAINT {constraint}")).await.unwrap();
        }
        for table in self.tables.keys() {
            for tenant in [&self.mine, &self.others] {
                run(&self.database.pool, &self.insert(table, tenant)).await.unwrap();
            }
        }
    }

    pub(crate) fn insert(&self, table: &str, tenant: &TenantId) -> String {
        let columns = &self.tables[table];
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let values: Vec<String> = columns.iter().map(|(name, kind)| value(name, kind, tenant)).collect();
        format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "))
    }

    /// Somebody who signs in as the tenant's role itself, and is a member of nothing else.
    pub(crate) async fn signed_in(&self, role: &str) -> PgPool {
        run(&self.database.pool, &format!("ALTER ROLE \"{role}\" LOGIN")).await.unwrap();
        let options: PgConnectOptions = self.database.url.parse().unwrap();
        PgPoolOptions::new().max_connections(2).connect_with(options.username(role)).await.unwrap()
    }

    /// The server of the tenant `mine`.
    pub(crate) async fn server(&self) -> PgPool {
        self.signed_in(&tenancy::app_role(&self.mine)).await
    }

    /// All rows of the other tenant, by table.
    pub(crate) async fn rows_of_others(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for table in self.tables.keys() {
            let question = format!("SELECT t::text FROM {table} AS t WHERE t::text LIKE '%{}%'", self.others);
            let found: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(question)).fetch_all(&self.database.pool).await.unwrap();
            assert_eq!(found.len(), 1, "{table} is furnished");
            rows.extend(found);
        }
        rows
    }

    /// How many rows of each table somebody sees.
    pub(crate) async fn seen(&self, db: &mut PgConnection) -> Vec<(String, Result<i64, String>)> {
        let mut seen = Vec::new();
        for table in self.tables.keys() {
            let question = format!("SELECT count(*) FROM {table}");
            let count = sqlx::query_scalar(AssertSqlSafe(question)).fetch_one(&mut *db).await;
            seen.push((table.clone(), count.map_err(|error| code(&error))));
        }
        seen
    }
}

async fn tables(pool: &PgPool) -> BTreeMap<String, Vec<(String, String)>> {
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT a.attrelid::regclass::text, quote_ident(a.attname), format_type(a.atttypid, NULL)
         FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
         WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
             AND c.relnamespace::regnamespace::text !~ '^pg_|^information_schema$' ORDER BY 1, a.attnum",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (table, column, kind) in columns {
        if !is_nobodys(&table) {
            tables.entry(table).or_default().push((column, kind));
        }
    }
    tables
}

/// Something that fits the column, and says whose it is where the column does.
pub(crate) fn value(name: &str, kind: &str, tenant: &TenantId) -> String {
    let topic = format!("lotline.{tenant}.ledger.v1");
    match (name, kind) {
        ("tenant", _) => format!("'{tenant}'"),
        ("topic", _) => format!("'{topic}'"),
        ("pool", _) => format!("'writers/{topic}'"),
        // Some are unique across tenants.
        (_, "bytea") => format!("sha256('{tenant}')"),
        (_, "text") => "'x'".to_owned(),
        (_, "boolean") => "true".to_owned(),
        (_, "uuid") => "'00000000-0000-7000-8000-000000000000'".to_owned(),
        (_, "json" | "jsonb") => "'{}'".to_owned(),
        (_, "smallint" | "integer" | "bigint" | "numeric" | "double precision") => "0".to_owned(),
        (_, "date") => "'2026-01-01'".to_owned(),
        (_, "timestamp with time zone") => "'2026-01-01Z'".to_owned(),
        (_, list) if list.ends_with("[]") => "'{}'".to_owned(),
        _ => panic!("the test knows no value of type {kind} for {name}: add one"),
    }
}

pub(crate) fn code(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(DatabaseError::code).map(Cow::into_owned);
    code.unwrap_or_else(|| panic!("PostgreSQL answers: {error}"))
}

/// Rows that a statement has touched, or why it was refused.
pub(crate) async fn run(pool: &PgPool, statement: &str) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(pool).await?;
    Ok(done.rows_affected())
}

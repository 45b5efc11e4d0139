//! Rows are of a tenant, and PostgreSQL keeps to it: in every table that the catalogue names, for the login of a server that has been talked into
//! any statement.

#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use lotline_adapters::log::postgres;
use lotline_adapters::tenancy::{self, Protection};
use lotline_domain::id::TenantId;
use lotline_tests::stack::{self, Database};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

const REFUSED: &str = "42501";

/// Tables that belong to no tenant: which migrations have run, and the secret of the nodes.
const NOBODYS: [&str; 3] = ["log._sqlx_migrations", "read._sqlx_migrations", "vault.cluster_secret"];

/// Two tenants in one database, with a row of each in every table.
struct House {
    database: Database,
    /// Names of this run's, since roles belong to the whole cluster.
    mine: TenantId,
    others: TenantId,
    /// Every table that belongs to tenants, with its columns and their types.
    tables: BTreeMap<String, Vec<(String, String)>>,
}

impl House {
    async fn new() -> Self {
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

    fn insert(&self, table: &str, tenant: &TenantId) -> String {
        let columns = &self.tables[table];
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let values: Vec<String> = columns.iter().map(|(name, kind)| value(name, kind, tenant)).collect();
        format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "))
    }

    /// Somebody who signs in as the tenant's role itself, and is a member of nothing else.
    async fn signed_in(&self, role: &str) -> PgPool {
        run(&self.database.pool, &format!("ALTER ROLE \"{role}\" LOGIN")).await.unwrap();
        let options: PgConnectOptions = self.database.url.parse().unwrap();
        PgPoolOptions::new().max_connections(2).connect_with(options.username(role)).await.unwrap()
    }

    /// The server of the tenant `mine`.
    async fn server(&self) -> PgPool {
        self.signed_in(&tenancy::app_role(&self.mine)).await
    }

    /// All rows of the other tenant, by table.
    async fn rows_of_others(&self) -> Vec<String> {
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
    async fn seen(&self, db: &mut PgConnection) -> Vec<(String, Result<i64, String>)> {
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
        if !NOBODYS.contains(&table.as_str()) {
            tables.entry(table).or_default().push((column, kind));
        }
    }
    tables
}

/// Something that fits the column, and says whose it is where the column does.
fn value(name: &str, kind: &str, tenant: &TenantId) -> String {
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
        (_, "integer" | "bigint" | "numeric" | "double precision") => "0".to_owned(),
        (_, "date") => "'2026-01-01'".to_owned(),
        (_, "timestamp with time zone") => "'2026-01-01Z'".to_owned(),
        (_, list) if list.ends_with("[]") => "'{}'".to_owned(),
        _ => panic!("the test knows no value of type {kind} for {name}: add one"),
    }
}

fn code(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(DatabaseError::code).map(Cow::into_owned);
    code.unwrap_or_else(|| panic!("PostgreSQL answers: {error}"))
}

/// Rows that a statement has touched, or why it was refused.
async fn run(pool: &PgPool, statement: &str) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(pool).await?;
    Ok(done.rows_affected())
}

/// Fails for a new table that nobody thought of.
#[tokio::test]
async fn every_table_has_its_policy_and_its_readers() {
    let house = House::new().await;
    let guarded: Vec<(String, bool, i64, bool, bool)> = sqlx::query_as(
        "SELECT c.oid::regclass::text, c.relrowsecurity,
             (SELECT count(*) FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polcmd = '*' AND p.polroles = '{0}'),
             has_table_privilege('lotline_app', c.oid, 'SELECT'), has_table_privilege('lotline_read', c.oid, 'SELECT')
         FROM pg_class AS c
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace::regnamespace::text !~ '^pg_|^information_schema$'",
    )
    .fetch_all(&house.database.pool)
    .await
    .unwrap();
    assert!(guarded.len() > 40, "{guarded:?}");
    for (name, enabled, policies, app, read) in guarded {
        if NOBODYS.contains(&name.as_str()) {
            assert!(!read && (!app || name == "vault.cluster_secret"), "{name} belongs to no tenant");
            continue;
        }
        // Policies add up, so a second one could only open what the first closes.
        assert!(enabled && policies == 1, "{name} has row-level security and one policy for all: {policies}");
        assert!(app, "the server can read {name}");
        assert_eq!(read, name.starts_with("read."), "dashboards read the read models, and {name} is or is not one");
    }
}

#[tokio::test]
async fn nobody_sees_rows_of_another_tenant() {
    let house = House::new().await;
    let mut server = house.server().await.acquire().await.unwrap();
    for (table, seen) in house.seen(&mut server).await {
        assert_eq!(seen, Ok(1), "{table}");
        let question = format!("SELECT count(*) FROM {table} AS t WHERE t::text LIKE '%{}%'", house.others);
        let others: i64 = sqlx::query_scalar(AssertSqlSafe(question)).fetch_one(&mut *server).await.unwrap();
        assert_eq!(others, 0, "{table}");
    }
    let mut dashboard = house.signed_in(&format!("lotline_read:{}", house.mine)).await.acquire().await.unwrap();
    for (table, seen) in house.seen(&mut dashboard).await {
        let expected = if table.starts_with("read.") { Ok(1) } else { Err(REFUSED.to_owned()) };
        assert_eq!(seen, expected, "{table}");
    }
    // Without a tenant there is nothing to see.
    for role in [tenancy::APP_ROLE, tenancy::READ_ROLE] {
        let mut tx = house.database.pool.begin().await.unwrap();
        sqlx::query(AssertSqlSafe(format!("SET LOCAL ROLE {role}"))).execute(&mut *tx).await.unwrap();
        for table in house.tables.keys().filter(|table| table.starts_with("read.")) {
            let question = format!("SELECT count(*) FROM {table}");
            let seen: i64 = sqlx::query_scalar(AssertSqlSafe(question)).fetch_one(&mut *tx).await.unwrap();
            assert_eq!(seen, 0, "{role} in {table}");
        }
    }
}

#[tokio::test]
async fn nobody_writes_rows_of_another_tenant() {
    let house = House::new().await;
    let server = house.server().await;
    let before = house.rows_of_others().await;
    for (table, columns) in &house.tables {
        let refused = run(&server, &house.insert(table, &house.others)).await.unwrap_err();
        assert_eq!(code(&refused), REFUSED, "{table}: {refused}");
        // As the tables say, or not a row of others.
        let mut statements = vec![format!("DELETE FROM {table}")];
        statements.extend(columns.iter().map(|(name, _)| format!("UPDATE {table} SET {name} = {name}")));
        for (name, kind) in columns {
            statements.push(format!("UPDATE {table} SET {name} = {}", value(name, kind, &house.others)));
        }
        for statement in statements {
            let mut tx = server.begin().await.unwrap();
            match sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut *tx).await {
                Ok(done) => assert!(done.rows_affected() <= 1, "{statement}"),
                Err(refused) => assert_eq!(code(&refused), REFUSED, "{statement}: {refused}"),
            }
            tx.rollback().await.unwrap();
        }
        let emptied = run(&server, &format!("TRUNCATE {table} CASCADE")).await.unwrap_err();
        assert_eq!(code(&emptied), REFUSED, "{table}: {emptied}");
        if table.starts_with("read.") {
            let refused = run(&server, &house.insert(table, &house.mine)).await.unwrap_err();
            assert_eq!(code(&refused), REFUSED, "the server does not write {table}, not even its own rows");
        }
    }
    for statement in ["UPDATE log.record SET value = ''", "DELETE FROM log.record", "DELETE FROM log.topic"] {
        assert_eq!(code(&run(&server, statement).await.unwrap_err()), REFUSED, "{statement}");
    }
    // What a statement did not find it may have changed all the same, or another has.
    let statements = house.tables.keys().map(|table| format!("DELETE FROM {table}"));
    for statement in statements.filter(|statement| !statement.contains("log.")) {
        drop(run(&server, &statement).await);
    }
    assert_eq!(house.rows_of_others().await, before);
}

/// Whatever makes somebody else of the connection is refused, or makes it somebody who sees nothing.
#[tokio::test]
async fn the_servers_login_becomes_nobody_else() {
    let house = House::new().await;
    let server = house.server().await;
    let me = tenancy::app_role(&house.mine);
    let roles: Vec<String> = sqlx::query_scalar("SELECT rolname::text FROM pg_roles").fetch_all(&server).await.unwrap();
    assert!(roles.contains(&tenancy::app_role(&house.others)));
    let options: PgConnectOptions = server.connect_options().as_ref().clone();
    let mut became = Vec::new();
    for role in roles.iter().filter(|role| **role != me) {
        let mut db = PgConnection::connect_with(&options).await.unwrap();
        for way in [
            format!("SELECT set_config('role', '{role}', false)"),
            format!("SET SESSION AUTHORIZATION \"{role}\""),
            format!("GRANT \"{role}\" TO \"{me}\""),
        ] {
            match sqlx::query(AssertSqlSafe(way.clone())).execute(&mut db).await {
                Ok(_) => became.push(role.clone()),
                Err(refused) => assert_eq!(code(&refused), REFUSED, "{way}: {refused}"),
            }
        }
        let now: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut db).await.unwrap();
        if now != me {
            assert!(house.seen(&mut db).await.iter().all(|(_, seen)| *seen == Ok(0)), "{now} sees rows");
        }
    }
    assert_eq!(became, [tenancy::APP_ROLE]);
}

#[tokio::test]
async fn the_server_can_not_lift_the_rule() {
    let house = House::new().await;
    let server = house.server().await;
    let (me, other) = (tenancy::app_role(&house.mine), tenancy::app_role(&house.others));
    for statement in [
        "ALTER TABLE read.lots DISABLE ROW LEVEL SECURITY".to_owned(),
        "ALTER TABLE log.record DISABLE TRIGGER append_only".to_owned(),
        "ALTER TABLE read.lots OWNER TO CURRENT_USER".to_owned(),
        "DROP POLICY of_tenant ON read.lots".to_owned(),
        "ALTER POLICY of_tenant ON read.lots USING (true)".to_owned(),
        "CREATE POLICY mine ON read.lots USING (true)".to_owned(),
        "CREATE VIEW read.mine AS SELECT * FROM read.lots".to_owned(),
        "CREATE ROLE \"lotline_app:mine\"".to_owned(),
        "ALTER ROLE CURRENT_USER BYPASSRLS".to_owned(),
        format!("ALTER ROLE \"{other}\" RENAME TO \"{other}2\""),
        format!("SELECT log.admit_tenant('{}')", house.others),
        "SELECT read.bind_to_tenant('read.lots')".to_owned(),
        "SET session_replication_role = replica".to_owned(),
        "COPY log.record FROM PROGRAM 'true'".to_owned(),
    ] {
        let refused = run(&server, &statement).await.expect_err(&statement);
        assert_eq!(code(&refused), REFUSED, "{statement}: {refused}");
    }
    // Nor under another name. PostgreSQL refuses that as something that it can't do.
    let renamed = run(&server, &format!("ALTER ROLE \"{me}\" RENAME TO \"{other}3\"")).await.unwrap_err();
    assert_eq!(code(&renamed), "0A000", "{renamed}");
    // A grant of what one may not give is no error, and does nothing.
    run(&server, "GRANT ALL ON read.lots TO PUBLIC").await.unwrap();
    let open: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE oid = 'read.lots'::regclass AND grantee = 0",
    )
    .fetch_one(&server)
    .await
    .unwrap();
    assert_eq!(open, 0);
    // Turned off, the rule is not lifted, but rows are refused altogether.
    let mut db = server.acquire().await.unwrap();
    sqlx::raw_sql("SET row_security = off").execute(&mut *db).await.unwrap();
    assert!(house.seen(&mut db).await.iter().all(|(_, seen)| *seen == Err(REFUSED.to_owned())));
    // Names that a statement may take over in its own session do not reach into the policies.
    sqlx::raw_sql("SET row_security = on; SET search_path = pg_temp, public; SET lotline.tenant = 'x'")
        .execute(&mut *db)
        .await
        .unwrap();
    sqlx::raw_sql(
        "CREATE FUNCTION pg_temp.split_part(text, text, integer) RETURNS text LANGUAGE sql AS 'SELECT ''x'''",
    )
    .execute(&mut *db)
    .await
    .unwrap();
    assert!(house.seen(&mut db).await.iter().all(|(_, seen)| *seen == Ok(1)));
}

/// What `lotline doctor` goes by.
#[tokio::test]
async fn it_is_known_how_far_the_protection_goes() {
    let house = House::new().await;
    let whole = tenancy::protection(&house.server().await).await.unwrap();
    let me = tenancy::app_role(&house.mine);
    let none = Vec::new();
    let expected =
        Protection { role: me.clone(), login: me, bypasses: false, owns: false, others: none.clone(), open: none };
    assert_eq!(whole, expected);
    // The default: the owner's login, in the tenant's role.
    let single = stack::bound(&house.database, &house.mine, 1).await;
    let found = tenancy::protection(&single).await.unwrap();
    assert!(found.owns && !found.bypasses && found.login == "lotline", "{found:?}");
    assert!(found.others.contains(&tenancy::app_role(&house.others)), "{found:?}");
    run(&house.database.pool, "CREATE TABLE read.forgotten (tenant TEXT)").await.unwrap();
    run(&house.database.pool, "GRANT SELECT ON read.forgotten TO lotline_app").await.unwrap();
    assert_eq!(tenancy::protection(&single).await.unwrap().open, ["read.forgotten"]);
}

/// PostgreSQL would cut the name of the role, and what is left may be that of somebody else.
#[tokio::test]
async fn a_tenant_whose_role_would_be_cut_is_not_admitted() {
    let database = stack::database("tenancy").await;
    postgres::migrate(&database.pool).await.unwrap();
    let longest = TenantId::new(format!("{:0>1$}", stack::unique("x"), tenancy::MAX_TENANT_BYTES)).unwrap();
    tenancy::admit(&database.pool, &longest).await.unwrap();
    tenancy::admit(&database.pool, &longest).await.unwrap();
    assert!(tenancy::is_admitted(&database.pool, &longest).await.unwrap());
    let longer = TenantId::new(format!("{longest}y")).unwrap();
    let refused = tenancy::admit(&database.pool, &longer).await.unwrap_err();
    assert_eq!(code(&refused), "42622", "{refused}");
    assert!(!tenancy::is_admitted(&database.pool, &longer).await.unwrap());
}

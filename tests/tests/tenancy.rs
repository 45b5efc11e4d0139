//! Rows are of a tenant, and PostgreSQL keeps to it: in every table that the catalogue names, for the login of a server that has been talked into
//! any statement.

#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

use futures_util::future::join_all;
use lotline_adapters::log::postgres;
use lotline_adapters::tenancy::{self, Protection};
use lotline_domain::id::TenantId;
use lotline_tests::stack::{self, Services};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

#[path = "tenancy/breaches.rs"]
mod breaches;
#[path = "tenancy/house.rs"]
mod house;
#[path = "tenancy/plans.rs"]
mod plans;
#[path = "tenancy/ways.rs"]
mod ways;

use house::{House, REFUSED, code, run, value};

/// Roles are of the whole cluster, so all want to make and grant the same ones.
#[tokio::test]
async fn many_databases_of_a_new_cluster_are_migrated_at_the_same_moment() {
    let cluster = Services::start("roles", &["postgres"]).await;
    let url = cluster.setting("STACK_POSTGRES_URL").await;
    let mut databases = Vec::new();
    for _ in 0..12 {
        databases.push(stack::database_at(&url, "roles").await);
    }
    // The read models make the role, so that nobody is a member of it yet.
    let prepared = databases.iter().map(async |database| lotline_projections::migrate(&database.pool).await.unwrap());
    join_all(prepared).await;
    let migrated = databases.iter().map(async |database| {
        postgres::migrate(&database.pool).await.unwrap();
        tenancy::admit(&database.pool, &TenantId::new("dairy").unwrap()).await.unwrap();
    });
    join_all(migrated).await;
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
                // That one has the owner of the database as its only member, says every version in its own way.
                Err(refused) => assert!(code(&refused) == REFUSED || role == "pg_database_owner", "{way}: {refused}"),
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
    let expected = Protection {
        role: me.clone(),
        login: me,
        bypasses: false,
        owns: false,
        makes_roles: false,
        others: none.clone(),
        open: none,
    };
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

/// Another owner in the same cluster has not made the roles that are there, and one without CREATEROLE can make none: both are helped by hand.
#[tokio::test]
async fn owners_are_told_of_roles_that_they_may_not_make() {
    let database = stack::database("tenancy").await;
    let options: PgConnectOptions = database.url.parse().unwrap();
    let mut admin = PgConnection::connect_with(&options.clone().username("postgres")).await.unwrap();
    let (keeper, tenant) = (stack::unique("keeper"), TenantId::new(stack::unique("guest")).unwrap());
    postgres::migrate(&database.pool).await.unwrap();
    let helped = format!(
        "CREATE ROLE \"{keeper}\" LOGIN CREATEROLE;
         GRANT lotline_app, lotline_read TO \"{keeper}\" WITH ADMIN OPTION;
         DROP SCHEMA log, vault, cluster, access CASCADE;
         GRANT ALL ON DATABASE {} TO \"{keeper}\"",
        options.get_database().unwrap()
    );
    sqlx::raw_sql(AssertSqlSafe(helped)).execute(&mut admin).await.unwrap();
    let pool = sqlx::PgPool::connect_with(options.username(&keeper)).await.unwrap();
    postgres::migrate(&pool).await.unwrap();
    lotline_projections::migrate(&pool).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("ALTER ROLE \"{keeper}\" NOCREATEROLE"))).execute(&mut admin).await.unwrap();
    let refused = tenancy::admit(&pool, &tenant).await.unwrap_err();
    assert_eq!(code(&refused), REFUSED, "{refused}");
    // What the message of `lotline migrate` and decision 14 ask for.
    for kind in [tenancy::APP_ROLE, tenancy::READ_ROLE] {
        let made = format!("CREATE ROLE \"{kind}:{tenant}\" NOLOGIN; GRANT \"{kind}:{tenant}\" TO \"{keeper}\"");
        sqlx::raw_sql(AssertSqlSafe(made)).execute(&mut admin).await.unwrap();
    }
    tenancy::admit(&pool, &tenant).await.unwrap();
    let rights: bool = sqlx::query_scalar("SELECT pg_has_role($1, 'lotline_app', 'USAGE')")
        .bind(tenancy::app_role(&tenant))
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert!(rights, "a role that was made by hand gets the rights of its kind");
    postgres::migrate(&pool).await.unwrap();
}

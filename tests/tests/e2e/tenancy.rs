//! Row-level security comes to what was there before it: a database of an earlier version, and a cluster that knows no role of ours.

use std::process::{Command, Output};
use std::time::Duration;

use lotline_adapters::log::postgres;
use lotline_adapters::tenancy;
use lotline_domain::id::TenantId;
use lotline_tests::client::{Client, decision, lot};
use lotline_tests::server::Log;
use lotline_tests::stack::{self, Database, Services};
use serde_json::json;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};

use crate::site::{Plant, SITE};
use crate::tools::{said, tool};

/// The last migrations of the version before, which knew no tenants in PostgreSQL.
const BEFORE: [(&str, i64); 2] = [("log", 8), ("read", 12)];

/// Columns that have come since then to tables that were there.
const SINCE: [(&str, &str); 5] = [
    ("read.lots", "transformation_id"),
    ("read.lots", "expired"),
    ("read.genealogy", "partition"),
    ("read.genealogy", "log_offset"),
    ("read.genealogy", "decided_at"),
];

async fn run(pool: &PgPool, statement: &str) {
    pool.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
}

/// A program of this PostgreSQL.
fn program(name: &str) -> Command {
    Command::new(stack::postgres_programs().join(name))
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("the program of PostgreSQL starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The tables as the version before has left them.
async fn migrate_to_before(database: &Database) {
    for (schema, last) in BEFORE {
        let all = if schema == "log" {
            postgres::migrations().migrations.to_vec()
        } else {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../projections/migrations");
            Migrator::new(std::path::Path::new(folder)).await.unwrap().migrations.to_vec()
        };
        let known: Vec<_> = all.into_iter().filter(|migration| migration.version <= last).collect();
        let mut migrator = Migrator { migrations: known.into(), ..Migrator::DEFAULT };
        migrator.dangerous_set_table_name(format!("{schema}._sqlx_migrations"));
        migrator.create_schema(schema);
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))).await.unwrap();
        connection.execute(AssertSqlSafe(format!("SET search_path = {schema}"))).await.unwrap();
        migrator.run(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// A plant that has worked: two lots, a decision and a sample.
async fn work(plant: &Plant) {
    let mut server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    ann.mutate("registerLot", "", &lot(SITE, "L-1", "5", &[])).await;
    ann.mutate("registerLot", "", &lot(SITE, "L-2", "5", &[("L-1", "2")])).await;
    // A HOLD would bring a hold and an alert, which no log from before has.
    ann.mutate("recordQcDecision", "", &decision(SITE, "L-1", "PASS")).await;
    plant.sample(1, 1.5).await;
    plant.assert_tables_equal_the_log(&ann).await;
    assert!(server.stop(Duration::from_secs(20)).await, "{}", server.printed());
}

/// As operators have it who have followed the README: nobody can sign in by it before `lotline migrate` has made the role.
fn set_serve_url(plant: &mut Plant) {
    let url = plant.settings.database.replace("lotline@", &format!("lotline_app%3A{}@", plant.settings.tenant));
    plant.settings.environment.push(("LOTLINE_POSTGRES__SERVE_URL".into(), url));
}

/// What was there is served, and more is added, in the tenant's own role and no other.
async fn goes_on(plant: &Plant) {
    run(&plant.database.pool, &format!("ALTER ROLE \"lotline_app:{}\" LOGIN", plant.settings.tenant)).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    assert_eq!(ann.refused("registerLot", &lot(SITE, "L-1", "1", &[])).await, "DUPLICATE_LOT_CODE");
    ann.mutate("registerLot", "", &lot(SITE, "L-3", "5", &[("L-2", "1")])).await;
    plant.sample(2, 2.5).await;
    let oracle = plant.assert_tables_equal_the_log(&ann).await;
    assert_eq!(oracle.world.lots.len(), 3);
    let data = ann.query("{ lots(site: \"north\", first: 9) { edges { node { code } } } }", &json!({})).await;
    let mut codes: Vec<&str> =
        data["lots"]["edges"].as_array().unwrap().iter().filter_map(|edge| edge["node"]["code"].as_str()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["L-1", "L-2", "L-3"]);
    let wrong = "SELECT COUNT(*) FROM read.genealogy AS edge JOIN read.lots AS lot ON lot.id = edge.child_id \
                 WHERE edge.decided_at <> lot.decided_at";
    let wrong: i64 = sqlx::query_scalar(wrong).fetch_one(&plant.database.pool).await.unwrap();
    assert_eq!(wrong, 0, "edges were decided with the lots that they lead to");
    let doctor = said(&tool(plant, &["doctor"]));
    assert!(doctor.lines().any(|line| line.starts_with("rows") && line.contains("can become nobody else")), "{doctor}");
}

#[tokio::test]
async fn a_database_from_before_is_brought_over_with_its_rows() {
    let plant = Plant::new("upgrade", Log::Postgres).await;
    work(&plant).await;
    // The same rows as the version before would have left them: its tables, and no role of the tenant.
    let older = stack::database("upgrade").await;
    migrate_to_before(&older).await;
    for (table, column) in SINCE {
        run(&plant.database.pool, &format!("ALTER TABLE {table} DROP COLUMN {column}")).await;
    }
    let file = plant.settings.folder.join("rows.dump");
    let options = ["--format", "custom", "--data-only", "--exclude-table", "*._sqlx_migrations", "--file"];
    let younger = [
        "vault.node_secret",
        "cluster.heard",
        "read.products",
        "read.partners",
        "read.transformations",
        "read.stock_changes",
        "read.receipts",
        "read.shipments",
        "read.shipment_lots",
        "read.scenarios",
        "read.scenario_versions",
        "read.runs",
        "read.run_phases",
        "read.run_lots",
        "read.run_decisions",
        "read.alerts",
        "read.holds",
        "read.held_lots",
    ];
    let without = younger.into_iter().flat_map(|table| ["--exclude-table", table]);
    done(program("pg_dump").arg(&plant.settings.database).args(without).args(options).arg(&file));
    plant.database.pool.close().await;
    done(program("pg_restore").args(["--exit-on-error", "--dbname", &older.url]).arg(&file));
    let tenant = TenantId::new(plant.settings.tenant.as_str()).unwrap();
    run(&older.pool, "INSERT INTO vault.cluster_secret (secret) VALUES (sha256('before'))").await;
    for role in ["lotline_app", "lotline_read"] {
        run(&older.pool, &format!("DROP ROLE \"{role}:{tenant}\"")).await;
    }
    let mut plant = Plant { database: older, ..plant };
    plant.settings.database.clone_from(&plant.database.url);
    set_serve_url(&mut plant);

    let refused = tool(&plant, &["doctor"]);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && complaint.contains("lacks 2 migrations of this version"), "{complaint}");
    said(&tool(&plant, &["migrate"]));
    said(&tool(&plant, &["migrate"]));
    assert!(tenancy::is_admitted(&plant.database.pool, &tenant).await.unwrap());
    goes_on(&plant).await;
}

/// Roles belong to a cluster and are in no dump of a database. The runbook says what has to be done about it, and this does it.
#[tokio::test]
async fn a_whole_dump_goes_into_a_cluster_without_roles() {
    let plant = Plant::new("whole", Log::Postgres).await;
    work(&plant).await;
    let file = plant.settings.folder.join("whole.dump");
    done(program("pg_dump").arg(&plant.settings.database).args(["--format", "custom", "--file"]).arg(&file));

    let services = Services::start("roleless", &["postgres"]).await;
    let base = services.setting("STACK_POSTGRES_URL").await;
    let database = stack::database_at(&base, "restored").await;
    let dump = |database: &Database| {
        let mut command = program("pg_restore");
        command.args(["--exit-on-error", "--single-transaction", "--dbname", &database.url]).arg(&file);
        command
    };
    let refused = dump(&database).output().unwrap();
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && complaint.contains("role \"lotline_app\" does not exist"), "{complaint}");
    for role in ["lotline_app", "lotline_read"] {
        run(&database.pool, &format!("CREATE ROLE {role} NOLOGIN")).await;
    }
    done(&mut dump(&database));

    let mut plant = Plant { database, ..plant };
    plant.settings.database.clone_from(&plant.database.url);
    set_serve_url(&mut plant);
    let refused = tool(&plant, &["doctor"]);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && complaint.contains("run `lotline migrate`"), "{complaint}");
    said(&tool(&plant, &["migrate"]));
    goes_on(&plant).await;
}

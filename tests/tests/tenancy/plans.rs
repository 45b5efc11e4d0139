//! What the policies cost: the hot questions read no more rows than without them, and far fewer than there are.

use std::collections::BTreeMap;

use chrono::DateTime;
use lotline_domain::id::TenantId;
use lotline_projections::audit::{self, AuditFilter};
use lotline_projections::lots::{self, LotFilter};
use lotline_projections::page::Page;
use lotline_projections::samples::{self, TimeRange};
use lotline_projections::signals::{self, SignalKey};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};

use crate::house::{House, run, value};

/// Rows of each tenant in each of [`TABLES`].
const ROWS: i64 = 20_000;
const TABLES: [&str; 6] =
    ["read.lots", "read.audit", "read.signals", "read.signal_latest", "read.signal_history", "log.record"];
const QUESTIONS: [&str; 8] =
    ["lots", "a lot", "the trail", "the trail of a lot", "signals", "latest values", "a window", "the log"];

/// An expression for the n-th row that fits the column.
fn nth(name: &str, kind: &str, tenant: &TenantId) -> String {
    match (name, kind) {
        ("tenant" | "topic", _) => value(name, kind, tenant),
        ("generation" | "partition", _) => "0".to_owned(),
        ("source_time" | "decided_at", _) => "'2026-01-01Z'::timestamptz + n * interval '1 s'".to_owned(),
        (_, "uuid") => "gen_random_uuid()".to_owned(),
        ("code" | "name" | "subject", _) => "'x-' || n".to_owned(),
        ("number", _) => "CASE WHEN n % 2 = 0 THEN 7 ELSE n END::integer".to_owned(),
        ("address", _) => {
            "'{\"protocol\": \"modbus\", \"unit\": 1, \"table\": \"holding_registers\", \"address\": 7, \"word_order\": \"ABCD\"}'".to_owned()
        }
        (_, "integer" | "bigint") => "n".to_owned(),
        _ => value(name, kind, tenant),
    }
}

async fn stock(house: &House) {
    for tenant in [&house.mine, &house.others] {
        for table in TABLES {
            let columns = &house.tables[table];
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            let values: Vec<String> = columns.iter().map(|(name, kind)| nth(name, kind, tenant)).collect();
            let rows = format!(
                "INSERT INTO {table} ({}) SELECT {} FROM generate_series(1, {ROWS}) AS n ON CONFLICT DO NOTHING",
                names.join(", "),
                values.join(", ")
            );
            assert!(run(&house.database.pool, &rows).await.unwrap() > ROWS as u64 / 3, "{rows}");
        }
        for model in ["lots", "audit", "signals", "samples"] {
            let live = format!(
                "INSERT INTO read.projection_generation (tenant, model, generation, state, version) VALUES ('{tenant}', '{model}', 0, 'live', '')"
            );
            run(&house.database.pool, &live).await.unwrap();
        }
    }
    run(&house.database.pool, "ANALYZE").await.unwrap();
}

/// Asks, and gives how many rows came.
async fn ask(pool: &PgPool, tenant: &TenantId, question: &str) -> usize {
    let key = |number| SignalKey { site: "x".into(), number };
    let subject = AuditFilter { subject: Some("x-77".into()), ..AuditFilter::default() };
    let (page, trail) = (Page::first(50), Page::first(50));
    match question {
        "lots" => lots::list(pool, tenant, &LotFilter::default(), &page).await.unwrap().len(),
        "a lot" => lots::find_by_code(pool, tenant, "x", "x-77").await.unwrap().into_iter().count(),
        "the trail" => audit::list(pool, tenant, &AuditFilter::default(), &trail).await.unwrap().len(),
        "the trail of a lot" => audit::list(pool, tenant, &subject, &trail).await.unwrap().len(),
        "signals" => signals::by_keys(pool, tenant, &[key(7), key(9)]).await.unwrap().len(),
        "latest values" => samples::latest(pool, tenant, &[key(7), key(9)]).await.unwrap().len(),
        "a window" => {
            let at = |second: i64| DateTime::from_timestamp(1_767_225_600 + second, 0).unwrap();
            let range = TimeRange { from: at(1_000), until: at(2_000) };
            samples::history(pool, tenant, &key(7), range, 100).await.unwrap().len()
        }
        "the log" => {
            let read = "SELECT position FROM log.record WHERE topic = $1 AND partition = 0 AND position >= $2 ORDER BY position LIMIT 100";
            let rows = sqlx::query_scalar::<_, i64>(read).bind(format!("lotline.{tenant}.ledger.v1")).bind(ROWS / 2);
            rows.fetch_all(pool).await.unwrap().len()
        }
        unknown => panic!("no such question: {unknown}"),
    }
}

/// Rows and rows of index entries that this pool's one connection has fetched so far in its transaction, of all tables. What other connections
/// have fetched is told seconds later, whenever they feel like it.
async fn fetched(pool: &PgPool) -> i64 {
    let counted =
        "SELECT COALESCE(SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0)), 0)::bigint FROM pg_stat_xact_user_tables";
    sqlx::query_scalar(counted).fetch_one(pool).await.unwrap()
}

async fn one(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
}

#[tokio::test]
async fn the_rule_makes_no_question_read_more() {
    let house = House::new().await;
    stock(&house).await;
    let owner = one(house.database.pool.connect_options().as_ref().clone()).await;
    let server = one(house.server().await.connect_options().as_ref().clone()).await;
    let mut read = BTreeMap::new();
    for question in QUESTIONS {
        for (who, pool) in [("owner", &owner), ("server", &server)] {
            run(pool, "BEGIN").await.unwrap();
            let before = fetched(pool).await;
            let rows = ask(pool, &house.mine, question).await;
            assert!(rows > 0, "{question} finds nothing as {who}");
            read.insert((question, who), fetched(pool).await - before);
            run(pool, "COMMIT").await.unwrap();
        }
        let (free, bound) = (read[&(question, "owner")], read[&(question, "server")]);
        assert!(free > 0 && free < ROWS / 10, "{question} reads {free} rows without the rule");
        assert!(bound <= free + 10, "{question} reads {bound} rows and not {free}");
    }
}

/// The role is looked at once a statement, not once a row.
#[tokio::test]
async fn the_tenant_is_told_once_a_statement() {
    let house = House::new().await;
    let server = house.server().await;
    for table in house.tables.keys() {
        let question = format!("EXPLAIN SELECT * FROM {table}");
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(question)).fetch_all(&server).await.unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains("InitPlan") && !plan.contains("SubPlan"), "{table}: {plan}");
    }
}

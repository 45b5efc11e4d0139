//! What the tables say, in the oracle's form. Of each model the rows that readers see.

use sqlx::PgPool;

use super::{Rows, World};

/// `$time` and `$number` stand for how the oracle writes those.
const LOTS: &str = "SELECT id::TEXT, jsonb_build_object('site', site, 'code', code, 'type', lot_type, 'product', product,
        'quantity', $number(quantity), 'unit', unit, 'temperature', $number(temperature_c), 'supplier_lot', supplier_lot,
        'expires_on', expires_on::TEXT, 'location', location, 'attributes', attributes, 'qc', qc_status, 'actor', actor,
        'occurred', $time(occurred_at), 'decided', $time(decided_at), 'version', version, 'remaining', $number(remaining_base),
        'expired', expired, 'made_by', transformation_id)
    FROM read.lots WHERE $live('lots')";
const EDGES: &str = "SELECT child_id || '/' || parent_id, to_jsonb($number(quantity_base)) FROM read.genealogy WHERE $live('genealogy')";
const TRANSFORMATIONS: &str =
    "SELECT id::TEXT, jsonb_build_object('site', site, 'kind', kind, 'inputs', inputs, 'outputs', outputs, 'loss', loss,
        'gain', gain, 'step', step, 'location', location, 'documents', documents, 'reason', reason, 'actor', actor,
        'occurred', $time(occurred_at), 'decided', $time(decided_at), 'sequence', sequence)
    FROM read.transformations WHERE $live('genealogy')";
const STOCK_CHANGES: &str =
    "SELECT lot_id || '/' || sequence, jsonb_build_object('site', site, 'kind', kind, 'quantity', $number(quantity), 'unit', unit,
        'base', $number(quantity_base), 'reason', reason, 'actor', actor, 'occurred', $time(occurred_at), 'decided', $time(decided_at))
    FROM read.stock_changes WHERE $live('genealogy')";
const RECEIPTS: &str = "SELECT lot_id::TEXT, jsonb_build_object('site', site, 'delivery', delivery_id, 'supplier', supplier_id,
        'supplier_code', supplier_code, 'product', product_id, 'source', traceability_lot_code_source, 'documents', documents,
        'produced', produced_on::TEXT, 'days', shelf_life_days, 'exception', exception, 'reason', reason, 'actor', actor,
        'occurred', $time(occurred_at), 'decided', $time(decided_at), 'sequence', sequence)
    FROM read.receipts WHERE $live('lots')";
const SHIPMENTS: &str = "SELECT id::TEXT, jsonb_build_object('site', site, 'code', code, 'customer', customer_id, 'customer_code', customer_code,
        'carrier', carrier_reference, 'documents', documents, 'reason', reason, 'actor', actor, 'occurred', $time(occurred_at),
        'decided', $time(decided_at), 'sequence', sequence)
    FROM read.shipments WHERE $live('lots')";
const SHIPMENT_LOTS: &str = "SELECT shipment_id || '/' || lot_id, jsonb_build_object('place', place, 'quantity', $number(quantity), 'unit', unit,
        'base', $number(quantity_base))
    FROM read.shipment_lots WHERE $live('lots')";
const DECISIONS: &str =
    "SELECT id::TEXT, jsonb_build_object('site', site, 'lot', lot_id, 'gate', gate, 'outcome', outcome,
        'measurements', measurements, 'checklist', checklist, 'notes', notes, 'reason', reason, 'actor', actor,
        'occurred', $time(occurred_at), 'decided', $time(decided_at), 'sequence', sequence)
    FROM read.qc_decisions WHERE $live('qc_decisions')";
const PIPELINES: &str = "SELECT id::TEXT, json_build_object('name', name, 'draft', draft, 'published', published_version, 'hash', published_hash,
        'archived', archived, 'actor', actor, 'occurred', $time(occurred_at), 'decided', $time(decided_at), 'changed', $time(changed_at),
        'version', version)
    FROM read.pipelines WHERE $live('pipelines')";
const VERSIONS: &str = "SELECT pipeline_id || '/' || version, json_build_object('name', name, 'definition', definition, 'hash', definition_hash,
        'reason', reason, 'actor', actor, 'occurred', $time(occurred_at), 'decided', $time(decided_at), 'sequence', sequence)
    FROM read.pipeline_versions WHERE $live('pipelines')";
const SIGNALS: &str = "SELECT site || '/' || number, jsonb_build_object('name', name, 'description', description, 'unit', unit,
        'type', data_type, 'device', device, 'address', address, 'scale', $number(scale), 'offset', $number(value_offset), 'actor', actor,
        'occurred', $time(occurred_at), 'decided', $time(decided_at), 'version', version)
    FROM read.signals WHERE $live('signals')";
const PRODUCTS: &str = "SELECT id::TEXT, jsonb_build_object('code', code, 'name', name, 'gtin', gtin, 'unit', unit, 'conversions', conversions,
        'days', shelf_life_days, 'active', active, 'actor', actor, 'occurred', $time(occurred_at), 'decided', $time(decided_at),
        'version', version)
    FROM read.products WHERE $live('master')";
const PARTNERS: &str = "SELECT id::TEXT, jsonb_build_object('code', code, 'name', name, 'gln', gln, 'supplies', supplies, 'buys', buys,
        'active', active, 'actor', actor, 'occurred', $time(occurred_at), 'decided', $time(decided_at), 'version', version)
    FROM read.partners WHERE $live('master')";
const AUDIT: &str =
    "SELECT stream || '/' || sequence, json_build_object('type', event_type, 'subject', subject, 'actor', actor,
        'occurred', $time(occurred_at), 'decided', $time(decided_at), 'reason', reason, 'correlation', correlation_id,
        'causation', causation_id, 'data', data)
    FROM read.audit WHERE $live('audit')";
const SITES: &str =
    "SELECT id, jsonb_build_object('name', name, 'time_zone', time_zone, 'actor', actor, 'version', version)
    FROM read.access_sites WHERE $live('access')";
const USERS: &str = "SELECT id::TEXT, json_build_object('name', name, 'email', email, 'active', active, 'actor', actor,
        'changed', $time(changed_at), 'version', version)
    FROM read.access_users WHERE $live('access')";
const MEMBERSHIPS: &str =
    "SELECT user_id || '/' || site, jsonb_build_object('roles', roles, 'actor', actor, 'sequence', sequence)
    FROM read.access_memberships WHERE $live('access')";
const KEYS: &str =
    "SELECT id::TEXT, jsonb_build_object('label', label, 'prefix', prefix, 'roles', roles, 'sites', sites,
        'expires', $time(expires_at), 'revoked', $time(revoked_at), 'actor', actor, 'version', version)
    FROM read.access_keys WHERE $live('access')";
const GRANTS: &str =
    "SELECT pipeline_id || '/' || user_id, jsonb_build_object('rights', rights, 'actor', actor, 'sequence', sequence)
    FROM read.access_grants WHERE $live('access')";

const SCENARIOS: &str = "SELECT id::TEXT, json_build_object('name', name, 'draft', draft, 'published', published_version, 'hash', published_hash,
        'retired', retired, 'actor', actor, 'occurred', $time(occurred_at), 'decided', $time(decided_at), 'changed', $time(changed_at),
        'version', version)
    FROM read.scenarios WHERE $live('scenarios')";
const SCENARIO_VERSIONS: &str = "SELECT scenario_id || '/' || version, json_build_object('name', name, 'definition', definition,
        'hash', definition_hash, 'reason', reason, 'actor', actor, 'occurred', $time(occurred_at), 'decided', $time(decided_at),
        'sequence', sequence)
    FROM read.scenario_versions WHERE $live('scenarios')";

const RUNS: &str = "SELECT id::TEXT, json_build_object('site', site, 'code', code, 'scenario', scenario_id, 'scenario_name', scenario_name,
        'scenario_version', scenario_version, 'definition', definition, 'stage', stage, 'phase', phase, 'since', $time(phase_since),
        'held', $time(held_since), 'ended', $time(ended_at), 'why', stage_reason, 'summary', summary, 'last', $time(last_at),
        'actor', actor, 'occurred', $time(occurred_at), 'decided', $time(decided_at), 'changed', $time(changed_at), 'version', version)
    FROM read.runs WHERE $live('runs')";
const RUN_PHASES: &str = "SELECT run_id || '/' || phase, jsonb_build_object('site', site, 'entered', $time(entered_at),
        'left', $time(left_at), 'actor', actor, 'decided', $time(decided_at), 'sequence', sequence)
    FROM read.run_phases WHERE $live('runs')";
const RUN_LOTS: &str =
    "SELECT run_id || '/' || lot_id || '/' || phase, jsonb_build_object('quantity', $number(quantity), 'unit', unit,
        'actor', actor, 'occurred', $time(occurred_at), 'sequence', sequence)
    FROM read.run_lots WHERE $live('runs')";
const RUN_DECISIONS: &str = "SELECT id::TEXT, jsonb_build_object('run', run_id, 'gate', gate, 'lot', lot_id, 'outcome', outcome,
        'replaces', replaces, 'measurements', measurements, 'checklist', checklist, 'notes', notes, 'reason', reason, 'actor', actor,
        'occurred', $time(occurred_at), 'decided', $time(decided_at), 'sequence', sequence)
    FROM read.run_decisions WHERE $live('runs')";

const ALERTS: &str = "SELECT id::TEXT, jsonb_build_object('site', site, 'kind', kind, 'severity', severity, 'level', level, 'status', status,
        'title', title, 'lot', lot_id, 'run', run_id, 'gate', gate, 'decision', decision_id, 'expires', expires_on::TEXT,
        'escalates', $time(escalates_at), 'acknowledged_by', acknowledged_by, 'acknowledged', $time(acknowledged_at), 'note', note,
        'resolved_by', resolved_by, 'resolved', $time(resolved_at), 'by_itself', resolved_by_itself, 'resolution', resolution,
        'actor', actor, 'occurred', $time(occurred_at), 'decided', $time(decided_at), 'changed', $time(changed_at), 'version', version)
    FROM read.alerts WHERE $live('qc_decisions')";
const HOLDS: &str = "SELECT id::TEXT, jsonb_build_object('site', site, 'code', code, 'cause', cause, 'decision', decision_id, 'rule', rule,
        'reason', reason, 'actor', actor, 'occurred', $time(occurred_at), 'decided', $time(decided_at), 'released', $time(released_at),
        'by', released_by, 'why', release_reason, 'released_for', release_decision_id, 'version', version)
    FROM read.holds WHERE $live('genealogy')";
const HELD_LOTS: &str =
    "SELECT hold_id || '/' || lot_id, jsonb_build_object('direct', direct, 'since', $time(held_since),
        'released', $time(released_at), 'by', released_by, 'why', release_reason)
    FROM read.held_lots WHERE $live('genealogy')";

/// What the tables say of a tenant.
///
/// # Panics
/// When they can't be read.
pub async fn tables(pool: &PgPool, tenant: &str) -> World {
    let rows = |sql: &'static str| rows(pool, tenant, sql);
    World {
        lots: rows(LOTS).await,
        edges: rows(EDGES).await,
        transformations: rows(TRANSFORMATIONS).await,
        stock_changes: rows(STOCK_CHANGES).await,
        receipts: rows(RECEIPTS).await,
        shipments: rows(SHIPMENTS).await,
        shipment_lots: rows(SHIPMENT_LOTS).await,
        decisions: rows(DECISIONS).await,
        pipelines: rows(PIPELINES).await,
        versions: rows(VERSIONS).await,
        signals: rows(SIGNALS).await,
        products: rows(PRODUCTS).await,
        partners: rows(PARTNERS).await,
        audit: rows(AUDIT).await,
        sites: rows(SITES).await,
        users: rows(USERS).await,
        memberships: rows(MEMBERSHIPS).await,
        keys: rows(KEYS).await,
        grants: rows(GRANTS).await,
        scenarios: rows(SCENARIOS).await,
        scenario_versions: rows(SCENARIO_VERSIONS).await,
        runs: rows(RUNS).await,
        run_phases: rows(RUN_PHASES).await,
        run_lots: rows(RUN_LOTS).await,
        run_decisions: rows(RUN_DECISIONS).await,
        alerts: rows(ALERTS).await,
        holds: rows(HOLDS).await,
        held_lots: rows(HELD_LOTS).await,
    }
}

async fn rows(pool: &PgPool, tenant: &str, sql: &str) -> Rows {
    let found: Vec<(String, String)> = sqlx::query_as(sqlx::AssertSqlSafe(expanded(sql)))
        .bind(tenant)
        .fetch_all(pool)
        .await
        .unwrap_or_else(|error| panic!("the read models can't be queried: {error}\n{sql}"));
    let count = found.len();
    let rows: Rows =
        found.into_iter().map(|(key, row)| (key, serde_json::from_str(&row).expect("rows are JSON"))).collect();
    assert_eq!(rows.len(), count, "two rows have the same key:\n{sql}");
    rows
}

/// The statement with `$time(column)`, `$number(column)` and `$live('model')` written out.
fn expanded(sql: &str) -> String {
    let forms = [
        ("$time(", "to_char(@ AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"),
        ("$number(", "trim_scale(@)::TEXT"),
        (
            "$live(",
            "tenant = $1 AND generation = (SELECT live.generation FROM read.projection_generation AS live
                WHERE live.tenant = $1 AND live.model = @ AND live.state = 'live')",
        ),
    ];
    let mut sql = format!("SELECT key, row::TEXT FROM ({sql}) AS found (key, row)");
    for (name, form) in forms {
        while let Some((before, rest)) = sql.split_once(name) {
            let (argument, after) = rest.split_once(')').expect("a form is closed");
            sql = format!("{before}{}{after}", form.replace('@', argument));
        }
    }
    sql
}

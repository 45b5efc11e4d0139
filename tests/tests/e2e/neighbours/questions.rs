//! What is asked with the things of another tenant.

use serde_json::json;

use super::things::Things;
use super::tries::{Kind, Try};
use crate::site::SITE;

/// Waits are short: positions of others may never come.
fn ask(kind: Kind, field: &str, arguments: &str, shown: &str) -> Try {
    let arguments = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
    Try { kind, query: format!("query {{ {field}{arguments} {shown} }}"), variables: json!({}) }
}

/// Queries of what one thing is, and of those that have no pages; the others are lists.
pub(super) fn queries(field: &str, some: &Things) -> Vec<Try> {
    let like = |arguments: String, shown: &str| ask(Kind::AsNobodys, field, &arguments, shown);
    let own = |shown: &str| vec![ask(Kind::OwnOnly, field, "", shown)];
    let ids = [
        "lot",
        "far lot",
        "decision",
        "pipeline",
        "scenario",
        "run",
        "far run",
        "hold",
        "signal",
        "far signal",
        "product",
        "partner",
        "alert",
        "event",
    ];
    let range = "range: {from: \"2000-01-01T00:00:00Z\", until: \"2100-01-01T00:00:00Z\"}, first: 9";
    match field {
        "lot" => vec![
            like(format!("id: \"{}\"", some["lot"]), "{ id code }"),
            like(format!("id: \"{}\"", some["far lot"]), "{ id code }"),
            like(format!("site: \"{SITE}\", code: \"{}\"", some["code"]), "{ id code }"),
            like(format!("site: \"{}\", code: \"{}\"", some["site"], some["code"]), "{ id code }"),
        ],
        "lotGenealogy" | "trace" | "recallScope" | "massBalance" => about_genealogy(field, some),
        "alert" => vec![like(format!("id: \"{}\"", some["alert"]), "{ id title }")],
        "pipeline" => vec![like(format!("id: \"{}\"", some["pipeline"]), "{ id name }")],
        "run" => vec![
            like(format!("id: \"{}\"", some["run"]), "{ id code }"),
            like(format!("id: \"{}\"", some["far run"]), "{ id code }"),
            like(format!("site: \"{SITE}\", code: \"{}\"", some["run code"]), "{ id code }"),
            like(format!("site: \"{}\", code: \"{}\"", some["site"], some["run code"]), "{ id code }"),
        ],
        "hold" => vec![like(format!("id: \"{}\"", some["hold"]), "{ id code }")],
        "scenario" => vec![like(format!("id: \"{}\"", some["scenario"]), "{ id name }")],
        "scenarioDiff" => vec![like(format!("id: \"{}\", from: 1", some["scenario"]), "{ path }")],
        "node" => ids.map(|name| like(format!("id: \"{}\"", some[name]), "{ id }")).into(),
        "nodes" => {
            let all = ids.map(|name| format!("\"{}\"", some[name])).join(", ");
            vec![like(format!("ids: [{all}]"), "{ id }")]
        }
        "signalLatest" => vec![like(format!("ids: [\"{}\", \"{}\"]", some["signal"], some["far signal"]), "{ value }")],
        "signalHistory" => ["signal", "far signal"]
            .map(|name| like(format!("id: \"{}\", {range}", some[name]), "{ value sourceTime }"))
            .into(),
        "me" => own("{ actor user { userId email } }"),
        "projectionStatus" => own("{ topic halts { __typename } }"),
        "skippedEvents" => own("{ stream reason }"),
        "sites" | "tenant" => own(""),
        "findLots" | "shipment" => at_the_dock(field, some),
        _ => lists(field, some),
    }
}

/// Queries that follow lots.
fn about_genealogy(field: &str, some: &Things) -> Vec<Try> {
    let like = |arguments: String, shown: &str| ask(Kind::AsNobodys, field, &arguments, shown);
    match field {
        "lotGenealogy" => ["ANCESTORS", "DESCENDANTS"]
            .map(|way| like(format!("id: \"{}\", direction: {way}", some["lot"]), "{ steps { __typename } }"))
            .into(),
        "trace" => ["lot", "far lot"]
            .map(|lot| {
                like(
                    format!("lot: \"{}\", direction: BOTH", some[lot]),
                    "{ start { id } lots(first: 9) { nodes { id } } }",
                )
            })
            .into(),
        "recallScope" => ["lot", "far lot"]
            .map(|lot| like(format!("lot: \"{}\"", some[lot]), "{ start { id } lots(first: 9) { nodes { id } } }"))
            .into(),
        _ => [
            format!("lots: [\"{}\", \"{}\"]", some["lot"], some["far lot"]),
            format!("run: \"{}\"", some["run"]),
            format!("run: \"{}\"", some["far run"]),
            format!("product: {{ site: \"{SITE}\", product: \"milk\" }}"),
            format!("product: {{ site: \"{}\", product: \"milk\" }}", some["site"]),
        ]
        .map(|scope| like(format!("scope: {{ {scope} }}"), "{ lots measures { closing } }"))
        .into(),
    }
}

/// Queries of what came and went, by each of its names.
fn at_the_dock(field: &str, some: &Things) -> Vec<Try> {
    let like = |arguments: String, shown: &str| ask(Kind::AsNobodys, field, &arguments, shown);
    match field {
        "findLots" => [
            format!("code: \"{}\"", some["code"]),
            format!("gtin: \"{}\"", some["gtin"]),
            format!("supplierLot: \"{}\"", some["supplier lot"]),
            format!("scan: \"(10){}\"", some["code"]),
        ]
        .map(|by| like(format!("by: {{ {by} }}, first: 9"), "{ more lots { id code } }"))
        .into(),
        _ => vec![
            like(format!("uuid: \"{}\"", some["shipment"]), "{ uuid code }"),
            like(format!("site: \"{SITE}\", code: \"{}\"", some["shipment code"]), "{ uuid code }"),
            like(format!("site: \"{}\", code: \"{}\"", some["site"], some["shipment code"]), "{ uuid code }"),
        ],
    }
}

/// Queries with pages: each filter, and what is shown without one, behind a cursor, at a position.
fn lists(field: &str, some: &Things) -> Vec<Try> {
    let (shown, filters) = match field {
        "lots" => (
            "id code",
            vec![
                format!("site: \"{}\"", some["site"]),
                format!("filter: {{ codePrefix: \"{}\" }}", some["code"]),
                format!("site: \"{SITE}\", filter: {{ codePrefix: \"{}\" }}", some["code"]),
            ],
        ),
        "qcDecisions" => (
            "id gate",
            vec![
                format!("site: \"{}\"", some["site"]),
                format!("filter: {{ lot: \"{}\" }}", some["lot"]),
                format!("filter: {{ gate: \"{}\" }}", some["gate"]),
            ],
        ),
        "alerts" => (
            "id title",
            vec![
                format!("site: \"{}\"", some["site"]),
                format!("filter: {{ lot: \"{}\" }}", some["lot"]),
                format!("filter: {{ run: \"{}\" }}", some["run"]),
            ],
        ),
        "products" => {
            ("id code name", vec![format!("code: \"{}\"", some["product code"]), format!("gtin: \"{}\"", some["gtin"])])
        }
        "partners" => ("id code name", vec![format!("code: \"{}\"", some["partner code"])]),
        "pipelines" => ("id name", vec![format!("filter: {{ name: \"{}\" }}", some["pipeline name"])]),
        "runs" => (
            "id code",
            vec![format!("site: \"{}\"", some["site"]), format!("filter: {{ scenario: \"{}\" }}", some["scenario"])],
        ),
        "shipments" => (
            "uuid code",
            vec![format!("site: \"{}\"", some["site"]), format!("customer: \"{}\"", some["partner code"])],
        ),
        "holds" => ("id reason", vec![format!("site: \"{}\"", some["site"])]),
        "scenarios" => ("id name", vec![format!("filter: {{ name: \"{}\" }}", some["scenario name"])]),
        "signals" => {
            ("id name device", vec![format!("site: \"{}\"", some["site"]), format!("device: \"{}\"", some["device"])])
        }
        "auditTrail" => (
            "id",
            vec![
                format!("filter: {{ stream: \"{}\" }}", some["site"]),
                format!("filter: {{ subject: \"{}\" }}", some["subject"]),
                format!("filter: {{ subject: \"lot/{}\" }}", some["lot uuid"]),
                format!("filter: {{ actor: \"{}\" }}", some["actor"]),
                format!("filter: {{ correlationId: \"{}\" }}", some["correlation"]),
            ],
        ),
        "users" => ("userId name email", vec![]),
        "apiKeys" => ("keyId label prefix", vec![]),
        _ => panic!("query {field} is new: say here what can be tried with another tenant's things"),
    };
    let shown = format!("{{ nodes {{ {shown} }} }}");
    let after = &some[format!("after {field}").as_str()];
    let own = [
        "first: 100".to_owned(),
        format!("first: 100, after: \"{after}\""),
        format!("first: 100, consistentWith: \"{}\", consistencyTimeoutMs: 100", some["position"]),
    ];
    let like = |filter: String| ask(Kind::AsNobodys, field, &format!("first: 100, {filter}"), &shown);
    let mut tries: Vec<Try> = filters.into_iter().map(like).collect();
    tries.extend(own.map(|arguments| ask(Kind::OwnOnly, field, &arguments, &shown)));
    tries
}

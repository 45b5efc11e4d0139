//! Texts that mean something in SQL, in patterns, in JSON or in GraphQL, through every argument that reaches the database: they are compared and
//! stored as they are, or refused with a code of their own, and never break a statement.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lotline_api::Limits;
use serde_json::{Value, json};

use crate::plant::Plant;

const EVIL: [&str; 14] = [
    "' OR '1'='1",
    "'; DROP SCHEMA read CASCADE; --",
    "\" OR \"\"=\"",
    "x') UNION SELECT secret FROM access.api_key --",
    "$1",
    "$$;SELECT pg_sleep(60);$$",
    "%",
    "_",
    "A%",
    "\\",
    "\\' OR 1=1 --",
    "\") { tenant } #",
    "{\"$ne\": null}",
    "nul\u{0}byte",
];

/// Queries with one text `$s` that must find nothing, or refuse it. What they give beyond `null` and empty lists would be somebody else's.
const QUERIES: [&str; 18] = [
    "query($s: String!) { lot(site: \"north\", code: $s) { id } }",
    "query($s: String!) { lot(site: $s, code: \"A_1\") { id } }",
    "query($s: ID!) { lot(id: $s) { id } }",
    "query($s: String!) { lots(site: $s, first: 5) { nodes { id } } }",
    "query($s: String!) { lots(first: 5, filter: { product: $s }) { nodes { id } } }",
    "query($s: String!) { lots(first: 5, filter: { codePrefix: $s }) { nodes { id } } }",
    "query($s: String!) { lots(first: 5, after: $s) { nodes { id } } }",
    "query($s: ID!) { lotGenealogy(id: $s, direction: ANCESTORS) { truncated } }",
    "query($s: ID!) { trace(lot: $s, direction: BOTH) { complete } }",
    "query($s: String!) { qcDecisions(first: 5, after: $s) { nodes { id } } }",
    "query($s: ID!) { pipeline(id: $s) { id } }",
    "query($s: String!) { signals(first: 5, device: $s) { nodes { id } } }",
    "query($s: ID!) { signalLatest(ids: [$s]) { value } }",
    "query($s: String!) { auditTrail(first: 5, filter: { subject: $s }) { nodes { id } } }",
    "query($s: String!) { auditTrail(first: 5, filter: { actor: $s }) { nodes { id } } }",
    "query($s: String!) { auditTrail(first: 5, filter: { eventType: $s }) { nodes { id } } }",
    "query($s: String!) { auditTrail(first: 5, after: $s) { nodes { id } } }",
    "query($s: ID!) { node(id: $s) { id } }",
];

/// Whether an answer shows nothing: only nulls, empty lists and objects of such.
fn shows_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().all(shows_nothing),
        Value::Object(fields) => fields.values().all(shows_nothing),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

async fn plant(name: &str) -> Plant {
    let plant = Plant::start(name, Limits::default()).await;
    for code in ["A_1", "AX1"] {
        let registered = plant.register("north", code).await;
        assert_eq!(registered["userErrors"], json!([]), "{registered}");
        let seen = "query($p: PositionToken) { lots(first: 1, consistentWith: $p) { nodes { id } } }";
        plant.data(seen, json!({ "p": registered["position"] })).await;
    }
    plant
}

async fn codes(plant: &Plant, prefix: &str) -> Vec<String> {
    let query = "query($s: String!) { lots(first: 100, filter: { codePrefix: $s }) { nodes { code } } }";
    let data = plant.data(query, json!({ "s": prefix })).await;
    data["lots"]["nodes"].as_array().unwrap().iter().map(|lot| lot["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn no_text_finds_more_than_itself_or_breaks_a_statement() {
    let plant = plant("api_injection").await;
    for evil in EVIL {
        // As it is, and as the inside of a cursor or an id.
        let wrapped = ["", "Lot:", "lot:", "l0."].map(|head| URL_SAFE_NO_PAD.encode(format!("{head}{evil}")));
        for text in wrapped.iter().map(String::as_str).chain([evil]) {
            for query in QUERIES {
                let answer = plant.ask(query, json!({ "s": text })).await;
                let errors = answer["errors"].as_array().cloned().unwrap_or_default();
                for error in &errors {
                    let code = error["extensions"]["code"].as_str().unwrap_or_default();
                    assert!(["BAD_USER_INPUT", "UNKNOWN_SITE"].contains(&code), "{query} {text:?}: {answer}");
                }
                let data = answer.get("data").cloned().unwrap_or(Value::Null);
                assert!(shows_nothing(&data), "{query} {text:?}: {answer}");
            }
        }
    }
    assert_eq!(codes(&plant, "A").await.len(), 2, "everything is still there");
    assert_eq!(codes(&plant, "A_").await, ["A_1"], "an underscore is an underscore");
}

#[tokio::test]
async fn a_text_written_into_the_document_ends_where_it_ends() {
    let plant = plant("api_injection_document").await;
    let literal = json!("\") { tenant } } #").to_string();
    let query = format!("{{ lots(first: 5, filter: {{ product: {literal} }}) {{ nodes {{ id }} }} }}");
    let answer = plant.ask(&query, json!({})).await;
    assert!(answer["data"].get("tenant").is_none() && shows_nothing(&answer["data"]["lots"]), "{answer}");
}

#[tokio::test]
async fn what_is_stored_comes_back_letter_by_letter_and_finds_itself() {
    let plant = plant("api_injection_stored").await;
    for (number, evil) in EVIL.into_iter().enumerate() {
        let payload = plant.register_with(json!({ "code": format!("S{number}"), "product": evil })).await;
        if evil.contains('\u{0}') {
            assert_ne!(payload["userErrors"], json!([]), "{payload}");
            continue;
        }
        assert_eq!(payload["userErrors"], json!([]), "{evil}: {payload}");
        let query = "query($s: String!, $p: PositionToken) {
            lots(first: 5, filter: { product: $s }, consistentWith: $p) { nodes { code product } } }";
        let data = plant.data(query, json!({ "s": evil, "p": payload["position"] })).await;
        assert_eq!(data["lots"]["nodes"], json!([{ "code": format!("S{number}"), "product": evil }]));
    }
    // Codes are of letters that mean nothing anywhere; what is not such a letter is refused.
    for evil in EVIL {
        let payload = plant.register_with(json!({ "code": evil })).await;
        let refused = payload["userErrors"] != json!([]);
        assert!(refused || codes(&plant, evil).await.iter().all(|code| code.starts_with(evil)), "{evil}: {payload}");
    }
}

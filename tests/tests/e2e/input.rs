//! Bad input gets a precise typed error, changes nothing but for the recorded refusal, and leaves the server unharmed.

use lotline_tests::client::{Client, decision, key, lot};
use lotline_tests::server::Log;
use serde_json::{Value, json};

use crate::site::{Plant, SITE};

#[tokio::test]
async fn bad_input_is_refused_precisely() {
    let plant = Plant::new("input", Log::Postgres).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    ann.mutate("registerLot", "", &lot(SITE, "L-1", "10", &[])).await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut input = lot(SITE, "L-2", "10", &[]);
        change(&mut input);
        input
    };
    let quantity = |value: &str, unit: &str| json!({ "value": value, "unit": unit });
    let cases: Vec<(&str, Value)> = vec![
        ("UNKNOWN_LOT", lot(SITE, "L-2", "1", &[("nowhere", "1")])),
        ("GENEALOGY_CYCLE", lot(SITE, "L-2", "1", &[("L-2", "1")])),
        ("DUPLICATE_LOT_CODE", lot(SITE, "L-1", "1", &[])),
        ("NOT_ENOUGH_LEFT", lot(SITE, "L-2", "1", &[("L-1", "10.000001")])),
        ("QUANTITY_NOT_POSITIVE", lot(SITE, "L-2", "-1", &[])),
        ("QUANTITY_OUT_OF_RANGE", lot(SITE, "L-2", "9999999999999", &[])),
        ("QUANTITY_NOT_DECIMAL", lot(SITE, "L-2", "NaN", &[])),
        ("UNKNOWN_UNIT", with(&|input| input["quantity"] = quantity("1", "bushel"))),
        (
            "UNIT_MISMATCH",
            with(&|input| {
                input["parents"] = json!([{ "lot": { "code": "L-1" }, "quantity": quantity("1", "LTR") }]);
            }),
        ),
        ("OCCURRED_AT_OUT_OF_RANGE", with(&|input| input["occurredAt"] = json!("1970-01-01T00:00:00Z"))),
        ("OCCURRED_AT_OUT_OF_RANGE", with(&|input| input["occurredAt"] = json!("2999-01-01T00:00:00Z"))),
        ("INVALID_TEXT", with(&|input| input["code"] = json!("a\u{0}b"))),
        (
            "IDEMPOTENCY_KEY_TOO_OLD",
            with(&|input| input["idempotencyKey"] = json!("018f2a6e-7c00-7abc-8def-0123456789ab")),
        ),
        (
            "INVALID_IDEMPOTENCY_KEY",
            with(&|input| input["idempotencyKey"] = json!("9f3c1c8e-3f0f-4a3c-8a51-1d1f3f6f9a11")),
        ),
    ];
    for (code, input) in &cases {
        assert_eq!(&ann.refused("registerLot", input).await, code, "{input}");
    }
    let oracle = plant.assert_tables_equal_the_log(&ann).await;
    assert_eq!(oracle.world.lots.len(), 1, "nothing but refusals was written");
    assert_eq!(oracle.world.audit.len(), 1 + cases.len(), "every refusal was written");
}

#[tokio::test]
async fn hostile_requests_leave_the_server_unharmed() {
    let plant = Plant::new("hostile", Log::Postgres).await;
    let server = plant.serve().await;
    let ann = Client::new(&server.url, "ann");
    let mut unknown = decision(SITE, "L-1", "PASS");
    unknown["outcome"] = json!("MAYBE");
    let answer = ann.try_mutate("recordQcDecision", "", &unknown).await.unwrap();
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("MAYBE"), "{answer}");

    let http = reqwest::Client::new();
    let post = |body: Vec<u8>| {
        http.post(format!("{}/graphql", server.url)).header("content-type", "application/json").body(body).send()
    };
    let large =
        json!({ "query": format!("{{ lots(site: \"{}\", first: 1) {{ __typename }} }}", "x".repeat(10 << 20)) });
    // The server may close the connection before all ten megabytes are sent; either way it says 413 or hangs up.
    if let Ok(answer) = post(large.to_string().into_bytes()).await {
        assert_eq!(answer.status(), 413);
    }
    let broken = post(b"{\"query\": \"\xff\xfe\"}".to_vec()).await.unwrap();
    assert_eq!(broken.status(), 400);
    let aliases: String = (0..50_000).map(|n| format!("a{n}:__typename ")).collect();
    let started = std::time::Instant::now();
    let answer = post(json!({ "query": format!("{{ {aliases} }}") }).to_string().into_bytes()).await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(text.contains("errors") && started.elapsed().as_secs() < 5, "{}", &text[..text.len().min(300)]);

    ann.mutate("registerLot", "", &{
        let mut input = lot(SITE, "L-1", "1", &[]);
        input["idempotencyKey"] = json!(key());
        input
    })
    .await;
    let oracle = plant.assert_tables_equal_the_log(&ann).await;
    assert_eq!(oracle.world.audit.len(), 1, "what is no command leaves no record");
}

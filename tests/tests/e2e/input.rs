//! Bad input gets a precise typed error, changes nothing but for the recorded refusal, and leaves the server unharmed.

use lotline_domain::timestamp::Timestamp;
use lotline_tests::client::{Client, decision, lot};
use lotline_tests::server::{Log, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

/// Sends a body as it is, and gives the status and the code of the first error.
async fn post(server: &Server, body: Vec<u8>) -> (u16, String) {
    let request = reqwest::Client::new().post(format!("{}/graphql", server.url)).header("x-lotline-actor", "ann");
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(answer["errors"][0]["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
    (status, answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("no code").to_owned())
}

fn million_aliases() -> Vec<u8> {
    let aliases: Vec<String> = (0..1_000_000).map(|number| format!("a{number}:__typename")).collect();
    json!({ "query": format!("{{ {} }}", aliases.join(" ")) }).to_string().into_bytes()
}

/// The server takes a command, and nothing but that command has been written.
async fn assert_unharmed(plant: &Plant, server: &Server) {
    let ann = Client::new(&server.url, "ann");
    ann.mutate("registerLot", "", &lot(SITE, "unharmed", "1", &[])).await;
    let oracle = plant.assert_tables_equal_the_log(&ann).await;
    assert_eq!(oracle.world.audit.len(), 1, "what is no command leaves no record: {:?}", oracle.world.audit);
}

#[tokio::test]
async fn hostile_requests_are_refused_with_a_code_and_leave_the_server_unharmed() {
    let plant = Plant::new("hostile", Log::Postgres).await;
    let server = plant.serve().await;
    let mut unknown = decision(SITE, "L-1", "PASS");
    unknown["outcome"] = json!("MAYBE");
    let answer = Client::new(&server.url, "ann").try_mutate("recordQcDecision", "", &unknown).await.unwrap();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED", "{answer}");
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("MAYBE"), "{answer}");
    let written = "mutation { recordQcDecision(input: {idempotencyKey: \"018f2a6e-7c00-7abc-8def-0123456789ab\", site: \"north\", \
                   lot: {code: \"L-1\"}, gate: \"intake\", outcome: MAYBE}) { version } }";
    let unknown = post(&server, json!({ "query": written }).to_string().into_bytes()).await;
    assert_eq!(unknown, (200, "GRAPHQL_VALIDATION_FAILED".into()));

    // Ten megabytes, once said beforehand and once not: then the server reads no further than its limit.
    let large = json!({ "query": format!("{{ lots(site: \"{}\") {{ id }} }}", "x".repeat(10 << 20)) }).to_string();
    let too_large = (413, "BODY_TOO_LARGE".to_owned());
    for body in [large.into_bytes(), million_aliases()] {
        let declared = format!("content-length: {}", body.len());
        assert_eq!(post_too_much(&server, &declared, &body).await, too_large);
        let mut chunk = format!("{:x}\r\n", body.len()).into_bytes();
        chunk.extend(body);
        chunk.extend(b"\r\n0\r\n\r\n");
        assert_eq!(post_too_much(&server, "transfer-encoding: chunked", &chunk).await, too_large);
    }
    assert_eq!(post(&server, b"{\"query\": \"\xff\xfe\"}".to_vec()).await, (400, "INVALID_UTF8".into()));
    let aliases: Vec<String> = (0..5_000).map(|number| format!("a{number}:__typename")).collect();
    let aliases = json!({ "query": format!("{{ {} }}", aliases.join(" ")) }).to_string().into_bytes();
    assert_eq!(post(&server, aliases).await, (200, "TOO_MANY_ALIASES".into()));
    assert_unharmed(&plant, &server).await;
}

/// A server whose operator has lifted the limits of size still counts.
#[tokio::test]
async fn a_million_aliases_are_counted_before_anything_else_is_done_with_them() {
    let mut plant = Plant::new("aliases", Log::Postgres).await;
    for name in ["BODY_BYTES", "DOCUMENT_BYTES", "DOCUMENT_TOKENS"] {
        plant.settings.environment.push((format!("LOTLINE_API__LIMITS__{name}"), (64 << 20).to_string()));
    }
    let server = plant.serve().await;
    assert_eq!(post(&server, million_aliases()).await, (200, "TOO_MANY_ALIASES".into()));
    assert_unharmed(&plant, &server).await;
}

/// Sends a body that is too large with the header that says how it comes, and gives the status and the code of the first error. The server
/// need not read all of it, and hangs up on whoever goes on sending.
async fn post_too_much(server: &Server, header: &str, body: &[u8]) -> (u16, String) {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = stream.split();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {address}\r\nx-lotline-actor: ann\r\ncontent-type: application/json\r\n\
         connection: close\r\n{header}\r\n\r\n"
    );
    let send = async {
        to.write_all(head.as_bytes()).await?;
        to.write_all(body).await
    };
    let mut answer = Vec::new();
    let (_hung_up_or_sent, _hung_up_or_closed) = tokio::join!(send, from.read_to_end(&mut answer));
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    let code = body["errors"][0]["extensions"]["code"].as_str().unwrap_or("no code").to_owned();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), code)
}

/// A machine's batches that can't be true are set aside with a reason; the samples around them count.
#[tokio::test]
async fn impossible_samples_are_set_aside() {
    let plant = Plant::new("samples", Log::Postgres).await;
    let server = plant.serve().await;
    plant.sample(1, 1.5).await;
    plant.publish(|batch| (batch.sequence, batch.values) = (2, vec![f64::NAN])).await;
    let year = |year: i32| Timestamp::parse(&format!("{year:04}-01-01T00:00:00Z")).unwrap();
    plant.publish(|batch| (batch.sequence, batch.source_times) = (3, vec![year(9999)])).await;
    plant.publish(|batch| (batch.sequence, batch.source_times) = (4, vec![year(1)])).await;
    plant
        .publish(|batch| (batch.sequence, batch.source_times, batch.collected_at) = (5, vec![year(9999)], year(9999)))
        .await;
    // Would not become the latest value if a time of the year 9999 had counted.
    plant.sample(6, 6.5).await;
    let reasons: Vec<(String,)> =
        sqlx::query_as("SELECT error FROM read.signal_reject WHERE tenant = $1 ORDER BY partition, log_offset")
            .bind(&plant.settings.tenant)
            .fetch_all(&plant.database.pool)
            .await
            .unwrap();
    let reasons: Vec<&str> = reasons.iter().map(|(reason,)| reason.as_str()).collect();
    let absurd = "a sample's time is absurd";
    assert_eq!(reasons, ["the columns do not fit together", absurd, absurd, absurd]);
    let counted: Vec<(f64,)> =
        sqlx::query_as("SELECT value FROM read.signal_history WHERE tenant = $1 ORDER BY source_time")
            .bind(&plant.settings.tenant)
            .fetch_all(&plant.database.pool)
            .await
            .unwrap();
    assert_eq!(counted, [(1.5,), (6.5,)]);
    let metrics = reqwest::get(format!("{}/metrics", server.url)).await.unwrap().text().await.unwrap();
    let rejected = metrics.lines().filter(|line| line.starts_with("lotline_projection_rejected_batches_total{"));
    let rejected: f64 = rejected.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    assert!((rejected - 4.0).abs() < f64::EPSILON, "{metrics}");
    assert_unharmed(&plant, &server).await;
}

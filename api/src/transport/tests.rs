//! The HTTP transports as a client sees them: methods, types, statuses, and bad input of every kind.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use futures_util::stream;
use serde_json::{Value, json};

use crate::config::Limits;
use crate::router;
use crate::testing::{Answer, send, state};

const GRAPHQL: &str = "application/graphql-response+json";

fn app() -> Router {
    router(state(Limits::default()))
}

fn post(content_type: &str, accept: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/graphql").header("content-type", content_type).header("accept", accept);
    request.body(body.into()).unwrap()
}

async fn ask(accept: &str, body: Value) -> Answer {
    send(&app(), post("application/json", accept, body.to_string())).await
}

#[tokio::test]
async fn the_type_and_status_matrix() {
    let fine = json!({ "query": "{__typename}" });
    let broken = json!({ "query": "{" });
    let invalid = json!({ "query": "{nothing}" });
    for (accept, body, status, content_type) in [
        (GRAPHQL, &fine, 200, GRAPHQL),
        ("application/json", &fine, 200, "application/json"),
        ("*/*", &fine, 200, "application/json"),
        (GRAPHQL, &broken, 400, GRAPHQL),
        ("application/json", &broken, 200, "application/json"),
        (GRAPHQL, &invalid, 400, GRAPHQL),
        ("application/json", &invalid, 200, "application/json"),
        ("text/html", &fine, 406, "application/json"),
    ] {
        let answer = ask(accept, body.clone()).await;
        assert_eq!(answer.status, status, "{accept} {body}: {}", answer.text);
        assert_eq!(answer.header("content-type"), format!("{content_type}; charset=utf-8"), "{accept} {body}");
    }
    let answer = ask(GRAPHQL, fine).await.json();
    assert_eq!((&answer["data"], answer.get("errors")), (&json!({ "__typename": "Query" }), None));
    for (body, code) in [(broken, "GRAPHQL_PARSE_FAILED"), (invalid, "GRAPHQL_VALIDATION_FAILED")] {
        let answer = ask(GRAPHQL, body).await;
        assert_eq!(answer.code(), code);
        assert_eq!(answer.json().get("data"), None, "nothing was executed");
    }
}

#[tokio::test]
async fn only_json_is_posted() {
    let body = r#"{"query":"{__typename}"}"#;
    for fine in ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"] {
        assert_eq!(send(&app(), post(fine, GRAPHQL, body)).await.status, 200, "{fine}");
    }
    for bad in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json; charset=latin1",
        "",
    ] {
        let answer = send(&app(), post(bad, GRAPHQL, body)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (415, "UNSUPPORTED_MEDIA_TYPE"), "{bad}");
    }
    let untyped = Request::post("/graphql").body(Body::from(body)).unwrap();
    assert_eq!(send(&app(), untyped).await.status, 415);
}

#[tokio::test]
async fn get_reads_and_never_writes() {
    let get = |query: &str| Request::get(format!("/graphql?query={query}")).body(Body::empty()).unwrap();
    let answer = send(&app(), get("%7B__typename%7D")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["data"]["__typename"].as_str()), (200, Some("Query")));
    let answer = send(&app(), get("mutation%7B__typename%7D")).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"));
    assert_eq!(answer.code(), "METHOD_NOT_ALLOWED");
    let two = "query%20A%7B__typename%7D%20mutation%20B%7B__typename%7D";
    assert_eq!(send(&app(), get(&format!("{two}&operationName=A"))).await.status, 200);
    assert_eq!(send(&app(), get(&format!("{two}&operationName=B"))).await.status, 405);
    assert_eq!(send(&app(), get("")).await.code(), "GRAPHQL_PARSE_FAILED");
    assert_eq!(send(&app(), Request::get("/graphql").body(Body::empty()).unwrap()).await.code(), "MISSING_QUERY");
    for method in ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
        let request = Request::builder().method(method).uri("/graphql").body(Body::empty()).unwrap();
        let answer = send(&app(), request).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, POST"), "{method}");
    }
}

#[tokio::test]
async fn bad_bodies_are_named() {
    for (body, code) in [
        (&b"{"[..], "INVALID_JSON"),
        (b"", "EMPTY_BODY"),
        (b"{\"query\":\"\xff\"}", "INVALID_UTF8"),
        (b"[{\"query\":\"{__typename}\"}]", "BATCHING_NOT_SUPPORTED"),
        (b"{\"query\":{}}", "INVALID_PARAMETERS"),
        (b"{\"query\":\"{a}\",\"variables\":\"x\"}", "INVALID_PARAMETERS"),
        (b"{}", "MISSING_QUERY"),
    ] {
        let answer = send(&app(), post("application/json", "application/json", body.to_vec())).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, code), "{}", answer.text);
        let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(!message.contains("Error(") && !message.contains("Some("), "no Rust debug text: {message}");
    }
}

#[tokio::test]
async fn ten_megabytes_are_refused_declared_or_not() {
    let big = vec![b' '; 10 << 20];
    let declared =
        Request::post("/graphql").header("content-type", "application/json").header("content-length", big.len());
    let answer = send(&app(), declared.body(Body::from(big.clone())).unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE"));
    let chunks: Vec<Result<Bytes, std::io::Error>> =
        big.chunks(64 << 10).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let answer = send(&app(), post("application/json", GRAPHQL, Body::from_stream(stream::iter(chunks)))).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE"));
}

#[tokio::test]
async fn a_body_that_never_ends_times_out() {
    let limits = Limits { body_timeout_ms: 20, ..Limits::default() };
    let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = send(&router(state(limits)), post("application/json", GRAPHQL, body)).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT"));
}

#[tokio::test]
async fn a_million_aliases_are_refused_and_the_server_is_unharmed() {
    let app = router(state(Limits { body_bytes: 64 << 20, document_bytes: 64 << 20, ..Limits::default() }));
    let aliases = (0..1_000_000).map(|i| format!("a{i}:__typename ")).collect::<Vec<_>>().concat();
    let body = json!({ "query": format!("{{{aliases}}}") }).to_string();
    let answer = send(&app, post("application/json", GRAPHQL, body)).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "TOO_MANY_ALIASES"));
    let nested = json!({ "query": "{a".repeat(100_000) }).to_string();
    let answer = send(&app, post("application/json", GRAPHQL, nested)).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "NESTED_TOO_DEEP"));
    let answer = send(&app, post("application/json", GRAPHQL, r#"{"query":"{__typename}"}"#)).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn bad_values_are_named_before_execution() {
    for (query, part) in [
        ("{lots(first: 1, filter: {qcStatus: MAYBE}) {nodes {id}}}", "MAYBE"),
        ("{lots {nodes {id}}}", "first"),
        ("{lots(first: \"x\") {nodes {id}}}", "first"),
        ("{lots(first: 99999999999) {nodes {id}}}", "2147483647"),
        ("{lot {id} lot(id: 1) {id}}", "lot"),
    ] {
        let answer = ask(GRAPHQL, json!({ "query": query })).await;
        let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(part), "{query}: {}", answer.text);
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
    }
    let answer = ask(GRAPHQL, json!({ "query": "{lots(first: 101) {nodes {id}}}" })).await;
    assert_eq!(answer.code(), "BAD_USER_INPUT", "{}", answer.text);
    let answer = ask(GRAPHQL, json!({ "query": "{lots(first: 1, after: \"x\") {nodes {id}}}" })).await;
    assert_eq!(answer.code(), "BAD_USER_INPUT", "{}", answer.text);
}

#[tokio::test]
async fn cost_is_shown_and_limited() {
    let answer = ask(GRAPHQL, json!({ "query": "{sites}" })).await.json();
    assert_eq!(answer["extensions"]["cost"], json!({ "requested": 1, "limit": 25_000 }));
    let query = "{lots(first: 100) {nodes {children(first: 100) {child {children(first: 100) {child {code}}}}}}}";
    let answer = ask(GRAPHQL, json!({ "query": query })).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "TOO_COSTLY"), "{}", answer.text);
}

#[tokio::test]
async fn introspection_of_common_tools_passes() {
    let of_type = "ofType { kind name ".repeat(9) + &"}".repeat(9);
    let query = format!(
        "query IntrospectionQuery {{ __schema {{ queryType {{ name }} mutationType {{ name }} subscriptionType {{ name }} \
         types {{ ...FullType }} directives {{ name locations args {{ ...InputValue }} }} }} }} \
         fragment FullType on __Type {{ kind name fields(includeDeprecated: true) {{ name args {{ ...InputValue }} type {{ ...TypeRef }} }} \
         inputFields {{ ...InputValue }} interfaces {{ ...TypeRef }} enumValues {{ name }} possibleTypes {{ ...TypeRef }} }} \
         fragment InputValue on __InputValue {{ name type {{ ...TypeRef }} defaultValue }} \
         fragment TypeRef on __Type {{ kind name {of_type} }}"
    );
    let answer = ask(GRAPHQL, json!({ "query": query })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.json()["data"]["__schema"]["types"].as_array().unwrap().len() > 50);
}

#[tokio::test]
async fn inner_failures_are_masked() {
    let answer = ask(GRAPHQL, json!({ "query": "{lots(first: 1) {nodes {id}}}" })).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (200, "INTERNAL"), "{}", answer.text);
    assert!(!answer.text.contains("127.0.0.1") && !answer.text.contains("sqlx"), "{}", answer.text);
    assert_eq!(answer.json()["data"], Value::Null);
}

#[tokio::test]
async fn mutations_without_a_writer_are_unavailable() {
    let query = "mutation {publishPipeline(input: {idempotencyKey: \"018f2a6e-7c00-7abc-8def-0123456789ab\", pipelineId: \"x\"}) \
                 {pipelineId position userErrors {field code}}}";
    let answer = ask(GRAPHQL, json!({ "query": query })).await.json();
    let errors = &answer["data"]["publishPipeline"]["userErrors"];
    assert_eq!(*errors, json!([{ "field": "pipelineId", "code": "INVALID_ID" }]), "{answer}");
    let query = "mutation {draftPipeline(input: {idempotencyKey: \"018f2a6e-7c00-7abc-8def-0123456789ab\", name: \"a\", \
                 definition: {tasks: []}}) {pipelineId}}";
    let answer = ask(GRAPHQL, json!({ "query": query })).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (200, "UNAVAILABLE"), "{}", answer.text);
}

#[tokio::test]
async fn answers_are_stamped_and_callers_checked() {
    let request = |name: &'static str, value: &'static str| {
        let request = Request::post("/graphql").header("content-type", "application/json").header(name, value);
        request.body(Body::from(r#"{"query":"{__typename}"}"#)).unwrap()
    };
    let id = "018f2a6e-7c00-7abc-8def-0123456789ab";
    let answer = send(&app(), request("x-correlation-id", id)).await;
    assert_eq!((answer.header("x-lotline-mode"), answer.header("x-correlation-id")), ("development", id));
    let answer = send(&app(), request("x-correlation-id", "nonsense")).await;
    assert_eq!(answer.header("x-correlation-id"), "00000000-0000-0000-0000-000000000007");
    assert_eq!(send(&app(), request("x-lotline-actor", "a b")).await.code(), "INVALID_ACTOR");
    assert_eq!(send(&app(), request("origin", "http://evil.example")).await.code(), "FOREIGN_ORIGIN");
    assert_eq!(send(&app(), request("host", "evil.example")).await.status, 403);
}

#[tokio::test]
async fn event_streams_give_results_and_refusals() {
    let answer = ask("text/event-stream", json!({ "query": "{__typename}" })).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/event-stream"));
    assert!(answer.text.starts_with("event: next\ndata: {\"data\":{\"__typename\":\"Query\"}"), "{}", answer.text);
    assert!(answer.text.ends_with("event: complete\ndata:\n\n"), "{}", answer.text);
    let answer = ask("text/event-stream", json!({ "query": "{" })).await;
    assert!(answer.status == 200 && answer.text.contains("GRAPHQL_PARSE_FAILED"), "{}", answer.text);
    let answer = ask(GRAPHQL, json!({ "query": "subscription {lotChanged {position}}" })).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "SUBSCRIPTION_NEEDS_STREAM"));
}

#[tokio::test]
async fn connections_are_counted() {
    let app = router(state(Limits { connections: 0, ..Limits::default() }));
    let answer = send(&app, post("application/json", "text/event-stream", r#"{"query":"{__typename}"}"#)).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "TOO_MANY_CONNECTIONS"));
}

#[tokio::test]
async fn health_says_what_is_missing() {
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(send(&app(), get("/health/live")).await.json(), json!({ "status": "live" }));
    let mut state = state(Limits::default());
    state.readiness.push(("writer", std::sync::Arc::new(|| Err("partition 0 is recovering".to_owned()))));
    let answer = send(&router(state), get("/health/ready")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["status"].as_str()), (503, Some("not ready")));
    let writer = json!({ "name": "writer", "ready": false, "reason": "partition 0 is recovering" });
    assert_eq!(answer.json()["checks"][1], writer, "{}", answer.text);
    assert_eq!(send(&app(), get("/metrics")).await.status, 200);
    assert_eq!(send(&app(), get("/nothing")).await.code(), "NOT_FOUND");
    assert!(send(&app(), get("/graphiql")).await.text.contains("Lotline"));
}

#[tokio::test]
async fn suggestions_and_introspection_can_be_off() {
    let message = async |limits: Limits, query: &str| {
        let body = json!({ "query": query }).to_string();
        let answer = send(&router(state(limits)), post("application/json", GRAPHQL, body)).await;
        answer.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned()
    };
    assert!(message(Limits::default(), "{lotz}").await.contains("lots"));
    let quiet = Limits { suggestions: false, introspection: false, ..Limits::default() };
    assert!(!message(quiet.clone(), "{lotz}").await.contains("lots"));
    for query in ["{__schema{types{name}}}", "{...F} fragment F on Query{__type(name: \"Lot\"){name}}"] {
        assert!(message(quiet.clone(), query).await.contains("introspection"), "{query}");
    }
}

//! From one request's trace to everything that it caused, as a collector of OpenTelemetry sees it.

use std::time::{Duration, Instant};

use axum::http::{HeaderValue, StatusCode};
use futures_util::SinkExt;
use lotline_tests::client::{Client, decision, lot};
use lotline_tests::server::{Log, Server, Settings, free_port};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::metric::metric;
use crate::site::{self, Plant, SITE};
use crate::span_collector::{Collector, Told};

const PATIENCE: Duration = Duration::from_mins(1);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const OTHER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SECRET: &str = "Bearer hunter2hunter2";

/// A plant whose servers send spans to an address.
async fn plant(name: &str, log: Log, endpoint: &str, ratio: &str) -> Plant {
    let mut plant = Plant::new(name, log).await;
    for (key, value) in [
        ("LOTLINE_TELEMETRY__OTLP__ENDPOINT", endpoint),
        ("LOTLINE_TELEMETRY__OTLP__SAMPLE_RATIO", ratio),
        ("LOTLINE_TELEMETRY__OTLP__HEADERS__AUTHORIZATION", SECRET),
        ("LOTLINE_TELEMETRY__FORMAT", "json"),
        ("NO_PROXY", "127.0.0.1"),
    ] {
        plant.settings.environment.push((key.to_owned(), value.to_owned()));
    }
    plant
}

/// A mutation as part of a trace, or of none. Gives the answer, and its `traceresponse`.
async fn mutate(server: &Server, name: &str, input: &Value, traceparent: Option<&str>) -> (Value, Option<String>) {
    let kind = name[..1].to_uppercase() + &name[1..];
    let query = format!(
        "mutation FromTheTablet($input: {kind}Input!) {{ {name}(input: $input) {{ position userErrors {{ code message }} }} }}"
    );
    let mut request = reqwest::Client::new().post(format!("{}/graphql", server.url)).header("x-lotline-actor", "ann");
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let body = json!({ "query": query, "operationName": "FromTheTablet", "variables": { "input": input } });
    let answer = request.json(&body).send().await.unwrap();
    let response = answer.headers().get("traceresponse").map(|value| value.to_str().unwrap().to_owned());
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["data"][name]["userErrors"], json!([]), "{answer}");
    (answer["data"][name].clone(), response)
}

fn sampled(trace: &str) -> String {
    format!("00-{trace}-{PARENT}-01")
}

fn named<'a>(spans: &'a [Told], trace: &str, name: &str) -> Option<&'a Told> {
    spans.iter().find(|told| told.span.name == name && told.trace() == trace)
}

/// The spans of a trace, each the child of the one before it.
fn chain(spans: &[Told], trace: &str, names: &[&str]) -> Option<Vec<Told>> {
    let mut parent = hex::decode(PARENT).unwrap();
    let mut chain = Vec::new();
    for name in names {
        let told = spans
            .iter()
            .find(|told| told.span.name == *name && told.trace() == trace && told.span.parent_span_id == parent)?;
        parent.clone_from(&told.span.span_id);
        chain.push(told.clone());
    }
    Some(chain)
}

/// One node has the API and nothing else, so each command is forwarded to the other, and what subscribers are told comes from the other's projections.
#[tokio::test]
async fn from_a_request_at_one_node_to_a_subscriber_by_way_of_another() {
    let collector = Collector::start().await;
    let mut plant = plant("traced", Log::Kafka, &collector.endpoint, "0").await;
    plant.settings.environment.push(("OTEL_SERVICE_NAME".into(), "dairy".into()));
    let working = plant.serve().await;
    let mut settings: Settings = plant.settings.clone();
    settings.environment.push(("LOTLINE_CLUSTER__NODE".into(), "edge".into()));
    let edge = Server::start(&settings, &["serve", "--roles", "api"]).await;

    let client = Client::new(&edge.url, "ann");
    let watched = "subscription OnTheWall { lotChanged(site: \"north\") { lots { code } } }";
    let mut subscription = client.subscribe(watched, &json!({})).await;
    // Three of them: a subscriber who is woken by the table before the announcement has come is told without a link.
    let mut response = None;
    for number in 1..=3 {
        let code = format!("L-otto-{number}");
        let mut input = lot(SITE, &code, "5", &[]);
        input["product"] = json!("Ottos Rahm");
        response = mutate(&edge, "registerLot", &input, Some(&sampled(TRACE))).await.1;
        let told = subscription.next(PATIENCE).await.expect("the subscriber is told");
        assert_eq!(told["lotChanged"]["lots"][0]["code"], code);
    }
    let mut judged = decision(SITE, "L-otto-1", "HOLD");
    judged["notes"] = json!("Frau Huber war krank");
    mutate(&edge, "recordQcDecision", &judged, Some(&sampled(TRACE))).await;

    let way = ["POST /graphql", "mutation", "forward", "POST /peer/v1/commands", "command", "append"];
    let spans = collector.until("whole way", |spans| chain(spans, TRACE, &way)).await;
    let [request, operation, forward, taken, command, append] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((request.service.as_str(), request.instance.as_str()), ("dairy", "edge"));
    assert_eq!((taken.instance.as_str(), command.instance.as_str()), ("one", "one"));
    for (told, kind) in [
        (request, SpanKind::Server),
        (operation, SpanKind::Internal),
        (forward, SpanKind::Client),
        (taken, SpanKind::Server),
        (command, SpanKind::Internal),
        (append, SpanKind::Internal),
    ] {
        assert_eq!(told.span.kind(), kind, "{}", told.line());
        assert!(told.span.start_time_unix_nano > 0 && told.span.end_time_unix_nano >= told.span.start_time_unix_nano);
    }
    for (told, name, value) in [
        (request, "http.request.method", "POST"),
        (request, "http.route", "/graphql"),
        (request, "http.response.status_code", "200"),
        (operation, "graphql.operation.type", "mutation"),
        (operation, "graphql.operation.name", "FromTheTablet"),
        (command, "lotline.command", "register_lot"),
        (command, "lotline.outcome", "accepted"),
        (command, "lotline.stream", SITE),
    ] {
        assert_eq!(told.attribute(name).as_deref(), Some(value), "{} has {name}", told.line());
    }
    let response = response.expect("the answer names its trace");
    assert!(response.starts_with(&format!("00-{TRACE}-")) && response.ends_with("-01"), "{response}");

    let decided = [&way[..5], &["decide"]].concat();
    collector.until("decision", |spans| chain(spans, TRACE, &decided)).await;
    linked(&collector, &plant).await;
    let (trace, id) = (TRACE.to_owned(), command.span.span_id.clone());
    let header = format!("00-{trace}-{}-01", hex::encode(&id));
    assert!(events_of(&plant).await.contains(&Some(header)), "the event goes on from the command");
    drop(working);

    nothing_of_people(&collector);
}

fn nothing_of_people(collector: &Collector) {
    for text in ["otto", "Ottos Rahm", "Huber", "krank", "ann", "lots { code", "127.0.0.1", "hunter2"] {
        assert!(!collector.has_heard(text), "'{text}' has left the house");
    }
    assert!(collector.has_heard("FromTheTablet"), "what has left it can be found");
    for headers in collector.headers() {
        assert_eq!(headers.get("authorization").map(HeaderValue::as_bytes), Some(SECRET.as_bytes()));
    }
}

/// What goes on in traces of its own: the transaction, the read models, the subscriber.
async fn linked(collector: &Collector, plant: &Plant) {
    let commands = |spans: &[Told]| -> Vec<Vec<u8>> {
        let of = spans.iter().filter(|told| told.span.name == "command" && told.trace() == TRACE);
        of.map(|told| told.span.span_id.clone()).collect()
    };
    let topic = format!("lotline.{}.ledger.v1", plant.settings.tenant);
    let mut found = Vec::new();
    for name in [&format!("send {topic}"), "process lots", "process audit", "process qc_decisions", "deliver"] {
        let told = collector.until(name, |spans| {
            let commands = commands(spans);
            let linked = |told: &&Told| commands.iter().any(|command| told.links_to(TRACE, command));
            spans.iter().filter(|told| told.span.name == *name).find(linked).cloned()
        });
        found.push(told.await);
    }
    let [send, lots, _, _, deliver] = &found[..] else { panic!("{found:?}") };
    let kinds = [send.span.kind(), lots.span.kind(), deliver.span.kind()];
    assert_eq!(kinds, [SpanKind::Producer, SpanKind::Consumer, SpanKind::Producer]);
    for (told, name, value) in [
        (send, "messaging.system", "kafka"),
        (send, "messaging.destination.name", topic.as_str()),
        (send, "messaging.batch.message_count", "1"),
        (lots, "messaging.operation.type", "process"),
        (lots, "lotline.model", "lots"),
        (deliver, "graphql.operation.name", "OnTheWall"),
    ] {
        assert_eq!(told.attribute(name).as_deref(), Some(value), "{} has {name}", told.line());
    }
    assert_eq!((lots.instance.as_str(), deliver.instance.as_str()), ("one", "edge"));
    let appended = collector.spans();
    let appended = appended.iter().filter(|told| told.span.name == "append");
    assert!(appended.clone().count() > 0);
    for append in appended {
        collector
            .until("transaction of an append", |spans| {
                let sent = spans.iter().filter(|told| told.span.name.starts_with("send "));
                sent.clone().any(|send| append.links_to(&send.trace(), &send.span.span_id)).then_some(())
            })
            .await;
    }
}

/// The contexts in the ledger.
async fn events_of(plant: &Plant) -> Vec<Option<String>> {
    let ledger = plant.ledger().await;
    let mut found = Vec::new();
    for partition in 0..ledger.partitions() {
        let end = ledger.end(partition).await.unwrap();
        let mut reader = ledger.reader(partition, 0).await.unwrap();
        let mut next = 0;
        while next < end {
            let read = reader.read(1_000, Duration::from_secs(1)).await.unwrap();
            found.extend(read.records.iter().map(|stored| {
                let header = stored.record.headers.iter().find(|header| header.name == "traceparent");
                header.map(|header| String::from_utf8(header.value.to_vec()).unwrap())
            }));
            next = read.next;
        }
    }
    found
}

#[tokio::test]
async fn who_asks_for_no_trace_gets_none_and_what_is_left_is_sent_at_the_end() {
    let collector = Collector::start().await;
    let plant = plant("unsampled", Log::Postgres, &collector.endpoint, "0").await;
    let mut server = plant.serve().await;
    let unsampled = format!("00-{OTHER_TRACE}-{PARENT}-00");
    let (_, response) = mutate(&server, "registerLot", &lot(SITE, "L-1", "5", &[]), Some(&unsampled)).await;
    assert_eq!(response, None, "nothing is recorded of it");
    let (_, response) = mutate(&server, "registerLot", &lot(SITE, "L-2", "5", &[]), None).await;
    assert_eq!(response, None, "the ratio is 0");
    // The first batch is not taken at once.
    collector.refuse_next(StatusCode::SERVICE_UNAVAILABLE);
    let (last, _) = mutate(&server, "registerLot", &lot(SITE, "L-3", "5", &[]), Some(&sampled(TRACE))).await;
    collector.until("request that is traced", |spans| named(spans, TRACE, "POST /graphql").cloned()).await;
    let ann = Client::new(&server.url, "ann");
    site::lot(&ann, "L-3", &last["position"]).await;
    mutate(&server, "registerLot", &lot(SITE, "L-4", "5", &[]), Some(&sampled(TRACE))).await;
    assert!(server.stop(PATIENCE).await, "it ends well:\n{}", server.printed());

    let spans = collector.spans();
    let requests = spans.iter().filter(|told| told.span.name == "POST /graphql").count();
    assert_eq!(requests, 2, "each once, the last one also: it was still waiting when the server ended");
    for told in &spans {
        let of_trace = |link: &opentelemetry_proto::tonic::trace::v1::span::Link| hex::encode(&link.trace_id) == TRACE;
        let due = told.trace() == TRACE || told.span.links.iter().any(of_trace);
        assert!(due && told.trace() != OTHER_TRACE, "nobody asked for {}", told.line());
    }
    let contexts = events_of(&plant).await;
    assert!(contexts.contains(&Some(unsampled)), "what was brought stands in the event as it was: {contexts:?}");
    assert!(contexts.contains(&None), "and nothing where nothing was brought: {contexts:?}");
}

#[tokio::test]
async fn without_a_trace_of_its_own_a_request_begins_one_as_often_as_the_ratio_says() {
    let collector = Collector::start().await;
    let plant = plant("ratio", Log::Postgres, &collector.endpoint, "1").await;
    let server = plant.serve().await;
    let (_, response) = mutate(&server, "registerLot", &lot(SITE, "L-1", "5", &[]), None).await;
    let response = response.expect("the ratio is 1");
    let trace = response.split('-').nth(1).unwrap();
    let told = collector.until("root", |spans| named(spans, trace, "POST /graphql").cloned()).await;
    assert!(told.span.parent_span_id.is_empty(), "{}", told.line());
    collector.until("append", |spans| named(spans, trace, "append").cloned()).await;
    reqwest::get(format!("{}/health/ready", server.url)).await.unwrap();
    assert!(!collector.spans().iter().any(|told| told.span.name.contains("health")), "probes are not traced");

    // A log line about a request says whose it is. This one pretends to come from another node.
    let forged = reqwest::Client::new().post(format!("{}/peer/v1/commands", server.url)).body("{}");
    assert_eq!(forged.header("traceparent", sampled(TRACE)).send().await.unwrap().status(), 401);
    let printed = server.printed();
    let line = printed.lines().find(|line| line.contains("from another node was refused")).expect("it is logged");
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["span"]["trace_id"], TRACE, "{line}");
    assert_eq!(line["span"]["span_id"].as_str().map(str::len), Some(16), "{line}");
}

/// What is asked on a socket begins a trace each time: the socket outlives them all.
#[tokio::test]
async fn each_operation_on_a_socket_has_a_trace_of_its_own() {
    let collector = Collector::start().await;
    let plant = plant("socket", Log::Postgres, &collector.endpoint, "1").await;
    let server = plant.serve().await;
    let mut request = format!("{}/graphql", server.url.replace("http://", "ws://")).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let watched = "subscription OnTheTablet { lotChanged(site: \"north\") { lots { code } } }";
    for message in [
        json!({ "type": "connection_init" }),
        json!({ "type": "subscribe", "id": "1", "payload": { "query": watched } }),
        json!({ "type": "subscribe", "id": "2", "payload": { "query": "query One { sites }" } }),
        json!({ "type": "subscribe", "id": "3", "payload": { "query": "query Two { sites }" } }),
    ] {
        socket.send(Message::text(message.to_string())).await.unwrap();
    }
    let operation = async |name: &'static str| {
        let of = |told: &&Told| told.attribute("graphql.operation.name").as_deref() == Some(name);
        collector.until(name, |spans| spans.iter().find(|told| of(told) && told.span.name != "deliver").cloned()).await
    };
    let (one, two, opened) = (operation("One").await, operation("Two").await, operation("OnTheTablet").await);
    for told in [&one, &two, &opened] {
        assert!(told.span.parent_span_id.is_empty() && told.span.kind() == SpanKind::Server, "{}", told.line());
    }
    assert!(one.trace() != two.trace() && two.trace() != opened.trace());
    // The subscription has begun, since its span has ended.
    for number in 1..=3 {
        mutate(&server, "registerLot", &lot(SITE, &format!("L-{number}"), "5", &[]), Some(&sampled(TRACE))).await;
    }
    let deliver = collector.until("delivery", |spans| {
        let linked = |told: &&Told| told.span.name == "deliver" && told.links_to(&opened.trace(), &opened.span.span_id);
        spans.iter().find(linked).cloned()
    });
    let deliver = deliver.await;
    assert!(deliver.span.links.iter().any(|link| hex::encode(&link.trace_id) == TRACE), "{}", deliver.line());
}

/// Spans that had this outcome.
async fn spans(server: &Server, outcome: &str) -> f64 {
    metric(server, &format!("lotline_trace_spans_total{{outcome=\"{outcome}\"}} ")).await
}

#[tokio::test]
async fn a_collector_that_is_not_there_harms_nothing() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let mut plant = plant("nobody", Log::Postgres, &nobody, "1").await;
    plant.settings.environment.push(("LOTLINE_TELEMETRY__OTLP__QUEUE".into(), "4".into()));
    let mut server = plant.serve().await;
    let shown = reqwest::get(format!("{}/metrics", server.url)).await.unwrap().text().await.unwrap();
    assert!(shown.contains("lotline_trace_spans_total{outcome=\"failed\"} 0"), "it is there from the start: {shown}");
    let until = Instant::now() + PATIENCE;
    let (mut number, mut failed, mut failures) = (0, 0.0, 0);
    while failures < 2 || spans(&server, "queue_full").await < 1.0 {
        number += 1;
        mutate(&server, "registerLot", &lot(SITE, &format!("L-{number}"), "5", &[]), None).await;
        let now = spans(&server, "failed").await;
        failures += u32::from(now > failed);
        failed = now;
        assert!(Instant::now() < until, "not enough is counted as lost:\n{}", server.printed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    assert!(server.stop(PATIENCE).await, "it ends well:\n{}", server.printed());
    assert!(began.elapsed() < PATIENCE);
    let printed = server.printed();
    let complaints = printed.lines().filter(|line| line.contains("spans do not reach the collector")).count();
    assert_eq!(complaints, 1, "it is said once in a while:\n{printed}");
    assert!(printed.contains("Connection refused"), "with the cause:\n{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(!printed.contains("not stopped within"), "{printed}");
}

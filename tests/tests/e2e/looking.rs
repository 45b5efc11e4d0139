//! Who looks at the audit trail, and by which ids a request is found again: in the ledger and in the lines of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use lotline_domain::access::role::Role;
use lotline_domain::port::LogRead;
use lotline_tests::client::key;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use uuid::Uuid;

use crate::trail::{Counts, PATIENCE, attempts, rows, told};
use crate::visitor::{House, PASSWORD, bearer};

const VIC: &str = "vic@dairy.example";
const FOLLOW: &str = "subscription { auditTrail { entry { id } } }";

/// The ways to see an event of the trail.
#[derive(Debug, Clone, Copy)]
enum Way {
    Query,
    Node,
    Nodes,
    EventStream,
    Socket,
}

const WAYS: [Way; 5] = [Way::Query, Way::Node, Way::Nodes, Way::EventStream, Way::Socket];

impl Way {
    fn field(self) -> &'static str {
        match self {
            Self::Query | Self::EventStream | Self::Socket => "auditTrail",
            Self::Node => "node",
            Self::Nodes => "nodes",
        }
    }

    /// What is to be recorded beside the reader.
    fn record(self, event: Uuid) -> Value {
        let (operation, shown) = match self {
            Self::Query => ("query", Some(3)),
            Self::Node => ("query", Some(1)),
            Self::Nodes => ("query", Some(2)),
            Self::EventStream | Self::Socket => ("subscription", None),
        };
        let mut record = json!({ "field": self.field(), "operation": operation, "asked": {} });
        if let Some(shown) = shown {
            record["shown"] = json!(shown);
        }
        if matches!(self, Self::Node) {
            record["asked"] = json!({ "id": event });
        }
        record
    }

    /// Looks, and gives what was answered first; nothing when a stream has begun and has nothing to tell yet.
    async fn look(self, house: &House, bearer: &str, correlation: Uuid, event: &str) -> Option<String> {
        let id = correlation.to_string();
        let headers = [
            ("authorization", bearer),
            ("x-correlation-id", id.as_str()),
            ("accept", "application/graphql-response+json"),
        ];
        let query = match self {
            Self::Query => "{ auditTrail(first: 3) { nodes { id } } }".to_owned(),
            Self::Node => format!("{{ node(id: \"{event}\") {{ id }} }}"),
            Self::Nodes => format!("{{ nodes(ids: [\"{event}\", \"{event}\"]) {{ id }} }}"),
            Self::EventStream => {
                let request = reqwest::Client::new().post(format!("{}/graphql", house.server.url));
                let request = request.json(&json!({ "query": FOLLOW })).header("accept", "text/event-stream");
                let request = request.header("authorization", bearer).header("x-correlation-id", id);
                let mut answer = request.send().await.unwrap();
                // Whoever is refused is told so at once.
                let first = tokio::time::timeout(Duration::from_secs(2), answer.chunk()).await.ok()?;
                return first.unwrap().map(|chunk| String::from_utf8_lossy(&chunk).into_owned());
            }
            Self::Socket => return by_socket(house, bearer, &id).await,
        };
        Some(house.graphql(&headers, &query, &json!({})).await.body.to_string())
    }
}

async fn by_socket(house: &House, bearer: &str, id: &str) -> Option<String> {
    let mut request = format!("{}/graphql", house.server.url.replace("http", "ws")).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    request.headers_mut().insert("x-correlation-id", id.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    for message in [
        json!({ "type": "connection_init", "payload": { "authorization": bearer } }),
        json!({ "type": "subscribe", "id": "1", "payload": { "query": FOLLOW } }),
    ] {
        // The server wants to have answered the first before it reads the second.
        socket.send(Message::text(message.to_string())).await.unwrap();
        let until = Duration::from_secs(if message["id"].is_null() { 60 } else { 2 });
        let frame = tokio::time::timeout(until, socket.next()).await.ok()?;
        let text = frame.unwrap().unwrap().to_string();
        if !text.contains("connection_ack") {
            return Some(text);
        }
    }
    None
}

/// The first event, once more than three are shown.
async fn some_event(house: &House) -> Uuid {
    let until = Instant::now() + PATIENCE;
    loop {
        let sql = "SELECT id FROM read.audit ORDER BY sequence";
        let events: Vec<Uuid> = sqlx::query_scalar(sql).fetch_all(&house.plant.database.pool).await.unwrap();
        if events.len() > 3 {
            return events[0];
        }
        assert!(Instant::now() < until, "the read model shows nothing");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn each_way_of_looking_is_recorded_and_who_may_not_is_counted() {
    let (house, admin) = House::with_admin("looking").await;
    let eve = house.member(admin, "eve", None, Role::Auditor).await;
    let vic = house.member(admin, "vic", None, Role::Engineer).await;
    let (robot, secret) = house.key(admin, "robot", &[Role::Operator]).await;
    let (auditor, viewer, robot_bearer) = (house.token(eve).await, house.token(vic).await, format!("Bearer {secret}"));
    house.until(&[("authorization", &robot_bearer)], 200).await;
    let event = some_event(&house).await;
    let global = BASE64_URL_SAFE_NO_PAD.encode(format!("audit_entry:{event}"));

    let mut expected = BTreeMap::new();
    for way in WAYS {
        let id = key();
        let answer = way.look(&house, &auditor, id, &global).await;
        assert!(answer.is_none_or(|text| !text.contains("errors")), "{way:?}");
        expected.insert(id, way.record(event));
    }
    // To look at something else is no reading of the trail.
    let lot = BASE64_URL_SAFE_NO_PAD.encode(format!("lot:{}", key()));
    house
        .data(&auditor, &format!("{{ node(id: \"{lot}\") {{ id }} lots(first: 1) {{ nodes {{ id }} }} }}"), &json!({}))
        .await;

    let mut counts = Counts::new();
    for (subject, kind, bearer) in
        [(format!("user/{vic}"), "not_allowed", &viewer), (format!("api_key/{robot}"), "outside_scope", &robot_bearer)]
    {
        for way in WAYS {
            let text = way.look(&house, bearer, key(), &global).await.expect("a refusal is told");
            assert!(text.contains("FORBIDDEN") && !text.contains(&global), "{way:?}: {text}");
            *counts.entry((subject.clone(), kind.to_owned(), way.field().to_owned())).or_default() += 1;
        }
    }
    // What is asked for beside GraphQL.
    for (headers, subject, kind, status) in [
        (vec![], "door/unknown".to_owned(), "anonymous", 401),
        (vec![("authorization", robot_bearer.as_str())], format!("api_key/{robot}"), "outside_scope", 403),
    ] {
        assert_eq!(house.get("/api/v1/auth/sessions", &headers).await.status, status);
        counts.insert((subject, kind.to_owned(), String::new()), 1);
    }

    let rows = told(&house, counts.values().sum()).await;
    assert_eq!(attempts(&rows), (counts, 0));
    let read = rows.iter().filter(|row| row.event_type == "lotline.access.trail_read.v1");
    let found: BTreeMap<Uuid, Value> = read
        .map(|row| {
            assert_eq!((row.actor.as_str(), &row.subject), (eve.actor().as_str(), &format!("user/{eve}")));
            let mut data: Value = serde_json::from_str(&row.data).unwrap();
            assert_eq!(data.as_object_mut().unwrap().remove("reader"), Some(json!(eve.actor())));
            (row.correlation_id, data)
        })
        .collect();
    assert_eq!(found, expected);
}

/// Of each event, by its correlation id: type and trace context, as integrators read them.
async fn headers(log: &dyn LogRead) -> BTreeSet<(String, String, String)> {
    let mut found = BTreeSet::new();
    for partition in 0..log.partitions() {
        let end = log.end(partition).await.unwrap();
        let (mut reader, mut next) = (log.reader(partition, 0).await.unwrap(), 0);
        while next < end {
            let read = reader.read(1_000, Duration::from_secs(1)).await.unwrap();
            for stored in &read.records {
                let header = |name: &str| {
                    let found = stored.record.headers.iter().find(|header| header.name == name);
                    found.map(|header| String::from_utf8(header.value.to_vec()).unwrap()).unwrap_or_default()
                };
                found.insert((header("ce_correlationid"), header("ce_type"), header("traceparent")));
            }
            next = read.next;
        }
    }
    found
}

fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Whether a line of JSON says something within the request of these ids.
fn says(printed: &str, message: &str, correlation: &str, trace: &str) -> bool {
    let lines = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let within = |line: &Value| line["span"]["correlation_id"] == correlation && line["span"]["trace_id"] == trace;
    lines.into_iter().any(|line| line["message"] == message && within(&line))
}

#[tokio::test]
async fn the_ids_of_a_request_are_in_its_events_and_in_its_lines() {
    let settings = [("LOTLINE_TELEMETRY__FORMAT", "json"), ("LOTLINE_TELEMETRY__LEVEL", "info,lotline_api=debug")];
    let (house, admin) = House::set("looking-ids", &settings).await.administered().await;
    house.person(admin, VIC, None, &[Role::Operator]).await;
    let (_, secret) = house.key(admin, "robot", &[Role::Viewer]).await;
    house.until(&[("x-api-key", &secret)], 200).await;

    let mut expected = Vec::new();
    let mut ids = |event: &'static str, message: &'static str| {
        let (correlation, trace) = (key().to_string(), key().simple().to_string());
        let parent = format!("00-{trace}-00f067aa0ba902b7-01");
        expected.push((correlation.clone(), trace, event, parent.clone(), message));
        (correlation, parent)
    };
    let given = |ids: &(String, String), more: (&'static str, String)| {
        vec![("x-correlation-id", ids.0.clone()), ("traceparent", ids.1.clone()), more]
    };
    let plain = ("accept", "application/json".to_owned());

    let headers_in = given(&ids("lotline.access.signed_in.v1", "signed in"), plain.clone());
    let body = json!({ "email": VIC, "password": PASSWORD });
    let signed_in = house.post("sign-in", &borrowed(&headers_in), &body).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.body);
    let vic = bearer(&signed_in);
    let registering =
        given(&ids("lotline.lot.registered.v1", "a command was answered"), ("authorization", vic.clone()));
    let answer = house.register(&borrowed(&registering), "L-1").await;
    assert_eq!(answer.body["data"]["registerLot"]["userErrors"], json!([]), "{}", answer.body);
    let trying = given(&ids("lotline.command.refused.v1", "a command was answered"), ("x-api-key", secret));
    let answer = house.register(&borrowed(&trying), "L-2").await;
    assert_eq!(answer.body["data"]["registerLot"]["userErrors"][0]["code"], "FORBIDDEN", "{}", answer.body);
    let leaving = given(&ids("lotline.access.signed_out.v1", "signed out"), ("authorization", vic));
    assert_eq!(house.post("sign-out", &borrowed(&leaving), &json!({})).await.status, 200);
    let guess = ("authorization", "Bearer guess".to_owned());
    let guessing = given(&ids("lotline.access.attempts_refused.v1", "an attempt was refused"), guess);
    house.graphql(&borrowed(&guessing), "{ tenant }", &json!({})).await.is(401, "INVALID_TOKEN");

    told(&house, 1).await;
    let (ledger, until) = (house.plant.ledger().await, Instant::now() + PATIENCE);
    for (correlation, trace, event, parent, message) in expected {
        let record = (correlation.clone(), event.to_owned(), parent);
        loop {
            let found = headers(ledger.as_ref()).await;
            if found.contains(&record) && says(&house.server.printed(), message, &correlation, &trace) {
                break;
            }
            assert!(Instant::now() < until, "{record:?} and {message}: {found:?}\n{}", house.server.printed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert!(rows(&house).await.iter().all(|row| !row.data.contains("traceparent")));
}

//! What happens at the door of the real binary, as an auditor finds it in the audit trail.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use lotline_domain::access::role::Role;
use lotline_domain::id::{ApiKeyId, UserId};
use lotline_tests::client::key;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::visitor::{Answer, House, PASSWORD, bearer};

const PATIENCE: Duration = Duration::from_mins(2);
const VIC: &str = "vic@dairy.example";
const AUDITOR: &str = "eve@dairy.example";
const TRAIL: &str = "query($f: AuditFilterInput) { auditTrail(first: 100, filter: $f) { nodes { eventType subject actor correlationId data } } }";

/// A record as the read model has it.
#[derive(sqlx::FromRow)]
struct Row {
    event_type: String,
    subject: String,
    actor: String,
    correlation_id: Uuid,
    data: String,
}

/// Subject, kind and field of attempts, with their number.
type Counts = BTreeMap<(String, String, String), u64>;

/// The records of the door in the read model, which is looked at without leaving a record.
async fn rows(house: &House) -> Vec<Row> {
    let sql = "SELECT event_type, subject, actor, correlation_id, data::TEXT AS data FROM read.audit
               WHERE stream = '_tenant' AND event_type LIKE 'lotline.access.%' ORDER BY sequence";
    sqlx::query_as(sql).fetch_all(&house.plant.database.pool).await.unwrap()
}

fn attempts(rows: &[Row]) -> (Counts, u64) {
    let (mut counts, mut others) = (Counts::new(), 0);
    for row in rows.iter().filter(|row| row.event_type == "lotline.access.attempts_refused.v1") {
        assert_eq!(row.actor, "lotline");
        let data: Value = serde_json::from_str(&row.data).unwrap();
        others += data["others"].as_u64().unwrap();
        for entry in data["attempts"].as_array().unwrap() {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            assert!(text("first_at") <= text("last_at"), "{entry}");
            *counts.entry((row.subject.clone(), text("kind"), text("field"))).or_default() +=
                entry["count"].as_u64().unwrap();
        }
    }
    (counts, others)
}

/// Waits until so many attempts have been told.
async fn told(house: &House, expected: u64) -> Vec<Row> {
    let until = Instant::now() + PATIENCE;
    loop {
        let rows = rows(house).await;
        let (counts, others) = attempts(&rows);
        if counts.values().sum::<u64>() + others >= expected {
            return rows;
        }
        assert!(Instant::now() < until, "{expected} attempts were not told: {counts:?} and {others}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A request's headers: who, and under which correlation id.
async fn post(house: &House, path: &str, authorization: Option<&str>, id: Uuid, body: &Value) -> Answer {
    let id = id.to_string();
    let mut headers = vec![("x-correlation-id", id.as_str())];
    headers.extend(authorization.map(|text| ("authorization", text)));
    house.post(path, &headers, body).await
}

async fn sign_in(house: &House, email: &str, password: &str, id: Uuid) -> Answer {
    post(house, "sign-in", None, id, &json!({ "email": email, "password": password })).await
}

/// Comes, goes, comes again, and is robbed of a refresh token. Gives the expected records.
async fn come_and_go(house: &House, vic: UserId, ids: [Uuid; 4]) -> Vec<Value> {
    let first = sign_in(house, VIC, PASSWORD, ids[0]).await;
    assert_eq!(post(house, "sign-out", Some(&bearer(&first)), ids[1], &json!({})).await.status, 200);
    let second = sign_in(house, VIC, PASSWORD, ids[2]).await;
    let stolen = json!({ "refreshToken": second.body["refreshToken"] });
    let next = house.post("refresh", &[], &stolen).await;
    let next = house.post("refresh", &[], &json!({ "refreshToken": next.body["refreshToken"] })).await;
    assert_eq!(next.status, 200, "{}", next.body);
    post(house, "refresh", None, ids[3], &stolen).await.is(401, "REFRESH_REFUSED");
    let record = |kind: &str, actor: &str, id: Uuid, more: Value| {
        let mut data = json!({ "user_id": vic });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "eventType": format!("lotline.access.{kind}.v1"), "subject": format!("user/{vic}"), "actor": actor,
            "correlationId": id, "data": data })
    };
    let own = vic.actor();
    let session = |answer: &Answer| answer.body["sessionId"].clone();
    let by = |answer: &Answer| json!({ "session_id": session(answer), "method": "password" });
    vec![
        record("signed_in", own.as_str(), ids[0], by(&first)),
        record("signed_out", own.as_str(), ids[1], json!({ "session_id": session(&first), "why": "asked" })),
        record("signed_in", own.as_str(), ids[2], by(&second)),
        record(
            "signed_out",
            "lotline",
            ids[3],
            json!({ "session_id": session(&second), "why": "stolen_refresh_token" }),
        ),
    ]
}

/// Is refused in every way. Gives what is to be counted.
async fn refusals(house: &House, vic: UserId, robot: (ApiKeyId, &str)) -> Counts {
    let mut expected = Counts::new();
    let mut count = |subject: String, kind: &str, field: &str| {
        *expected.entry((subject, kind.to_owned(), field.to_owned())).or_default() += 1;
    };
    let (user, nobody) = (format!("user/{vic}"), "door/unknown".to_owned());
    loop {
        let answer = sign_in(house, VIC, "nine goats on the roof", key()).await;
        let kind = if answer.status == 429 { "locked" } else { "wrong_password" };
        count(user.clone(), kind, "");
        if answer.status == 429 {
            break;
        }
        answer.is(401, "SIGN_IN_REFUSED");
    }
    sign_in(house, "nobody@dairy.example", PASSWORD, key()).await.is(401, "SIGN_IN_REFUSED");
    count(nobody.clone(), "unknown_name", "");
    let own = house.token(vic).await;
    let (header, _) = own.split_once('.').unwrap();
    let forged = own.replace(header, "Bearer eyJhbGciOiJub25lIn0");
    let given = [("authorization", own.as_str()), ("x-api-key", robot.1)];
    for (headers, status, subject, kind, field) in [
        (&given[..1], 403, &user, "not_allowed", "auditTrail"),
        (&given[1..], 403, &format!("api_key/{}", robot.0), "outside_scope", "auditTrail"),
        (&given[..], 400, &nobody, "ambiguous", ""),
        (&[], 401, &nobody, "anonymous", ""),
        (&[("authorization", "Bearer x")], 401, &nobody, "bad_token", ""),
        (&[("authorization", "Bearer lotline_0")], 401, &nobody, "unknown_key", ""),
        (&[("authorization", forged.as_str())], 401, &nobody, "bad_token", ""),
        (&[("origin", "http://evil.example")], 403, &nobody, "foreign_origin", ""),
    ] {
        let accept = ("accept", "application/graphql-response+json");
        let headers: Vec<_> = headers.iter().copied().chain([accept]).collect();
        let answer = house.graphql(&headers, TRAIL, &json!({})).await;
        assert_eq!(answer.status, status, "{kind}: {}", answer.body);
        count(subject.clone(), kind, field);
    }
    let link = json!({ "link": "lotline_link_0", "password": PASSWORD });
    house.post("password", &[], &link).await.is(410, "LINK_REFUSED");
    count(nobody, "bad_link", "");
    expected
}

/// The audit trail as somebody reads it under a correlation id.
async fn read(house: &House, bearer: &str, id: Uuid, filter: Value) -> Vec<Value> {
    let (id, filter) = (id.to_string(), json!({ "f": filter }));
    let answer = house.graphql(&[("authorization", bearer), ("x-correlation-id", &id)], TRAIL, &filter).await;
    let nodes = answer.body["data"]["auditTrail"]["nodes"].as_array();
    let mut nodes = nodes.unwrap_or_else(|| panic!("{}", answer.body)).clone();
    nodes.reverse();
    nodes.retain(|node| node["eventType"].as_str().unwrap().starts_with("lotline.access."));
    nodes
}

#[tokio::test]
async fn what_happens_at_the_door_is_in_the_audit_trail() {
    let (house, admin) = House::with_admin("trail").await;
    let vic = house.person(admin, VIC, None, &[Role::Viewer]).await;
    let eve = house.person(admin, AUDITOR, None, &[Role::Auditor]).await;
    let (robot, secret) = house.key(admin, "robot", &[Role::Operator]).await;
    house.until(&[("x-api-key", &secret)], 200).await;

    let ids = [key(), key(), key(), key()];
    let mut expected = come_and_go(&house, vic, ids).await;
    let counts = refusals(&house, vic, (robot, &secret)).await;
    told(&house, counts.values().sum()).await;
    let (came, looked) = (key(), key());
    let signed_in = sign_in(&house, AUDITOR, PASSWORD, came).await;
    let auditor = bearer(&signed_in);
    expected.push(
        json!({ "eventType": "lotline.access.signed_in.v1", "subject": format!("user/{eve}"), "actor": eve.actor(),
        "correlationId": came,
        "data": { "user_id": eve, "session_id": signed_in.body["sessionId"], "method": "password" } }),
    );
    let until = Instant::now() + PATIENCE;
    while rows(&house).await.last().is_none_or(|row| row.correlation_id != came) {
        assert!(Instant::now() < until, "the sign-in is not shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let filter = json!({ "stream": "_tenant", "actor": "vic@dairy.example" });
    assert_eq!(read(&house, &auditor, looked, filter).await, Vec::<Value>::new());
    expected.push(
        json!({ "eventType": "lotline.access.trail_read.v1", "subject": format!("user/{eve}"), "actor": eve.actor(),
        "correlationId": looked, "data": { "reader": eve.actor(), "field": "auditTrail", "operation": "query",
            "asked": { "stream": "_tenant", "actor": "*" }, "shown": 0 } }),
    );
    while rows(&house).await.last().is_none_or(|row| row.correlation_id != looked) {
        assert!(Instant::now() < until, "the reading is not shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut found = read(&house, &auditor, key(), json!({ "stream": "_tenant" })).await;
    let refused = |node: &Value| node["eventType"] == "lotline.access.attempts_refused.v1";
    let batches = found.iter().filter(|node| refused(node)).count();
    found.retain(|node| !refused(node));
    assert_eq!(found, expected, "exactly these, in order");
    assert_eq!(attempts(&rows(&house).await), (counts, 0));
    assert!(batches <= 9, "three subjects, few batches: {batches}");

    // One filter is the history of a person: what they did, and what was tried with their name.
    let history = read(&house, &auditor, key(), json!({ "subject": format!("user/{vic}") })).await;
    assert!(history.iter().any(refused) && history.iter().any(|node| node["data"]["why"] == "asked"), "{history:?}");
    let own = house.token(vic).await;
    let forbidden = house.graphql(&[("authorization", &own)], TRAIL, &json!({})).await;
    assert_eq!(forbidden.code(), "FORBIDDEN", "{}", forbidden.body);

    let ledger: String = rows(&house).await.iter().map(|row| row.data.clone()).collect();
    for personal in ["127.0.0.1", "dairy.example", "goats"] {
        assert!(!ledger.contains(personal), "{personal} is in the ledger");
    }
    let printed = house.server.printed();
    assert!(printed.contains("an attempt was refused") && printed.contains("127.0.0.1"), "{printed}");
    assert!(!printed.contains("nobody@dairy.example"), "what was typed as a name is nowhere");
}

#[tokio::test]
async fn a_password_that_is_set_by_a_link_ends_what_was_before() {
    let (house, admin) = House::with_admin("trail-reset").await;
    let identity = &house.steward.identity;
    let link = identity.links.issue(lotline_domain::identity::port::LinkPurpose::PasswordReset, admin).await.unwrap();
    let (id, body) = (key(), json!({ "link": link.token.expose(), "password": "nine goats on the roof" }));
    assert_eq!(post(&house, "password", None, id, &body).await.status, 204);
    let until = Instant::now() + PATIENCE;
    let row = loop {
        if let Some(row) = rows(&house).await.into_iter().find(|row| row.correlation_id == id) {
            break row;
        }
        assert!(Instant::now() < until, "nothing was recorded");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let expected = json!({ "user_id": admin, "why": "reset" });
    assert_eq!((row.actor.as_str(), serde_json::from_str(&row.data).ok()), (admin.actor().as_str(), Some(expected)));
}

#[tokio::test]
async fn a_flood_makes_few_records_and_none_is_lost_when_the_server_stops() {
    const EACH: u64 = 1_000;
    let (mut house, _) = House::with_admin("trail-flood").await;
    let before = rows(&house).await.len();
    let (visitors, refused) = (&house, json!({ "query": "{ tenant }" }));
    let tried = iter(0..EACH).map(|number| {
        let refused = &refused;
        async move {
            let email = format!("guess-{number}@dairy.example");
            let wrong = sign_in(visitors, &email, PASSWORD, key()).await;
            let token = format!("Bearer guess-{number}");
            let bad =
                visitors.graphql(&[("authorization", &token)], refused["query"].as_str().unwrap(), &json!({})).await;
            (wrong.status, bad.status)
        }
    });
    let answers: Vec<(u16, u16)> = tried.buffer_unordered(32).collect().await;
    // Whoever is turned away since too many come at once has not tried anything.
    let busy = answers.iter().filter(|(wrong, _)| *wrong == 503).count() as u64;
    assert!(answers.iter().all(|(wrong, bad)| [401, 429, 503].contains(wrong) && *bad == 401));
    assert!(house.server.stop(PATIENCE).await, "it stops well");
    house.server = house.plant.serve().await;
    let rows = told(&house, 2 * EACH - busy).await;
    let (counts, others) = attempts(&rows);
    let of =
        |kind: &str| counts.get(&("door/unknown".to_owned(), kind.to_owned(), String::new())).copied().unwrap_or(0);
    assert_eq!((of("bad_token"), of("unknown_name") + of("throttled"), others), (EACH, EACH - busy, 0), "{counts:?}");
    assert!(rows.len() - before <= 12, "{} records", rows.len() - before);
}

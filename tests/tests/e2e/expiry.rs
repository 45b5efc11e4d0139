//! The end of an access token: what was begun with it ends with it while events flow, and from then on it lets nobody in.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use lotline_adapters::clock::SystemClock;
use lotline_domain::access::role::Role;
use lotline_domain::partition::partition_of;
use lotline_domain::port::Clock;
use lotline_tests::client::lot;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::door::{Socket, closed, socket};
use crate::site::{SITE, token};
use crate::visitor::{ADMIN, Answer, Feed, House, PATIENCE, bearer};

const SITES: [&str; 5] = [SITE, "south", "west", "east", "home"];
const LOTS: &str = "subscription { lotChanged(site: \"north\") { lots { code } } }";
/// How much later than its token a stream may end on a machine that has much else to do. It looks once a second, and at each event.
const SLACK_MS: i64 = 30_000;

fn now() -> i64 {
    SystemClock.now().millis()
}

async fn until(millis: i64) {
    tokio::time::sleep(Duration::from_millis((millis - now()).max(0).unsigned_abs())).await;
}

/// When a token ends, as it says itself; in milliseconds.
fn end_of(bearer: &str) -> i64 {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(bearer.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["exp"].as_i64().unwrap() * 1_000
}

/// How many items came before the end, when that was, and what was said.
struct End {
    items: usize,
    at: i64,
    said: String,
}

async fn of_stream(feed: &mut Feed) -> End {
    let mut items = 0;
    loop {
        let item = feed.next().await.expect("it is said why the stream ends");
        if let Some(errors) = item.get("errors") {
            let said = errors[0]["extensions"]["code"].as_str().unwrap().to_owned();
            assert_eq!(feed.next().await, None, "that is the end");
            return End { items, at: now(), said };
        }
        items += 1;
    }
}

async fn of_socket(socket: &mut Socket) -> End {
    let mut items = 0;
    loop {
        let frame = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a frame comes in time");
        match frame.unwrap().unwrap() {
            Message::Close(frame) => {
                let frame = frame.unwrap();
                return End { items, at: now(), said: format!("{} {}", u16::from(frame.code), frame.reason) };
            }
            Message::Text(text) if text.contains("\"next\"") => items += 1,
            _ => {}
        }
    }
}

/// A query that is begun while the token is good, and waits for a lot at a site where there is none before it is not any more.
async fn asked_before(house: &House, ann: &str, robot: &str, ends: i64) -> (Answer, i64) {
    let ledger = house.plant.ledger().await;
    let count = ledger.partitions();
    let quiet =
        |site: &&str| ![SITE, "_tenant"].map(|busy| partition_of(busy, count)).contains(&partition_of(site, count));
    let site = SITES.into_iter().find(quiet).expect("a site has a partition of its own");
    let partition = partition_of(site, count);
    until(ends - 10_000).await;
    let at = token(&format!("l{partition}.{}", ledger.end(partition).await.unwrap() + 1));
    let query = "query($at: PositionToken) { lots(first: 1, consistentWith: $at) { nodes { __typename } } }";
    let (variables, headers) = (json!({ "at": at }), [("authorization", ann)]);
    let event = async {
        until(ends + 500).await;
        house.mutate(&format!("Bearer {robot}"), "registerLot", "version", &lot(site, "late", "1", &[])).await
    };
    let (answer, registered) = tokio::join!(house.graphql(&headers, query, &variables), event);
    assert_eq!(registered["userErrors"], json!([]));
    (answer, now())
}

#[tokio::test]
async fn what_goes_on_ends_with_the_token_and_no_request_begins_with_it() {
    let sites = format!("{SITES:?}");
    let environment = [
        ("LOTLINE_TENANT__SITES", sites.as_str()),
        ("LOTLINE_ACCESS__ACCESS_MINUTES", "1"),
        ("LOTLINE_API__LIMITS__CONSISTENCY_TIMEOUT_MS", "60000"),
        ("LOTLINE_API__LIMITS__REQUEST_TIMEOUT_MS", "60000"),
    ];
    let (house, admin) = House::set("expiry", &environment).await.administered().await;
    let (_, key) = house.key(admin, "robot", &[Role::Operator]).await;
    let robot = [("x-api-key", key.as_str())];
    house.until(&robot, 200).await;
    let signed_in = house.sign_in(ADMIN, false).await;
    let ann = bearer(&signed_in);
    let (begun, ends) = (now(), end_of(&ann));
    assert!((30_000..=60_000).contains(&(ends - begun)), "{} ms", ends - begun);

    let mut feed = house.follow(&ann, LOTS).await;
    let mut open = socket(&house, &json!({ "authorization": ann })).await;
    let subscribe = json!({ "type": "subscribe", "id": "1", "payload": { "query": LOTS } });
    open.send(Message::text(subscribe.to_string())).await.unwrap();
    let flow = async {
        for number in 0.. {
            let registered = house.register(&robot, &format!("L-{number}")).await;
            assert_eq!(registered.body["data"]["registerLot"]["userErrors"], json!([]), "{}", registered.body);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let watched =
        async { tokio::join!(of_stream(&mut feed), of_socket(&mut open), asked_before(&house, &ann, &key, ends)) };
    let (stream, socketed, (asked, answered_at)) = tokio::select! {
        () = flow => panic!("the flow of lots has no end"),
        seen = tokio::time::timeout(3 * PATIENCE, watched) => seen.expect("all of it comes to an end"),
    };
    assert_eq!(stream.said, "TOKEN_EXPIRED");
    assert_eq!(socketed.said, "4401 Unauthorized: the token has expired");
    for end in [&stream, &socketed] {
        assert!(end.items > 5, "{} lots were told before", end.items);
        assert!((ends..ends + SLACK_MS).contains(&end.at), "{} ms after the token", end.at - ends);
    }
    assert_eq!(
        (asked.status, &asked.body["data"]["lots"]["nodes"]),
        (200, &json!([{ "__typename": "Lot" }])),
        "{}",
        asked.body
    );
    assert!(answered_at >= ends, "what was begun in time is answered to its end");

    let expired = [("authorization", ann.as_str())];
    house.graphql(&expired, "{ tenant }", &json!({})).await.is(401, "TOKEN_EXPIRED");
    house.register(&expired, "too late").await.is(401, "TOKEN_EXPIRED");
    house.get("/api/v1/auth/session", &expired).await.is(401, "TOKEN_EXPIRED");
    let events = [("authorization", ann.as_str()), ("accept", "text/event-stream")];
    house.graphql(&events, LOTS, &json!({})).await.is(401, "TOKEN_EXPIRED");
    assert_eq!(closed(&mut socket(&house, &json!({ "authorization": ann })).await).await, 4401);
    let next = house.post("refresh", &[], &json!({ "refreshToken": signed_in.body["refreshToken"] })).await;
    let next = bearer(&next);
    let data = house.data(&next, "{ lot(site: \"north\", code: \"too late\") { id } }", &json!({})).await;
    assert_eq!(data["lot"], Value::Null, "and nothing was done by it");
}

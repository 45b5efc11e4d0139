//! Strangers at the door of the real binary: what they try is bounded, and takes nothing from people.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use lotline_domain::access::role::Role;
use lotline_domain::identity::api_key::{ApiKeyText, RANDOM_BYTES};
use lotline_tests::client::key;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::door::{Socket, closed, socket};
use crate::visitor::{ADMIN, Answer, House, PASSWORD, PATIENCE, bearer};

const REFUSED: (u16, &str) = (429, "TOO_MANY_UNKNOWN_CREDENTIALS");

/// A well-formed key that nobody has.
fn unknown_key() -> String {
    let (id, mut random) = (key(), [7; RANDOM_BYTES]);
    random[..16].copy_from_slice(id.as_bytes());
    ApiKeyText::new(random).expose().to_owned()
}

fn unknown(kind: &str) -> String {
    format!("lotline_{kind}_{}{}", key().simple(), key().simple())
}

async fn by_key(house: &House, text: &str) -> Answer {
    house.graphql(&[("x-api-key", text)], "{ tenant }", &json!({})).await
}

async fn refresh(house: &House, token: &Value) -> Answer {
    house.post("refresh", &[], &json!({ "refreshToken": token })).await
}

async fn by_link(house: &House, path: &str) -> Answer {
    let link = if path == "setup" { format!("{}.{}", unknown("link"), key()) } else { unknown("link") };
    let mut body = json!({ "link": link, "password": PASSWORD });
    if path == "setup" {
        (body["email"], body["name"]) = (json!(ADMIN), json!("X"));
    }
    house.post(path, &[], &body).await
}

#[tokio::test]
async fn whoever_tries_what_nobody_has_is_held_up_and_who_is_known_is_not() {
    let limit = ("LOTLINE_API__LIMITS__FAILED_LOOK_UPS_PER_ADDRESS", "5");
    let (house, admin) = House::set("strangers", &[limit]).await.administered().await;
    let ann = house.sign_in(ADMIN, false).await;
    let (_, robot) = house.key(admin, "robot", &[Role::Viewer]).await;
    let (_, late) = house.key(admin, "late", &[Role::Viewer]).await;
    house.until(&[("x-api-key", &robot)], 200).await;
    let wanted =
        json!({ "label": "new", "prefix": "newcomer", "roles": ["VIEWER"], "expiresAt": "2100-01-01T00:00:00Z" });
    let mut issued = house.mutate(&bearer(&ann), "issueApiKey", "secret", &wanted).await;
    let person = json!({ "email": "olga@dairy.example", "name": "Olga" });
    let mut invited = house.mutate(&bearer(&ann), "inviteUser", "secret", &person).await;
    for _ in 0..8 {
        by_key(&house, "lotline_0").await.is(401, "INVALID_API_KEY");
    }
    for _ in 0..2 {
        by_key(&house, &unknown_key()).await.is(401, "INVALID_API_KEY");
    }
    refresh(&house, &json!(unknown("refresh"))).await.is(401, "REFRESH_REFUSED");
    for path in ["password", "setup"] {
        by_link(&house, path).await.is(410, "LINK_REFUSED");
    }

    let bearer_key = format!("Bearer {}", unknown_key());
    for refused in [
        by_key(&house, &unknown_key()).await,
        house.graphql(&[("authorization", &bearer_key)], "{ tenant }", &json!({})).await,
        refresh(&house, &json!(unknown("refresh"))).await,
        by_link(&house, "password").await,
        by_link(&house, "setup").await,
        // A good one that has not been here before can't be told from a guess without looking.
        by_key(&house, &late).await,
    ] {
        refused.is(REFUSED.0, REFUSED.1);
        let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=300).contains(&wait), "{wait}");
    }
    assert_eq!(closed(&mut socket(&house, &json!({ "authorization": bearer_key })).await).await, 4403);
    let metrics = reqwest::get(format!("{}/metrics", house.server.url)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("lotline_requests_limited_total{limit=\"unknown_credentials\"} 7"), "{metrics}");

    by_key(&house, &robot).await.is(200, "none");
    house.until(&[("x-api-key", issued["secret"].take().as_str().unwrap())], 200).await;
    let link = json!({ "link": invited["secret"].take(), "password": PASSWORD });
    assert_eq!(house.post("password", &[], &link).await.status, 204, "what was handed out here is not held up");
    let next = refresh(&house, &ann.body["refreshToken"]).await;
    assert_eq!(refresh(&house, &next.body["refreshToken"]).await.status, 200, "a session goes on");
    house.until(&[("authorization", &bearer(&next))], 200).await;
    assert_eq!(house.sign_in(ADMIN, false).await.status, 200, "and another one begins");
    let elsewhere = reqwest::Client::builder().local_address(IpAddr::from([127, 0, 0, 2])).build().unwrap();
    let request = elsewhere.post(format!("{}/graphql", house.server.url)).json(&json!({ "query": "{ tenant }" }));
    house.send(request, &[("x-api-key", &late)]).await.is(200, "none");
    by_key(&house, &late).await.is(200, "none");
}

/// A browser is known by its signed CSRF text, also to a node that has not seen its refresh token.
#[tokio::test]
async fn a_browser_has_an_account_of_its_own() {
    let limit = ("LOTLINE_API__LIMITS__FAILED_LOOK_UPS_PER_ADDRESS", "2");
    let (mut house, _) = House::set("strangers-browser", &[limit]).await.administered().await;
    let signed_in = house.sign_in(ADMIN, true).await;
    let csrf = signed_in.body["csrfToken"].as_str().unwrap().to_owned();
    let cookies = signed_in.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let cookie = cookies.map(|line| line.split(';').next().unwrap()).collect::<Vec<_>>().join("; ");
    assert!(house.server.stop(PATIENCE).await, "it stops well");
    house.serve_again().await;
    for _ in 0..2 {
        by_key(&house, &unknown_key()).await.is(401, "INVALID_API_KEY");
    }
    by_key(&house, &unknown_key()).await.is(REFUSED.0, REFUSED.1);
    let origin = house.server.url.clone();
    let browser = [("cookie", cookie.as_str()), ("origin", origin.as_str()), ("x-csrf-token", csrf.as_str())];
    assert_eq!(house.post("refresh", &browser, &json!({})).await.status, 200);
    // Whoever has such a text has two tries of their own.
    let spent = cookie.split("; ").find(|pair| pair.contains("refresh")).unwrap().split_once('=').unwrap().1.to_owned();
    let guess = cookie.replace(&spent, &unknown("refresh"));
    let guesser = [("cookie", guess.as_str()), browser[1], browser[2]];
    for _ in 0..2 {
        house.post("refresh", &guesser, &json!({})).await.is(401, "REFRESH_REFUSED");
    }
    house.post("refresh", &guesser, &json!({})).await.is(REFUSED.0, REFUSED.1);
}

#[tokio::test]
async fn bodies_of_strangers_are_small() {
    let (house, _) = House::with_admin("strangers-bodies").await;
    let large = json!({ "email": "x".repeat(16 << 10) });
    for path in ["setup", "password", "sign-in", "refresh"] {
        let answer = house.post(path, &[], &large).await;
        answer.is(413, "BODY_TOO_LARGE");
        assert_eq!(answer.body["errors"][0]["message"], "the body is larger than 16384 bytes");
    }
    let address = house.server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/auth/sign-in HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n4001\r\n{}\r\n",
        " ".repeat(0x4001)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut word = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut word)).await.expect("it is answered").unwrap();
    assert_eq!(&word, b"HTTP/1.1 413", "the end of the chunks is not waited for");

    let fits = json!({ "email": ADMIN, "password": PASSWORD, "client": "x".repeat(15_000) });
    assert_eq!(house.post("sign-in", &[], &fits).await.status, 200);
    // Whoever has come in may prove something for a mutation of any size.
    let ann = house.bearer(ADMIN).await;
    let input = json!({ "notes": "x".repeat(32 << 10) });
    let proof = json!({ "mutation": "recordQcDecision", "input": input, "password": PASSWORD });
    assert_eq!(house.post("proofs", &[("authorization", &ann)], &proof).await.status, 200);
}

/// A socket that says nothing, from an address of this machine.
async fn silent(house: &House, from: Ipv4Addr) -> Socket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.into(), 0)).unwrap();
    let address = house.server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let stream = socket.connect(address).await.unwrap();
    let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    tokio_tungstenite::client_async(request, MaybeTlsStream::Plain(stream)).await.unwrap().0
}

/// Somebody who says at once who they are, and has to be let in.
async fn comes_in(house: &House, bearer: &str) -> Socket {
    let mut socket = socket(house, &json!({ "authorization": bearer })).await;
    let frame = tokio::time::timeout(PATIENCE, socket.next()).await.expect("an answer comes").unwrap().unwrap();
    assert!(frame.to_text().unwrap().contains("connection_ack"), "{frame:?}");
    socket
}

#[tokio::test]
async fn a_thousand_sockets_of_nobody_leave_room_for_people() {
    let environment = [
        ("LOTLINE_API__LIMITS__CONNECTIONS", "4"),
        ("LOTLINE_API__LIMITS__NEWCOMERS", "20"),
        ("LOTLINE_API__LIMITS__NEWCOMERS_PER_ADDRESS", "10"),
        ("LOTLINE_API__LIMITS__CONNECTION_INIT_TIMEOUT_MS", "120000"),
    ];
    let (house, _) = House::set("strangers-sockets", &environment).await.administered().await;
    let ann = house.bearer(ADMIN).await;
    let (mut idle, mut people) = (Vec::new(), Vec::new());
    for number in 0..1_000_u16 {
        // First of one address, then of a hundred.
        let last = if number < 500 { 2 } else { 2 + u8::try_from(number % 100).unwrap() };
        idle.push(silent(&house, Ipv4Addr::new(127, 0, 0, last)).await);
        if number == 250 || number == 750 {
            people.push(comes_in(&house, &ann).await);
        }
    }
    people.push(comes_in(&house, &ann).await);
    for number in [0, 200, 499, 700] {
        assert_eq!(closed(&mut idle[number]).await, 1013, "socket {number} has made room");
    }
    // Those who waited last wait still: nothing but a ping comes on them.
    let next = tokio::time::timeout(Duration::from_millis(200), idle[999].next()).await;
    assert!(matches!(next, Err(_) | Ok(Some(Ok(tokio_tungstenite::tungstenite::Message::Ping(_))))), "{next:?}");
    // Strangers behind the very address of people push out their own.
    for _ in 0..50 {
        idle.push(silent(&house, Ipv4Addr::LOCALHOST).await);
    }
    people.push(comes_in(&house, &ann).await);
    let mut fifth = socket(&house, &json!({ "authorization": ann })).await;
    assert_eq!(closed(&mut fifth).await, 1013, "there are as many connections of people as there may be");
    drop(people.pop());
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut socket = socket(&house, &json!({ "authorization": ann })).await;
        let frame = tokio::time::timeout(PATIENCE, socket.next()).await.expect("an answer comes").unwrap().unwrap();
        if frame.is_text() {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "a place is free again");
    }
}

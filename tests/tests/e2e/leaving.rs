//! The trail of the door where things end badly: a client that hangs up, a server that is killed, a ledger that is written elsewhere.

use std::time::{Duration, Instant};

use lotline_domain::access::role::Role;
use lotline_tests::client::key;
use lotline_tests::server::Server;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::trail::{PATIENCE, attempts, rows, sign_in, told};
use crate::visitor::{House, PASSWORD, bearer};

const VIC: &str = "vic@dairy.example";
const WRONG: &str = "nine goats on the roof";

/// Sends a request and hangs up without waiting for its answer, once the server has begun with it: it asks for the body then.
async fn hang_up(house: &House, path: &str, body: &Value) {
    let address = house.server.url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let body = body.to_string();
    let head = format!(
        "POST /api/v1/auth/{path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, socket.read_exact(&mut answer)).await.expect("the body is asked for").unwrap();
    assert_eq!(answer, *b"HTTP/1.1 100");
    socket.write_all(body.as_bytes()).await.unwrap();
}

/// Waits until the server has counted so many refusals.
async fn counted(house: &House, expected: usize) {
    let until = Instant::now() + PATIENCE;
    loop {
        let metrics = reqwest::get(format!("{}/metrics", house.server.url)).await.unwrap().text().await.unwrap();
        let lines = metrics.lines().filter(|line| line.starts_with("lotline_attempts_refused_total{"));
        let sum: usize = lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()).sum();
        if sum >= expected {
            return;
        }
        assert!(Instant::now() < until, "{sum} of {expected} are counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the read model has a record of a kind about somebody, and gives how many there are.
async fn recorded(house: &House, kind: &str, subject: &str) -> usize {
    let (until, event_type) = (Instant::now() + PATIENCE, format!("lotline.access.{kind}.v1"));
    loop {
        let rows = rows(house).await;
        let found = rows.iter().filter(|row| row.event_type == event_type && row.subject == subject).count();
        if found > 0 {
            return found;
        }
        assert!(Instant::now() < until, "{event_type} of {subject} is not shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn who_hangs_up_is_counted_and_recorded_all_the_same() {
    const TRIES: usize = 4;
    let (house, admin) = House::with_admin("trail-gone").await;
    let vic = house.person(admin, VIC, None, &[Role::Viewer]).await;
    let used = house.sign_in(VIC, false).await.body["refreshToken"].take();
    let next = house.post("refresh", &[], &json!({ "refreshToken": used })).await;
    let next = house.post("refresh", &[], &json!({ "refreshToken": next.body["refreshToken"] })).await;
    assert_eq!(next.status, 200, "{}", next.body);
    for number in 1..=TRIES {
        hang_up(&house, "sign-in", &json!({ "email": VIC, "password": WRONG })).await;
        counted(&house, number).await;
    }
    // A thief ends the session that the token is of.
    hang_up(&house, "refresh", &json!({ "refreshToken": used })).await;
    let subject = format!("user/{vic}");
    assert_eq!(recorded(&house, "signed_out", &subject).await, 1);
    let (counts, others) = attempts(&told(&house, TRIES as u64).await);
    let expected = [((subject, "wrong_password".to_owned(), String::new()), TRIES as u64)];
    assert_eq!((counts, others), (expected.into(), 0));
}

#[tokio::test]
async fn a_kill_loses_only_what_was_counted_since_the_last_batch() {
    let (mut house, admin) = House::with_admin("trail-kill").await;
    let vic = house.person(admin, VIC, None, &[Role::Viewer]).await;
    for _ in 0..3 {
        sign_in(&house, VIC, WRONG, key()).await.is(401, "SIGN_IN_REFUSED");
    }
    told(&house, 3).await;
    for _ in 0..4 {
        house.graphql(&[("authorization", "Bearer guess")], "{ tenant }", &json!({})).await.is(401, "INVALID_TOKEN");
    }
    let id = key();
    let own = bearer(&sign_in(&house, VIC, PASSWORD, id).await);
    house.server.kill();
    house.serve_again().await;
    house.data(&own, "{ tenant }", &json!({})).await;
    house.graphql(&[("authorization", "Bearer guess")], "{ tenant }", &json!({})).await.is(401, "INVALID_TOKEN");

    let rows = told(&house, 4).await;
    let came: Vec<_> = rows.iter().filter(|row| row.correlation_id == id).map(|row| row.event_type.as_str()).collect();
    assert_eq!(came, ["lotline.access.signed_in.v1"], "whoever has tokens is in the ledger, once");
    let (counts, others) = attempts(&rows);
    let of = |subject: &str, kind: &str| counts.get(&(subject.to_owned(), kind.to_owned(), String::new())).copied();
    assert_eq!((of(&format!("user/{vic}"), "wrong_password"), others), (Some(3), 0), "{counts:?}");
    let guesses = of("door/unknown", "bad_token");
    assert!(guesses.is_some_and(|guesses| (1..=5).contains(&guesses)), "{counts:?}");
}

/// The node that a client asks is not the one that writes the tenant's stream.
#[tokio::test]
async fn records_find_the_node_that_writes_them() {
    let (mut house, admin) = House::with_admin("trail-apart").await;
    let vic = house.person(admin, VIC, None, &[Role::Auditor]).await;
    let mut settings = house.plant.settings.clone();
    settings.environment.retain(|(name, _)| name != "LOTLINE_CLUSTER__NODE");
    let apart = Server::start(&settings, &["serve", "--roles", "api"]).await;
    let writer = std::mem::replace(&mut house.server, apart);

    sign_in(&house, VIC, WRONG, key()).await.is(401, "SIGN_IN_REFUSED");
    let own = bearer(&sign_in(&house, VIC, PASSWORD, key()).await);
    house.data(&own, "{ auditTrail(first: 1) { nodes { id } } }", &json!({})).await;
    assert_eq!(house.post("sign-out", &[("authorization", &own)], &json!({})).await.status, 200);
    let subject = format!("user/{vic}");
    for kind in ["signed_in", "trail_read", "signed_out", "attempts_refused"] {
        assert_eq!(recorded(&house, kind, &subject).await, 1, "{kind}");
    }
    drop(writer);
}

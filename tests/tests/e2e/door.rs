//! The door of the real binary: the first administrator, signing in and out, tokens, keys, cookies, and who is kept out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lotline_adapters::identity::{Hasher, HasherOptions, IdentityOptions, PostgresIdentity};
use lotline_domain::access::command::AccessCommand;
use lotline_domain::access::role::Role;
use lotline_domain::id::{TenantId, UserId};
use lotline_domain::identity::token::TokenPolicy;
use lotline_domain::port::Clock;
use lotline_domain::timestamp::Timestamp;
use lotline_tests::stack;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::visitor::{ADMIN, House, PASSWORD, bearer, ids, set_up};

const DEADLINE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn the_first_administrator_comes_by_the_printed_link() {
    let house = House::new("door-first").await;
    let stranger = house.graphql(&[("x-lotline-actor", "ann")], "{ tenant }", &json!({})).await;
    stranger.is(401, "UNAUTHENTICATED");
    assert!(stranger.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    assert_eq!(stranger.headers["x-lotline-mode"], "enforced");
    let link = house.link().await;
    house.post("setup", &[], &set_up(&link, "short")).await.is(422, "WEAK_PASSWORD");
    let (token, _) = link.split_once('.').unwrap();
    let other = format!("{token}.{}", lotline_tests::client::key());
    house.post("setup", &[], &set_up(&other, PASSWORD)).await.is(410, "LINK_REFUSED");
    let done = house.post("setup", &[], &set_up(&link, PASSWORD)).await;
    assert_eq!(done.status, 204, "{}", done.body);
    house.post("setup", &[], &set_up(&link, PASSWORD)).await.is(410, "LINK_REFUSED");

    let wrong = |email: &str| json!({ "email": email, "password": "nine goats on the roof" });
    let (known, unknown) =
        (house.post("sign-in", &[], &wrong(ADMIN)).await, house.post("sign-in", &[], &wrong("x@y.example")).await);
    known.is(401, "SIGN_IN_REFUSED");
    assert_eq!((known.status, known.body), (unknown.status, unknown.body), "nobody learns who is known");

    let ann = house.bearer(ADMIN).await;
    let session = house.get("/api/v1/auth/session", &[("authorization", &ann)]).await;
    assert_eq!(session.body["memberships"], json!([{ "site": null, "roles": ["ADMIN"] }]), "{}", session.body);
    let registered = house.register(&[("authorization", &ann)], "L-1").await;
    assert_eq!(registered.body["data"]["registerLot"]["userErrors"], json!([]), "{}", registered.body);
    let keys = house.get("/.well-known/jwks.json", &[]).await;
    assert_eq!(keys.body["keys"][0]["crv"], "Ed25519");

    let second = house.steward.appoint("bob@dairy.example", "Bob", false, None).await.unwrap_err().to_string();
    assert!(second.contains("--recover"), "{second}");
    let link = house.steward.appoint("bob@dairy.example", "Bob", true, Some("Ann left".into())).await.unwrap();
    let set = house.post("password", &[], &json!({ "link": link, "password": PASSWORD })).await;
    assert_eq!(set.status, 204, "{}", set.body);
    house.until(&[("authorization", &house.bearer("bob@dairy.example").await)], 200).await;
}

#[tokio::test]
async fn tokens_that_do_not_count_let_nobody_in() {
    let (house, admin) = House::with_admin("door-tokens").await;
    let ann = house.bearer(ADMIN).await;
    let tenant = house.plant.settings.tenant.clone();
    let cut = ann.len() - 4;
    let forged = format!("{}{}", &ann[..cut], if ann.ends_with("AAAA") { "BBBB" } else { "AAAA" });
    let header = |text: &str| text.split('.').next().unwrap().to_owned();
    let none = ann.replace(&header(&ann), "Bearer eyJhbGciOiJub25lIn0");
    let expired = foreign(&house, &tenant, 3_600, admin).await;
    let elsewhere = foreign(&house, "other", 0, admin).await;
    for (text, code) in [
        (forged.as_str(), "INVALID_TOKEN"),
        (&none, "INVALID_TOKEN"),
        (&elsewhere, "INVALID_TOKEN"),
        (&expired, "TOKEN_EXPIRED"),
        ("Bearer x", "INVALID_TOKEN"),
        ("Basic YTpi", "UNKNOWN_SCHEME"),
        ("Bearer lotline_0", "INVALID_API_KEY"),
    ] {
        house.register(&[("authorization", text)], "L-1").await.is(401, code);
    }
    let both = [("authorization", ann.as_str()), ("x-api-key", "lotline_0")];
    house.register(&both, "L-1").await.is(400, "AMBIGUOUS_CREDENTIALS");
    house.until(&[("authorization", &ann)], 200).await;
}

#[tokio::test]
async fn signing_out_and_refreshing_end_what_was_before() {
    let (house, _) = House::with_admin("door-sessions").await;
    let first = house.sign_in(ADMIN, false).await;
    let old = json!({ "refreshToken": first.body["refreshToken"] });
    let second = house.post("refresh", &[], &old).await;
    assert_eq!(second.status, 200, "{}", second.body);
    assert_ne!(second.body["refreshToken"], first.body["refreshToken"]);
    house.post("refresh", &[], &old).await.is(401, "REFRESH_SUPERSEDED");
    let (here, there) = (bearer(&second), house.bearer(ADMIN).await);
    let sessions = house.get("/api/v1/auth/sessions", &[("authorization", &here)]).await;
    assert_eq!(sessions.body["sessions"].as_array().map(Vec::len), Some(2), "{}", sessions.body);
    assert_eq!(house.post("sign-out", &[("authorization", &here)], &json!({})).await.status, 200);
    house.register(&[("authorization", &here)], "L-1").await.is(401, "SESSION_ENDED");
    house
        .post("refresh", &[], &json!({ "refreshToken": second.body["refreshToken"] }))
        .await
        .is(401, "REFRESH_REFUSED");
    house.until(&[("authorization", &there)], 200).await;
    assert_eq!(house.post("sign-out-everywhere", &[("authorization", &there)], &json!({})).await.status, 200);
    house.register(&[("authorization", &there)], "L-1").await.is(401, "SESSION_ENDED");
}

#[tokio::test]
async fn roles_and_keys_hold_at_once_and_end_at_once() {
    let (house, admin) = House::with_admin("door-roles").await;
    let viewer = house.person(admin, "vic@dairy.example", None, &[Role::Viewer]).await;
    let vic = house.bearer("vic@dairy.example").await;
    let refused = house.register(&[("authorization", &vic)], "L-1").await;
    assert_eq!(refused.body["data"]["registerLot"]["userErrors"][0]["code"], "FORBIDDEN", "{}", refused.body);

    let (key, text) = house.key(admin, "robot", &[Role::Operator]).await;
    for header in [("x-api-key", text.clone()), ("authorization", format!("Bearer {text}"))] {
        let registered = house.register(&[(header.0, &header.1)], &format!("L-{}", header.0)).await;
        assert_eq!(registered.body["data"]["registerLot"]["userErrors"], json!([]), "{}", registered.body);
    }
    house.decide(admin.actor(), AccessCommand::RevokeApiKey { key_id: key }).await;
    house.until(&[("x-api-key", &text)], 401).await;
    house.decide(admin.actor(), AccessCommand::DeactivateUser { user_id: viewer }).await;
    house.until(&[("authorization", &vic)], 401).await;
    let again = json!({ "email": "vic@dairy.example", "password": PASSWORD });
    house.post("sign-in", &[], &again).await.is(401, "SIGN_IN_REFUSED");
}

#[tokio::test]
async fn a_cookie_counts_only_with_what_another_site_can_not_send() {
    let (house, _) = House::with_admin("door-cookies").await;
    let origin = house.server.url.clone();
    let signed_in = house.sign_in(ADMIN, true).await;
    assert_eq!(signed_in.body.get("accessToken"), None, "a page can't read the token");
    let set: Vec<&str> = signed_in.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    let hidden = set.iter().filter(|line| line.contains("HttpOnly")).count();
    assert!(set.iter().all(|line| line.contains("SameSite=Strict") && line.contains("Path=/")), "{set:?}");
    assert_eq!((set.len(), hidden), (3, 2), "{set:?}");
    let pairs: Vec<&str> = set.iter().map(|line| line.split(';').next().unwrap()).collect();
    let (cookie, csrf) = (pairs.join("; "), signed_in.body["csrfToken"].as_str().unwrap().to_owned());
    let stranger = house.sign_in(ADMIN, true).await.body["csrfToken"].as_str().unwrap().to_owned();
    let (cookie, own) = (("cookie", cookie.as_str()), ("origin", origin.as_str()));
    house.register(&[cookie], "L-1").await.is(403, "FOREIGN_ORIGIN");
    house.register(&[cookie, own], "L-1").await.is(403, "CSRF");
    house.register(&[cookie, own, ("x-csrf-token", &stranger)], "L-1").await.is(403, "CSRF");
    let evil = [cookie, ("origin", "http://evil.example"), ("x-csrf-token", csrf.as_str())];
    house.register(&evil, "L-1").await.is(403, "FOREIGN_ORIGIN");
    let good = [cookie, own, ("x-csrf-token", csrf.as_str())];
    let registered = house.register(&good, "L-1").await;
    assert_eq!(registered.body["data"]["registerLot"]["userErrors"], json!([]), "{}", registered.body);
    house.post("refresh", &[cookie, own], &json!({})).await.is(403, "CSRF");
    assert_eq!(house.post("refresh", &good, &json!({})).await.status, 200);
    let ended = house.post("sign-out", &good, &json!({})).await;
    assert_eq!(ended.status, 200, "{}", ended.body);
    house.register(&good, "L-1").await.is(401, "SESSION_ENDED");
}

/// A browser sends cookies with a socket, whoever's page opens it; no rule of browsers about origins keeps it from that.
#[tokio::test]
async fn a_socket_by_cookie_needs_its_own_origin() {
    let (house, _) = House::with_admin("door-sockets").await;
    let signed_in = house.sign_in(ADMIN, true).await;
    let set = signed_in.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let cookie = set.map(|line| line.split(';').next().unwrap()).collect::<Vec<_>>().join("; ");
    for foreign in [None, Some("http://evil.example"), Some("null")] {
        let headers = foreign.map(|origin| ("origin", origin)).into_iter().chain([("cookie", cookie.as_str())]);
        let refused = opened(&house, &headers.collect::<Vec<_>>()).await.unwrap_err();
        assert_eq!(refused, 403, "{foreign:?}");
    }
    let own = ("origin", house.server.url.as_str());
    let mut nobody = opened(&house, &[own]).await.unwrap();
    introduce(&mut nobody, &json!({})).await;
    assert_eq!(closed(&mut nobody).await, 4401);

    let mut page = opened(&house, &[own, ("cookie", &cookie)]).await.unwrap();
    introduce(&mut page, &json!({})).await;
    let query = json!({ "query": "subscription { lotChanged(site: \"north\") { lots { code } } }" });
    page.send(Message::text(json!({ "type": "subscribe", "id": "1", "payload": query }).to_string())).await.unwrap();
    let csrf = ("x-csrf-token", signed_in.body["csrfToken"].as_str().unwrap());
    let item = tokio::time::timeout(DEADLINE, async {
        let mut number = 0;
        loop {
            number += 1;
            // What is registered before the subscription has begun is not an item of it.
            house.register(&[own, ("cookie", &cookie), csrf], &format!("L-{number}")).await;
            while let Ok(frame) = tokio::time::timeout(Duration::from_millis(500), page.next()).await {
                let text = frame.expect("the socket stays open").unwrap().into_text().unwrap_or_default();
                if text.contains("\"next\"") {
                    return text;
                }
            }
        }
    });
    assert!(item.await.expect("an item comes").contains("L-"));
    let ended = house.post("sign-out", &[own, ("cookie", &cookie), csrf], &json!({})).await;
    assert_eq!(ended.status, 200, "{}", ended.body);
    assert_eq!(closed(&mut page).await, 4401);
    assert_eq!(opened(&house, &[own, ("cookie", &cookie)]).await.unwrap_err(), 401);
}

/// Who somebody is and what they may do is in memory: while every table about access is locked, whoever was let in before goes on.
#[tokio::test]
async fn a_request_asks_the_database_nothing_about_access() {
    let (house, _) = House::with_admin("door-memory").await;
    let ann = house.bearer(ADMIN).await;
    house.until(&[("authorization", &ann)], 200).await;
    let mut lock = house.plant.database.pool.begin().await.unwrap();
    let tables =
        "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables WHERE schemaname = 'access'";
    let tables: String = sqlx::query_scalar(tables).fetch_one(&mut *lock).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("LOCK TABLE {tables}"))).execute(&mut *lock).await.unwrap();
    // Few, since what has not been heard of sessions for five seconds counts as ended.
    let asked = (0..20).map(async |_| house.graphql(&[("authorization", &ann)], "{ tenant }", &json!({})).await.status);
    let statuses = tokio::time::timeout(DEADLINE, futures_util::future::join_all(asked)).await.expect("nobody waits");
    lock.rollback().await.unwrap();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

#[tokio::test]
async fn a_subscription_ends_with_its_session() {
    let (house, _) = House::with_admin("door-streams").await;
    let ann = house.bearer(ADMIN).await;
    let query = json!({ "query": "subscription { lotChanged(site: \"north\") { position } }" });
    let http = reqwest::Client::new().post(format!("{}/graphql", house.server.url)).json(&query);
    let stream = http.header("accept", "text/event-stream").header("authorization", &ann).send().await.unwrap();
    assert!(stream.status().is_success());
    let mut nobody = socket(&house, &json!({})).await;
    assert_eq!(closed(&mut nobody).await, 4401);
    let mut liar = socket(&house, &json!({ "authorization": "Bearer x" })).await;
    assert_eq!(closed(&mut liar).await, 4401);
    let mut open = socket(&house, &json!({ "authorization": ann })).await;
    open.send(Message::text(json!({ "type": "subscribe", "id": "1", "payload": query }).to_string())).await.unwrap();
    assert_eq!(house.post("sign-out", &[("authorization", &ann)], &json!({})).await.status, 200);
    assert_eq!(closed(&mut open).await, 4401);
    let text = tokio::time::timeout(DEADLINE, stream.text()).await.expect("the stream ends").unwrap();
    assert!(text.contains("SESSION_ENDED") && text.contains("event: complete"), "{text}");
}

pub(crate) type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// A socket that has introduced itself.
pub(crate) async fn socket(house: &House, payload: &Value) -> Socket {
    let mut socket = opened(house, &[]).await.unwrap();
    introduce(&mut socket, payload).await;
    socket
}

/// A socket whose request had these headers, or the status with which it was refused.
async fn opened(house: &House, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
    let mut request = format!("{}/graphql", house.server.url.replace("http", "ws")).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(refusal)) => Err(refusal.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn introduce(socket: &mut Socket, payload: &Value) {
    let init = json!({ "type": "connection_init", "payload": payload });
    socket.send(Message::text(init.to_string())).await.unwrap();
}

pub(crate) async fn closed(socket: &mut Socket) -> u16 {
    loop {
        let frame = tokio::time::timeout(DEADLINE, socket.next()).await.expect("a frame comes in time");
        if let Message::Close(frame) = frame.unwrap().unwrap() {
            return frame.unwrap().code.into();
        }
    }
}

/// A token made with the database's keys of a tenant, `seconds` ago.
pub(crate) async fn foreign(house: &House, tenant: &str, seconds: i64, user: UserId) -> String {
    struct Behind(i64);
    impl Clock for Behind {
        fn now(&self) -> Timestamp {
            lotline_adapters::clock::SystemClock.now().plus_micros(-self.0 * 1_000_000)
        }
    }
    let tenant = TenantId::new(tenant).unwrap();
    let pool = stack::bound(&house.plant.database, &tenant, 2).await;
    let policy = TokenPolicy::new("lotline", "lotline", tenant);
    let hasher = Arc::new(Hasher::new(&HasherOptions::default()).unwrap());
    let options = IdentityOptions::new(policy, hasher);
    let identity = PostgresIdentity::open(pool, Arc::new(Behind(seconds)), ids(), options).await.unwrap();
    format!("Bearer {}", identity.ports().sessions.open(user, "test").await.unwrap().access)
}

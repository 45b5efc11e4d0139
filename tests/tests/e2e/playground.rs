//! The playground of the real binary, by its own page and scripts: signing in and out, operations by cookies, tokens that end, and the other credentials.

use std::time::{Duration, Instant};

use lotline_domain::access::role::Role;
use lotline_tests::playground::{Playground, Seen};
use lotline_tests::provider::{Browser, Provider};
use lotline_tests::server::Log;
use reqwest::Url;
use serde_json::{Value, json};

use crate::door::foreign;
use crate::sign_on::{OLGA, claims, house};
use crate::site::Plant;
use crate::visitor::{ADMIN, House, PASSWORD};

const PATIENCE: Duration = Duration::from_mins(3);
const REFRESHED: &str = "POST /api/v1/auth/refresh 200";
const ANSWERED: &str = "POST /graphql 200";

#[tokio::test]
async fn one_signs_in_works_and_signs_out() {
    let (house, _) = House::with_admin("page-sign-in").await;
    let ann = house.bearer(ADMIN).await;
    // Names come from a read model.
    let until = Instant::now() + PATIENCE;
    while house.data(&ann, "{ me { user { name } } }", &json!({})).await["me"]["user"].is_null() {
        assert!(Instant::now() < until, "the administrator does not show");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut page = Playground::open(&house.server.url, "");
    let seen = page.look();
    assert!(!seen.is_hidden("door") && seen.is_hidden("development"), "{seen:#?}");
    assert!(!seen.is_hidden("sign-in") && seen.is_hidden("signed-in") && seen.is_hidden("sign-on"), "{seen:#?}");
    assert_eq!(seen.asked(), Vec::<String>::new(), "a page that is only opened leaves no refusal in the audit trail");
    let nobody = page.run("lots").await;
    assert_eq!(nobody.code(), "UNAUTHENTICATED", "{nobody:#?}");

    page.step(&json!({ "type": { "email": ADMIN, "password": "nine goats on the roof" } }));
    page.press("sign-in", |seen| seen.text("status").contains("wrong")).await;
    let seen = page.sign_in(ADMIN, PASSWORD).await;
    assert_eq!((seen.text("whoami"), seen.value("password")), ("Ann Li (ADMIN)", ""), "{seen:#?}");
    assert!(seen.is_hidden("sign-in"), "{seen:#?}");

    let lots = page.run("lots").await;
    assert!(lots.result()["data"]["lots"]["nodes"].is_array(), "{lots:#?}");
    assert!(lots.last_headers().contains(&"x-csrf-token"), "{lots:#?}");
    let registered = page.run("register a lot").await;
    assert_eq!(registered.result()["data"]["registerLot"]["userErrors"], json!([]), "{registered:#?}");
    let schema = page.press("schema", |seen| seen.text("status").ends_with(" types")).await;
    let text = schema.text("result");
    assert!(text.contains("registerLot(input: RegisterLotInput!)") && text.contains("object Subscription"), "{text}");

    let cookies = schema.cookies().to_owned();
    let seen = page.press("sign-out", |seen| seen.text("status") == "signed out").await;
    assert!(!seen.is_hidden("sign-in") && seen.is_hidden("signed-in"), "{seen:#?}");
    assert_eq!((seen.cookies(), seen.text("result")), ("", ""), "nothing is left of who was here");
    assert_eq!(page.run("lots").await.code(), "UNAUTHENTICATED");
    let own = [("cookie", cookies.as_str()), ("origin", &house.server.url)];
    house.graphql(&own, "{ tenant }", &json!({})).await.is(401, "SESSION_ENDED");
}

/// When a cookie's time is over the browser drops it; a token may also end on the way.
#[tokio::test]
async fn the_next_access_token_is_asked_for_when_one_has_ended() {
    let (house, admin) = House::with_admin("page-refresh").await;
    let mut page = Playground::open(&house.server.url, "");
    page.sign_in(ADMIN, PASSWORD).await;
    let expired = foreign(&house, &house.plant.settings.tenant, 3_600, admin).await;
    let expired = expired.strip_prefix("Bearer ").unwrap();
    for (round, token) in [(1, Value::Null), (2, json!(expired))] {
        page.step(&json!({ "cookie": ["lotline_access", token] }));
        let lots = page.run("lots").await;
        assert!(lots.result()["data"]["lots"].is_object(), "{lots:#?}");
        assert_eq!(lots.asked().iter().filter(|asked| *asked == REFRESHED).count(), round, "{lots:#?}");
    }

    // Two at the same moment have them asked for, and both are answered.
    let count = |seen: &Seen, wanted: &str| seen.asked().iter().filter(|asked| *asked == wanted).count();
    let before = page.look();
    page.step(&json!({ "cookie": ["lotline_access", null], "press": ["schema", "run"] }));
    let answered = count(&before, ANSWERED) + 2;
    let both = page.until(|seen| count(seen, ANSWERED) == answered).await;
    let refreshed = count(&both, REFRESHED) - count(&before, REFRESHED);
    // Whoever is answered 401 when the other one has its next token already asks again.
    assert!((1..=2).contains(&refreshed), "{both:#?}");

    // Another tab that is opened now finds its person, also when only the refresh token is left.
    let cookies = page.step(&json!({ "cookie": ["lotline_access", null] })).cookies().to_owned();
    let mut other = Playground::open(&house.server.url, &cookies);
    other.until(|seen| seen.text("whoami").ends_with("(ADMIN)") && seen.is_hidden("sign-in")).await;

    // When nobody can say whether there are next tokens, nobody is signed out.
    other.step(&json!({ "cookie": ["lotline_access", null], "busy": "/api/v1/auth/refresh" }));
    let seen = other.press("run", |seen| seen.text("status").ends_with("too busy")).await;
    assert!(seen.is_hidden("sign-in"), "{seen:#?}");
    other.step(&json!({ "busy": null }));
    assert!(other.run("lots").await.result()["data"]["lots"].is_object());

    // When there are no next tokens, one is asked to sign in.
    let ann = house.bearer(ADMIN).await;
    assert_eq!(house.post("sign-out-everywhere", &[("authorization", &ann)], &json!({})).await.status, 200);
    let seen = other.run("lots").await;
    assert_eq!((seen.code().as_str(), seen.is_hidden("sign-in")), ("SESSION_ENDED", false), "{seen:#?}");
    other.sign_in(ADMIN, PASSWORD).await;
}

#[tokio::test]
async fn a_subscription_outlives_its_access_token() {
    let minutes = [("LOTLINE_ACCESS__ACCESS_MINUTES", "1")];
    let (house, admin) = House::set("page-stream", &minutes).await.administered().await;
    let (_, key) = house.key(admin, "robot", &[Role::Operator]).await;
    house.until(&[("x-api-key", &key)], 200).await;
    let mut page = Playground::open(&house.server.url, "");
    page.sign_in(ADMIN, PASSWORD).await;
    let ends = Instant::now() + Duration::from_secs(61);
    page.step(&json!({ "choose": "follow lots" }));
    page.step(&json!({ "press": ["run"] }));
    let (until, mut first) = (Instant::now() + PATIENCE, None);
    for number in 0.. {
        let (late, code) = (Instant::now() > ends, format!("\"L-{number}\""));
        let registered = house.register(&[("x-api-key", &key)], code.trim_matches('"')).await;
        assert_eq!(registered.body["data"]["registerLot"]["userErrors"], json!([]), "{}", registered.body);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let seen = page.look();
        let (shown, first) = (seen.text("result"), first.get_or_insert(code.clone()));
        if late && shown.contains(&code) {
            assert!(shown.contains(first.as_str()), "what came before is still shown: {shown}");
            assert!(seen.last_variables()["after"].is_string(), "it goes on after what has come: {seen:#?}");
            break;
        }
        if !shown.contains(first.as_str()) {
            // Whatever is registered before the subscription has begun is not an item of it.
            *first = code;
        }
        assert!(Instant::now() < until, "nothing comes any more: {seen:#?}");
    }
    page.press("stop", |seen| seen.text("status") == "stopped").await;
}

#[tokio::test]
async fn single_sign_on_leads_back_to_the_page() {
    let mut provider = Provider::start();
    let (house, admin) = house("page-sso", &mut provider, &[]).await;
    house.person(admin, OLGA, None, &[Role::Viewer]).await;
    provider.account("s-1", &claims(OLGA, true, &["office"]));
    let seen = Playground::open(&house.server.url, "").look();
    assert!(!seen.is_hidden("sign-on"), "{seen:#?}");
    let mut browser = Browser::default();
    let page = browser.get(&format!("{}/graphiql", house.server.url)).await;
    let link = page.text.split("id=\"sign-on\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
    let start = page.url.join(link.expect("the page has a link")).unwrap();
    let there: Url = browser.get(start.as_str()).await.leads_to().unwrap();
    let back = browser.sign_in(&there, "s-1").await;
    let came = browser.get(back.as_str()).await;
    assert!(came.text.contains("0;url=/graphiql\""), "{}", came.text);
    let mut page = Playground::open(&house.server.url, &browser.cookies(&house.server.url));
    page.until(|seen| seen.text("whoami").ends_with("(MANAGER)")).await;
    let registered = page.run("register a lot").await;
    assert_eq!(registered.result()["data"]["registerLot"]["userErrors"], json!([]), "{registered:#?}");
}

#[tokio::test]
async fn a_key_or_a_name_may_take_the_place_of_cookies() {
    let (house, admin) = House::with_admin("page-key").await;
    let (_, key) = house.key(admin, "robot", &[Role::Viewer]).await;
    house.until(&[("x-api-key", &key)], 200).await;
    let mut page = Playground::open(&house.server.url, "");
    page.step(&json!({ "type": { "pasted": key } }));
    for example in ["lots", "register a lot"] {
        let seen = page.run(example).await;
        let refused = &seen.result()["data"]["registerLot"]["userErrors"][0]["code"];
        assert!(seen.result()["data"]["lots"].is_object() || refused == "FORBIDDEN", "{seen:#?}");
        assert!(seen.last_headers().contains(&"authorization") && !seen.last_headers().contains(&"cookie"));
    }

    let plant = Plant::new("page-open", Log::Postgres).await;
    let server = plant.serve().await;
    let mut page = Playground::open(&server.url, "");
    page.step(&json!({ "type": { "actor": "olga" } }));
    let registered = page.run("register a lot").await;
    assert_eq!(registered.result()["data"]["registerLot"]["userErrors"], json!([]), "{registered:#?}");
    assert!(!registered.is_hidden("development") && registered.is_hidden("door"), "{registered:#?}");
    assert_eq!(registered.asked(), ["POST /graphql 200"], "nobody signs in here");
    page.step(&json!({ "type": { "query": "{ me { actor } }" } }));
    let me = page.press("run", |seen| seen.text("status").contains(" ms ")).await;
    assert_eq!(me.result()["data"]["me"]["actor"], "olga", "{me:#?}");
}

//! Single sign-on by a real provider: who comes in, as whom, with which roles; and who does not.

use std::time::{Duration, Instant};

use lotline_domain::access::command::AccessCommand;
use lotline_domain::access::role::Role;
use lotline_domain::id::UserId;
use lotline_tests::provider::{Browser, CLIENT_ID, CLIENT_SECRET, Page, Provider};
use lotline_tests::server::lotline;
use reqwest::Url;
use serde_json::{Value, json};

use crate::site::SITE;
use crate::trail::{attempts, told};
use crate::visitor::{ADMIN, House};

pub(crate) const OLGA: &str = "olga@dairy.example";
const ROLES: &str =
    r#"[{value="bosses",role="ADMIN"},{value="office",role="MANAGER"},{value="line",role="OPERATOR",site="north"}]"#;
const PATIENCE: Duration = Duration::from_mins(1);

/// A server that takes people from a provider, with the site registered and an administrator.
pub(crate) async fn house(name: &str, provider: &mut Provider, more: &[(&str, &str)]) -> (House, UserId) {
    let secret = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(lotline_tests::stack::unique("secret"));
    std::fs::write(&secret, format!("{CLIENT_SECRET}\n")).unwrap();
    let mut environment = vec![
        ("LOTLINE_ACCESS__OIDC__ISSUER", provider.issuer.as_str()),
        ("LOTLINE_ACCESS__OIDC__CLIENT_ID", CLIENT_ID),
        ("LOTLINE_ACCESS__OIDC__CLIENT_SECRET_FILE", secret.to_str().unwrap()),
        ("LOTLINE_ACCESS__OIDC__SCOPES", "[openid, email, profile, groups]"),
        ("LOTLINE_ACCESS__OIDC__ROLES_CLAIM", "groups"),
        ("LOTLINE_ACCESS__OIDC__ROLES", ROLES),
        ("LOTLINE_ACCESS__OIDC__ALLOW_HTTP", "true"),
    ];
    environment.extend(more);
    let (house, admin) = House::set(name, &environment).await.administered().await;
    provider.tell(&json!({ "redirect": format!("{}/api/v1/auth/oidc/callback", house.server.url) }));
    let site = AccessCommand::RegisterSite { site: SITE.into(), name: "North".into(), time_zone: "UTC".into() };
    house.decide(admin.actor(), site).await;
    (house, admin)
}

pub(crate) fn claims(email: &str, verified: bool, groups: &[&str]) -> Value {
    json!({ "email": email, "email_verified": verified, "name": "Olga Ek", "groups": groups })
}

/// Where a browser is sent to begin.
async fn begin(house: &House, browser: &mut Browser, query: &str) -> Url {
    let start = browser.get(&format!("{}/api/v1/auth/oidc/start{query}", house.server.url)).await;
    assert_eq!(start.status, 303, "{start:?}");
    start.leads_to().unwrap()
}

/// From start to the callback's answer, in a browser of its own.
pub(crate) async fn come(house: &House, browser: &mut Browser, subject: &str) -> Page {
    let there = begin(house, browser, "?tokens=true").await;
    let back = browser.sign_in(&there, subject).await;
    browser.get(back.as_str()).await
}

async fn comes_in(house: &House, subject: &str) -> String {
    let page = come(house, &mut Browser::default(), subject).await;
    assert_eq!(page.status, 200, "{page:?}");
    format!("Bearer {}", page.json()["accessToken"].as_str().unwrap())
}

async fn turned_away(house: &House, subject: &str) {
    let page = come(house, &mut Browser::default(), subject).await;
    assert_eq!((page.status, page.code().as_str()), (403, "SIGN_ON_STRANGER"), "{page:?}");
}

async fn memberships(house: &House, bearer: &str) -> Value {
    house.get("/api/v1/auth/session", &[("authorization", bearer)]).await.body["memberships"].clone()
}

/// The reasons of all decisions about a person's roles by the machine, once there are so many.
async fn by_the_machine(house: &House, ann: &str, user: UserId, wanted: usize) {
    let query = "{ auditTrail(filter: {stream: \"_tenant\", actor: \"system\"}, first: 100) { edges { node { eventType subject reason } } } }";
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = house.graphql(&[("authorization", ann)], query, &json!({})).await;
        let edges = answer.body["data"]["auditTrail"]["edges"].as_array().cloned().unwrap_or_default();
        let about = |edge: &&Value| {
            edge["node"]["subject"] == format!("user/{user}")
                && edge["node"]["eventType"] == "lotline.membership.changed.v1"
        };
        let found: Vec<&Value> = edges.iter().filter(about).collect();
        if found.len() == wanted {
            assert!(found.iter().all(|edge| edge["node"]["reason"] == "single sign-on"), "{found:?}");
            return;
        }
        assert!(found.len() < wanted && Instant::now() < until, "{}", answer.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn the_invited_come_in_by_the_provider_with_the_roles_of_their_groups() {
    let mut provider = Provider::start();
    let (house, admin) = house("sso-people", &mut provider, &[]).await;
    let ann = house.bearer(ADMIN).await;
    let olga = house.person(admin, OLGA, None, &[Role::Viewer]).await;

    provider.account("s-1", &claims("carol@dairy.example", true, &["bosses"]));
    turned_away(&house, "s-1").await;
    provider.account("s-2", &claims(OLGA, false, &["bosses"]));
    turned_away(&house, "s-2").await;

    provider.account("s-3", &claims(OLGA, true, &["line", "unknown"]));
    let bearer = comes_in(&house, "s-3").await;
    assert_eq!(memberships(&house, &bearer).await, json!([{ "site": SITE, "roles": ["OPERATOR"] }]));
    let registered = house.register(&[("authorization", &bearer)], "L-1").await;
    assert_eq!(registered.body["data"]["registerLot"]["userErrors"], json!([]), "{}", registered.body);
    by_the_machine(&house, &ann, olga, 2).await;

    // Known by the subject from now on, whatever becomes of the address; and the address is nobody else's.
    provider.account("s-3", &claims("olga.ek@dairy.example", false, &["line"]));
    comes_in(&house, "s-3").await;
    provider.account("s-4", &claims(OLGA, true, &["bosses"]));
    turned_away(&house, "s-4").await;
    by_the_machine(&house, &ann, olga, 2).await;

    provider.account("s-3", &claims(OLGA, true, &["office"]));
    let bearer = comes_in(&house, "s-3").await;
    assert_eq!(memberships(&house, &bearer).await, json!([{ "site": null, "roles": ["MANAGER"] }]));
    by_the_machine(&house, &ann, olga, 4).await;
    provider.account("s-3", &json!({ "email": OLGA, "email_verified": true }));
    assert_eq!(memberships(&house, &comes_in(&house, "s-3").await).await, json!([]));

    house.decide(admin.actor(), AccessCommand::DeactivateUser { user_id: olga }).await;
    house.until(&[("authorization", &bearer)], 401).await;
    turned_away(&house, "s-3").await;
}

#[tokio::test]
async fn an_attempt_is_good_once_and_in_its_own_browser() {
    let mut provider = Provider::start();
    let (house, admin) = house("sso-attempts", &mut provider, &[]).await;
    house.person(admin, OLGA, None, &[Role::Viewer]).await;
    provider.account("s-1", &claims(OLGA, true, &["line"]));
    let url = house.server.url.clone();
    let over = |page: &Page| assert_eq!((page.status, page.code().as_str()), (400, "SIGN_ON_OVER"), "{page:?}");

    let mut browser = Browser::default();
    let there = begin(&house, &mut browser, "?returnTo=/graphiql%3Fa=1").await;
    let sent: Vec<(String, String)> = there.query_pairs().into_owned().collect();
    let parameter = |name: &str| sent.iter().find(|(given, _)| given == name).unwrap().1.clone();
    assert_eq!((parameter("code_challenge_method").as_str(), parameter("response_type").as_str()), ("S256", "code"));
    let back = browser.sign_in(&there, "s-1").await;
    over(&Browser::default().get(back.as_str()).await);
    let attempt = browser.cookies(&url);
    let mut forged = back.clone();
    forged.query_pairs_mut().clear().extend_pairs([("code", "x"), ("state", "y")]);
    over(&browser.get(forged.as_str()).await);

    browser.plant(&url, &attempt);
    let page = browser.get(back.as_str()).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.text.contains("0;url=/graphiql?a=1\""), "{}", page.text);
    assert!(!browser.cookies(&url).contains("sign_on"), "the attempt is gone");
    let cookie = browser.cookies(&url);
    let session = house.get("/api/v1/auth/session", &[("cookie", &cookie)]).await;
    assert_eq!(
        (session.status, session.body["memberships"][0]["site"].as_str()),
        (200, Some(SITE)),
        "{}",
        session.body
    );
    let mut again = Browser::default();
    again.plant(&url, &attempt);
    over(&again.get(back.as_str()).await);

    // A code that somebody else's browser has got is of no use, though state and cookie are good: its verifier is another.
    let (mut thief, mut victim) = (Browser::default(), Browser::default());
    let (there, here) = (begin(&house, &mut thief, "").await, begin(&house, &mut victim, "").await);
    let (theirs, mine) = (thief.sign_in(&there, "s-1").await, victim.sign_in(&here, "s-1").await);
    let value = |url: &Url, name: &str| url.query_pairs().find(|(given, _)| given == name).unwrap().1.into_owned();
    let mut mixed = mine.clone();
    let (code, state, iss) = (value(&theirs, "code"), value(&mine, "state"), value(&mine, "iss"));
    mixed.query_pairs_mut().clear().extend_pairs([("code", &code), ("state", &state), ("iss", &iss)]);
    let page = victim.get(mixed.as_str()).await;
    assert_eq!((page.status, page.code().as_str()), (401, "SIGN_ON_REFUSED"), "{page:?}");

    for (name, given, code) in
        [("iss", "http://other.example", "SIGN_ON_REFUSED"), ("error", "access_denied", "SIGN_ON_DENIED")]
    {
        let mut browser = Browser::default();
        let there = begin(&house, &mut browser, "").await;
        let state = value(&there, "state");
        let mut back = mine.clone();
        back.query_pairs_mut().clear().extend_pairs([("code", "x"), ("state", &state), (name, given)]);
        let page = browser.get(back.as_str()).await;
        assert_eq!((page.status, page.code().as_str()), (401, code), "{page:?}");
    }
    let away = Browser::default().get(&format!("{url}/api/v1/auth/oidc/start?returnTo=//evil.example")).await;
    assert_eq!((away.status, away.code().as_str()), (400, "INVALID_PATH"));

    // Each is an attempt that the audit trail tells of, and so is a stranger.
    provider.account("s-9", &claims("nobody@dairy.example", true, &["line"]));
    turned_away(&house, "s-9").await;
    let (counts, _) = attempts(&told(&house, 7).await);
    let of = |kind: &str| counts.get(&("door/unknown".to_owned(), kind.to_owned(), String::new())).copied();
    assert_eq!((of("sign_on_refused"), of("stranger")), (Some(6), Some(1)), "{counts:?}");
}

#[tokio::test]
async fn whoever_makes_codes_up_is_held_up() {
    let mut provider = Provider::start();
    let few = [("LOTLINE_API__LIMITS__FAILED_LOOK_UPS_PER_ADDRESS", "3")];
    let (house, _) = house("sso-flood", &mut provider, &few).await;
    let mut answers = Vec::new();
    for number in 0..4 {
        let mut browser = Browser::default();
        let there = begin(&house, &mut browser, "").await;
        let (_, state) = there.query_pairs().find(|(given, _)| given == "state").unwrap();
        let mut back = Url::parse(&format!("{}/api/v1/auth/oidc/callback", house.server.url)).unwrap();
        let made_up = format!("code-{number}");
        back.query_pairs_mut().extend_pairs([("code", &*made_up), ("state", &*state), ("iss", &*provider.issuer)]);
        let page = browser.get(back.as_str()).await;
        answers.push((page.status, page.code()));
    }
    let refused = (401, "SIGN_ON_REFUSED".to_owned());
    let held_up = (429, "TOO_MANY_UNKNOWN_CREDENTIALS".to_owned());
    assert_eq!(answers, [refused.clone(), refused.clone(), refused, held_up]);
}

#[tokio::test]
async fn the_provider_changes_its_keys() {
    let mut provider = Provider::start();
    let (house, admin) = house("sso-keys", &mut provider, &[]).await;
    house.person(admin, OLGA, None, &[Role::Viewer]).await;
    provider.account("s-1", &claims(OLGA, true, &["line"]));
    comes_in(&house, "s-1").await;
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        provider.tell(&json!({ "rotate": algorithm, "conform": false }));
        comes_in(&house, "s-1").await;
    }
}

#[tokio::test]
async fn strangers_are_registered_where_configuration_says_so() {
    let mut provider = Provider::start();
    let more = [("LOTLINE_ACCESS__OIDC__INVITE_UNKNOWN", "true")];
    let (house, admin) = house("sso-strangers", &mut provider, &more).await;
    provider.account("s-1", &claims("new@dairy.example", false, &["bosses"]));
    turned_away(&house, "s-1").await;
    provider.account("s-1", &claims("new@dairy.example", true, &["bosses"]));
    let bearer = comes_in(&house, "s-1").await;
    assert_eq!(memberships(&house, &bearer).await, json!([{ "site": null, "roles": ["ADMIN"] }]));
    comes_in(&house, "s-1").await;

    // The provider may take ADMIN, but not from the last who has it.
    house.decide(admin.actor(), AccessCommand::DeactivateUser { user_id: admin }).await;
    provider.account("s-1", &claims("new@dairy.example", true, &[]));
    let bearer = comes_in(&house, "s-1").await;
    assert_eq!(memberships(&house, &bearer).await, json!([{ "site": null, "roles": ["ADMIN"] }]));
}

#[tokio::test]
async fn another_claim_than_email_links_people_only_where_configuration_trusts_it() {
    let mut provider = Provider::start();
    let more = [("LOTLINE_ACCESS__OIDC__EMAIL_CLAIM", "name"), ("LOTLINE_ACCESS__OIDC__EMAIL_CLAIM_TRUSTED", "true")];
    let (house, admin) = house("sso-claim", &mut provider, &more).await;
    house.person(admin, OLGA, None, &[Role::Viewer]).await;
    provider.account("s-1", &json!({ "email": OLGA, "email_verified": true, "name": "Eve", "groups": ["bosses"] }));
    turned_away(&house, "s-1").await;
    provider.account("s-2", &json!({ "email": "x@y.example", "name": OLGA, "groups": ["line"] }));
    let bearer = comes_in(&house, "s-2").await;
    assert_eq!(memberships(&house, &bearer).await, json!([{ "site": SITE, "roles": ["OPERATOR"] }]));

    let mut settings = house.plant.settings.clone();
    settings.environment.retain(|(name, _)| name != "LOTLINE_ACCESS__OIDC__EMAIL_CLAIM_TRUSTED");
    let output = lotline(&settings).arg("config").output().expect("the lotline binary starts");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && complaint.contains("set access.oidc.email_claim_trusted = true"),
        "{complaint}"
    );
}

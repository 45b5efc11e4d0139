//! Proving again who one is: by the password or at the provider, for one command, once.

use lotline_domain::access::role::Role;
use lotline_tests::client::key;
use lotline_tests::provider::{Browser, Provider};
use reqwest::Url;
use serde_json::{Value, json};

use crate::sign_on::{self, OLGA, come};
use crate::trail::{attempts, told};
use crate::visitor::{ADMIN, Answer, House, PASSWORD};

fn give(user: &Value, role: &str) -> Value {
    json!({ "idempotencyKey": key(), "userId": user, "roles": [role] })
}

/// `setRoles`, with a proof if there is one.
async fn set_roles(house: &House, bearer: &str, input: &Value, proof: Option<&str>) -> Answer {
    let query = "mutation($input: SetRolesInput!) { setRoles(input: $input) { userErrors { code } } }";
    let body = json!({ "query": query, "variables": { "input": input }, "extensions": proof.map(|proof| json!({ "proof": proof })) });
    let request = reqwest::Client::new().post(format!("{}/graphql", house.server.url)).json(&body);
    house.send(request, &[("authorization", bearer)]).await
}

fn asked(input: &Value, password: &str) -> Value {
    json!({ "mutation": "setRoles", "input": input, "password": password })
}

async fn prove(house: &House, bearer: &str, input: &Value) -> String {
    let answer = house.post("proofs", &[("authorization", bearer)], &asked(input, PASSWORD)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["proof"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_proof_is_for_one_command_of_one_session_and_once() {
    let (house, admin) = House::with_admin("proofs").await;
    let user = json!(house.person(admin, OLGA, None, &[Role::Admin]).await.0);
    let (ann, elsewhere, olga) = (house.bearer(ADMIN).await, house.bearer(ADMIN).await, house.bearer(OLGA).await);
    let (one, other) = (give(&user, "VIEWER"), give(&user, "OPERATOR"));
    let proof = prove(&house, &ann, &one).await;
    for (bearer, input) in [(&ann, &other), (&elsewhere, &one), (&olga, &one)] {
        let answer = set_roles(&house, bearer, input, Some(&proof)).await;
        answer.is(answer.status, "PROOF_REFUSED");
        assert_eq!(answer.body["data"], Value::Null, "{}", answer.body);
    }
    let done = set_roles(&house, &ann, &one, Some(&proof)).await;
    assert_eq!(done.body["data"]["setRoles"]["userErrors"], json!([]), "{}", done.body);
    let again = set_roles(&house, &ann, &one, Some(&proof)).await;
    again.is(again.status, "PROOF_REFUSED");
    assert_eq!(set_roles(&house, &ann, &one, None).await.body["data"]["setRoles"]["userErrors"], json!([]));

    let two = "mutation($input: SetRolesInput!) { a: setRoles(input: $input) { userErrors { code } } b: setRoles(input: $input) { userErrors { code } } }";
    let proof = prove(&house, &ann, &other).await;
    let body = json!({ "query": two, "variables": { "input": other }, "extensions": { "proof": proof } });
    let request = reqwest::Client::new().post(format!("{}/graphql", house.server.url)).json(&body);
    let both = house.send(request, &[("authorization", &ann)]).await;
    both.is(both.status, "PROOF_REFUSED");
}

#[tokio::test]
async fn only_who_has_signed_in_and_knows_the_password_gets_one() {
    let (house, admin) = House::with_admin("proofs-tries").await;
    let (_, api_key) = house.key(admin, "robot", &[Role::Admin]).await;
    let (ann, input) = (house.bearer(ADMIN).await, give(&json!(admin.0), "VIEWER"));
    house.post("proofs", &[], &asked(&input, PASSWORD)).await.is(401, "UNAUTHENTICATED");
    house.post("proofs", &[("x-api-key", &api_key)], &asked(&input, PASSWORD)).await.is(403, "NO_SESSION");
    let header = [("authorization", ann.as_str())];
    house.post("proofs/oidc", &header, &json!({ "mutation": "setRoles", "input": input })).await.is(404, "NO_SIGN_ON");
    // Locked like signing in, and for signing in too. On a slow machine the first locks are over before the next try.
    let mut wrong = 0;
    loop {
        let answer = house.post("proofs", &header, &asked(&input, "nine goats on the roof")).await;
        if answer.status == 429 {
            answer.is(429, "TOO_MANY_TRIES");
            break;
        }
        answer.is(401, "SIGN_IN_REFUSED");
        wrong += 1;
        assert!(wrong < 30, "nothing is locked");
    }
    assert!(wrong >= 5, "a few tries are free: {wrong}");
    let guessed = set_roles(&house, &ann, &input, Some("guess")).await;
    guessed.is(guessed.status, "PROOF_REFUSED");

    let (counts, _) = attempts(&told(&house, wrong + 4).await);
    let own = format!("user/{admin}");
    let of = |subject: &str, kind: &str| counts.get(&(subject.to_owned(), kind.to_owned(), String::new())).copied();
    let found = ["wrong_password", "locked", "proof_refused"].map(|kind| of(&own, kind));
    assert_eq!(found, [Some(wrong), Some(1), Some(1)], "{counts:?}");
}

#[tokio::test]
async fn who_comes_by_the_provider_proves_it_there_again() {
    let mut provider = Provider::start();
    let (house, admin) = sign_on::house("proofs-sso", &mut provider, &[]).await;
    let olga = json!(house.person(admin, OLGA, None, &[Role::Admin]).await.0);
    house.person(admin, "vic@dairy.example", None, &[Role::Viewer]).await;
    let claims = |email: &str| json!({ "email": email, "email_verified": true, "groups": ["bosses"] });
    provider.account("s-1", &claims(OLGA));
    provider.account("s-2", &claims("vic@dairy.example"));
    let mut browser = Browser::default();
    let bearer = format!("Bearer {}", come(&house, &mut browser, "s-1").await.json()["accessToken"].as_str().unwrap());
    come(&house, &mut Browser::default(), "s-2").await;

    let input = give(&olga, "MANAGER");
    let mut other = Browser::default();
    // In the person's own browser the session at the provider goes on: they are asked to sign in all the same.
    for (subject, browser, fine) in [("s-2", &mut other, false), ("s-1", &mut browser, true)] {
        let wanted = json!({ "mutation": "setRoles", "input": input });
        let answer = house.post("proofs/oidc", &[("authorization", &bearer)], &wanted).await;
        let there: Url = answer.body["location"].as_str().unwrap().parse().unwrap();
        let parameters = there.query().unwrap();
        assert!(parameters.contains("prompt=login") && parameters.contains("max_age=0"), "{parameters}");
        let attempt = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        browser.plant(&house.server.url, &attempt);
        let back = browser.sign_in(&there, subject).await;
        let page = browser.get(back.as_str()).await;
        if !fine {
            assert_eq!((page.status, page.code().as_str()), (403, "PROOF_OF_ANOTHER"), "{page:?}");
            continue;
        }
        let proof = page.json()["proof"].as_str().unwrap().to_owned();
        let done = set_roles(&house, &bearer, &input, Some(&proof)).await;
        assert_eq!(done.body["data"]["setRoles"]["userErrors"], json!([]), "{}", done.body);
    }
}

//! What browsers are told: pages of listed sites may ask, others may not, and every answer is guarded.

use lotline_api::{Edge, Limits};
use reqwest::{Method, Response, StatusCode};

use crate::plant::Plant;

const CONSOLE: &str = "https://console.plant.example";

async fn preflight(plant: &Plant, origin: &str) -> Response {
    let request = reqwest::Client::new().request(Method::OPTIONS, format!("http://{}/graphql", plant.address));
    let request = request.header("origin", origin).header("access-control-request-method", "POST");
    request.header("access-control-request-headers", "content-type,x-csrf-token").send().await.unwrap()
}

#[tokio::test]
async fn pages_of_listed_sites_may_ask_and_others_may_not() {
    let edge = Edge { origins: vec![CONSOLE.to_owned()], ..Edge::default() };
    let plant = Plant::at_the_edge("api_cors", Limits::default(), edge).await;
    let allowed = preflight(&plant, CONSOLE).await;
    assert!(allowed.status().is_success(), "{}", allowed.status());
    for (name, part) in [
        ("access-control-allow-origin", CONSOLE),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "x-csrf-token"),
        ("vary", "origin"),
    ] {
        assert!(allowed.headers()[name].to_str().unwrap().contains(part), "{name}: {:?}", allowed.headers());
    }
    let answer = plant.request("ann", "{ tenant }").header("origin", CONSOLE).send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], CONSOLE);
    assert!(answer.headers()["access-control-expose-headers"].to_str().unwrap().contains("ratelimit"));
    for origin in
        ["https://evil.example", "https://console.plant.example.evil.example", "null", "http://console.plant.example"]
    {
        for answer in [
            preflight(&plant, origin).await,
            plant.request("ann", "{ tenant }").header("origin", origin).send().await.unwrap(),
        ] {
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin}");
            assert!(!answer.headers().contains_key("access-control-allow-origin"), "{origin}");
        }
    }
}

#[tokio::test]
async fn no_page_of_another_site_may_ask_by_default() {
    let plant = Plant::start("api_no_cors", Limits::default()).await;
    assert_eq!(preflight(&plant, CONSOLE).await.status(), StatusCode::FORBIDDEN);
    let answer = plant.request("ann", "{ tenant }").send().await.unwrap();
    assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control-")));
}

#[tokio::test]
async fn every_answer_is_guarded_and_the_playground_keeps_its_own_policy() {
    let edge = Edge { https: true, ..Edge::default() };
    let plant = Plant::at_the_edge("api_guarded", Limits::default(), edge).await;
    for (path, policy) in [
        ("/graphql", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
        ("/nothing", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
        ("/health/live", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
        ("/graphiql", "script-src 'self';"),
    ] {
        let answer = reqwest::get(format!("http://{}{path}", plant.address)).await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let given = header("content-security-policy");
        assert!(given.contains(policy) && given.contains("frame-ancestors 'none'"), "{path}: {given}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("strict-transport-security"), "max-age=31536000", "{path}");
    }
    let plain = Plant::start("api_guarded_plain", Limits::default()).await;
    let answer = reqwest::get(format!("http://{}/graphql", plain.address)).await.unwrap();
    assert!(!answer.headers().contains_key("strict-transport-security"), "plain HTTP promises no https");
}

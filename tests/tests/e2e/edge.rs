//! The edge of the real binary: a certificate by configuration, and limits that hold where it is known who asks.

use std::time::Duration;

use lotline_tests::server::{Log, Server, lotline};
use serde_json::json;

use crate::site::Plant;
use crate::visitor::{ADMIN, House};

#[tokio::test]
async fn a_certificate_makes_it_https_for_people_and_probes() {
    let mut plant = Plant::new("edge-tls", Log::Postgres).await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (plant.settings.folder.join("tls.crt"), plant.settings.folder.join("tls.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    for (name, value) in [("CERTIFICATE", &certificate), ("KEY", &key)] {
        plant.settings.environment.push((format!("LOTLINE_API__TLS__{name}"), value.display().to_string()));
    }
    plant.settings.environment.push(("LOTLINE_ACCESS__MODE".into(), "enforced".into()));
    let server = Server::start(&plant.settings, &["serve"]).await;
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let address = server.url.strip_prefix("https://").expect("the server speaks TLS").parse().unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy().resolve("localhost", address);
    let url = format!("https://localhost:{}/health/ready", address.port());
    let answer = client.build().unwrap().get(url).timeout(Duration::from_secs(30)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
    assert!(answer.headers().contains_key("strict-transport-security"));
    let mut probe = lotline(&plant.settings);
    let probed = probe.env("LOTLINE_API__BIND", address.to_string()).args(["health", "--timeout-ms", "30000"]).output();
    let probed = probed.unwrap();
    assert!(probed.status.success(), "{}", String::from_utf8_lossy(&probed.stderr));
}

#[tokio::test]
async fn each_user_and_key_has_its_hour_and_may_always_sign_out() {
    let limit = ("LOTLINE_API__LIMITS__REQUESTS_PER_HOUR_BY_ACTOR", "5");
    let (house, admin) = House::set("edge-rates", &[limit]).await.administered().await;
    let ann = house.bearer(ADMIN).await;
    let ann = [("authorization", ann.as_str())];
    for left in (0..5).rev() {
        let answer = house.get("/api/v1/auth/session", &ann).await;
        let standing = answer.headers["ratelimit"].to_str().unwrap();
        assert!(standing.starts_with(&format!("\"actor\";r={left};")), "{standing}");
        assert_eq!(answer.headers["ratelimit-policy"], "\"actor\";q=5;w=3600, \"workspace\";q=5000;w=3600");
    }
    house.get("/api/v1/auth/session", &ann).await.is(429, "RATE_LIMITED");
    let refused = house.graphql(&ann, "{ tenant }", &json!({})).await;
    refused.is(429, "RATE_LIMITED");
    assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    let (_, key) = house.key(admin, "robot", &[lotline_domain::access::role::Role::Viewer]).await;
    house.until(&[("x-api-key", &key)], 200).await;
    assert_eq!(house.post("sign-out", &ann, &json!({})).await.status, 200);
    assert_eq!(house.sign_in(ADMIN, false).await.status, 200, "nor is signing in counted");
    let metrics = reqwest::get(format!("{}/metrics", house.server.url)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("lotline_requests_limited_total{limit=\"actor\"} 2"), "{metrics}");
}

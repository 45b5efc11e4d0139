//! The edge of the real binary: a certificate by configuration, and limits that hold where it is known who asks.

use std::time::{Duration, Instant};

use lotline_tests::client::{Client, lot};
use lotline_tests::server::{Log, Server, lotline};
use serde_json::{Value, json};

use crate::load::{PATIENCE, SITES};
use crate::nodes::node;
use crate::site::Plant;
use crate::visitor::{ADMIN, House, PASSWORD, set_up};

#[tokio::test]
async fn a_certificate_makes_it_https_for_people_and_probes() {
    let mut plant = Plant::new("edge-tls", Log::Postgres).await;
    let root = certify(&mut plant, "localhost");
    plant.settings.development = false;
    let server = Server::start(&plant.settings, &["serve"]).await;
    let address = server.url.strip_prefix("https://").expect("the server speaks TLS").parse().unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy().resolve("localhost", address);
    let url = format!("https://localhost:{}/health/ready", address.port());
    let client = client.build().unwrap();
    let answer = client.get(url).timeout(Duration::from_secs(30)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
    assert!(answer.headers().contains_key("strict-transport-security"));
    signs_in_by_cookies(&server, &client, &format!("https://localhost:{}", address.port())).await;
    let mut probe = lotline(&plant.settings);
    let probed = probe.env("LOTLINE_API__BIND", address.to_string()).args(["health", "--timeout-ms", "30000"]).output();
    let probed = probed.unwrap();
    assert!(probed.status.success(), "{}", String::from_utf8_lossy(&probed.stderr));
}

/// Cookies that browsers send over TLS only, and that no other host can have set.
async fn signs_in_by_cookies(server: &Server, http: &reqwest::Client, origin: &str) {
    let printed = server.printed();
    let (_, link) = printed.split_once("/setup#").expect("the first start prints a link");
    let link = link.split_whitespace().next().unwrap();
    let post = |path: &str, body: Value| http.post(format!("{origin}/api/v1/auth/{path}")).json(&body).send();
    assert_eq!(post("setup", set_up(link, PASSWORD)).await.unwrap().status().as_u16(), 204);
    let sign_in = json!({ "email": ADMIN, "password": PASSWORD, "cookies": true });
    let signed_in = post("sign-in", sign_in).await.unwrap();
    let cookies: Vec<&str> =
        signed_in.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert_eq!(cookies.len(), 3, "{cookies:?}");
    for cookie in cookies {
        let attributes: Vec<&str> = cookie.split("; ").collect();
        assert!(cookie.starts_with("__Host-") && attributes.contains(&"Secure"), "{cookie}");
        assert!(attributes.contains(&"Path=/") && attributes.contains(&"SameSite=Strict"), "{cookie}");
        assert!(!cookie.contains("Domain"), "{cookie}");
    }
}

/// Nodes forward commands to each other, and `lotline admin` gives them its own, only over a certificate that they believe.
#[tokio::test]
async fn nodes_and_the_administrator_go_by_certificates_too() {
    let mut plant = Plant::new("edge-nodes", Log::Postgres).await;
    let root = certify(&mut plant, "127.0.0.1");
    plant.settings.environment.push(("LOTLINE_TENANT__SITES".into(), format!("{SITES:?}")));
    let believed = plant.settings.folder.join("tls.crt").display().to_string();
    plant.settings.environment.push(("SSL_CERT_FILE".into(), believed));
    let (one, two) = (node(&plant, "one").await, node(&plant, "two").await);
    let http = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap();
    let ann = Client::by(http.clone(), &one.url, "ann");
    let until = Instant::now() + PATIENCE;
    for round in 0.. {
        for site in SITES {
            ann.insist("registerLot", &lot(site, &format!("L-{round}"), "10", &[]), PATIENCE).await;
        }
        let metrics = http.get(format!("{}/metrics", two.url)).send().await.unwrap().text().await.unwrap();
        let taken = metrics.lines().find_map(|line| line.strip_prefix("lotline_commands_taken_total "));
        if taken.is_some_and(|taken| taken != "0") {
            break;
        }
        assert!(Instant::now() < until, "nothing was forwarded:\n{}", two.printed());
    }

    let create = |email| {
        let mut program = lotline(&plant.settings);
        program.args(["admin", "create", "--email", email, "--name", "Ann Li"]);
        program
    };
    // A name whose command may have arrived is kept for a while, so it is another one.
    let doubting = create("eve@dairy.example").env("SSL_CERT_FILE", "/dev/null").output().unwrap();
    assert!(!doubting.status.success(), "a certificate that nobody vouches for was believed");
    let appointed = create(ADMIN).output().unwrap();
    assert!(appointed.status.success(), "{}", String::from_utf8_lossy(&appointed.stderr));
    assert!(String::from_utf8_lossy(&appointed.stdout).contains("/setup#"));
}

/// Gives the plant's servers a certificate for a name, and says whom to trust.
fn certify(plant: &mut Plant, name: &str) -> reqwest::Certificate {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (certificate, key) = (plant.settings.folder.join("tls.crt"), plant.settings.folder.join("tls.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    for (name, value) in [("CERTIFICATE", &certificate), ("KEY", &key)] {
        plant.settings.environment.push((format!("LOTLINE_API__TLS__{name}"), value.display().to_string()));
    }
    reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
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

//! Every process answers for itself, whatever its roles: alive, ready, metrics.

use std::time::{Duration, Instant};

use lotline_domain::partition::partition_of;
use lotline_tests::client::{Client, lot};
use lotline_tests::server::{Log, Server};
use serde_json::{Value, json};

use crate::site::{Plant, SITE};
use crate::visitor::House;

async fn get(server: &Server, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("{}{path}", server.url)).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn ready(server: &Server) -> (u16, Value) {
    let (status, text) = get(server, "/health/ready").await;
    (status, serde_json::from_str(&text).unwrap())
}

fn named(report: &Value) -> Vec<&str> {
    report["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_process_without_the_api_has_health_and_metrics() {
    let plant = Plant::new("roles", Log::Postgres).await;
    for (roles, checks) in [
        ("projector", &["database", "projector"][..]),
        ("writer", &["database", "writer"]),
        ("collector,projector", &["database", "projector", "collector"]),
        ("api,writer,projector,collector", &["database", "writer", "projector", "collector"]),
    ] {
        let mut server = Server::start(&plant.settings, &["serve", "--roles", roles]).await;
        let (status, report) = ready(&server).await;
        assert_eq!((status, named(&report)), (200, checks.to_vec()), "{roles}: {report}");
        assert_eq!(get(&server, "/health/live").await, (200, json!({ "status": "live" }).to_string()));
        let (status, metrics) = get(&server, "/metrics").await;
        assert_eq!(status, 200);
        let undescribed = undescribed(&metrics);
        assert!(undescribed.is_empty(), "{roles}: no help for {undescribed:?}");
        let (status, text) = get(&server, "/graphql").await;
        assert_eq!(status == 404, !roles.contains("api"), "{roles}: {status} {text}");
        assert!(server.stop(Duration::from_secs(20)).await, "{}", server.printed());
    }
}

/// Metrics with a type and without a help.
fn undescribed(metrics: &str) -> Vec<&str> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    types.filter(|name| !metrics.contains(&format!("# HELP {name} "))).collect()
}

#[tokio::test]
async fn a_role_that_has_ended_is_named() {
    let plant = Plant::new("ended", Log::Postgres).await;
    let server = plant.serve().await;
    Client::new(&server.url, "ann").mutate("registerLot", "", &lot(SITE, "L-1", "1", &[])).await;
    assert_eq!(ready(&server).await.0, 200);
    let other = (0..4).find(|partition| *partition != partition_of(SITE, 4)).unwrap();
    sqlx::query("INSERT INTO log.record (topic, partition, position, key, headers, value) VALUES ($1, $2, 0, 'south', '[]', 'hello')")
        .bind(format!("lotline.{}.ledger.v1", plant.settings.tenant))
        .bind(other as i32)
        .execute(&plant.database.pool)
        .await
        .unwrap();
    sqlx::query("UPDATE log.partition SET next = 1 WHERE topic LIKE '%ledger%' AND partition = $1")
        .bind(other as i32)
        .execute(&plant.database.pool)
        .await
        .unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let (status, report) = ready(&server).await;
        if status == 503 {
            let projector =
                report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "projector").unwrap();
            let reason = projector["reason"].as_str().unwrap_or_default();
            assert!(reason.contains(&format!("the projection of ledger partition {other} has ended")), "{report}");
            assert_eq!((&report["status"], &projector["ready"]), (&json!("not ready"), &json!(false)), "{report}");
            break;
        }
        assert!(Instant::now() < until, "the end of the projection does not show: {report}\n{}", server.printed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Live all the same, and the other partitions are served.
    assert_eq!(get(&server, "/health/live").await.0, 200);
    Client::new(&server.url, "ann").mutate("registerLot", "", &lot(SITE, "L-2", "1", &[])).await;
}

/// One that says it is ready is asked at once, and may not have to send people away.
#[tokio::test]
async fn a_node_is_not_ready_before_it_knows_who_may_do_what() {
    let (house, admin) = House::with_admin("roles-access").await;
    let admins = house.token(admin).await;
    // Whoever begins now can't read the ledger.
    let mut gate = house.plant.database.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE log.record IN ACCESS EXCLUSIVE MODE").execute(&mut *gate).await.unwrap();
    let mut settings = house.plant.settings.clone();
    settings.environment.retain(|(name, _)| name != "LOTLINE_CLUSTER__NODE");
    let mut apart = Server::begin(&settings, &["serve", "--roles", "api"]);
    let until = Instant::now() + Duration::from_mins(1);
    while reqwest::get(format!("{}/health/live", apart.url)).await.is_err() {
        assert!(Instant::now() < until, "it does not answer:\n{}", apart.printed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (status, report) = ready(&apart).await;
    assert_eq!((status, named(&report)), (503, vec!["database", "access"]), "{report}");
    let access = &report["checks"][1];
    assert_eq!((&report["checks"][0]["ready"], &access["ready"]), (&json!(true), &json!(false)), "{report}");
    assert!(access["reason"].as_str().unwrap().starts_with("who may do what is not known"), "{report}");
    let ask = || reqwest::Client::new().post(format!("{}/graphql", apart.url)).header("authorization", &admins);
    let query = json!({ "query": "{ tenant }" });
    assert_eq!(ask().json(&query).send().await.unwrap().status().as_u16(), 503);
    let question = ask().json(&query);
    gate.rollback().await.unwrap();
    apart.wait_until_ready().await;
    assert_eq!(question.send().await.unwrap().status().as_u16(), 200, "who is ready lets people in");
}

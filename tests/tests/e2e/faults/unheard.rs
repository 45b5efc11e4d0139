//! A node that hears nothing of Kafka any more while PostgreSQL still answers: it knows roles, but not whether they hold still.

use std::time::{Duration, Instant};

use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_domain::access::command::AccessCommand;
use lotline_domain::access::role::{Role, RoleSet};
use lotline_domain::id::{CommandId, UserId};
use lotline_domain::port::{Clock, Ids};
use lotline_tests::proxy::Proxy;
use lotline_tests::server::Log;
use lotline_tests::stack::{self, Services};
use serde_json::json;

use crate::nodes::node;
use crate::site::Plant;
use crate::visitor::{House, PATIENCE};

#[tokio::test]
async fn a_node_that_is_cut_off_from_the_log_lets_nobody_in_by_old_roles() {
    let to_kafka = Proxy::start().await;
    let kafka = Services::start("unheard", &["--detour", &to_kafka.port.to_string(), "kafka"]).await;
    to_kafka.lead_to(&kafka.setting("STACK_KAFKA_DETOUR").await);
    let brokers = kafka.setting("STACK_KAFKA_BROKERS").await;
    let plant = Plant::on("unheard", Log::Kafka, stack::database("unheard").await, Some(brokers.clone()));
    let (mut house, admin) = House::at(plant, &[("LOTLINE_CLUSTER__NODE", "staying")]).await.administered().await;
    let user = house.member(admin, "olga", None, Role::Viewer).await;
    let olga = house.token(user).await;
    house.until(&[("authorization", &olga)], 200).await;
    house.plant.settings.brokers = Some(format!("127.0.0.1:{}", to_kafka.port));
    let cut_off = node(&house.plant, "cut-off").await;
    house.plant.settings.brokers = Some(brokers);
    let staying = std::mem::replace(&mut house.server, cut_off);
    house.until(&[("authorization", &olga)], 200).await;

    to_kafka.cut();
    take_away(&house, admin, user).await;
    house.until(&[("authorization", &olga)], 503).await;
    let ready = house.get("/health/ready", &[]).await;
    let checks = ready.body["checks"].as_array().unwrap();
    let access = checks.iter().find(|check| check["name"] == "access").unwrap();
    assert_eq!((ready.status, &access["ready"]), (503, &json!(false)), "{}", ready.body);

    to_kafka.heal();
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = house.graphql(&[("authorization", &olga)], "{ projectionStatus { topic } }", &json!({})).await;
        if answer.status == 200 && answer.code() == "FORBIDDEN" {
            break;
        }
        assert!(Instant::now() < until, "{} {}\n{}", answer.status, answer.body, house.server.printed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(staying);
}

/// Until it is decided: the node that is cut off may have written the tenant's partition, and another one takes that over first.
async fn take_away(house: &House, admin: UserId, user: UserId) {
    let id = CommandId(RandomIds::default().uuid_v7(SystemClock.now()));
    let until = Instant::now() + PATIENCE;
    loop {
        let none = AccessCommand::ChangeMembership { user_id: user, site: None, roles: RoleSet::EMPTY };
        match house.steward.submit(admin.actor(), id, none, None).await {
            Ok(_) => return,
            Err(error) => assert!(Instant::now() < until, "the role is not taken away: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

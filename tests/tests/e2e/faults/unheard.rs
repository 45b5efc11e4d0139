//! A node that hears nothing of Kafka any more while PostgreSQL still answers: it knows roles, but not whether they hold still.

use std::time::{Duration, Instant};

use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_domain::access::command::AccessCommand;
use lotline_domain::access::role::{Role, RoleSet};
use lotline_domain::id::{CommandId, UserId};
use lotline_domain::port::{Clock, Ids};
use lotline_tests::proxy::Proxy;
use lotline_tests::server::{Log, Server};
use lotline_tests::stack::{self, Services};
use serde_json::json;

use crate::nodes::node;
use crate::site::Plant;
use crate::visitor::{House, PATIENCE};

#[tokio::test]
async fn a_node_that_is_cut_off_from_the_log_lets_nobody_in_and_leaves_the_projections_to_others() {
    cut_off("unheard", Order::CutOffLast).await;
}

#[tokio::test]
async fn the_same_when_the_node_that_is_cut_off_came_first() {
    cut_off("unheardfirst", Order::CutOffFirst).await;
}

#[derive(PartialEq, Eq)]
enum Order {
    CutOffFirst,
    CutOffLast,
}

async fn cut_off(name: &str, order: Order) {
    let to_kafka = Proxy::start().await;
    let kafka = Services::start(name, &["--detour", &to_kafka.port.to_string(), "kafka"]).await;
    to_kafka.lead_to(&kafka.setting("STACK_KAFKA_DETOUR").await);
    let brokers = kafka.setting("STACK_KAFKA_BROKERS").await;
    let mut plant = Plant::on(name, Log::Kafka, stack::database(name).await, Some(brokers));
    plant.settings.development = false;
    let first = match order {
        Order::CutOffFirst => Some(behind(&to_kafka, &mut plant).await),
        Order::CutOffLast => None,
    };
    let (mut house, admin) = House::at(plant, &[("LOTLINE_CLUSTER__NODE", "staying")]).await.administered().await;
    let cut_off = match first {
        Some(first) => first,
        None => behind(&to_kafka, &mut house.plant).await,
    };
    let staying = std::mem::replace(&mut house.server, cut_off);
    let user = house.member(admin, "olga", None, Role::Viewer).await;
    let olga = house.token(user).await;
    let olga = [("authorization", olga.as_str())];
    house.until(&olga, 200).await;
    until_shared(&house).await;

    to_kafka.cut();
    take_away(&house, admin, user).await;
    house.until(&olga, 503).await;
    let ready = house.get("/health/ready", &[]).await;
    let checks = ready.body["checks"].as_array().unwrap();
    let access = checks.iter().find(|check| check["name"] == "access").unwrap();
    assert_eq!((ready.status, &access["ready"]), (503, &json!(false)), "{}", ready.body);
    until_projected(&house, user).await;

    to_kafka.heal();
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = house.graphql(&olga, "{ projectionStatus { topic } }", &json!({})).await;
        if answer.status == 200 && answer.code() == "FORBIDDEN" {
            break;
        }
        assert!(Instant::now() < until, "{} {}\n{}", answer.status, answer.body, house.server.printed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(staying);
}

/// The node whose way to Kafka can be cut.
async fn behind(to_kafka: &Proxy, plant: &mut Plant) -> Server {
    let direct = plant.settings.brokers.replace(format!("127.0.0.1:{}", to_kafka.port));
    let server = node(plant, "cut-off").await;
    plant.settings.brokers = direct;
    server
}

/// Until both nodes project: whoever came last has what the other one gave back, the tenant's partition either way in one of the two orders.
async fn until_shared(house: &House) {
    let until = Instant::now() + PATIENCE;
    let nodes = "SELECT count(DISTINCT node) FROM cluster.lease WHERE pool LIKE 'projections/%.ledger.%'";
    while sqlx::query_scalar::<_, i64>(nodes).fetch_one(&house.plant.database.pool).await.unwrap() < 2 {
        assert!(Instant::now() < until, "one node does not project\n{}", house.server.printed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Until the read model says that somebody has no role any more.
async fn until_projected(house: &House, user: UserId) {
    let until = Instant::now() + PATIENCE;
    loop {
        let roles = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM read.access_memberships WHERE user_id = $1");
        if roles.bind(user.0).fetch_one(&house.plant.database.pool).await.unwrap() == 0 {
            return;
        }
        assert!(Instant::now() < until, "nobody projects that the role is gone\n{}", house.server.printed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
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

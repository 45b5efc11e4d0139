//! A node that can be reached, but reaches neither Kafka nor PostgreSQL: connections stay open and nothing comes. Its sites move to the other
//! node; what it had sent arrives late and must not count; and when the network is whole it is one of two again.

use std::time::{Duration, Instant};

use lotline_tests::client::Client;
use lotline_tests::proxy::Proxy;
use lotline_tests::server::{Log, Server};
use lotline_tests::stack::{self, Services};

use crate::load::{Load, PATIENCE, SITES, assert_each_once, chance, every_site_answers, pause};
use crate::nodes::{TAKEOVER, node, recovered, taken_over, until_assigned};
use crate::site::Plant;

/// How long it lasts. At first longer than a takeover, but shorter than the writers of the node that is cut off wait for an answer (10 s): what
/// they go on with must be fenced. Then longer than that, and longer than a broker keeps the transaction of a silent writer open.
const CUTS: [Duration; 3] = [Duration::from_secs(9), Duration::from_secs(9), Duration::from_secs(15)];

#[tokio::test]
async fn a_node_that_is_cut_off_loses_its_sites_and_appends_nothing_afterwards() {
    let (seed, mut chance) = chance("cut off");
    let (to_kafka, to_postgres) = (Proxy::start().await, Proxy::start().await);
    let kafka = Services::start("cut", &["--detour", &to_kafka.port.to_string(), "kafka"]).await;
    to_kafka.lead_to(&kafka.setting("STACK_KAFKA_DETOUR").await);
    let database = stack::database("cut").await;
    to_postgres.lead_to(&stack::postgres_address());
    let brokers = kafka.setting("STACK_KAFKA_BROKERS").await;
    let mut plant = Plant::on("cut", Log::Kafka, database, Some(brokers));
    plant.settings.environment.push(("LOTLINE_TENANT__SITES".into(), format!("{SITES:?}")));

    let direct = plant.settings.clone();
    plant.settings.brokers = Some(format!("127.0.0.1:{}", to_kafka.port));
    plant.settings.database =
        plant.settings.database.replacen(&stack::postgres_address(), &format!("127.0.0.1:{}", to_postgres.port), 1);
    let cut_off = node(&plant, "one").await;
    plant.settings = direct;
    let staying = node(&plant, "two").await;
    until_assigned(&cut_off, 2, PATIENCE).await;
    until_assigned(&staying, 2, PATIENCE).await;

    let load = Load::start(seed, &[&cut_off, &staying]);
    for (round, cut) in CUTS.into_iter().enumerate() {
        load.goes_on(200).await;
        pause(&mut chance, 0, 1_000).await;
        to_kafka.cut();
        to_postgres.cut();
        let (mark, before) = (format!("cut {round}"), recovered(&staying).await);
        let ((), ()) = tokio::join!(taken_over(&staying, &mark, before, TAKEOVER), async {
            tokio::time::sleep(cut).await;
            to_kafka.heal();
            to_postgres.heal();
        });
        let healed = Instant::now();
        until_assigned(&cut_off, 2, PATIENCE).await;
        until_assigned(&staying, 2, PATIENCE).await;
        every_site_answers(&cut_off, &format!("whole {round}")).await;
        eprintln!("a member again {} ms after the network was whole", healed.elapsed().as_millis());
    }
    until_ready(&cut_off).await;
    let printed = cut_off.printed();
    assert!(printed.contains("an append had no certain outcome"), "its writers were at work:\n{printed}");
    let told = load.end().await;
    plant.assert_tables_equal_the_log(&Client::new(&staying.url, "judge")).await;
    assert_each_once(&plant, &told).await;
}

async fn until_ready(server: &Server) {
    let until = Instant::now() + PATIENCE;
    loop {
        let report = reqwest::get(format!("{}/health/ready", server.url)).await.unwrap();
        if report.status().is_success() {
            return;
        }
        assert!(Instant::now() < until, "{}\n{}", report.text().await.unwrap(), server.printed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

//! Two processes project the same partitions at the same time, because what shares them is defeated: both go by one name, or one that has
//! stood still goes on before it has learnt that its leases are over. The rows equal a fold, offsets never go back, nothing is applied twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lotline_tests::client::Client;
use lotline_tests::server::{Log, Server, Settings};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinHandle;

use crate::load::{Load, PATIENCE, SITES, assert_each_once, chance, every_site_answers, pause};
use crate::metric::{metric, until_metric};
use crate::nodes::signal;
use crate::site::Plant;

/// Batches that a projector could not apply because another had moved the offset.
const OVERTAKEN: &str = "lotline_projection_overtaken_total";

async fn plant(name: &str) -> Plant {
    let mut plant = Plant::new(name, Log::Kafka).await;
    plant.settings.environment.push(("LOTLINE_TENANT__SITES".into(), format!("{SITES:?}")));
    plant
}

async fn with_roles(plant: &Plant, name: &str, roles: &str) -> Server {
    let mut settings: Settings = plant.settings.clone();
    settings.environment.retain(|(key, _)| key != "LOTLINE_CLUSTER__NODE");
    settings.environment.push(("LOTLINE_CLUSTER__NODE".into(), name.to_owned()));
    Server::start(&settings, &["serve", "--roles", roles]).await
}

/// Looks at all offsets again and again.
struct Watcher {
    stop: Arc<AtomicBool>,
    looking: JoinHandle<usize>,
}

impl Watcher {
    fn start(pool: PgPool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let looking = tokio::spawn(never_back(pool, Arc::clone(&stop)));
        Self { stop, looking }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let looks = self.looking.await.unwrap();
        assert!(looks > 50, "the offsets were looked at: {looks} times");
    }
}

async fn never_back(pool: PgPool, stop: Arc<AtomicBool>) -> usize {
    let (mut last, mut looks) = (BTreeMap::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let rows: Vec<(String, String, i32, i64)> =
            sqlx::query_as("SELECT model, topic, partition, next_offset FROM read.projection_offset")
                .fetch_all(&pool)
                .await
                .unwrap();
        for (model, topic, partition, next) in rows {
            let place = (model, topic, partition);
            let before = last.insert(place.clone(), next).unwrap_or(0);
            assert!(before <= next, "{place:?} went back from {before} to {next}");
        }
        looks += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    looks
}

/// What a projector has brought into the audit trail, which has a row for each event.
async fn applied(server: &Server) -> u64 {
    let text = reqwest::get(format!("{}/metrics", server.url)).await.unwrap().text().await.unwrap();
    let is_counted =
        |line: &&str| line.starts_with("lotline_projection_applied_events_total{") && line.contains("model=\"audit\"");
    text.lines().filter(is_counted).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

async fn compare(plant: &Plant, api: &Server, projectors: [&Server; 2], load: Load, watcher: Watcher) {
    let told = load.end().await;
    let oracle = plant.assert_tables_equal_the_log(&Client::new(&api.url, "judge")).await;
    assert_each_once(plant, &told).await;
    watcher.end().await;
    let events: u64 = oracle.heads().values().map(|(sequence, _)| sequence).sum();
    let (one, other) = (applied(projectors[0]).await, applied(projectors[1]).await);
    let overtaken = (metric(projectors[0], OVERTAKEN).await, metric(projectors[1], OVERTAKEN).await);
    eprintln!("{events} events: {one} by one projector and {other} by the other, overtaken {overtaken:?} times");
    // The tables have each event. Whoever stood still after a commit may have given its answer up, and counts less than was applied; never more.
    assert!(one + other <= events, "no event is applied twice");
}

/// Nobody should give two nodes one name. Whoever does loses time and nothing else: both hold all leases for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_projectors_of_one_name_apply_each_event_once() {
    let (seed, mut chance) = chance("two projectors");
    let plant = plant("projectors").await;
    let api = with_roles(&plant, "api", "api,writer").await;
    let (one, other) =
        (with_roles(&plant, "projector", "projector").await, with_roles(&plant, "projector", "projector").await);
    every_site_answers(&api, "first").await;
    let watcher = Watcher::start(plant.database.pool.clone());
    let load = Load::start(seed, &[&api]);
    for server in [&one, &other, &one] {
        load.goes_on(100).await;
        signal(server, "-STOP");
        pause(&mut chance, 100, 1_500).await;
        signal(server, "-CONT");
    }
    load.goes_on(100).await;
    let taken = [metric(&one, OVERTAKEN).await, metric(&other, OVERTAKEN).await];
    assert!(taken[0] > 0.5 && taken[1] > 0.5, "both have tried to apply what the other had applied: {taken:?}");
    compare(&plant, &api, [&one, &other], load, watcher).await;
}

/// Its leases are over and another has them, but it does not know: nobody can renew leases while the test holds their lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_that_stood_still_applies_nothing_again() {
    let (seed, mut chance) = chance("a projector stands still");
    let plant = plant("zombie").await;
    let api = with_roles(&plant, "api", "api,writer").await;
    let paused = with_roles(&plant, "one", "projector").await;
    let staying = with_roles(&plant, "two", "projector").await;
    until_held(&plant, "one", 2).await;
    every_site_answers(&api, "first").await;
    let watcher = Watcher::start(plant.database.pool.clone());
    let load = Load::start(seed, &[&api]);
    load.goes_on(100).await;
    pause(&mut chance, 0, 500).await;
    stop_outside_of_leasing(&plant, &paused).await;
    until_held(&plant, "two", 4).await;
    load.goes_on(100).await;
    let before = metric(&staying, OVERTAKEN).await;

    let mut keeper = PgConnection::connect(&plant.database.url).await.unwrap();
    let locked = sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))").bind(pool_of(&plant));
    locked.execute(&mut keeper).await.unwrap();
    signal(&paused, "-CONT");
    until_metric(&paused, OVERTAKEN, |overtaken| overtaken > 0.5).await;
    keeper.close().await.unwrap();
    eprintln!("the other was overtaken {} times by it", metric(&staying, OVERTAKEN).await - before);

    until_held(&plant, "one", 2).await;
    load.goes_on(100).await;
    compare(&plant, &api, [&paused, &staying], load, watcher).await;
}

/// Stops a projector while it does not renew its leases: half-way through, it would be told on waking that they are over.
async fn stop_outside_of_leasing(plant: &Plant, server: &Server) {
    let until = Instant::now() + PATIENCE;
    let leasing = "SELECT COUNT(*) FROM pg_stat_activity
         WHERE datname = CURRENT_DATABASE() AND state = 'idle in transaction' AND query LIKE '%cluster.%'";
    loop {
        signal(server, "-STOP");
        tokio::time::sleep(Duration::from_millis(100)).await;
        if sqlx::query_scalar::<_, i64>(leasing).fetch_one(&plant.database.pool).await.unwrap() == 0 {
            return;
        }
        signal(server, "-CONT");
        assert!(Instant::now() < until, "the projector renews its leases all the time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The name under which projectors share the ledger's partitions.
fn pool_of(plant: &Plant) -> String {
    format!("projections/lotline.{}.ledger.v1", plant.settings.tenant)
}

/// Waits until a node holds so many partitions of the ledger.
async fn until_held(plant: &Plant, node: &str, wanted: i64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let held: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM cluster.lease WHERE pool = $1 AND node = $2 AND until > clock_timestamp()",
        )
        .bind(pool_of(plant))
        .bind(node)
        .fetch_one(&plant.database.pool)
        .await
        .unwrap();
        if held == wanted {
            return;
        }
        assert!(Instant::now() < until, "{node} holds {held} partitions, not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

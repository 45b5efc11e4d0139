//! `lotline projections rebuild` beside a server under load, killed in the middle and started again; a subscriber notices nothing.

use std::collections::BTreeSet;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lotline_tests::client::{Client, Subscription, lot};
use lotline_tests::server::{Log, lotline};
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

use crate::site::{Plant, SITE};

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_under_load_on_the_embedded_log() {
    goes_on(Log::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_under_load_on_kafka() {
    goes_on(Log::Kafka).await;
}

async fn goes_on(log: Log) {
    let plant = Plant::new("rebuild", log).await;
    let server = plant.serve().await;
    let client = Client::new(&server.url, "ann");
    fill(&client, 1_500).await;
    let before = lots(&plant).await;
    let follower = follow(&client).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(work(client.clone(), Arc::clone(&stop)));

    // Held up after its first batches, a rebuild is killed.
    let gate = closed_gate(&plant, 800).await;
    let mut child = start(&plant, &["projections", "rebuild", "lots", "audit"]);
    until("the rebuild gets to the gate", async || {
        let waiting = "SELECT COUNT(*) FROM pg_stat_activity
             WHERE datname = CURRENT_DATABASE() AND wait_event_type = 'Lock' AND query LIKE '%read.lots (%'";
        number(&plant, waiting).await == 1
    })
    .await;
    let status = said(&run(&plant, &["projections", "status"]));
    assert!(status.contains("lots: generation") && status.contains("is being built"), "{status}");
    let refused = run(&plant, &["projections", "rebuild", "lots"]);
    assert!(complained(&refused).contains("is being rebuilt by another process"), "{}", complained(&refused));
    assert_eq!(niceness(child.id()), BTreeSet::from([19]), "whoever serves comes first");
    child.kill().unwrap();
    child.wait().unwrap();
    gate.rollback().await.unwrap();
    until("the status tells of the abandoned one", async || {
        said(&run(&plant, &["projections", "status"])).contains("ABANDONED")
    })
    .await;
    assert!(lots(&plant).await >= before, "what is in use stays in use");

    // The next ones go on with it and do the rest, while commands, queries and subscriptions go on.
    let rebuilt = said(&run(&plant, &["projections", "rebuild", "audit", "lots"]));
    assert!(rebuilt.contains("went on where an earlier rebuild had stopped"), "{rebuilt}");
    let rebuilt = said(&run(&plant, &["projections", "rebuild", "--all"]));
    assert!(
        rebuilt.contains(
            "lots, genealogy, qc_decisions, pipelines, signals, master, audit, access, scenarios, runs: rebuilt and in use"
        ),
        "{rebuilt}"
    );
    assert!(rebuilt.contains("samples: rebuilt and in use"), "{rebuilt}");

    stop.store(true, Ordering::Relaxed);
    let made = load.await.unwrap();
    assert!(made > 20, "the load was real: {made} lots");
    let last = client.mutate("registerLot", "", &lot(SITE, "last", "1", &[])).await;
    let seen = follower.await.unwrap();
    assert_eq!(seen.len(), made + 1, "each lot once and in order");
    assert_eq!(seen[..made], (0..made).map(|number| format!("load {number}")).collect::<Vec<_>>());
    assert_eq!(crate::site::lot(&client, "last", &last["position"]).await["code"], "last");
    plant.assert_tables_equal_the_log(&client).await;
    let status = said(&run(&plant, &["projections", "status"]));
    assert!(status.contains("live") && !status.contains("generation") && !status.contains("DEGRADED"), "{status}");
}

/// Registers lots, a few at a time.
async fn fill(client: &Client, lots: usize) {
    let mut running = JoinSet::new();
    for number in 0..lots {
        if running.len() == 32 {
            running.join_next().await.unwrap().unwrap();
        }
        let client = client.clone();
        running.spawn(async move {
            client.mutate("registerLot", "", &lot(SITE, &format!("fill {number}"), "10", &[])).await;
        });
    }
    running.join_all().await;
}

/// One lot after the other, each read back where its position says it is.
async fn work(client: Client, stop: Arc<AtomicBool>) -> usize {
    let mut made = 0;
    while !stop.load(Ordering::Relaxed) {
        let code = format!("load {made}");
        let done = client.mutate("registerLot", "", &lot(SITE, &code, "1", &[])).await;
        assert_eq!(crate::site::lot(&client, &code, &done["position"]).await["code"], code.as_str());
        made += 1;
    }
    made
}

/// The codes that a subscriber is told, up to `last`.
async fn follow(client: &Client) -> JoinHandle<Vec<String>> {
    let query = "subscription($site: String!) { lotChanged(site: $site) { lots { code } } }";
    let mut subscription: Subscription = client.subscribe(query, &json!({ "site": SITE })).await;
    client.mutate("registerLot", "", &lot(SITE, "first", "1", &[])).await;
    // The read models may have been behind at the start; what is of interest begins after this lot.
    codes_until(&mut subscription, "first").await;
    tokio::spawn(async move { codes_until(&mut subscription, "last").await })
}

async fn codes_until(subscription: &mut Subscription, end: &str) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    while seen.last().is_none_or(|code| code != end) {
        let item = subscription.next(PATIENCE).await.expect("the subscription goes on");
        let lots = item["lotChanged"]["lots"].as_array().unwrap().clone();
        seen.extend(lots.iter().map(|lot| lot["code"].as_str().unwrap().to_owned()));
    }
    seen
}

/// Makes every new generation of lots wait at an offset until the lock is let go.
async fn closed_gate(plant: &Plant, offset: i64) -> sqlx::Transaction<'static, sqlx::Postgres> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "CREATE TABLE gate (); CREATE FUNCTION wait_at_gate() RETURNS TRIGGER LANGUAGE plpgsql AS $$
         BEGIN IF NEW.generation > 0 AND NEW.changed_offset > {offset} THEN PERFORM 1 FROM gate; END IF; RETURN NEW; END $$;
         CREATE TRIGGER gate BEFORE INSERT ON read.lots FOR EACH ROW EXECUTE FUNCTION wait_at_gate()"
    )))
    .execute(&plant.database.pool)
    .await
    .unwrap();
    let mut lock = plant.database.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE gate IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    lock
}

async fn lots(plant: &Plant) -> i64 {
    let live = "SELECT COUNT(*) FROM read.lots JOIN read.projection_generation USING (tenant, generation)
         WHERE model = 'lots' AND state = 'live'";
    number(plant, live).await
}

async fn number(plant: &Plant, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&plant.database.pool).await.unwrap()
}

async fn until(what: &str, mut there: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !there().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn start(plant: &Plant, arguments: &[&str]) -> Child {
    let mut command: Command = lotline(&plant.settings);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the lotline binary starts")
}

fn run(plant: &Plant, arguments: &[&str]) -> Output {
    let mut command: Command = lotline(&plant.settings);
    command.args(arguments).output().expect("the lotline binary starts")
}

fn said(output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", complained_text(output));
    printed
}

fn complained(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    complained_text(output)
}

fn complained_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The priorities of a process's threads, as proc(5) has them.
fn niceness(process: u32) -> BTreeSet<i32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of = |thread: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
        // The name of a program, in brackets, may have spaces.
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        after_name.split_whitespace().nth(16).unwrap().parse().unwrap()
    };
    threads.map(of).collect()
}

//! Somebody who is not Lotline writes into the ledger under load: a copy of an event that is there already, and an event that looks right in
//! everything but the hash that it continues. Read models of these two partitions stop and say so everywhere; whoever takes one of them over refuses
//! to write it; what was acknowledged stays; the other partitions go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lotline_domain::envelope::{Attributes, CommandHash, Envelope, Hash};
use lotline_domain::id::{ActorId, CommandId, CorrelationId, EventId, SiteId, StreamKey, TenantId};
use lotline_domain::partition::partition_of;
use lotline_domain::record::{Record, StoredRecord};
use lotline_domain::timestamp::Timestamp;
use lotline_projections::model::Model;
use lotline_tests::client::{Client, key, lot};
use lotline_tests::server::{Log, Server};
use lotline_tests::stack;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::load::{PATIENCE, SITES};
use crate::metric::{metric, written_by};
use crate::nodes::{node, until_assigned};
use crate::site::Plant;
use crate::tools::tool;

const PARTITIONS: u32 = 4;
/// A tablet asks another node when one does not answer for so long.
const ONE_ANSWER: Duration = Duration::from_secs(5);

/// Two nodes at work, and which of them writes the partition of the tenant's stream.
struct Scene {
    plant: Plant,
    /// It does not write that partition.
    without: Server,
    with: Server,
    work: Work,
}

impl Scene {
    async fn new(name: &str) -> Self {
        let mut plant = Plant::new(name, Log::Kafka).await;
        let sites: Vec<String> = SITES.map(str::to_owned).into_iter().chain((0..PARTITIONS).map(quiet)).collect();
        plant.settings.environment.push(("LOTLINE_TENANT__SITES".into(), format!("{sites:?}")));
        let (one, two) = (node(&plant, "one").await, node(&plant, "two").await);
        until_assigned(&one, 2, PATIENCE).await;
        until_assigned(&two, 2, PATIENCE).await;
        let judge = Client::new(&two.url, "judge");
        for partition in 0..PARTITIONS {
            let site = quiet(partition);
            judge.insist("registerLot", &lot(&site, &format!("{site}-0"), "1", &[]), PATIENCE).await;
        }
        let work = Work::start([&one, &two]);
        work.goes_on(100).await;
        let tenant = partition_of("_tenant", PARTITIONS);
        let (without, with) = if written_by(&one, 2).await.contains(&tenant) { (two, one) } else { (one, two) };
        Self { plant, without, with, work }
    }

    /// The first event of a stream, as it stands in the log.
    async fn first_of(&self, stream: &str) -> Record {
        let there = records(&self.plant).await;
        there.iter().find(|(_, stored)| stored.record.key == stream).unwrap().1.record.clone()
    }
}

/// A site of a partition at which nobody works, so that its last event is known.
fn quiet(partition: u32) -> String {
    let names = (0..).map(|number| format!("quiet-{number}"));
    names.into_iter().find(|name| partition_of(name, PARTITIONS) == partition).unwrap()
}

/// One operator a site, who goes on until told to stop, whatever the answers are.
struct Work {
    operators: JoinSet<Vec<String>>,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
}

impl Work {
    fn start(servers: [&Server; 2]) -> Self {
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut operators = JoinSet::new();
        for site in SITES {
            let clients = servers.map(|server| Client::new(&server.url, site));
            operators.spawn(operate(clients, site, Arc::clone(&stop), Arc::clone(&accepted)));
        }
        Self { operators, stop, accepted }
    }

    async fn goes_on(&self, more: usize) {
        let (began, wanted) = (Instant::now(), self.accepted.load(Ordering::Relaxed) + more);
        while self.accepted.load(Ordering::Relaxed) < wanted {
            assert!(began.elapsed() < PATIENCE, "commands are not accepted any more");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.operators.join_all().await.into_iter().flatten().collect()
    }
}

/// Gives the commands that were acknowledged, as `site/command`.
async fn operate(clients: [Client; 2], site: &str, stop: Arc<AtomicBool>, accepted: Arc<AtomicUsize>) -> Vec<String> {
    let (mut told, mut turn) = (Vec::new(), 0);
    let mut input = lot(site, &format!("{site}-0"), "1", &[]);
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let asked = clients[turn % 2].try_mutate("registerLot", "", &input);
        match tokio::time::timeout(ONE_ANSWER, asked).await {
            Ok(Ok(payload)) if payload["userErrors"] == json!([]) => {
                told.push(format!("{site}/{}", input["idempotencyKey"].as_str().unwrap()));
                accepted.fetch_add(1, Ordering::Relaxed);
                input = lot(site, &format!("{site}-{turn}"), "1", &[]);
            }
            _ => tokio::time::sleep(Duration::from_millis(30)).await,
        }
    }
    told
}

/// All records of the ledger, of whomever.
async fn records(plant: &Plant) -> Vec<(u32, StoredRecord)> {
    let ledger = plant.ledger().await;
    let mut records = Vec::new();
    for partition in 0..ledger.partitions() {
        let end = ledger.end(partition).await.unwrap();
        let (mut reader, mut next) = (ledger.reader(partition, 0).await.unwrap(), 0);
        while next < end {
            let read = reader.read(1_000, Duration::from_secs(1)).await.unwrap();
            records.extend(read.records.into_iter().map(|stored| (partition, stored)));
            next = read.next;
        }
    }
    records
}

fn header(record: &Record, name: &str) -> String {
    let found = record.headers.iter().find(|header| header.name == name).expect("events have this header");
    String::from_utf8(found.value.to_vec()).unwrap()
}

/// The second event of a stream that has one, right in everything but that it continues nothing.
fn forged(plant: &Plant, site: &str, first: &Record) -> Record {
    let attributes = Attributes {
        tenant: TenantId::new(plant.settings.tenant.clone()).unwrap(),
        stream: StreamKey::Site(SiteId::new(site).unwrap()),
        id: EventId(Uuid::from_u128(1)),
        event_type: "lotline.lot.registered.v1".into(),
        subject: header(first, "ce_subject"),
        time: Timestamp::parse(&header(first, "ce_time")).unwrap(),
        sequence: 2,
        actor: ActorId::new("forger").unwrap(),
        correlation_id: CorrelationId(Uuid::from_u128(2)),
        causation_id: CommandId(Uuid::from_u128(3)),
        command_hash: CommandHash::default(),
        tenant_sequence: Some(0),
        traceparent: None,
    };
    Envelope::seal_record(&attributes, Hash([7; 32]), first.value.clone()).1
}

/// Writes a record as anybody can who may write to the topic, and gives its offset.
async fn produce(plant: &Plant, partition: u32, record: &Record) -> i64 {
    let topic = format!("lotline.{}.ledger.v1", plant.settings.tenant);
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", stack::kafka_brokers()).create().unwrap();
    let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, header| {
        headers.insert(Header { key: &header.name, value: Some(header.value.as_ref()) })
    });
    let message = FutureRecord::to(&topic).partition(partition as i32).key(&record.key).payload(record.value.as_ref());
    let sent = producer.send_result(message.headers(headers)).map_err(|(error, _)| error).unwrap();
    sent.await.unwrap().unwrap().offset
}

async fn ready(server: &Server) -> (u16, Value) {
    let answer = reqwest::get(format!("{}/health/ready", server.url)).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Where all read models stand in a partition.
async fn offsets(plant: &Plant, partition: u32) -> BTreeMap<String, i64> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT model, next_offset FROM read.projection_offset WHERE topic LIKE '%ledger%' AND partition = $1",
    )
    .bind(partition as i32)
    .fetch_all(&plant.database.pool)
    .await
    .unwrap();
    rows.into_iter().collect()
}

/// Waits until a broken chain shows in the metrics of whoever projects the partition.
async fn until_broken(plant: &Plant, nodes: [&Server; 2], partition: u32) {
    let series =
        format!("lotline_projection_chain_broken{{tenant=\"{}\",partition=\"{partition}\"}}", plant.settings.tenant);
    let until = Instant::now() + PATIENCE;
    while metric(nodes[0], &series).await + metric(nodes[1], &series).await < 0.5 {
        assert!(Instant::now() < until, "{series}\n{}\n{}", nodes[0].printed(), nodes[1].printed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Health of both nodes, doctor, GraphQL and `log stats` name what has stopped.
async fn is_said_everywhere(plant: &Plant, nodes: [&Server; 2], partition: u32, stream: &str) {
    let ended = format!("the projection of ledger partition {partition} has ended");
    let mut reasons = Vec::new();
    for server in nodes {
        let (code, report) = ready(server).await;
        let degraded = report["degraded"].as_array().unwrap().iter();
        let here = degraded.filter(|it| it["partition"] == partition && it["streams"] == json!([stream]));
        assert_eq!(here.count(), Model::LEDGER.len(), "each read model of the ledger: {report}");
        let checks = report["checks"].as_array().unwrap().clone();
        let projector = checks.into_iter().find(|check| check["name"] == "projector").unwrap();
        assert_eq!(code == 503, projector["ready"] == false, "{report}");
        reasons.push(projector["reason"].as_str().unwrap_or_default().to_owned());
    }
    assert!(reasons.iter().any(|reason| reason.contains(&ended)), "{reasons:?}");

    let doctor = tool(plant, &["doctor"]);
    let printed = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        !doctor.status.success() && printed.contains("FAILURE: halted: access, audit, genealogy, lots, "),
        "{printed}"
    );

    let query = "{ projectionStatus { readModel partition degraded halts { stream error } } }";
    let data = Client::new(&nodes[1].url, "judge").query(query, &json!({})).await;
    let all = data["projectionStatus"].as_array().unwrap().clone();
    let here = all.iter().filter(|status| status["partition"] == partition && status["readModel"] != "samples");
    for status in here {
        assert_eq!((&status["degraded"], &status["halts"][0]["stream"]), (&json!(true), &json!(stream)), "{status}");
        let error = status["halts"][0]["error"].as_str().unwrap();
        assert!(error.contains("the ledger is broken at offset"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_in_the_ledger_stops_its_partition_and_no_other() {
    let scene = Scene::new("foreign").await;
    let written = written_by(&scene.without, 2).await;
    let (copied_to, forged_to) = (written[0], written[1]);
    let site = SITES.into_iter().find(|site| partition_of(site, PARTITIONS) == copied_to).unwrap();
    let silent = quiet(forged_to);
    let copy_at = produce(&scene.plant, copied_to, &scene.first_of(site).await).await;
    let forgery = forged(&scene.plant, &silent, &scene.first_of(&silent).await);
    let forgery_at = produce(&scene.plant, forged_to, &forgery).await;

    let Scene { plant, without: mut first, with: second, work } = scene;
    for (partition, offset, stream) in [(copied_to, copy_at, site), (forged_to, forgery_at, &silent)] {
        until_broken(&plant, [&first, &second], partition).await;
        is_said_everywhere(&plant, [&first, &second], partition, stream).await;
        let stood = offsets(&plant, partition).await;
        assert!(
            stood.len() == Model::LEDGER.len() && stood.values().all(|next| *next <= offset),
            "{offset}: {stood:?}"
        );
        // A writer does not read what others write: it goes on, and its events stand behind the break.
        work.goes_on(100).await;
        assert_eq!(offsets(&plant, partition).await, stood, "nothing of what comes after is applied");
    }
    let stats = tool(&plant, &["log", "stats"]);
    let complaint = String::from_utf8_lossy(&stats.stderr).into_owned();
    assert!(!stats.status.success() && complaint.contains("the ledger is broken at offset"), "{complaint}");

    first.kill();
    refuses_and_goes_on(&plant, &second, [copied_to, forged_to]).await;
    assert_stays(&plant, &work.end().await, (copied_to, copy_at)).await;
}

/// Whoever takes over reads it all, and does not write behind what can't be trusted; it writes the others.
async fn refuses_and_goes_on(plant: &Plant, server: &Server, broken: [u32; 2]) {
    let judge = Client::new(&server.url, "judge");
    let until = Instant::now() + PATIENCE;
    while server.printed().matches("the writer of a partition has stopped").count() < 2 {
        assert!(Instant::now() < until, "{}", server.printed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for partition in 0..PARTITIONS {
        let (site, code) = (quiet(partition), format!("late-{partition}"));
        let input = lot(&site, &code, "1", &[]);
        if broken.contains(&partition) {
            until_broken(plant, [server, server], partition).await;
            let refused = judge.try_mutate("registerLot", "", &input).await.unwrap();
            assert_eq!(refused["errors"][0]["extensions"]["code"], "UNAVAILABLE", "{refused}");
            continue;
        }
        let done = judge.insist("registerLot", &input, PATIENCE).await;
        let query = "query($site: String!, $code: String!, $at: PositionToken) {
            lot(site: $site, code: $code, consistentWith: $at) { code } }";
        let data = judge.query(query, &json!({ "site": site, "code": code, "at": done["position"] })).await;
        assert_eq!(data["lot"]["code"], code.as_str());
    }
}

/// Each command that was acknowledged is in the log once, leaving out what the stranger has copied.
async fn assert_stays(plant: &Plant, told: &[String], copy: (u32, i64)) {
    let mut decided: BTreeMap<String, usize> = BTreeMap::new();
    for (partition, stored) in records(plant).await {
        let record = &stored.record;
        // What a decision does to holds stands before it.
        if (partition, stored.offset) != copy && !header(record, "ce_type").starts_with("lotline.hold.") {
            *decided
                .entry(format!("{}/{}", header(record, "ce_actor"), header(record, "ce_causationid")))
                .or_default() += 1;
        }
    }
    for command in told {
        assert_eq!(decided.get(command), Some(&1), "{command}, one of {} that were acknowledged", told.len());
    }
    assert!(decided.values().all(|count| *count == 1), "nothing was decided twice");
    assert!(told.len() > 300, "the load was real: {}", told.len());
}

/// In the partition of the tenant's stream it costs more: who may do what is not known any more to those who read it there, and who can't know lets
/// nobody in. Only the node that writes that partition goes on, until its next recovery.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_beside_the_tenants_stream_stops_commands_elsewhere_too() {
    let Scene { plant, without, with, work } = {
        let scene = Scene::new("foreign-tenant").await;
        let tenant = partition_of("_tenant", PARTITIONS);
        let copy = scene.first_of(&quiet(tenant)).await;
        produce(&scene.plant, tenant, &copy).await;
        scene
    };
    let elsewhere = quiet(written_by(&without, 2).await[0]);
    let judge = Client::new(&without.url, "judge");
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = judge.try_mutate("registerLot", "", &lot(&elsewhere, &key().to_string(), "1", &[])).await.unwrap();
        if answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE" {
            break;
        }
        assert!(Instant::now() < until, "{answer}\n{}", without.printed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let printed = without.printed();
    assert!(printed.contains("the tenant's stream can't be followed"), "{printed}");
    work.goes_on(50).await;
    let tenants = quiet(partition_of("_tenant", PARTITIONS));
    Client::new(&with.url, "judge").mutate("registerLot", "", &lot(&tenants, "late", "1", &[])).await;
    drop(plant);
}

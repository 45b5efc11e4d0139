//! The disk of a collector's buffer is full while Kafka is away: what is on it is not lost, what finds no room is counted, and both by
//! themselves go on, be it that the log takes the batches again or that somebody makes room.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lotline_domain::id::TenantId;
use lotline_domain::sample::{SignalBatch, codec};
use lotline_tests::client::{Client, key};
use lotline_tests::server::{Log, Server};
use lotline_tests::small_disk::SmallDisk;
use lotline_tests::stack::{self, Services};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::load::{PATIENCE, chance, pause};
use crate::site::{Plant, SITE};

/// Of the file system, and what somebody else has on it.
const DISK_BYTES: usize = 1 << 20;
const TAKEN_BYTES: usize = 640 << 10;
/// Signals of the machine; all are read at once and say the same.
const SIGNALS: u16 = 20;

const WRITE_ERRORS: &str = "lotline_collector_buffer_write_errors_total";
const NO_ROOM: &str = "lotline_collector_dropped_batches_total{reason=\"queue\"}";
const OLDEST: &str = "lotline_collector_dropped_batches_total{reason=\"cap\"}";
const BUFFERED: &str = "lotline_collector_buffer_batches";

#[tokio::test]
async fn a_full_disk_loses_nothing_that_is_on_it_and_says_what_finds_no_room() {
    let (_, mut chance) = chance("disk");
    let kafka = Services::start("disk", &["kafka"]).await;
    let plant = plant(&kafka).await;
    let disk = SmallDisk::over(&buffer(&plant), DISK_BYTES);
    let by = disk.enter();
    let by: Vec<&str> = by.iter().map(String::as_str).collect();
    let server = Server::start_by(&plant.settings, &by, &["serve"]).await;
    disk.take(TAKEN_BYTES);
    declare(&Client::new(&server.url, "ann")).await;
    pause(&mut chance, 500, 2_000).await;

    // The log is away until the disk is full and the queue before it as well.
    kafka.kill("kafka").await;
    until(&server, "there is no room", NO_ROOM, |dropped| dropped >= 5.0).await;
    assert!(metric(&server, WRITE_ERRORS).await >= 1.0);
    assert!(server.printed().contains("the buffer can't be written; trying again"), "{}", server.printed());

    // Nobody makes room: what the log takes makes it.
    kafka.up(&["kafka"]).await;
    until_written_again(&server, 1).await;
    until(&server, "the buffer is empty", BUFFERED, |batches| batches < 20.0).await;

    // Somebody else fills the disk, and makes room again.
    let errors = metric(&server, WRITE_ERRORS).await;
    disk.fill();
    until(&server, "it is full again", WRITE_ERRORS, |now| now > errors).await;
    pause(&mut chance, 100, 1_500).await;
    disk.make_room();
    until_written_again(&server, 2).await;
    until(&server, "the buffer is empty", BUFFERED, |batches| batches < 20.0).await;

    let dropped = metric(&server, NO_ROOM).await;
    pause(&mut chance, 500, 1_000).await;
    assert!((metric(&server, NO_ROOM).await - dropped).abs() < 0.5, "nothing is dropped any more");
    assert!(metric(&server, OLDEST).await < 0.5, "what is on disk is not dropped");
    assert_complete(&published(&plant).await, dropped as usize);
}

/// All that was numbered, hence on disk, has arrived; and what is missing between the first reading and the last was counted.
fn assert_complete(batches: &[SignalBatch], dropped: usize) {
    let sequences: BTreeSet<u64> = batches.iter().map(|batch| batch.sequence).collect();
    let last = *sequences.last().expect("there are batches");
    let missing: Vec<u64> = (1..=last).filter(|sequence| !sequences.contains(sequence)).collect();
    assert_eq!(missing, Vec::<u64>::new(), "of {last} batches that were on disk");
    let whole = batches.iter().filter(|batch| batch.signals.len() == usize::from(SIGNALS));
    let readings: BTreeSet<u64> = whole.map(|batch| batch.values[0] as u64).collect();
    let (first, last) = (*readings.first().expect("readings"), *readings.last().expect("readings"));
    let missing = (last - first + 1) as usize - readings.len();
    assert_eq!(missing, dropped, "readings {first} to {last}, {} of them there", readings.len());
}

async fn plant(kafka: &Services) -> Plant {
    let brokers = kafka.setting("STACK_KAFKA_BROKERS").await;
    let mut plant = Plant::on("disk", Log::Kafka, stack::database("disk").await, Some(brokers));
    let port = machine().await;
    for (name, value) in [
        ("DEVICES", format!(r#"[{{id="mill",host="127.0.0.1",port={port},poll_interval_ms=10,timeout_ms=20000}}]"#)),
        ("BUFFER__SEGMENT_BYTES", "65536".into()),
        ("BUFFER__QUEUE_BATCHES", "64".into()),
    ] {
        plant.settings.environment.push((format!("LOTLINE_COLLECTOR__{name}"), value));
    }
    fs::create_dir_all(buffer(&plant)).unwrap();
    plant
}

fn buffer(plant: &Plant) -> PathBuf {
    plant.settings.folder.join("buffer")
}

/// A Modbus device whose registers all say how often it has been read.
async fn machine() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let read = Arc::new(AtomicU32::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&read)));
        }
    });
    port
}

/// Answers requests to read holding registers (Modbus application protocol 1.1b3, section 6.3) until the client hangs up.
///
/// ```text
/// request   transaction 2 | protocol 2 | length 2 | unit 1 | function 1 | address 2 | count 2
/// answer    transaction 2 | protocol 2 | length 2 | unit 1 | function 1 | bytes 1 | registers 2 each
/// ```
async fn answer(mut stream: TcpStream, read: Arc<AtomicU32>) {
    let mut request = [0; 12];
    while stream.read_exact(&mut request).await.is_ok() {
        let registers = u16::from_be_bytes([request[10], request[11]]);
        let bytes = (registers * 2) as u8;
        let mut answer = request[..4].to_vec();
        answer.extend((u16::from(bytes) + 3).to_be_bytes());
        answer.extend([request[6], request[7], bytes]);
        let count = read.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        answer.extend(count.iter().cycle().take(usize::from(bytes)));
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn declare(client: &Client) {
    for number in 0..SIGNALS {
        let input = json!({
            "idempotencyKey": key(), "site": SITE, "name": format!("reads.{number}"), "unit": "1", "device": "mill",
            "dataType": "U32", "address": { "modbus": {
                "unit": 1, "table": "HOLDING_REGISTERS", "address": number * 2, "wordOrder": "ABCD",
            } },
        });
        client.mutate("declareSignal", "", &input).await;
    }
}

async fn metric(server: &Server, series: &str) -> f64 {
    let shown = reqwest::get(format!("{}/metrics", server.url)).await.unwrap().text().await.unwrap();
    let line = shown.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}

async fn until(server: &Server, what: &str, series: &str, there: impl Fn(f64) -> bool) {
    let until = Instant::now() + PATIENCE;
    loop {
        let value = metric(server, series).await;
        if there(value) {
            return;
        }
        assert!(Instant::now() < until, "not in time: {what}; {series} is {value}\n{}", server.printed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until_written_again(server: &Server, times: usize) {
    let until = Instant::now() + PATIENCE;
    while server.printed().matches("the buffer is written again").count() < times {
        assert!(Instant::now() < until, "the buffer does not go on:\n{}", server.printed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// All batches in the topic, repeated ones too.
async fn published(plant: &Plant) -> Vec<SignalBatch> {
    let (log, tenant) = (plant.signals().await, TenantId::new(plant.settings.tenant.clone()).unwrap());
    let mut batches = Vec::new();
    for partition in 0..log.partitions() {
        let end = log.end(partition).await.unwrap();
        let (mut reader, mut next) = (log.reader(partition, 0).await.unwrap(), 0);
        while next < end {
            let read = reader.read(1_000, Duration::from_secs(1)).await.unwrap();
            batches.extend(read.records.iter().map(|stored| codec::from_record(&tenant, &stored.record).unwrap()));
            next = read.next;
        }
    }
    batches
}

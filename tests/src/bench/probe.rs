//! The raw tools that figures are compared with: the same bytes, without Lotline.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use lotline_domain::record::Record;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer};
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt;

/// Writes that go ahead of a measurement of latency, so that connections, plans and caches are there.
const WARM_UP: usize = 200;

/// Records a second of a plain idempotent producer with `acks=all` and no transaction, on a topic that exists.
///
/// # Errors
/// When Kafka does not take the records.
pub fn plain_producer(
    brokers: &str,
    topic: &str,
    partitions: u32,
    sample: &[Record],
    length: Duration,
) -> anyhow::Result<f64> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "1000000")
        .create()?;
    let started = Instant::now();
    let mut sent = 0_u64;
    while started.elapsed() < length {
        for record in sample {
            let mut message = BaseRecord::to(topic)
                .partition((sent % u64::from(partitions)) as i32)
                .key(&record.key)
                .payload(record.value.as_ref())
                .headers(headers(record));
            while let Err((error, back)) = producer.send(message) {
                anyhow::ensure!(
                    error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull),
                    "{error}"
                );
                producer.poll(Duration::from_millis(5));
                message = back;
            }
            sent += 1;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_mins(1))?;
    Ok(sent as f64 / started.elapsed().as_secs_f64())
}

/// Microseconds until a plain idempotent producer with `acks=all` has one record acknowledged, one after another, to partition 0 of
/// a topic that exists. The first two hundred are not measured.
///
/// # Errors
/// When the sample is empty or Kafka does not take a record.
pub async fn plain_producer_latency(
    brokers: &str,
    topic: &str,
    sample: &[Record],
    count: usize,
) -> anyhow::Result<Histogram<u64>> {
    anyhow::ensure!(!sample.is_empty(), "there are no records to send");
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("socket.nagle.disable", "true")
        .create()?;
    let mut latency = Histogram::new(3)?;
    for (number, record) in sample.iter().cycle().take(WARM_UP + count).enumerate() {
        let message = FutureRecord::to(topic)
            .partition(0)
            .key(&record.key)
            .payload(record.value.as_ref())
            .headers(headers(record));
        let started = Instant::now();
        let delivery = producer.send_result(message).map_err(|(error, _)| error)?;
        delivery.await.context("the producer went away")?.map_err(|(error, _)| error)?;
        if number >= WARM_UP {
            latency.record(started.elapsed().as_micros() as u64)?;
        }
    }
    Ok(latency)
}

/// Records a second of plain `COPY` into a table with a primary key, committed every thousand.
///
/// # Errors
/// When PostgreSQL does not take the rows.
pub async fn plain_copy(pool: &PgPool, sample: &[Record], length: Duration) -> anyhow::Result<f64> {
    make_table(pool).await?;
    let started = Instant::now();
    let mut rows = 0_u64;
    while started.elapsed() < length {
        let mut text = String::new();
        for record in sample.iter().cycle().take(1_000) {
            let value = String::from_utf8_lossy(&record.value).replace('\\', "\\\\");
            writeln!(text, "{rows}\t{}\t{}\t{value}", record.key, header_text(record))?;
            rows += 1;
        }
        let mut copy = pool.copy_in_raw("COPY raw_probe FROM STDIN").await?;
        copy.send(text.as_bytes()).await?;
        copy.finish().await?;
    }
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}

/// Microseconds until PostgreSQL has committed one `INSERT` of one row, one after another on one connection, into a table with a
/// primary key. The first two hundred are not measured.
///
/// # Errors
/// When the sample is empty or PostgreSQL does not take a row.
pub async fn plain_insert_latency(pool: &PgPool, sample: &[Record], count: usize) -> anyhow::Result<Histogram<u64>> {
    anyhow::ensure!(!sample.is_empty(), "there are no records to insert");
    make_table(pool).await?;
    let mut connection = pool.acquire().await?;
    let mut latency = Histogram::new(3)?;
    for (number, record) in sample.iter().cycle().take(WARM_UP + count).enumerate() {
        let insert = sqlx::query("INSERT INTO raw_probe (position, key, headers, value) VALUES ($1, $2, $3, $4)")
            .bind(number as i64)
            .bind(&record.key)
            .bind(header_text(record))
            .bind(String::from_utf8_lossy(&record.value));
        let started = Instant::now();
        insert.execute(&mut *connection).await?;
        if number >= WARM_UP {
            latency.record(started.elapsed().as_micros() as u64)?;
        }
    }
    Ok(latency)
}

async fn make_table(pool: &PgPool) -> anyhow::Result<()> {
    let table = "DROP TABLE IF EXISTS raw_probe;
                 CREATE TABLE raw_probe (position BIGINT PRIMARY KEY, key TEXT, headers TEXT, value TEXT)";
    sqlx::raw_sql(table).execute(pool).await?;
    Ok(())
}

fn headers(record: &Record) -> OwnedHeaders {
    record.headers.iter().fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, header| {
        headers.insert(Header { key: &header.name, value: Some(header.value.as_ref()) })
    })
}

fn header_text(record: &Record) -> String {
    let pairs = record.headers.iter();
    let pairs = pairs.map(|header| format!("{}={}", header.name, String::from_utf8_lossy(&header.value)));
    pairs.collect::<Vec<_>>().join(",")
}

//! The raw tools that figures are compared with: the same bytes, without Lotline.

use std::time::{Duration, Instant};

use lotline_domain::record::Record;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt;

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
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for header in &record.headers {
                headers = headers.insert(Header { key: &header.name, value: Some(header.value.as_ref()) });
            }
            let mut message = BaseRecord::to(topic)
                .partition((sent % u64::from(partitions)) as i32)
                .key(&record.key)
                .payload(record.value.as_ref())
                .headers(headers);
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
    producer.flush(Duration::from_secs(60))?;
    Ok(sent as f64 / started.elapsed().as_secs_f64())
}

/// Records a second of plain `COPY` into a table with a primary key, committed every thousand.
///
/// # Errors
/// When PostgreSQL does not take the rows.
pub async fn plain_copy(pool: &PgPool, sample: &[Record], length: Duration) -> anyhow::Result<f64> {
    sqlx::raw_sql("DROP TABLE IF EXISTS copy_probe; CREATE TABLE copy_probe (position BIGINT PRIMARY KEY, key TEXT, headers TEXT, value TEXT)")
        .execute(pool)
        .await?;
    let started = Instant::now();
    let mut rows = 0_u64;
    while started.elapsed() < length {
        let mut text = String::new();
        for record in sample.iter().cycle().take(1_000) {
            let headers: Vec<String> = record
                .headers
                .iter()
                .map(|header| format!("{}={}", header.name, String::from_utf8_lossy(&header.value)))
                .collect();
            let value = String::from_utf8_lossy(&record.value).replace('\\', "\\\\");
            text.push_str(&format!("{rows}\t{}\t{}\t{value}\n", record.key, headers.join(",")));
            rows += 1;
        }
        let mut copy = pool.copy_in_raw("COPY copy_probe FROM STDIN").await?;
        copy.send(text.as_bytes()).await?;
        copy.finish().await?;
    }
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}

//! Whether the time can be trusted. An idempotency key is a UUIDv7 and carries the time of the client; the writer compares it with its own
//! clock, and gives each event a time that no later event precedes. So a clock that is wrong refuses good keys or forgets answers too soon, and a
//! clock that was ahead once leaves its mark in the ledger.

use anyhow::Context;
use chrono::{DateTime, Utc};
use lotline_adapters::clock::SystemClock;
use lotline_commands::answers::{AHEAD_MICROS, RETENTION_MICROS};
use lotline_domain::envelope::Envelope;
use lotline_domain::id::TenantId;
use lotline_domain::port::{Clock, LogRead};
use lotline_domain::record::Offset;
use lotline_domain::timestamp::Timestamp;
use sqlx::PgPool;

use super::Finding;

/// Beyond these the difference is worth a word, and a failure.
const WARN_MICROS: i64 = 1_000_000;
const FAIL_MICROS: i64 = 60_000_000;

/// Offsets at the end of a partition among which its newest event is looked for: Kafka's markers take offsets too.
const LOOK_BACK: Offset = 64;

/// Compares this process's clock with PostgreSQL's.
pub(super) async fn against_database(pool: &PgPool) -> anyhow::Result<Finding> {
    Ok(judge(ahead_of(pool).await?))
}

/// By how many microseconds this process's clock is ahead of PostgreSQL's.
pub(crate) async fn ahead_of(pool: &PgPool) -> anyhow::Result<i64> {
    let mut connection = pool.acquire().await?;
    let asked = SystemClock.now().micros();
    let theirs: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(&mut *connection)
        .await
        .context("PostgreSQL's clock can't be read")?;
    let answered = SystemClock.now().micros();
    // They read theirs at some moment between the two; only what lies outside of them is a difference.
    let theirs = Timestamp::from(theirs).micros();
    Ok(if theirs > answered { answered - theirs } else { (asked - theirs).max(0) })
}

/// `ahead` is what this process's clock is ahead of PostgreSQL's, in microseconds.
fn judge(ahead: i64) -> Finding {
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let difference = format!("this process's clock is {} s {side} PostgreSQL's", seconds(ahead.abs()));
    let (back, forth) = (RETENTION_MICROS / 86_400_000_000, AHEAD_MICROS / 60_000_000);
    let why = format!(
        "idempotency keys carry the client's time and are refused when they are more than {back} days old or {forth} min in the future \
         by this clock"
    );
    if ahead.abs() <= WARN_MICROS {
        Finding::Good("agrees with PostgreSQL's to the second".into())
    } else if ahead.abs() <= FAIL_MICROS {
        Finding::Warning(format!("{difference}; {why}: see that both keep time (NTP)"))
    } else {
        Finding::Failure(format!(
            "{difference}; {why}, so good commands may be refused, and answers to retries forgotten: set the clocks right (NTP)"
        ))
    }
}

/// Compares this process's clock with the time of the newest event in each partition.
pub(super) async fn against_ledger(log: &dyn LogRead, tenant: &TenantId) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for partition in 0..log.partitions() {
        if let Some(newest) = newest(log, partition, tenant).await? {
            findings.extend(judge_event(partition, newest.micros() - SystemClock.now().micros()));
        }
    }
    Ok(findings)
}

/// `ahead` is how far the partition's newest event lies in the future, in microseconds.
fn judge_event(partition: u32, ahead: i64) -> Option<Finding> {
    let text = format!(
        "the newest event of partition {partition} was decided {} s in the future by this clock: the clock was ahead then or is behind \
         now, and until it gets there new events carry that same time",
        seconds(ahead.max(0))
    );
    if ahead <= WARN_MICROS {
        None
    } else if ahead <= FAIL_MICROS {
        Some(Finding::Warning(text))
    } else {
        Some(Finding::Failure(text))
    }
}

/// The latest time among the last events of a partition. What is no event is for `lotline log stats` to complain about.
async fn newest(log: &dyn LogRead, partition: u32, tenant: &TenantId) -> anyhow::Result<Option<Timestamp>> {
    let end = log.end(partition).await?;
    let mut next = (end - LOOK_BACK).max(0);
    let mut reader = log.reader(partition, next).await?;
    let mut newest = None;
    while next < end {
        let batch = reader.read(LOOK_BACK as usize, std::time::Duration::from_millis(500)).await?;
        let envelopes = batch.records.iter().filter_map(|stored| Envelope::from_record(tenant, &stored.record).ok());
        newest = envelopes.map(|envelope| envelope.attributes.time).chain(newest).max();
        next = batch.next;
    }
    Ok(newest)
}

fn seconds(micros: i64) -> String {
    format!("{}.{}", micros / 1_000_000, micros % 1_000_000 / 100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_worth_a_word_and_a_minute_a_failure() {
        for ahead in [0, 1_000_000, -1_000_000] {
            assert!(matches!(judge(ahead), Finding::Good(_)), "{ahead}");
        }
        for (ahead, said) in [(1_500_000, "1.5 s ahead of"), (-60_000_000, "60.0 s behind")] {
            let Finding::Warning(text) = judge(ahead) else { panic!("{ahead}") };
            assert!(text.contains(said) && text.contains("7 days old or 5 min"), "{text}");
        }
        let Finding::Failure(text) = judge(-60_000_001) else { panic!("more than a minute") };
        assert!(text.contains("answers to retries forgotten"), "{text}");
    }

    #[test]
    fn only_events_of_the_future_count() {
        assert_eq!(judge_event(0, -86_400_000_000), None);
        assert_eq!(judge_event(0, 1_000_000), None);
        assert!(matches!(judge_event(0, 2_000_000), Some(Finding::Warning(text)) if text.contains("2.0 s")));
        assert!(matches!(judge_event(3, 3_600_000_000), Some(Finding::Failure(text)) if text.contains("partition 3")));
    }
}

//! Ends, waits, bytes as they were, and the log that many producers share.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lotline_domain::partition::partition_of;
use lotline_domain::port::LogError;
use lotline_domain::record::{Header, Record};

use super::{DEADLINE, Subject, ledger, plain, plain_batch, read_all, read_until, values};

/// A log without records ends where it starts.
pub async fn an_empty_log_ends_at_its_start(subject: &dyn Subject) {
    let log = ledger(subject, 2).await;
    assert_eq!(log.end(0).await.unwrap(), 0);
    assert!(read_all(log.as_ref(), 1).await.is_empty());
}

/// Whoever asks for the end after an acknowledgement gets one beyond it, from any process, every time.
pub async fn the_end_covers_what_was_acknowledged(subject: &dyn Subject) {
    let (log, elsewhere) = (ledger(subject, 1).await, ledger(subject, 1).await);
    let mut writer = log.writer(0).await.unwrap();
    for round in 0..40 {
        let last = writer.append(plain_batch(&round.to_string(), 2)).await.unwrap();
        assert!(elsewhere.end(0).await.unwrap() > last, "round {round}");
    }
    assert_eq!(read_all(elsewhere.as_ref(), 0).await.len(), 80);
}

/// From a record's offset on, from behind the last one, and from any `next` that a reader has given.
pub async fn a_reader_starts_anywhere(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    let mut writer = log.writer(0).await.unwrap();
    writer.append(plain_batch("a", 3)).await.unwrap();
    let last = writer.append(plain_batch("b", 3)).await.unwrap();
    let end = log.end(0).await.unwrap();
    let records = read_all(log.as_ref(), 0).await;
    for (index, stored) in records.iter().enumerate() {
        let mut reader = log.reader(0, stored.offset).await.unwrap();
        assert_eq!(read_until(reader.as_mut(), end).await, records[index..]);
    }
    for from in [last + 1, end] {
        let mut reader = log.reader(0, from).await.unwrap();
        assert!(reader.read(10, Duration::ZERO).await.unwrap().records.is_empty());
    }
}

/// Nothing is there yet, and waiting for it would hide a lost log.
pub async fn a_reader_beyond_the_end_is_refused(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    log.writer(0).await.unwrap().append(vec![plain("only")]).await.unwrap();
    for offset in [log.end(0).await.unwrap() + 100, -1] {
        let refused = log.reader(0, offset).await.map(|_| ());
        assert!(matches!(refused, Err(LogError::OffsetOutOfRange { .. })), "{offset}: {refused:?}");
    }
}

/// An empty batch, not an error, and not before the time.
pub async fn a_read_gives_up_after_its_wait(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    let mut reader = log.reader(0, 0).await.unwrap();
    for wait in [Duration::ZERO, Duration::from_millis(200)] {
        let begin = Instant::now();
        let batch = reader.read(10, wait).await.unwrap();
        assert!(batch.records.is_empty() && batch.next == 0);
        assert!(begin.elapsed() >= wait, "came back after {:?}", begin.elapsed());
        assert!(begin.elapsed() < wait + Duration::from_secs(5), "came back after {:?}", begin.elapsed());
    }
}

/// A reader that waits gets what is appended, well before its wait is over.
pub async fn a_waiting_reader_is_woken(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    let mut writer = log.writer(0).await.unwrap();
    let mut reader = log.reader(0, 0).await.unwrap();
    for round in 0..10 {
        let name = round.to_string();
        let (batch, appended) = tokio::join!(read_some(reader.as_mut()), writer.append(vec![plain(name.clone())]));
        appended.unwrap();
        assert_eq!(batch, [name]);
    }
}

async fn read_some(reader: &mut dyn lotline_domain::port::LogReader) -> Vec<String> {
    let begin = Instant::now();
    loop {
        let batch = reader.read(10, DEADLINE).await.unwrap();
        assert!(begin.elapsed() < DEADLINE, "nothing came");
        if !batch.records.is_empty() {
            return values(&batch.records);
        }
    }
}

/// Key, value, header names, header values and their order, whatever they are.
pub async fn records_come_back_verbatim(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    let header = |name: &'static str, value: &'static [u8]| Header {
        name: Cow::Borrowed(name),
        value: Bytes::from_static(value),
    };
    let headers = vec![
        header("z", b"last letter first"),
        header("ce_type", b""),
        header("a", "käse \u{1f9c0} \u{7f}".as_bytes()),
        header("ce_type", b"twice"),
        header("escapes", b"\"\\/\x08\x0c\n\r\t{}[],:'\x00\x1f"),
        header("not utf-8", b"\xff\xfe\x00\x80"),
        header("empty again", b""),
        header("n\u{e4}me", b"1"),
    ];
    let all_bytes: Vec<u8> = (0..=255).collect();
    let written = vec![
        Record { key: "north".to_owned(), headers, value: all_bytes.into() },
        Record { key: "_tenant".to_owned(), headers: Vec::new(), value: Bytes::new() },
        Record {
            key: "k\u{e4}se".to_owned(),
            headers: Vec::new(),
            value: Bytes::from_static(br#" {"b":1, "a" :1.0} "#),
        },
    ];
    log.writer(0).await.unwrap().append(written.clone()).await.unwrap();
    let read: Vec<_> = read_all(log.as_ref(), 0).await.into_iter().map(|stored| stored.record).collect();
    assert_eq!(read, written);
}

/// `max` holds, and nothing is lost between reads.
pub async fn large_batches_come_back_in_small_reads(subject: &dyn Subject) {
    let log = ledger(subject, 1).await;
    let mut writer = log.writer(0).await.unwrap();
    for round in 0..4 {
        writer.append(plain_batch(&round.to_string(), 500)).await.unwrap();
    }
    let end = log.end(0).await.unwrap();
    let mut reader = log.reader(0, 0).await.unwrap();
    let (mut count, mut next) = (0, 0);
    while next < end {
        let batch = reader.read(17, DEADLINE).await.unwrap();
        assert!(batch.records.len() <= 17);
        for stored in &batch.records {
            let expected = format!("{}-{}", count / 500, count % 500);
            assert_eq!(stored.record.value, expected.as_bytes());
            count += 1;
        }
        next = batch.next;
    }
    assert_eq!(count, 2_000);
}

/// Two producers at once: all of it arrives, in the partition of its key, in the order of each producer.
pub async fn signals_of_many_producers_all_arrive(subject: &dyn Subject) {
    const ROUNDS: usize = 25;
    let logs = [subject.signals(3).await.unwrap(), subject.signals(3).await.unwrap()];
    let keys = ["collector-a", "collector-b"];
    let publishing = logs.iter().zip(keys).map(|(log, key)| async move {
        for round in 0..ROUNDS {
            let record = |index| Record { key: key.to_owned(), ..plain(format!("{key}-{round}-{index}")) };
            log.publish(vec![record(0), record(1)]).await.unwrap();
        }
    });
    futures_util::future::join_all(publishing).await;
    for key in keys {
        let all = read_all(logs[0].as_ref(), partition_of(key, 3)).await;
        let own: Vec<_> = values(&all).into_iter().filter(|value| value.starts_with(key)).collect();
        let expected: Vec<_> = (0..2 * ROUNDS).map(|n| format!("{key}-{}-{}", n / 2, n % 2)).collect();
        assert_eq!(own, expected);
    }
}

/// Refused before it is sent; the next one goes through.
pub async fn an_oversized_signal_is_refused(subject: &dyn Subject) {
    let log = subject.signals(1).await.unwrap();
    let huge = plain("x".repeat(2 << 20));
    let refused = log.publish(vec![plain("beside"), huge]).await;
    assert!(matches!(refused, Err(LogError::TooLarge { .. })), "{refused:?}");
    log.publish(vec![plain("next")]).await.unwrap();
    assert_eq!(values(&read_all(log.as_ref(), 0).await), ["next"]);
}

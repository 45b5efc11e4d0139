//! What Kafka alone can be asked: open and aborted transactions, markers, settings, threads.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use lotline_adapters::log::kafka::KafkaLog;
use lotline_domain::port::{AppendError, EventLog, LogError};
use lotline_domain::position::TopicKind;
use lotline_tests::contract::subject::Kafka;
use lotline_tests::contract::{DEADLINE, Subject, ledger, plain, plain_batch, read_all, read_until, values};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// A producer that the test pauses, kills or aborts as it likes. Blocking calls are made where they hold up nobody else.
#[derive(Clone)]
struct Stranger {
    producer: FutureProducer,
    topic: String,
}

impl Stranger {
    async fn transactional(subject: &Kafka, id: &str) -> Self {
        Self::with_timeout(subject, id, Duration::from_mins(1)).await
    }

    /// One whose transactions the broker aborts when they have been open for so long.
    async fn with_timeout(subject: &Kafka, id: &str, timeout: Duration) -> Self {
        let mut config = subject.stranger();
        config.set("transaction.timeout.ms", timeout.as_millis().to_string());
        let producer: FutureProducer = config.set("transactional.id", id).set("linger.ms", "0").create().unwrap();
        let stranger = Self { producer, topic: subject.topic().to_owned() };
        stranger.blocking(|producer| producer.init_transactions(DEADLINE)).await.unwrap();
        stranger
    }

    /// Begins a transaction and returns when the record is written, though not committed.
    async fn begin(&self, value: &str) -> i64 {
        self.producer.begin_transaction().unwrap();
        let message = FutureRecord::to(&self.topic).partition(0).key("north").payload(value);
        self.producer.send_result(message).map_err(|(error, _)| error).unwrap().await.unwrap().unwrap().offset
    }

    async fn abort(&self) {
        self.blocking(|producer| producer.abort_transaction(DEADLINE)).await.unwrap();
    }

    async fn commit(&self) -> KafkaResult<()> {
        self.blocking(|producer| producer.commit_transaction(DEADLINE)).await
    }

    async fn blocking<T: Send + 'static>(&self, call: impl FnOnce(&FutureProducer) -> T + Send + 'static) -> T {
        let producer = self.producer.clone();
        tokio::task::spawn_blocking(move || call(&producer)).await.unwrap()
    }
}

/// Aborted records between committed ones, and at the very end: readers see none of them and still arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_records_are_never_seen() {
    let subject = Kafka::new();
    let log = ledger(&subject, 1).await;
    let stranger = Stranger::transactional(&subject, subject.topic()).await;
    let mut writer = log.writer(0).await.unwrap();
    let mut tail = log.reader(0, 0).await.unwrap();
    let mut last_aborted = 0;
    for round in 0..3 {
        writer.append(plain_batch(&round.to_string(), 2)).await.unwrap();
        last_aborted = stranger.begin("aborted").await;
        stranger.abort().await;
    }
    let end = log.end(0).await.unwrap();
    assert!(end > last_aborted, "the end lies behind aborted records: {end}");
    let expected = ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"];
    assert_eq!(values(&read_until(tail.as_mut(), end).await), expected);
    let records = read_all(log.as_ref(), 0).await;
    assert_eq!(values(&records), expected);
    assert!(records[5].offset - records[0].offset > 5, "markers and aborted records left gaps");
}

/// While a transaction is open, what it has written is not seen, and neither is what others commit behind it. The end waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_waits_for_an_open_transaction() {
    let subject = Kafka::new();
    let log = ledger(&subject, 1).await;
    let mut writer = log.writer(0).await.unwrap();
    writer.append(vec![plain("first")]).await.unwrap();
    let stranger = Stranger::transactional(&subject, subject.topic()).await;
    stranger.begin("open").await;
    let acknowledged = writer.append(vec![plain("behind")]).await.unwrap();
    let mut end = log.end(0);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut end).await.is_err(), "the end is not known yet");
    let mut tail = log.reader(0, 0).await.unwrap();
    assert_eq!(values(&tail.read(10, DEADLINE).await.unwrap().records), ["first"]);
    stranger.commit().await.unwrap();
    let end = end.await.unwrap();
    assert!(end > acknowledged);
    assert_eq!(values(&read_until(tail.as_mut(), end).await), ["open", "behind"]);
}

/// A transaction that nobody ends: who asks for the end of the log is told why there is none, and where it can be read; once the broker has
/// aborted it, the end is told again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_hangs_is_named() {
    let subject = Kafka::new();
    let log = ledger(&subject, 1).await;
    let mut writer = log.writer(0).await.unwrap();
    let first = writer.append(vec![plain("first")]).await.unwrap();
    // Some seconds longer than an answer waits; the broker looks every 10 s for what to abort.
    let stranger = Stranger::with_timeout(&subject, subject.topic(), Duration::from_secs(35)).await;
    let hangs_at = stranger.begin("hanging").await;
    let behind = writer.append(vec![plain("behind")]).await.unwrap();
    let refused = log.end(0).await.unwrap_err();
    let why = refused.source().unwrap().to_string();
    assert!(matches!(refused, LogError::Broken { action: "find the end of the log", .. }), "{refused:?}");
    assert!(
        why.contains("has been open for too long") && why.ends_with(&format!("readable up to {hangs_at}")),
        "{why}"
    );
    assert_eq!(values(&read_until(log.reader(0, 0).await.unwrap().as_mut(), first + 1).await), ["first"]);
    let end = log.end(0).await.unwrap();
    assert!(end > behind, "{end} is the end of all that was acknowledged");
    assert_eq!(values(&read_all(log.as_ref(), 0).await), ["first", "behind"]);
}

/// A predecessor that pauses within its transaction: the takeover aborts it, and it can't commit when it resumes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_aborts_what_a_paused_writer_had_in_flight() {
    let subject = Kafka::new();
    let log = ledger(&subject, 1).await;
    // What Lotline's own writer would be, stopped between its record and its commit.
    let paused = Stranger::transactional(&subject, &format!("{}-0", subject.topic())).await;
    paused.begin("in flight").await;
    let mut writer = log.writer(0).await.unwrap();
    assert!(read_all(log.as_ref(), 0).await.is_empty());
    writer.append(vec![plain("successor")]).await.unwrap();
    paused.commit().await.expect_err("the paused writer is fenced");
    assert_eq!(values(&read_all(log.as_ref(), 0).await), ["successor"]);
}

/// The caller goes away after its batch went out. The thread finishes the transaction, so the log has all of it, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_append_is_resolved_from_the_log() {
    let subject = Kafka::new();
    let log = ledger(&subject, 1).await;
    let mut writer = log.writer(0).await.unwrap();
    let mut tail = log.reader(0, 0).await.unwrap();
    let mut append = writer.append(plain_batch("left", 50));
    assert!(futures_util::poll!(&mut append).is_pending());
    drop(append);
    let seen = tail.read(1, DEADLINE).await.unwrap();
    assert_eq!(values(&seen.records), ["left-0"]);
    let again = writer.append(vec![plain("more")]).await;
    assert!(matches!(again, Err(AppendError::Unknown(_))), "{again:?}");
    let mut successor = log.writer(0).await.unwrap();
    assert_eq!(read_all(log.as_ref(), 0).await.len(), 50);
    successor.append(vec![plain("more")]).await.unwrap();
    assert_eq!(read_all(log.as_ref(), 0).await.len(), 51);
}

/// What the broker has deleted is not silently skipped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_before_the_start_is_refused() {
    let subject = Kafka::new();
    let log = ledger(&subject, 1).await;
    log.writer(0).await.unwrap().append(plain_batch("a", 5)).await.unwrap();
    let admin: AdminClient<DefaultClientContext> = subject.stranger().create().unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(subject.topic(), 0, Offset::Offset(3)).unwrap();
    admin.delete_records(&before, &AdminOptions::new()).await.unwrap();
    let refused = log.reader(0, 0).await.map(|_| ());
    assert!(matches!(refused, Err(LogError::OffsetOutOfRange { offset: 0, .. })), "{refused:?}");
    let mut reader = log.reader(0, 3).await.unwrap();
    assert_eq!(values(&reader.read(10, DEADLINE).await.unwrap().records), ["a-3", "a-4"]);
}

/// A ledger is kept forever and never compacted, whatever the broker's defaults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_is_kept_forever() {
    let subject = Kafka::new();
    let mut options = subject.options(2);
    options.flush_each_batch = true;
    KafkaLog::open(options, TopicKind::Ledger).await.unwrap();
    let admin: AdminClient<DefaultClientContext> = subject.stranger().create().unwrap();
    let topic = ResourceSpecifier::Topic(subject.topic());
    let found = admin.describe_configs([&topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    for (name, expected) in [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("flush.messages", "1"),
        ("unclean.leader.election.enable", "false"),
    ] {
        assert_eq!(found.get(name).and_then(|entry| entry.value.as_deref()), Some(expected), "{name}");
    }
}

/// Creates a ledger's topic as an operator would by hand: right but for what is given.
async fn make_by_hand(subject: &Kafka, wrong: &[(&str, &str)]) {
    let right = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("unclean.leader.election.enable", "false"),
        ("max.message.bytes", "4194304"),
    ];
    let kept = right.iter().filter(|(name, _)| wrong.iter().all(|(other, _)| other != name));
    let topic = NewTopic::new(subject.topic(), 1, TopicReplication::Fixed(1));
    let topic = kept.chain(wrong).fold(topic, |topic, (name, value)| topic.set(name, value));
    let admin: AdminClient<DefaultClientContext> = subject.stranger().create().unwrap();
    admin.create_topics([&topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
}

/// A topic that would delete, compact, lose or refuse events is not opened as a ledger; the error names the setting and the repair.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_would_lose_events_is_refused() {
    for (name, found, needed) in [
        ("cleanup.policy", "compact", "delete"),
        ("retention.ms", "604800000", "-1"),
        ("retention.bytes", "1073741824", "-1"),
        ("unclean.leader.election.enable", "true", "false"),
        ("max.message.bytes", "1000", "at least "),
    ] {
        let subject = Kafka::new();
        make_by_hand(&subject, &[(name, found)]).await;
        let refused = KafkaLog::open(subject.options(1), TopicKind::Ledger).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, LogError::Broken { action: "open the topic", .. }), "{refused:?}");
        let why = refused.source().unwrap().to_string();
        assert!(why.contains(&format!("ledger: {name} is {found} but must be {needed}")), "{why}");
        assert!(why.contains(&format!("--entity-name {} --add-config {name}=", subject.topic())), "{why}");
    }
}

/// A topic made by hand with the right settings is as good as one that Lotline made; not being flushed is no reason to refuse it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_by_hand_is_opened() {
    let subject = Kafka::new();
    make_by_hand(&subject, &[]).await;
    let mut options = subject.options(1);
    options.flush_each_batch = true;
    let log = KafkaLog::open(options, TopicKind::Ledger).await.unwrap();
    log.writer(0).await.unwrap().append(vec![plain("a")]).await.unwrap();
    assert_eq!(values(&read_all(&log, 0).await), ["a"]);
}

/// Operators pass any option of librdkafka through; one that it does not know is an error, one that the log rests on is overruled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_options_pass_through() {
    let subject = Kafka::new();
    let mut options = subject.options(1);
    options.client.insert("compression.type".to_owned(), "lz4".to_owned());
    options.client.insert("acks".to_owned(), "0".to_owned());
    options.client.insert("isolation.level".to_owned(), "read_uncommitted".to_owned());
    let log = KafkaLog::open(options.clone(), TopicKind::Ledger).await.unwrap();
    log.writer(0).await.unwrap().append(vec![plain("x".repeat(10_000))]).await.unwrap();
    assert_eq!(read_all(&log, 0).await.len(), 1);
    options.client.insert("no.such.option".to_owned(), "1".to_owned());
    let refused = KafkaLog::open(options, TopicKind::Ledger).await.map(|_| ());
    assert!(matches!(refused, Err(LogError::Broken { .. })), "{refused:?}");
}

/// Dropped handles take their threads with them, without holding up who drops them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_ends_the_threads() {
    let subject = Kafka::new();
    // Whoever waits for the threads is never quick; a busy machine is slow now and then.
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let dropping = drop_with_threads(&subject).await;
        if dropping < Duration::from_millis(100) {
            return;
        }
        slowest = slowest.max(dropping);
    }
    panic!("dropping took up to {slowest:?}");
}

/// How long it takes to drop a writer and a reader whose threads run. They have ended since.
async fn drop_with_threads(subject: &Kafka) -> Duration {
    // No other test has a partition 6, whose number is in the names of the threads.
    let log = ledger(subject, 7).await;
    let mut writer = log.writer(6).await.unwrap();
    writer.append(vec![plain("a")]).await.unwrap();
    let mut reader = log.reader(6, 0).await.unwrap();
    assert_eq!(reader.read(1, DEADLINE).await.unwrap().records.len(), 1);
    let begin = std::time::Instant::now();
    // A thread that librdkafka has just started goes by the name of the thread that started it until it has set its own.
    while threads() != ["log-reader-6", "log-writer-6"] {
        assert!(begin.elapsed() < DEADLINE, "not the threads that were expected: {:?}", threads());
        tokio::task::yield_now().await;
    }
    let begin = std::time::Instant::now();
    drop((writer, reader, log));
    let dropping = begin.elapsed();
    while !threads().is_empty() {
        assert!(begin.elapsed() < DEADLINE, "threads go on: {:?}", threads());
        tokio::task::yield_now().await;
    }
    dropping
}

fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let mut names: Vec<_> = names.map(|name| name.trim().to_owned()).collect();
    names.retain(|name| name.starts_with("log-") && name.ends_with("-6"));
    names.sort();
    names
}

/// Brokers that are not there are an error within the deadline, not a hang.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_brokers_are_an_error() {
    let subject = Kafka::new();
    let mut options = subject.options(1);
    options.brokers = "127.0.0.1:1".to_owned();
    let opening = tokio::time::timeout(DEADLINE, KafkaLog::open(options, TopicKind::Ledger)).await;
    assert!(matches!(opening.unwrap().map(|_| ()), Err(LogError::Broken { .. })));
}

/// A stranger's plain producer needs no transaction; its record is seen, in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_producer_is_seen() {
    let subject = Kafka::new();
    let log = ledger(&subject, 1).await;
    let mut writer = log.writer(0).await.unwrap();
    writer.append(vec![plain("mine")]).await.unwrap();
    subject.append_foreign(0, plain("stranger")).await;
    writer.append(vec![plain("mine again")]).await.unwrap();
    assert_eq!(values(&read_all(log.as_ref(), 0).await), ["mine", "stranger", "mine again"]);
}

/// Several that take a partition over at the same moment may each keep some of its transactional ids: of all of them, at most one can append.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_takers_at_most_one_can_append() {
    let subject = Kafka::new();
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        let log: Arc<dyn EventLog> = ledger(&subject, 1).await.into();
        let take = |log: Arc<dyn EventLog>| tokio::spawn(async move { log.writer(0).await });
        let takers: Vec<_> = (0..4).map(|_| take(Arc::clone(&log))).collect();
        let mut writers = Vec::new();
        for taker in takers {
            writers.extend(taker.await.unwrap().ok());
        }
        let mut left = 0;
        for (number, mut writer) in writers.into_iter().enumerate() {
            let mut appended = 0;
            // As often as there are ids, and once more.
            while appended < 4 && writer.append(plain_batch(&format!("{round}-{number}-{appended}"), 1)).await.is_ok() {
                acknowledged.push(format!("{round}-{number}-{appended}-0"));
                appended += 1;
            }
            left += usize::from(appended > 0);
        }
        assert!(left <= 1, "{left} writers in round {round}");
    }
    let log = ledger(&subject, 1).await;
    assert_eq!(values(&read_all(log.as_ref(), 0).await), acknowledged);
    assert!(!acknowledged.is_empty(), "somebody got it");
}

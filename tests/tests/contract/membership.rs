//! Sharing partitions among nodes: by a Kafka group and by leases in PostgreSQL.

use std::collections::BTreeSet;
use std::time::Duration;

use lotline_adapters::cluster::{self, LeaseOptions, PostgresDirectory, PostgresLeases};
use lotline_adapters::log::kafka::{KafkaLog, KafkaOptions};
use lotline_domain::id::TenantId;
use lotline_domain::ownership::{Directory, Membership};
use lotline_domain::position::TopicKind;
use lotline_tests::contract::subject::Postgres;
use lotline_tests::stack;
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LEDGER: &str = "lotline.dairy.ledger.v1";
const WRITERS: &str = "writers/lotline.dairy.ledger.v1";

/// A group needs its session timeout to see that a member has died.
const DEADLINE: Duration = Duration::from_secs(30);

/// A node that listens to its membership.
struct Node {
    assigned: watch::Receiver<BTreeSet<u32>>,
    leave: CancellationToken,
    listening: JoinHandle<()>,
}

impl Node {
    fn listen(mut membership: Box<dyn Membership>) -> Self {
        let (news, assigned) = watch::channel(BTreeSet::new());
        let leave = CancellationToken::new();
        let end = leave.clone();
        let listening = tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = end.cancelled() => return membership.leave().await,
                    now = membership.changed() => drop(news.send_replace(now)),
                }
            }
        });
        Self { assigned, leave, listening }
    }

    async fn leave(self) {
        self.leave.cancel();
        self.listening.await.unwrap();
    }

    /// As a process that dies: nobody is told.
    async fn die(self) {
        self.listening.abort();
        assert!(self.listening.await.unwrap_err().is_cancelled());
    }
}

fn all() -> BTreeSet<u32> {
    (0..4).collect()
}

/// Waits until the nodes have so many partitions each, every partition once.
async fn shared<const N: usize>(nodes: [&Node; N], counts: [usize; N]) {
    let shares = || nodes.map(|node| node.assigned.borrow().clone());
    let reached = tokio::time::timeout(DEADLINE, async {
        loop {
            let now = shares();
            let mut found = now.each_ref().map(BTreeSet::len);
            found.sort_unstable();
            if found == counts && now.iter().flatten().copied().collect::<BTreeSet<_>>() == all() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(reached.await.is_ok(), "the shares are {:?}", shares());
}

async fn nodes_share_and_inherit(join: impl AsyncFn(&'static str) -> Box<dyn Membership>) {
    let one = Node::listen(join("one").await);
    shared([&one], [4]).await;
    let two = Node::listen(join("two").await);
    shared([&one, &two], [2, 2]).await;
    let three = Node::listen(join("three").await);
    shared([&one, &two, &three], [1, 1, 2]).await;
    three.leave().await;
    shared([&one, &two], [2, 2]).await;
    one.leave().await;
    shared([&two], [4]).await;
    two.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_group_shares_partitions() {
    let topic = stack::unique("lotline.group.ledger.v1");
    let join = async |_| {
        let options = KafkaOptions::new(stack::kafka_brokers(), topic.as_str(), 4);
        let log = KafkaLog::open(options, TopicKind::Ledger).await.unwrap();
        Box::new(log.join().unwrap()) as Box<dyn Membership>
    };
    nodes_share_and_inherit(join).await;
}

#[tokio::test]
async fn leases_share_partitions() {
    let subject = Postgres::new().await;
    let join = async |name| {
        let mut options = LeaseOptions::new(WRITERS, name, 4);
        (options.lasts, options.renew_every) = (Duration::from_secs(3), Duration::from_millis(200));
        Box::new(PostgresLeases::new(subject.pool.clone(), options)) as Box<dyn Membership>
    };
    nodes_share_and_inherit(join).await;
}

#[tokio::test]
async fn the_leases_of_a_dead_node_are_inherited_and_those_of_another_pool_are_not() {
    let subject = Postgres::new().await;
    let join = |pool: &str, name| {
        let mut options = LeaseOptions::new(pool, name, 4);
        (options.lasts, options.renew_every) = (Duration::from_secs(2), Duration::from_millis(200));
        Node::listen(Box::new(PostgresLeases::new(subject.pool.clone(), options)))
    };
    let (dying, other) = (join(WRITERS, "one"), join("projections/lotline.dairy.ledger.v1", "one"));
    shared([&dying], [4]).await;
    shared([&other], [4]).await;
    dying.die().await;
    let heir = join(WRITERS, "two");
    shared([&heir], [4]).await;
    assert_eq!(*other.assigned.borrow(), all());
    heir.leave().await;
    other.leave().await;
}

/// A node that can't renew must not go on believing that it holds what others may have by then.
#[tokio::test]
async fn a_node_that_is_cut_off_holds_nothing_after_its_time() {
    let subject = Postgres::new().await;
    let mut options = LeaseOptions::new(WRITERS, "one", 4);
    (options.lasts, options.renew_every) = (Duration::from_secs(1), Duration::from_millis(100));
    let mut leases = PostgresLeases::new(subject.pool.clone(), options);
    assert_eq!(leases.changed().await, all());
    let database: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&subject.pool).await.unwrap();
    let everybody = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    let mut admin = PgConnection::connect(&std::env::var("STACK_POSTGRES_URL").unwrap()).await.unwrap();
    subject.pool.close().await;
    sqlx::query(everybody).bind(database).execute(&mut admin).await.unwrap();
    let held = tokio::time::timeout(DEADLINE, leases.changed()).await.unwrap();
    assert_eq!(held, BTreeSet::new());
}

/// A node that stands still in the middle of its turn holds the pool's lock; PostgreSQL takes it away.
#[tokio::test]
async fn a_node_that_is_paused_in_its_turn_does_not_hold_up_the_others() {
    let subject = Postgres::new().await;
    let mut leases = PostgresLeases::new(subject.pool.clone(), LeaseOptions::new(WRITERS, "one", 4));
    let mut paused = std::pin::pin!(leases.changed());
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database =
                (SELECT oid FROM pg_database WHERE datname = current_database())";
    // Step by step until it has the lock, and not a step further.
    while sqlx::query_scalar::<_, i64>(held).fetch_one(&subject.pool).await.unwrap() == 0 {
        assert!(futures_util::poll!(paused.as_mut()).is_pending(), "it went through its turn unseen");
    }
    let heir = Node::listen(Box::new(PostgresLeases::new(subject.pool.clone(), LeaseOptions::new(WRITERS, "two", 4))));
    shared([&heir], [4]).await;
    heir.leave().await;
}

#[tokio::test]
async fn the_directory_names_whoever_was_announced_last() {
    let subject = Postgres::new().await;
    let node = |name: &str, topic: &str| {
        PostgresDirectory::new(subject.pool.clone(), topic, "postgres", name, format!("http://{name}"))
    };
    let (one, two, other) = (node("one", LEDGER), node("two", LEDGER), node("one", "lotline.dairy.other.v1"));
    assert_eq!(one.owner(0).await.unwrap(), None);
    assert_eq!((one.announce(0).await.unwrap(), two.announce(0).await.unwrap()), (1, 2));
    let owner = one.owner(0).await.unwrap().unwrap();
    assert_eq!((owner.node.as_str(), owner.address.as_str(), owner.epoch), ("two", "http://two", 2));
    assert_eq!((one.owner(1).await.unwrap(), other.owner(0).await.unwrap()), (None, None));
}

#[tokio::test]
async fn the_secret_is_made_once_and_for_one_tenant() {
    let subject = Postgres::new().await;
    let (dairy, bakery) = (TenantId::new("dairy").unwrap(), TenantId::new("bakery").unwrap());
    let first = cluster::secret(&subject.pool, &dairy).await.unwrap();
    assert_eq!(first.len(), 32);
    assert_eq!(cluster::secret(&subject.pool, &dairy).await.unwrap(), first);
    let others = stack::bound(&subject.database, &bakery, 1).await;
    assert_ne!(cluster::secret(&others, &bakery).await.unwrap(), first);
    assert!(cluster::secret(&others, &dairy).await.is_err(), "nobody makes or reads that of another tenant");
}

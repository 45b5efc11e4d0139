//! Shares a topic's partitions among nodes by a consumer group (classic protocol, cooperative-sticky).
//!
//! Nothing is consumed: the group is joined for its assignment only, and what is assigned is paused at once. The broker notices within the
//! session timeout that a node has died, is paused or is cut off, and gives its partitions to others; a node that stops says so and they
//! move at once. Offsets are never committed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lotline_domain::ownership::Membership;
use lotline_domain::port::{BoxFuture, LogError};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::{oneshot, watch};
use tracing::{debug, warn};

use super::trouble::{Witness, explain};
use super::{KafkaOptions, settings, threads};

/// How often the group's news are looked for. Heartbeats are librdkafka's own.
const POLL: Duration = Duration::from_millis(100);

/// How often it is said that the group can't be reached. Each poll may tell of it again.
const COMPLAIN: Duration = Duration::from_secs(30);

/// How long leaving may take before the others have to wait for the session timeout.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// This node's membership of the group of writers.
pub struct KafkaGroup {
    assigned: watch::Receiver<Option<BTreeSet<u32>>>,
    /// Dropping it ends the thread, which leaves the group.
    stay: Option<oneshot::Sender<()>>,
    left: Option<oneshot::Receiver<()>>,
}

/// Hears of assignments on the thread that polls.
#[derive(Default)]
struct Listener {
    /// Whether the group has answered at all; before, an empty assignment means nothing.
    joined: AtomicBool,
    witness: Witness,
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.witness.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.witness.error(error, reason);
    }
}

impl ConsumerContext for Listener {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(given) => {
                self.joined.store(true, Ordering::Relaxed);
                // Fetching what the writer reads by itself would only cost.
                if let Err(error) = consumer.pause(given) {
                    warn!(error = &error as &dyn std::error::Error, "assigned partitions can't be paused");
                }
                debug!(partitions = ?numbers(given), "assigned by the group");
            }
            Rebalance::Revoke(taken) => debug!(partitions = ?numbers(taken), "revoked by the group"),
            Rebalance::Error(error) => warn!(error = error as &dyn std::error::Error, "the group can't be rebalanced"),
        }
    }
}

fn numbers(list: &TopicPartitionList) -> BTreeSet<u32> {
    list.elements().iter().map(|element| element.partition() as u32).collect()
}

impl KafkaGroup {
    /// Joins the group of a topic's writers.
    ///
    /// # Errors
    /// [`LogError::Broken`] when no client can be made; brokers that can't be reached are waited for.
    pub(super) fn join(options: &Arc<KafkaOptions>) -> Result<Self, LogError> {
        let broken = |error| LogError::broken("join the group of writers", error);
        let consumer: BaseConsumer<Listener> =
            settings::member(options).create_with_context(Listener::default()).map_err(broken)?;
        consumer.subscribe(&[options.topic.as_str()]).map_err(broken)?;
        let (news, assigned) = watch::channel(None);
        let (stay, end) = oneshot::channel();
        let (done, left) = oneshot::channel();
        let spawned = threads::spawn("log-group".to_owned(), move || {
            run(&consumer, &news, end);
            drop(consumer);
            // Whoever waited may have given up.
            let _ = done.send(());
        });
        spawned.map_err(|error| LogError::broken("start the thread of the group", error))?;
        Ok(Self { assigned, stay: Some(stay), left: Some(left) })
    }
}

fn run(consumer: &BaseConsumer<Listener>, news: &watch::Sender<Option<BTreeSet<u32>>>, mut end: oneshot::Receiver<()>) {
    let mut complained: Option<Instant> = None;
    while matches!(end.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
        match consumer.poll(POLL) {
            // Nothing is consumed; a record that was fetched before the pause is nobody's.
            None | Some(Ok(_)) => {}
            Some(Err(_)) if complained.is_some_and(|last| last.elapsed() < COMPLAIN) => {}
            Some(Err(error)) => {
                complained = Some(Instant::now());
                let error = explain(error, &consumer.context().witness);
                warn!(
                    error = &*error as &dyn std::error::Error,
                    "the group of writers can't be joined yet; trying again"
                );
            }
        }
        let Ok(list) = consumer.assignment() else { continue };
        let now = if consumer.assignment_lost() { BTreeSet::new() } else { numbers(&list) };
        if consumer.context().joined.load(Ordering::Relaxed) {
            news.send_if_modified(|known| {
                let changed = known.as_ref() != Some(&now);
                if changed {
                    *known = Some(now);
                }
                changed
            });
        }
    }
    consumer.unsubscribe();
}

impl Membership for KafkaGroup {
    fn changed(&mut self) -> BoxFuture<'_, BTreeSet<u32>> {
        Box::pin(async move {
            loop {
                if self.assigned.changed().await.is_err() {
                    // The thread has ended, so nothing will be assigned any more.
                    return std::future::pending().await;
                }
                if let Some(assigned) = self.assigned.borrow_and_update().clone() {
                    return assigned;
                }
            }
        })
    }

    fn leave(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            drop(self.stay.take());
            let Some(left) = self.left.take() else { return };
            if tokio::time::timeout(LEAVE_TIMEOUT, left).await.is_err() {
                warn!("the group of writers was not left in time; others wait for the session timeout");
            }
        })
    }
}

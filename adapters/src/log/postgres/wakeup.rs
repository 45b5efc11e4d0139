//! One LISTEN connection per open topic, which wakes up the readers of a partition.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

/// Named in the statement of `append.rs` as well.
const CHANNEL: &str = "lotline_log";

/// How long to wait after a lost connection.
const RETRY: Duration = Duration::from_secs(1);

/// Counters that move whenever a partition may have grown.
pub(super) struct Wakeups {
    partitions: Vec<watch::Sender<u64>>,
    _listening: DropGuard,
}

impl Wakeups {
    /// Listens until this is dropped.
    pub(super) fn listen(pool: &PgPool, topic: &str, partitions: u32) -> Self {
        let partitions: Vec<_> = (0..partitions).map(|_| watch::Sender::new(0)).collect();
        let cancel = CancellationToken::new();
        let listener = Listener {
            // A pool of its own, since the listener keeps its connection for good.
            pool: PgPoolOptions::new().max_connections(1).connect_lazy_with(pool.connect_options().as_ref().clone()),
            topic: topic.to_owned(),
            partitions: partitions.clone(),
        };
        tokio::spawn(cancel.clone().run_until_cancelled_owned(listener.run()));
        Self { partitions, _listening: cancel.drop_guard() }
    }

    pub(super) fn subscribe(&self, partition: u32) -> watch::Receiver<u64> {
        self.partitions[partition as usize].subscribe()
    }
}

/// What a notification says.
pub(super) fn payload(topic: &str, partition: u32) -> String {
    format!("{partition} {topic}")
}

struct Listener {
    pool: PgPool,
    topic: String,
    partitions: Vec<watch::Sender<u64>>,
}

impl Listener {
    async fn run(self) {
        loop {
            if let Err(error) = self.listen().await {
                // Readers go on by their fallback poll.
                warn!(topic = self.topic, %error, "wake-ups of the log are interrupted");
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn listen(&self) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        debug!(topic = self.topic, "listening for wake-ups of the log");
        loop {
            // Nothing means that the connection was lost for a while: anybody may have missed something.
            match listener.try_recv().await? {
                Some(notification) => self.wake(notification.payload()),
                None => self.partitions.iter().for_each(wake_one),
            }
        }
    }

    fn wake(&self, payload: &str) {
        let Some((partition, topic)) = payload.split_once(' ') else {
            return;
        };
        if topic != self.topic {
            return;
        }
        if let Some(partition) = partition.parse().ok().and_then(|number: usize| self.partitions.get(number)) {
            wake_one(partition);
        }
    }
}

fn wake_one(partition: &watch::Sender<u64>) {
    partition.send_modify(|count| *count = count.wrapping_add(1));
}

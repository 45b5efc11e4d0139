//! One catch-up subscription to `$all` per open topic, which wakes up the readers of a partition. It carries nothing else: readers read
//! their own stream from their own place, so that what a subscription misses while it is broken costs time and no records.

use std::time::Duration;

use eventstore::{Client, Error, StreamPosition, SubscribeToAllOptions, SubscriptionFilter};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

/// How long to wait after a subscription that ended.
const RETRY: Duration = Duration::from_secs(1);

/// Counters that move whenever a partition may have grown.
pub(super) struct Wakeups {
    partitions: Vec<watch::Sender<u64>>,
    _listening: DropGuard,
}

impl Wakeups {
    /// Listens until this is dropped.
    pub(super) fn listen(client: &Client, topic: &str, partitions: u32) -> Self {
        let partitions: Vec<_> = (0..partitions).map(|_| watch::Sender::new(0)).collect();
        let cancel = CancellationToken::new();
        let listener = Listener { client: client.clone(), prefix: format!("{topic}-"), partitions: partitions.clone() };
        tokio::spawn(cancel.clone().run_until_cancelled_owned(listener.run()));
        Self { partitions, _listening: cancel.drop_guard() }
    }

    pub(super) fn subscribe(&self, partition: u32) -> watch::Receiver<u64> {
        self.partitions[partition as usize].subscribe()
    }
}

struct Listener {
    client: Client,
    prefix: String,
    partitions: Vec<watch::Sender<u64>>,
}

impl Listener {
    async fn run(self) {
        loop {
            let Err(error) = self.listen().await;
            // Readers go on by their fallback poll.
            warn!(topic = self.prefix, %error, "wake-ups of the log are interrupted");
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn listen(&self) -> Result<std::convert::Infallible, Error> {
        let filter = SubscriptionFilter::on_stream_name().add_prefix(&self.prefix);
        let options = SubscribeToAllOptions::default().position(StreamPosition::End).filter(filter);
        let mut subscription = self.client.subscribe_to_all(&options).await;
        loop {
            let event = subscription.next().await?;
            let partition = partition(&self.prefix, event.get_original_stream_id());
            if let Some(partition) = partition.and_then(|partition| self.partitions.get(partition)) {
                partition.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    }
}

/// The partition whose stream this is.
fn partition(prefix: &str, stream: &str) -> Option<usize> {
    stream.strip_prefix(prefix)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::partition;

    #[test]
    fn only_streams_of_partitions_wake_somebody_up() {
        assert_eq!(partition("lotline.dairy.ledger.v1-", "lotline.dairy.ledger.v1-12"), Some(12));
        for other in ["lotline.dairy.ledger.v1-topic", "lotline.dairy.ledger.v1", "lotline.dairy-2.ledger.v1-1"] {
            assert_eq!(partition("lotline.dairy.ledger.v1-", other), None, "{other}");
        }
    }
}

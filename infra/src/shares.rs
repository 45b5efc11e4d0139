//! Runs a worker for each partition that is assigned to this node, and stops it when the partition goes to another.

use std::collections::BTreeMap;
use std::future::Future;

use lotline_domain::ownership::Membership;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A worker at work.
struct Running {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self, partition: u32) {
        self.cancel.cancel();
        if let Err(error) = self.task.await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(partition, error, "a worker failed while stopping");
        }
    }
}

/// Follows the membership until cancelled. `work` starts the worker of a partition, which ends when its token is cancelled; one that ends
/// before that is not started again until its partition has been away.
pub(crate) async fn share<F: Future<Output = ()> + Send + 'static>(
    mut membership: Box<dyn Membership>,
    cancel: CancellationToken,
    work: impl Fn(u32, CancellationToken) -> F + Send + 'static,
) {
    let mut running: BTreeMap<u32, Running> = BTreeMap::new();
    loop {
        let assigned = tokio::select! {
            () = cancel.cancelled() => break,
            assigned = membership.changed() => assigned,
        };
        let gone: Vec<u32> = running.keys().copied().filter(|partition| !assigned.contains(partition)).collect();
        for partition in gone {
            if let Some(worker) = running.remove(&partition) {
                worker.stop(partition).await;
            }
        }
        for partition in assigned {
            running.entry(partition).or_insert_with(|| {
                let cancel = cancel.child_token();
                let task = tokio::spawn(work(partition, cancel.clone()));
                Running { cancel, task }
            });
        }
    }
    for (partition, worker) in running {
        worker.stop(partition).await;
    }
    membership.leave().await;
}

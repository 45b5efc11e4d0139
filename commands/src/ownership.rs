//! Which of a ledger's partitions this node writes, when several nodes share them.
//!
//! An attendant stands by each partition for as long as the process lives. While the partition is another node's, it hands back what comes,
//! so that the bus looks elsewhere. While it is assigned here, the attendant announces this node as the writer, and only then takes over: so
//! whoever finds itself fenced can look in the directory and see by whom.
//!
//! Being fenced does not prove that there is a successor: a broker also fences a producer whose transaction it aborted after a pause. The
//! directory tells: if this node was announced last, the partition is taken back at once, and else only when membership says so again, or
//! has gone on saying so for [`OwnershipOptions::settle`]. That last rule mends the case that a node which was about to lose the partition
//! announced itself and then stopped.
//!
//! It may also have stopped before it took over, or its announcement was late: then nobody is fenced, and the writer that goes on would not
//! be found any more. So whoever holds a partition looks now and then whether it is still the one that is announced.
//!
//! Nobody takes a partition over while the directory does not answer, nor when it says that the ledger has moved to another log: a takeover
//! would fence the copy that moves it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use lotline_domain::id::TenantId;
use lotline_domain::ownership::{Directory, Membership};
use lotline_domain::port::LogError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bus::Ports;
use crate::follower::TenantFollower;
use crate::snapshotter::{SnapshotOptions, Snapshotter};
use crate::writer::{PartitionWriter, WriterError};

/// How long the directory may take to answer.
const DIRECTORY_TIMEOUT: Duration = Duration::from_secs(2);
const RETAKE_PAUSE: Duration = Duration::from_millis(100);
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How partitions are held.
#[derive(Debug, Clone)]
pub struct OwnershipOptions {
    /// How long a fenced writer that is still assigned waits for its assignment to change before it takes the partition back. Also how
    /// often a writer looks whether it is still announced.
    pub settle: Duration,
    /// Snapshots of the partitions that are written here.
    pub snapshots: SnapshotOptions,
}

impl Default for OwnershipOptions {
    fn default() -> Self {
        Self { settle: Duration::from_secs(10), snapshots: SnapshotOptions::default() }
    }
}

/// What of a ledger is assigned to this node, as its attendants see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Assigned {
    /// Counts the changes, so that one that was taken away and given back is seen.
    version: u64,
    partitions: BTreeSet<u32>,
}

/// Holds what membership assigns.
pub struct Owners {
    tenant: TenantId,
    ports: Ports,
    directory: Arc<dyn Directory>,
    options: OwnershipOptions,
    joined: watch::Sender<bool>,
}

/// The one who stands by a partition.
struct Attendant {
    writer: PartitionWriter,
    owners: Arc<Owners>,
    assigned: watch::Receiver<Assigned>,
}

impl Owners {
    /// For the partitions of one ledger.
    pub fn new(tenant: TenantId, ports: Ports, directory: Arc<dyn Directory>, options: OwnershipOptions) -> Self {
        Self { tenant, ports, directory, options, joined: watch::Sender::new(false) }
    }

    /// Turns true once membership has assigned something, be it nothing.
    pub fn joined(&self) -> watch::Receiver<bool> {
        self.joined.subscribe()
    }

    /// Attends to all partitions until cancelled, then leaves the membership. A partition that can't be written by anybody is left alone;
    /// the others go on, and [`crate::bus::CommandBus::statuses`] tells.
    pub async fn run(
        self,
        writers: Vec<PartitionWriter>,
        mut membership: Box<dyn Membership>,
        cancel: CancellationToken,
    ) {
        let owners = Arc::new(self);
        // One channel each: those who wait at one are woken in no order.
        let mut listeners = Vec::with_capacity(writers.len() + 1);
        let mut listen = || {
            let (sender, receiver) = watch::channel(Assigned::default());
            listeners.push(sender);
            receiver
        };
        let mut attendants = JoinSet::new();
        let view = writers.first().map(PartitionWriter::tenant_view);
        for writer in writers {
            let attendant = Attendant { writer, owners: Arc::clone(&owners), assigned: listen() };
            attendants.spawn(attendant.attend(cancel.clone()));
        }
        if let Some(view) = view {
            let follower = TenantFollower::new(owners.tenant.clone(), owners.ports.clone(), view);
            attendants.spawn(owners.clone().follow_tenant(follower, cancel.clone()));
        }
        let mut assigned = Assigned::default();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                partitions = membership.changed() => {
                    tracing::info!(partitions = ?partitions, "the partitions of this node");
                    metrics::gauge!("lotline_writer_assigned_partitions").set(partitions.len() as f64);
                    assigned.version += 1;
                    assigned.partitions = partitions;
                    for listener in &listeners {
                        listener.send_replace(assigned.clone());
                    }
                    owners.joined.send_replace(true);
                }
            }
        }
        // First everything in flight is finished, then others may have the partitions: no commit is cut in two by a handover.
        while attendants.join_next().await.is_some() {}
        membership.leave().await;
    }

    /// Names this node as the writer of a partition, trying until the directory takes it.
    async fn announce(&self, partition: u32) {
        loop {
            match timeout(DIRECTORY_TIMEOUT, self.directory.announce(partition)).await {
                Ok(Ok(epoch)) => {
                    tracing::debug!(partition, epoch, "announced as the partition's writer");
                    return;
                }
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(partition, error, "not taking over yet: the directory of writers fails");
                }
                Err(_) => tracing::warn!(partition, "not taking over yet: the directory does not answer"),
            }
            sleep(TRY_AGAIN).await;
        }
    }

    /// Sees to it that the holder of a partition is found, for as long as it is polled and `end` has not come.
    ///
    /// Another name must stand there twice: a node that stood still finds its successor announced, and learns a moment later that the
    /// partition was taken from it. Had it announced itself by then, nobody would find the successor until that one looked.
    async fn stay_announced(&self, partition: u32, end: &CancellationToken) -> Infallible {
        loop {
            sleep(self.options.settle).await;
            if self.other(partition).await.is_none() {
                continue;
            }
            sleep(TRY_AGAIN).await;
            let Some(other) = self.other(partition).await else { continue };
            if end.is_cancelled() {
                return pending().await;
            }
            tracing::warn!(
                partition,
                other,
                "another node was announced, but this one still writes; announcing it again"
            );
            // Whoever has to leave the partition meanwhile must not hide who comes after.
            if end.run_until_cancelled(self.announce(partition)).await.is_none() {
                return pending().await;
            }
        }
    }

    /// The other node that is announced as the writer of a partition.
    async fn other(&self, partition: u32) -> Option<String> {
        match timeout(DIRECTORY_TIMEOUT, self.directory.owner(partition)).await {
            Ok(Ok(Some(owner))) => Some(owner.node).filter(|node| node != self.directory.node()),
            // It is asked again.
            Ok(Ok(None) | Err(_)) | Err(_) => None,
        }
    }

    /// Learns what the tenant's stream says. Also where its partition is assigned to this node: its writer may have been fenced, and an idle
    /// one does not notice, while another partition's events already tell of more than it has read.
    async fn follow_tenant(self: Arc<Self>, follower: TenantFollower, cancel: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                error = follower.follow() => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the tenant's stream can't be followed; trying again");
                    sleep(TRY_AGAIN).await;
                }
            }
        }
    }
}

impl Attendant {
    async fn attend(mut self, cancel: CancellationToken) {
        // Until there is a first assignment, commands wait: this may well be their node.
        let first = assignment(&mut self.assigned, |now| now.version > 0);
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            _ = first => {}
        }
        let mut taken_at = 0;
        loop {
            let version = self.until_assigned(&cancel, taken_at).await;
            let Some(version) = version else { break };
            taken_at = version;
            let held = self.hold(&cancel).await;
            match held {
                Ok(()) => {}
                Err(WriterError::Fenced { partition }) => {
                    if self.is_announced_here().await {
                        tracing::warn!(
                            partition,
                            "the log fenced this writer, but nobody else was announced; taking over again"
                        );
                        sleep(RETAKE_PAUSE).await;
                        taken_at = 0;
                    } else {
                        tracing::warn!(partition, "another node has taken the partition over");
                        self.settle(&cancel, version).await;
                        taken_at = 0;
                    }
                }
                Err(WriterError::Moved { partition }) => {
                    tracing::warn!(
                        partition,
                        "the ledger is moved to another log; see `lotline doctor`, and restart with its log.kind"
                    );
                    self.settle(&cancel, version).await;
                    taken_at = 0;
                }
                Err(error) => {
                    let partition = self.writer.partition();
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(partition, error, "the writer of a partition has stopped; everything else goes on");
                    break;
                }
            }
        }
        self.writer.stop();
    }

    /// Hands back what comes until the partition is assigned by another assignment than the one of `before`. Nothing when cancelled.
    async fn until_assigned(&mut self, cancel: &CancellationToken, before: u64) -> Option<u64> {
        let partition = self.writer.partition();
        let mut assigned = self.assigned.clone();
        let is_new = |now: &Assigned| now.version > before && now.partitions.contains(&partition);
        // Without a look at it first, a partition that is assigned already would be called another node's for a moment.
        if is_new(&assigned.borrow()) {
            return Some(assigned.borrow().version);
        }
        let end = cancel.child_token();
        tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            () = self.writer.turn_away(&end) => None,
            version = assignment(&mut assigned, is_new) => version,
        }
    }

    /// After a fence by another node: until the assignment changes, or has stayed for long enough to be believed.
    async fn settle(&mut self, cancel: &CancellationToken, version: u64) {
        let mut assigned = self.assigned.clone();
        let end = cancel.child_token();
        let settle = self.owners.options.settle;
        tokio::select! {
            biased;
            () = self.writer.turn_away(&end) => {}
            _ = assignment(&mut assigned, |now| now.version > version) => {}
            () = sleep(settle) => {}
        }
    }

    async fn is_announced_here(&self) -> bool {
        let directory = &self.owners.directory;
        match timeout(DIRECTORY_TIMEOUT, directory.owner(self.writer.partition())).await {
            Ok(Ok(Some(owner))) => owner.node == directory.node(),
            Ok(Ok(None)) | Err(_) => false,
            Ok(Err(error)) => {
                self.report(&error);
                false
            }
        }
    }

    /// Writes the partition until it is taken away or the process ends.
    async fn hold(&mut self, cancel: &CancellationToken) -> Result<(), WriterError> {
        let partition = self.writer.partition();
        let owners = Arc::clone(&self.owners);
        let mut assigned = self.assigned.clone();
        let end = cancel.child_token();
        let snapshotter =
            Snapshotter::new(owners.tenant.clone(), partition, owners.ports.clone(), owners.options.snapshots.clone());
        let snapshots = tokio::spawn(snapshotter.run(end.clone()));
        let held = {
            let holding = async {
                let announced = tokio::select! {
                    biased;
                    () = end.cancelled() => false,
                    () = owners.announce(partition) => true,
                };
                if !announced {
                    return Ok(());
                }
                tokio::select! {
                    biased;
                    held = self.writer.hold(Some(&*owners.directory), &end) => held,
                    never = owners.stay_announced(partition, &end) => match never {},
                }
            };
            tokio::pin!(holding);
            tokio::select! {
                biased;
                held = &mut holding => held,
                _ = assignment(&mut assigned, |now| !now.partitions.contains(&partition)) => {
                    end.cancel();
                    holding.await
                }
            }
        };
        end.cancel();
        match snapshots.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(partition, error, "the snapshots of a partition have stopped");
            }
            Err(error) => {
                tracing::error!(partition, error = &error as &dyn std::error::Error, "the snapshotter failed");
            }
        }
        held
    }

    fn report(&self, error: &LogError) {
        let partition = self.writer.partition();
        tracing::warn!(partition, error = error as &dyn std::error::Error, "the directory of writers does not answer");
    }
}

/// Waits for an assignment that is wanted and gives its version. Nothing when there will be none any more.
async fn assignment(assigned: &mut watch::Receiver<Assigned>, wanted: impl FnMut(&Assigned) -> bool) -> Option<u64> {
    assigned.wait_for(wanted).await.ok().map(|found| found.version)
}

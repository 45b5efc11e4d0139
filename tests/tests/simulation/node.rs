//! One process: it starts, is paused and resumed, and dies without a word.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use lotline_commands::bus::{CommandBus, Ports};
use lotline_commands::ownership::{Owners, OwnershipOptions};
use lotline_domain::id::{SiteId, TenantId};
use lotline_domain::ownership::Directory;
use lotline_domain::port::{Clock, EventLog, Ids, SnapshotStore};
use lotline_domain::trace::Traces;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::network::{Assignments, SimDirectory, SimForward};
use crate::ports::{Gate, Host, SimLog};
use crate::shelf::SimSnapshots;
use crate::world::World;

/// A process and the ways to it.
pub(crate) struct Node {
    pub(crate) host: Arc<Host>,
    pub(crate) bus: CommandBus,
    /// Cancelled when it dies: whoever waits for it hears no more.
    pub(crate) dead: CancellationToken,
    assign: mpsc::UnboundedSender<BTreeSet<u32>>,
    stop: CancellationToken,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Node {
    pub(crate) fn start(world: &Arc<World>, slot: usize) -> Arc<Self> {
        let host = Arc::new(Host { name: format!("node-{slot}"), world: Arc::clone(world), gate: Gate::default() });
        let plan = &world.plan;
        let ports = Ports {
            log: Arc::new(SimLog::new(Arc::clone(&host), world.log.clone())) as Arc<dyn EventLog>,
            snapshots: Arc::new(SimSnapshots(Arc::clone(&host))) as Arc<dyn SnapshotStore>,
            clock: Arc::clone(&world.clocks[slot]) as Arc<dyn Clock>,
            ids: Arc::clone(&world.ids) as Arc<dyn Ids>,
            traces: Traces::default(),
        };
        let tenant = TenantId::new(plan.tenant.as_str()).expect("a valid tenant");
        let sites: Vec<SiteId> = plan.sites.iter().map(|site| SiteId::new(*site).expect("a valid site")).collect();
        let (bus, writers) = CommandBus::new(&tenant, &sites, &ports, plan.writer.clone());
        let directory = SimDirectory(Arc::clone(&host));
        let bus = bus.with_others(Arc::new(SimForward(directory.clone())));
        let options = OwnershipOptions { settle: plan.settle, snapshots: plan.snapshots.clone() };
        let owners = Owners::new(tenant, ports, Arc::new(directory) as Arc<dyn Directory>, options);
        let (assign, assignments) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let running = tokio::spawn(owners.run(writers, Box::new(Assignments(assignments)), stop.clone()));
        let running = Mutex::new(Some(running));
        Arc::new(Self { host, bus, dead: CancellationToken::new(), assign, stop, running })
    }

    pub(crate) fn assign(&self, partitions: BTreeSet<u32>) {
        // One that has died does not listen.
        drop(self.assign.send(partitions));
    }

    fn running(&self) -> Option<JoinHandle<()>> {
        self.running.lock().expect("nothing panics under this lock").take()
    }

    /// Everything in it ends where it stands. What it sent is on its way.
    pub(crate) async fn die(&self) {
        self.dead.cancel();
        if let Some(running) = self.running() {
            running.abort();
            // The attendants end with it; only what they had started beside still looks at the token.
            drop(running.await);
        }
        self.stop.cancel();
    }

    /// Finishes what it has and ends.
    ///
    /// # Errors
    /// When something in it had failed.
    pub(crate) async fn stop(&self) -> Result<(), String> {
        self.stop.cancel();
        match self.running() {
            Some(running) => running.await.map_err(|error| format!("{} did not end well: {error}", self.host.name)),
            None => Ok(()),
        }
    }
}

//! A ledger, the nodes that share it, the clients that use them, and what befalls them all.
//!
//! Everything runs on one thread under tokio's paused clock: time passes only when nobody has anything to do, and then at once. All
//! chance comes from one seed, so the same seed gives the same log to the byte.
//!
//! First the world is rough for a while: processes die and are paused, partitions move with assignments that are late, stale, doubled or
//! missing, calls and appends fail in every way that the ports allow. Then it calms down, and every command must be answered soon.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lotline_adapters::log::memory::MemoryLog;
use lotline_domain::port::LogRead;
use lotline_domain::record::StoredRecord;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::chance::Chance;
use crate::client::{self, Book};
use crate::mutations::Mutation;
use crate::network::Board;
use crate::node::Node;
use crate::plan::Plan;
use crate::ports::{SimClock, SimIds};
use crate::shelf::Shelf;

/// How long after the faults have ended every command must have its answer, in simulated time.
const SOON: Duration = Duration::from_mins(3);
/// Longest delay of anything that is under way when the faults end.
const STRAYS: Duration = Duration::from_secs(10);

/// What happened how often, so that a world in which nothing happens is noticed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) crashes: u64,
    pub(crate) pauses: u64,
    pub(crate) moves: u64,
    pub(crate) jumps: u64,
    pub(crate) takeovers: u64,
    pub(crate) unsure: u64,
    /// Appends that landed, of which the writer did not hear.
    pub(crate) lost_answers: u64,
    /// Appends that land after their writer has given up waiting, unless there is another by then.
    pub(crate) late_appends: u64,
    /// Commands of which two copies came to their owner.
    pub(crate) doubled: u64,
    /// Breaks of a second and more that a reader made between two reads.
    pub(crate) slow_reads: u64,
    pub(crate) snapshots: u64,
    pub(crate) forwarded: u64,
    pub(crate) retries: u64,
    pub(crate) accepted: u64,
    pub(crate) transformed: u64,
    pub(crate) received: u64,
    pub(crate) shipped: u64,
    pub(crate) replayed: u64,
    /// Refusals by their codes.
    pub(crate) codes: BTreeMap<String, u64>,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) log: MemoryLog,
    pub(crate) shelf: Shelf,
    pub(crate) board: Board,
    pub(crate) ids: Arc<SimIds>,
    /// One per slot: a machine keeps its clock when its process is started again.
    pub(crate) clocks: Vec<Arc<SimClock>>,
    pub(crate) book: Mutex<Book>,
    tally: Mutex<Tally>,
    nodes: Mutex<Vec<Option<Arc<Node>>>>,
    calm: AtomicBool,
    /// No process is left.
    closed: AtomicBool,
}

/// What is left of a world.
pub(crate) struct Remains {
    pub(crate) plan: Plan,
    pub(crate) book: Book,
    pub(crate) tally: Tally,
    /// What did not come to an end as it must.
    pub(crate) stuck: Option<String>,
    /// Records of each partition.
    pub(crate) records: Vec<Vec<StoredRecord>>,
}

impl World {
    pub(crate) fn new(seed: u64, tenant: String, mutation: Option<Mutation>) -> Arc<Self> {
        let chance = Chance::new(seed);
        let plan = Plan::draw(tenant, &chance, crate::seeds::has_operations(seed));
        let clock = || Arc::new(SimClock { started: Instant::now(), wrong_by: 0.into() });
        Arc::new(Self {
            mutation,
            log: MemoryLog::new(format!("lotline.{}.ledger.v1", plan.tenant), plan.partitions),
            shelf: Shelf::default(),
            board: Board::default(),
            ids: Arc::default(),
            clocks: (0..plan.nodes).map(|_| clock()).collect(),
            book: Mutex::default(),
            tally: Mutex::default(),
            nodes: Mutex::new(vec![None; plan.nodes]),
            calm: AtomicBool::new(plan.roughness == 0.0),
            closed: AtomicBool::new(false),
            chance,
            plan,
        })
    }

    /// Whether something goes wrong here that goes wrong so often in the roughest of worlds.
    pub(crate) fn hiccup(&self, at_worst: f64) -> bool {
        !self.calm.load(Ordering::Relaxed) && self.chance.odds(at_worst * self.plan.roughness)
    }

    /// The time that anything takes on its way.
    pub(crate) async fn lag(&self) {
        if self.hiccup(0.1) {
            sleep(self.chance.millis(10, 800)).await;
        } else if self.chance.odds(0.5) {
            sleep(self.chance.millis(1, 4)).await;
        }
    }

    pub(crate) fn tally(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.tally.lock().expect("nothing panics under this lock"));
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nothing panics under this lock")
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Option<Arc<Node>>>> {
        self.nodes.lock().expect("nothing panics under this lock")
    }

    pub(crate) fn node(&self, slot: usize) -> Option<Arc<Node>> {
        self.nodes()[slot].clone()
    }

    pub(crate) fn node_named(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes().iter().flatten().find(|node| node.host.name == name).cloned()
    }

    fn start(self: &Arc<Self>, slot: usize) {
        let node = Node::start(self, slot);
        self.nodes()[slot] = Some(node);
    }

    async fn kill(&self, slot: usize) {
        let node = self.nodes()[slot].take();
        if let Some(node) = node {
            node.die().await;
        }
    }

    /// New assignments for everybody, most of them right.
    fn move_partitions(self: &Arc<Self>, strays: &mut JoinSet<()>) {
        let mut shares = vec![BTreeSet::new(); self.plan.nodes];
        for partition in 0..self.plan.partitions {
            if self.chance.odds(0.9) {
                shares[self.chance.below(self.plan.nodes)].insert(partition);
            }
            if self.chance.odds(0.15) {
                shares[self.chance.below(self.plan.nodes)].insert(partition);
            }
        }
        for (slot, share) in shares.into_iter().enumerate() {
            let delay = if self.chance.odds(0.7) { self.chance.millis(0, 50) } else { self.chance.millis(0, 5_000) };
            let (world, missed) = (Arc::clone(self), self.chance.odds(0.1));
            strays.spawn(async move {
                sleep(delay).await;
                if !missed && let Some(node) = world.node(slot) {
                    node.assign(share);
                }
            });
        }
    }

    /// One thing that goes wrong.
    async fn blow(self: &Arc<Self>, strays: &mut JoinSet<()>) {
        const SECOND: i64 = 1_000_000;
        let slot = self.chance.below(self.plan.nodes);
        match self.chance.between(0, 9) {
            0..=2 => {
                self.tally(|tally| tally.crashes += 1);
                self.kill(slot).await;
                let (world, delay) = (Arc::clone(self), self.chance.millis(0, 8_000));
                strays.spawn(async move {
                    sleep(delay).await;
                    if world.node(slot).is_none() {
                        world.start(slot);
                    }
                });
                self.move_partitions(strays);
            }
            3..=4 => {
                let Some(node) = self.node(slot) else { return };
                self.tally(|tally| tally.pauses += 1);
                node.host.gate.set(false);
                let delay = self.chance.millis(10, 12_000);
                strays.spawn(async move {
                    sleep(delay).await;
                    node.host.gate.set(true);
                });
            }
            5..=7 => {
                self.tally(|tally| tally.moves += 1);
                self.move_partitions(strays);
            }
            _ => {
                self.tally(|tally| tally.jumps += 1);
                let day = 24 * 3_600 * SECOND;
                let far = *self.chance.pick(&[SECOND, 400 * SECOND, 3_600 * SECOND, 2 * day, 9 * day, 3_650 * day]);
                let sign = *self.chance.pick(&[-1, 1, 0]);
                self.clocks[slot].wrong_by.store(far * sign, Ordering::Relaxed);
            }
        }
    }

    async fn rage(self: &Arc<Self>) {
        let mut strays = JoinSet::new();
        for _ in 0..self.plan.blows {
            sleep(self.chance.millis(20, 2_500)).await;
            self.blow(&mut strays).await;
        }
        while strays.join_next().await.is_some() {}
    }

    /// Nothing fails from here on: all nodes live, and each partition is assigned to one of them.
    async fn calm_down(self: &Arc<Self>) {
        self.calm.store(true, Ordering::Relaxed);
        for slot in 0..self.plan.nodes {
            match self.node(slot) {
                Some(node) => node.host.gate.set(true),
                None => self.start(slot),
            }
            if self.plan.clocks_heal {
                self.clocks[slot].wrong_by.store(0, Ordering::Relaxed);
            }
        }
        sleep(STRAYS).await;
        let shift = self.chance.below(self.plan.nodes);
        for slot in 0..self.plan.nodes {
            let mine = |partition: &u32| (*partition as usize + shift) % self.plan.nodes == slot;
            let share = (0..self.plan.partitions).filter(mine).collect();
            self.node(slot).expect("every node lives by now").assign(share);
        }
    }

    /// The first assignments, which are right.
    fn open(self: &Arc<Self>) {
        for slot in 0..self.plan.nodes {
            self.start(slot);
        }
        for slot in 0..self.plan.nodes {
            let share = (0..self.plan.partitions).filter(|it| *it as usize % self.plan.nodes == slot).collect();
            self.node(slot).expect("it was just started").assign(share);
        }
    }

    async fn close(&self) -> Result<(), String> {
        for slot in 0..self.plan.nodes {
            let node = self.nodes()[slot].take();
            if let Some(node) = node {
                timeout(SOON, node.stop()).await.map_err(|_| format!("{} does not end", node.host.name))??;
            }
        }
        Ok(())
    }
}

/// Lets a world be, from its beginning to its end.
///
/// # Errors
/// A reader that saw another log than the one that is left.
pub(crate) async fn play(seed: u64, tenant: String, mutation: Option<Mutation>) -> Result<Remains, String> {
    let world = World::new(seed, tenant, mutation);
    world.open();
    let mut readers = JoinSet::new();
    for partition in 0..world.plan.partitions {
        readers.spawn(read_slowly(Arc::clone(&world), partition));
    }
    let mut clients = JoinSet::new();
    for number in 0..world.plan.clients {
        clients.spawn(client::run(Arc::clone(&world), number));
    }
    world.rage().await;
    world.calm_down().await;
    let answered = timeout(SOON, async {
        while let Some(ended) = clients.join_next().await {
            ended.map_err(|error| format!("a client failed: {error}"))??;
        }
        Ok::<(), String>(())
    });
    let answered = answered.await.unwrap_or_else(|_| Err(stuck(&world)));
    // Whatever went wrong, nobody may hold the world any more when this returns.
    let closed = world.close().await;
    world.closed.store(true, Ordering::Relaxed);
    let stuck = answered.and(closed).err();
    let mut records = Vec::new();
    for partition in 0..world.plan.partitions {
        let mut reader = world.log.reader(partition, 0).await.expect("the log opens");
        records.push(reader.read(usize::MAX, Duration::ZERO).await.expect("the log can be read").records);
    }
    while let Some(read) = readers.join_next().await {
        let (partition, seen) = read.map_err(|error| format!("a reader failed: {error}"))?;
        if seen != records[partition as usize] {
            return Err(format!("a slow reader of partition {partition} has seen another log"));
        }
    }
    let book = std::mem::take(&mut *world.book());
    let tally = world.tally.lock().expect("nothing panics under this lock").clone();
    Ok(Remains { plan: world.plan.clone(), book, tally, stuck, records })
}

fn stuck(world: &World) -> String {
    let statuses: Vec<_> = world.nodes().iter().flatten().map(|node| node.bus.statuses()).collect();
    let announced: Vec<_> = (0..world.plan.partitions).map(|partition| world.board.owner(partition, 0)).collect();
    format!(
        "after {SOON:?} of calm there are commands without an answer; writers: {statuses:?}, announced: {announced:?}"
    )
}

/// Follows a partition a few records at a time, with long breaks, until the world is calm and there is nothing more.
async fn read_slowly(world: Arc<World>, partition: u32) -> (u32, Vec<StoredRecord>) {
    let mut reader = world.log.reader(partition, 0).await.expect("the log opens");
    let mut seen = Vec::new();
    loop {
        let most = world.chance.between(1, 12) as usize;
        let read = reader.read(most, world.chance.millis(0, 500)).await.expect("the log can be read");
        let end = world.log.end(partition).await.expect("the log has an end");
        seen.extend(read.records);
        if read.next >= end && world.closed.load(Ordering::Relaxed) {
            return (partition, seen);
        }
        let rest = world.chance.millis(0, 3_000);
        if rest >= Duration::from_secs(1) && read.next < end {
            world.tally(|tally| tally.slow_reads += 1);
        }
        sleep(rest).await;
    }
}

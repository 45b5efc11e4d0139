//! Several nodes on one ledger: whoever is asked, the owner decides, and a handover loses and doubles nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lotline_adapters::log::memory::{Fault, MemoryLog};
use lotline_commands::bus::{CommandBus, Forward, ForwardError, Forwarded, Ports, Receipt, SubmitError};
use lotline_commands::ownership::{Owners, OwnershipOptions};
use lotline_commands::writer::WriterStatus;
use lotline_domain::command::CommandRequest;
use lotline_domain::id::SiteId;
use lotline_domain::ownership::{Directory, Membership, Owner};
use lotline_domain::partition::partition_of;
use lotline_domain::port::{BoxFuture, EventLog, LogError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::stand::{Stand, answer, register, settle, site, tenant, within};

/// What all nodes share beside the log.
#[derive(Clone, Default)]
pub(crate) struct Room {
    owners: Arc<Mutex<BTreeMap<u32, Owner>>>,
    buses: Arc<Mutex<HashMap<String, CommandBus>>>,
    moved: Arc<AtomicBool>,
}

struct Board {
    room: Room,
    node: &'static str,
}

impl Directory for Board {
    fn announce(&self, partition: u32) -> BoxFuture<'_, Result<u64, LogError>> {
        let mut owners = self.room.owners.lock().expect("nothing panics under this lock");
        let epoch = owners.get(&partition).map_or(1, |owner| owner.epoch + 1);
        owners.insert(partition, Owner { node: self.node.to_owned(), address: self.node.to_owned(), epoch });
        Box::pin(async move { Ok(epoch) })
    }

    fn owner(&self, partition: u32) -> BoxFuture<'_, Result<Option<Owner>, LogError>> {
        let found = self.room.owners.lock().expect("nothing panics under this lock").get(&partition).cloned();
        Box::pin(async move { Ok(found) })
    }

    fn may_write(&self) -> BoxFuture<'_, Result<bool, LogError>> {
        let moved = self.room.moved.load(Ordering::Relaxed);
        Box::pin(async move { Ok(!moved) })
    }

    fn node(&self) -> &str {
        self.node
    }
}

/// The way between nodes, without a network.
struct Corridor(Board);

impl Forward for Corridor {
    fn forward<'a>(&'a self, partition: u32, command: &'a Forwarded) -> BoxFuture<'a, Result<Receipt, ForwardError>> {
        Box::pin(async move {
            let not_there = Err(ForwardError::NotOwner { tried_at: command.tried_at });
            let owner = self.0.owner(partition).await.expect("the board answers");
            let Some(owner) = owner.filter(|owner| owner.node != self.0.node) else { return not_there };
            let bus = self.0.room.buses.lock().expect("nothing panics under this lock").get(&owner.node).cloned();
            match bus {
                Some(bus) => bus.submit_here(command.clone()).await,
                None => not_there,
            }
        })
    }
}

/// Assignments that a test makes.
struct Told(watch::Receiver<Option<BTreeSet<u32>>>);

impl Membership for Told {
    fn changed(&mut self) -> BoxFuture<'_, BTreeSet<u32>> {
        Box::pin(async move {
            loop {
                self.0.changed().await.expect("the test holds the sender");
                if let Some(assigned) = self.0.borrow_and_update().clone() {
                    return assigned;
                }
            }
        })
    }

    fn leave(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

pub(crate) struct Node {
    pub(crate) bus: CommandBus,
    assign: watch::Sender<Option<BTreeSet<u32>>>,
    cancel: CancellationToken,
    running: JoinHandle<()>,
}

impl Node {
    pub(crate) fn start(stand: &Stand, room: &Room, name: &'static str) -> Self {
        Self::on(stand.ports(), stand, room, name)
    }

    /// A node that sees the log through ports of its own.
    pub(crate) fn on(ports: Ports, stand: &Stand, room: &Room, name: &'static str) -> Self {
        let sites = ["north", "south"].map(|site| SiteId::new(site).expect("a valid site"));
        let (bus, writers) = CommandBus::new(&tenant(), &sites, &ports, stand.options.clone());
        let board = || Board { room: room.clone(), node: name };
        let bus = bus.with_others(Arc::new(Corridor(board())));
        room.buses.lock().expect("nothing panics under this lock").insert(name.to_owned(), bus.clone());
        let options = OwnershipOptions { settle: Duration::from_secs(1), ..OwnershipOptions::default() };
        let owners = Owners::new(tenant(), ports, Arc::new(board()), options);
        let (assign, told) = watch::channel(None);
        let cancel = CancellationToken::new();
        let running = tokio::spawn(owners.run(writers, Box::new(Told(told)), cancel.clone()));
        Self { bus, assign, cancel, running }
    }

    pub(crate) fn assign<const N: usize>(&self, partitions: [u32; N]) {
        self.assign.send_replace(Some(BTreeSet::from(partitions)));
    }

    pub(crate) async fn accepted(&self, request: CommandRequest) -> Receipt {
        within(self.bus.submit(request)).await.expect("the command is accepted")
    }

    /// Tries until it is available again.
    async fn accepted_in_the_end(&self, request: &CommandRequest) -> Receipt {
        within(async {
            loop {
                match self.bus.submit(request.clone()).await {
                    Ok(receipt) => return receipt,
                    Err(error) => assert_eq!(error, SubmitError::Unavailable),
                }
            }
        })
        .await
    }

    pub(crate) async fn until(&self, partition: u32, wanted: WriterStatus) {
        within(async {
            while self.bus.statuses()[partition as usize] != wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        within(self.running).await.expect("the node does not panic");
    }
}

pub(crate) fn two_partitions() -> Stand {
    Stand::on(MemoryLog::new("lotline.dairy.ledger.v1", 2))
}

#[tokio::test]
async fn whichever_node_is_asked_the_owner_decides() {
    let (stand, room) = (two_partitions(), Room::default());
    let (one, two) = (Node::start(&stand, &room, "one"), Node::start(&stand, &room, "two"));
    one.assign([0]);
    two.assign([1]);
    for (number, node) in [&one, &two, &one, &two].into_iter().enumerate() {
        for name in ["north", "south"] {
            let mut request = stand.request(register(&format!("M{number}")));
            request.stream = site(name);
            let receipt = node.accepted(request.clone()).await;
            assert!(!receipt.replayed);
            assert!(one.accepted(request.clone()).await.replayed, "a retry on either node is a retry");
            assert!(two.accepted(request).await.replayed);
        }
    }
    let (south, north) = (stand.events(partition_of("south", 2)).await, stand.events(partition_of("north", 2)).await);
    assert_eq!(
        south.iter().chain(&north).filter(|(envelope, _)| envelope.attributes.stream == site("north")).count(),
        4
    );
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn before_the_first_assignment_commands_wait() {
    let (stand, room) = (Stand::new(), Room::default());
    let node = Node::start(&stand, &room, "one");
    let bus = node.bus.clone();
    let request = stand.request(register("M1"));
    let waiting = tokio::spawn(async move { bus.submit(request).await });
    settle().await;
    assert!(!waiting.is_finished());
    node.assign([0]);
    assert_eq!(answer(waiting).await.unwrap().version, 1);
    node.stop().await;
}

#[tokio::test]
async fn partitions_move_under_load_and_nothing_is_lost_or_doubled() {
    let (stand, room) = (Stand::new(), Room::default());
    let (one, two) = (Node::start(&stand, &room, "one"), Node::start(&stand, &room, "two"));
    one.assign([0]);
    two.assign([]);
    let mut waiting = Vec::new();
    for round in 0..10 {
        for number in 0..20 {
            let bus = if number % 2 == 0 { one.bus.clone() } else { two.bus.clone() };
            let request = stand.request(register(&format!("M{round}-{number}")));
            waiting.push(tokio::spawn(async move { bus.submit(request).await }));
        }
        if round % 3 == 2 {
            stand.log.faults().push(Fault::Unacknowledged);
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
        let (from, to) = if round % 2 == 0 { (&one, &two) } else { (&two, &one) };
        // Now and then both are assigned, or nobody is.
        if round % 4 < 2 {
            to.assign([0]);
            from.assign([]);
        } else {
            from.assign([]);
            to.assign([0]);
        }
    }
    let mut versions = BTreeSet::new();
    for waiting in waiting {
        versions.insert(answer(waiting).await.expect("every command is accepted").version);
    }
    assert_eq!(versions.len(), 200, "each has an event of its own");
    assert_eq!(stand.events(0).await.len(), 200, "and there is none beside");
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_fenced_writer_without_a_successor_takes_the_partition_back() {
    let (stand, room) = (Stand::new(), Room::default());
    let node = Node::start(&stand, &room, "one");
    node.assign([0]);
    node.accepted(stand.request(register("M1"))).await;
    stand.log.faults().push(Fault::Fenced);
    let receipt = node.accepted(stand.request(register("M2"))).await;
    assert_eq!(receipt.version, 2);
    assert_eq!(room.owners.lock().unwrap()[&0].epoch, 2, "it was announced again");
    node.stop().await;
}

#[tokio::test]
async fn a_paused_node_that_lost_its_partition_forwards_what_it_held() {
    let (stand, room) = (Stand::new(), Room::default());
    let (paused, successor) = (Node::start(&stand, &room, "paused"), Node::start(&stand, &room, "successor"));
    paused.assign([0]);
    successor.assign([]);
    paused.accepted(stand.request(register("M1"))).await;
    let gate = stand.hold();
    let bus = paused.bus.clone();
    let request = stand.request(register("M2"));
    let waiting = tokio::spawn(async move { bus.submit(request).await });
    gate.reached().await;
    // The others have given it up; it does not know yet.
    successor.assign([0]);
    successor.until(0, WriterStatus::Serving).await;
    successor.accepted(stand.request(register("M3"))).await;
    gate.open();
    let receipt = answer(waiting).await.expect("the successor decides it");
    assert_eq!((receipt.version, receipt.replayed), (3, false));
    paused.assign([]);
    paused.until(0, WriterStatus::Elsewhere).await;
    assert_eq!(paused.accepted(stand.request(register("M4"))).await.version, 4);
    assert_eq!(room.owners.lock().unwrap()[&0].node, "successor");
    paused.stop().await;
    successor.stop().await;
}

#[tokio::test]
async fn a_node_that_took_over_with_a_stale_assignment_gives_way_in_the_end() {
    let (stand, room) = (Stand::new(), Room::default());
    let (right, stale) = (Node::start(&stand, &room, "right"), Node::start(&stand, &room, "stale"));
    right.assign([0]);
    right.until(0, WriterStatus::Serving).await;
    stale.assign([0]);
    stale.until(0, WriterStatus::Serving).await;
    // The rightful writer is fenced, finds the other announced, and waits; meanwhile the other is told.
    right.accepted(stand.request(register("M1"))).await;
    stale.assign([]);
    let receipt = right.accepted(stand.request(register("M2"))).await;
    assert_eq!(receipt.version, 2);
    right.until(0, WriterStatus::Serving).await;
    assert_eq!(room.owners.lock().unwrap()[&0].node, "right");
    right.stop().await;
    stale.stop().await;
}

/// The other one was announced and never took over, or its announcement came late: the writer is not fenced, so it hears nothing of it.
#[tokio::test]
async fn a_writer_hidden_by_a_later_announcement_is_found_again() {
    let (stand, room) = (Stand::new(), Room::default());
    let (writing, other) = (Node::start(&stand, &room, "writing"), Node::start(&stand, &room, "other"));
    writing.assign([0]);
    other.assign([]);
    writing.until(0, WriterStatus::Serving).await;
    other.until(0, WriterStatus::Elsewhere).await;
    let late = Board { room: room.clone(), node: "other" };
    late.announce(0).await.unwrap();
    let receipt = other.accepted(stand.request(register("M1"))).await;
    assert_eq!(receipt.version, 1);
    assert_eq!(room.owners.lock().unwrap()[&0].node, "writing");
    writing.stop().await;
    other.stop().await;
}

/// It finds its successor announced before it hears that the partition was given away, or meets the fence.
#[tokio::test(start_paused = true)]
async fn a_node_that_stood_still_does_not_hide_its_successor() {
    let (stand, room) = (Stand::new(), Room::default());
    let (paused, successor) = (Node::start(&stand, &room, "paused"), Node::start(&stand, &room, "successor"));
    paused.assign([0]);
    successor.assign([]);
    paused.accepted(stand.request(register("M1"))).await;
    successor.assign([0]);
    successor.until(0, WriterStatus::Serving).await;
    let epoch = || room.owners.lock().unwrap()[&0].epoch;
    let announced = epoch();
    // It looks who is announced once a second, and is told a moment after it has looked.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    paused.assign([]);
    paused.until(0, WriterStatus::Elsewhere).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(room.owners.lock().unwrap()[&0].node, "successor");
    assert_eq!(epoch(), announced, "and it was so all the time");
    paused.stop().await;
    successor.stop().await;
}

#[tokio::test]
async fn without_anybody_to_write_a_command_is_unavailable_at_its_deadline() {
    let mut stand = Stand::new();
    stand.options.answer_deadline = Duration::from_millis(300);
    let room = Room::default();
    let node = Node::start(&stand, &room, "one");
    node.assign([]);
    node.until(0, WriterStatus::Elsewhere).await;
    assert_eq!(within(node.bus.submit(stand.request(register("M1")))).await, Err(SubmitError::Unavailable));
    assert_eq!(stand.end(0).await, 0);
    node.stop().await;
}

#[tokio::test]
async fn a_site_knows_the_tenants_stream_that_another_node_writes() {
    let (stand, room) = (two_partitions(), Room::default());
    let (one, two) = (Node::start(&stand, &room, "one"), Node::start(&stand, &room, "two"));
    let home = partition_of("_tenant", 2);
    let away = ["north", "south"].into_iter().find(|site| partition_of(site, 2) != home).expect("a site apart");
    one.assign([home]);
    two.assign([1 - home]);
    let drafted = one.accepted(stand.request(crate::stand::draft("nightly"))).await;
    let seen = within(async {
        for number in 0.. {
            let mut request = stand.request(register(&format!("M{number}")));
            request.stream = site(away);
            two.accepted(request).await;
            let (last, _) = stand.events(1 - home).await.pop().expect("it was just written");
            if last.attributes.tenant_sequence == Some(drafted.version) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    })
    .await;
    assert!(seen);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn while_the_ledger_is_moved_nobody_takes_it_back() {
    let mut stand = Stand::new();
    stand.options.answer_deadline = Duration::from_millis(500);
    let room = Room::default();
    let node = Node::start(&stand, &room, "one");
    node.assign([0]);
    node.accepted(stand.request(register("M1"))).await;
    room.moved.store(true, Ordering::Relaxed);
    let mut copy = stand.log.writer(0).await.unwrap();
    assert_eq!(within(node.bus.submit(stand.request(register("M2")))).await, Err(SubmitError::Unavailable));
    assert_eq!(stand.end(0).await, 1);
    // The copy is still the writer: it was given up, and only now others may write again.
    assert!(copy.append(Vec::new()).await.is_ok());
    room.moved.store(false, Ordering::Relaxed);
    assert_eq!(node.accepted_in_the_end(&stand.request(register("M3"))).await.version, 2);
    node.stop().await;
}

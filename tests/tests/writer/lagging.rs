//! A node that reads the tenant's stream later than it was written: it decides on what it has recorded before, or not at all.

use std::sync::Arc;
use std::time::Duration;

use lotline_adapters::log::memory::MemoryLog;
use lotline_commands::bus::{Ports, SubmitError};
use lotline_commands::writer::WriterStatus;
use lotline_domain::access::command::AccessCommand;
use lotline_domain::access::role::Role;
use lotline_domain::command::{Command, CommandRequest};
use lotline_domain::id::{ActorId, UserId};
use lotline_domain::port::{BoxFuture, EventLog, LogError, LogRead, LogReader, LogWriter};
use lotline_domain::record::{Offset, ReadBatch, Record};
use tokio::sync::watch;

use crate::authorising::{appoint, by, enforced, give, judge_again, profile, user_of};
use crate::owning::{Node, Room};
use crate::stand::{Stand, register, site, within};

/// A log of which one partition is seen up to an offset only.
#[derive(Clone)]
struct Lagging {
    log: MemoryLog,
    partition: u32,
    seen: watch::Sender<Offset>,
}

struct LaggingReader {
    inner: Box<dyn LogReader>,
    next: Offset,
    seen: watch::Receiver<Offset>,
}

impl LogRead for Lagging {
    fn topic(&self) -> &str {
        self.log.topic()
    }

    fn partitions(&self) -> u32 {
        self.log.partitions()
    }

    fn end(&self, partition: u32) -> BoxFuture<'_, Result<Offset, LogError>> {
        Box::pin(async move {
            let end = self.log.end(partition).await?;
            Ok(if partition == self.partition { end.min(*self.seen.borrow()) } else { end })
        })
    }

    fn reader(&self, partition: u32, from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        Box::pin(async move {
            let inner = self.log.reader(partition, from).await?;
            if partition != self.partition {
                return Ok(inner);
            }
            let reader = LaggingReader { inner, next: from, seen: self.seen.subscribe() };
            Ok(Box::new(reader) as Box<dyn LogReader>)
        })
    }
}

impl EventLog for Lagging {
    fn max_record_bytes(&self) -> usize {
        self.log.max_record_bytes()
    }

    fn writer(&self, partition: u32) -> BoxFuture<'_, Result<Box<dyn LogWriter>, LogError>> {
        self.log.writer(partition)
    }
}

impl LogReader for LaggingReader {
    fn read(&mut self, max: usize, wait: Duration) -> BoxFuture<'_, Result<ReadBatch, LogError>> {
        Box::pin(async move {
            let next = self.next;
            let wanted = self.seen.wait_for(|seen| *seen > next);
            let Ok(Ok(seen)) = tokio::time::timeout(wait, wanted).await.map(|found| found.map(|seen| *seen)) else {
                return Ok(ReadBatch { records: Vec::new(), next });
            };
            let room = usize::try_from(seen - next).unwrap_or(usize::MAX);
            let read = self.inner.read(max.min(room), wait).await?;
            self.next = read.next;
            Ok(read)
        })
    }
}

fn two_partitions() -> Stand {
    enforced(MemoryLog::new("lotline.dairy.ledger.v1", 2))
}

fn lagging(stand: &Stand, seen: Offset) -> (Ports, watch::Sender<Offset>) {
    let seen = watch::Sender::new(seen);
    let log = Lagging { log: stand.log.clone(), partition: 0, seen: seen.clone() };
    (Ports { log: Arc::new(log), ..stand.ports() }, seen)
}

/// In the partition that is not the tenant's.
fn south(stand: &Stand, user: UserId, code: &str) -> CommandRequest {
    CommandRequest { stream: site("south"), ..by(stand, &user.actor(), register(code)) }
}

/// Gives the admin, and an operator.
async fn people(stand: &Stand, node: &Node) -> (UserId, UserId) {
    let admin = user_of(&node.accepted(by(stand, &ActorId::system(), appoint())).await);
    let register = Command::Access(AccessCommand::RegisterUser(profile()));
    let user = user_of(&node.accepted(by(stand, &admin.actor(), register)).await);
    node.accepted(by(stand, &admin.actor(), give(user, &[Role::Operator]))).await;
    (admin, user)
}

async fn forbidden(node: &Node, request: CommandRequest) {
    match within(node.bus.submit(request)).await {
        Err(SubmitError::Refused { code, .. }) => assert_eq!(code, "FORBIDDEN"),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_successor_decides_on_nothing_older_than_its_predecessor() {
    let (stand, room) = (two_partitions(), Room::default());
    let one = Node::start(&stand, &room, "one");
    one.assign([0, 1]);
    let (admin, user) = people(&stand, &one).await;
    let seen_then = stand.end(0).await;
    one.accepted(by(&stand, &admin.actor(), give(user, &[]))).await;
    forbidden(&one, south(&stand, user, "M1")).await;
    one.stop().await;
    // The tenant's partition is as if it had not been read that far yet.
    let (ports, seen) = lagging(&stand, seen_then);
    let two = Node::on(ports, &stand, &room, "two");
    two.assign([1]);
    let bus = two.bus.clone();
    let request = south(&stand, user, "M2");
    let waiting = tokio::spawn(async move { bus.submit(request).await });
    // Long enough for it to be decided, if the writer did not wait for what it lacks.
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(two.bus.statuses()[1], WriterStatus::Recovering);
    }
    assert!(!waiting.is_finished(), "it would be decided with the role that is gone");
    seen.send_replace(stand.end(0).await);
    let answered = within(waiting).await.unwrap();
    assert!(matches!(answered, Err(SubmitError::Refused { ref code, .. }) if code == "FORBIDDEN"), "{answered:?}");
    two.stop().await;
    assert_eq!(judge_again(&stand, user).await, (0, 2));
}

#[tokio::test]
async fn what_another_node_writes_is_decided_on_as_soon_as_it_is_read() {
    let (stand, room) = (two_partitions(), Room::default());
    let one = Node::start(&stand, &room, "one");
    let (ports, seen) = lagging(&stand, 0);
    let two = Node::on(ports, &stand, &room, "two");
    one.assign([0]);
    two.assign([1]);
    let (admin, user) = people(&stand, &one).await;
    seen.send_replace(stand.end(0).await);
    within(async {
        // Until the role has been read, the answer is that there is none; it is recorded with the sequence of that.
        for number in 0.. {
            if two.bus.submit(south(&stand, user, &format!("M{number}"))).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    one.accepted(by(&stand, &admin.actor(), give(user, &[]))).await;
    // Committed but not read there yet: decided, and recorded, on what was before.
    two.accepted(south(&stand, user, "N1")).await;
    seen.send_replace(stand.end(0).await);
    within(async {
        for number in 2.. {
            if two.bus.submit(south(&stand, user, &format!("N{number}"))).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    one.stop().await;
    two.stop().await;
    judge_again(&stand, user).await;
}

#[tokio::test]
async fn on_a_stream_that_can_not_be_trusted_nothing_is_decided() {
    let mut stand = two_partitions();
    stand.options.answer_deadline = Duration::from_secs(5);
    let room = Room::default();
    let one = Node::start(&stand, &room, "one");
    let (ports, seen) = lagging(&stand, 0);
    let two = Node::on(ports, &stand, &room, "two");
    one.assign([0]);
    two.assign([1]);
    let (_, user) = people(&stand, &one).await;
    seen.send_replace(stand.end(0).await);
    within(async {
        while two.bus.submit(south(&stand, user, "M1")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let foreign = Record { key: "_tenant".into(), headers: Vec::new(), value: "{}".into() };
    stand.log.append_foreign(0, foreign).unwrap();
    seen.send_replace(stand.end(0).await);
    within(async {
        for number in 2.. {
            match two.bus.submit(south(&stand, user, &format!("M{number}"))).await {
                Err(SubmitError::Unavailable) => return,
                Ok(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                Err(other) => panic!("another error: {other}"),
            }
        }
    })
    .await;
    one.stop().await;
    two.stop().await;
}

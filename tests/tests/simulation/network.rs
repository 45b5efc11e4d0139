//! What lies between nodes: who is assigned what, who is announced where, and how commands get there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lotline_commands::bus::{Forward, ForwardError, Forwarded, Receipt};
use lotline_domain::id::CommandId;
use lotline_domain::ownership::{Directory, Membership, Owner};
use lotline_domain::port::{BoxFuture, LogError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::mutations::Mutation;
use crate::ports::Host;

/// The announcements of each partition, oldest first.
#[derive(Default)]
pub(crate) struct Board(Mutex<BTreeMap<u32, Vec<Owner>>>);

impl Board {
    fn announce(&self, partition: u32, node: &str) -> u64 {
        let mut board = self.0.lock().expect("nothing panics under this lock");
        let announced = board.entry(partition).or_default();
        let epoch = announced.len() as u64 + 1;
        announced.push(Owner { node: node.to_owned(), address: node.to_owned(), epoch });
        epoch
    }

    pub(crate) fn owner(&self, partition: u32, back: usize) -> Option<Owner> {
        let board = self.0.lock().expect("nothing panics under this lock");
        let announced = board.get(&partition)?;
        announced.get(announced.len().checked_sub(1 + back)?).cloned()
    }
}

/// The directory as one process reaches it.
#[derive(Clone)]
pub(crate) struct SimDirectory(pub(crate) Arc<Host>);

impl Directory for SimDirectory {
    fn announce(&self, partition: u32) -> BoxFuture<'_, Result<u64, LogError>> {
        Box::pin(async move {
            self.0.call("announce").await?;
            let host = Arc::clone(&self.0);
            let (reply, answer) = oneshot::channel();
            // On its way it can't be called back: it may be seen long after its sender has given up.
            tokio::spawn(async move {
                let world = &host.world;
                if world.hiccup(0.1) {
                    sleep(world.chance.millis(100, 4_000)).await;
                }
                let epoch = world.board.announce(partition, &host.name);
                world.lag().await;
                let _ = reply.send(epoch);
            });
            let epoch = answer.await.map_err(|lost| LogError::broken("announce", lost))?;
            self.0.gate.pass().await;
            Ok(epoch)
        })
    }

    fn owner(&self, partition: u32) -> BoxFuture<'_, Result<Option<Owner>, LogError>> {
        Box::pin(async move {
            self.0.call("look up").await?;
            let world = &self.0.world;
            let back = usize::from(world.hiccup(0.1));
            Ok(world.board.owner(partition, back))
        })
    }

    fn may_write(&self) -> BoxFuture<'_, Result<bool, LogError>> {
        Box::pin(async move {
            self.0.call("ask where the ledger is").await?;
            Ok(true)
        })
    }

    fn node(&self) -> &str {
        &self.0.name
    }
}

/// Assignments as they arrive at a node.
pub(crate) struct Assignments(pub(crate) mpsc::UnboundedReceiver<BTreeSet<u32>>);

impl Membership for Assignments {
    fn changed(&mut self) -> BoxFuture<'_, BTreeSet<u32>> {
        Box::pin(async move {
            match self.0.recv().await {
                Some(assigned) => assigned,
                None => std::future::pending().await,
            }
        })
    }

    fn leave(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// The way to other nodes.
pub(crate) struct SimForward(pub(crate) SimDirectory);

/// How often a silent owner is compared with the directory, as the real client does it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl SimForward {
    /// Over the wire, where the copy may be lost, late or doubled.
    fn send(&self, to: &str, command: &Forwarded) -> oneshot::Receiver<Result<Receipt, ForwardError>> {
        let (reply, answer) = oneshot::channel();
        let world = &self.0.0.world;
        world.tally(|tally| tally.forwarded += 1);
        let copies = if world.hiccup(0.1) { 2 } else { 1 };
        world.tally(|tally| tally.doubled += copies - 1);
        let mut reply = Some(reply);
        for _ in 0..copies {
            tokio::spawn(deliver(Arc::clone(&self.0.0), to.to_owned(), through_json(command), reply.take()));
        }
        answer
    }

    async fn replaced(&self, partition: u32, owner: &Owner) {
        loop {
            sleep(LOOK_AGAIN).await;
            if let Ok(Some(now)) = self.0.owner(partition).await
                && now != *owner
            {
                return;
            }
        }
    }
}

async fn deliver(
    from: Arc<Host>,
    to: String,
    mut command: Forwarded,
    reply: Option<oneshot::Sender<Result<Receipt, ForwardError>>>,
) {
    let world = Arc::clone(&from.world);
    world.lag().await;
    if world.hiccup(0.1) {
        // Lost without a trace: whoever waits finds out by waiting.
        return sleep(command.within * 2).await;
    }
    if world.mutation == Some(Mutation::ForwardsUnderANewId) {
        let id = command.request.command_id.0.as_u128() & !0xffff;
        command.request.command_id = CommandId(Uuid::from_u128(id | u128::from(world.chance.between(0, 0xffff))));
    }
    let Some(node) = world.node_named(&to) else { return };
    node.host.gate.pass().await;
    let answered = tokio::select! {
        biased;
        () = node.dead.cancelled() => return,
        answered = node.bus.submit_here(command) => answered,
    };
    node.host.gate.pass().await;
    world.lag().await;
    if !world.hiccup(0.1)
        && let Some(reply) = reply
    {
        drop(reply.send(answered));
    }
}

/// As it is read on the other side.
fn through_json(command: &Forwarded) -> Forwarded {
    let text = serde_json::to_vec(command).expect("a command has a text");
    serde_json::from_slice(&text).expect("a command is read back")
}

impl Forward for SimForward {
    fn forward<'a>(&'a self, partition: u32, command: &'a Forwarded) -> BoxFuture<'a, Result<Receipt, ForwardError>> {
        Box::pin(async move {
            let not_there = Err(ForwardError::NotOwner { tried_at: command.tried_at });
            let Ok(Some(owner)) = self.0.owner(partition).await else { return not_there };
            if owner.node == self.0.0.name {
                return not_there;
            }
            let answer = timeout(command.within + LOOK_AGAIN, self.send(&owner.node, command));
            tokio::select! {
                biased;
                answer = answer => match answer {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) | Err(_) => not_there,
                },
                () = self.replaced(partition, &owner) => not_there,
            }
        })
    }
}

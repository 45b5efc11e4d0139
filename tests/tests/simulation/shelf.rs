//! Snapshots as a process finds them: the newest, an older one, or one that was spoiled where it lay.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lotline_commands::answers::Answers;
use lotline_commands::fold::PartitionFold;
use lotline_domain::chain::Chain;
use lotline_domain::lot::Lots;
use lotline_domain::port::{BoxFuture, LogError, Snapshot, SnapshotStore};
use lotline_domain::timestamp::Timestamp;

use crate::mutations::Mutation;
use crate::ports::Host;

const KEPT: usize = 4;

/// What all processes share.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<BTreeMap<u32, Vec<Snapshot>>>);

impl Shelf {
    fn put(&self, partition: u32, snapshot: Snapshot) {
        let mut all = self.0.lock().expect("nothing panics under this lock");
        let kept = all.entry(partition).or_default();
        kept.push(snapshot);
        if kept.len() > KEPT {
            kept.remove(0);
        }
    }

    fn kept(&self, partition: u32) -> Vec<Snapshot> {
        self.0.lock().expect("nothing panics under this lock").get(&partition).cloned().unwrap_or_default()
    }
}

/// The shelf as one process reaches it.
pub(crate) struct SimSnapshots(pub(crate) Arc<Host>);

impl SnapshotStore for SimSnapshots {
    fn save<'a>(&'a self, _: &'a str, partition: u32, snapshot: Snapshot) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            self.0.call("save a snapshot").await?;
            let world = &self.0.world;
            world.shelf.put(partition, planted(snapshot, world.mutation));
            world.tally(|tally| tally.snapshots += 1);
            Ok(())
        })
    }

    fn load<'a>(
        &'a self,
        _: &'a str,
        partition: u32,
        format: u32,
    ) -> BoxFuture<'a, Result<Option<Snapshot>, LogError>> {
        Box::pin(async move {
            self.0.call("load a snapshot").await?;
            let world = &self.0.world;
            let mut kept = world.shelf.kept(partition);
            kept.retain(|snapshot| snapshot.format == format);
            if world.hiccup(0.2) {
                kept.truncate(1);
            }
            let Some(mut found) = kept.pop() else { return Ok(None) };
            if world.hiccup(0.1) {
                spoil(&mut found, world.chance.below(64));
            }
            Ok(Some(found))
        })
    }
}

fn spoil(snapshot: &mut Snapshot, place: usize) {
    if let Some(chunk) = snapshot.chunks.first_mut()
        && !chunk.is_empty()
    {
        let place = place % chunk.len();
        chunk[place] ^= 1;
    }
}

/// What a process with a bug would have put there, with a digest that fits.
fn planted(snapshot: Snapshot, mutation: Option<Mutation>) -> Snapshot {
    let change: fn(&mut PartitionFold) = match mutation {
        Some(Mutation::FilesSnapshotsTooLate) => |fold| fold.next += 1,
        Some(Mutation::ForgetsTheStreamsTime) => |fold| {
            let mut heads = fold.chain.heads().clone();
            for head in heads.values_mut() {
                head.time = Timestamp::from_micros(0);
            }
            fold.chain = Chain::resume(heads);
        },
        Some(Mutation::ForgetsAnswers) => |fold| {
            for stream in fold.streams.values_mut() {
                stream.answers = Answers::default();
            }
        },
        Some(Mutation::ForgetsLots) => |fold| {
            for stream in fold.streams.values_mut() {
                stream.state.lots = Lots::default();
            }
        },
        _ => return snapshot,
    };
    let mut fold = PartitionFold::from_snapshot(&snapshot).expect("the snapshot was just made");
    change(&mut fold);
    fold.to_snapshot().expect("the fold can be written")
}

//! Planted bugs: the simulation must find each of them, or it proves nothing.
//!
//! A bug is planted at a port, where it shows as the bug of a writer or a node would show from outside; the product has no switch for any of
//! them. To add one: a variant here, its line in [`Mutation::ALL`], and what it does in the port.

use crate::seeds;

/// What a writer or a node might do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// A command is answered, and only then appended.
    AnswersBeforeCommit,
    /// Whoever became the writer later does not stop the earlier one.
    WritesWithoutFence,
    /// The last record is not replayed before serving.
    ServesBeforeTheEnd,
    /// The end is asked for first, and the earlier writer fenced after.
    LooksThenFences,
    /// A record is passed over at recovery.
    SkipsARecord,
    /// An append of unknown outcome is made again without looking at the log.
    AppendsAgainBlindly,
    /// The last event of a batch is not in the transaction of the others.
    TearsBatches,
    /// A command that is sent on gets a key of its own.
    ForwardsUnderANewId,
    /// A snapshot is filed under a later place than its own.
    FilesSnapshotsTooLate,
    /// After a recovery the wall clock is believed, whatever the stream's time is.
    ForgetsTheStreamsTime,
    /// After a recovery nobody knows what was answered.
    ForgetsAnswers,
    /// After a recovery nobody knows the lots.
    ForgetsLots,
}

impl Mutation {
    pub(crate) const ALL: [Self; 12] = [
        Self::AnswersBeforeCommit,
        Self::WritesWithoutFence,
        Self::ServesBeforeTheEnd,
        Self::LooksThenFences,
        Self::SkipsARecord,
        Self::AppendsAgainBlindly,
        Self::TearsBatches,
        Self::ForwardsUnderANewId,
        Self::FilesSnapshotsTooLate,
        Self::ForgetsTheStreamsTime,
        Self::ForgetsAnswers,
        Self::ForgetsLots,
    ];
}

/// Seeds within which each planted bug must be found.
const WITHIN: u64 = 400;

#[test]
fn every_planted_bug_of_the_writer_is_found() {
    for mutation in Mutation::ALL {
        let found = (0..WITHIN).find_map(|seed| seeds::run(seed, Some(mutation)).err().map(|wrong| (seed, wrong)));
        let (seed, wrong) = found.unwrap_or_else(|| panic!("{mutation:?} is not found within {WITHIN} seeds"));
        println!("{mutation:?} is found at seed {seed}: {}", wrong.chars().take(200).collect::<String>());
    }
}

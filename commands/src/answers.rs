//! What was answered to which command, so that a retry gets the same answer and decides nothing twice.
//!
//! The scope of a command id is (tenant, stream, actor). Every decision writes at least one event, so the answers are rebuilt by replay.
//!
//! A command id carries its time and is refused when older than [`RETENTION_MICROS`] by the writer's clock. Answers are forgotten when they
//! are that old by the stream's time *and* more than [`KEPT`] are held; what has been forgotten moves the [`Answers::horizon`], and no id at or
//! before the horizon is taken for a new command. The second condition is for a clock that jumps ahead and comes back: the stream's
//! time stays ahead for good, but the horizon only ever moves to the time of an id that was really forgotten, so genuine ids go on being
//! accepted and no retry is decided twice.

use std::collections::{HashMap, VecDeque};

use lotline_domain::alert::refusal::AlertRefusal;
use lotline_domain::envelope::{Attributes, CommandHash};
use lotline_domain::event::Event;
use lotline_domain::flow::refusal::FlowRefusal;
use lotline_domain::id::{ActorId, CommandId};
use lotline_domain::refusal::{CommandRefused, Refusal};
use lotline_domain::run::refusal::RunRefusal;
use lotline_domain::scenario::refusal::ScenarioRefusal;
use lotline_domain::state::Subject;
use lotline_domain::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

/// How old a command id may be: 7 days.
pub const RETENTION_MICROS: i64 = 7 * 24 * 3_600 * 1_000_000;
/// How far ahead of the decision's clock a command id may be: 5 minutes.
pub const AHEAD_MICROS: i64 = 5 * 60 * 1_000_000;

/// Answers of a stream that are kept however old they are.
pub const KEPT: usize = 10_000;
/// Answers that come in between two looks for what can be forgotten.
const PRUNE_EVERY: usize = 5_000;
/// Refusals that are not answers to a retry, kept for commands whose append had an unknown outcome: a batch has fewer.
const PASSING: usize = 4_096;

/// The outcome of a decided command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It changed something.
    Accepted {
        /// What.
        subject: Subject,
        /// Sequence of the last of its events that is about that.
        version: u64,
    },
    /// It broke a rule.
    Refused(Refused),
}

/// A refusal as it is remembered. Not the event itself: that leaves out what is absent, which a snapshot's encoding can't read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Stable code, see [`Refusal::code`].
    pub code: String,
    /// The sentence for the actor.
    pub message: String,
    /// Input field at fault.
    pub field: Option<String>,
}

impl From<&CommandRefused> for Refused {
    fn from(event: &CommandRefused) -> Self {
        Self { code: event.code.clone(), message: event.message.clone(), field: event.field.clone() }
    }
}

/// A remembered answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Tells a retry from another command under the same id.
    pub hash: CommandHash,
    /// What was answered.
    pub outcome: Outcome,
}

/// A refusal that a later try of the same command does not get, see [`is_remembered`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Passing {
    sequence: u64,
    actor: ActorId,
    command: CommandId,
    answer: Answer,
}

/// The answers of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answers {
    by_actor: HashMap<ActorId, HashMap<CommandId, Answer>>,
    held: usize,
    prune_at: usize,
    horizon: Option<Timestamp>,
    passing: VecDeque<Passing>,
}

impl Answers {
    /// The answer that a command got, if it was decided before.
    pub fn get(&self, actor: &ActorId, command: CommandId) -> Option<&Answer> {
        self.by_actor.get(actor)?.get(&command)
    }

    /// The refusal of exactly that try of a command that was made when the stream ended at `after`, if it reached the log.
    pub fn passing(&self, actor: &ActorId, command: CommandId, hash: CommandHash, after: u64) -> Option<&Outcome> {
        let mut later = self.passing.iter().rev().take_while(|passing| passing.sequence > after);
        let is_it = |p: &&Passing| p.command == command && p.actor == *actor && p.answer.hash == hash;
        later.find(is_it).map(|passing| &passing.answer.outcome)
    }

    /// Time of the newest id whose answer has been forgotten. That id and those before it can't be told from new ones.
    pub fn horizon(&self) -> Option<Timestamp> {
        self.horizon
    }

    /// Remembers the answer that an event stands for. The last event of a decision that has a subject counts.
    pub fn record(&mut self, attributes: &Attributes, event: &Event) {
        let outcome = match (Subject::of(event), event) {
            (Some(subject), _) => Outcome::Accepted { subject, version: attributes.sequence },
            (None, Event::CommandRefused(refused)) => Outcome::Refused(refused.into()),
            (None, _) => return,
        };
        let (actor, command) = (attributes.actor.clone(), attributes.causation_id);
        let answer = Answer { hash: attributes.command_hash, outcome };
        if let Outcome::Refused(refused) = &answer.outcome
            && !is_remembered(&refused.code)
        {
            if self.passing.len() == PASSING {
                self.passing.pop_front();
            }
            self.passing.push_back(Passing { sequence: attributes.sequence, actor, command, answer });
            return;
        }
        if self.by_actor.entry(actor).or_default().insert(command, answer).is_none() {
            self.held += 1;
            if self.held >= self.prune_at.max(KEPT + PRUNE_EVERY) {
                self.prune(attributes.time);
            }
        }
    }

    /// Forgets the oldest of what is older than the retention, down to what is kept.
    fn prune(&mut self, now: Timestamp) {
        let oldest = now.plus_micros(-RETENTION_MICROS);
        let times = self.by_actor.values().flat_map(HashMap::keys).filter_map(|command| command.time());
        let mut old: Vec<Timestamp> = times.filter(|time| *time < oldest).collect();
        let surplus = old.len().min(self.held - KEPT);
        if surplus > 0 {
            let (_, horizon, _) = old.select_nth_unstable(surplus - 1);
            let horizon = *horizon;
            self.horizon = self.horizon.max(Some(horizon));
            for answers in self.by_actor.values_mut() {
                answers.retain(|command, _| command.time().is_some_and(|time| time > horizon));
            }
            self.by_actor.retain(|_, answers| !answers.is_empty());
            self.held = self.by_actor.values().map(HashMap::len).sum();
        }
        self.prune_at = self.held + PRUNE_EVERY;
    }

    /// Whether a command id is a UUIDv7 of an acceptable age: not older than the retention by the clock, not before what has been forgotten,
    /// not ahead of the stream.
    ///
    /// # Errors
    /// The refusal that says what is wrong.
    pub fn check_age(&self, command: CommandId, clock: Timestamp, stream: Timestamp) -> Result<(), Refusal> {
        let given = command.time().ok_or(Refusal::InvalidCommandId)?;
        let oldest = clock.plus_micros(-RETENTION_MICROS);
        if given < oldest {
            return Err(Refusal::CommandTooOld { given, oldest });
        }
        if let Some(horizon) = self.horizon.filter(|horizon| given <= *horizon) {
            return Err(Refusal::CommandTooOld { given, oldest: horizon });
        }
        let now = clock.max(stream);
        if given > now.plus_micros(AHEAD_MICROS) {
            return Err(Refusal::CommandFromFuture { given, now });
        }
        Ok(())
    }
}

/// Whether a later try gets the same refusal. A conflict may resolve itself, a clock may be put right, what was not due will be, a site's writer may
/// learn of a scenario or of master data a moment later than its client, and a reused id must not displace the answer that it was first used for.
fn is_remembered(code: &str) -> bool {
    const PASSING_CODES: [&str; 9] = [
        Refusal::ID_REUSED,
        Refusal::VERSION_CONFLICT,
        Refusal::ID_TOO_OLD,
        Refusal::ID_FROM_FUTURE,
        Refusal::INVALID_ID,
        AlertRefusal::NOT_DUE,
        ScenarioRefusal::UNKNOWN,
        RunRefusal::NOT_PUBLISHED,
        RunRefusal::VERSION_SUPERSEDED,
    ];
    !PASSING_CODES.contains(&code) && !FlowRefusal::OF_MASTER_DATA.contains(&code)
}

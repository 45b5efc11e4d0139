//! What was answered to which command, so that a retry gets the same answer and decides nothing twice.
//!
//! The scope of a command id is (tenant, stream, actor). Every decision writes at least one event, so the answers are rebuilt by replay.
//! A command id carries its time and is refused when older than [`RETENTION_MICROS`]; answers older than that are forgotten, which
//! bounds the memory.

use std::collections::HashMap;

use lotline_domain::envelope::{Attributes, CommandHash};
use lotline_domain::event::Event;
use lotline_domain::id::{ActorId, CommandId};
use lotline_domain::refusal::{CommandRefused, Refusal};
use lotline_domain::state::Subject;
use lotline_domain::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

/// How old a command id may be: 7 days.
pub const RETENTION_MICROS: i64 = 7 * 24 * 3_600 * 1_000_000;
/// How far ahead of the decision's clock a command id may be: 5 minutes.
pub const AHEAD_MICROS: i64 = 5 * 60 * 1_000_000;

const PRUNE_EVERY_MICROS: i64 = 3_600 * 1_000_000;

/// The outcome of a decided command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It changed something.
    Accepted {
        /// What.
        subject: Subject,
        /// Sequence of the decision's last event.
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

/// All answers of a stream within the retention.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answers {
    by_actor: HashMap<ActorId, HashMap<CommandId, Answer>>,
    pruned_at: Timestamp,
}

impl Answers {
    /// The answer that a command got, if it was decided before.
    pub fn get(&self, actor: &ActorId, command: CommandId) -> Option<&Answer> {
        self.by_actor.get(actor)?.get(&command)
    }

    /// Remembers the answer that an event stands for. The last event of a decision counts.
    pub fn record(&mut self, attributes: &Attributes, event: &Event) {
        let outcome = match (Subject::of(event), event) {
            (Some(subject), _) => Outcome::Accepted { subject, version: attributes.sequence },
            (None, Event::CommandRefused(refused)) if is_remembered(&refused.code) => Outcome::Refused(refused.into()),
            (None, _) => return,
        };
        if check_age(attributes.causation_id, attributes.time).is_err() {
            return;
        }
        let answers = self.by_actor.entry(attributes.actor.clone()).or_default();
        answers.insert(attributes.causation_id, Answer { hash: attributes.command_hash, outcome });
        self.prune(attributes.time);
    }

    fn prune(&mut self, now: Timestamp) {
        if now.micros() - self.pruned_at.micros() < PRUNE_EVERY_MICROS {
            return;
        }
        self.pruned_at = now;
        for answers in self.by_actor.values_mut() {
            answers.retain(|command, _| check_age(*command, now).is_ok());
        }
        self.by_actor.retain(|_, answers| !answers.is_empty());
    }
}

/// A conflict may resolve itself, and a reused id must not displace the answer that it was first used for.
fn is_remembered(code: &str) -> bool {
    code != Refusal::CommandIdReused.code() && code != (Refusal::VersionConflict { expected: 0, current: 0 }).code()
}

/// Whether a command id is a UUIDv7 of an acceptable age.
///
/// # Errors
/// The refusal that says what is wrong.
pub fn check_age(command: CommandId, now: Timestamp) -> Result<(), Refusal> {
    let given = command.time().ok_or(Refusal::InvalidCommandId)?;
    if given < now.plus_micros(-RETENTION_MICROS) {
        return Err(Refusal::CommandTooOld { given, now });
    }
    if given > now.plus_micros(AHEAD_MICROS) {
        return Err(Refusal::CommandFromFuture { given, now });
    }
    Ok(())
}

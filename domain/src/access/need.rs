//! What each command needs, and whether an actor has it.
//!
//! The list itself is [`crate::command::Command::need`], next to the commands. A permission is needed at the site in whose stream the command is decided; in
//! the tenant's stream, everywhere.

use super::actor::Actor;
use super::grant::PipelineRight;
use super::refusal::{AccessRefusal, Denial, Missing};
use super::role::Permission;
use super::state::AccessState;
use crate::command::CommandRequest;
use crate::id::{PipelineId, SiteId, StreamKey, UserId};
use crate::refusal::Refusal;
use crate::timestamp::Timestamp;

/// What an actor must have to give a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A permission where the command is decided.
    Here(Permission),
    /// A right on a pipeline.
    Pipeline(PipelineRight, PipelineId),
    /// To be whoever has the machine and its database.
    System,
    /// To be that, or else a permission: here, or at a site where one is named.
    SystemOr(Permission, Option<SiteId>),
    /// To be the user in whose name it is recorded, or Lotline where that records by itself. In development too.
    Record {
        /// Who may.
        user: Option<UserId>,
        /// Whether Lotline may.
        lotline: bool,
    },
    /// Nothing: the actor records something of themselves.
    Anybody,
}

/// Whether writers ask what actors may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Authorisation {
    /// Every command is refused unless its actor has what it needs.
    #[default]
    Enforced,
    /// Everybody may do everything but what only the machine's command line may. For development, by an explicit flag, on loopback.
    Development,
}

impl AccessState {
    /// Whether the actor of a command has what it needs.
    ///
    /// # Errors
    /// [`AccessRefusal::Forbidden`], which names what is missing.
    pub fn authorise(
        &self,
        request: &CommandRequest,
        authorisation: Authorisation,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let (actor, command) = (Actor::of(&request.actor), &request.command);
        let here = match &request.stream {
            StreamKey::Tenant => None,
            StreamKey::Site(site) => Some(site.clone()),
        };
        let (missing, verdict) = match (command.need(), authorisation) {
            (Need::System, _) => (Missing::System, system(actor)),
            (Need::Record { user, lotline }, _) => {
                let fine = user.is_some_and(|user| actor == Actor::User(user)) || (lotline && actor == Actor::Lotline);
                (Missing::Record, if fine { Ok(()) } else { Err(Denial::NotGranted) })
            }
            (Need::Anybody, _) | (_, Authorisation::Development) => return Ok(()),
            (Need::SystemOr(..), Authorisation::Enforced) if actor == Actor::System => return Ok(()),
            (Need::Here(permission), Authorisation::Enforced) => {
                let verdict = self.may(actor, permission, here.as_ref(), now);
                (Missing::Permission(permission, here), verdict)
            }
            (Need::SystemOr(permission, site), Authorisation::Enforced) => {
                let place = site.or(here);
                let verdict = self.may(actor, permission, place.as_ref(), now);
                (Missing::Permission(permission, place), verdict)
            }
            (Need::Pipeline(right, pipeline), Authorisation::Enforced) => {
                let verdict = self.may_on_pipeline(actor, right, pipeline, now);
                (Missing::Pipeline(right, pipeline), verdict)
            }
        };
        verdict.map_err(|denial| AccessRefusal::Forbidden { command: command.name(), missing, denial }.into())
    }
}

fn system(actor: Actor) -> Result<(), Denial> {
    if actor == Actor::System { Ok(()) } else { Err(Denial::NotGranted) }
}

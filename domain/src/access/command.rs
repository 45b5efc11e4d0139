//! What administrators, and whoever has the machine, can ask for.

use serde::{Deserialize, Serialize};

use super::grant::RightSet;
use super::role::RoleSet;
use crate::id::{ApiKeyId, PipelineId, UserId};
use crate::personal::Personal;
use crate::timestamp::Timestamp;

/// A person's name and e-mail, encrypted under that person's key (the one of `UserId::actor`) in the places [`name_context`] and
/// [`email_context`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Encrypted.
    pub name: Personal,
    /// Encrypted.
    pub email: Personal,
}

/// Who is to be ADMIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Appointee {
    /// Somebody who is not known yet.
    New(Profile),
    /// A user, active or not.
    User(UserId),
}

/// Give a program a key. Its secret is made and kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueApiKey {
    /// What it is for.
    pub label: String,
    /// 4 to 32 of `A-Z a-z 0-9 _ -`, unique.
    pub prefix: String,
    /// What it may act as; at least one.
    pub roles: RoleSet,
    /// Ids of sites; everywhere when empty.
    pub sites: Vec<String>,
    /// In the future.
    pub expires_at: Timestamp,
}

/// Something asked about access. All of it is decided in the tenant's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessCommand {
    /// Name a plant.
    RegisterSite {
        /// Its id.
        site: String,
        /// For people to read.
        name: String,
        /// Of the IANA time zone database.
        time_zone: String,
    },
    /// Make a person known. The new user's id is the one that the command derives.
    RegisterUser(Profile),
    /// Change a person's name and e-mail.
    ChangeUserProfile {
        /// The person.
        user_id: UserId,
        /// From now on.
        profile: Profile,
    },
    /// Have a person not act any more.
    DeactivateUser {
        /// The person.
        user_id: UserId,
    },
    /// Let a person act again.
    ReactivateUser {
        /// The person.
        user_id: UserId,
    },
    /// End a person's sessions, and give them a link by which they choose another password. Both happen beside the ledger.
    IssuePasswordReset {
        /// The person.
        user_id: UserId,
    },
    /// Give a person exactly these roles.
    ChangeMembership {
        /// The person.
        user_id: UserId,
        /// Where; everywhere when absent.
        site: Option<String>,
        /// From now on.
        roles: RoleSet,
    },
    /// Make a person ADMIN everywhere. For whoever has the machine and its database.
    AppointAdmin {
        /// Who.
        appointee: Appointee,
        /// Also when there is an active ADMIN already; needs a reason.
        recovery: bool,
    },
    /// Give a program a key.
    IssueApiKey(IssueApiKey),
    /// Withdraw a key.
    RevokeApiKey {
        /// The key.
        key_id: ApiKeyId,
    },
    /// Give a person exactly these rights on a pipeline.
    SetPipelineAccess {
        /// The pipeline.
        pipeline_id: PipelineId,
        /// The person.
        user_id: UserId,
        /// From now on.
        rights: RightSet,
    },
}

impl AccessCommand {
    /// Name in snake case, as recorded with a refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RegisterSite { .. } => "register_site",
            Self::RegisterUser(_) => "register_user",
            Self::ChangeUserProfile { .. } => "change_user_profile",
            Self::DeactivateUser { .. } => "deactivate_user",
            Self::ReactivateUser { .. } => "reactivate_user",
            Self::IssuePasswordReset { .. } => "issue_password_reset",
            Self::ChangeMembership { .. } => "change_membership",
            Self::AppointAdmin { .. } => "appoint_admin",
            Self::IssueApiKey(_) => "issue_api_key",
            Self::RevokeApiKey { .. } => "revoke_api_key",
            Self::SetPipelineAccess { .. } => "set_pipeline_access",
        }
    }

    /// Whether the actor must say why.
    pub fn needs_reason(&self) -> bool {
        match self {
            Self::AppointAdmin { recovery, .. } => *recovery,
            Self::RegisterSite { .. }
            | Self::RegisterUser(_)
            | Self::ChangeUserProfile { .. }
            | Self::DeactivateUser { .. }
            | Self::ReactivateUser { .. }
            | Self::IssuePasswordReset { .. }
            | Self::ChangeMembership { .. }
            | Self::IssueApiKey(_)
            | Self::RevokeApiKey { .. }
            | Self::SetPipelineAccess { .. } => false,
        }
    }
}

/// The place of a person's name, for [`crate::personal::PersonalKey::seal`].
pub fn name_context(user: UserId) -> String {
    format!("user/{user}/name")
}

/// The place of a person's e-mail.
pub fn email_context(user: UserId) -> String {
    format!("user/{user}/email")
}

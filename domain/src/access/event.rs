//! What happens to access, each event with all that holds from then on.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grant::RightSet;
use super::role::RoleSet;
use crate::id::{ApiKeyId, PipelineId, SiteId, UserId};
use crate::personal::Personal;
use crate::timestamp::Timestamp;

/// Something that happened to who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessEvent {
    /// A plant was named.
    SiteRegistered(SiteRegistered),
    /// A person was made known.
    UserRegistered(UserRegistered),
    /// A person's name or e-mail changed.
    UserProfileChanged(UserProfileChanged),
    /// A person may not act any more.
    UserDeactivated(UserDeactivated),
    /// A person may act again.
    UserReactivated(UserReactivated),
    /// A person is to choose another password.
    PasswordResetIssued(PasswordResetIssued),
    /// A person's roles changed.
    MembershipChanged(MembershipChanged),
    /// Whoever has the machine made a person ADMIN.
    AdminAppointed(AdminAppointed),
    /// A program was given a key.
    ApiKeyIssued(ApiKeyIssued),
    /// A key was withdrawn.
    ApiKeyRevoked(ApiKeyRevoked),
    /// A person's rights on a pipeline changed.
    PipelineAccessSet(PipelineAccessSet),
}

/// `lotline.site.registered.v1`: a plant got its name and time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteRegistered {
    /// The key of its stream.
    pub site: SiteId,
    /// For people to read.
    pub name: String,
    /// Of the IANA time zone database, such as `Europe/Copenhagen`.
    pub time_zone: String,
}

/// `lotline.user.registered.v1`: a person was made known, without any role yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserRegistered {
    /// The person.
    pub user_id: UserId,
    /// Encrypted under the person's key.
    pub name: Personal,
    /// Encrypted under the person's key.
    pub email: Personal,
}

/// `lotline.user.profile_changed.v1`: a person's name and e-mail from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserProfileChanged {
    /// The person.
    pub user_id: UserId,
    /// Encrypted under the person's key.
    pub name: Personal,
    /// Encrypted under the person's key.
    pub email: Personal,
}

/// `lotline.user.deactivated.v1`: a person may not act any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserDeactivated {
    /// The person.
    pub user_id: UserId,
}

/// `lotline.user.reactivated.v1`: a person may act again, with the roles that are theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserReactivated {
    /// The person.
    pub user_id: UserId,
}

/// `lotline.user.password_reset_issued.v1`: a person's sessions were to end, and a link was made by which they choose another password. The
/// link is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordResetIssued {
    /// The person.
    pub user_id: UserId,
}

/// `lotline.membership.changed.v1`: the roles that a person has from now on, everywhere or at one site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MembershipChanged {
    /// The person.
    pub user_id: UserId,
    /// Where; everywhere when absent. Roles at a site and roles everywhere add up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteId>,
    /// All roles there; none when empty.
    pub roles: RoleSet,
}

/// `lotline.admin.appointed.v1`: whoever has the machine and its database made a person ADMIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdminAppointed {
    /// The person.
    pub user_id: UserId,
    /// All roles everywhere from now on.
    pub roles: RoleSet,
    /// Whether there had been an active ADMIN already: nobody had to ask them.
    pub recovery: bool,
}

/// `lotline.api_key.issued.v1`: a program was given a key. Neither the secret nor its hash is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKeyIssued {
    /// The key.
    pub key_id: ApiKeyId,
    /// What it is for.
    pub label: String,
    /// The public beginning of the key, by which it is recognised; unique.
    pub prefix: String,
    /// What it may act as.
    pub roles: RoleSet,
    /// Where; everywhere when empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Vec<SiteId>")]
    pub sites: BTreeSet<SiteId>,
    /// From then on it may do nothing.
    pub expires_at: Timestamp,
}

/// `lotline.api_key.revoked.v1`: a key was withdrawn for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKeyRevoked {
    /// The key.
    pub key_id: ApiKeyId,
}

/// `lotline.pipeline.access_set.v1`: the rights that a person has on a pipeline from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineAccessSet {
    /// The pipeline.
    pub pipeline_id: PipelineId,
    /// The person.
    pub user_id: UserId,
    /// All rights on it; none when empty.
    pub rights: RightSet,
}

/// The thing that an event about access is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessSubject {
    /// A site.
    Site(SiteId),
    /// A user.
    User(UserId),
    /// An API key.
    ApiKey(ApiKeyId),
    /// A user's rights on a pipeline.
    Pipeline(PipelineId, UserId),
}

impl AccessEvent {
    /// What the event is about.
    pub fn subject(&self) -> AccessSubject {
        match self {
            Self::SiteRegistered(data) => AccessSubject::Site(data.site.clone()),
            Self::UserRegistered(UserRegistered { user_id, .. })
            | Self::UserProfileChanged(UserProfileChanged { user_id, .. })
            | Self::UserDeactivated(UserDeactivated { user_id })
            | Self::UserReactivated(UserReactivated { user_id })
            | Self::PasswordResetIssued(PasswordResetIssued { user_id })
            | Self::MembershipChanged(MembershipChanged { user_id, .. })
            | Self::AdminAppointed(AdminAppointed { user_id, .. }) => AccessSubject::User(*user_id),
            Self::ApiKeyIssued(ApiKeyIssued { key_id, .. }) | Self::ApiKeyRevoked(ApiKeyRevoked { key_id }) => {
                AccessSubject::ApiKey(*key_id)
            }
            Self::PipelineAccessSet(data) => AccessSubject::Pipeline(data.pipeline_id, data.user_id),
        }
    }
}

/// As `ce_subject` has it.
impl fmt::Display for AccessSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(site) => write!(f, "site/{site}"),
            Self::User(user) => write!(f, "user/{user}"),
            Self::ApiKey(key) => write!(f, "api_key/{key}"),
            Self::Pipeline(pipeline, user) => write!(f, "pipeline_access/{pipeline}/{user}"),
        }
    }
}

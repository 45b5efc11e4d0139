//! Why something about access was refused.

use std::fmt;

use thiserror::Error;

use super::grant::PipelineRight;
use super::role::Permission;
use crate::id::{ApiKeyId, PipelineId, SiteId, UserId};
use crate::timestamp::Timestamp;

/// Why an actor may not do something.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum Denial {
    /// No such user or key.
    #[error("the actor is no known user or key")]
    UnknownActor,
    /// The user is deactivated.
    #[error("the user is deactivated")]
    Deactivated,
    /// The key is revoked.
    #[error("the key is revoked")]
    Revoked,
    /// The key has expired.
    #[error("the key expired at {0}")]
    Expired(Timestamp),
    /// The key is for other sites.
    #[error("the key is not for this place")]
    OtherSite,
    /// Neither a role nor a grant allows it.
    #[error("no role of the actor grants it")]
    NotGranted,
}

/// What was missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A permission, at a site or everywhere.
    Permission(Permission, Option<SiteId>),
    /// A right on a pipeline, or the permission for all of them.
    Pipeline(PipelineRight, PipelineId),
    /// The command is for whoever has the machine and its database.
    System,
    /// The server records this by itself, in the name of who did it.
    Record,
}

/// A rule about access was broken.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum AccessRefusal {
    /// The actor may not do this.
    #[error("'{command}' needs {missing}: {denial}")]
    Forbidden {
        /// Name of the command.
        command: &'static str,
        /// What the actor lacks.
        missing: Missing,
        /// Why.
        denial: Denial,
    },
    /// No such user.
    #[error("user {0} does not exist")]
    UnknownUser(UserId),
    /// The user is deactivated already.
    #[error("user {0} is deactivated")]
    UserDeactivated(UserId),
    /// The user is active already.
    #[error("user {0} is active")]
    UserActive(UserId),
    /// No such site.
    #[error("site '{site}' is not registered")]
    UnknownSite {
        /// Input field.
        field: &'static str,
        /// The site.
        site: SiteId,
    },
    /// The site is registered already.
    #[error("site '{0}' is already registered")]
    DuplicateSite(SiteId),
    /// No such time zone.
    #[error("'{0}' is not a time zone of the IANA database, such as Europe/Copenhagen")]
    UnknownTimeZone(String),
    /// Nobody could administer the tenant any more.
    #[error("user {0} is the last active ADMIN of the tenant")]
    LastAdmin(UserId),
    /// There is an active ADMIN, who can appoint others.
    #[error("the tenant has an active ADMIN already; appointing another one from outside is a recovery")]
    AdminExists,
    /// Somebody wants more for himself.
    #[error("nobody but an ADMIN gives roles to himself")]
    OwnRoles,
    /// It is so already.
    #[error("nothing would change")]
    NothingToChange,
    /// A key that may do nothing.
    #[error("a key needs at least one role")]
    KeyWithoutRoles,
    /// A key that has expired when it is issued.
    #[error("the key would expire at {given}, which is not after {now}")]
    ExpiryInPast {
        /// As given.
        given: Timestamp,
        /// Time of the decision.
        now: Timestamp,
    },
    /// A prefix that can't be.
    #[error("a key's prefix has 4 to 32 of A-Z, a-z, 0-9, '_' and '-'")]
    InvalidKeyPrefix,
    /// The prefix is taken.
    #[error("the prefix '{prefix}' is already that of key {by}")]
    DuplicateKeyPrefix {
        /// The prefix.
        prefix: String,
        /// The key that has it.
        by: ApiKeyId,
    },
    /// No such key.
    #[error("key {0} does not exist")]
    UnknownApiKey(ApiKeyId),
    /// The key is revoked already.
    #[error("key {0} is revoked")]
    ApiKeyRevoked(ApiKeyId),
    /// Not what encrypting a short text gives.
    #[error("{field} is not an encrypted text of at most {max} bytes")]
    InvalidPersonal {
        /// Input field.
        field: &'static str,
        /// Longest text that is accepted.
        max: usize,
    },
    /// Not what the server records.
    #[error("this is nothing that the server records")]
    InvalidRecord,
}

impl AccessRefusal {
    /// Code of [`Self::Forbidden`].
    pub const FORBIDDEN: &'static str = "FORBIDDEN";

    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } => Self::FORBIDDEN,
            Self::UnknownUser(_) => "UNKNOWN_USER",
            Self::UserDeactivated(_) => "USER_DEACTIVATED",
            Self::UserActive(_) => "USER_ACTIVE",
            Self::UnknownSite { .. } => "UNKNOWN_SITE",
            Self::DuplicateSite(_) => "DUPLICATE_SITE",
            Self::UnknownTimeZone(_) => "UNKNOWN_TIME_ZONE",
            Self::LastAdmin(_) => "LAST_ADMIN",
            Self::AdminExists => "ADMIN_EXISTS",
            Self::OwnRoles => "OWN_ROLES",
            Self::NothingToChange => "NOTHING_TO_CHANGE",
            Self::KeyWithoutRoles => "KEY_WITHOUT_ROLES",
            Self::ExpiryInPast { .. } => "EXPIRY_IN_PAST",
            Self::InvalidKeyPrefix => "INVALID_KEY_PREFIX",
            Self::DuplicateKeyPrefix { .. } => "DUPLICATE_KEY_PREFIX",
            Self::UnknownApiKey(_) => "UNKNOWN_API_KEY",
            Self::ApiKeyRevoked(_) => "API_KEY_REVOKED",
            Self::InvalidPersonal { .. } => "INVALID_PERSONAL",
            Self::InvalidRecord => "INVALID_RECORD",
        }
    }

    /// The input field at fault, where one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::UnknownUser(_) | Self::UserDeactivated(_) | Self::UserActive(_) => Some("userId"),
            Self::UnknownSite { field, .. } | Self::InvalidPersonal { field, .. } => Some(field),
            Self::DuplicateSite(_) => Some("site"),
            Self::UnknownTimeZone(_) => Some("timeZone"),
            Self::KeyWithoutRoles | Self::OwnRoles => Some("roles"),
            Self::ExpiryInPast { .. } => Some("expiresAt"),
            Self::InvalidKeyPrefix | Self::DuplicateKeyPrefix { .. } => Some("prefix"),
            Self::UnknownApiKey(_) | Self::ApiKeyRevoked(_) => Some("keyId"),
            Self::Forbidden { .. }
            | Self::LastAdmin(_)
            | Self::AdminExists
            | Self::NothingToChange
            | Self::InvalidRecord => None,
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permission(permission, None) => write!(f, "the permission {permission} everywhere"),
            Self::Permission(permission, Some(site)) => write!(f, "the permission {permission} at site '{site}'"),
            Self::Pipeline(right, id) => {
                write!(f, "the permission {} everywhere or the right {right} on pipeline {id}", right.permission())
            }
            Self::System => f.write_str("the command line of the machine"),
            Self::Record => f.write_str("the server itself"),
        }
    }
}

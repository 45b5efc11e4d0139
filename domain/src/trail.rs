//! What happens at the door, and who looks at the audit trail: facts that the server records by itself, in the tenant's stream.
//!
//! What is done by somebody known is an event of its own. What anybody can provoke is counted, and one event a batch tells how often; see decision 16.
//! No client gives these commands. [`crate::access::need::Need::Record`] says in whose name each may be recorded.
//!
//! Invariant: nothing here holds a text that a client chose, so that no address, e-mail or password gets into the ledger.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::actor::Actor;
use crate::access::need::Need;
use crate::access::refusal::AccessRefusal;
use crate::event::EVENT_TYPES;
use crate::id::{ActorId, ApiKeyId, CorrelationId, SessionId, StreamKey, UserId};
use crate::refusal::Refusal;
use crate::schema;
use crate::timestamp::Timestamp;

/// Most distinct entries of a batch; further attempts are only added up.
pub const MAX_ENTRIES: usize = 32;
/// Longest name of a field, in bytes.
const MAX_FIELD: usize = 64;
/// Stands for a value of a filter that could be personal.
const HIDDEN: &str = "*";

/// Something that happened at the door, or to the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrailEvent {
    /// Somebody came in.
    SignedIn(SignedIn),
    /// A session ended before its time.
    SignedOut(SignedOut),
    /// Somebody looked at the audit trail.
    TrailRead(TrailRead),
    /// Attempts were refused.
    AttemptsRefused(AttemptsRefused),
}

/// By what a person proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInMethod {
    /// A name and a password.
    Password,
    /// A one-time link.
    Link,
    /// OpenID Connect.
    SingleSignOn,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignOutReason {
    /// The person wanted it.
    Asked,
    /// A refresh token came a second time, so somebody else may have it.
    StolenRefreshToken,
    /// The password was set by a link.
    Reset,
}

/// How the trail was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadOperation {
    /// Once.
    Query,
    /// From then on.
    Subscription,
}

/// Why an attempt was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptKind {
    /// The password of a known name was wrong.
    WrongPassword,
    /// Nobody has that name.
    UnknownName,
    /// Too many wrong passwords for the name.
    Locked,
    /// Too many failures from one address.
    Throttled,
    /// A text that is no token of any server like this.
    BadToken,
    /// A token that was not signed here, or not for here.
    ForgedToken,
    /// A token that is over.
    ExpiredToken,
    /// A token of a session that has ended.
    EndedSession,
    /// An API key that nobody has.
    UnknownKey,
    /// A refresh token that gives no other.
    RefreshRefused,
    /// A one-time link that is not good.
    BadLink,
    /// What came back from the provider of single sign-on does not count.
    SignOnRefused,
    /// The provider knows them, and nobody here does.
    Stranger,
    /// What should prove once more who somebody is does not.
    ProofRefused,
    /// A user who is deactivated, or a key that is revoked or over.
    NotAdmitted,
    /// Nothing was brought by which to tell who asks.
    Anonymous,
    /// More than one credential at once.
    Ambiguous,
    /// A page of another site.
    ForeignOrigin,
    /// A cookie without the text that protects it.
    Csrf,
    /// An API key that may not do this.
    OutsideScope,
    /// A user who may not do this.
    NotAllowed,
}

/// Words of a list that grows: readers are told that others may come.
macro_rules! open_words {
    ($($type:ident, $description:literal { $($variant:ident => $word:literal,)* })*) => {$(
        impl $type {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schema::open_words($description, &[$($word,)*])
            }
        }
    )*};
}

open_words! {
    SignInMethod, "By what a person proved who they are." {
        Password => "password",
        Link => "link",
        SingleSignOn => "single_sign_on",
    }
    SignOutReason, "Why a session ended." {
        Asked => "asked",
        StolenRefreshToken => "stolen_refresh_token",
        Reset => "reset",
    }
    AttemptKind, "Why an attempt was refused." {
        WrongPassword => "wrong_password",
        UnknownName => "unknown_name",
        Locked => "locked",
        Throttled => "throttled",
        BadToken => "bad_token",
        ForgedToken => "forged_token",
        ExpiredToken => "expired_token",
        EndedSession => "ended_session",
        UnknownKey => "unknown_key",
        RefreshRefused => "refresh_refused",
        BadLink => "bad_link",
        SignOnRefused => "sign_on_refused",
        Stranger => "stranger",
        ProofRefused => "proof_refused",
        NotAdmitted => "not_admitted",
        Anonymous => "anonymous",
        Ambiguous => "ambiguous",
        ForeignOrigin => "foreign_origin",
        Csrf => "csrf",
        OutsideScope => "outside_scope",
        NotAllowed => "not_allowed",
    }
}

/// `lotline.access.signed_in.v1`: a person came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignedIn {
    /// Who.
    pub user_id: UserId,
    /// The session that began.
    pub session_id: SessionId,
    /// By what they proved who they are.
    pub method: SignInMethod,
}

/// `lotline.access.signed_out.v1`: sessions of a person ended before their time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignedOut {
    /// Who.
    pub user_id: UserId,
    /// The session that ended; all of the person's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Why.
    pub why: SignOutReason,
}

/// `lotline.access.trail_read.v1`: somebody looked at the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrailRead {
    /// Who.
    pub reader: ActorId,
    /// The field of the API.
    pub field: String,
    /// How.
    pub operation: ReadOperation,
    /// Names of the filters that were set, with their values; `*` for a value that could be personal.
    pub asked: BTreeMap<String, String>,
    /// How many events were shown; absent for a subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<u32>,
}

/// `lotline.access.attempts_refused.v1`: attempts of one user or key, or of nobody known, that were refused at the door or by a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptsRefused {
    /// The user whose name, token or session it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<ApiKeyId>,
    /// What was refused, each once.
    pub attempts: Vec<RefusedAttempts>,
    /// Attempts beyond the entries of the batch, whoever made them.
    pub others: u64,
}

/// Attempts of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedAttempts {
    /// Why.
    pub kind: AttemptKind,
    /// The field of the API that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// How many.
    pub count: u64,
    /// Time of the first.
    pub first_at: Timestamp,
    /// Time of the last.
    pub last_at: Timestamp,
    /// The request of the last, by which the program's log tells more.
    pub correlation_id: CorrelationId,
}

/// Whose name, token or key it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Suspect {
    /// A user.
    User(UserId),
    /// An API key.
    Key(ApiKeyId),
    /// Nobody known.
    Unknown,
}

/// One entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Whose.
    pub by: Suspect,
    /// What.
    pub attempts: RefusedAttempts,
}

/// Something to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrailCommand {
    /// A person came in.
    RecordSignIn(SignedIn),
    /// Sessions of a person ended.
    RecordSignOut(SignedOut),
    /// The actor looked at the trail.
    RecordReading {
        /// See [`TrailRead::field`].
        field: String,
        /// See [`TrailRead::operation`].
        operation: ReadOperation,
        /// See [`TrailRead::asked`].
        asked: BTreeMap<String, String>,
        /// See [`TrailRead::shown`].
        shown: Option<u32>,
    },
    /// Attempts were refused.
    RecordAttempts {
        /// Each user or key, kind and field once; at most [`MAX_ENTRIES`].
        entries: Vec<Counted>,
        /// Attempts beyond the entries.
        others: u64,
    },
}

impl TrailCommand {
    /// Name in snake case, as recorded with a refusal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RecordSignIn(_) => "record_sign_in",
            Self::RecordSignOut(_) => "record_sign_out",
            Self::RecordReading { .. } => "record_reading",
            Self::RecordAttempts { .. } => "record_attempts",
        }
    }

    /// In whose name it may be recorded.
    pub fn need(&self) -> Need {
        match self {
            Self::RecordSignIn(data) => Need::Record { user: Some(data.user_id), lotline: false },
            Self::RecordSignOut(data) => {
                // The one who came with a stolen token is not the user.
                let by_user = (data.why != SignOutReason::StolenRefreshToken).then_some(data.user_id);
                Need::Record { user: by_user, lotline: by_user.is_none() }
            }
            Self::RecordReading { .. } => Need::Anybody,
            Self::RecordAttempts { .. } => Need::Record { user: None, lotline: true },
        }
    }

    /// The facts: of attempts one for each user or key, in order, then one for nobody known and what was only added up.
    ///
    /// # Errors
    /// [`AccessRefusal::InvalidRecord`] for what the server never asks.
    pub(crate) fn decide(&self, actor: &ActorId) -> Result<Vec<TrailEvent>, Refusal> {
        match self {
            Self::RecordSignIn(data) => Ok(vec![TrailEvent::SignedIn(data.clone())]),
            Self::RecordSignOut(data) => Ok(vec![TrailEvent::SignedOut(data.clone())]),
            Self::RecordReading { field, operation, asked, shown } => {
                check(is_field(field) && asked.iter().all(|(name, value)| is_field(name) && is_public(name, value)))?;
                let (reader, field, asked) = (actor.clone(), field.clone(), asked.clone());
                Ok(vec![TrailEvent::TrailRead(TrailRead {
                    reader,
                    field,
                    operation: *operation,
                    asked,
                    shown: *shown,
                })])
            }
            Self::RecordAttempts { entries, others } => refused(entries, *others),
        }
    }
}

impl TrailEvent {
    /// As `ce_subject` has it: those of users and keys are the same as of events about their access.
    pub fn subject(&self) -> String {
        match self {
            Self::SignedIn(SignedIn { user_id, .. }) | Self::SignedOut(SignedOut { user_id, .. }) => {
                Suspect::User(*user_id).subject()
            }
            Self::TrailRead(data) => match Actor::of(&data.reader) {
                Actor::User(id) => Suspect::User(id).subject(),
                Actor::Key(id) => Suspect::Key(id).subject(),
                Actor::System | Actor::Lotline | Actor::Other => format!("actor/{}", data.reader),
            },
            Self::AttemptsRefused(data) => data.suspect().subject(),
        }
    }
}

impl AttemptsRefused {
    fn suspect(&self) -> Suspect {
        let key = self.key_id.map_or(Suspect::Unknown, Suspect::Key);
        self.user_id.map_or(key, Suspect::User)
    }
}

impl Suspect {
    /// Whose name an actor's is.
    pub fn of(actor: &ActorId) -> Self {
        match Actor::of(actor) {
            Actor::User(id) => Self::User(id),
            Actor::Key(id) => Self::Key(id),
            Actor::System | Actor::Lotline | Actor::Other => Self::Unknown,
        }
    }

    fn subject(self) -> String {
        match self {
            Self::User(id) => format!("user/{id}"),
            Self::Key(id) => format!("api_key/{id}"),
            Self::Unknown => "door/unknown".to_owned(),
        }
    }
}

/// The value of a filter as it may stand in the ledger: event types, times, opaque ids, and the stream in `stream`; `*` for anything else.
pub fn shown(name: &str, value: &str) -> String {
    if is_public(name, value) { value.to_owned() } else { HIDDEN.to_owned() }
}

fn is_public(name: &str, value: &str) -> bool {
    let is_uuid = |text: &str| Uuid::try_parse(text).is_ok_and(|id| id.as_hyphenated().to_string() == text);
    let kind = |text: &str| ["user", "key", "api_key", "lot", "transformation", "pipeline", "command"].contains(&text);
    let is_id = |text: &str| text.split_once([':', '/']).is_some_and(|(name, id)| kind(name) && is_uuid(id));
    value == HIDDEN
        || EVENT_TYPES.contains(&value)
        || is_uuid(value)
        || is_id(value)
        || (name == "stream" && StreamKey::parse(value).is_ok())
        || Timestamp::parse(value).is_ok()
}

fn is_field(text: &str) -> bool {
    (1..=MAX_FIELD).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn check(fine: bool) -> Result<(), Refusal> {
    if fine { Ok(()) } else { Err(AccessRefusal::InvalidRecord.into()) }
}

fn refused(entries: &[Counted], others: u64) -> Result<Vec<TrailEvent>, Refusal> {
    let fine = |attempts: &RefusedAttempts| {
        attempts.count > 0 && attempts.first_at <= attempts.last_at && attempts.field.as_deref().is_none_or(is_field)
    };
    check(entries.len() <= MAX_ENTRIES && (others > 0 || !entries.is_empty()))?;
    check(entries.iter().all(|entry| fine(&entry.attempts)))?;
    let mut by: BTreeMap<Suspect, Vec<RefusedAttempts>> = BTreeMap::new();
    if others > 0 {
        by.insert(Suspect::Unknown, Vec::new());
    }
    for entry in entries {
        by.entry(entry.by).or_default().push(entry.attempts.clone());
    }
    let event = |(suspect, attempts): (Suspect, Vec<RefusedAttempts>)| {
        let (user_id, key_id) = match suspect {
            Suspect::User(id) => (Some(id), None),
            Suspect::Key(id) => (None, Some(id)),
            Suspect::Unknown => (None, None),
        };
        let others = if suspect == Suspect::Unknown { others } else { 0 };
        TrailEvent::AttemptsRefused(AttemptsRefused { user_id, key_id, attempts, others })
    };
    Ok(by.into_iter().map(event).collect())
}

#[cfg(test)]
mod tests;

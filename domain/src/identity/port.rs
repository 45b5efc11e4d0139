//! What the API needs to know who somebody is, as traits. `lotline_adapters::identity` implements them on PostgreSQL, for one tenant each.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::api_key::{ApiKeyText, MalformedKey};
use super::name::LoginName;
use super::password::Weakness;
use super::secret::OpaqueToken;
use super::session::{EndReason, RefreshRefusal};
use super::sign_on::Subjects;
use super::token::{Claims, TokenRefusal};
use crate::id::{ApiKeyId, SessionId, UserId};
use crate::port::BoxFuture;
use crate::timestamp::Timestamp;

/// Everything by which one tenant's people and programs prove who they are.
#[derive(Clone)]
pub struct Identity {
    /// Who is called what.
    pub names: Arc<dyn LoginNames>,
    /// Passwords.
    pub passwords: Arc<dyn Passwords>,
    /// One-time links.
    pub links: Arc<dyn Links>,
    /// Sessions and their refresh tokens.
    pub sessions: Arc<dyn Sessions>,
    /// Checks access tokens.
    pub tokens: Arc<dyn AccessTokens>,
    /// API keys.
    pub api_keys: Arc<dyn ApiKeys>,
    /// Proofs for signatures.
    pub proofs: Arc<dyn Proofs>,
    /// People as a provider of single sign-on knows them.
    pub subjects: Arc<dyn Subjects>,
}

/// The place where credentials are kept can't be reached or answered with a failure.
#[derive(Debug, Error)]
#[error("credentials failed while trying to {action}")]
pub struct StoreError {
    /// What was tried, as a verb phrase.
    pub action: &'static str,
    /// Why.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl StoreError {
    /// Wraps an infrastructure failure.
    pub fn new(action: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { action, source: source.into() }
    }
}

/// Which user has which login name. To register somebody: reserve, let the ledger decide, then confirm, or release when it refused.
/// A reservation that nobody confirms is anybody's after ten minutes, so a crash in between locks no name up.
pub trait LoginNames: Send + Sync + 'static {
    /// Keeps a name for a user. Doing it again for the same user does nothing more.
    fn reserve<'a>(&'a self, name: &'a LoginName, user: UserId) -> BoxFuture<'a, Result<(), NameError>>;
    /// Makes a reserved name the user's, in place of any other; until then nobody signs in with it.
    fn confirm<'a>(&'a self, name: &'a LoginName, user: UserId) -> BoxFuture<'a, Result<(), NameError>>;
    /// Gives up a user's reservation. A confirmed name stays.
    fn release<'a>(&'a self, name: &'a LoginName, user: UserId) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Who has a confirmed name.
    fn find<'a>(&'a self, name: &'a LoginName) -> BoxFuture<'a, Result<Option<UserId>, StoreError>>;
    /// Forgets names, password, links and sessions of a user whose person is erased.
    fn forget(&self, user: UserId) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Why a name is not a user's.
#[derive(Debug, Error)]
pub enum NameError {
    /// Another user has it, or is just getting it.
    #[error("the login name is taken; one whose owner was asked for without an answer is free again after ten minutes")]
    Taken,
    /// No answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What people know.
pub trait Passwords: Send + Sync + 'static {
    /// Finds out who signs in. Unknown names cost the same work, and are locked in the same way, as those that exist.
    fn sign_in<'a>(
        &'a self,
        name: &'a str,
        password: &'a str,
        from: IpAddr,
    ) -> BoxFuture<'a, Result<UserId, SignInError>>;
    /// Whether somebody who is signed in can prove it again; counted and locked like signing in.
    fn confirm<'a>(&'a self, user: UserId, password: &'a str, from: IpAddr) -> BoxFuture<'a, Result<(), SignInError>>;
    /// Sets a password. `about` are names and addresses that must not occur in it. Sessions stay: end them if they are to end.
    fn set<'a>(
        &'a self,
        user: UserId,
        password: &'a str,
        about: &'a [&'a str],
    ) -> BoxFuture<'a, Result<(), PasswordError>>;
    /// Sets a password by a one-time link, which is used up by that and by nothing less. Ends the user's sessions, forgives failures,
    /// and withdraws the user's other links, all in one step.
    fn set_by_link<'a>(
        &'a self,
        link: &'a str,
        purpose: LinkPurpose,
        password: &'a str,
        about: &'a [&'a str],
    ) -> BoxFuture<'a, Result<UserId, PasswordError>>;
    /// Whether the user has one, or comes in by other means only.
    fn exists(&self, user: UserId) -> BoxFuture<'_, Result<bool, StoreError>>;
}

/// Why somebody is not signed in.
#[derive(Debug, Error)]
pub enum SignInError {
    /// Unknown name, no password, or a wrong one: not told apart.
    #[error("name or password is wrong")]
    Wrong,
    /// Too many wrong passwords for this name, whether it exists or not.
    #[error("too many wrong passwords; the next try is at {until}")]
    Locked {
        /// When the next try is.
        until: Timestamp,
    },
    /// Too many failures from this address.
    #[error("too many failures from this address; try again in {} s", retry_after.as_secs())]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Too many people sign in at this moment.
    #[error("too many people sign in at this moment; try again")]
    Busy,
    /// No answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a password was not set.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// It must not be used.
    #[error(transparent)]
    Weak(#[from] Weakness),
    /// The link can't be used.
    #[error(transparent)]
    Link(#[from] LinkRefusal),
    /// Too many passwords are hashed at this moment.
    #[error("too many passwords are looked at at this moment; try again")]
    Busy,
    /// No answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a one-time link is for. It is good for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkPurpose {
    /// The first administrator of a tenant. A new one withdraws all earlier ones of the tenant.
    Setup,
    /// Somebody who was registered chooses a password.
    Invitation,
    /// Somebody has forgotten theirs.
    PasswordReset,
}

impl LinkPurpose {
    /// The word by which it is kept.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Invitation => "invitation",
            Self::PasswordReset => "password_reset",
        }
    }

    /// How long such a link is good.
    pub const fn lifetime(self) -> Duration {
        match self {
            Self::Setup => Duration::from_hours(24),
            Self::Invitation => Duration::from_hours(72),
            Self::PasswordReset => Duration::from_mins(30),
        }
    }
}

/// Links that work once.
pub trait Links: Send + Sync + 'static {
    /// A link for a user, who may not be registered yet. Withdraws the user's earlier ones of the same purpose.
    fn issue(&self, purpose: LinkPurpose, user: UserId) -> BoxFuture<'_, Result<IssuedLink, StoreError>>;
    /// Whose link this is, without using it up.
    fn look<'a>(&'a self, purpose: LinkPurpose, link: &'a str) -> BoxFuture<'a, Result<UserId, LinkError>>;
    /// Uses a link up, for who comes in by other means than a password. Of two at the same time one gets the user.
    fn redeem<'a>(&'a self, purpose: LinkPurpose, link: &'a str) -> BoxFuture<'a, Result<UserId, LinkError>>;
}

/// A link that was made just now.
#[derive(Debug, Clone)]
pub struct IssuedLink {
    /// For the person only.
    pub token: OpaqueToken,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// Why a link is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LinkRefusal {
    /// There is no such link for this purpose, or it was withdrawn.
    #[error("this link is not known")]
    Unknown,
    /// It was used.
    #[error("this link was used before")]
    Used,
    /// It is too old.
    #[error("this link has expired")]
    Expired,
}

/// Why a link gives no user.
#[derive(Debug, Error)]
pub enum LinkError {
    /// It is not good.
    #[error(transparent)]
    Refused(#[from] LinkRefusal),
    /// No answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<LinkError> for PasswordError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Refused(refusal) => Self::Link(refusal),
            LinkError::Store(error) => Self::Store(error),
        }
    }
}

/// Sessions: from signing in to signing out.
pub trait Sessions: Send + Sync + 'static {
    /// Begins a session for somebody who has just proved who they are. `client` is what to show them in the list of their sessions.
    fn open<'a>(&'a self, user: UserId, client: &'a str) -> BoxFuture<'a, Result<IssuedTokens, StoreError>>;
    /// The next tokens of a session. The refresh token is used up.
    fn refresh<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<IssuedTokens, RefreshError>>;
    /// Ends one session of a user. Says whether it was there and going on.
    fn end(&self, user: UserId, session: SessionId, reason: EndReason) -> BoxFuture<'_, Result<bool, StoreError>>;
    /// Ends all sessions of a user but one, if one is to stay. Says how many.
    fn end_all(
        &self,
        user: UserId,
        except: Option<SessionId>,
        reason: EndReason,
    ) -> BoxFuture<'_, Result<u64, StoreError>>;
    /// A user's sessions that go on, newest first.
    fn list(&self, user: UserId) -> BoxFuture<'_, Result<Vec<OpenSession>, StoreError>>;
}

/// Tokens for their owner only. Its `Debug` does not show them.
#[derive(Clone)]
pub struct IssuedTokens {
    /// Whose.
    pub user: UserId,
    /// Of which session.
    pub session: SessionId,
    /// The access token: a signed text.
    pub access: String,
    /// Until when it is good.
    pub access_expires_at: Timestamp,
    /// Gets the next pair, once.
    pub refresh: OpaqueToken,
    /// Until when it is good.
    pub refresh_expires_at: Timestamp,
}

impl std::fmt::Debug for IssuedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedTokens").field("user", &self.user).field("session", &self.session).finish_non_exhaustive()
    }
}

/// A session in the list of a user's sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Names it.
    pub session: SessionId,
    /// What its client called itself.
    pub client: String,
    /// When the person signed in.
    pub started_at: Timestamp,
    /// When it was last refreshed.
    pub refreshed_at: Timestamp,
    /// When it ends if it is not refreshed.
    pub expires_at: Timestamp,
}

/// Why there are no next tokens.
#[derive(Debug, Error)]
pub enum RefreshError {
    /// It is not good.
    #[error("{refusal}")]
    Refused {
        /// Why.
        refusal: RefreshRefusal,
        /// Whose session it is, when the token is known: for the audit trail.
        of: Option<(UserId, SessionId)>,
    },
    /// No answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Access tokens, looked at with each request.
pub trait AccessTokens: Send + Sync + 'static {
    /// What a token says, if it counts. Asks nobody: the keys and the sessions that have ended are known here, no older than five seconds.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    fn verify(&self, token: &str) -> Result<Arc<Claims>, TokenRefusal>;
    /// Whether a session goes on, for what goes on without a token, such as a subscription. Asks nobody either.
    ///
    /// # Errors
    /// [`TokenRefusal::SessionEnded`], or [`TokenRefusal::Unavailable`] when what is known here is too old.
    fn goes_on(&self, session: SessionId) -> Result<(), TokenRefusal>;
    /// The public keys: a JWK set (RFC 7517 section 5) as JSON.
    fn jwks(&self) -> String;
}

/// Secrets of API keys. That a key exists, its scopes and its expiry are for the ledger.
pub trait ApiKeys: Send + Sync + 'static {
    /// Makes the secret of a key. It is shown once. Doing it again makes another in its place.
    fn issue(&self, key: ApiKeyId) -> BoxFuture<'_, Result<ApiKeyText, StoreError>>;
    /// Which key a text is. Its use is noted.
    fn check<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<ApiKeyId, ApiKeyError>>;
    /// Destroys a key's secret; within five seconds no node takes it any more. Says whether there was one.
    fn revoke(&self, key: ApiKeyId) -> BoxFuture<'_, Result<bool, StoreError>>;
    /// When keys were last used, to the minute; those never used are left out.
    fn last_used<'a>(&'a self, keys: &'a [ApiKeyId]) -> BoxFuture<'a, Result<Vec<(ApiKeyId, Timestamp)>, StoreError>>;
}

/// Why a text is no key of this tenant.
#[derive(Debug, Error)]
pub enum ApiKeyError {
    /// By its form; nobody was asked.
    #[error(transparent)]
    Malformed(#[from] MalformedKey),
    /// There is no such key, or its secret is another.
    #[error("this API key is not known")]
    Unknown,
    /// No answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a proof is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofScope {
    /// Who has proved it.
    pub user: UserId,
    /// In which session.
    pub session: SessionId,
    /// SHA-256 of the command that is to be signed, its idempotency key included.
    pub command: [u8; 32],
}

/// Proofs that somebody has just now proved again who they are, each for one command, once, within two minutes.
pub trait Proofs: Send + Sync + 'static {
    /// A proof for who has just been confirmed.
    fn issue(&self, scope: ProofScope) -> BoxFuture<'_, Result<OpaqueToken, StoreError>>;
    /// Uses a proof up. `false` when it is unknown, used, too old, or for somebody or something else.
    fn redeem<'a>(&'a self, proof: &'a str, scope: ProofScope) -> BoxFuture<'a, Result<bool, StoreError>>;
}

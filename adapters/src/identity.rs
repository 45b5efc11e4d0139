//! Credentials in PostgreSQL: the schema `access`, for one tenant. Decision 11 says why it is as it is.
//!
//! | part | table | keeps |
//! |---|---|---|
//! | `login` | `login`, `login_secret` | which user has which name |
//! | `password`, `hasher`, `lockout` | `password`, `strikes` | Argon2id, tries |
//! | `link` | `link` | one-time links |
//! | `session` | `session`, `refresh_token` | families of refresh tokens |
//! | `signing_key`, `token`, `watch` | `signing_key` | access tokens, and what is needed to check them without a query |
//! | `api_key` | `api_key` | digests of API keys |
//! | `proof` | `proof` | proofs for signatures |
//! | `subject` | `sign_on_subject`, `sign_on_attempt` | people as a provider of single sign-on knows them |
//!
//! [`PostgresIdentity::run`] has to go on for as long as tokens are to count.

mod api_key;
mod hasher;
mod link;
mod lockout;
mod login;
mod password;
mod proof;
mod recent;
mod session;
mod signing_key;
mod store;
mod subject;
mod token;
mod upkeep;
mod watch;

pub use self::hasher::{Hasher, HasherOptions};
pub use self::signing_key::KeyEncryption;
pub use self::watch::{LOOK_EVERY, STALE_AFTER};

use std::sync::Arc;
use std::time::Duration;

use lotline_domain::identity::lockout::AddressLimit;
use lotline_domain::identity::port::{Identity, StoreError};
use lotline_domain::identity::session::SessionPolicy;
use lotline_domain::identity::signing::RotationPolicy;
use lotline_domain::identity::token::TokenPolicy;
use lotline_domain::port::{Clock, Ids};
use sqlx::PgPool;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::api_key::KeyTable;
use self::link::LinkTable;
use self::lockout::{Addresses, Lockout};
use self::login::Logins;
use self::password::PasswordTable;
use self::proof::ProofTable;
use self::session::SessionTable;
use self::signing_key::SigningKeys;
use self::store::Store;
use self::subject::SubjectTable;
use self::token::TokenBook;
use self::watch::Watch;

/// How often uses of API keys are written down.
const WRITE_USES_EVERY: Duration = Duration::from_mins(1);

/// Every so many times, old rows are cleared away.
const CLEAR_EVERY: u32 = 15;

/// What a tenant's credentials are like.
#[derive(Clone)]
pub struct IdentityOptions {
    /// Access tokens, and with them whose credentials these are.
    pub tokens: TokenPolicy,
    /// Sessions.
    pub sessions: SessionPolicy,
    /// Signing keys.
    pub rotation: RotationPolicy,
    /// Encrypts signing keys in the database; without it they stand there in clear.
    pub key_encryption: Option<KeyEncryption>,
    /// Failures from one address.
    pub addresses: AddressLimit,
    /// After how long without news of ended sessions no token counts any more.
    pub stale_after: Duration,
    /// The hasher, one for the process.
    pub hasher: Arc<Hasher>,
}

impl IdentityOptions {
    /// The defaults of each part.
    pub fn new(tokens: TokenPolicy, hasher: Arc<Hasher>) -> Self {
        Self {
            tokens,
            sessions: SessionPolicy::default(),
            rotation: RotationPolicy::default(),
            key_encryption: None,
            addresses: AddressLimit::default(),
            stale_after: STALE_AFTER,
            hasher,
        }
    }
}

/// One tenant's credentials.
pub struct PostgresIdentity {
    store: Store,
    watch: Arc<Watch>,
    api_keys: Arc<KeyTable>,
    ports: Identity,
}

impl PostgresIdentity {
    /// On connections of a pool that works as [`crate::tenancy::bound`]. Makes the first signing key when there is none.
    ///
    /// # Errors
    /// When the database fails, or the signing keys can't be decrypted.
    pub async fn open(
        pool: PgPool,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        options: IdentityOptions,
    ) -> Result<Self, StoreError> {
        let IdentityOptions {
            tokens: policy,
            sessions,
            rotation,
            key_encryption: encryption,
            addresses,
            stale_after,
            hasher,
        } = options;
        let store = Store { pool, tenant: policy.tenant.clone(), clock, ids };
        let logins = Logins::open(store.clone()).await?;
        let keys = SigningKeys { store: store.clone(), encryption, rotation };
        let watch = Arc::new(Watch::open(store.clone(), keys, &policy, stale_after).await?);
        let tokens = Arc::new(TokenBook::new(store.clone(), policy, Arc::clone(&watch)));
        let links = LinkTable::new(store.clone());
        let subjects = SubjectTable { store: store.clone(), logins: logins.clone() };
        let passwords = PasswordTable {
            store: store.clone(),
            hasher,
            logins: logins.clone(),
            lockout: Lockout::new(store.clone()),
            addresses: Addresses::new(addresses),
            links: links.clone(),
            watch: Arc::clone(&watch),
        };
        let sessions = SessionTable {
            store: store.clone(),
            policy: sessions,
            tokens: Arc::clone(&tokens),
            watch: Arc::clone(&watch),
        };
        let api_keys = Arc::new(KeyTable::new(store.clone()));
        let ports = Identity {
            names: Arc::new(logins),
            passwords: Arc::new(passwords),
            links: Arc::new(links),
            sessions: Arc::new(sessions),
            tokens,
            api_keys: Arc::clone(&api_keys) as _,
            proofs: Arc::new(ProofTable::new(store.clone())),
            subjects: Arc::new(subjects),
        };
        Ok(Self { store, watch, api_keys, ports })
    }

    /// What the API works with.
    pub fn ports(&self) -> Identity {
        self.ports.clone()
    }

    /// Keeps what is known here fresh, and the tables small, until it is cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        tokio::join!(self.watch.run(&cancel), self.keep_up(&cancel));
    }

    /// Looks at once for ended sessions and keys that are due; [`PostgresIdentity::run`] does it every second.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look(&self) -> Result<(), StoreError> {
        self.watch.look().await
    }

    /// Replaces all signing keys, because one may have been stolen. Every access token dies at once here, and within five seconds at the other
    /// nodes; sessions go on by their refresh tokens.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn replace_signing_keys(&self) -> Result<(), StoreError> {
        self.watch.replace_keys().await
    }

    /// Writes down which API keys were used; [`PostgresIdentity::run`] does it every minute.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write_uses(&self) -> Result<(), StoreError> {
        self.api_keys.write_uses().await
    }

    /// Deletes what is over; [`PostgresIdentity::run`] does it four times an hour. Returns how many rows went.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn clear(&self) -> Result<u64, StoreError> {
        upkeep::clear(&self.store).await
    }

    async fn keep_up(&self, cancel: &CancellationToken) {
        let mut round = 0_u32;
        while !cancel.is_cancelled() {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = sleep(WRITE_USES_EVERY) => {}
            }
            round = round.wrapping_add(1);
            let mut done = self.write_uses().await;
            if done.is_ok() && round.is_multiple_of(CLEAR_EVERY) {
                done = self.clear().await.map(|rows| tracing::debug!(rows, "old credentials were cleared away"));
            }
            if let Err(error) = done {
                let error = format!("{error}: {}", error.source);
                tracing::warn!(error, "the upkeep of credentials is put off");
            }
        }
    }
}

//! Access tokens: signed and looked at with what [`Watch`] knows.
//!
//! A verified token is remembered by its SHA-256 until others push it out, so that its signature is worked out once. Times, its key and the end
//! of its session are looked at each time.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use lotline_domain::id::{SessionId, UserId};
use lotline_domain::identity::port::{AccessTokens, StoreError};
use lotline_domain::identity::token::{Claims, KeyName, MAX_TOKEN_BYTES, TokenPolicy, TokenRefusal, Unverified};
use lotline_domain::timestamp::Timestamp;
use thiserror::Error;

use super::recent::Recent;
use super::signing_key::KeySet;
use super::store::{Store, later};
use super::watch::Watch;

/// Tokens that are remembered, in halves; each takes about half a kilobyte.
const REMEMBERED: usize = 10_000;

/// Tokens of one tenant.
pub(super) struct TokenBook {
    store: Store,
    policy: TokenPolicy,
    watch: Arc<Watch>,
    verified: Mutex<Recent<[u8; 32], Verified>>,
}

struct Verified {
    key: KeyName,
    claims: Arc<Claims>,
}

/// Nothing to sign with.
#[derive(Debug, Error)]
#[error("there is no signing key")]
struct NoKey;

impl TokenBook {
    pub(super) fn new(store: Store, policy: TokenPolicy, watch: Arc<Watch>) -> Self {
        Self { store, policy, watch, verified: Mutex::new(Recent::new(REMEMBERED)) }
    }

    /// A token, and until when it is good.
    pub(super) fn issue(
        &self,
        user: UserId,
        session: SessionId,
        authenticated_at: Timestamp,
    ) -> Result<(String, Timestamp), StoreError> {
        let now = self.store.now();
        let seconds = |time: Timestamp| time.millis().div_euclid(1_000);
        let expires_at = later(Timestamp::from_millis(seconds(now) * 1_000), self.policy.lifetime);
        let claims = Claims {
            issuer: self.policy.issuer.clone(),
            audience: self.policy.audience.clone(),
            user,
            tenant: self.policy.tenant.clone(),
            session,
            id: self.store.fresh_id(),
            issued_at: seconds(now),
            expires_at: seconds(expires_at),
            authenticated_at: seconds(authenticated_at),
        };
        let token = self.watch.keys().sign(&claims, now).ok_or_else(|| StoreError::new("sign a token", NoKey))?;
        Ok((token, expires_at))
    }

    fn claims(&self, token: &str, digest: [u8; 32], keys: &KeySet) -> Result<Arc<Claims>, TokenRefusal> {
        if let Some((_, claims)) = self.remembered(&digest).filter(|(key, _)| keys.contains(key)) {
            return Ok(claims);
        }
        let unverified = Unverified::read(token)?;
        let key = unverified.key().clone();
        let claims = Arc::new(keys.verify(unverified)?);
        // What does not count now is not worth remembering.
        claims.check(&self.policy, self.store.now())?;
        self.remember(digest, key, Arc::clone(&claims));
        Ok(claims)
    }

    fn remembered(&self, digest: &[u8; 32]) -> Option<(KeyName, Arc<Claims>)> {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.get(digest).map(|found| (found.key.clone(), Arc::clone(&found.claims)))
    }

    fn remember(&self, digest: [u8; 32], key: KeyName, claims: Arc<Claims>) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.put(digest, Verified { key, claims });
    }
}

impl AccessTokens for TokenBook {
    fn verify(&self, token: &str) -> Result<Arc<Claims>, TokenRefusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefusal::TooLong);
        }
        let (keys, ended) = self.watch.current().ok_or(TokenRefusal::Unavailable)?;
        let sha256 = digest::digest(&digest::SHA256, token.as_bytes());
        let sha256 = sha256.as_ref().try_into().expect("invariant: SHA-256 gives 32 bytes");
        let claims = self.claims(token, sha256, &keys)?;
        claims.check(&self.policy, self.store.now())?;
        if ended.contains(&claims.session) { Err(TokenRefusal::SessionEnded) } else { Ok(claims) }
    }

    fn goes_on(&self, session: SessionId) -> Result<(), TokenRefusal> {
        let (_, ended) = self.watch.current().ok_or(TokenRefusal::Unavailable)?;
        if ended.contains(&session) { Err(TokenRefusal::SessionEnded) } else { Ok(()) }
    }

    fn jwks(&self) -> String {
        self.watch.keys().published().to_string()
    }
}

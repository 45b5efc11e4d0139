//! Secrets of API keys: `access.api_key`. Found by the prefix, compared in constant time, remembered for as long as a revoked key may still work.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lotline_domain::id::ApiKeyId;
use lotline_domain::identity::api_key::ApiKeyText;
use lotline_domain::identity::port::{ApiKeyError, ApiKeys, StoreError};
use lotline_domain::identity::secret::SecretDigest;
use lotline_domain::port::BoxFuture;
use lotline_domain::timestamp::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use super::recent::Recent;
use super::store::{Store, broken};
use crate::clock::random_bytes;

/// Keys that are remembered, in halves.
const REMEMBERED: usize = 10_000;

/// How long a key that was looked up is good without looking again.
const GOOD_FOR: Duration = Duration::from_secs(4);

/// Keys whose use waits to be written down. Beyond that a use is not noted, only counted.
const NOTED: usize = 100_000;

/// A tenant's keys.
pub(super) struct KeyTable {
    store: Store,
    known: Mutex<Recent<[u8; 32], (ApiKeyId, Instant)>>,
    used: Mutex<HashMap<ApiKeyId, Timestamp>>,
}

impl KeyTable {
    pub(super) fn new(store: Store) -> Self {
        Self { store, known: Mutex::new(Recent::new(REMEMBERED)), used: Mutex::default() }
    }

    async fn make(&self, key: ApiKeyId) -> Result<ApiKeyText, StoreError> {
        let text = ApiKeyText::new(random_bytes());
        let digest = text.digest();
        sqlx::query!(
            "INSERT INTO access.api_key (tenant, prefix, id, digest) VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant, id) DO UPDATE SET prefix = EXCLUDED.prefix, digest = EXCLUDED.digest",
            self.store.tenant(),
            text.prefix(),
            key.0,
            digest.as_bytes().as_slice(),
        )
        .execute(&self.store.pool)
        .await
        .map_err(broken("make an API key"))?;
        self.forget(key);
        Ok(text)
    }

    async fn find(&self, text: &str) -> Result<ApiKeyId, ApiKeyError> {
        let text = ApiKeyText::parse(text)?;
        let digest = text.digest();
        let key = match self.remembered(&digest) {
            Some(key) => key,
            None => self.look_up(&text, &digest).await?,
        };
        self.note(key);
        Ok(key)
    }

    fn remembered(&self, digest: &SecretDigest) -> Option<ApiKeyId> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(digest.as_bytes()).filter(|(_, since)| since.elapsed() < GOOD_FOR).map(|(key, _)| *key)
    }

    async fn look_up(&self, text: &ApiKeyText, digest: &SecretDigest) -> Result<ApiKeyId, ApiKeyError> {
        let since = Instant::now();
        let found = sqlx::query!(
            "SELECT id, digest FROM access.api_key WHERE tenant = $1 AND prefix = $2",
            self.store.tenant(),
            text.prefix(),
        )
        .fetch_optional(&self.store.pool)
        .await
        .map_err(broken("look an API key up"))?;
        let row = found.ok_or(ApiKeyError::Unknown)?;
        if !SecretDigest::from_stored(&row.digest).is_some_and(|stored| stored.matches(digest)) {
            return Err(ApiKeyError::Unknown);
        }
        let key = ApiKeyId(row.id);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).put(*digest.as_bytes(), (key, since));
        Ok(key)
    }

    fn forget(&self, key: ApiKeyId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| *known != key);
    }

    fn note(&self, key: ApiKeyId) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() < NOTED || used.contains_key(&key) {
            used.insert(key, self.store.now());
        }
    }

    /// Writes down which keys were used since the last time. What can't be written is lost: it is worth no retry.
    pub(super) async fn write_uses(&self) -> Result<(), StoreError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return Ok(());
        }
        let (keys, times): (Vec<Uuid>, Vec<_>) = used.into_iter().map(|(key, at)| (key.0, at.to_utc())).unzip();
        sqlx::query!(
            "UPDATE access.api_key SET last_used_at = GREATEST(api_key.last_used_at, used.at)
             FROM unnest($2::uuid[], $3::timestamptz[]) AS used (id, at)
             WHERE api_key.tenant = $1 AND api_key.id = used.id",
            self.store.tenant(),
            &keys,
            &times,
        )
        .execute(&self.store.pool)
        .await
        .map(|_| ())
        .map_err(broken("write down when API keys were used"))
    }
}

impl ApiKeys for KeyTable {
    fn issue(&self, key: ApiKeyId) -> BoxFuture<'_, Result<ApiKeyText, StoreError>> {
        Box::pin(self.make(key))
    }

    fn check<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<ApiKeyId, ApiKeyError>> {
        Box::pin(self.find(text))
    }

    fn revoke(&self, key: ApiKeyId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let revoked =
                sqlx::query!("DELETE FROM access.api_key WHERE tenant = $1 AND id = $2", self.store.tenant(), key.0)
                    .execute(&self.store.pool)
                    .await
                    .map_err(broken("revoke an API key"))?;
            self.forget(key);
            Ok(revoked.rows_affected() == 1)
        })
    }

    fn last_used<'a>(&'a self, keys: &'a [ApiKeyId]) -> BoxFuture<'a, Result<Vec<(ApiKeyId, Timestamp)>, StoreError>> {
        Box::pin(async move {
            let ids: Vec<_> = keys.iter().map(|key| key.0).collect();
            let rows = sqlx::query!(
                r#"SELECT id, last_used_at AS "at!" FROM access.api_key
                   WHERE tenant = $1 AND id = ANY($2) AND last_used_at IS NOT NULL"#,
                self.store.tenant(),
                &ids,
            )
            .fetch_all(&self.store.pool)
            .await
            .map_err(broken("read when API keys were used"))?;
            Ok(rows.into_iter().map(|row| (ApiKeyId(row.id), row.at.into())).collect())
        })
    }
}

//! Sessions and their refresh tokens: `access.session`, `access.refresh_token`.
//!
//! A refresh reads the family, decides by the domain's rules, and writes by compare-and-set on the family's generation: of two at the same time
//! one writes, and the other reads again and finds its token used. Every change is one statement, so a request that is given up leaves
//! nothing half-done.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lotline_domain::id::{SessionId, UserId};
use lotline_domain::identity::port::{IssuedTokens, OpenSession, RefreshError, Sessions, StoreError};
use lotline_domain::identity::secret::{OpaqueToken, SecretDigest, SecretKind};
use lotline_domain::identity::session::{EndReason, Family, RefreshDecision, RefreshRefusal, SessionPolicy};
use lotline_domain::port::BoxFuture;
use lotline_domain::timestamp::Timestamp;
use uuid::Uuid;

use super::store::{Store, broken, fresh_token};
use super::token::TokenBook;
use super::watch::Watch;

/// Characters of what a client calls itself that are kept.
const CLIENT_CHARACTERS: usize = 200;

/// A tenant's sessions.
pub(super) struct SessionTable {
    pub(super) store: Store,
    pub(super) policy: SessionPolicy,
    pub(super) tokens: Arc<TokenBook>,
    pub(super) watch: Arc<Watch>,
}

/// A refresh token that is known.
struct Presented {
    user: UserId,
    session: SessionId,
    started_at: Timestamp,
    /// Its number.
    generation: u32,
    family: Family,
}

struct PresentedRow {
    user_id: Uuid,
    session: Uuid,
    started_at: DateTime<Utc>,
    presented: i64,
    generation: i64,
    refreshed_at: DateTime<Utc>,
    token_expires_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    ended: bool,
}

impl From<PresentedRow> for Presented {
    fn from(row: PresentedRow) -> Self {
        Self {
            user: UserId(row.user_id),
            session: SessionId(row.session),
            started_at: row.started_at.into(),
            generation: row.presented as u32,
            family: Family {
                generation: row.generation as u32,
                refreshed_at: row.refreshed_at.into(),
                token_expires_at: row.token_expires_at.into(),
                expires_at: row.expires_at.into(),
                ended: row.ended,
            },
        }
    }
}

impl SessionTable {
    async fn begin(&self, user: UserId, client: &str) -> Result<IssuedTokens, StoreError> {
        let now = self.store.now();
        let (session, family) = (SessionId(self.store.fresh_id()), Family::begin(now, &self.policy));
        let refresh = fresh_token(SecretKind::Refresh);
        let digest = refresh.digest();
        let client: String = client.chars().filter(|c| !c.is_control()).take(CLIENT_CHARACTERS).collect();
        sqlx::query!(
            "WITH begun AS (
                 INSERT INTO access.session
                     (tenant, session, user_id, client, generation, started_at, refreshed_at, token_expires_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8)
                 RETURNING tenant, session, generation
             )
             INSERT INTO access.refresh_token (digest, tenant, session, generation)
             SELECT $9, tenant, session, generation FROM begun",
            self.store.tenant(),
            session.0,
            user.0,
            client,
            i64::from(family.generation),
            now.to_utc(),
            family.token_expires_at.to_utc(),
            family.expires_at.to_utc(),
            digest.as_bytes().as_slice(),
        )
        .execute(&self.store.pool)
        .await
        .map_err(broken("begin a session"))?;
        self.issued(user, session, now, refresh, &family)
    }

    async fn rotate(&self, text: &str) -> Result<IssuedTokens, RefreshError> {
        let unknown = || RefreshError::Refused { refusal: RefreshRefusal::Unknown, of: None };
        let token = OpaqueToken::parse(SecretKind::Refresh, text).ok_or_else(unknown)?;
        let digest = token.digest();
        loop {
            let found = self.presented(&digest).await?.ok_or_else(unknown)?;
            let (user, session) = (found.user, found.session);
            let refused = |refusal| RefreshError::Refused { refusal, of: Some((user, session)) };
            match found.family.refresh(found.generation, self.store.now(), &self.policy) {
                RefreshDecision::Refuse(refusal) => return Err(refused(refusal)),
                RefreshDecision::EndFamily => {
                    self.finish(user, session, EndReason::Reused).await?;
                    metrics::counter!("lotline_refresh_tokens_reused_total").increment(1);
                    return Err(refused(RefreshRefusal::Reused));
                }
                RefreshDecision::Rotate(next) => {
                    let refresh = fresh_token(SecretKind::Refresh);
                    if self.replace(&found, &next, &refresh).await? {
                        return Ok(self.issued(user, session, found.started_at, refresh, &next)?);
                    }
                    // Somebody else was first, or has ended it: what is there now decides.
                }
            }
        }
    }

    async fn presented(&self, digest: &SecretDigest) -> Result<Option<Presented>, StoreError> {
        let found = sqlx::query_as!(
            PresentedRow,
            r#"SELECT session.user_id, session.session, session.started_at, token.generation AS presented, session.generation,
                      session.refreshed_at, session.token_expires_at, session.expires_at, session.ended_at IS NOT NULL AS "ended!"
               FROM access.refresh_token token JOIN access.session USING (tenant, session)
               WHERE token.digest = $1 AND token.tenant = $2"#,
            digest.as_bytes().as_slice(),
            self.store.tenant(),
        )
        .fetch_optional(&self.store.pool)
        .await
        .map_err(broken("look a refresh token up"))?;
        Ok(found.map(Presented::from))
    }

    async fn replace(&self, found: &Presented, next: &Family, refresh: &OpaqueToken) -> Result<bool, StoreError> {
        let digest = refresh.digest();
        let replaced = sqlx::query!(
            "WITH rotated AS (
                 UPDATE access.session SET generation = $4, refreshed_at = $5, token_expires_at = $6
                 WHERE tenant = $1 AND session = $2 AND generation = $3 AND ended_at IS NULL
                 RETURNING tenant, session, generation
             )
             INSERT INTO access.refresh_token (digest, tenant, session, generation)
             SELECT $7, tenant, session, generation FROM rotated",
            self.store.tenant(),
            found.session.0,
            i64::from(found.family.generation),
            i64::from(next.generation),
            next.refreshed_at.to_utc(),
            next.token_expires_at.to_utc(),
            digest.as_bytes().as_slice(),
        )
        .execute(&self.store.pool)
        .await
        .map_err(broken("replace a refresh token"))?;
        Ok(replaced.rows_affected() == 1)
    }

    fn issued(
        &self,
        user: UserId,
        session: SessionId,
        started_at: Timestamp,
        refresh: OpaqueToken,
        family: &Family,
    ) -> Result<IssuedTokens, StoreError> {
        let (access, access_expires_at) = self.tokens.issue(user, session, started_at)?;
        let refresh_expires_at = family.token_expires_at;
        Ok(IssuedTokens { user, session, access, access_expires_at, refresh, refresh_expires_at })
    }

    async fn finish(&self, user: UserId, session: SessionId, reason: EndReason) -> Result<bool, StoreError> {
        let ended = sqlx::query!(
            "UPDATE access.session SET ended_at = $4, end_reason = $5
             WHERE tenant = $1 AND user_id = $2 AND session = $3 AND ended_at IS NULL",
            self.store.tenant(),
            user.0,
            session.0,
            self.store.now().to_utc(),
            reason.as_str(),
        )
        .execute(&self.store.pool)
        .await
        .map_err(broken("end a session"))?;
        self.watch.look_now().await;
        Ok(ended.rows_affected() == 1)
    }
}

impl Sessions for SessionTable {
    fn open<'a>(&'a self, user: UserId, client: &'a str) -> BoxFuture<'a, Result<IssuedTokens, StoreError>> {
        Box::pin(self.begin(user, client))
    }

    fn refresh<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<IssuedTokens, RefreshError>> {
        Box::pin(self.rotate(token))
    }

    fn end(&self, user: UserId, session: SessionId, reason: EndReason) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.finish(user, session, reason))
    }

    fn end_all(
        &self,
        user: UserId,
        except: Option<SessionId>,
        reason: EndReason,
    ) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let ended = sqlx::query!(
                "UPDATE access.session SET ended_at = $4, end_reason = $5
                 WHERE tenant = $1 AND user_id = $2 AND session IS DISTINCT FROM $3 AND ended_at IS NULL",
                self.store.tenant(),
                user.0,
                except.map(|session| session.0),
                self.store.now().to_utc(),
                reason.as_str(),
            )
            .execute(&self.store.pool)
            .await
            .map_err(broken("end all sessions of a user"))?;
            self.watch.look_now().await;
            Ok(ended.rows_affected())
        })
    }

    fn list(&self, user: UserId) -> BoxFuture<'_, Result<Vec<OpenSession>, StoreError>> {
        Box::pin(async move {
            let rows = sqlx::query!(
                "SELECT session, client, started_at, refreshed_at, token_expires_at FROM access.session
                 WHERE tenant = $1 AND user_id = $2 AND ended_at IS NULL AND token_expires_at > $3
                 ORDER BY started_at DESC, session DESC",
                self.store.tenant(),
                user.0,
                self.store.now().to_utc(),
            )
            .fetch_all(&self.store.pool)
            .await
            .map_err(broken("list a user's sessions"))?;
            let sessions = rows.into_iter().map(|row| OpenSession {
                session: SessionId(row.session),
                client: row.client,
                started_at: row.started_at.into(),
                refreshed_at: row.refreshed_at.into(),
                expires_at: row.token_expires_at.into(),
            });
            Ok(sessions.collect())
        })
    }
}

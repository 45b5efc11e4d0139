//! One-time links: `access.link`. Used by one UPDATE, so that of two at the same time one finds it unused.

use lotline_domain::id::UserId;
use lotline_domain::identity::port::{IssuedLink, LinkError, LinkPurpose, LinkRefusal, Links, StoreError};
use lotline_domain::identity::secret::{OpaqueToken, SecretDigest, SecretKind};
use lotline_domain::port::BoxFuture;

use super::store::{Store, broken, fresh_token, later};

/// A tenant's links.
#[derive(Clone)]
pub(super) struct LinkTable {
    store: Store,
}

impl LinkTable {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The digest and the user of a link that can be used now.
    pub(super) async fn good(&self, purpose: LinkPurpose, text: &str) -> Result<(SecretDigest, UserId), LinkError> {
        let link = OpaqueToken::parse(SecretKind::Link, text).ok_or(LinkRefusal::Unknown)?;
        let digest = link.digest();
        match self.state(purpose, &digest).await? {
            Ok(user) => Ok((digest, user)),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Why a link that was good a moment ago was not used.
    pub(super) async fn why_not(&self, purpose: LinkPurpose, digest: &SecretDigest) -> Result<LinkRefusal, StoreError> {
        // It can only have been used, withdrawn or outlived since.
        Ok(self.state(purpose, digest).await?.err().unwrap_or(LinkRefusal::Used))
    }

    async fn state(
        &self,
        purpose: LinkPurpose,
        digest: &SecretDigest,
    ) -> Result<Result<UserId, LinkRefusal>, StoreError> {
        let found = sqlx::query!(
            "SELECT user_id, expires_at, used_at FROM access.link WHERE digest = $1 AND tenant = $2 AND purpose = $3",
            digest.as_bytes().as_slice(),
            self.store.tenant(),
            purpose.as_str(),
        )
        .fetch_optional(&self.store.pool)
        .await
        .map_err(broken("look a link up"))?;
        Ok(match found {
            None => Err(LinkRefusal::Unknown),
            Some(row) if row.used_at.is_some() => Err(LinkRefusal::Used),
            Some(row) if row.expires_at <= self.store.now().to_utc() => Err(LinkRefusal::Expired),
            Some(row) => Ok(UserId(row.user_id)),
        })
    }

    async fn make(&self, purpose: LinkPurpose, user: UserId) -> Result<IssuedLink, StoreError> {
        let token = fresh_token(SecretKind::Link);
        let digest = token.digest();
        let expires_at = later(self.store.now(), purpose.lifetime());
        sqlx::query!(
            "WITH withdrawn AS (
                 DELETE FROM access.link
                 WHERE tenant = $2 AND purpose = $3 AND used_at IS NULL AND (user_id = $4 OR purpose = 'setup')
             )
             INSERT INTO access.link (digest, tenant, purpose, user_id, expires_at) VALUES ($1, $2, $3, $4, $5)",
            digest.as_bytes().as_slice(),
            self.store.tenant(),
            purpose.as_str(),
            user.0,
            expires_at.to_utc(),
        )
        .execute(&self.store.pool)
        .await
        .map_err(broken("make a link"))?;
        Ok(IssuedLink { token, expires_at })
    }

    async fn use_up(&self, purpose: LinkPurpose, text: &str) -> Result<UserId, LinkError> {
        let link = OpaqueToken::parse(SecretKind::Link, text).ok_or(LinkRefusal::Unknown)?;
        let digest = link.digest();
        let used = sqlx::query_scalar!(
            "UPDATE access.link SET used_at = $4
             WHERE digest = $1 AND tenant = $2 AND purpose = $3 AND used_at IS NULL AND expires_at > $4
             RETURNING user_id",
            digest.as_bytes().as_slice(),
            self.store.tenant(),
            purpose.as_str(),
            self.store.now().to_utc(),
        )
        .fetch_optional(&self.store.pool)
        .await
        .map_err(broken("use a link"))?;
        match used {
            Some(user) => Ok(UserId(user)),
            None => Err(self.why_not(purpose, &digest).await?.into()),
        }
    }
}

impl Links for LinkTable {
    fn issue(&self, purpose: LinkPurpose, user: UserId) -> BoxFuture<'_, Result<IssuedLink, StoreError>> {
        Box::pin(self.make(purpose, user))
    }

    fn look<'a>(&'a self, purpose: LinkPurpose, link: &'a str) -> BoxFuture<'a, Result<UserId, LinkError>> {
        Box::pin(async move { Ok(self.good(purpose, link).await?.1) })
    }

    fn redeem<'a>(&'a self, purpose: LinkPurpose, link: &'a str) -> BoxFuture<'a, Result<UserId, LinkError>> {
        Box::pin(self.use_up(purpose, link))
    }
}

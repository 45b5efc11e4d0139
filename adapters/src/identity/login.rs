//! Login names: `access.login`. No address is kept, only its HMAC-SHA-256 under a secret of the tenant, so a copy of the table can't be
//! compared with lists of addresses, nor with the table of another tenant.

use aws_lc_rs::hmac;
use lotline_domain::id::UserId;
use lotline_domain::identity::name::LoginName;
use lotline_domain::identity::port::{LoginNames, NameError, StoreError};
use lotline_domain::port::BoxFuture;
use std::time::Duration;

use super::store::{Store, broken, earlier};
use crate::clock::random_bytes;

/// After this time an unconfirmed reservation is anybody's.
pub(super) const RESERVED_FOR: Duration = Duration::from_mins(10);

/// The digest under which a name is kept.
pub(super) type NameDigest = [u8; 32];

/// A tenant's names.
#[derive(Clone)]
pub(super) struct Logins {
    store: Store,
    secret: hmac::Key,
}

impl Logins {
    /// Reads the tenant's secret, which whoever asks first makes.
    pub(super) async fn open(store: Store) -> Result<Self, StoreError> {
        let action = "read the secret of login names";
        let fresh = random_bytes::<32>();
        sqlx::query!(
            "INSERT INTO access.login_secret (tenant, secret) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            store.tenant(),
            fresh.as_slice(),
        )
        .execute(&store.pool)
        .await
        .map_err(broken(action))?;
        let secret = sqlx::query_scalar!("SELECT secret FROM access.login_secret WHERE tenant = $1", store.tenant())
            .fetch_one(&store.pool)
            .await
            .map_err(broken(action))?;
        Ok(Self { store, secret: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
    }

    /// The digest of a name as it was typed. What can't be a name has one too, apart from all names, so that it is locked like them.
    pub(super) fn digest_of_typed(&self, typed: &str) -> NameDigest {
        LoginName::new(typed).map_or_else(|_| self.mac("no name", typed), |name| self.digest(&name))
    }

    pub(super) fn digest(&self, name: &LoginName) -> NameDigest {
        self.mac("name", name.as_str())
    }

    /// Stands for a user who has no name, where tries are counted by name.
    pub(super) fn digest_of_user(&self, user: UserId) -> NameDigest {
        self.mac("user", &user.to_string())
    }

    /// Stands for whom a provider of single sign-on means. No issuer has a NUL in it.
    pub(super) fn digest_of_subject(&self, issuer: &str, subject: &str) -> NameDigest {
        self.mac("subject", &format!("{issuer}\0{subject}"))
    }

    fn mac(&self, kind: &str, text: &str) -> NameDigest {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(text.as_bytes());
        context.sign().as_ref().try_into().expect("invariant: HMAC-SHA-256 gives 32 bytes")
    }

    async fn take(&self, name: &LoginName, user: UserId) -> Result<(), NameError> {
        let (now, digest) = (self.store.now(), self.digest(name));
        let taken = sqlx::query!(
            "INSERT INTO access.login AS login (tenant, name, user_id, reserved_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant, name) DO UPDATE SET user_id = EXCLUDED.user_id, reserved_at = EXCLUDED.reserved_at
             WHERE login.user_id = EXCLUDED.user_id OR (login.confirmed_at IS NULL AND login.reserved_at <= $5)",
            self.store.tenant(),
            digest.as_slice(),
            user.0,
            now.to_utc(),
            earlier(now, RESERVED_FOR).to_utc(),
        )
        .execute(&self.store.pool)
        .await
        .map_err(broken("reserve a login name"))?;
        if taken.rows_affected() == 1 { Ok(()) } else { Err(NameError::Taken) }
    }

    async fn settle(&self, name: &LoginName, user: UserId) -> Result<(), NameError> {
        // The old name goes first: a user has one confirmed name, which an index says. So it is one transaction, not one statement.
        let action = "confirm a login name";
        let digest = self.digest(name);
        let (store, now) = (self.store.clone(), self.store.now());
        // In a task of its own, a request that is given up half-way leaves no open transaction behind.
        let settled = tokio::spawn(async move {
            let mut tx = store.pool.begin().await?;
            let held = sqlx::query_scalar!(
                "SELECT user_id FROM access.login WHERE tenant = $1 AND name = $2 AND user_id = $3 FOR UPDATE",
                store.tenant(),
                digest.as_slice(),
                user.0,
            )
            .fetch_optional(&mut *tx)
            .await?;
            if held.is_none() {
                return Ok(false);
            }
            sqlx::query!(
                "DELETE FROM access.login WHERE tenant = $1 AND user_id = $2 AND name <> $3",
                store.tenant(),
                user.0,
                digest.as_slice(),
            )
            .execute(&mut *tx)
            .await?;
            sqlx::query!(
                "UPDATE access.login SET confirmed_at = $3
                 WHERE tenant = $1 AND name = $2 AND confirmed_at IS NULL",
                store.tenant(),
                digest.as_slice(),
                now.to_utc(),
            )
            .execute(&mut *tx)
            .await?;
            tx.commit().await.map(|()| true)
        })
        .await;
        let settled = settled.map_err(|error| StoreError::new(action, error))?.map_err(broken(action))?;
        if settled { Ok(()) } else { Err(NameError::Taken) }
    }

    async fn forget_user(&self, user: UserId) -> Result<(), StoreError> {
        sqlx::query!(
            "WITH named AS (DELETE FROM access.login WHERE tenant = $1 AND user_id = $2 RETURNING name),
                  struck AS (DELETE FROM access.strikes USING named WHERE strikes.tenant = $1 AND strikes.name = named.name),
                  known AS (DELETE FROM access.password WHERE tenant = $1 AND user_id = $2),
                  linked AS (DELETE FROM access.link WHERE tenant = $1 AND user_id = $2),
                  signed_on AS (DELETE FROM access.sign_on_subject WHERE tenant = $1 AND user_id = $2)
             UPDATE access.session SET ended_at = $3, end_reason = 'deactivated'
             WHERE tenant = $1 AND user_id = $2 AND ended_at IS NULL",
            self.store.tenant(),
            user.0,
            self.store.now().to_utc(),
        )
        .execute(&self.store.pool)
        .await
        .map_err(broken("forget a user"))?;
        Ok(())
    }
}

impl LoginNames for Logins {
    fn reserve<'a>(&'a self, name: &'a LoginName, user: UserId) -> BoxFuture<'a, Result<(), NameError>> {
        Box::pin(self.take(name, user))
    }

    fn confirm<'a>(&'a self, name: &'a LoginName, user: UserId) -> BoxFuture<'a, Result<(), NameError>> {
        Box::pin(self.settle(name, user))
    }

    fn release<'a>(&'a self, name: &'a LoginName, user: UserId) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let digest = self.digest(name);
            let released = sqlx::query!(
                "DELETE FROM access.login WHERE tenant = $1 AND name = $2 AND user_id = $3 AND confirmed_at IS NULL",
                self.store.tenant(),
                digest.as_slice(),
                user.0,
            )
            .execute(&self.store.pool)
            .await;
            released.map(|_| ()).map_err(broken("release a login name"))
        })
    }

    fn find<'a>(&'a self, name: &'a LoginName) -> BoxFuture<'a, Result<Option<UserId>, StoreError>> {
        Box::pin(async move {
            let digest = self.digest(name);
            let found = sqlx::query_scalar!(
                "SELECT user_id FROM access.login WHERE tenant = $1 AND name = $2 AND confirmed_at IS NOT NULL",
                self.store.tenant(),
                digest.as_slice(),
            )
            .fetch_optional(&self.store.pool)
            .await;
            Ok(found.map_err(broken("find a login name"))?.map(UserId))
        })
    }

    fn forget(&self, user: UserId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.forget_user(user))
    }
}

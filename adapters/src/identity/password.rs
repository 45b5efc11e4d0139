//! Passwords: `access.password`.
//!
//! Signing in does the same for a name that exists and for one that does not: one turn at the hasher, one try counted, one look-up, one hash.

use std::net::IpAddr;
use std::sync::Arc;

use lotline_domain::id::UserId;
use lotline_domain::identity::password::{self, Password};
use lotline_domain::identity::port::{LinkPurpose, PasswordError, Passwords, SignInError, StoreError};
use lotline_domain::identity::secret::SecretDigest;
use lotline_domain::port::BoxFuture;

use super::hasher::{Busy, Hasher, Turn};
use super::link::LinkTable;
use super::lockout::{Addresses, Lockout};
use super::login::{Logins, NameDigest};
use super::store::{Store, broken};
use super::watch::Watch;

/// A tenant's passwords.
pub(super) struct PasswordTable {
    pub(super) store: Store,
    pub(super) hasher: Arc<Hasher>,
    pub(super) logins: Logins,
    pub(super) lockout: Lockout,
    pub(super) addresses: Addresses,
    pub(super) links: LinkTable,
    pub(super) watch: Arc<Watch>,
}

/// Whom a name or a user id leads to.
struct Known {
    user: UserId,
    phc: Option<String>,
}

impl PasswordTable {
    async fn named(&self, name: &NameDigest) -> Result<Option<Known>, StoreError> {
        let found = sqlx::query!(
            r#"SELECT login.user_id, password.phc AS "phc?"
               FROM access.login LEFT JOIN access.password USING (tenant, user_id)
               WHERE login.tenant = $1 AND login.name = $2 AND login.confirmed_at IS NOT NULL"#,
            self.store.tenant(),
            name.as_slice(),
        )
        .fetch_optional(&self.store.pool)
        .await
        .map_err(broken("look a password up"))?;
        Ok(found.map(|row| Known { user: UserId(row.user_id), phc: row.phc }))
    }

    /// The name under which a user's tries are counted, and the password.
    async fn of_user(&self, user: UserId) -> Result<(NameDigest, Known), StoreError> {
        let found = sqlx::query!(
            r#"SELECT (SELECT name FROM access.login
                       WHERE tenant = $1 AND user_id = $2 AND confirmed_at IS NOT NULL) AS name,
                      (SELECT phc FROM access.password WHERE tenant = $1 AND user_id = $2) AS phc"#,
            self.store.tenant(),
            user.0,
        )
        .fetch_one(&self.store.pool)
        .await
        .map_err(broken("look a password up"))?;
        let name = found.name.and_then(|name| name.try_into().ok());
        Ok((name.unwrap_or_else(|| self.logins.digest_of_user(user)), Known { user, phc: found.phc }))
    }

    /// Looks at a password whose try has been counted.
    async fn look(
        &self,
        turn: Turn,
        name: &NameDigest,
        known: Option<Known>,
        typed: &str,
        from: IpAddr,
    ) -> Result<UserId, SignInError> {
        let user = known.as_ref().map(|known| known.user);
        let phc = known.and_then(|known| known.phc);
        let verdict = self.hasher.verify(turn, Password::new(typed), phc.clone()).await?;
        let (Some(user), true) = (user, verdict.matches) else {
            metrics::counter!("lotline_sign_ins_total", "outcome" => "wrong").increment(1);
            return Err(SignInError::Wrong);
        };
        self.addresses.forgive(from);
        self.lockout.forgive(name).await?;
        if let (Some(renewed), Some(old)) = (verdict.renewed, phc) {
            self.renew(user, &old, &renewed).await?;
        }
        metrics::counter!("lotline_sign_ins_total", "outcome" => "right").increment(1);
        Ok(user)
    }

    async fn turn(&self, from: IpAddr) -> Result<Turn, SignInError> {
        let turn = match self.addresses.charge(from, self.store.now()) {
            Ok(()) => self.hasher.turn().await.map_err(|Busy| {
                self.addresses.forgive(from);
                SignInError::Busy
            }),
            Err(throttled) => Err(throttled),
        };
        turn.inspect_err(|_| metrics::counter!("lotline_sign_ins_total", "outcome" => "turned_away").increment(1))
    }

    /// Counts a try for the name. The address stays charged also when the name is locked.
    async fn charge(&self, name: &NameDigest) -> Result<(), SignInError> {
        self.lockout.charge(name).await.inspect_err(|error| {
            if matches!(error, SignInError::Locked { .. }) {
                metrics::counter!("lotline_sign_ins_total", "outcome" => "locked").increment(1);
            }
        })
    }

    /// Keeps a dearer hash of the same password, unless the password has been changed meanwhile.
    async fn renew(&self, user: UserId, old: &str, renewed: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE access.password SET phc = $4 WHERE tenant = $1 AND user_id = $2 AND phc = $3",
            self.store.tenant(),
            user.0,
            old,
            renewed,
        )
        .execute(&self.store.pool)
        .await
        .map(|_| ())
        .map_err(broken("renew a password's hash"))
    }

    async fn hash(&self, typed: &str, about: &[&str]) -> Result<String, PasswordError> {
        let password = password::choose(typed, about)?;
        let turn = self.hasher.turn().await.map_err(|Busy| PasswordError::Busy)?;
        Ok(self.hasher.hash(turn, password).await?)
    }

    async fn keep(&self, user: UserId, phc: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "INSERT INTO access.password (tenant, user_id, phc, changed_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant, user_id) DO UPDATE SET phc = EXCLUDED.phc, changed_at = EXCLUDED.changed_at",
            self.store.tenant(),
            user.0,
            phc,
            self.store.now().to_utc(),
        )
        .execute(&self.store.pool)
        .await
        .map(|_| ())
        .map_err(broken("set a password"))
    }

    /// One statement: a link is used up if and only if the password is set, and of two at the same time one finds it unused.
    async fn keep_by_link(
        &self,
        link: &SecretDigest,
        purpose: LinkPurpose,
        phc: &str,
    ) -> Result<Option<UserId>, StoreError> {
        let set = sqlx::query_scalar!(
            "WITH used AS (
                 UPDATE access.link SET used_at = $5
                 WHERE digest = $2 AND tenant = $1 AND purpose = $3 AND used_at IS NULL AND expires_at > $5
                 RETURNING user_id
             ), withdrawn AS (
                 DELETE FROM access.link USING used
                 WHERE link.tenant = $1 AND link.user_id = used.user_id AND link.digest <> $2
             ), ended AS (
                 UPDATE access.session SET ended_at = $5, end_reason = 'password_changed' FROM used
                 WHERE session.tenant = $1 AND session.user_id = used.user_id AND session.ended_at IS NULL
             ), forgiven AS (
                 DELETE FROM access.strikes USING used, access.login
                 WHERE strikes.tenant = $1 AND login.tenant = $1 AND login.user_id = used.user_id AND strikes.name = login.name
             )
             INSERT INTO access.password (tenant, user_id, phc, changed_at) SELECT $1, user_id, $4, $5 FROM used
             ON CONFLICT (tenant, user_id) DO UPDATE SET phc = EXCLUDED.phc, changed_at = EXCLUDED.changed_at
             RETURNING user_id",
            self.store.tenant(),
            link.as_bytes().as_slice(),
            purpose.as_str(),
            phc,
            self.store.now().to_utc(),
        )
        .fetch_optional(&self.store.pool)
        .await
        .map_err(broken("set a password by a link"))?;
        Ok(set.map(UserId))
    }
}

impl Passwords for PasswordTable {
    fn sign_in<'a>(
        &'a self,
        name: &'a str,
        password: &'a str,
        from: IpAddr,
    ) -> BoxFuture<'a, Result<UserId, SignInError>> {
        Box::pin(async move {
            let turn = self.turn(from).await?;
            let name = self.logins.digest_of_typed(name);
            self.charge(&name).await?;
            let known = self.named(&name).await?;
            self.look(turn, &name, known, password, from).await
        })
    }

    fn confirm<'a>(&'a self, user: UserId, password: &'a str, from: IpAddr) -> BoxFuture<'a, Result<(), SignInError>> {
        Box::pin(async move {
            let turn = self.turn(from).await?;
            let (name, known) = self.of_user(user).await?;
            self.charge(&name).await?;
            self.look(turn, &name, Some(known), password, from).await.map(|_| ())
        })
    }

    fn set<'a>(
        &'a self,
        user: UserId,
        password: &'a str,
        about: &'a [&'a str],
    ) -> BoxFuture<'a, Result<(), PasswordError>> {
        Box::pin(async move {
            let phc = self.hash(password, about).await?;
            Ok(self.keep(user, &phc).await?)
        })
    }

    fn set_by_link<'a>(
        &'a self,
        link: &'a str,
        purpose: LinkPurpose,
        password: &'a str,
        about: &'a [&'a str],
    ) -> BoxFuture<'a, Result<UserId, PasswordError>> {
        Box::pin(async move {
            // Before any hash: whoever has no good link costs nothing.
            let digest = self.links.good(purpose, link).await?.0;
            let phc = self.hash(password, about).await?;
            let Some(user) = self.keep_by_link(&digest, purpose, &phc).await? else {
                return Err(self.links.why_not(purpose, &digest).await?.into());
            };
            self.watch.look_now().await;
            Ok(user)
        })
    }

    fn exists(&self, user: UserId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            sqlx::query_scalar!(
                "SELECT EXISTS (SELECT FROM access.password WHERE tenant = $1 AND user_id = $2) AS \"exists!\"",
                self.store.tenant(),
                user.0,
            )
            .fetch_one(&self.store.pool)
            .await
            .map_err(broken("look a password up"))
        })
    }
}

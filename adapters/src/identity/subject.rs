//! People as a provider of single sign-on knows them: `access.sign_on_subject`, `access.sign_on_attempt`.
//!
//! A subject can be an address or a number of staff, so that it is kept like a login name: as an HMAC under a secret of the tenant.

use lotline_domain::id::UserId;
use lotline_domain::identity::port::StoreError;
use lotline_domain::identity::sign_on::{ExternalSubject, Subjects};
use lotline_domain::port::BoxFuture;
use lotline_domain::timestamp::Timestamp;

use super::login::{Logins, NameDigest};
use super::store::{Store, broken};

/// A tenant's subjects.
pub(super) struct SubjectTable {
    pub(super) store: Store,
    pub(super) logins: Logins,
}

impl SubjectTable {
    fn digest(&self, subject: &ExternalSubject) -> NameDigest {
        self.logins.digest_of_subject(&subject.issuer, &subject.subject)
    }
}

impl Subjects for SubjectTable {
    fn find<'a>(&'a self, subject: &'a ExternalSubject) -> BoxFuture<'a, Result<Option<UserId>, StoreError>> {
        Box::pin(async move {
            let digest = self.digest(subject);
            let found = sqlx::query_scalar!(
                "SELECT user_id FROM access.sign_on_subject WHERE tenant = $1 AND issuer = $2 AND subject = $3",
                self.store.tenant(),
                subject.issuer,
                digest.as_slice(),
            )
            .fetch_optional(&self.store.pool)
            .await
            .map_err(broken("look a subject up"))?;
            Ok(found.map(UserId))
        })
    }

    fn link<'a>(&'a self, subject: &'a ExternalSubject, user: UserId) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let digest = self.digest(subject);
            // Whichever of the two is taken already, nothing is written; the second look finds out whether it was by the same.
            sqlx::query!(
                "INSERT INTO access.sign_on_subject (tenant, issuer, subject, user_id, linked_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT DO NOTHING",
                self.store.tenant(),
                subject.issuer,
                digest.as_slice(),
                user.0,
                self.store.now().to_utc(),
            )
            .execute(&self.store.pool)
            .await
            .map_err(broken("link a subject to a user"))?;
            Ok(self.find(subject).await? == Some(user))
        })
    }

    fn use_up(&self, attempt: [u8; 32], until: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let used = sqlx::query!(
                "INSERT INTO access.sign_on_attempt (tenant, digest, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                self.store.tenant(),
                attempt.as_slice(),
                until.to_utc(),
            )
            .execute(&self.store.pool)
            .await
            .map_err(broken("use an attempt to sign on"))?;
            Ok(used.rows_affected() == 1)
        })
    }
}

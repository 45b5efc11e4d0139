//! Proofs for signatures: `access.proof`. A row is there until its proof is used, which is one DELETE.

use std::time::Duration;

use lotline_domain::identity::port::{ProofScope, Proofs, StoreError};
use lotline_domain::identity::secret::{OpaqueToken, SecretKind};
use lotline_domain::port::BoxFuture;

use super::store::{Store, broken, fresh_token, later};

/// How long a proof is good.
const LIFETIME: Duration = Duration::from_mins(2);

/// A tenant's proofs.
pub(super) struct ProofTable {
    store: Store,
}

impl ProofTable {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Proofs for ProofTable {
    fn issue(&self, scope: ProofScope) -> BoxFuture<'_, Result<OpaqueToken, StoreError>> {
        Box::pin(async move {
            let proof = fresh_token(SecretKind::Proof);
            let digest = proof.digest();
            sqlx::query!(
                "INSERT INTO access.proof (digest, tenant, user_id, session, command, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6)",
                digest.as_bytes().as_slice(),
                self.store.tenant(),
                scope.user.0,
                scope.session.0,
                scope.command.as_slice(),
                later(self.store.now(), LIFETIME).to_utc(),
            )
            .execute(&self.store.pool)
            .await
            .map_err(broken("make a proof"))?;
            Ok(proof)
        })
    }

    fn redeem<'a>(&'a self, proof: &'a str, scope: ProofScope) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let Some(proof) = OpaqueToken::parse(SecretKind::Proof, proof) else { return Ok(false) };
            let digest = proof.digest();
            let used = sqlx::query!(
                "DELETE FROM access.proof
                 WHERE digest = $1 AND tenant = $2 AND user_id = $3 AND session = $4 AND command = $5 AND expires_at > $6",
                digest.as_bytes().as_slice(),
                self.store.tenant(),
                scope.user.0,
                scope.session.0,
                scope.command.as_slice(),
                self.store.now().to_utc(),
            )
            .execute(&self.store.pool)
            .await
            .map_err(broken("use a proof"))?;
            Ok(used.rows_affected() == 1)
        })
    }
}

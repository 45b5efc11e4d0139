//! Clears away what no rule asks for any more, so that the tables stay as small as what is going on.

use std::time::Duration;

use lotline_domain::identity::lockout;
use lotline_domain::identity::port::StoreError;

use super::login::RESERVED_FOR;
use super::store::{Store, broken, earlier};

/// How long it can still be told why a session or a link is not good.
const EXPLAINED_FOR: Duration = Duration::from_hours(7 * 24);

/// Deletes a tenant's sessions, links, proofs, strikes, attempts to sign on and reservations that are over. Returns how many rows went.
pub(super) async fn clear(store: &Store) -> Result<u64, StoreError> {
    let now = store.now();
    let cleared = sqlx::query_scalar!(
        r#"WITH sessions AS (
               DELETE FROM access.session WHERE tenant = $1 AND (ended_at < $2 OR token_expires_at < $2) RETURNING 1
           ), links AS (
               DELETE FROM access.link WHERE tenant = $1 AND expires_at < $2 RETURNING 1
           ), proofs AS (
               DELETE FROM access.proof WHERE tenant = $1 AND expires_at < $3 RETURNING 1
           ), strikes AS (
               DELETE FROM access.strikes WHERE tenant = $1 AND last_failed_at < $4 AND locked_until < $3 RETURNING 1
           ), attempts AS (
               DELETE FROM access.sign_on_attempt WHERE tenant = $1 AND expires_at < $3 RETURNING 1
           ), reservations AS (
               DELETE FROM access.login WHERE tenant = $1 AND confirmed_at IS NULL AND reserved_at < $5 RETURNING 1
           )
           SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM links) + (SELECT count(*) FROM proofs)
                + (SELECT count(*) FROM strikes) + (SELECT count(*) FROM attempts) + (SELECT count(*) FROM reservations) AS "cleared!""#,
        store.tenant(),
        earlier(now, EXPLAINED_FOR).to_utc(),
        now.to_utc(),
        earlier(now, lockout::FORGOTTEN_AFTER).to_utc(),
        // One that somebody confirms late is still there for a while.
        earlier(now, RESERVED_FOR * 6).to_utc(),
    )
    .fetch_one(&store.pool)
    .await
    .map_err(broken("clear away old credentials"))?;
    Ok(cleared.cast_unsigned())
}

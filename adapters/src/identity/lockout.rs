//! Wrong passwords: counted for a name in `access.strikes`, by the rules of `lotline_domain::identity::lockout`; and for an address in memory,
//! where each node counts for itself.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lotline_domain::identity::lockout::{self, AddressLimit, Locked, Strikes};
use lotline_domain::identity::port::{SignInError, StoreError};
use lotline_domain::timestamp::Timestamp;

use super::login::NameDigest;
use super::recent::Recent;
use super::store::{Store, broken, later};

/// Addresses that are remembered, in halves.
const ADDRESSES: usize = 10_000;

/// The strikes of a tenant's names.
#[derive(Clone)]
pub(super) struct Lockout {
    store: Store,
}

impl Lockout {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Counts a try before its password is looked at. Of many at the same time each is counted: one that finds the count changed looks again.
    pub(super) async fn charge(&self, name: &NameDigest) -> Result<(), SignInError> {
        loop {
            let before = self.strikes(name).await?;
            let after = match lockout::charge(before, self.store.now()) {
                Ok(after) => after,
                Err(Locked { until }) => return Err(SignInError::Locked { until }),
            };
            if self.replace(name, before, after).await? {
                return Ok(());
            }
        }
    }

    /// The password was right: failures are forgotten.
    pub(super) async fn forgive(&self, name: &NameDigest) -> Result<(), StoreError> {
        sqlx::query!("DELETE FROM access.strikes WHERE tenant = $1 AND name = $2", self.store.tenant(), name.as_slice())
            .execute(&self.store.pool)
            .await
            .map(|_| ())
            .map_err(broken("forget wrong passwords"))
    }

    async fn strikes(&self, name: &NameDigest) -> Result<Option<Strikes>, StoreError> {
        let found = sqlx::query!(
            "SELECT failures, last_failed_at, locked_until FROM access.strikes WHERE tenant = $1 AND name = $2",
            self.store.tenant(),
            name.as_slice(),
        )
        .fetch_optional(&self.store.pool)
        .await
        .map_err(broken("read wrong passwords"))?;
        Ok(found.map(|row| Strikes {
            failures: row.failures as u32,
            last_failed_at: row.last_failed_at.into(),
            locked_until: row.locked_until.into(),
        }))
    }

    /// Writes `after` unless somebody else has written since `before` was read.
    async fn replace(&self, name: &NameDigest, before: Option<Strikes>, after: Strikes) -> Result<bool, StoreError> {
        let expected = before.map(|strikes| strikes.failures);
        let expected_at = before.map(|strikes| strikes.last_failed_at.to_utc());
        let written = sqlx::query!(
            "INSERT INTO access.strikes AS strikes (tenant, name, failures, last_failed_at, locked_until)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant, name) DO UPDATE
             SET failures = EXCLUDED.failures, last_failed_at = EXCLUDED.last_failed_at, locked_until = EXCLUDED.locked_until
             WHERE strikes.failures = $6 AND strikes.last_failed_at = $7",
            self.store.tenant(),
            name.as_slice(),
            i64::from(after.failures),
            after.last_failed_at.to_utc(),
            after.locked_until.to_utc(),
            expected.map(i64::from),
            expected_at,
        )
        .execute(&self.store.pool)
        .await
        .map_err(broken("count a wrong password"))?;
        Ok(written.rows_affected() == 1)
    }
}

/// Failures by address, in this process.
pub(super) struct Addresses {
    limit: AddressLimit,
    seen: Mutex<Recent<IpAddr, Window>>,
}

#[derive(Clone, Copy)]
struct Window {
    ends: Timestamp,
    failures: u32,
}

impl Addresses {
    pub(super) fn new(limit: AddressLimit) -> Self {
        Self { limit, seen: Mutex::new(Recent::new(ADDRESSES)) }
    }

    /// Counts a try from an address before its password is looked at.
    pub(super) fn charge(&self, from: IpAddr, now: Timestamp) -> Result<(), SignInError> {
        let from = lockout::neighbourhood(from);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = seen.get(&from).filter(|window| window.ends > now) {
            if window.failures >= self.limit.failures {
                let micros = window.ends.micros().saturating_sub(now.micros());
                return Err(SignInError::Throttled { retry_after: Duration::from_micros(micros.cast_unsigned()) });
            }
            window.failures += 1;
        } else {
            seen.put(from, Window { ends: later(now, self.limit.window), failures: 1 });
        }
        Ok(())
    }

    /// The try was none of an attacker.
    pub(super) fn forgive(&self, from: IpAddr) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = seen.get(&lockout::neighbourhood(from)) {
            window.failures = window.failures.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_let_through_again_after_its_window() {
        let addresses = Addresses::new(AddressLimit { failures: 3, window: Duration::from_mins(5) });
        let (now, later) = (Timestamp::from_millis(1_000), Timestamp::from_millis(301_000));
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..3 {
            addresses.charge(one, now).unwrap();
        }
        let refused = addresses.charge(one, now).unwrap_err();
        assert!(matches!(refused, SignInError::Throttled { retry_after } if retry_after == Duration::from_mins(5)));
        addresses.charge(other, now).unwrap();
        addresses.forgive(one);
        addresses.charge(one, now).unwrap();
        assert!(addresses.charge(one, now).is_err(), "forgiven once, charged once");
        addresses.charge(one, later).unwrap();
    }
}

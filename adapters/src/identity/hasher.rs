//! Argon2id (RFC 9106) away from the threads that serve requests, a few at a time.
//!
//! A hash costs tens of milliseconds of a core and 19 MiB by design, so whoever sends many passwords must not get all cores: at most
//! [`HasherOptions::at_once`] are worked on, a bounded number waits for a bounded time, and the others are told that it is busy.
//!
//! Whoever is not known costs what a hash of today's parameters costs. One that was stored before they were raised costs less to look at, so the
//! rest is worked off beside it until the next sign-in renews it: how long an answer takes tells neither who is known nor who has not come for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as HashError, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use lotline_domain::identity::password::Password;
use lotline_domain::identity::port::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::clock::random_bytes;

/// What a hash costs, and how many there may be.
#[derive(Debug, Clone)]
pub struct HasherOptions {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Hashes worked on at the same time.
    pub at_once: usize,
    /// How many more may wait.
    pub waiting: usize,
    /// How long each waits at most.
    pub patience: Duration,
}

impl Default for HasherOptions {
    /// OWASP Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, at_once: 2, waiting: 64, patience: Duration::from_secs(5) }
    }
}

/// The hasher of a process.
pub struct Hasher {
    argon2: Argon2<'static>,
    at_once: Arc<Semaphore>,
    entrance: Arc<Semaphore>,
    patience: Duration,
    done: Arc<AtomicU64>,
    dummy: Arc<str>,
}

/// The right to hash one password. Taken before a try is counted, so that nobody is charged for a busy server.
pub(super) struct Turn {
    _work: OwnedSemaphorePermit,
    _entrance: OwnedSemaphorePermit,
}

/// Too many others hash.
#[derive(Debug)]
pub(super) struct Busy;

/// What came out of looking at a password.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) matches: bool,
    /// The same password with today's parameters, when the stored hash is cheaper than they are.
    pub(super) renewed: Option<String>,
}

impl Hasher {
    /// A hasher with these parameters. Hashes once, for names that nobody has.
    ///
    /// # Errors
    /// When Argon2 can't be run with them.
    pub fn new(options: &HasherOptions) -> Result<Self, StoreError> {
        let bad = |error| StoreError::new("prepare password hashing", Refused(error));
        let params = Params::new(options.memory_kib, options.passes, 1, None).map_err(|error| bad(error.into()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = hash(&argon2, &random_bytes::<32>()).map_err(bad)?;
        Ok(Self {
            argon2,
            at_once: Arc::new(Semaphore::new(options.at_once)),
            entrance: Arc::new(Semaphore::new(options.at_once + options.waiting)),
            patience: options.patience,
            done: Arc::default(),
            dummy: dummy.into(),
        })
    }

    /// How many passwords have been hashed for others so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) async fn turn(&self) -> Result<Turn, Busy> {
        let entrance = Arc::clone(&self.entrance).try_acquire_owned().map_err(|_| Busy)?;
        let work = timeout(self.patience, Arc::clone(&self.at_once).acquire_owned()).await.map_err(|_| Busy)?;
        Ok(Turn { _work: work.map_err(|_| Busy)?, _entrance: entrance })
    }

    /// Hashes a new password.
    pub(super) async fn hash(&self, turn: Turn, password: Password) -> Result<String, StoreError> {
        let (argon2, done) = (self.argon2.clone(), Arc::clone(&self.done));
        let work = move || {
            // The turn goes along: it is over when the work is, not when the request is given up.
            let _turn = turn;
            done.fetch_add(1, Ordering::Relaxed);
            hash(&argon2, password.as_bytes())
        };
        finish("hash a password", spawn_blocking(work).await)
    }

    /// Compares with a stored hash, or does the same work when there is none.
    pub(super) async fn verify(
        &self,
        turn: Turn,
        password: Option<Password>,
        stored: Option<String>,
    ) -> Result<Verdict, StoreError> {
        let (argon2, done, dummy) = (self.argon2.clone(), Arc::clone(&self.done), Arc::clone(&self.dummy));
        let work = move || {
            let _turn = turn;
            done.fetch_add(1, Ordering::Relaxed);
            let typed = password.as_ref().map_or(b"".as_slice(), Password::as_bytes);
            let of_somebody = stored.is_some() && password.is_some();
            let stored =
                PasswordHash::new(stored.as_deref().unwrap_or(&dummy)).map_err(|_| HashError::EncodingInvalid)?;
            let matches = match argon2.verify_password(typed, &stored) {
                Ok(()) => of_somebody,
                Err(HashError::PasswordInvalid) => false,
                Err(error) => return Err(error),
            };
            if matches && cheaper(&stored, argon2.params()) {
                done.fetch_add(1, Ordering::Relaxed);
                return Ok(Verdict { matches, renewed: Some(hash(&argon2, typed)?) });
            }
            if let Some(rest) = rest(&stored, argon2.params()) {
                let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
                Argon2::new(Algorithm::Argon2id, Version::V0x13, rest).hash_password_into(typed, &[0; 16], &mut out)?;
            }
            Ok(Verdict { matches, renewed: None })
        };
        finish("compare a password", spawn_blocking(work).await)
    }
}

/// Why Argon2 did not run, for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(HashError);

fn finish<T>(
    action: &'static str,
    done: Result<Result<T, HashError>, tokio::task::JoinError>,
) -> Result<T, StoreError> {
    done.map_err(|error| StoreError::new(action, error))?.map_err(|error| StoreError::new(action, Refused(error)))
}

fn hash(argon2: &Argon2<'_>, password: &[u8]) -> Result<String, HashError> {
    let salt = random_bytes::<16>();
    Ok(argon2.hash_password_with_salt(password, &salt)?.to_string())
}

/// Whether a stored hash is worth less than those made now. One with more memory and fewer passes counts as worth less: today's choice decides.
fn cheaper(stored: &PasswordHash, wanted: &Params) -> bool {
    Params::try_from(stored).map_or(true, |params| {
        params.m_cost() < wanted.m_cost() || params.t_cost() < wanted.t_cost() || params.p_cost() < wanted.p_cost()
    })
}

/// What looking at a stored hash costs less than one made now, as the parameters of a hash that costs as much; nothing when it does not.
fn rest(stored: &PasswordHash, wanted: &Params) -> Option<Params> {
    let cost = |params: &Params| u64::from(params.m_cost()) * u64::from(params.t_cost());
    let missing = cost(wanted).checked_sub(cost(&Params::try_from(stored).ok()?))?;
    let passes = missing.div_ceil(u64::from(wanted.m_cost()));
    let memory = missing.checked_div(passes)?.max(u64::from(Params::MIN_M_COST));
    Params::new(u32::try_from(memory).ok()?, u32::try_from(passes).ok()?, 1, None).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(memory_kib: u32, passes: u32) -> PasswordHash {
        let params = Params::new(memory_kib, passes, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        PasswordHash::new(&hash(&argon2, b"typed").unwrap()).unwrap()
    }

    #[test]
    fn what_a_stored_hash_costs_less_is_worked_off() {
        let wanted = |memory_kib, passes| Params::new(memory_kib, passes, 1, None).unwrap();
        for (old, new, expected) in [
            ((64, 2), (64, 2), None),
            ((64, 2), (64, 3), Some((64, 1))),
            ((64, 2), (64, 7), Some((64, 5))),
            ((64, 2), (96, 2), Some((64, 1))),
            ((64, 1), (256, 2), Some((224, 2))),
            ((64, 3), (128, 1), None),
            ((64, 1), (65, 1), Some((8, 1))),
        ] {
            let rest = rest(&stored(old.0, old.1), &wanted(new.0, new.1));
            let rest = rest.map(|params| (params.m_cost(), params.t_cost()));
            assert_eq!(rest, expected, "{old:?} {new:?}");
        }
    }
}

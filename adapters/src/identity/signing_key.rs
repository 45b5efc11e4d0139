//! Signing keys: `access.signing_key`, Ed25519, changed by the rules of `lotline_domain::identity::signing`.
//!
//! A private key stands in the table as it is, or encrypted (AES-256-GCM) when configuration gives a key for that, which a copy of the database
//! does not have. Keys that stand there in clear are then encrypted at the next look:
//!
//! ```text
//! | nonce 12 | ciphertext 32 | tag 16 |      additional data: tenant '/' name of the key
//! ```

use std::collections::HashMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, ParsedPublicKey};
use lotline_domain::identity::port::StoreError;
use lotline_domain::identity::signing::{self, KeyTime, RotationPolicy};
use lotline_domain::identity::token::{Claims, KeyName, TokenRefusal, Unverified, public_jwk};
use lotline_domain::timestamp::Timestamp;
use thiserror::Error;

use super::store::{Store, broken};
use crate::clock::random_bytes;

const ACTION: &str = "read the signing keys";

/// The key under which private keys are kept. Its `Debug` does not show it.
#[derive(Clone)]
pub struct KeyEncryption([u8; 32]);

impl KeyEncryption {
    /// From 256 bits that nobody else has.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, &self.0).expect("invariant: AES-256 takes 32 bytes");
        LessSafeKey::new(key)
    }

    fn seal(&self, place: &str, seed: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let nonce = random_bytes::<NONCE_LEN>();
        let mut text = seed.to_vec();
        let aad = Aad::from(place.as_bytes());
        let sealed = self.cipher().seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text);
        sealed.map_err(|_| KeyFault::Sealing)?;
        Ok([nonce.as_slice(), &text].concat())
    }

    fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(KeyFault::WrongEncryption)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyFault::WrongEncryption)?;
        let mut text = text.to_vec();
        let opened = self.cipher().open_in_place(nonce, Aad::from(place.as_bytes()), &mut text);
        opened.map(|seed| seed.to_vec()).map_err(|_| KeyFault::WrongEncryption)
    }
}

impl std::fmt::Debug for KeyEncryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyEncryption").finish_non_exhaustive()
    }
}

/// Why signing keys can't be used.
#[derive(Debug, Error)]
enum KeyFault {
    #[error("the signing keys are encrypted, and no key for that is configured")]
    NoEncryption,
    #[error("the signing keys were encrypted under another key than the configured one")]
    WrongEncryption,
    #[error("a signing key can't be encrypted")]
    Sealing,
    #[error("a stored signing key is no Ed25519 key")]
    NoKey,
}

impl From<KeyFault> for StoreError {
    fn from(fault: KeyFault) -> Self {
        Self::new(ACTION, fault)
    }
}

/// A key of ours, ready for use.
struct Ready {
    time: KeyTime,
    public: [u8; 32],
    pair: Ed25519KeyPair,
    verifier: ParsedPublicKey,
}

/// All keys of a tenant at one moment.
#[derive(Default)]
pub(super) struct KeySet {
    keys: HashMap<KeyName, Ready>,
}

impl KeySet {
    pub(super) fn contains(&self, key: &KeyName) -> bool {
        self.keys.contains_key(key)
    }

    /// Signs with the key whose time it is; nothing when there is none.
    pub(super) fn sign(&self, claims: &Claims, now: Timestamp) -> Option<String> {
        let signing = signing::signing(&self.times(), now)?;
        let (name, ready) = self.keys.iter().find(|(_, ready)| ready.time == signing)?;
        Some(claims.sign(name, |message| {
            ready.pair.sign(message).as_ref().try_into().expect("invariant: an Ed25519 signature has 64 bytes")
        }))
    }

    /// The claims of a token whose signature is by one of these keys.
    pub(super) fn verify(&self, token: Unverified<'_>) -> Result<Claims, TokenRefusal> {
        let ready = self.keys.get(token.key()).ok_or(TokenRefusal::UnknownKey)?;
        token.verify(|message, signature| ready.verifier.verify_sig(message, signature).is_ok())
    }

    /// The public halves, in the order of their making.
    pub(super) fn published(&self) -> serde_json::Value {
        let mut keys: Vec<_> = self.keys.iter().collect();
        keys.sort_by_key(|(_, ready)| ready.time.generation);
        let keys: Vec<_> = keys.into_iter().map(|(name, ready)| public_jwk(name, &ready.public)).collect();
        serde_json::json!({ "keys": keys })
    }

    fn times(&self) -> Vec<KeyTime> {
        self.keys.values().map(|ready| ready.time).collect()
    }
}

/// The table.
pub(super) struct SigningKeys {
    pub(super) store: Store,
    pub(super) encryption: Option<KeyEncryption>,
    pub(super) rotation: RotationPolicy,
}

/// A row of it.
struct Row {
    time: KeyTime,
    public: [u8; 32],
    private: Vec<u8>,
    sealed: bool,
}

impl SigningKeys {
    /// Makes the key that is due, drops those that are over, and gives the set; nothing when it is as `known` has it.
    pub(super) async fn look(&self, known: &KeySet) -> Result<Option<KeySet>, StoreError> {
        let now = self.store.now();
        let mut rows = self.rows().await?;
        let times: Vec<_> = rows.iter().map(|row| row.time).collect();
        let over = signing::retired(&times, now, &self.rotation);
        if let Some(due) = signing::due(&times, now, &self.rotation) {
            self.make(due).await?;
            rows = self.rows().await?;
        }
        if !over.is_empty() {
            self.drop_keys(&over).await?;
            rows.retain(|row| !over.contains(&row.time.generation));
        }
        let unchanged =
            rows.len() == known.keys.len() && rows.iter().all(|row| known.contains(&KeyName::of(&row.public)));
        if unchanged {
            return Ok(None);
        }
        let mut keys = HashMap::new();
        for row in rows {
            keys.insert(KeyName::of(&row.public), self.ready(row).await?);
        }
        Ok(Some(KeySet { keys }))
    }

    /// Replaces every key at once, because one may have been stolen: all access tokens die, sessions go on by their refresh tokens.
    pub(super) async fn replace_all(&self) -> Result<(), StoreError> {
        let times: Vec<_> = self.rows().await?.iter().map(|row| row.time.generation).collect();
        let last = times.iter().max().copied().unwrap_or_default();
        self.make(KeyTime { generation: last + 1, signs_from: self.store.now() }).await?;
        self.drop_keys(&times).await
    }

    async fn rows(&self) -> Result<Vec<Row>, StoreError> {
        let rows = sqlx::query!(
            "SELECT generation, public_key, private_key, sealed, signs_from FROM access.signing_key WHERE tenant = $1",
            self.store.tenant(),
        )
        .fetch_all(&self.store.pool)
        .await
        .map_err(broken(ACTION))?;
        let row = rows.into_iter().map(|row| {
            let public = row.public_key.as_slice().try_into().map_err(|_| KeyFault::NoKey)?;
            let time = KeyTime { generation: row.generation as u32, signs_from: row.signs_from.into() };
            Ok(Row { time, public, private: row.private_key, sealed: row.sealed })
        });
        row.collect()
    }

    async fn make(&self, time: KeyTime) -> Result<(), StoreError> {
        let seed = random_bytes::<32>();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyFault::NoKey)?;
        let public = public_half(&pair);
        let private = match &self.encryption {
            Some(encryption) => encryption.seal(&self.place(&public), &seed)?,
            None => seed.to_vec(),
        };
        // Whichever server comes first has made it.
        let made = sqlx::query!(
            "INSERT INTO access.signing_key (tenant, generation, public_key, private_key, sealed, signs_from)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, generation) DO NOTHING",
            self.store.tenant(),
            i64::from(time.generation),
            public.as_slice(),
            private,
            self.encryption.is_some(),
            time.signs_from.to_utc(),
        )
        .execute(&self.store.pool)
        .await
        .map_err(broken("make a signing key"))?;
        if made.rows_affected() == 1 {
            let (key, signs_from) = (KeyName::of(&public), time.signs_from);
            tracing::info!(key.name = key.as_str(), key.signs_from = %signs_from, "a signing key was made");
        }
        Ok(())
    }

    async fn drop_keys(&self, generations: &[u32]) -> Result<(), StoreError> {
        let generations: Vec<_> = generations.iter().map(|generation| i64::from(*generation)).collect();
        sqlx::query!(
            "DELETE FROM access.signing_key WHERE tenant = $1 AND generation = ANY($2)",
            self.store.tenant(),
            &generations,
        )
        .execute(&self.store.pool)
        .await
        .map(|_| ())
        .map_err(broken("drop signing keys that are over"))
    }

    async fn ready(&self, row: Row) -> Result<Ready, StoreError> {
        let place = self.place(&row.public);
        let seed = match (&self.encryption, row.sealed) {
            (Some(encryption), true) => encryption.open(&place, &row.private)?,
            (None, true) => return Err(KeyFault::NoEncryption.into()),
            (_, false) => row.private,
        };
        let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &row.public).map_err(|_| KeyFault::NoKey)?;
        let verifier = ParsedPublicKey::new(&ED25519, row.public).map_err(|_| KeyFault::NoKey)?;
        if let (Some(encryption), false) = (&self.encryption, row.sealed) {
            self.encrypt(row.time.generation, &encryption.seal(&place, &seed)?).await?;
        }
        Ok(Ready { time: row.time, public: row.public, pair, verifier })
    }

    async fn encrypt(&self, generation: u32, private: &[u8]) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE access.signing_key SET private_key = $3, sealed = true
             WHERE tenant = $1 AND generation = $2 AND NOT sealed",
            self.store.tenant(),
            i64::from(generation),
            private,
        )
        .execute(&self.store.pool)
        .await
        .map(|_| ())
        .map_err(broken("encrypt a signing key"))
    }

    fn place(&self, public: &[u8; 32]) -> String {
        format!("{}/{}", self.store.tenant(), KeyName::of(public).as_str())
    }
}

fn public_half(pair: &Ed25519KeyPair) -> [u8; 32] {
    pair.public_key().as_ref().try_into().expect("invariant: an Ed25519 public key has 32 bytes")
}

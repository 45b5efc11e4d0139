//! Personal data in an immutable log: encrypted under a key per person, so that erasing is destroying the key.
//!
//! AES-256-GCM (NIST SP 800-38D). The field is encrypted before the event is hashed, so the chain still verifies after the key is gone.
//! The nonce is derived from key, context and plaintext (HMAC-SHA-256, in the manner of SIV, RFC 5297): the same command sent twice gives
//! the same bytes and thereby the same command hash, and two different texts never share a nonce.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

use crate::schema;

/// A key that belongs to one person. It lives in PostgreSQL, never in the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PersonalKey {
    /// Names the key in [`Personal`].
    pub id: Uuid,
    /// 256 bits.
    pub secret: [u8; 32],
}

/// An encrypted field of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Personal {
    /// Which key opens it.
    #[schemars(schema_with = "schema::uuid")]
    pub key_id: Uuid,
    /// 12 bytes, hex.
    #[schemars(regex(pattern = "^[0-9a-f]{24}$"))]
    pub nonce: String,
    /// Ciphertext followed by the 16-byte tag, hex.
    #[schemars(regex(pattern = "^([0-9a-f]{2}){16,}$"))]
    pub ciphertext: String,
}

/// The field can't be opened: wrong key, wrong place, or changed bytes.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
#[error("the personal field can't be opened with this key in this place")]
pub struct Sealed;

impl PersonalKey {
    /// Encrypts `text`. `context` names the place, such as `qc_decision/<id>/notes`; the same is needed to open it.
    pub fn seal(&self, context: &str, text: &str) -> Personal {
        let nonce = self.nonce(context, text);
        let payload = Payload { msg: text.as_bytes(), aad: context.as_bytes() };
        let ciphertext = self
            .cipher()
            .encrypt(&Nonce::from(nonce), payload)
            .expect("invariant: AES-GCM encrypts any text below 64 GiB");
        Personal { key_id: self.id, nonce: hex::encode(nonce), ciphertext: hex::encode(ciphertext) }
    }

    /// Decrypts a field.
    ///
    /// # Errors
    /// [`Sealed`].
    pub fn open(&self, context: &str, field: &Personal) -> Result<String, Sealed> {
        if field.key_id != self.id {
            return Err(Sealed);
        }
        let mut nonce = [0_u8; 12];
        hex::decode_to_slice(&field.nonce, &mut nonce).map_err(|_| Sealed)?;
        let ciphertext = hex::decode(&field.ciphertext).map_err(|_| Sealed)?;
        let payload = Payload { msg: &ciphertext, aad: context.as_bytes() };
        let text = self.cipher().decrypt(&Nonce::from(nonce), payload).map_err(|_| Sealed)?;
        String::from_utf8(text).map_err(|_| Sealed)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&self.secret.into())
    }

    fn nonce(&self, context: &str, text: &str) -> [u8; 12] {
        let mut inner_pad = [0x36_u8; 64];
        let mut outer_pad = [0x5c_u8; 64];
        for (index, byte) in self.secret.iter().enumerate() {
            inner_pad[index] ^= byte;
            outer_pad[index] ^= byte;
        }
        let mut inner = Sha256::new_with_prefix(inner_pad);
        inner.update((context.len() as u64).to_be_bytes());
        inner.update(context);
        inner.update(text);
        let mut outer = Sha256::new_with_prefix(outer_pad);
        outer.update(inner.finalize());
        let digest = outer.finalize();
        let mut nonce = [0_u8; 12];
        nonce.copy_from_slice(&digest[..12]);
        nonce
    }
}

impl std::fmt::Debug for PersonalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PersonalKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PersonalKey {
        PersonalKey { id: Uuid::from_u128(u128::from(byte)), secret: [byte; 32] }
    }

    #[test]
    fn opens_only_with_its_key_in_its_place() {
        let field = key(1).seal("qc_decision/1/notes", "Ann saw foam");
        assert_eq!(key(1).open("qc_decision/1/notes", &field).unwrap(), "Ann saw foam");
        assert_eq!(key(1).open("qc_decision/2/notes", &field), Err(Sealed));
        assert_eq!(key(2).open("qc_decision/1/notes", &field), Err(Sealed));
        let mut changed = field.clone();
        changed.ciphertext.replace_range(0..2, if changed.ciphertext.starts_with("00") { "01" } else { "00" });
        assert_eq!(key(1).open("qc_decision/1/notes", &changed), Err(Sealed));
    }

    #[test]
    fn a_retry_gives_the_same_bytes_and_another_text_another_nonce() {
        assert_eq!(key(1).seal("a", "x"), key(1).seal("a", "x"));
        assert_ne!(key(1).seal("a", "x").nonce, key(1).seal("a", "y").nonce);
        assert_ne!(key(1).seal("a", "x").nonce, key(1).seal("b", "x").nonce);
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        assert!(!format!("{:?}", key(0xab)).contains("171"));
    }
}

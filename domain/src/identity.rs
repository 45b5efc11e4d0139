//! Proving who somebody is: rules about names, passwords, links, sessions, tokens and keys. Pure, like everything here.
//!
//! That a person or a key exists, what they may do and until when, are facts of the ledger. What proves that somebody is that person are
//! secrets, and secrets are never in the ledger: adapters keep them in PostgreSQL, behind the traits in [`port`].
//!
//! | secret | form | kept as |
//! |---|---|---|
//! | password | [`password::Password`] | Argon2id |
//! | refresh token, one-time link, proof for one signature | [`secret::OpaqueToken`], 256 bits | SHA-256 |
//! | API key | [`api_key::ApiKeyText`], 200 bits | SHA-256 |
//! | access token | [`token::Claims`], signed | not at all |
//! | a provider's ID token | [`id_token::IdClaims`], signed by the provider | not at all; who somebody is there: [`sign_on::Subjects`] |
//! | login name | [`name::LoginName`] | HMAC-SHA-256 |

pub mod api_key;
pub mod id_token;
pub mod lockout;
pub mod name;
pub mod password;
pub mod port;
pub mod proof;
pub mod secret;
pub mod session;
pub mod sign_on;
pub mod signing;
pub mod token;

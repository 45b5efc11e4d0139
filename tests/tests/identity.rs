//! Who somebody is, on a real PostgreSQL: names, passwords, links, sessions, tokens, keys; and those who pretend.

#![expect(clippy::unwrap_used, reason = "a failing step fails the test")]

#[path = "identity/api_keys.rs"]
mod api_keys;
#[path = "identity/liar.rs"]
mod liar;
#[path = "identity/links.rs"]
mod links;
#[path = "identity/names.rs"]
mod names;
#[path = "identity/passwords.rs"]
mod passwords;
#[path = "identity/proofs.rs"]
mod proofs;
#[path = "identity/rights.rs"]
mod rights;
#[path = "identity/rotation.rs"]
mod rotation;
#[path = "identity/sessions.rs"]
mod sessions;
#[path = "identity/stand.rs"]
mod stand;
#[path = "identity/subjects.rs"]
mod subjects;
#[path = "identity/tokens.rs"]
mod tokens;

//! Who may do what: sites, users, their roles, API keys and grants on pipelines, as facts in the tenant's stream.
//!
//! People and keys are named by opaque ids. A person's name and e-mail are [`crate::personal::Personal`], and no identifier is derived from
//! them. Passwords, tokens and the secrets of keys are not here: they live in PostgreSQL and prove *who* somebody is; this says what that
//! somebody may do.
//!
//! [`state::AccessState`] is the fold of these events. It answers without a query, so that every writer decides on it; see
//! [`need::Need`] for what each command asks of it.
//!
//! Invariants: once there is an active user who is ADMIN everywhere, there is always one · ids of sites and prefixes of keys are unique · a
//! key acts within its roles, sites and time · a deactivated user and a revoked key may do nothing.

pub mod actor;
pub mod command;
pub(crate) mod decide;
pub mod event;
mod evolve;
pub mod grant;
pub mod need;
pub mod reach;
pub mod refusal;
pub mod role;
mod set;
pub mod state;

#[cfg(test)]
mod tests;

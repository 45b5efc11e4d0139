//! Who comes in: the door that every request passes, and the REST interface by which people get through it.
//!
//! Three things open it: an access token or an API key in `Authorization: Bearer …` (a key also in `X-API-Key`), and for browsers a cookie
//! that holds the access token. [`door`] looks at them, [`cookie`] protects those that a browser sends by itself, `session`, `setup`,
//! [`mod@sign_on`] and [`mod@proof`] are `/api/v1/auth`, [`strangers`] bounds what it costs to try keys and links that nobody has. What somebody may do once inside is asked of the ledger's fold with each request, and again while a stream goes on.
//!
//! Invariant: what can't be found out lets nobody in. Without news of ended sessions, or of who may do what, the answer is 503.

mod attempt;
pub mod cookie;
pub mod door;
mod json;
mod newcomer;
pub mod proof;
mod record;
mod session;
pub(crate) mod setup;
pub mod sign_on;
pub mod strangers;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use lotline_commands::access::AccessView;
use lotline_domain::identity::port::Identity;

use crate::server::Server;
use crate::trail::Trail;
use cookie::Cookies;
pub use sign_on::Desk;
use strangers::Strangers;

/// How callers are identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Whoever reaches the port is whoever they say they are: on loopback only.
    Development,
    /// By what they can prove.
    Enforced,
}

impl Mode {
    /// As configuration and answers have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Enforced => "enforced",
        }
    }
}

/// What stands between the port and the schema.
#[derive(Clone)]
pub enum Door {
    /// See [`Mode::Development`].
    Open,
    /// See [`Mode::Enforced`].
    Guarded(Arc<Guard>),
}

impl Door {
    /// The mode.
    pub fn mode(&self) -> Mode {
        match self {
            Self::Open => Mode::Development,
            Self::Guarded(_) => Mode::Enforced,
        }
    }
}

/// What is needed to know who somebody is.
pub struct Guard {
    /// Credentials.
    pub identity: Identity,
    /// Who may do what.
    pub access: AccessView,
    /// Cookies of browsers.
    pub cookies: Cookies,
    /// What happens here, for the ledger.
    pub trail: Trail,
    /// Where people reach the server, such as `https://lotline.plant.example`, when it is known: the origin of its pages.
    pub origin: Option<String>,
    /// Single sign-on, where it is configured.
    pub desk: Option<Desk>,
    /// Of other sites, whose pages may use the API.
    pub origins: Vec<String>,
    /// Who has tried what nobody has.
    pub strangers: Strangers,
}

/// `/api/v1/auth` and the published keys. In development mode there is nobody to sign in.
pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/.well-known/jwks.json", get(session::jwks))
        .route("/setup", get(setup::page))
        .route("/api/v1/auth/setup", post(setup::first_admin))
        .route("/api/v1/auth/password", post(setup::password))
        .route("/api/v1/auth/sign-in", post(session::sign_in))
        .route("/api/v1/auth/oidc/start", get(sign_on::start))
        .route("/api/v1/auth/oidc/callback", get(sign_on::callback))
        .route("/api/v1/auth/proofs", post(proof::by_password))
        .route("/api/v1/auth/proofs/oidc", post(proof::at_provider))
        .route("/api/v1/auth/refresh", post(session::refresh))
        .route("/api/v1/auth/sign-out", post(session::sign_out))
        .route("/api/v1/auth/sign-out-everywhere", post(session::sign_out_everywhere))
        .route("/api/v1/auth/session", get(session::current))
        .route("/api/v1/auth/sessions", get(session::list))
}

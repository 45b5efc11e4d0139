//! A database with nodes on it, and a clock that stands until it is moved.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lotline_adapters::clock::RandomIds;
use lotline_adapters::identity::{Hasher, HasherOptions, IdentityOptions, PostgresIdentity};
use lotline_domain::id::{TenantId, UserId};
use lotline_domain::identity::name::LoginName;
use lotline_domain::identity::port::Identity;
use lotline_domain::identity::token::TokenPolicy;
use lotline_domain::port::{Clock, Ids};
use lotline_domain::timestamp::Timestamp;
use lotline_tests::contract::subject::Postgres;

pub(crate) const GOOD: &str = "seven cows in the fog";
pub(crate) const OTHER: &str = "nine goats on the roof";
pub(crate) const WRONG: &str = "seven cows in the rain";
pub(crate) const ISSUER: &str = "https://lotline.example";
pub(crate) const AUDIENCE: &str = "lotline";

/// A clock that all nodes share.
pub(crate) struct StandingClock(AtomicI64);

impl StandingClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }

    pub(crate) fn rewind(&self, by: Duration) {
        self.0.fetch_sub(by.as_micros() as i64, Ordering::SeqCst);
    }
}

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// The database of one installation.
pub(crate) struct Stand {
    pub(crate) postgres: Postgres,
    pub(crate) clock: Arc<StandingClock>,
    pub(crate) ids: Arc<RandomIds>,
}

impl Stand {
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(StandingClock(AtomicI64::new(1_790_000_000_000_000)));
        Self { postgres: Postgres::new().await, clock, ids: Arc::default() }
    }

    /// Another node of the tenant `dairy`.
    pub(crate) async fn node(&self) -> Node {
        self.node_with(options("dairy")).await
    }

    pub(crate) async fn node_with(&self, options: IdentityOptions) -> Node {
        let hasher = Arc::clone(&options.hasher);
        let clock = Arc::clone(&self.clock);
        // Another tenant's node works as the owner, whom no policy binds: what keeps tenants apart is then what it asks.
        let postgres = &self.postgres;
        let pool = if options.tokens.tenant.as_str() == "dairy" { &postgres.pool } else { &postgres.database.pool };
        let identity = PostgresIdentity::open(pool.clone(), clock, self.ids.clone(), options).await.unwrap();
        let ports = identity.ports();
        Node { identity: Arc::new(identity), ports, hasher }
    }

    pub(crate) fn user(&self) -> UserId {
        UserId(self.ids.uuid_v7(self.clock.now()))
    }

    /// A user with a name and the password [`GOOD`].
    pub(crate) async fn person(&self, node: &Node, name: &str) -> UserId {
        let (user, name) = (self.user(), login(name));
        node.ports.names.reserve(&name, user).await.unwrap();
        node.ports.names.confirm(&name, user).await.unwrap();
        node.ports.passwords.set(user, GOOD, &[name.as_str()]).await.unwrap();
        user
    }

    pub(crate) async fn count(&self, question: &'static str) -> i64 {
        sqlx::query_scalar(question).fetch_one(&self.postgres.pool).await.unwrap()
    }
}

/// How a tenant's credentials are, for tests.
pub(crate) fn options(tenant: &str) -> IdentityOptions {
    let tenant = TenantId::new(tenant).unwrap();
    let options = IdentityOptions::new(TokenPolicy::new(ISSUER, AUDIENCE, tenant), hasher(8));
    // A slow machine may take long between two looks by hand.
    IdentityOptions { stale_after: Duration::from_mins(10), ..options }
}

/// One server.
pub(crate) struct Node {
    pub(crate) identity: Arc<PostgresIdentity>,
    pub(crate) ports: Identity,
    pub(crate) hasher: Arc<Hasher>,
}

/// A cheap one: what is tested is how often it works, not how long.
pub(crate) fn hasher(memory_kib: u32) -> Arc<Hasher> {
    let options = HasherOptions { memory_kib, passes: 1, ..HasherOptions::default() };
    Arc::new(Hasher::new(&options).unwrap())
}

pub(crate) fn login(name: &str) -> LoginName {
    LoginName::new(name).unwrap()
}

/// An address for each number.
pub(crate) fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

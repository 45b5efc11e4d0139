//! Where the real PostgreSQL and Kafka of this run are, and a database and names of its own for each test.
//!
//! `make test` starts both and sets the variables. A test without them fails and says so; it never skips.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use lotline_adapters::log::postgres;
use lotline_adapters::tenancy;
use lotline_domain::id::TenantId;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

use crate::small_disk::SmallDisk;

/// A fresh, empty PostgreSQL database.
pub struct Database {
    /// Connected as its owner.
    pub pool: PgPool,
    /// `postgres://…` of this database.
    pub url: String,
}

/// Creates a database that belongs to the calling test alone. The whole cluster is wiped before the next run.
pub async fn database(name: &str) -> Database {
    database_at(&setting("STACK_POSTGRES_URL"), name).await
}

/// The same on another server.
///
/// # Panics
/// When it does not answer.
pub async fn database_at(base: &str, name: &str) -> Database {
    let name = unique(name).replace('-', "_");
    let mut admin = PgConnection::connect(base).await.expect("PostgreSQL of the test stack answers");
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut admin)
        .await
        .expect("the test role may create databases");
    admin.close().await.expect("the admin connection closes");
    let options: PgConnectOptions = base.parse().expect("STACK_POSTGRES_URL is a PostgreSQL URL");
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_with(options.database(&name))
        .await
        .expect("the new database answers");
    let (server, _) = base.rsplit_once('/').expect("a PostgreSQL URL names a database");
    Database { pool, url: format!("{server}/{name}") }
}

/// `host:port` of the real PostgreSQL.
///
/// # Panics
/// When its URL names none.
pub fn postgres_address() -> String {
    let url = setting("STACK_POSTGRES_URL");
    let (_, rest) = url.split_once('@').expect("the URL names a user");
    rest.split('/').next().expect("a text has a first part").to_owned()
}

/// Folder of the programs that came with this PostgreSQL: `psql`, `pg_dump`, `pg_restore`.
pub fn postgres_programs() -> PathBuf {
    setting("STACK_POSTGRES_BIN").into()
}

/// Connections to a migrated database that work for a tenant, as those of the server.
///
/// # Panics
/// When the tenant can't be admitted.
pub async fn bound(database: &Database, tenant: &TenantId, connections: u32) -> PgPool {
    tenancy::admit(&database.pool, tenant).await.expect("the tenant is admitted");
    let options = database.pool.connect_options().as_ref().clone();
    postgres::connect(options, tenant, connections).await.expect("the tenant's role may connect")
}

/// Lets nobody into a database any more, and ends the connections that are there. `admin` is the URL of another one.
pub async fn lock_out(admin: &str, name: &str) {
    let mut admin = PgConnection::connect(admin).await.expect("PostgreSQL of the test stack answers");
    let sentence = format!("ALTER DATABASE {name} CONNECTION LIMIT 0");
    sqlx::query(sqlx::AssertSqlSafe(sentence)).execute(&mut admin).await.expect("the test role owns the database");
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = current_user")
        .bind(name)
        .execute(&mut admin)
        .await
        .expect("a role may end its own connections");
    admin.close().await.expect("the admin connection closes");
}

/// `host:port` of the real Kafka.
pub fn kafka_brokers() -> String {
    setting("STACK_KAFKA_BROKERS")
}

/// The Kafka that lets nobody in without a name.
pub struct Secured {
    /// `host:port` for clients: TLS and SASL/SCRAM.
    pub brokers: String,
    /// `host:port` for the administrator, by certificate.
    pub admin: String,
    /// Folder with a file of client options for each user, the administrator's options, and `bin/kafka-acls.sh`.
    pub access: PathBuf,
}

impl Secured {
    /// What a user's client needs to sign in, by librdkafka's names.
    ///
    /// # Panics
    /// For a user that the stack has not made.
    pub fn options(&self, user: &str) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.options_file(user)).expect("the stack has made this user");
        let options = text.lines().filter_map(|line| line.split_once('='));
        options.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The file that holds them.
    pub fn options_file(&self, user: &str) -> PathBuf {
        self.access.join(format!("{user}.properties"))
    }

    /// What the broker has written down so far; its authorizer names there whom it has refused what.
    ///
    /// # Panics
    /// When the file can't be read.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.access.with_file_name("server.log"))
            .expect("the broker of the test stack writes a log")
    }
}

/// The secured Kafka of this run.
pub fn kafka_secured() -> Secured {
    Secured {
        brokers: setting("STACK_KAFKA_SECURED_BROKERS"),
        admin: setting("STACK_KAFKA_SECURED_ADMIN"),
        access: setting("STACK_KAFKA_SECURED_ACCESS").into(),
    }
}

/// The Python interpreter with the peers installed.
pub fn python() -> String {
    setting("STACK_PYTHON")
}

/// A name that no other test, thread or run uses.
#[expect(clippy::disallowed_methods, reason = "a test has no ports; its names need only be unique")]
pub fn unique(name: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let id = uuid::Uuid::now_v7().simple().to_string();
    format!("{name}-{}-{count}", &id[4..20])
}

/// Services that belong to the calling test alone, so that it may kill them. They are wiped when this is dropped; those of a test that has
/// failed are only stopped, so that they can be looked at, and wiped with the profile of the whole run.
pub struct Services {
    profile: String,
}

impl Services {
    /// Starts fresh services beside those of the run; `arguments` are those of `stack up`.
    ///
    /// # Panics
    /// When they do not start.
    pub async fn start(name: &str, arguments: &[&str]) -> Self {
        let services = Self { profile: format!("{}--{name}", setting("STACK_PROFILE")) };
        services.run(&["wipe"], &[]).await;
        services.up(arguments).await;
        services
    }

    /// Starts what does not run, and returns when it answers.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn up(&self, arguments: &[&str]) {
        self.run(&["up"], arguments).await;
    }

    /// The same on a small disk: what is started now lies on it.
    ///
    /// # Panics
    /// As [`Services::up`].
    pub async fn up_on(&self, disk: &SmallDisk, arguments: &[&str]) {
        self.run_by(&disk.enter(), &["up"], arguments).await;
    }

    /// Stops a service in peace.
    ///
    /// # Panics
    /// When it can't be stopped.
    pub async fn down(&self, service: &str) {
        self.run(&["down"], &[service]).await;
    }

    /// Where the services of this profile keep what they have.
    ///
    /// # Panics
    /// When the stack does not say.
    pub fn folder(&self) -> PathBuf {
        let output = Command::new(setting("STACK_COMMAND")).args(["path", "state"]).output();
        let output = output.expect("the stack script can be run");
        Path::new(String::from_utf8_lossy(&output.stdout).trim()).join(&self.profile)
    }

    /// Kills a service with SIGKILL.
    ///
    /// # Panics
    /// When it can't be killed.
    pub async fn kill(&self, service: &str) {
        self.run(&["down", "--hard"], &[service]).await;
    }

    /// What `stack env` says, such as `STACK_KAFKA_BROKERS`.
    ///
    /// # Panics
    /// When no such service runs.
    pub async fn setting(&self, name: &str) -> String {
        let printed = self.run(&["env"], &[]).await;
        let prefix = format!("export {name}=");
        let line = printed.lines().find_map(|line| line.strip_prefix(&prefix));
        // The shell's quotes; no address needs them.
        line.unwrap_or_else(|| panic!("{} has no {name}:\n{printed}", self.profile)).replace('\\', "")
    }

    async fn run(&self, command: &[&str], arguments: &[&str]) -> String {
        self.run_by(&[], command, arguments).await
    }

    async fn run_by(&self, by: &[String], command: &[&str], arguments: &[&str]) -> String {
        let program = setting("STACK_COMMAND");
        let mut words = by.iter().map(String::as_str).chain([program.as_str()]);
        let mut stack = tokio::process::Command::new(words.next().expect("there is the program"));
        stack.args(words).args(command).args(["--profile", &self.profile]).args(arguments).stdin(Stdio::null());
        let output = stack.output().await.expect("the stack script can be run");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "stack {command:?} {arguments:?}: {}", said(&output.stderr));
        said(&output.stdout)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let command: &[&str] = if std::thread::panicking() { &["down", "--hard"] } else { &["wipe"] };
        let mut stack = Command::new(setting("STACK_COMMAND"));
        // What can't be wiped now is wiped with the profile of the run.
        drop(stack.args(command).args(["--profile", &self.profile]).stdin(Stdio::null()).output());
    }
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests by `make test`"))
}

//! For which tenant a connection works, and how far PostgreSQL holds it to that.
//!
//! The tenant is part of the name of the role in which a connection works, and every policy of row-level security compares it with the row
//! (`migrations/0009_tenancy.sql`, and `0013_tenancy.sql` of the projections). A setting could be changed by any statement; a role is changed
//! only by a login that is a member of another. How far that goes says [`protection`].

use std::time::Duration;

use lotline_domain::id::TenantId;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgExecutor, PgPool};
use tokio::time::sleep;

/// What the server may do, without a tenant: no row is visible in this role.
pub const APP_ROLE: &str = "lotline_app";

/// What dashboards may do, without a tenant: look at read models.
pub const READ_ROLE: &str = "lotline_read";

/// Longest id of a tenant that fits behind the longer of the two in a name of PostgreSQL, which has 63 bytes.
pub const MAX_TENANT_BYTES: usize = 63 - READ_ROLE.len() - 1;

const TRIES: u32 = 50;
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// The role in which the server works for a tenant.
pub fn app_role(tenant: &TenantId) -> String {
    format!("{APP_ROLE}:{tenant}")
}

/// The same server and database, but working for the tenant, in its [`app_role`], from the start of each connection.
#[must_use]
pub fn bound(options: PgConnectOptions, tenant: &TenantId) -> PgConnectOptions {
    options.options([("role", app_role(tenant))])
}

/// Makes the roles of a tenant where they are missing. Connect as the owner.
///
/// # Errors
/// When PostgreSQL fails, the owner may not create roles, or the id is longer than [`MAX_TENANT_BYTES`].
pub async fn admit(pool: &PgPool, tenant: &TenantId) -> Result<(), sqlx::Error> {
    let made = || sqlx::query!("SELECT log.admit_tenant($1)::text AS done", tenant.as_str()).fetch_one(pool);
    settle(made, is_collision).await.map(drop)
}

/// Tries again what has failed because of a collision, which is over by then.
pub(crate) async fn settle<T, E, F: Future<Output = Result<T, E>>>(
    attempt: impl Fn() -> F,
    is_collision: impl Fn(&E) -> bool,
) -> Result<T, E> {
    for _ in 1..TRIES {
        match attempt().await {
            Err(error) if is_collision(&error) => sleep(AGAIN_AFTER).await,
            settled => return settled,
        }
    }
    attempt().await
}

/// Roles belong to all databases of a cluster. Of two that make or grant the same one at the same moment, the second is told so by an error.
pub(crate) fn is_collision(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    match error.code().as_deref() {
        Some("23505") => error.table().is_some_and(|table| table.starts_with("pg_auth")),
        Some("XX000") => error.message() == "tuple concurrently updated",
        _ => false,
    }
}

/// Whether the tenant has its roles.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn is_admitted(pool: &PgPool, tenant: &TenantId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname::text = $1) AS \"is_there!\"",
        app_role(tenant)
    )
    .fetch_one(pool)
    .await
}

/// What keeps a connection to its tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// The role in which it works.
    pub role: String,
    /// As whom it signed in.
    pub login: String,
    /// Whether the login, or a role that it could become, is bound by no policy: a superuser, BYPASSRLS, or whoever runs programs on the host.
    pub bypasses: bool,
    /// Whether the login could become the owner of tables.
    pub owns: bool,
    /// Whether the login may make roles, and so give them to itself.
    pub makes_roles: bool,
    /// Roles of other tenants that the login could become.
    pub others: Vec<String>,
    /// Tables that it can reach whose policy does not ask who they are, views, and functions that work as their owner.
    pub open: Vec<String>,
}

/// Finds out what keeps a connection to its tenant.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn protection(connection: impl PgExecutor<'_>) -> Result<Protection, sqlx::Error> {
    sqlx::query_as!(
        Protection,
        r#"SELECT current_user::text AS "role!", session_user::text AS "login!",
               EXISTS (
                   SELECT FROM pg_roles AS r
                   WHERE (r.rolsuper OR r.rolbypassrls OR r.rolname IN (
                           'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'
                       )) AND pg_has_role(session_user, r.oid, 'MEMBER')
               ) AS "bypasses!",
               EXISTS (
                   SELECT FROM pg_class AS c
                   WHERE c.relnamespace::regnamespace::text IN ('log', 'vault', 'cluster', 'access', 'read')
                       AND pg_has_role(session_user, c.relowner, 'MEMBER')
               ) AS "owns!",
               EXISTS (
                   SELECT FROM pg_roles AS r WHERE r.rolcreaterole AND pg_has_role(session_user, r.oid, 'MEMBER')
               ) AS "makes_roles!",
               ARRAY(
                   SELECT r.rolname::text FROM pg_roles AS r
                   WHERE (r.rolname LIKE 'lotline\_app:%' OR r.rolname LIKE 'lotline\_read:%')
                       AND split_part(r.rolname::text, ':', 2) <> split_part(current_user::text, ':', 2)
                       AND pg_has_role(session_user, r.oid, 'MEMBER')
                   ORDER BY 1
               ) AS "others!",
               ARRAY(
                   SELECT c.oid::regclass::text FROM pg_class AS c
                   WHERE c.relnamespace::regnamespace::text IN ('log', 'vault', 'cluster', 'access', 'read')
                       AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                       AND has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
                       AND NOT (c.relrowsecurity AND (
                           SELECT count(*) = 1 AND bool_and(
                               pg_get_expr(p.polqual, p.polrelid) LIKE '%CURRENT_USER%'
                                   AND (p.polwithcheck IS NULL OR pg_get_expr(p.polwithcheck, p.polrelid) LIKE '%CURRENT_USER%')
                           )
                           FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polpermissive
                       ))
                   UNION ALL
                   SELECT f.oid::regprocedure::text FROM pg_proc AS f
                   WHERE f.pronamespace::regnamespace::text IN ('log', 'vault', 'cluster', 'access', 'read')
                       AND f.prosecdef AND has_function_privilege(f.oid, 'EXECUTE')
                   ORDER BY 1
               ) AS "open!""#
    )
    .fetch_one(connection)
    .await
}

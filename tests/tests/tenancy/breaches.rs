//! The catalogue itself: every table has its policy, and a breach of any kind is found, by these tests and by `lotline doctor`.

use lotline_adapters::tenancy::{self, Protection};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::house::{House, is_nobodys};

/// A relation as the catalogue has it.
#[derive(sqlx::FromRow)]
struct Relation {
    name: String,
    /// The column that says whose a row is.
    column: Option<String>,
    enabled: bool,
    policies: i64,
    /// Of the policy that is for all operations and all roles, and has no other condition for what is written.
    condition: Option<String>,
    app: bool,
    read: bool,
    /// Whether a role of ours owns it.
    owned: bool,
}

impl Relation {
    fn complaint(&self) -> Option<&'static str> {
        if self.owned {
            return Some("belongs to a role of the server");
        }
        if is_nobodys(&self.name) {
            return (self.app || self.read).then_some("belongs to no tenant, and can be read");
        }
        // How each kind of column is compared with the role.
        let wanted = match self.column.as_deref() {
            Some("tenant") => "(tenant = ",
            Some("topic") => "starts_with(topic, ",
            Some("pool") => "starts_with(split_part(pool, ",
            _ => return Some("does not say whose its rows are: give it a column 'tenant', or a reason in NOBODYS"),
        };
        let condition = self.condition.as_deref().unwrap_or_default();
        if !self.enabled {
            Some("has no row-level security")
        } else if self.policies != 1 {
            // They add up, so a second one could only open what the first closes.
            Some("has not one policy")
        } else if !condition.contains(wanted) || !condition.contains("CURRENT_USER") {
            Some("has a policy that does not ask for the role")
        } else if !self.app || self.read != self.name.starts_with("read.") {
            Some("is not readable by whom it should be")
        } else {
            None
        }
    }
}

/// What is wrong in a database, in words.
async fn complaints(db: &mut PgConnection) -> Vec<String> {
    let relations: Vec<Relation> = sqlx::query_as(
        "SELECT c.oid::regclass::text AS name, c.relrowsecurity AS enabled,
             (SELECT a.attname::text FROM pg_attribute AS a
              WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname IN ('tenant', 'topic', 'pool')
              ORDER BY a.attname = 'tenant' DESC LIMIT 1) AS column,
             (SELECT count(*) FROM pg_policy AS p WHERE p.polrelid = c.oid) AS policies,
             (SELECT pg_get_expr(p.polqual, p.polrelid) FROM pg_policy AS p
              WHERE p.polrelid = c.oid AND p.polcmd = '*' AND p.polroles = '{0}' AND p.polwithcheck IS NULL LIMIT 1) AS condition,
             has_table_privilege('lotline_app', c.oid, 'SELECT') AS app,
             has_table_privilege('lotline_read', c.oid, 'SELECT') AS read,
             c.relowner::regrole::text ~ '^\"?lotline_(app|read)' AS owned
         FROM pg_class AS c
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace::regnamespace::text !~ '^pg_|^information_schema$'",
    )
    .fetch_all(&mut *db)
    .await
    .unwrap();
    assert!(relations.len() > 40, "the catalogue lists its tables");
    let mut found: Vec<String> =
        relations.iter().filter_map(|relation| Some(format!("{} {}", relation.name, relation.complaint()?))).collect();
    let functions: Vec<String> = sqlx::query_scalar(
        "SELECT oid::regprocedure || ' works as its owner' FROM pg_proc
         WHERE prosecdef AND pronamespace::regnamespace::text !~ '^pg_|^information_schema$'",
    )
    .fetch_all(db)
    .await
    .unwrap();
    found.extend(functions);
    found
}

fn is_whole(protection: &Protection) -> bool {
    let Protection { bypasses, owns, makes_roles, others, open, .. } = protection;
    !bypasses && !owns && !makes_roles && others.is_empty() && open.is_empty()
}

/// What was found after a breach, which is then undone.
struct Found {
    /// By the test of the catalogue.
    complaints: Vec<String>,
    /// What the doctor goes by.
    protection: Protection,
    /// Whether the server sees rows of another tenant in the table.
    shown: bool,
}

async fn after(house: &House, breach: &str, table: &str) -> Found {
    // Only who is bound by nothing can break all of it.
    let mut admin = PgConnection::connect(&house.database.url.replace("lotline@", "postgres@")).await.unwrap();
    let mut tx = admin.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(breach.to_owned())).execute(&mut *tx).await.unwrap();
    let complaints = complaints(&mut tx).await;
    let server = format!("SET LOCAL SESSION AUTHORIZATION \"{}\"", tenancy::app_role(&house.mine));
    sqlx::raw_sql(AssertSqlSafe(server)).execute(&mut *tx).await.unwrap();
    let protection = tenancy::protection(&mut *tx).await.unwrap();
    let question = format!("SELECT count(*) > 0 FROM {table} AS t WHERE t::text LIKE '%{}%'", house.others);
    let shown: bool = sqlx::query_scalar(AssertSqlSafe(question)).fetch_one(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    Found { complaints, protection, shown }
}

/// Fails for a new table that nobody thought of.
#[tokio::test]
async fn every_table_has_its_policy_and_its_readers() {
    let house = House::new().await;
    let found = complaints(&mut house.database.pool.acquire().await.unwrap()).await;
    assert_eq!(found, Vec::<String>::new());
    for column in ["tenant", "topic", "pool"] {
        assert!(house.tables.values().flatten().any(|(name, _)| name == column), "no table has a column {column}");
    }
    let whole = after(&house, "SELECT 1", "read.lots").await;
    assert!(is_whole(&whole.protection) && !whole.shown, "{:?}", whole.protection);
}

#[tokio::test]
async fn a_policy_that_was_changed_is_found() {
    let house = House::new().await;
    // One of each migration and kind of condition.
    for table in
        ["access.password", "access.sign_on_subject", "log.record", "cluster.owner", "cluster.lease", "read.lots"]
    {
        for (breach, opens) in [
            (format!("ALTER POLICY of_tenant ON {table} USING (true)"), true),
            (format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"), true),
            (format!("CREATE POLICY more ON {table} FOR SELECT USING (true)"), true),
            (format!("ALTER POLICY of_tenant ON {table} WITH CHECK (true)"), false),
            (format!("DROP POLICY of_tenant ON {table}"), false),
        ] {
            let Found { complaints, protection, shown } = after(&house, &breach, table).await;
            assert!(complaints.iter().any(|complaint| complaint.starts_with(table)), "{breach}: {complaints:?}");
            assert_eq!(protection.open, [table], "{breach}");
            assert_eq!(shown, opens, "{breach}");
        }
    }
}

#[tokio::test]
async fn what_was_forgotten_is_found() {
    let house = House::new().await;
    for (breach, complaint, reachable) in [
        ("CREATE TABLE read.forgotten (tenant text)", "read.forgotten has no row-level security", false),
        (
            "CREATE TABLE read.forgotten (tenant text); GRANT SELECT ON read.forgotten TO lotline_app",
            "read.forgotten has no row-level security",
            true,
        ),
        (
            "CREATE TABLE access.nameless (x text); GRANT INSERT ON access.nameless TO lotline_app",
            "access.nameless does not say whose its rows are",
            true,
        ),
        (
            "CREATE VIEW read.all_lots AS SELECT * FROM read.lots; GRANT SELECT ON read.all_lots TO lotline_app",
            "read.all_lots has no row-level security",
            true,
        ),
        (
            "CREATE MATERIALIZED VIEW read.kept AS SELECT * FROM read.lots; GRANT SELECT ON read.kept TO lotline_app",
            "read.kept has no row-level security",
            true,
        ),
        (
            "CREATE FUNCTION read.many() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM read.lots'",
            "read.many() works as its owner",
            true,
        ),
        (
            "GRANT SELECT ON read._sqlx_migrations TO lotline_read",
            "read._sqlx_migrations belongs to no tenant, and can be read",
            false,
        ),
    ] {
        let Found { complaints, protection, .. } = after(&house, breach, "read.lots").await;
        assert!(complaints.len() == 1 && complaints[0].starts_with(complaint), "{breach}: {complaints:?}");
        assert_eq!(protection.open.len(), usize::from(reachable), "{breach}: {protection:?}");
    }
}

#[tokio::test]
async fn a_server_that_could_become_somebody_else_is_found() {
    let house = House::new().await;
    let (me, other) = (tenancy::app_role(&house.mine), tenancy::app_role(&house.others));
    let judged = |found: Found| {
        let Protection { bypasses, owns, makes_roles, others, open, .. } = found.protection;
        (bypasses, owns, makes_roles, others, open, found.shown)
    };
    let none = Vec::new;
    let keeper = format!("keeper of {}", house.mine);
    let inherits = format!(
        "CREATE ROLE \"{keeper}\"; ALTER TABLE read.lots OWNER TO \"{keeper}\"; GRANT \"{keeper}\" TO \"{me}\""
    );
    for (breach, expected) in [
        (format!("ALTER ROLE \"{me}\" BYPASSRLS"), (true, false, false, none(), none(), true)),
        (format!("GRANT pg_read_server_files TO \"{me}\""), (true, false, false, none(), none(), false)),
        (inherits, (false, true, false, none(), none(), true)),
        (format!("ALTER TABLE read.lots OWNER TO \"{me}\""), (false, true, false, none(), none(), true)),
        (format!("ALTER ROLE \"{me}\" CREATEROLE"), (false, false, true, none(), none(), false)),
        (format!("GRANT \"{other}\" TO \"{me}\""), (false, false, false, vec![other.clone()], none(), false)),
    ] {
        assert_eq!(judged(after(&house, &breach, "read.lots").await), expected, "{breach}");
    }
    let owned = after(&house, &format!("ALTER TABLE read.lots OWNER TO \"{me}\""), "read.lots").await;
    assert_eq!(owned.complaints, ["read.lots belongs to a role of the server"]);
}

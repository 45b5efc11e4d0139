//! Other ways to rows than the plain statements: COPY, MERGE, functions, views, statistics.

use futures_util::TryStreamExt;
use lotline_adapters::tenancy;
use sqlx::postgres::PgPoolCopyExt;
use sqlx::{AssertSqlSafe, Executor};

use crate::house::{House, REFUSED, code, run};

/// PostgreSQL's word for what it can't do under row-level security.
const CAN_NOT: &str = "0A000";

#[tokio::test]
async fn copying_shows_and_takes_no_rows_of_others() {
    let house = House::new().await;
    let server = house.server().await;
    let before = house.rows_of_others().await;
    for table in house.tables.keys() {
        for what in [table.clone(), format!("(SELECT * FROM {table})"), format!("(TABLE {table})")] {
            let copied = server.copy_out_raw(&format!("COPY {what} TO STDOUT")).await.unwrap();
            let chunks: Vec<_> = copied.try_collect().await.unwrap();
            let text = String::from_utf8(chunks.concat()).unwrap();
            assert_eq!((text.lines().count(), text.contains(house.others.as_str())), (1, false), "{what}: {text}");
        }
        let Err(refused) = server.copy_in_raw(&format!("COPY {table} FROM STDIN")).await else {
            panic!("{table} takes copies");
        };
        assert!([REFUSED, CAN_NOT].contains(&code(&refused).as_str()), "{table}: {refused}");
    }
    assert_eq!(house.rows_of_others().await, before);
}

#[tokio::test]
async fn no_form_of_a_statement_reaches_further() {
    let house = House::new().await;
    let server = house.server().await;
    let before = house.rows_of_others().await;
    for (table, columns) in &house.tables {
        let first = &columns[0].0;
        let theirs = house.insert(table, &house.others);
        for statement in [
            format!("{theirs} ON CONFLICT DO NOTHING"),
            format!("MERGE INTO {table} AS t USING (VALUES (1)) AS v (x) ON true WHEN MATCHED THEN DELETE"),
            format!(
                "MERGE INTO {table} AS t USING {table} AS o ON true WHEN MATCHED THEN UPDATE SET {first} = o.{first}"
            ),
            format!("DELETE FROM {table} AS t USING {table} AS o WHERE o.{first} IS NOT NULL"),
            format!("WITH gone AS (DELETE FROM {table} RETURNING *) SELECT * FROM gone"),
            format!("SELECT * FROM {table} FOR UPDATE"),
            format!("SELECT * FROM {table} WHERE '{0}' = '{0}' OR true", house.others),
            format!("INSERT INTO {table} SELECT * FROM {table}"),
        ] {
            let mut tx = server.begin().await.unwrap();
            match sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut *tx).await {
                Ok(done) => assert!(done.rows_affected() <= 1, "{statement}"),
                // The row that came with the statement is there already.
                Err(refused) => {
                    assert!([REFUSED, "23505"].contains(&code(&refused).as_str()), "{statement}: {refused}");
                }
            }
            tx.rollback().await.unwrap();
        }
        let refused = run(&server, &format!("{theirs} ON CONFLICT DO NOTHING")).await.unwrap_err();
        assert_eq!(code(&refused), REFUSED, "{table}: {refused}");
    }
    assert_eq!(house.rows_of_others().await, before);
}

/// A cheap function of one's own in the condition is called for rows that were let through, and not for those that were not.
#[tokio::test]
async fn functions_and_views_see_no_rows_of_others() {
    let house = House::new().await;
    let mut server = house.server().await.acquire().await.unwrap();
    let peek = format!(
        "CREATE FUNCTION pg_temp.peek(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
         BEGIN
             IF position('{}' IN $1) > 0 THEN RAISE EXCEPTION 'seen: %', $1; END IF;
             RETURN true;
         END $$;
         CREATE FUNCTION pg_temp.ask(question text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$
         DECLARE found bigint; BEGIN EXECUTE question INTO found; RETURN found; END $$",
        house.others
    );
    sqlx::raw_sql(AssertSqlSafe(peek)).execute(&mut *server).await.unwrap();
    for (number, table) in house.tables.keys().enumerate() {
        let made = format!("CREATE TEMPORARY VIEW looking_{number} AS SELECT * FROM {table}");
        server.execute(AssertSqlSafe(made)).await.unwrap();
        for question in [
            format!("SELECT count(*) FROM {table} AS t WHERE pg_temp.peek(t::text)"),
            format!("SELECT count(*) FROM looking_{number} AS t WHERE pg_temp.peek(t::text)"),
            format!("SELECT pg_temp.ask('SELECT count(*) FROM {table}')"),
        ] {
            let seen: i64 = sqlx::query_scalar(AssertSqlSafe(question.clone())).fetch_one(&mut *server).await.unwrap();
            assert_eq!(seen, 1, "{question}");
        }
    }
    let becoming = format!("DO $$ BEGIN EXECUTE 'SET ROLE \"{}\"'; END $$", tenancy::app_role(&house.others));
    let refused = server.execute(AssertSqlSafe(becoming)).await.unwrap_err();
    assert_eq!(code(&refused), REFUSED, "{refused}");
}

#[tokio::test]
async fn statistics_name_no_values_of_others() {
    let house = House::new().await;
    run(&house.database.pool, "ANALYZE").await.unwrap();
    let named = format!(
        "SELECT count(*) FROM pg_stats WHERE most_common_vals::text LIKE '%{0}%' OR histogram_bounds::text LIKE '%{0}%'",
        house.others
    );
    let owner: i64 = sqlx::query_scalar(AssertSqlSafe(named.clone())).fetch_one(&house.database.pool).await.unwrap();
    assert!(owner > 0, "there is something to hide");
    let server: i64 = sqlx::query_scalar(AssertSqlSafe(named)).fetch_one(&house.server().await).await.unwrap();
    assert_eq!(server, 0);
}

//! What the server's role may do with secrets: what it does, and no more.

use crate::stand::Stand;

const REFUSED: &str = "42501";

#[tokio::test]
async fn the_server_can_not_rewrite_secrets_or_empty_tables() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let user = stand.person(&node, "ann@example.org").await;
    node.ports.sessions.open(user, "x").await.unwrap();
    for statement in [
        "UPDATE access.login_secret SET secret = secret",
        "DELETE FROM access.login_secret",
        "UPDATE access.login SET name = name",
        "UPDATE access.password SET user_id = user_id",
        "UPDATE access.link SET user_id = user_id",
        "UPDATE access.link SET expires_at = expires_at",
        "UPDATE access.session SET user_id = user_id",
        "UPDATE access.session SET expires_at = expires_at",
        "UPDATE access.refresh_token SET digest = digest",
        "UPDATE access.signing_key SET public_key = public_key",
        "UPDATE access.api_key SET id = id",
        "UPDATE access.proof SET expires_at = expires_at",
        "UPDATE access.sign_on_subject SET user_id = user_id",
        "UPDATE access.sign_on_attempt SET expires_at = expires_at",
        "TRUNCATE access.session CASCADE",
        "TRUNCATE access.password",
        "ALTER TABLE access.password DROP COLUMN phc",
        "CREATE TABLE access.mine (id integer)",
    ] {
        let refused = sqlx::query(statement).execute(&stand.postgres.pool).await.unwrap_err();
        let code =
            refused.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned);
        assert_eq!(code.as_deref(), Some(REFUSED), "{statement}: {refused}");
    }
}

#[tokio::test]
async fn others_can_not_even_look() {
    let stand = Stand::new().await;
    stand.node().await;
    let open: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) AS a
         WHERE c.relnamespace = 'access'::regnamespace AND a.grantee NOT IN (c.relowner, 'lotline_app'::regrole)",
    )
    .fetch_one(&stand.postgres.database.pool)
    .await
    .unwrap();
    assert_eq!(open, 0);
}

//! Signing keys that change, on several servers, and how they are kept.

use std::time::Duration;

use futures_util::future::join_all;
use lotline_adapters::clock::RandomIds;
use lotline_adapters::identity::{KeyEncryption, PostgresIdentity};
use lotline_domain::identity::token::TokenRefusal;
use std::sync::Arc;

use crate::stand::{Node, Stand};

const DAY: Duration = Duration::from_hours(24);

fn names(node: &Node) -> Vec<String> {
    let jwks: serde_json::Value = serde_json::from_str(&node.ports.tokens.jwks()).unwrap();
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn signed_with(stand: &Stand, node: &Node) -> (String, String) {
    use base64::Engine;
    let token = node.ports.sessions.open(stand.user(), "x").await.unwrap().access;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    (header["kid"].as_str().unwrap().to_owned(), token)
}

#[tokio::test]
async fn the_next_key_is_published_before_it_signs_and_the_last_one_kept() {
    let stand = Stand::new().await;
    let nodes = join_all((0..4).map(|_| stand.node())).await;
    let first = names(&nodes[0]);
    assert_eq!(first.len(), 1);
    assert!(nodes.iter().all(|node| names(node) == first), "four servers that start at once have one key");

    stand.clock.advance(DAY * 29);
    for done in join_all(nodes.iter().map(|node| node.identity.look())).await {
        done.unwrap();
    }
    let both = names(&nodes[0]);
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    assert!(nodes.iter().all(|node| names(node) == both), "four servers that change keys at once make one");
    assert_eq!(signed_with(&stand, &nodes[1]).await.0, first[0], "published, but does not sign yet");

    stand.clock.advance(Duration::from_secs(86_399));
    let (by, last) = signed_with(&stand, &nodes[2]).await;
    assert_eq!(by, first[0]);
    stand.clock.advance(Duration::from_secs(1));
    let (by, fresh) = signed_with(&stand, &nodes[2]).await;
    assert_eq!(by, both[1], "no look was needed");
    for node in &nodes {
        node.ports.tokens.verify(&last).unwrap();
        node.ports.tokens.verify(&fresh).unwrap();
    }
    stand.clock.advance(Duration::from_mins(59));
    nodes[0].identity.look().await.unwrap();
    assert_eq!(names(&nodes[0]), both);
    stand.clock.advance(Duration::from_mins(1));
    for node in &nodes {
        node.identity.look().await.unwrap();
        assert_eq!(names(node), both[1..]);
        assert_eq!(node.ports.tokens.verify(&last).unwrap_err(), TokenRefusal::UnknownKey);
    }
}

#[tokio::test]
async fn after_a_theft_all_keys_are_replaced_and_sessions_go_on() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    let tokens = one.ports.sessions.open(stand.user(), "x").await.unwrap();
    for node in [&one, &other] {
        node.ports.tokens.verify(&tokens.access).unwrap();
    }
    one.identity.replace_signing_keys().await.unwrap();
    other.identity.look().await.unwrap();
    for node in [&one, &other] {
        let refused = node.ports.tokens.verify(&tokens.access).unwrap_err();
        assert_eq!(refused, TokenRefusal::UnknownKey, "also where it was remembered");
    }
    let next = other.ports.sessions.refresh(tokens.refresh.expose()).await.unwrap();
    one.ports.tokens.verify(&next.access).unwrap();
    assert_eq!(names(&one), names(&other));
}

#[tokio::test]
async fn private_keys_are_encrypted_when_there_is_a_key_for_that() {
    let stand = Stand::new().await;
    let plain = stand.node().await;
    let tokens = plain.ports.sessions.open(stand.user(), "x").await.unwrap();
    assert_eq!(stand.count("SELECT count(*) FROM access.signing_key WHERE NOT sealed").await, 1);
    let open = async |encryption: Option<[u8; 32]>| {
        let mut options = crate::stand::options("dairy");
        options.key_encryption = encryption.map(KeyEncryption::new);
        let ids = Arc::new(RandomIds::default());
        PostgresIdentity::open(stand.postgres.pool.clone(), stand.clock.clone(), ids, options).await
    };
    let before: Vec<u8> =
        sqlx::query_scalar("SELECT private_key FROM access.signing_key").fetch_one(&stand.postgres.pool).await.unwrap();
    let sealing = open(Some([7; 32])).await.unwrap();
    sealing.ports().tokens.verify(&tokens.access).unwrap();
    let after: Vec<u8> =
        sqlx::query_scalar("SELECT private_key FROM access.signing_key").fetch_one(&stand.postgres.pool).await.unwrap();
    assert!(
        !after.windows(8).any(|window| before.windows(8).any(|other| other == window)),
        "nothing of it is left in clear"
    );
    open(Some([7; 32])).await.unwrap().ports().tokens.verify(&tokens.access).unwrap();
    let why = |opened: Result<PostgresIdentity, lotline_domain::identity::port::StoreError>| {
        opened.err().unwrap().source.to_string()
    };
    assert!(why(open(None).await).contains("no key for that is configured"));
    assert!(why(open(Some([8; 32])).await).contains("under another key"));
    // A key moved to another tenant's row is not opened there.
    sqlx::query("UPDATE access.signing_key SET tenant = 'bakery'")
        .execute(&stand.postgres.database.pool)
        .await
        .unwrap();
    let mut options = crate::stand::options("bakery");
    options.key_encryption = Some(KeyEncryption::new([7; 32]));
    let moved =
        PostgresIdentity::open(stand.postgres.database.pool.clone(), stand.clock.clone(), stand.ids.clone(), options)
            .await;
    assert!(why(moved).contains("under another key"));
}

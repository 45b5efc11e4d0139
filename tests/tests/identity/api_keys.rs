//! API keys: made, used, revoked.

use std::time::{Duration, Instant};

use lotline_domain::id::ApiKeyId;
use lotline_domain::identity::api_key::{ApiKeyText, MalformedKey, RANDOM_BYTES};
use lotline_domain::identity::port::ApiKeyError;
use lotline_domain::port::Clock;
use tokio::time::sleep;

use crate::stand::Stand;

fn key(stand: &Stand) -> ApiKeyId {
    ApiKeyId(stand.user().0)
}

#[tokio::test]
async fn a_key_is_known_at_its_tenant_until_it_is_revoked() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    let bakery = stand.node_with(crate::stand::options("bakery")).await;
    let (first, second) = (key(&stand), key(&stand));
    let text = one.ports.api_keys.issue(first).await.unwrap();
    let text2 = other.ports.api_keys.issue(second).await.unwrap();
    for node in [&one, &other, &one] {
        assert_eq!(node.ports.api_keys.check(text.expose()).await.unwrap(), first);
        assert_eq!(node.ports.api_keys.check(text2.expose()).await.unwrap(), second);
    }
    assert!(matches!(bakery.ports.api_keys.check(text.expose()).await, Err(ApiKeyError::Unknown)));
    assert!(!bakery.ports.api_keys.revoke(first).await.unwrap());
    assert!(one.ports.api_keys.revoke(first).await.unwrap());
    assert!(!one.ports.api_keys.revoke(first).await.unwrap());
    assert!(matches!(one.ports.api_keys.check(text.expose()).await, Err(ApiKeyError::Unknown)), "here at once");
    let begun = Instant::now();
    while other.ports.api_keys.check(text.expose()).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_mins(1), "the other node never learned of it");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(other.ports.api_keys.check(text2.expose()).await.unwrap(), second);
    let kept = stand.count("SELECT count(*) FROM access.api_key k WHERE k::text LIKE '%lotline_%'").await;
    assert_eq!(kept, 0, "only its digest is kept");
}

#[tokio::test]
async fn a_key_made_again_replaces_the_one_before() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let id = key(&stand);
    let before = node.ports.api_keys.issue(id).await.unwrap();
    node.ports.api_keys.check(before.expose()).await.unwrap();
    let after = node.ports.api_keys.issue(id).await.unwrap();
    assert!(matches!(node.ports.api_keys.check(before.expose()).await, Err(ApiKeyError::Unknown)));
    assert_eq!(node.ports.api_keys.check(after.expose()).await.unwrap(), id);
}

#[tokio::test]
async fn a_prefix_without_its_secret_opens_nothing() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    // Random bytes that begin alike give the same prefix.
    let (mut own, mut forged) = ([1; RANDOM_BYTES], [1; RANDOM_BYTES]);
    (own[40], forged[40]) = (2, 3);
    let (own, forged) = (ApiKeyText::new(own), ApiKeyText::new(forged));
    assert_eq!(own.prefix(), forged.prefix());
    let id = key(&stand);
    sqlx::query("INSERT INTO access.api_key (tenant, prefix, id, digest) VALUES ('dairy', $1, $2, $3)")
        .bind(own.prefix())
        .bind(id.0)
        .bind(own.digest().as_bytes().as_slice())
        .execute(&stand.postgres.pool)
        .await
        .unwrap();
    assert!(matches!(node.ports.api_keys.check(forged.expose()).await, Err(ApiKeyError::Unknown)));
    assert_eq!(node.ports.api_keys.check(own.expose()).await.unwrap(), id);
    assert!(matches!(node.ports.api_keys.check(forged.expose()).await, Err(ApiKeyError::Unknown)));
}

#[tokio::test]
async fn a_mistyped_key_is_told_without_the_database() {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let text = node.ports.api_keys.issue(key(&stand)).await.unwrap().expose().to_owned();
    stand.postgres.pool.close().await;
    let last = if text.ends_with('0') { "1" } else { "0" };
    let slip = format!("{}{last}", &text[..text.len() - 1]);
    let refused = node.ports.api_keys.check(&slip).await;
    assert!(matches!(refused, Err(ApiKeyError::Malformed(MalformedKey::Check))), "{refused:?}");
    for other in ["", "lotline_", &text.to_uppercase(), &"x".repeat(1 << 20), "' OR 1=1 --"] {
        let refused = node.ports.api_keys.check(other).await;
        assert!(matches!(refused, Err(ApiKeyError::Malformed(MalformedKey::Form))), "{refused:?}");
    }
    assert!(matches!(node.ports.api_keys.check(&text).await, Err(ApiKeyError::Store(_))), "a good one needs it");
}

#[tokio::test]
async fn the_last_use_is_written_down_in_one_go_and_never_goes_back() {
    let stand = Stand::new().await;
    let (one, other) = (stand.node().await, stand.node().await);
    let keys: Vec<_> = (0..3).map(|_| key(&stand)).collect();
    let mut texts = Vec::new();
    for key in &keys {
        texts.push(one.ports.api_keys.issue(*key).await.unwrap());
    }
    one.ports.api_keys.check(texts[0].expose()).await.unwrap();
    stand.clock.advance(Duration::from_secs(1));
    for text in &texts[..2] {
        other.ports.api_keys.check(text.expose()).await.unwrap();
    }
    assert!(one.ports.api_keys.last_used(&keys).await.unwrap().is_empty(), "not with each use");
    other.identity.write_uses().await.unwrap();
    one.identity.write_uses().await.unwrap();
    let mut used = one.ports.api_keys.last_used(&keys).await.unwrap();
    used.sort();
    let mut expected = vec![(keys[0], stand.clock.now()), (keys[1], stand.clock.now())];
    expected.sort();
    assert_eq!(used, expected);
}

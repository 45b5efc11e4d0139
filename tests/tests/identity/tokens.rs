//! Access tokens, true and forged.

use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lotline_domain::id::TenantId;
use lotline_domain::identity::port::IssuedTokens;
use lotline_domain::identity::token::{Claims, KeyName, TokenPolicy, TokenRefusal, Unverified};
use proptest::prelude::*;

use crate::stand::{AUDIENCE, ISSUER, Node, Stand};

fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Header, claims and signature of a token, decoded.
fn parts(token: &str) -> (serde_json::Value, serde_json::Value, Vec<u8>) {
    let parts: Vec<_> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    (serde_json::from_slice(&parts[0]).unwrap(), serde_json::from_slice(&parts[1]).unwrap(), parts[2].clone())
}

fn message(header: &serde_json::Value, claims: &serde_json::Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

/// The node's only key, as the world sees it.
fn published(node: &Node) -> (String, [u8; 32]) {
    let jwks: serde_json::Value = serde_json::from_str(&node.ports.tokens.jwks()).unwrap();
    let key = &jwks["keys"][0];
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    (key["kid"].as_str().unwrap().to_owned(), public.try_into().unwrap())
}

async fn signed_in() -> (Stand, Node, IssuedTokens) {
    let stand = Stand::new().await;
    let node = stand.node().await;
    let tokens = node.ports.sessions.open(stand.user(), "x").await.unwrap();
    (stand, node, tokens)
}

#[tokio::test]
async fn anybody_can_check_a_token_by_the_published_key() {
    let (_stand, node, tokens) = signed_in().await;
    let (header, claims, signature) = parts(&tokens.access);
    let (kid, public) = published(&node);
    assert_eq!(header, serde_json::json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid }));
    assert_eq!(claims["sub"], format!("user:{}", tokens.user));
    assert_eq!((claims["iss"].as_str(), claims["aud"].as_str()), (Some(ISSUER), Some(AUDIENCE)));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    assert_eq!(KeyName::of(&public).as_str(), kid);
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, public);
    key.verify(tokens.access.rsplit_once('.').unwrap().0.as_bytes(), &signature).unwrap();
    let jwks: serde_json::Value = serde_json::from_str(&node.ports.tokens.jwks()).unwrap();
    let members: Vec<_> = jwks["keys"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"], "no private half");
    assert!(tokens.access.len() < 700, "{} bytes", tokens.access.len());
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused() {
    let (_stand, node, tokens) = signed_in().await;
    let (header, claims, _) = parts(&tokens.access);
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let mut header = header.clone();
        header["alg"] = alg.into();
        for signature in [String::new(), encode([0; 64])] {
            let token = format!("{}.{signature}", message(&header, &claims));
            assert_eq!(node.ports.tokens.verify(&token).unwrap_err(), TokenRefusal::Kind, "{alg}");
        }
    }
    let bare = message(&header, &claims);
    for token in [format!("{bare}."), bare.clone(), format!("{bare}.{}", encode([0; 63]))] {
        assert_eq!(node.ports.tokens.verify(&token).unwrap_err(), TokenRefusal::Malformed);
    }
    assert_eq!(node.ports.tokens.verify(&format!("{bare}.{}", encode([0; 64]))).unwrap_err(), TokenRefusal::Signature);
}

/// The public key taken as the secret of another algorithm.
#[tokio::test]
async fn the_public_key_is_no_secret_to_sign_with() {
    let (_stand, node, tokens) = signed_in().await;
    let (mut header, claims, _) = parts(&tokens.access);
    let (_, public) = published(&node);
    let jwks = node.ports.tokens.jwks();
    for alg in ["HS256", "EdDSA"] {
        header["alg"] = alg.into();
        for secret in [public.as_slice(), encode(public).as_bytes(), jwks.as_bytes()] {
            let message = message(&header, &claims);
            let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
            assert!(node.ports.tokens.verify(&format!("{message}.{}", encode(mac.as_ref()))).is_err());
            let padded = [mac.as_ref(), &[0; 32]].concat();
            assert!(node.ports.tokens.verify(&format!("{message}.{}", encode(padded))).is_err());
        }
    }
}

#[tokio::test]
async fn another_key_does_not_count_under_any_name() {
    let (_stand, node, tokens) = signed_in().await;
    let (header, claims, _) = parts(&tokens.access);
    let claims: Claims = serde_json::from_value(claims).unwrap();
    let own = Ed25519KeyPair::generate().unwrap();
    let own_public: [u8; 32] = own.public_key().as_ref().try_into().unwrap();
    let sign = |message: &[u8]| own.sign(message).as_ref().try_into().unwrap();
    let named_own = claims.sign(&KeyName::of(&own_public), sign);
    assert_eq!(node.ports.tokens.verify(&named_own).unwrap_err(), TokenRefusal::UnknownKey);
    let named_ours = claims.sign(&KeyName::parse(header["kid"].as_str().unwrap()).unwrap(), sign);
    assert_eq!(node.ports.tokens.verify(&named_ours).unwrap_err(), TokenRefusal::Signature);
    for kid in ["../../dev/null", "x' UNION SELECT public_key FROM access.signing_key --", "https://evil.example/jwks"]
    {
        let header = serde_json::json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid });
        let message = message(&header, &serde_json::to_value(&claims).unwrap());
        let token = format!("{message}.{}", encode(own.sign(message.as_bytes())));
        assert_eq!(node.ports.tokens.verify(&token).unwrap_err(), TokenRefusal::UnknownKey, "{kid}");
    }
    for (member, value) in
        [("jku", "https://evil.example/jwks"), ("x5u", "https://evil.example/cert"), ("x5c", "AAAA"), ("jwk", "x")]
    {
        let mut header = header.clone();
        header[member] = value.into();
        let message = message(&header, &serde_json::to_value(&claims).unwrap());
        let token = format!("{message}.{}", encode(own.sign(message.as_bytes())));
        assert_eq!(node.ports.tokens.verify(&token).unwrap_err(), TokenRefusal::Malformed, "{member}");
    }
}

#[tokio::test]
async fn a_changed_claim_does_not_fit_its_signature() {
    let (_stand, node, tokens) = signed_in().await;
    let (header, claims, signature) = parts(&tokens.access);
    for (member, value) in [
        ("sub", format!("user:{}", uuid::Uuid::nil())),
        ("tenant", "bakery".into()),
        ("sid", uuid::Uuid::nil().to_string()),
    ] {
        let mut claims = claims.clone();
        claims[member] = value.into();
        let token = format!("{}.{}", message(&header, &claims), encode(&signature));
        assert_eq!(node.ports.tokens.verify(&token).unwrap_err(), TokenRefusal::Signature, "{member}");
    }
    for length in 0..tokens.access.len() {
        assert!(node.ports.tokens.verify(&tokens.access[..length]).is_err(), "cut at {length}");
    }
    node.ports.tokens.verify(&tokens.access).unwrap();
}

/// Signed by our own key, and yet not for here.
#[tokio::test]
async fn issuer_audience_and_tenant_must_be_ours() {
    let (stand, node, tokens) = signed_in().await;
    let tenant = |name: &str| TenantId::new(name).unwrap();
    for policy in [
        TokenPolicy::new("https://other.example", AUDIENCE, tenant("dairy")),
        TokenPolicy::new(ISSUER, "another-service", tenant("dairy")),
    ] {
        let mut options = crate::stand::options("dairy");
        options.tokens = policy;
        let neighbour = stand.node_with(options).await;
        assert_eq!(neighbour.ports.tokens.jwks(), node.ports.tokens.jwks(), "the same keys");
        assert_eq!(neighbour.ports.tokens.verify(&tokens.access).unwrap_err(), TokenRefusal::Elsewhere);
        let theirs = neighbour.ports.sessions.open(stand.user(), "x").await.unwrap();
        assert_eq!(node.ports.tokens.verify(&theirs.access).unwrap_err(), TokenRefusal::Elsewhere);
    }
    let bakery = stand.node_with(crate::stand::options("bakery")).await;
    assert_eq!(
        bakery.ports.tokens.verify(&tokens.access).unwrap_err(),
        TokenRefusal::UnknownKey,
        "each tenant has its own keys"
    );
}

#[tokio::test]
async fn a_token_has_its_time_also_when_it_is_remembered() {
    let (stand, node, tokens) = signed_in().await;
    for _ in 0..2 {
        node.ports.tokens.verify(&tokens.access).unwrap();
    }
    stand.clock.advance(Duration::from_secs(929));
    node.ports.tokens.verify(&tokens.access).unwrap();
    stand.clock.advance(Duration::from_secs(1));
    assert_eq!(node.ports.tokens.verify(&tokens.access).unwrap_err(), TokenRefusal::Expired);
    let later = node.ports.sessions.open(stand.user(), "x").await.unwrap();
    // The clock steps back: a token from the future does not count yet.
    stand.clock.rewind(Duration::from_mins(5));
    assert_eq!(node.ports.tokens.verify(&later.access).unwrap_err(), TokenRefusal::Times);
}

#[tokio::test]
async fn a_mebibyte_is_refused_before_any_work() {
    let (_stand, node, tokens) = signed_in().await;
    let (header, _, signature) = parts(&tokens.access);
    let token = format!("{}.{}.{}", encode(header.to_string()), "A".repeat(1 << 20), encode(signature));
    assert_eq!(node.ports.tokens.verify(&token).unwrap_err(), TokenRefusal::TooLong);
    for text in ["", ".", "..", "...", "a.b.c", "\0", "Bearer x"] {
        assert_eq!(node.ports.tokens.verify(text).unwrap_err(), TokenRefusal::Malformed, "{text:?}");
    }
}

proptest! {
    /// Whatever bytes come, with whatever signature that fits: claims or a refusal, never a panic.
    #[test]
    fn any_bytes_are_read_or_refused(header: Vec<u8>, claims: Vec<u8>, signature: Vec<u8>, separator in "[.]{0,3}") {
        let header = String::from_utf8_lossy(&header).into_owned();
        for text in [header.clone(), format!("{}{separator}{}{separator}{}", encode(&header), encode(&claims), encode(&signature))] {
            if let Ok(token) = Unverified::read(&text) {
                let _ = token.verify(|_, _| true);
            }
        }
    }
}

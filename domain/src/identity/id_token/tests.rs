//! Tokens that lie, each in one way, beside one that does not.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: i64 = 1_790_000_000;

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn token(header: &Value, claims: &Value) -> String {
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode("signed"))
}

fn honest() -> Value {
    json!({ "iss": "https://id.example", "sub": "ann", "aud": "lotline", "exp": NOW + 300, "iat": NOW, "nonce": "n-1" })
}

fn expected() -> ExpectedToken<'static> {
    let leeway = Duration::from_secs(30);
    let (issuer, client_id) = ("https://id.example", "lotline");
    ExpectedToken { issuer, client_id, nonce: "n-1", authenticated_since: None, leeway }
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = honest();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

fn judged(claims: &Value, expected: &ExpectedToken<'_>) -> Result<(), IdTokenRefusal> {
    let token = token(&json!({ "alg": "RS256" }), claims);
    let claims = UnverifiedIdToken::read(&token)?.verify(|_, signature| signature == b"signed")?;
    claims.check(expected, Timestamp::from_millis(NOW * 1_000))
}

#[test]
fn each_claim_is_looked_at() {
    use IdTokenRefusal::{Audience, Issuer, Nonce, Subject, Times};
    assert_eq!(judged(&honest(), &expected()), Ok(()));
    for (name, value, refusal) in [
        ("iss", json!("https://id.example/"), Issuer),
        ("iss", json!("http://id.example"), Issuer),
        ("iss", Value::Null, Issuer),
        ("aud", json!("other"), Audience),
        ("aud", json!(["other"]), Audience),
        ("aud", json!([]), Audience),
        ("aud", json!({ "lotline": 1 }), Audience),
        ("aud", Value::Null, Audience),
        ("aud", json!(["lotline", "other"]), Audience),
        ("azp", json!("other"), Audience),
        ("azp", json!(1), Audience),
        ("exp", json!(NOW - 30), Times),
        ("exp", json!("never"), Times),
        ("exp", json!(-1), Times),
        ("exp", Value::Null, Times),
        ("iat", json!(NOW + 31), Times),
        ("iat", Value::Null, Times),
        ("nbf", json!(NOW + 31), Times),
        ("nbf", json!("soon"), Times),
        ("nonce", json!("n-2"), Nonce),
        ("nonce", json!(["n-1"]), Nonce),
        ("nonce", Value::Null, Nonce),
        ("sub", json!(""), Subject),
        ("sub", json!("x".repeat(256)), Subject),
        ("sub", json!(7), Subject),
        ("sub", Value::Null, Subject),
    ] {
        assert_eq!(judged(&with(name, value.clone()), &expected()), Err(refusal), "{name} = {value}");
    }
    let mut shared = with("aud", json!(["lotline", "other"]));
    shared["azp"] = json!("lotline");
    assert_eq!(judged(&shared, &expected()), Ok(()));
    assert_eq!(judged(&with("exp", json!(NOW as f64 + 0.5)), &expected()), Ok(()));
}

#[test]
fn proving_it_again_means_just_now() {
    let again = ExpectedToken { authenticated_since: Some(Timestamp::from_millis((NOW - 10) * 1_000)), ..expected() };
    for (at, fine) in [(json!(NOW - 5), true), (json!(NOW - 41), false), (json!(NOW + 31), false), (Value::Null, false)]
    {
        let verdict = if fine { Ok(()) } else { Err(IdTokenRefusal::NotAgain) };
        assert_eq!(judged(&with("auth_time", at.clone()), &again), verdict, "{at}");
    }
}

#[test]
fn algorithms_that_do_not_count_are_refused_by_name() {
    for alg in ["none", "None", "HS256", "HS512", "RS1", "RS512", "PS256", "ES256K", "rs256", ""] {
        let token = token(&json!({ "alg": alg }), &honest());
        assert_eq!(UnverifiedIdToken::read(&token).err(), Some(IdTokenRefusal::Algorithm), "{alg}");
    }
    let critical = token(&json!({ "alg": "RS256", "crit": ["exp"] }), &honest());
    assert_eq!(UnverifiedIdToken::read(&critical).err(), Some(IdTokenRefusal::Malformed));
    let unsigned = token(&json!({ "alg": "RS256" }), &honest());
    let verdict = UnverifiedIdToken::read(&unsigned).unwrap().verify(|_, _| false);
    assert_eq!(verdict.err(), Some(IdTokenRefusal::Signature));
}

#[test]
fn a_key_is_found_by_name_and_kind_or_not_at_all() {
    let (rsa, coordinate) = (URL_SAFE_NO_PAD.encode([0xff; 256]), URL_SAFE_NO_PAD.encode([7; 32]));
    let set = json!({ "keys": [
        { "kty": "RSA", "kid": "a", "n": rsa, "e": "AQAB" },
        { "kty": "RSA", "kid": "enc", "use": "enc", "n": rsa, "e": "AQAB" },
        { "kty": "RSA", "kid": "small", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB" },
        { "kty": "RSA", "kid": "other", "alg": "RS512", "n": rsa, "e": "AQAB" },
        { "kty": "oct", "kid": "a", "k": "AAAA" },
        { "kty": "EC", "crv": "P-256", "kid": "b", "x": coordinate, "y": coordinate },
        { "kty": "EC", "crv": "P-384", "kid": "big", "x": coordinate, "y": coordinate },
        { "kty": "OKP", "crv": "Ed25519", "kid": "c", "x": coordinate },
        { "kty": "OKP", "crv": "Ed25519", "kid": "d", "x": coordinate },
        "no key",
    ] });
    let keys = KeyRing::read(set.to_string().as_bytes()).unwrap();
    assert!(matches!(keys.find(Algorithm::Rs256, Some("a")), Some(PublicKey::Rsa { .. })));
    assert!(keys.find(Algorithm::Rs256, None).is_some(), "the only one of its kind");
    assert!(matches!(keys.find(Algorithm::Es256, None), Some(PublicKey::P256(point)) if point[0] == 4));
    assert!(keys.find(Algorithm::EdDsa, None).is_none(), "one of two");
    assert!(keys.find(Algorithm::EdDsa, Some("d")).is_some());
    for name in ["enc", "small", "other", "b", "c", "x"] {
        assert!(keys.find(Algorithm::Rs256, Some(name)).is_none(), "{name}");
    }
    assert!(keys.find(Algorithm::Es256, Some("big")).is_none());
    assert_eq!(KeyRing::read(b"[]").err(), Some(NotKeys));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*", header in "\\PC*", claims in "\\PC*") {
        let _ = UnverifiedIdToken::read(&text);
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.{}", encoded(&header), encoded(&claims), encoded("x"));
        let _ = UnverifiedIdToken::read(&token).and_then(|token| token.verify(|_, _| true));
        let _ = KeyRing::read(text.as_bytes());
    }
}

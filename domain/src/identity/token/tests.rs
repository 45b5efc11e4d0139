//! What is taken for a token, and what is not. Signatures here are the first 64 bytes of the message, so that the rules are seen alone; real
//! ones are in `tests/tests/identity/tokens.rs`.

use proptest::prelude::*;

use super::*;

fn policy() -> TokenPolicy {
    TokenPolicy::new("https://lotline.example", "lotline", TenantId::new("dairy").unwrap())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn claims() -> Claims {
    Claims {
        issuer: "https://lotline.example".into(),
        audience: "lotline".into(),
        user: UserId(Uuid::from_u128(7)),
        tenant: TenantId::new("dairy").unwrap(),
        session: SessionId(Uuid::from_u128(8)),
        id: Uuid::from_u128(9),
        issued_at: 1_700_000_000,
        expires_at: 1_700_000_900,
        authenticated_at: 1_700_000_000,
    }
}

fn name() -> KeyName {
    KeyName::of(&[1; 32])
}

fn signature(message: &[u8]) -> [u8; 64] {
    message[..64].try_into().unwrap()
}

fn read(text: &str) -> Result<Claims, TokenRefusal> {
    Unverified::read(text)?.verify(|message, given| signature(message) == *given)
}

fn part(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn with_header(header: &str) -> String {
    let token = claims().sign(&name(), signature);
    format!("{}.{}", part(header), token.split_once('.').unwrap().1)
}

#[test]
fn what_was_signed_is_read() {
    let token = claims().sign(&name(), signature);
    assert_eq!(read(&token), Ok(claims()));
    assert_eq!(Unverified::read(&token).unwrap().key(), &name());
    let payload = token.split('.').nth(1).unwrap();
    assert_eq!(
        String::from_utf8(bytes(payload).unwrap()).unwrap(),
        "{\"iss\":\"https://lotline.example\",\"aud\":\"lotline\",\"sub\":\"user:00000000-0000-0000-0000-000000000007\",\"tenant\":\"dairy\",\
         \"sid\":\"00000000-0000-0000-0000-000000000008\",\"jti\":\"00000000-0000-0000-0000-000000000009\",\"iat\":1700000000,\
         \"exp\":1700000900,\"auth_time\":1700000000}"
    );
}

/// RFC 8037 appendix A.3.
#[test]
fn a_key_is_named_by_its_thumbprint() {
    let key: [u8; 32] = bytes("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap().try_into().unwrap();
    assert_eq!(KeyName::of(&key).as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(public_jwk(&KeyName::of(&key), &key)["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
}

#[test]
fn another_algorithm_or_type_is_refused() {
    let kid = name().0;
    for (alg, typ) in
        [("none", "at+jwt"), ("None", "at+jwt"), ("HS256", "at+jwt"), ("eddsa", "at+jwt"), ("EdDSA", "JWT"), ("", "")]
    {
        let header = format!(r#"{{"alg":"{alg}","typ":"{typ}","kid":"{kid}"}}"#);
        assert_eq!(read(&with_header(&header)), Err(TokenRefusal::Kind), "{header}");
    }
}

#[test]
fn a_header_has_three_members() {
    let kid = name().0;
    for header in [
        r#"{"alg":"EdDSA","typ":"at+jwt"}"#.to_owned(),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}","jku":"https://evil.example/keys"}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}","x5u":"https://evil.example/cert"}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}","jwk":{{"kty":"OKP"}}}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}","crit":["b64"],"b64":false}}"#),
        format!(r#"{{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}"#),
        format!(r#"[{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}]"#),
        String::new(),
    ] {
        assert_eq!(read(&with_header(&header)), Err(TokenRefusal::Malformed), "{header}");
    }
}

#[test]
fn a_key_name_is_a_thumbprint() {
    let long = "a".repeat(44);
    for kid in ["", "../../../../etc/passwd", "' OR 1=1 --", "/dev/null", &long, &"ä".repeat(21)] {
        let header = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}"#);
        assert_eq!(read(&with_header(&header)), Err(TokenRefusal::UnknownKey), "{kid}");
    }
}

#[test]
fn any_cut_and_any_changed_character_is_refused() {
    let token = claims().sign(&name(), signature);
    for end in 0..token.len() {
        assert!(read(&token[..end]).is_err(), "cut at {end}");
    }
    let signed = token.rfind('.').unwrap();
    for place in 0..signed {
        let mut other = token.clone().into_bytes();
        other[place] = if other[place] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        // The stand-in signature covers the first 64 bytes; behind them the form alone must hold.
        assert!(place >= 64 || read(&other).is_err(), "changed at {place}");
    }
    for other in [
        format!("{token}="),
        format!("{token}."),
        format!("{token}.x"),
        format!(" {token}"),
        token.replacen('.', "..", 1),
    ] {
        assert!(read(&other).is_err(), "{other}");
    }
}

#[test]
fn a_mebibyte_is_refused_unseen() {
    assert_eq!(read(&"a".repeat(1 << 20)), Err(TokenRefusal::TooLong));
    assert_eq!(read(&".".repeat(MAX_TOKEN_BYTES + 1)), Err(TokenRefusal::TooLong));
    assert_eq!(read(&".".repeat(MAX_TOKEN_BYTES)), Err(TokenRefusal::Malformed));
}

#[test]
fn claims_count_here_and_now() {
    let check = |change: fn(&mut Claims), now: i64| {
        let mut claims = claims();
        change(&mut claims);
        claims.check(&policy(), at(now))
    };
    let issued = 1_700_000_000;
    assert_eq!(check(|_| {}, issued), Ok(()));
    assert_eq!(check(|_| {}, issued + 929), Ok(()), "within the leeway");
    assert_eq!(check(|_| {}, issued + 930), Err(TokenRefusal::Expired));
    assert_eq!(check(|_| {}, issued - 30), Ok(()), "a clock that is behind");
    assert_eq!(check(|_| {}, issued - 31), Err(TokenRefusal::Times), "not yet");
    assert_eq!(check(|c| c.issuer = "https://evil.example".into(), issued), Err(TokenRefusal::Elsewhere));
    assert_eq!(check(|c| c.audience = "other".into(), issued), Err(TokenRefusal::Elsewhere));
    assert_eq!(check(|c| c.tenant = TenantId::new("bakery").unwrap(), issued), Err(TokenRefusal::Elsewhere));
    assert_eq!(check(|c| c.expires_at = i64::MAX, issued), Err(TokenRefusal::Times), "for ever");
    assert_eq!(check(|c| c.issued_at = i64::MIN, issued), Err(TokenRefusal::Times));
    assert_eq!(check(|c| c.expires_at = c.issued_at, issued), Err(TokenRefusal::Times));
    assert_eq!(check(|c| c.authenticated_at = i64::MAX, issued), Err(TokenRefusal::Times));
}

#[test]
fn claims_are_nine_and_the_subject_is_a_user() {
    let whole = serde_json::to_value(claims()).unwrap();
    let read_again = |value: &serde_json::Value| serde_json::from_value::<Claims>(value.clone());
    assert_eq!(read_again(&whole).unwrap(), claims());
    for missing in ["iss", "aud", "sub", "tenant", "sid", "jti", "iat", "exp", "auth_time"] {
        let mut value = whole.clone();
        value.as_object_mut().unwrap().remove(missing);
        assert!(read_again(&value).is_err(), "without {missing}");
    }
    for (member, other) in [
        ("sub", "apikey:00000000-0000-0000-0000-000000000007"),
        ("sub", "7"),
        ("roles", "ADMIN"),
        ("tenant", "No Tenant"),
    ] {
        let mut value = whole.clone();
        value[member] = other.into();
        assert!(read_again(&value).is_err(), "{member} {other}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*", bytes: Vec<u8>, claims in "[ -~]{0,60}") {
        let _ = read(&text);
        let _ = read(&String::from_utf8_lossy(&bytes));
        let kid = name().0;
        let header = part(&format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}"#));
        let message = format!("{header}.{}", part(&claims));
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature(message.as_bytes())));
        prop_assert!(read(&token).is_err());
    }

    #[test]
    fn times_never_overflow(issued: i64, expires: i64, authenticated: i64, now: i64) {
        let claims = Claims { issued_at: issued, expires_at: expires, authenticated_at: authenticated, ..claims() };
        let _ = claims.check(&policy(), Timestamp::from_micros(now));
    }
}

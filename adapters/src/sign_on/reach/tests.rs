//! Addresses that a liar would like to have asked.

use super::*;

fn reach(issuer: &str, allow_http: bool) -> Reach {
    Reach::new(issuer, allow_http).unwrap()
}

#[test]
fn only_public_addresses_are_public() {
    for inside in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "0.1.2.3",
        "100.64.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "100::1",
    ] {
        assert!(!is_public(inside.parse().unwrap()), "{inside}");
    }
    for outside in [
        "1.1.1.1",
        "172.32.0.1",
        "100.128.0.1",
        "192.0.1.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00::1",
        "64:ff9b::101:101",
    ] {
        assert!(is_public(outside.parse().unwrap()), "{outside}");
    }
}

#[test]
fn the_issuer_is_https_or_on_the_loopback_by_a_setting() {
    for (issuer, allow_http, fine) in [
        ("https://id.example/realms/a", false, true),
        ("https://10.0.0.5:8443", false, true),
        ("http://id.example", true, false),
        ("http://localhost:1", true, false),
        ("http://10.0.0.5", true, false),
        ("http://127.0.0.1:1", false, false),
        ("http://127.0.0.1:1", true, true),
        ("http://[::1]:1", true, true),
        ("https://ann@id.example", false, false),
        ("https://id.example?x=1", false, false),
        ("https://id.example#x", false, false),
        ("file:///etc/passwd", true, false),
        ("id.example", true, false),
    ] {
        assert_eq!(Reach::new(issuer, allow_http).is_ok(), fine, "{issuer} {allow_http}");
    }
}

#[test]
fn what_a_document_names_is_public_or_at_the_issuer() {
    let (public, inside) = (reach("https://id.example", false), reach("https://10.0.0.5:8443/realms/a", false));
    let local = reach("http://127.0.0.1:9999", true);
    for (reach, address, fine) in [
        (&public, "https://id.example/token", true),
        (&public, "https://keys.example/jwks", true),
        (&public, "https://1.1.1.1/jwks", true),
        (&public, "http://id.example/token", false),
        (&public, "https://127.0.0.1/", false),
        (&public, "https://0x7f.1/", false),
        (&public, "https://2130706433/", false),
        (&public, "https://[::1]/", false),
        (&public, "https://[::ffff:169.254.169.254]/latest", false),
        (&public, "https://169.254.169.254/latest", false),
        (&public, "https://id.example@10.0.0.1/", false),
        (&public, "gopher://id.example/", false),
        (&inside, "https://10.0.0.5:8443/token", true),
        (&inside, "https://10.0.0.5/token", false),
        (&inside, "https://10.0.0.6:8443/token", false),
        (&local, "http://127.0.0.1:9999/token", true),
        (&local, "http://127.0.0.1:9998/token", false),
        (&local, "https://127.0.0.1:9998/token", false),
    ] {
        assert_eq!(reach.check(address).is_ok(), fine, "{address}");
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_when_it_is_resolved() {
    let error = reach("https://id.example", false).get("https://localhost/jwks", None).await.unwrap_err().to_string();
    assert!(error.contains("not public"), "{error}");
}

#[test]
fn forms_and_addresses_are_encoded() {
    assert_eq!(encoded("a b+c&d=é%"), "a+b%2Bc%26d%3D%C3%A9%25");
    let address = with_parameters("https://id.example/auth?tenant=1", &[("scope", "openid email"), ("state", "x&y")]);
    assert_eq!(address, "https://id.example/auth?tenant=1&scope=openid+email&state=x%26y");
}

//! Cookies of browsers, and the protection that they need.
//!
//! A browser sends a cookie whoever made it send the request. So a request that changes something and comes in by a cookie must also carry
//! what a page of another site can't give it: the `Origin` of this server, and in `x-csrf-token` the text that sign-in handed out, which is a
//! signed name of the session:
//!
//! ```text
//! <session> . HMAC-SHA-256("csrf" | session)      under a secret of the installation; hex
//! ```
//!
//! Names begin with `__Host-` where cookies are `Secure`, so that no other host, not even a subdomain, can set them (RFC 6265bis section 4.1.3.2).

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use hmac::{Hmac, KeyInit, Mac};
use lotline_domain::id::SessionId;
use lotline_domain::identity::port::IssuedTokens;
use lotline_domain::timestamp::Timestamp;
use sha2::Sha256;
use uuid::Uuid;

/// Header with the text that sign-in handed out.
pub const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

const ACCESS: &str = "lotline_access";
const REFRESH: &str = "lotline_refresh";
const CSRF_COOKIE: &str = "lotline_csrf";

/// How cookies are written and checked.
#[derive(Clone)]
pub struct Cookies {
    key: Hmac<Sha256>,
    secure: bool,
}

impl Cookies {
    /// `secret` is that of the tenant's nodes, so that every node takes what another has handed out. `secure` unless browsers come by plain HTTP on
    /// loopback.
    pub fn new(secret: &[u8], secure: bool) -> Self {
        Self { key: Hmac::new_from_slice(secret).expect("invariant: HMAC takes keys of any length"), secure }
    }

    /// The access token, when the request has exactly one.
    pub(super) fn access<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        read(headers, &self.name(ACCESS))
    }

    /// The refresh token, when the request has exactly one.
    pub(super) fn refresh<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        read(headers, &self.name(REFRESH))
    }

    /// What the page has to send back in [`CSRF`].
    pub(super) fn csrf(&self, session: SessionId) -> String {
        format!("{session}.{}", hex::encode(self.mac(session).finalize().into_bytes()))
    }

    /// The session for which the request's [`CSRF`] was handed out.
    pub(super) fn csrf_session(&self, headers: &HeaderMap) -> Option<SessionId> {
        let (session, tag) = headers.get(CSRF)?.to_str().ok()?.split_once('.')?;
        let session = SessionId(Uuid::try_parse(session).ok()?);
        let mut bytes = [0; 32];
        hex::decode_to_slice(tag, &mut bytes).ok()?;
        // In constant time.
        self.mac(session).verify_slice(&bytes).ok()?;
        Some(session)
    }

    /// Hands tokens to a browser.
    pub(super) fn set(&self, headers: &mut HeaderMap, tokens: &IssuedTokens, now: Timestamp) {
        let lives = |until: Timestamp| (until.millis() - now.millis()).max(0) / 1_000;
        let refresh = lives(tokens.refresh_expires_at);
        self.write(headers, ACCESS, &tokens.access, lives(tokens.access_expires_at), true);
        self.write(headers, REFRESH, tokens.refresh.expose(), refresh, true);
        self.write(headers, CSRF_COOKIE, &self.csrf(tokens.session), refresh, false);
    }

    /// Has a browser forget them.
    pub(super) fn clear(&self, headers: &mut HeaderMap) {
        for name in [ACCESS, REFRESH, CSRF_COOKIE] {
            self.write(headers, name, "", 0, true);
        }
    }

    fn write(&self, headers: &mut HeaderMap, name: &str, value: &str, seconds: i64, hidden: bool) {
        let (name, secure) = (self.name(name), if self.secure { "; Secure" } else { "" });
        let hidden = if hidden { "; HttpOnly" } else { "" };
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; SameSite=Strict{secure}{hidden}");
        let value = HeaderValue::from_str(&text).expect("invariant: tokens are visible ASCII");
        headers.append(header::SET_COOKIE, value);
    }

    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", if self.secure { "__Host-" } else { "" })
    }

    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// An HMAC under the secret; whatever goes in begins with a label of its own.
    pub(super) fn keyed(&self) -> Hmac<Sha256> {
        self.key.clone()
    }

    fn mac(&self, session: SessionId) -> Hmac<Sha256> {
        let mut mac = self.key.clone();
        mac.update(b"csrf");
        mac.update(session.0.as_bytes());
        mac
    }
}

/// The value of a cookie that the request has once. Sent twice, one of them was planted.
pub(super) fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(given, _)| *given == name).map(|(_, value)| value);
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_cookie_is_read_when_there_is_one_of_its_name() {
        let (plain, secure) = (Cookies::new(b"s", false), Cookies::new(b"s", true));
        let given = headers(&header::COOKIE, &["a=b; lotline_access=one", "__Host-lotline_access=two"]);
        assert_eq!((plain.access(&given), secure.access(&given)), (Some("one"), Some("two")));
        let twice = headers(&header::COOKIE, &["lotline_access=one; lotline_access=two"]);
        assert_eq!(plain.access(&twice), None);
    }

    #[test]
    fn the_csrf_text_is_the_sessions_and_nobody_can_make_one() {
        let (cookies, other) = (Cookies::new(b"secret", true), Cookies::new(b"other", true));
        let session = SessionId(Uuid::from_u128(5));
        let text = cookies.csrf(session);
        assert_eq!(cookies.csrf_session(&headers(&CSRF, &[&text])), Some(session));
        assert_eq!(other.csrf_session(&headers(&CSRF, &[&text])), None);
        let moved = text.replace(&session.to_string(), &Uuid::from_u128(6).to_string());
        for forged in ["", ".", "x.y", &moved, &text[..text.len() - 2]] {
            assert_eq!(cookies.csrf_session(&headers(&CSRF, &[forged])), None, "{forged}");
        }
    }
}

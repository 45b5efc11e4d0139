//! What a browser carries to a provider of single sign-on and back: one attempt, signed, for ten minutes.
//!
//! ```text
//! lotline_sign_on = base64url(JSON of the attempt) . HMAC-SHA-256("sign-on" | 0 | that)      under the secret of the installation; hex
//! ```
//!
//! State, nonce and PKCE verifier are not in it: each is an HMAC of the attempt's id under that secret, so that any node knows them, nobody else
//! does, and nothing is stored. The cookie is `SameSite=Lax`, since the way back begins at another site; it lets nobody in by itself.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use lotline_domain::id::{SessionId, UserId};
use lotline_domain::identity::secret::SecretDigest;
use lotline_domain::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::cookie::{self, Cookies};

const COOKIE: &str = "lotline_sign_on";
const LIFETIME_S: i64 = 600;

/// One way to the provider and back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attempt {
    /// Names it.
    pub(super) id: Uuid,
    /// When it began.
    pub(super) begun_at: Timestamp,
    /// What for.
    pub(super) purpose: Purpose,
}

/// What a way to the provider is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Purpose {
    /// To come in. Cookies and a page, or tokens as JSON.
    SignIn {
        /// Where a page goes on; tokens when absent.
        return_to: Option<String>,
    },
    /// To prove it again, for one command.
    Prove {
        /// Who.
        user: UserId,
        /// In which session.
        session: SessionId,
        /// SHA-256 of the command, hex.
        command: String,
        /// Where a page goes on with the proof; JSON when absent.
        return_to: Option<String>,
    },
}

impl Attempt {
    /// When it is over.
    pub(super) fn ends_at(&self) -> Timestamp {
        self.begun_at.plus_micros(LIFETIME_S * 1_000_000)
    }

    /// By what its use is noted.
    pub(super) fn digest(&self) -> [u8; 32] {
        *SecretDigest::of(self.id.as_bytes()).as_bytes()
    }
}

impl Cookies {
    /// What the attempt is known by at the provider.
    pub(super) fn state(&self, attempt: &Attempt) -> String {
        self.derived(b"sign-on state", attempt.id.as_bytes())
    }

    /// What the provider has to sign.
    pub(super) fn nonce(&self, attempt: &Attempt) -> String {
        self.derived(b"sign-on nonce", attempt.id.as_bytes())
    }

    /// What goes with the code, and never with the browser.
    pub(super) fn verifier(&self, attempt: &Attempt) -> String {
        self.derived(b"sign-on verifier", attempt.id.as_bytes())
    }

    /// Gives an attempt to a browser.
    pub(super) fn set_attempt(&self, headers: &mut HeaderMap, attempt: &Attempt) {
        let json = serde_json::to_vec(attempt).expect("invariant: an attempt has string keys");
        let text = URL_SAFE_NO_PAD.encode(json);
        let tag = self.derived(b"sign-on", text.as_bytes());
        self.write_attempt(headers, &format!("{text}.{tag}"), LIFETIME_S);
    }

    /// Has a browser forget it.
    pub(super) fn clear_attempt(&self, headers: &mut HeaderMap) {
        self.write_attempt(headers, "", 0);
    }

    /// The attempt that a browser has begun, if it is not over.
    pub(super) fn attempt(&self, headers: &HeaderMap, now: Timestamp) -> Option<Attempt> {
        let (text, tag) = cookie::read(headers, &self.name(COOKIE))?.split_once('.')?;
        if !same(&self.derived(b"sign-on", text.as_bytes()), tag) {
            return None;
        }
        let attempt: Attempt = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        (attempt.begun_at <= now && now < attempt.ends_at()).then_some(attempt)
    }

    fn write_attempt(&self, headers: &mut HeaderMap, value: &str, seconds: i64) {
        let (name, secure) = (self.name(COOKIE), if self.is_secure() { "; Secure" } else { "" });
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; SameSite=Lax{secure}; HttpOnly");
        let value = HeaderValue::from_str(&text).expect("invariant: base64 and hex are visible ASCII");
        headers.append(header::SET_COOKIE, value);
    }

    fn derived(&self, label: &[u8], text: &[u8]) -> String {
        let mut mac = self.keyed();
        mac.update(label);
        mac.update(&[0]);
        mac.update(text);
        hex::encode(mac.finalize().into_bytes())
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub(super) fn same(left: &str, right: &str) -> bool {
    SecretDigest::of(left.as_bytes()).matches(&SecretDigest::of(right.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(id: u128) -> Attempt {
        let purpose = Purpose::SignIn { return_to: Some("/graphiql".into()) };
        Attempt { id: Uuid::from_u128(id), begun_at: after(0), purpose }
    }

    fn after(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_790_000_000_000 + seconds * 1_000)
    }

    /// The cookie as a browser sends it back.
    fn sent(cookies: &Cookies, attempt: &Attempt) -> String {
        let mut headers = HeaderMap::new();
        cookies.set_attempt(&mut headers, attempt);
        let line = headers[header::SET_COOKIE].to_str().unwrap().to_owned();
        assert!(line.contains("SameSite=Lax") && line.contains("HttpOnly") && line.contains("Path=/"), "{line}");
        line.split(';').next().unwrap().to_owned()
    }

    fn read(cookies: &Cookies, text: &str, now: Timestamp) -> Option<Attempt> {
        let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(text).unwrap())]);
        cookies.attempt(&headers, now)
    }

    #[test]
    fn an_attempt_comes_back_as_it_went_for_ten_minutes() {
        let (cookies, other) = (Cookies::new(b"secret", true), Cookies::new(b"other", true));
        let text = sent(&cookies, &attempt(1));
        assert!(text.starts_with("__Host-lotline_sign_on="), "{text}");
        assert_eq!(read(&cookies, &text, after(599)), Some(attempt(1)));
        assert_eq!(read(&cookies, &text, after(600)), None);
        assert_eq!(read(&cookies, &text, after(-1)), None, "from the future");
        assert_eq!(read(&other, &text, after(1)), None);
        let (name, tag) = text.split_once('.').unwrap();
        let (_, stranger) =
            sent(&cookies, &attempt(2)).split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        for forged in [format!("{name}.{stranger}"), format!("{name}A.{tag}"), name.to_owned(), format!("{name}.")] {
            assert_eq!(read(&cookies, &forged, after(1)), None, "{forged}");
        }
    }

    #[test]
    fn state_nonce_and_verifier_differ_and_are_the_attempts() {
        let cookies = Cookies::new(b"secret", false);
        let all: std::collections::HashSet<String> = [attempt(1), attempt(2)]
            .iter()
            .flat_map(|attempt| [cookies.state(attempt), cookies.nonce(attempt), cookies.verifier(attempt)])
            .collect();
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|text| text.len() == 64), "RFC 7636: 43 to 128 characters");
        assert!(!sent(&cookies, &attempt(1)).contains(&cookies.verifier(&attempt(1))));
        assert!(same("a", "a") && !same("a", "b") && !same("", "a"));
    }
}

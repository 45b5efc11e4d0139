//! Section `[access]`.

use std::path::PathBuf;
use std::time::Duration;

use lotline_api::Mode;
use serde::{Deserialize, Serialize};

use super::OidcSection;

/// Who is let in, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessSection {
    /// How callers are identified. Only the flag `--development` changes it: no file and no environment takes the door away.
    #[serde(skip)]
    pub mode: Mode,
    /// Where people reach the server, such as `https://lotline.plant.example`: the issuer of access tokens and the origin of pages that use
    /// cookies. The same on every node. Empty: tokens are issued by `lotline`, and pages have to be at the address that was asked for.
    pub issuer: String,
    /// For whom access tokens are.
    pub audience: String,
    /// A file with the key that encrypts signing keys in the database: 32 bytes, or 64 hex digits. Empty: they stand there in clear.
    pub encryption_file: PathBuf,
    /// Minutes that an access token is good.
    pub access_minutes: u32,
    /// Hours that a refresh token is good; each is good once.
    pub refresh_hours: u32,
    /// Hours after which a session ends, however often it is refreshed.
    pub session_hours: u32,
    /// Single sign-on.
    pub oidc: OidcSection,
}

impl AccessSection {
    /// See `issuer`.
    pub fn origin(&self) -> Option<&str> {
        Some(self.issuer.as_str()).filter(|issuer| !issuer.is_empty())
    }

    /// See `access_minutes`.
    pub fn access_lifetime(&self) -> Duration {
        Duration::from_mins(self.access_minutes.into())
    }

    /// See `refresh_hours`.
    pub fn refresh_lifetime(&self) -> Duration {
        Duration::from_hours(self.refresh_hours.into())
    }

    /// See `session_hours`.
    pub fn session_lifetime(&self) -> Duration {
        Duration::from_hours(self.session_hours.into())
    }

    /// Whether the values fit together.
    ///
    /// # Errors
    /// The first that does not, by its name.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Some(origin) = self.origin() {
            anyhow::ensure!(
                is_origin(origin),
                "access.issuer is '{origin}': it must be an origin in lower case such as https://lotline.plant.example, without a path"
            );
        }
        anyhow::ensure!(!self.audience.is_empty(), "access.audience is empty");
        let ranges = [
            ("access_minutes", self.access_minutes, 1, 60),
            ("refresh_hours", self.refresh_hours, 1, 24 * 30),
            ("session_hours", self.session_hours, 1, 24 * 90),
        ];
        for (name, value, low, high) in ranges {
            anyhow::ensure!((low..=high).contains(&value), "access.{name} is {value}: it must be {low} to {high}");
        }
        anyhow::ensure!(
            self.refresh_hours <= self.session_hours,
            "access.refresh_hours must not be more than access.session_hours: a session ends its refresh tokens"
        );
        self.oidc.check()
    }
}

/// Whether a text is an origin as browsers send it.
pub(super) fn is_origin(text: &str) -> bool {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fine = authority.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '?', '#', '@', ' ']));
    fine && text == text.to_lowercase() && text.is_ascii()
}

impl Default for AccessSection {
    fn default() -> Self {
        Self {
            mode: Mode::Enforced,
            issuer: String::new(),
            audience: "lotline".into(),
            encryption_file: PathBuf::new(),
            access_minutes: 15,
            refresh_hours: 24 * 7,
            session_hours: 24 * 30,
            oidc: OidcSection::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(change: impl FnOnce(&mut AccessSection)) -> String {
        let mut section = AccessSection::default();
        change(&mut section);
        section.check().map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn access_is_enforced_unless_somebody_says_otherwise() {
        assert_eq!(AccessSection::default().mode, Mode::Enforced);
        assert_eq!(complaint(|_| {}), "fine");
    }

    #[test]
    fn each_value_has_its_complaint() {
        assert_eq!(complaint(|section| section.issuer = "https://a.example:8443".into()), "fine");
        for issuer in ["a.example", "https://a.example/", "https://", "ftp://a", "https://A.example", "https://a@b"] {
            let said = complaint(|section| section.issuer = issuer.into());
            assert!(said.contains("access.issuer"), "{issuer}: {said}");
        }
        assert!(complaint(|section| section.audience = String::new()).contains("access.audience"));
        assert!(complaint(|section| section.access_minutes = 0).contains("access.access_minutes is 0"));
        assert!(complaint(|section| section.refresh_hours = 10_000).contains("access.refresh_hours"));
        assert!(complaint(|section| section.session_hours = 100).contains("must not be more"));
    }

    #[test]
    fn no_file_takes_the_door_away() {
        let refused = toml::from_str::<AccessSection>("mode = \"development\"").unwrap_err();
        assert!(refused.to_string().contains("unknown field `mode`"), "{refused}");
    }
}

//! Section `[api]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use lotline_api::config::Limits;
use serde::{Deserialize, Serialize};

use super::access::is_origin;

/// The HTTP server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiSection {
    /// Address and port. Only loopback in development mode. Beyond loopback set `tls`, or put something in front that speaks TLS.
    pub bind: SocketAddr,
    /// Its certificate; plain HTTP when empty.
    pub tls: TlsSection,
    /// Origins of other sites whose pages may use the API, with credentials, such as `https://console.plant.example`. None by default.
    pub origins: Vec<String>,
    /// What a client may ask for.
    pub limits: Limits,
}

/// The certificate. Both files are looked at every few seconds; a pair that can't be used leaves the one before in place.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSection {
    /// A PEM file with the certificate and those between it and its authority.
    pub certificate: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

impl TlsSection {
    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        !self.certificate.as_os_str().is_empty()
    }
}

impl ApiSection {
    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_on() { "https" } else { "http" }
    }

    /// Whether the values fit together.
    ///
    /// # Errors
    /// The first that does not, by its name.
    pub fn check(&self) -> anyhow::Result<()> {
        let key = !self.tls.key.as_os_str().is_empty();
        anyhow::ensure!(self.tls.is_on() == key, "api.tls needs both, certificate and key");
        for origin in &self.origins {
            anyhow::ensure!(
                is_origin(origin),
                "api.origins has '{origin}': it must be an origin in lower case such as https://console.plant.example, without a path"
            );
        }
        let limits = &self.limits;
        let counts = [
            ("sockets", limits.sockets),
            ("sockets_per_address", limits.sockets_per_address),
            ("newcomers", limits.newcomers),
            ("newcomers_per_address", limits.newcomers_per_address),
        ];
        for (name, value) in counts {
            anyhow::ensure!(value > 0, "api.limits.{name} is 0: nobody could connect");
        }
        anyhow::ensure!(limits.header_timeout_ms >= 100, "api.limits.header_timeout_ms must be at least 100");
        Ok(())
    }
}

impl Default for ApiSection {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: TlsSection::default(),
            origins: Vec::new(),
            limits: Limits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(change: impl FnOnce(&mut ApiSection)) -> String {
        let mut section = ApiSection::default();
        change(&mut section);
        section.check().map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn each_value_has_its_complaint() {
        assert_eq!(complaint(|_| {}), "fine");
        assert_eq!(complaint(|section| section.origins = vec!["https://a.example:8443".into()]), "fine");
        for origin in ["*", "null", "a.example", "https://a.example/", "https://A.example"] {
            let said = complaint(|section| section.origins = vec![origin.into()]);
            assert!(said.contains("api.origins"), "{origin}: {said}");
        }
        assert!(complaint(|section| section.tls.key = "k".into()).contains("api.tls needs both"));
        assert!(complaint(|section| section.tls.certificate = "c".into()).contains("api.tls needs both"));
        assert!(complaint(|section| section.limits.sockets = 0).contains("api.limits.sockets is 0"));
        assert!(complaint(|section| section.limits.newcomers = 0).contains("api.limits.newcomers is 0"));
        assert!(complaint(|section| section.limits.header_timeout_ms = 1).contains("header_timeout_ms"));
    }
}

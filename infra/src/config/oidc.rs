//! Section `[access.oidc]`.

use std::path::PathBuf;

use anyhow::Context;
use lotline_adapters::sign_on::{EMAIL, EmailClaim, SignOnOptions};
use lotline_domain::access::role::Role;
use lotline_domain::id::SiteId;
use lotline_domain::identity::sign_on::{RoleMap, RoleRule};
use serde::{Deserialize, Serialize};

/// Single sign-on by a provider of OpenID Connect. Off while `issuer` is empty.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OidcSection {
    /// The provider, as it names itself, such as `https://id.example/realms/plant`.
    pub issuer: String,
    /// Our name at the provider.
    pub client_id: String,
    /// A file with our secret at the provider. Empty: a public client, which has none.
    pub client_secret_file: PathBuf,
    /// What to ask for; `openid` among it.
    pub scopes: Vec<String>,
    /// The claim that holds the address. `email` counts only beside `email_verified`, which says nothing of any other claim.
    pub email_claim: String,
    /// Needed for a claim other than `email`: that at this provider nobody but its administrators can say what stands in it, so that it may be believed.
    pub email_claim_trusted: bool,
    /// The claim that holds groups: a text or a list of texts, by name or by a path with dots such as `realm_access.roles`.
    /// Empty: roles are not the provider's matter.
    pub roles_claim: String,
    /// Which groups give which roles, and where. In every place that is named here, roles are set at each sign-in.
    pub roles: Vec<RoleEntry>,
    /// Whether people whom nobody has invited are registered when they come with a verified address.
    pub invite_unknown: bool,
    /// Whether a provider on the loopback interface may be spoken to without TLS: for development and tests.
    pub allow_http: bool,
}

/// One line of `roles`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleEntry {
    /// As the provider writes it.
    pub value: String,
    /// VIEWER, OPERATOR, ENGINEER, MANAGER, AUDITOR or ADMIN.
    pub role: Role,
    /// A registered site; everywhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteId>,
}

impl OidcSection {
    /// Whether there is single sign-on.
    pub fn is_on(&self) -> bool {
        !self.issuer.is_empty()
    }

    /// Whether the values fit together.
    ///
    /// # Errors
    /// The first that does not, by its name.
    pub fn check(&self) -> anyhow::Result<()> {
        if !self.is_on() {
            return Ok(());
        }
        anyhow::ensure!(!self.client_id.is_empty(), "access.oidc.client_id is empty");
        anyhow::ensure!(self.scopes.iter().any(|scope| scope == "openid"), "access.oidc.scopes has no 'openid'");
        anyhow::ensure!(!self.email_claim.is_empty(), "access.oidc.email_claim is empty");
        anyhow::ensure!(
            self.email_claim == EMAIL || self.email_claim_trusted,
            "access.oidc.email_claim is '{}', and email_verified vouches for the claim email only: if nobody but the provider's administrators \
             can say what stands in it, set access.oidc.email_claim_trusted = true; else leave email_claim at email",
            self.email_claim
        );
        anyhow::ensure!(
            self.email_claim != EMAIL || !self.email_claim_trusted,
            "access.oidc.email_claim_trusted is for a claim other than email, which email_verified vouches for"
        );
        anyhow::ensure!(
            self.roles_claim.is_empty() == self.roles.is_empty(),
            "access.oidc.roles_claim and access.oidc.roles need each other"
        );
        Ok(())
    }

    /// For the provider's adapter.
    ///
    /// # Errors
    /// When the secret can't be read.
    pub fn options(&self) -> anyhow::Result<SignOnOptions> {
        let file = &self.client_secret_file;
        let client_secret = if file.as_os_str().is_empty() {
            None
        } else {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("access.oidc.client_secret_file {} can't be read", file.display()))?;
            let secret = text.trim_end_matches(['\r', '\n']);
            anyhow::ensure!(!secret.is_empty(), "access.oidc.client_secret_file {} is empty", file.display());
            Some(secret.to_owned())
        };
        Ok(SignOnOptions {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret,
            scopes: self.scopes.clone(),
            email_claim: if self.email_claim == EMAIL {
                EmailClaim::Verified
            } else {
                EmailClaim::Trusted(self.email_claim.clone())
            },
            groups_claim: (!self.roles_claim.is_empty()).then(|| self.roles_claim.clone()),
            allow_http: self.allow_http,
        })
    }

    /// Which groups give which roles, when roles are the provider's matter.
    pub fn role_map(&self) -> Option<RoleMap> {
        let rule =
            |entry: &RoleEntry| RoleRule { group: entry.value.clone(), role: entry.role, site: entry.site.clone() };
        (!self.roles_claim.is_empty()).then(|| RoleMap(self.roles.iter().map(rule).collect()))
    }
}

impl Default for OidcSection {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret_file: PathBuf::new(),
            scopes: ["openid", "email", "profile"].map(str::to_owned).to_vec(),
            email_claim: EMAIL.into(),
            email_claim_trusted: false,
            roles_claim: String::new(),
            roles: Vec::new(),
            invite_unknown: false,
            allow_http: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(edit: impl FnOnce(&mut OidcSection)) -> OidcSection {
        let mut section =
            OidcSection { issuer: "https://id.example".into(), client_id: "lotline".into(), ..OidcSection::default() };
        edit(&mut section);
        section
    }

    #[test]
    fn values_that_do_not_fit_are_named() {
        OidcSection::default().check().unwrap();
        section(|_| {}).check().unwrap();
        for (section, name) in [
            (section(|section| section.client_id.clear()), "client_id"),
            (section(|section| section.scopes = vec!["email".into()]), "scopes"),
            (section(|section| section.email_claim.clear()), "email_claim is empty"),
            (section(|section| section.email_claim = "upn".into()), "set access.oidc.email_claim_trusted = true"),
            (section(|section| section.email_claim_trusted = true), "a claim other than email"),
            (section(|section| section.roles_claim = "groups".into()), "roles"),
        ] {
            let complaint = section.check().unwrap_err().to_string();
            assert!(complaint.contains(name), "{complaint}");
        }
        let trusted = |section: &mut OidcSection| {
            (section.email_claim, section.email_claim_trusted) = ("upn".into(), true);
        };
        section(trusted).check().unwrap();
        assert_eq!(section(trusted).options().unwrap().email_claim, EmailClaim::Trusted("upn".into()));
        assert_eq!(section(|_| {}).options().unwrap().email_claim, EmailClaim::Verified);
        let missing = section(|section| section.client_secret_file = "/nonexistent/secret".into());
        assert!(missing.options().unwrap_err().to_string().contains("client_secret_file"));
    }
}

//! A provider's discovery document (OpenID Connect Discovery 1.0 section 3), read with suspicion: whoever writes it would like us to ask other
//! servers for them.

use lotline_domain::identity::sign_on::SignOnError;
use serde::Deserialize;

use super::reach::Reach;

/// What is used of the document.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) userinfo_endpoint: Option<String>,
    pub(super) jwks_uri: String,
    /// Whether our secret goes in a header (`client_secret_basic`) or in the body.
    pub(super) secret_in_header: bool,
    /// Whether every answer names the provider (RFC 9207).
    pub(super) names_itself: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Reads a document.
    ///
    /// # Errors
    /// Another issuer, an address that may not be asked, or no PKCE with S256.
    pub(super) fn read(json: &[u8], issuer: &str, reach: &Reach) -> Result<Self, SignOnError> {
        let refuse = |why: String| SignOnError::Provider(format!("its discovery document {why}"));
        let document: Document =
            serde_json::from_slice(json).map_err(|error| refuse(format!("can't be read: {error}")))?;
        if document.issuer != issuer {
            return Err(refuse("is another issuer's".to_owned()));
        }
        reach.check_page(&document.authorization_endpoint).map_err(|error| refuse(format!("is refused: {error}")))?;
        let asked = [Some(&document.token_endpoint), document.userinfo_endpoint.as_ref(), Some(&document.jwks_uri)];
        for address in asked.into_iter().flatten() {
            reach.check(address).map_err(|error| refuse(format!("is refused: {error}")))?;
        }
        // Who says nothing of it may still do it; who says otherwise does not.
        if document
            .code_challenge_methods_supported
            .is_some_and(|methods| !methods.iter().any(|method| method == "S256"))
        {
            return Err(refuse("has no PKCE with S256".to_owned()));
        }
        let methods = document.token_endpoint_auth_methods_supported;
        let basic = methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        Ok(Self {
            authorization_endpoint: document.authorization_endpoint,
            token_endpoint: document.token_endpoint,
            userinfo_endpoint: document.userinfo_endpoint,
            jwks_uri: document.jwks_uri,
            secret_in_header: basic,
            names_itself: document.authorization_response_iss_parameter_supported,
        })
    }
}

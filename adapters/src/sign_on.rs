//! A provider of OpenID Connect over HTTP: authorization code flow with PKCE (OpenID Connect Core 1.0 section 3.1, RFC 7636).
//!
//! ```text
//! discovery document ─► authorization endpoint (the browser) ─► token endpoint ─► ID token, by a key of the JWK set ─► userinfo endpoint
//! ```
//!
//! What the provider publishes is kept: the document for an hour, its keys for ten minutes. A token whose key is not among them has them read
//! again, a few times a minute at most. Where requests may go is for `reach` to say.

mod metadata;
mod reach;
mod signature;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lotline_domain::identity::id_token::{ExpectedToken, IdClaims, IdTokenRefusal, KeyRing, UnverifiedIdToken};
use lotline_domain::identity::sign_on::{Answer, ExternalSubject, Person, Question, SignOn, SignOnError};
use lotline_domain::port::{BoxFuture, Clock};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use self::metadata::Metadata;
use self::reach::Reach;
pub use self::reach::{ReachError, is_public};

/// How long what a provider publishes is believed.
const METADATA_FOR: Duration = Duration::from_hours(1);
const KEYS_FOR: Duration = Duration::from_mins(10);

/// How often tokens with unknown keys may have the keys read again, within [`AGAIN_PER`].
const AGAIN_AT_MOST: usize = 6;
const AGAIN_PER: Duration = Duration::from_mins(1);

/// How far the provider's clock may be from ours.
const LEEWAY: Duration = Duration::from_secs(30);

/// The claim that holds an address (OpenID Connect Core 1.0 section 5.1).
pub const EMAIL: &str = "email";

/// The claim that says whether that one was verified; it says nothing of others.
const VERIFIED: &str = "email_verified";

/// Groups of one person beyond that are not looked at.
const MAX_GROUPS: usize = 1_000;

/// Who the provider is, and who we are to it.
#[derive(Debug, Clone)]
pub struct SignOnOptions {
    /// As the provider writes it in its tokens.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Our secret there; a public client has none.
    pub client_secret: Option<String>,
    /// What to ask for; `openid` among it.
    pub scopes: Vec<String>,
    /// Where addresses stand.
    pub email_claim: EmailClaim,
    /// The claim that holds the groups; nothing when they are not asked for.
    pub groups_claim: Option<String>,
    /// Whether a provider on the loopback interface may be spoken to in clear: for development and tests.
    pub allow_http: bool,
}

/// Which claim holds an address that may be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmailClaim {
    /// [`EMAIL`], when the provider says that it was verified.
    Verified,
    /// Another one, by its name or path, which its owner can't choose: configuration vouches for it, since no claim does.
    Trusted(String),
}

/// A provider.
pub struct OidcProvider {
    options: SignOnOptions,
    reach: Reach,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

/// What the provider has published, and when it was read.
#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, Instant)>,
    keys: Option<(Arc<KeyRing>, Instant)>,
    read_again: Vec<Instant>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl OidcProvider {
    /// Nothing is asked until somebody signs in.
    ///
    /// # Errors
    /// An issuer that can't be one, or no HTTP client.
    pub fn new(options: SignOnOptions, clock: Arc<dyn Clock>) -> Result<Self, ReachError> {
        let reach = Reach::new(&options.issuer, options.allow_http)?;
        Ok(Self { options, reach, clock, known: Mutex::default() })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // Entries are replaced whole, so they are good even after a panic elsewhere.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, SignOnError> {
        let kept = self.known().metadata.clone();
        if let Some((metadata, _)) = kept.filter(|(_, since)| since.elapsed() < METADATA_FOR) {
            return Ok(metadata);
        }
        let since = Instant::now();
        let address = format!("{}/.well-known/openid-configuration", self.options.issuer.trim_end_matches('/'));
        let body = self.reach.get(&address, None).await.map_err(|error| provider(&error))?;
        let metadata = Arc::new(Metadata::read(&body, &self.options.issuer, &self.reach)?);
        self.known().metadata = Some((Arc::clone(&metadata), since));
        Ok(metadata)
    }

    /// The keys; `again` when a token has named one that is not among them.
    async fn keys(&self, metadata: &Metadata, again: bool) -> Result<Arc<KeyRing>, SignOnError> {
        let since = Instant::now();
        let kept = {
            let mut known = self.known();
            known.read_again.retain(|at| at.elapsed() < AGAIN_PER);
            let may = again && known.read_again.len() < AGAIN_AT_MOST;
            if may {
                known.read_again.push(since);
            }
            known.keys.clone().filter(|(_, read)| !may && read.elapsed() < KEYS_FOR)
        };
        if let Some((keys, _)) = kept {
            return Ok(keys);
        }
        let body = self.reach.get(&metadata.jwks_uri, None).await.map_err(|error| provider(&error))?;
        let keys = Arc::new(KeyRing::read(&body).map_err(|error| SignOnError::Provider(error.to_string()))?);
        self.known().keys = Some((Arc::clone(&keys), since));
        Ok(keys)
    }

    async fn verified(&self, metadata: &Metadata, token: &str) -> Result<IdClaims, SignOnError> {
        let token = UnverifiedIdToken::read(token)?;
        let mut keys = self.keys(metadata, false).await?;
        if token.key(&keys).is_none() {
            keys = self.keys(metadata, true).await?;
        }
        let key = token.key(&keys).ok_or(IdTokenRefusal::UnknownKey)?;
        Ok(token.verify(|message, given| signature::fits(key, message, given))?)
    }

    async fn tokens(&self, metadata: &Metadata, answer: &Answer<'_>) -> Result<Tokens, SignOnError> {
        let (id, secret) = (self.options.client_id.as_str(), self.options.client_secret.as_deref());
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", answer.code),
            ("redirect_uri", answer.redirect_uri),
            ("code_verifier", answer.verifier),
        ];
        let basic = match secret {
            Some(secret) if metadata.secret_in_header => Some((reach::encoded(id), reach::encoded(secret))),
            Some(secret) => {
                form.extend([("client_id", id), ("client_secret", secret)]);
                None
            }
            None => {
                form.push(("client_id", id));
                None
            }
        };
        let posted = self.reach.post(&metadata.token_endpoint, &form, basic).await.map_err(|error| provider(&error))?;
        match posted {
            Ok(body) => serde_json::from_slice(&body)
                .map_err(|_| SignOnError::Provider("the token endpoint gave no ID token".to_owned())),
            Err((status, body)) => match serde_json::from_slice::<Refused>(&body) {
                Ok(refused) if refused.error == "invalid_grant" => Err(SignOnError::Code(refused.error)),
                // Such as invalid_client: nobody who signs in can do anything about it.
                Ok(refused) => {
                    Err(SignOnError::Provider(format!("the token endpoint said '{}'", shown(&refused.error))))
                }
                Err(_) => Err(SignOnError::Provider(format!("the token endpoint answered with status {status}"))),
            },
        }
    }

    /// The claims of an ID token, with what it leaves to the userinfo endpoint.
    async fn completed(
        &self,
        metadata: &Metadata,
        claims: IdClaims,
        access_token: Option<&str>,
    ) -> Result<Map<String, Value>, SignOnError> {
        let subject = claims.subject()?.to_owned();
        let mut claims = claims.into_map();
        let (Some(endpoint), Some(token), false) =
            (&metadata.userinfo_endpoint, access_token, self.is_complete(&claims))
        else {
            return Ok(claims);
        };
        let body = self.reach.get(endpoint, Some(token)).await.map_err(|error| provider(&error))?;
        let more: Map<String, Value> = serde_json::from_slice(&body)
            .map_err(|_| SignOnError::Provider("the userinfo endpoint gave no JSON object".to_owned()))?;
        // OpenID Connect Core section 5.3.2: else they could be anybody's.
        if more.get("sub").and_then(Value::as_str) != Some(&subject) {
            return Err(SignOnError::Provider("the userinfo endpoint spoke of somebody else".to_owned()));
        }
        for (name, value) in more {
            claims.entry(name).or_insert(value);
        }
        Ok(claims)
    }

    /// Whether there is nothing that the userinfo endpoint could add.
    fn is_complete(&self, claims: &Map<String, Value>) -> bool {
        let about_email = match &self.options.email_claim {
            EmailClaim::Verified => [Some(EMAIL), Some(VERIFIED)],
            EmailClaim::Trusted(name) => [Some(name.as_str()), None],
        };
        let wanted = about_email.into_iter().chain([self.options.groups_claim.as_deref()]);
        wanted.flatten().all(|name| claim(claims, name).is_some())
    }

    async fn person(&self, answer: &Answer<'_>) -> Result<Person, SignOnError> {
        let metadata = self.metadata().await?;
        let issuer = self.options.issuer.as_str();
        // Another provider's answer must not be taken to this one (RFC 9207).
        let named = answer.issuer.map_or(!metadata.names_itself, |named| named == issuer);
        if !named {
            return Err(IdTokenRefusal::Issuer.into());
        }
        let tokens = self.tokens(&metadata, answer).await?;
        let claims = self.verified(&metadata, &tokens.id_token).await?;
        let expected = ExpectedToken {
            issuer,
            client_id: &self.options.client_id,
            nonce: answer.nonce,
            authenticated_since: answer.authenticated_since,
            leeway: LEEWAY,
        };
        claims.check(&expected, self.clock.now())?;
        let subject = ExternalSubject { issuer: issuer.to_owned(), subject: claims.subject()?.to_owned() };
        let claims = self.completed(&metadata, claims, tokens.access_token.as_deref()).await?;
        Ok(self.described(subject, &claims))
    }

    fn described(&self, subject: ExternalSubject, claims: &Map<String, Value>) -> Person {
        let text = |name: &str| claim(claims, name).and_then(Value::as_str).map(str::to_owned);
        // Some write it as a text.
        let is_verified = claims.get(VERIFIED).is_some_and(|value| *value == true || *value == "true");
        let email = match &self.options.email_claim {
            EmailClaim::Verified => text(EMAIL).filter(|_| is_verified),
            EmailClaim::Trusted(name) => text(name),
        };
        let groups = match self.options.groups_claim.as_deref().and_then(|name| claim(claims, name)) {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(all)) => {
                all.iter().take(MAX_GROUPS).filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        Person { subject, email, name: text("name"), groups }
    }
}

impl SignOn for OidcProvider {
    fn address<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Result<String, SignOnError>> {
        Box::pin(async move {
            let metadata = self.metadata().await?;
            let challenge = reach::base64url(&Sha256::digest(question.verifier));
            let scopes = self.options.scopes.join(" ");
            let mut parameters = vec![
                ("response_type", "code"),
                ("client_id", self.options.client_id.as_str()),
                ("redirect_uri", question.redirect_uri),
                ("scope", scopes.as_str()),
                ("state", question.state),
                ("nonce", question.nonce),
                ("code_challenge", challenge.as_str()),
                ("code_challenge_method", "S256"),
            ];
            if question.again {
                parameters.extend([("prompt", "login"), ("max_age", "0")]);
            }
            Ok(reach::with_parameters(&metadata.authorization_endpoint, &parameters))
        })
    }

    fn redeem<'a>(&'a self, answer: &'a Answer<'a>) -> BoxFuture<'a, Result<Person, SignOnError>> {
        Box::pin(self.person(answer))
    }
}

/// A claim by its name, or by its path where dots lead into objects, such as `realm_access.roles`.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        claim(claims.get(first)?.as_object()?, rest)
    })
}

fn provider(error: &ReachError) -> SignOnError {
    SignOnError::Provider(error.to_string())
}

/// What somebody else has written, fit for a log.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_found_by_its_name_before_its_path() {
        let claims = json!({ "a.b": 1, "a": { "b": 2, "c": { "d": 3 } }, "https://x.example/roles": 4 });
        let found = |name: &str| claim(claims.as_object().unwrap(), name).and_then(Value::as_i64);
        assert_eq!(["a.b", "a.c.d", "https://x.example/roles"].map(found), [Some(1), Some(3), Some(4)]);
        assert_eq!(["a.x", "a.b.c", "", ".", "b"].map(found), [None; 5]);
    }
}

//! Where requests to a provider may go, so that nobody who writes a discovery document can use this server to reach others.
//!
//! | address | may be asked |
//! |---|---|
//! | at the origin (scheme, host, port) of the configured issuer | yes: the operator has chosen it |
//! | elsewhere, at public addresses only, by https | yes |
//! | elsewhere, with any address that is not public | no |
//!
//! Names are resolved by a resolver that gives either public addresses or none, and the connection goes to what it gave: there is no second
//! look-up in between. No redirects, no proxy, ten seconds, 256 KiB.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder, Url};
use thiserror::Error;
use tokio::sync::Semaphore;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BODY: usize = 256 * 1_024;

/// Requests to a provider at one time; others wait their turn within the timeout.
const AT_ONCE: usize = 8;

/// Why a provider was not asked, or gave nothing.
#[derive(Debug, Error)]
pub enum ReachError {
    /// No URL, or one that may not be asked.
    #[error("{address} {why}")]
    Refused {
        /// Which.
        address: String,
        /// Why.
        why: &'static str,
    },
    /// It can't be asked.
    #[error("{address} can't be asked: {why}")]
    Failed {
        /// Which.
        address: String,
        /// Down to the last cause.
        why: String,
    },
    /// It answered with another status than 200.
    #[error("{address} answered with status {status}")]
    Status {
        /// Which.
        address: String,
        /// The status; redirects are not followed.
        status: u16,
    },
    /// Its answer is too long.
    #[error("{address} answered with more than {MAX_BODY} bytes")]
    TooLong {
        /// Which.
        address: String,
    },
}

/// An answer: the body, or the status and the body of a refusal.
type Posted = Result<Vec<u8>, (u16, Vec<u8>)>;

/// The way to a provider.
pub(super) struct Reach {
    issuer: Url,
    allow_http: bool,
    /// For the origin of the issuer.
    home: Client,
    /// For everywhere else.
    abroad: Client,
    turns: Semaphore,
}

impl Reach {
    pub(super) fn new(issuer: &str, allow_http: bool) -> Result<Self, ReachError> {
        let refuse = |why| ReachError::Refused { address: issuer.to_owned(), why };
        let url = parsed(issuer, allow_http)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("has a query or a fragment, which no issuer has"));
        }
        let built = |builder: ClientBuilder| {
            let client = builder.redirect(Policy::none()).no_proxy().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT);
            client.build().map_err(|error| failed(issuer, &error))
        };
        let home = built(Client::builder())?;
        let abroad = built(Client::builder().https_only(true).dns_resolver(Arc::new(PublicOnly)))?;
        Ok(Self { issuer: url, allow_http, home, abroad, turns: Semaphore::new(AT_ONCE) })
    }

    /// Whether an address may be asked, as far as can be seen by itself. Names are looked at when they are resolved.
    pub(super) fn check(&self, address: &str) -> Result<(), ReachError> {
        self.client(address).map(|_| ())
    }

    /// Whether a browser may be sent to an address. Where it leads is the browser's matter.
    pub(super) fn check_page(&self, address: &str) -> Result<(), ReachError> {
        parsed(address, self.allow_http).map(|_| ())
    }

    /// The body of an answer with status 200.
    pub(super) async fn get(&self, address: &str, bearer: Option<&str>) -> Result<Vec<u8>, ReachError> {
        let (client, url) = self.client(address)?;
        let request = client.get(url).header("accept", "application/json");
        let request = match bearer {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let status = |status| ReachError::Status { address: address.to_owned(), status };
        self.send(address, request).await?.map_err(|(given, _)| status(given))
    }

    /// The answer to a form.
    pub(super) async fn post(
        &self,
        address: &str,
        form: &[(&str, &str)],
        basic: Option<(String, String)>,
    ) -> Result<Posted, ReachError> {
        let (client, url) = self.client(address)?;
        let mut request = client.post(url).header("accept", "application/json");
        if let Some((id, secret)) = basic {
            request = request.basic_auth(id, Some(secret));
        }
        let body = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        self.send(address, request).await
    }

    fn client(&self, address: &str) -> Result<(&Client, Url), ReachError> {
        let url = parsed(address, self.allow_http)?;
        if url.origin() == self.issuer.origin() {
            return Ok((&self.home, url));
        }
        let refuse = |why| ReachError::Refused { address: address.to_owned(), why };
        if url.scheme() != "https" {
            return Err(refuse("is not https, nor at the issuer"));
        }
        match literal(&url) {
            Some(ip) if !is_public(ip) => Err(refuse("is at an address that is not public, nor at the issuer")),
            Some(_) | None => Ok((&self.abroad, url)),
        }
    }

    async fn send(&self, address: &str, request: RequestBuilder) -> Result<Posted, ReachError> {
        let late = |_| ReachError::Failed { address: address.to_owned(), why: "no answer in time".to_owned() };
        // Waiting for a turn counts too.
        tokio::time::timeout(TIMEOUT, async {
            let _turn = self.turns.acquire().await.expect("invariant: nobody closes this semaphore");
            let mut answer = request.send().await.map_err(|error| failed(address, &error))?;
            let status = answer.status();
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(|error| failed(address, &error))? {
                if body.len() + chunk.len() > MAX_BODY {
                    return Err(ReachError::TooLong { address: address.to_owned() });
                }
                body.extend_from_slice(&chunk);
            }
            Ok(if status == 200 { Ok(body) } else { Err((status.as_u16(), body)) })
        })
        .await
        .map_err(late)?
    }
}

/// Gives public addresses, or none at all: a name with one foot inside is refused as a whole.
struct PublicOnly;

#[derive(Debug, Error)]
#[error("the name leads to an address that is not public")]
struct NotPublic;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            if found.iter().any(|address| !is_public(address.ip())) {
                return Err(Box::<dyn Error + Send + Sync>::from(NotPublic));
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one that everybody may reach (IANA's special-purpose registries, RFC 6890), also where IPv6 wraps an IPv4 address.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return is_public_v4(ip);
    }
    let wrapped = |high: u16, low: u16| is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match ip.segments() {
        // NAT64, 6to4: what they wrap decides.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => wrapped(high, low),
        // Teredo and other protocols' blocks; documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Global unicast.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

fn parsed(address: &str, allow_http: bool) -> Result<Url, ReachError> {
    let refuse = |why| ReachError::Refused { address: address.chars().take(200).collect(), why };
    let url = Url::parse(address).map_err(|_| refuse("is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("has a user name in it"));
    }
    let on_loopback = literal(&url).is_some_and(|ip| ip.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http && on_loopback => Ok(url),
        _ => Err(refuse("is not https")),
    }
}

/// The address that stands in a URL in place of a name, in whatever form it was written.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// An address with parameters added to those it has.
pub(super) fn with_parameters(address: &str, parameters: &[(&str, &str)]) -> String {
    let mut url = Url::parse(address).expect("invariant: the address was checked when the document was read");
    url.query_pairs_mut().extend_pairs(parameters);
    url.into()
}

/// A value in a form (`application/x-www-form-urlencoded`).
pub(super) fn encoded(value: &str) -> String {
    let mut url = Url::parse("https://form.example").expect("invariant: this is a URL");
    url.query_pairs_mut().append_pair("v", value);
    url.query().and_then(|query| query.strip_prefix("v=")).unwrap_or_default().to_owned()
}

/// As PKCE has it (RFC 7636 appendix A).
pub(super) fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// All causes in a row; the address stands before them already, and queries are not for logs.
fn failed(address: &str, error: &reqwest::Error) -> ReachError {
    let mut why = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        why.push(error.to_string());
        cause = error.source();
    }
    let why = if error.is_timeout() { "no answer in time".to_owned() } else { why.join(": ") };
    ReachError::Failed { address: address.to_owned(), why }
}

#[cfg(test)]
mod tests;

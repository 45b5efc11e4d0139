//! A real provider of OpenID Connect, which `infra/dev/provider/serve` fetches and starts, and browsers that sign in there by its own forms.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};
use serde_json::{Value, json};

/// The client's name and secret at the provider.
pub const CLIENT_ID: &str = "lotline";
/// With everything in it that has to be encoded.
pub const CLIENT_SECRET: &str = "a secret of the test: 100% / + &";

const TIMEOUT: Duration = Duration::from_mins(1);
/// Longest way through redirects and forms.
const MOST_STEPS: usize = 20;

/// A provider with nobody in it. It ends when its standard input does, so also when this process dies.
pub struct Provider {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// As it names itself.
    pub issuer: String,
}

impl Provider {
    /// Starts one, fetched first when it is not there.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/dev/provider/serve");
        let mut command = Command::new(script);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the script starts");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("standard output is piped"));
        let mut provider = Self { process, input, output, issuer: String::new() };
        provider.issuer = provider.line();
        assert!(provider.issuer.starts_with("http://127.0.0.1:"), "the provider did not start: {}", provider.issuer);
        provider
    }

    /// Has it do something; see `provider.mjs`.
    ///
    /// # Panics
    /// When it has ended.
    pub fn tell(&mut self, what: &Value) {
        let input = self.input.as_mut().expect("only dropping closes it");
        writeln!(input, "{what}").expect("the provider reads");
        assert_eq!(self.line(), "done", "{what}");
    }

    /// Somebody who can sign in by any password.
    pub fn account(&mut self, subject: &str, claims: &Value) {
        self.tell(&json!({ "account": subject, "claims": claims }));
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the provider writes text");
        line.trim().to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.input.take());
        self.process.wait().expect("the provider ends");
    }
}

/// A page or whatever else came.
#[derive(Debug)]
pub struct Page {
    /// Where it was.
    pub url: Url,
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its text.
    pub text: String,
}

impl Page {
    /// The text as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Where it leads, when it is a redirect.
    pub fn leads_to(&self) -> Option<Url> {
        let location = self.headers.get(LOCATION)?.to_str().ok()?;
        self.url.join(location).ok()
    }

    /// The code of an error.
    pub fn code(&self) -> String {
        self.json()["errors"][0]["extensions"]["code"].as_str().unwrap_or("none").to_owned()
    }
}

/// Keeps cookies, follows what it is told to, and nothing more.
pub struct Browser {
    http: Client,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl Default for Browser {
    fn default() -> Self {
        let http = Client::builder().redirect(Policy::none()).no_proxy().timeout(TIMEOUT).build().expect("a client");
        Self { http, cookies: BTreeMap::new() }
    }
}

impl Browser {
    /// Opens a page.
    pub async fn get(&mut self, url: &str) -> Page {
        self.ask(Method::GET, url, None).await
    }

    /// The cookies of a server, as they are sent.
    pub fn cookies(&self, url: &str) -> String {
        let jar = self.cookies.get(&origin(&Url::parse(url).expect("a URL")));
        let pairs = jar.into_iter().flatten().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// Takes over a cookie header.
    pub fn plant(&mut self, url: &str, cookies: &str) {
        let jar = self.cookies.entry(origin(&Url::parse(url).expect("a URL"))).or_default();
        let pairs = cookies.split("; ").filter_map(|pair| pair.split_once('='));
        jar.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    /// Goes from an address of the provider through its forms, as somebody, until it is sent back. Gives the address to which.
    ///
    /// # Panics
    /// When the provider does not send it back.
    pub async fn sign_in(&mut self, from: &Url, subject: &str) -> Url {
        let mut page = self.get(from.as_str()).await;
        for _ in 0..MOST_STEPS {
            page = match page.leads_to() {
                Some(next) if origin(&next) != origin(from) => return next,
                Some(next) => self.get(next.as_str()).await,
                None => {
                    let between = |start: &str| page.text.split_once(start)?.1.split('"').next().map(str::to_owned);
                    let form = between("action=\"").zip(between("name=\"prompt\" value=\""));
                    let (action, prompt) = form.unwrap_or_else(|| panic!("no form: {page:?}"));
                    let action = page.url.join(&action).expect("a URL");
                    let body = format!("prompt={prompt}&login={subject}&password=any");
                    self.ask(Method::POST, action.as_str(), Some(body)).await
                }
            };
        }
        panic!("the provider does not come to an end: {page:?}");
    }

    async fn ask(&mut self, method: Method, url: &str, form: Option<String>) -> Page {
        let mut request = self.http.request(method, url).header("cookie", self.cookies(url));
        if let Some(form) = form {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        }
        let answer = request.send().await.expect("the server answers");
        let (url, status, headers) = (answer.url().clone(), answer.status().as_u16(), answer.headers().clone());
        let jar = self.cookies.entry(origin(&url)).or_default();
        for line in headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok()) {
            let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
            let gone = line.contains("Max-Age=0") || line.contains("01 Jan 1970");
            if gone {
                jar.remove(name)
            } else {
                jar.insert(name.to_owned(), value.to_owned())
            };
        }
        Page { url, status, headers, text: answer.text().await.expect("a text") }
    }
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

//! Registration in a schema registry that speaks Confluent's REST API.
//!
//! One subject per type, named as `ce_type` is (RecordNameStrategy, since that is the title of each JSON Schema): a reader goes from the header
//! to the subject, and several types share a topic. The registry tells people and programs what there is and guards its evolution; the records
//! themselves carry no schema id.

use std::fmt;
use std::time::Duration;

use lotline_domain::event::Event;
use lotline_domain::sample::codec::{self, BATCH_TYPE};
use reqwest::{Client, Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// The dialect that registries are told. The schemas use no word that draft 07 reads otherwise than 2020-12 (a test holds them to that), and
/// every registry can compare draft 07, while Apicurio 3.0 fails on 2020-12.
const DIALECT: &str = "http://json-schema.org/draft-07/schema#";
/// The API's code for a subject that is not there.
const NO_SUBJECT: u64 = 40_401;

/// A schema under the name that it is registered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The `ce_type`.
    pub name: String,
    /// `JSON` or `PROTOBUF`.
    pub schema_type: &'static str,
    /// The schema itself.
    pub schema: String,
}

/// What became of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The registry has had this schema.
    Unchanged {
        /// The registry's id of it.
        id: i64,
    },
    /// The schema is a new version.
    Registered {
        /// The registry's id of it.
        id: i64,
    },
}

/// Why the formats are not registered.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// The address is none.
    #[error("'{0}' is no http or https URL")]
    Url(String),
    /// The client can't be made.
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
    /// No answer, or none in time.
    #[error("the schema registry does not answer '{request}'")]
    Unreachable {
        /// What was asked.
        request: String,
        /// Why there is none.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is no success.
    #[error("the schema registry answers '{request}' with {status}: {message}")]
    Refused {
        /// What was asked.
        request: String,
        /// HTTP status.
        status: StatusCode,
        /// What the registry says.
        message: String,
    },
    /// An answer that is not what the API promises.
    #[error("the schema registry answers '{request}' with what this client can't read: {answer}")]
    Unreadable {
        /// What was asked.
        request: String,
        /// The beginning of the answer.
        answer: String,
    },
    /// The schema may not follow the registered ones.
    #[error("nothing was registered: the schema registry finds these incompatible with what is registered: {}", join(.0))]
    Incompatible(Vec<Incompatibility>),
}

/// A subject whose new schema the registry refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incompatibility {
    /// The subject.
    pub subject: String,
    /// What the registry says.
    pub messages: Vec<String>,
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = if self.messages.is_empty() { "it gives no reason".to_owned() } else { self.messages.join("; ") };
        write!(f, "{} ({reason})", self.subject)
    }
}

fn join(found: &[Incompatibility]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Every subject of this version.
pub fn subjects() -> Vec<Subject> {
    let events = Event::value_schemas().into_iter();
    let mut subjects: Vec<Subject> = events
        .map(|(name, mut schema)| {
            schema["$schema"] = json!(DIALECT);
            Subject { name: name.to_owned(), schema_type: "JSON", schema: schema.to_string() }
        })
        .collect();
    subjects.push(Subject { name: BATCH_TYPE.to_owned(), schema_type: "PROTOBUF", schema: codec::PROTO.to_owned() });
    subjects
}

/// A client of one registry.
pub struct Registry {
    client: Client,
    base: Url,
    credentials: Option<(String, String)>,
}

#[derive(Deserialize)]
struct Registered {
    id: i64,
}

#[derive(Deserialize)]
struct Compatibility {
    is_compatible: bool,
    #[serde(default)]
    messages: Vec<String>,
}

/// What is known of a subject before anything is written.
enum Standing {
    Same(i64),
    Other,
    Absent,
}

impl Registry {
    /// A client of the registry at `url`; each request takes at most `timeout`.
    ///
    /// # Errors
    /// [`RegistryError::Url`] or [`RegistryError::Client`].
    pub fn new(url: &str, credentials: Option<(String, String)>, timeout: Duration) -> Result<Self, RegistryError> {
        let shown = || url.rsplit('@').next().unwrap_or_default().to_owned();
        let base = Url::parse(url).map_err(|_| RegistryError::Url(shown()))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(RegistryError::Url(shown()));
        }
        let client = Client::builder().timeout(timeout).build().map_err(RegistryError::Client)?;
        Ok(Self { client, base, credentials })
    }

    /// Registers what the registry does not have yet. All subjects are checked before the first is written, so that an incompatible
    /// one leaves the registry as it was.
    ///
    /// # Errors
    /// [`RegistryError`]; done again after any of them, it goes on where it stopped.
    pub async fn register(&self, subjects: &[Subject]) -> Result<Vec<(String, Outcome)>, RegistryError> {
        let mut standings = Vec::with_capacity(subjects.len());
        let mut refused = Vec::new();
        for subject in subjects {
            let standing = self.standing(subject).await?;
            if matches!(standing, Standing::Other) {
                refused.extend(self.incompatibility(subject).await?);
            }
            standings.push(standing);
        }
        if !refused.is_empty() {
            return Err(RegistryError::Incompatible(refused));
        }
        let mut outcomes = Vec::with_capacity(subjects.len());
        for (subject, standing) in subjects.iter().zip(standings) {
            let outcome = match standing {
                Standing::Same(id) => Outcome::Unchanged { id },
                Standing::Other | Standing::Absent => Outcome::Registered { id: self.add(subject).await? },
            };
            outcomes.push((subject.name.clone(), outcome));
        }
        Ok(outcomes)
    }

    async fn standing(&self, subject: &Subject) -> Result<Standing, RegistryError> {
        let path = ["subjects", &subject.name];
        let (status, answer) = self.ask(Method::POST, &path, &[], Some(&body(subject))).await?;
        if status == StatusCode::NOT_FOUND {
            let absent = answer.get("error_code").and_then(Value::as_u64) == Some(NO_SUBJECT);
            return Ok(if absent { Standing::Absent } else { Standing::Other });
        }
        Ok(Standing::Same(read::<Registered>("look up", subject, status, answer)?.id))
    }

    async fn incompatibility(&self, subject: &Subject) -> Result<Option<Incompatibility>, RegistryError> {
        let path = ["compatibility", "subjects", &subject.name, "versions", "latest"];
        let (status, answer) = self.ask(Method::POST, &path, &[("verbose", "true")], Some(&body(subject))).await?;
        // A subject whose versions were all deleted has nothing to be compatible with.
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer: Compatibility = read("check", subject, status, answer)?;
        let found = || Incompatibility { subject: subject.name.clone(), messages: answer.messages };
        Ok((!answer.is_compatible).then(found))
    }

    async fn add(&self, subject: &Subject) -> Result<i64, RegistryError> {
        let path = ["subjects", &subject.name, "versions"];
        let (status, answer) = self.ask(Method::POST, &path, &[], Some(&body(subject))).await?;
        Ok(read::<Registered>("register", subject, status, answer)?.id)
    }

    /// The schema that the registry keeps under an id.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn schema(&self, id: i64) -> Result<String, RegistryError> {
        let (status, answer) = self.ask(Method::GET, &["schemas", "ids", &id.to_string()], &[], None).await?;
        let request = || format!("schema {id}");
        if !status.is_success() {
            return Err(RegistryError::Refused { request: request(), status, message: message(&answer) });
        }
        let text = answer.get("schema").and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| RegistryError::Unreadable { request: request(), answer: message(&answer) })
    }

    /// Sends one request; the answer is JSON, or null when it is none.
    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), RegistryError> {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("invariant: the base takes a path").pop_if_empty().extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = format!("{method} /{}", path.join("/"));
        let unreachable = |source: reqwest::Error| RegistryError::Unreachable {
            request: request.clone(),
            source: source.without_url(),
        };
        let mut builder = self.client.request(method, url).header("accept", MEDIA_TYPE);
        if let Some((user, password)) = &self.credentials {
            builder = builder.basic_auth(user, Some(password));
        }
        if let Some(body) = body {
            builder = builder.header("content-type", MEDIA_TYPE).body(body.to_string());
        }
        let mut response = builder.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                let answer = format!("more than {MAX_ANSWER} bytes");
                return Err(RegistryError::Unreadable { request, answer });
            }
            bytes.extend_from_slice(&chunk);
        }
        // A proxy may answer in HTML: the status then says all there is to know.
        let answer = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).chars().take(200).collect()));
        Ok((status, answer))
    }
}

fn body(subject: &Subject) -> Value {
    json!({ "schemaType": subject.schema_type, "schema": subject.schema })
}

fn read<T: serde::de::DeserializeOwned>(
    verb: &str,
    subject: &Subject,
    status: StatusCode,
    answer: Value,
) -> Result<T, RegistryError> {
    let request = format!("{verb} {}", subject.name);
    let message = message(&answer);
    if !status.is_success() {
        return Err(RegistryError::Refused { request, status, message });
    }
    serde_json::from_value(answer).map_err(|_| RegistryError::Unreadable { request, answer: message })
}

/// What an answer says, for people: the API's `message`, else its beginning.
fn message(answer: &Value) -> String {
    let text = answer
        .get("message")
        .or(Some(answer))
        .map(|text| text.as_str().map_or_else(|| text.to_string(), str::to_owned));
    text.unwrap_or_default().chars().take(500).collect()
}

//! A client as an operator's tablet has it: GraphQL over HTTP, idempotency keys, retries with the same key.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

/// Talks to one server.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    actor: String,
}

/// The selection that every payload answers.
const PAYLOAD: &str = "version position replayed userErrors { field code message }";

impl Client {
    /// A client of the server at `url` (`http://host:port`), acting as `actor`.
    pub fn new(url: &str, actor: &str) -> Self {
        Self::by(reqwest::Client::new(), url, actor)
    }

    /// The same with an HTTP client that was made for the server, such as one that believes its certificate.
    pub fn by(http: reqwest::Client, url: &str, actor: &str) -> Self {
        Self { http, url: url.to_owned(), actor: actor.to_owned() }
    }

    /// Sends a document and gives the whole answer, or why there was none.
    ///
    /// # Errors
    /// When the server can't be reached or its answer is no JSON.
    pub async fn send(&self, query: &str, variables: &Value) -> Result<Value, reqwest::Error> {
        let body = json!({ "query": query, "variables": variables });
        let request = self.http.post(format!("{}/graphql", self.url)).header("x-lotline-actor", &self.actor);
        request.json(&body).timeout(Duration::from_secs(40)).send().await?.json().await
    }

    /// Sends a document and gives `data`.
    ///
    /// # Panics
    /// When the server can't be reached or there are errors.
    pub async fn query(&self, query: &str, variables: &Value) -> Value {
        let answer = self.send(query, variables).await.expect("the server answers");
        assert!(answer.get("errors").is_none(), "{query}: {answer}");
        answer["data"].clone()
    }

    /// Runs a mutation that takes `input`, and gives its payload. `more` is selected beside the usual.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn try_mutate(&self, name: &str, more: &str, input: &Value) -> Result<Value, reqwest::Error> {
        let kind = match name {
            // These two need no more than to name the pipeline, and share a type.
            "publishPipeline" | "archivePipeline" => "Pipeline".to_owned(),
            "reworkLots" => "TransformLots".to_owned(),
            _ => name[..1].to_uppercase() + &name[1..],
        };
        let query = format!("mutation($input: {kind}Input!) {{ {name}(input: $input) {{ {PAYLOAD} {more} }} }}");
        let answer = self.send(&query, &json!({ "input": input })).await?;
        Ok(match answer.get("errors") {
            Some(errors) => json!({ "errors": errors }),
            None => answer["data"][name].clone(),
        })
    }

    /// Runs a mutation that must be accepted.
    ///
    /// # Panics
    /// When it is not.
    pub async fn mutate(&self, name: &str, more: &str, input: &Value) -> Value {
        let payload = self.try_mutate(name, more, input).await.expect("the server answers");
        assert_eq!(payload["userErrors"], json!([]), "{name} {input}: {payload}");
        payload
    }

    /// Runs a mutation that must be refused, and gives the code.
    ///
    /// # Panics
    /// When it is accepted.
    pub async fn refused(&self, name: &str, input: &Value) -> String {
        let payload = self.try_mutate(name, "", input).await.expect("the server answers");
        payload["userErrors"][0]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} was not refused: {payload}"))
            .to_owned()
    }

    /// Sends a mutation again and again with the same key until the server says what became of it.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    pub async fn insist(&self, name: &str, input: &Value, deadline: Duration) -> Value {
        let until = Instant::now() + deadline;
        loop {
            match self.try_mutate(name, "", input).await {
                Ok(payload) if payload.get("errors").is_none() => return payload,
                Ok(payload) if is_passing(&payload) => {}
                Ok(payload) => panic!("{name} {input}: {payload}"),
                Err(_) => {}
            }
            assert!(Instant::now() < until, "{name} got no answer within {deadline:?}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
}

/// Whether the errors are of the kind that a retry cures.
fn is_passing(payload: &Value) -> bool {
    let codes = payload["errors"].as_array().into_iter().flatten().map(|error| &error["extensions"]["code"]);
    codes.clone().count() > 0 && codes.into_iter().all(|code| code == "BUSY" || code == "UNAVAILABLE")
}

/// A fresh idempotency key.
#[expect(clippy::disallowed_methods, reason = "a client has no ports; it draws its keys itself")]
pub fn key() -> Uuid {
    Uuid::now_v7()
}

/// Input of `registerLot`; parents are codes with kilograms.
pub fn lot(site: &str, code: &str, kilograms: &str, parents: &[(&str, &str)]) -> Value {
    let parents: Vec<Value> = parents
        .iter()
        .map(|(code, amount)| json!({ "lot": { "code": code }, "quantity": { "value": amount, "unit": "KGM" } }))
        .collect();
    json!({
        "idempotencyKey": key(), "site": site, "code": code, "lotType": "RAW", "product": "Whole milk",
        "quantity": { "value": kilograms, "unit": "KGM" }, "parents": parents,
    })
}

/// Input of `recordQcDecision`.
pub fn decision(site: &str, code: &str, outcome: &str) -> Value {
    json!({ "idempotencyKey": key(), "site": site, "lot": { "code": code }, "gate": "intake", "outcome": outcome })
}

/// A subscription over server-sent events.
pub struct Subscription {
    answer: reqwest::Response,
    buffer: String,
}

impl Client {
    /// Opens a subscription.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn subscribe(&self, query: &str, variables: &Value) -> Subscription {
        let body = json!({ "query": query, "variables": variables });
        let request = self.http.post(format!("{}/graphql", self.url)).header("x-lotline-actor", &self.actor);
        let answer =
            request.header("accept", "text/event-stream").json(&body).send().await.expect("the server answers");
        assert!(answer.status().is_success(), "the subscription was refused with {}", answer.status());
        Subscription { answer, buffer: String::new() }
    }
}

impl Subscription {
    /// The `data` of the next item, or nothing when none comes within the time.
    ///
    /// # Panics
    /// When the stream ends or carries errors.
    pub async fn next(&mut self, within: Duration) -> Option<Value> {
        tokio::time::timeout(within, self.read()).await.ok()
    }

    async fn read(&mut self) -> Value {
        loop {
            while let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.buffer = rest;
                assert!(!event.contains("event: complete"), "the subscription ended");
                let data: String = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
                if !data.trim().is_empty() {
                    let item: Value = serde_json::from_str(&data).expect("items are JSON");
                    assert!(item.get("errors").is_none(), "the subscription failed: {item}");
                    return item["data"].clone();
                }
            }
            let chunk = self.answer.chunk().await.expect("the stream can be read").expect("the stream goes on");
            self.buffer.push_str(&String::from_utf8_lossy(&chunk).replace('\r', ""));
        }
    }
}

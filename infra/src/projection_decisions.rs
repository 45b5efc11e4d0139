//! `lotline projections retry` and `skip`: asks the running server to record the decision, and waits until the read model has acted on it.
//!
//! Only a writer appends events, so this goes through the server's API like any other command.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_domain::port::{Clock, Ids};
use lotline_projections::model::Model;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cli::DecisionArgs;
use crate::config::Config;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait for the worker; a stream with many events to catch up takes its time.
const ACT_WITHIN: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(250);

const STATUS: &str = "{ projectionStatus { readModel halts { stream sequence error haltedAt } } }";

/// What is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decision {
    /// To try again.
    Retry {
        /// The read model.
        model: Model,
    },
    /// To leave one event out.
    Skip {
        /// The read model.
        model: Model,
        /// The event.
        sequence: u64,
    },
}

/// Has the decision recorded and prints what became of it.
///
/// # Errors
/// A read model that is not halted there, a refusal, a server that can't be reached, or a stream that is halted still.
pub(crate) async fn decide(config: &Config, decision: Decision, given: &DecisionArgs) -> anyhow::Result<()> {
    let server = Server::new(config, given)?;
    let model = decision.model();
    let before = server.halt(model, &given.stream).await?;
    let before = before.with_context(|| {
        format!("read model '{model}' is not halted in stream '{}'; see `lotline projections status`", given.stream)
    })?;
    if let Decision::Skip { sequence, .. } = decision {
        let found = &before["sequence"];
        anyhow::ensure!(
            found.as_u64() == Some(sequence),
            "read model '{model}' is halted in stream '{}' at event {found}, not {sequence}",
            given.stream
        );
    }
    let payload = server.submit(decision, given).await?;
    if let Some(error) = payload["userErrors"].get(0) {
        anyhow::bail!("refused: {}", error["message"].as_str().unwrap_or_default());
    }
    say(&format!("recorded as event {} of stream _tenant", payload["version"]))?;
    let deadline = Instant::now() + ACT_WITHIN;
    loop {
        match server.halt(model, &given.stream).await? {
            None => return say(&format!("read model '{model}' follows stream '{}' again", given.stream)),
            // Tried again and given up again: the worker has noted a new time.
            Some(halt) if halt["haltedAt"] != before["haltedAt"] => {
                let (at, error) = (&halt["sequence"], halt["error"].as_str().unwrap_or_default());
                anyhow::bail!("read model '{model}' is halted in stream '{}' at event {at}: {error}", given.stream);
            }
            Some(_) => {}
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "recorded, but no worker has acted on it within {} s; it will be acted on when one does",
            ACT_WITHIN.as_secs()
        );
        sleep(LOOK_EVERY).await;
    }
}

impl Decision {
    fn model(self) -> Model {
        match self {
            Self::Retry { model } | Self::Skip { model, .. } => model,
        }
    }
}

struct Server {
    http: reqwest::Client,
    url: String,
    who: (&'static str, String),
}

impl Server {
    fn new(config: &Config, given: &DecisionArgs) -> anyhow::Result<Self> {
        let url = given.server.clone().unwrap_or_else(|| format!("http://{}", config.api.bind));
        let http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).build().context("no HTTP client can be made")?;
        let who = match (&given.token, &given.actor) {
            (Some(token), _) => ("authorization", format!("Bearer {token}")),
            (None, actor) => ("x-lotline-actor", actor.clone().unwrap_or_default()),
        };
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), who })
    }

    /// How the model is halted in the stream, if it is.
    async fn halt(&self, model: Model, stream: &str) -> anyhow::Result<Option<Value>> {
        let data = self.ask(STATUS, json!({})).await?;
        let all = data["projectionStatus"].as_array().into_iter().flatten();
        let halts =
            all.filter(|status| status["readModel"] == model.name()).filter_map(|status| status["halts"].as_array());
        Ok(halts.flatten().find(|halt| halt["stream"] == stream).cloned())
    }

    async fn submit(&self, decision: Decision, given: &DecisionArgs) -> anyhow::Result<Value> {
        let mut input = json!({
            "idempotencyKey": RandomIds::default().uuid_v7(SystemClock.now()),
            "reason": given.reason,
            "readModel": decision.model().name().to_uppercase(),
            "stream": given.stream,
        });
        let (field, kind) = match decision {
            Decision::Retry { .. } => ("retryProjection", "RetryProjectionInput"),
            Decision::Skip { sequence, .. } => {
                input["sequence"] = json!(sequence);
                ("skipProjectionEvent", "SkipProjectionEventInput")
            }
        };
        let query =
            format!("mutation($input: {kind}!) {{ {field}(input: $input) {{ version userErrors {{ message }} }} }}");
        let data = self.ask(&query, json!({ "input": input })).await?;
        Ok(data[field].clone())
    }

    async fn ask(&self, query: &str, variables: Value) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}/graphql", self.url)).header(self.who.0, &self.who.1);
        let body = json!({ "query": query, "variables": variables });
        let unreachable = || format!("the server at {} can't be reached; it must run to record a decision", self.url);
        let answer = request.json(&body).send().await.with_context(unreachable)?;
        let answer: Value = answer.json().await.context("the server's answer is no JSON")?;
        if let Some(errors) = answer.get("errors") {
            anyhow::bail!("the server refused: {errors}");
        }
        answer.get("data").cloned().with_context(|| format!("the server's answer has no data: {answer}"))
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output is closed")
}

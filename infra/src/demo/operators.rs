//! The operators: play the story over HTTP, as any client of the GraphQL API would.
//!
//! A step is sent again with the same idempotency key until the server has answered it, so that a restart of the server in the middle
//! of the story neither loses nor doubles anything.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use lotline_domain::command::DeclareSignal;
use lotline_domain::id::SiteId;
use lotline_domain::port::{Clock, Ids};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::mutation::{Mutation, declare_signal, of_action};
use super::story::step::{Action, Expected, Step};

/// Everything the operators need.
pub struct Operators {
    /// `http://address:port` of the API.
    pub url: String,
    /// The plant where they work.
    pub site: SiteId,
    /// Time between two steps.
    pub pace: Duration,
    /// For idempotency keys.
    pub clock: Arc<dyn Clock>,
    /// For idempotency keys.
    pub ids: Arc<dyn Ids>,
}

/// What has been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Steps that were accepted.
    pub accepted: u64,
    /// Mistakes that were refused, as they should be.
    pub refused: u64,
    /// Steps that were answered otherwise than the story says.
    pub surprises: u64,
}

/// An answer of the API to a mutation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// Accepted, with the id of the pipeline if it was one.
    Accepted(Option<String>),
    /// Refused with this code and sentence.
    Refused(String, String),
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(250);
const MAX_TRIES: u32 = 120;

impl Operators {
    /// Declares signals; one that is declared already is as good.
    ///
    /// # Errors
    /// The server can't be reached, or refuses for another reason.
    pub async fn declare(&self, signals: &[DeclareSignal]) -> anyhow::Result<()> {
        let client = client()?;
        for signal in signals {
            let mutation = declare_signal(&self.site, signal);
            match self.submit(&client, "op-automation-1", mutation).await? {
                Answer::Accepted(_) => {}
                Answer::Refused(code, _) if code == "DUPLICATE_SIGNAL" => {}
                Answer::Refused(code, message) => bail!("signal {} was refused: {code}: {message}", signal.name),
            }
        }
        Ok(())
    }

    /// Plays the steps until they end or `stop`.
    ///
    /// # Errors
    /// The server can't be reached for long.
    pub async fn play(&self, story: impl Iterator<Item = Step>, stop: &CancellationToken) -> anyhow::Result<Tally> {
        let client = client()?;
        let mut tally = Tally::default();
        let mut pipelines = HashMap::new();
        for step in story {
            let playing = async {
                sleep(self.pace).await;
                self.play_one(&client, &step, &mut pipelines, &mut tally).await
            };
            match stop.run_until_cancelled(playing).await {
                Some(played) => played?,
                None => break,
            }
        }
        Ok(tally)
    }

    async fn play_one(
        &self,
        client: &reqwest::Client,
        step: &Step,
        pipelines: &mut HashMap<String, String>,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let Some(mutation) = of_action(&self.site, &step.action, pipelines, step.reason.as_deref()) else {
            // Its draft was answered otherwise than planned, which has been said.
            tally.surprises += 1;
            return Ok(());
        };
        match (self.submit(client, step.actor, mutation).await?, step.expected) {
            (Answer::Accepted(id), Expected::Accepted) => {
                if let (Action::DraftPipeline { name, .. }, Some(id)) = (&step.action, id) {
                    pipelines.insert(name.clone(), id);
                }
                tally.accepted += 1;
            }
            (Answer::Refused(code, _), Expected::Refused(expected)) if code == expected => tally.refused += 1,
            (answer, expected) => {
                tracing::warn!(?answer, ?expected, actor = step.actor, "the demo was answered otherwise than planned");
                tally.surprises += 1;
            }
        }
        Ok(())
    }

    async fn submit(&self, client: &reqwest::Client, actor: &str, mutation: Mutation) -> anyhow::Result<Answer> {
        let Mutation { field, query, mut input } = mutation;
        input["idempotencyKey"] = json!(self.ids.uuid_v7(self.clock.now()));
        let body = json!({ "query": query, "variables": { "input": input } });
        let mut tries = 0;
        loop {
            tries += 1;
            match self.post(client, actor, &body).await.and_then(|answer| read(field, &answer)) {
                Ok(answer) => return Ok(answer),
                Err(error) if tries < MAX_TRIES => {
                    tracing::debug!(error = format!("{error:#}"), field, "the API did not answer; trying again");
                    sleep(RETRY).await;
                }
                Err(error) => return Err(error.context(format!("{field} was not answered in {tries} tries"))),
            }
        }
    }

    async fn post(&self, client: &reqwest::Client, actor: &str, body: &Value) -> anyhow::Result<Value> {
        let request = client
            .post(format!("{}/graphql", self.url))
            .header("content-type", "application/json")
            .header("accept", "application/graphql-response+json, application/json")
            .header("x-lotline-actor", actor)
            .body(body.to_string());
        let response = request.send().await.context("the API can't be reached")?;
        let status = response.status();
        let text = response.text().await.context("the API's answer broke off")?;
        serde_json::from_str(&text).with_context(|| format!("the API answered {status} with something that is no JSON"))
    }
}

/// Reads an answer. An error of the request as a whole, such as BUSY, is one worth trying again.
fn read(field: &str, answer: &Value) -> anyhow::Result<Answer> {
    if let Some(error) = answer["errors"].get(0) {
        bail!("the API failed: {} {}", error["extensions"]["code"], error["message"]);
    }
    let payload = &answer["data"][field];
    let errors = payload["userErrors"].as_array().with_context(|| format!("no {field} in the API's answer"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(match errors.first() {
        Some(error) => Answer::Refused(text(&error["code"]), text(&error["message"])),
        None => Answer::Accepted(payload["pipelineId"].as_str().map(str::to_owned)),
    })
}

fn client() -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(REQUEST_TIMEOUT).build().context("no HTTP client can be made")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let accepted = json!({"data": {"draftPipeline": {"userErrors": [], "pipelineId": "abc"}}});
        assert_eq!(read("draftPipeline", &accepted).unwrap(), Answer::Accepted(Some("abc".into())));
        let refused = json!({"data": {"registerLot": {"userErrors": [{"code": "UNKNOWN_LOT", "message": "no"}]}}});
        assert_eq!(read("registerLot", &refused).unwrap(), Answer::Refused("UNKNOWN_LOT".into(), "no".into()));
        let busy = json!({"data": null, "errors": [{"message": "busy", "extensions": {"code": "BUSY"}}]});
        assert!(read("registerLot", &busy).unwrap_err().to_string().contains("BUSY"));
        assert!(read("registerLot", &json!({})).is_err());
    }
}

//! Sends a command to the node that writes its partition.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lotline_commands::bus::{Forward, ForwardError, Forwarded, Receipt};
use lotline_domain::ownership::{Directory, Owner};
use lotline_domain::port::{BoxFuture, Clock};
use lotline_domain::trace::TraceContext;
use tokio::time::sleep;

use super::signature::SIGNATURE;
use super::{PATH, PeerKey};

/// A node that does not even take the connection is gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a silent owner is compared with the directory: it may have been paused, and have a successor.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the owner has for its answer's way back.
const GRACE: Duration = Duration::from_secs(1);

/// The way to other nodes.
pub struct PeerClient {
    http: reqwest::Client,
    key: PeerKey,
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<u32, Owner>>,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the node can't be asked")]
    Http(#[from] reqwest::Error),
    #[error("the node refused with status {status}: {body}")]
    Refused { status: u16, body: String },
}

impl PeerClient {
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(key: PeerKey, directory: Arc<dyn Directory>, clock: Arc<dyn Clock>) -> Result<Self, reqwest::Error> {
        // Nodes reach each other directly; a proxy that the environment names is for the world outside.
        let http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).no_proxy().build()?;
        Ok(Self { http, key, directory, clock, known: Mutex::default() })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Owner>> {
        // Entries are replaced whole, so they are good even after a panic elsewhere.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn owner(&self, partition: u32) -> Option<Owner> {
        let known = self.known().get(&partition).cloned();
        if known.is_some() {
            return known;
        }
        let found = self.look_up(partition).await.filter(|owner| owner.node != self.directory.node())?;
        self.known().insert(partition, found.clone());
        Some(found)
    }

    async fn look_up(&self, partition: u32) -> Option<Owner> {
        match self.directory.owner(partition).await {
            Ok(owner) => owner,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(partition, error, "the directory of writers does not answer");
                None
            }
        }
    }

    /// Returns when somebody else has been announced.
    async fn replaced(&self, partition: u32, owner: &Owner) {
        loop {
            sleep(LOOK_AGAIN).await;
            if self.look_up(partition).await.is_some_and(|now| now != *owner) {
                return;
            }
        }
    }

    async fn send(&self, owner: &Owner, command: &Forwarded) -> Result<Result<Receipt, ForwardError>, Lost> {
        let body = serde_json::to_vec(command).expect("invariant: a command has string keys and finite numbers");
        let request = self
            .http
            .post(format!("{}{PATH}", owner.address))
            .timeout(command.within + GRACE)
            .header("content-type", "application/json")
            .header(SIGNATURE.as_str(), self.key.sign(&body, self.clock.now()))
            .body(body);
        let context = command.request.traceparent.as_ref().and_then(|text| text.parse::<TraceContext>().ok());
        let request = match context {
            Some(context) => request.header("traceparent", context.to_string()),
            None => request,
        };
        let response = request.send().await?;
        let status = response.status();
        if !status.is_success() {
            let body = response.text().await.unwrap_or_default().chars().take(200).collect();
            return Err(Lost::Refused { status: status.as_u16(), body });
        }
        Ok(response.json().await?)
    }
}

impl Forward for PeerClient {
    fn forward<'a>(&'a self, partition: u32, command: &'a Forwarded) -> BoxFuture<'a, Result<Receipt, ForwardError>> {
        Box::pin(async move {
            let not_there = ForwardError::NotOwner { tried_at: command.tried_at };
            let Some(owner) = self.owner(partition).await else {
                return Err(not_there);
            };
            let answer = tokio::select! {
                sent = self.send(&owner, command) => match sent {
                    Ok(answer) => answer,
                    Err(error) => {
                        let (node, error) = (&owner.node, &error as &dyn std::error::Error);
                        tracing::warn!(partition, node, error, "a command was not forwarded; looking for its writer again");
                        Err(not_there)
                    }
                },
                () = self.replaced(partition, &owner) => Err(not_there),
            };
            let outcome = match &answer {
                Err(ForwardError::NotOwner { .. }) => {
                    self.known().remove(&partition);
                    "not owner"
                }
                Err(ForwardError::Answer(_)) | Ok(_) => "answered",
            };
            metrics::counter!("lotline_commands_forwarded_total", "outcome" => outcome).increment(1);
            answer
        })
    }
}

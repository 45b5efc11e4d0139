//! Tasks that live and die together.
//!
//! The first task that fails, or a signal from outside, begins the end: everybody is asked to stop, and what has not stopped by
//! the deadline is left behind with a word about it. Nothing acknowledged is lost by that; it is in the log.

use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Runs the tasks of one process.
pub struct Lifecycle {
    cancel: CancellationToken,
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
}

impl Lifecycle {
    /// No task yet.
    pub fn new() -> Self {
        Self { cancel: CancellationToken::new(), tasks: JoinSet::new() }
    }

    /// What every task selects on.
    pub fn token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Adds a task. Its end before the shutdown, even without an error, ends the process.
    pub fn spawn<E: Into<anyhow::Error>>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await.map_err(Into::into)) });
    }

    /// Adds a task whose failure concerns one partition only: it is reported, and the rest goes on without it. The health check tells.
    pub fn spawn_isolated<E: std::error::Error + Send + Sync + 'static>(
        &mut self,
        name: &'static str,
        ends_all: fn(&E) -> bool,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let cancel = self.cancel.clone();
        self.spawn(name, async move {
            match task.await {
                Err(error) if !ends_all(&error) => {
                    let error = format!("{:#}", anyhow::Error::from(error));
                    tracing::error!(error, "{name} has stopped; everything else goes on");
                    cancel.cancelled().await;
                    anyhow::Ok(())
                }
                Err(error) => Err(error.into()),
                Ok(()) => Ok(()),
            }
        });
    }

    /// Waits for a signal or the first task to end, then for the rest within the deadline.
    ///
    /// # Errors
    /// The error of the task that ended first, or of one that failed while stopping.
    pub async fn run(mut self, deadline: Duration) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM can't be watched")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT can't be watched")?;
        let mut result = tokio::select! {
            _ = terminate.recv() => { tracing::info!("SIGTERM received; stopping"); Ok(()) }
            _ = interrupt.recv() => { tracing::info!("interrupted; stopping"); Ok(()) }
            () = self.cancel.cancelled() => Ok(()),
            Some(ended) = self.tasks.join_next() => match ended {
                Ok((name, Ok(()))) => { tracing::info!(task = name, "a task has ended; stopping"); Ok(()) }
                Ok((name, Err(error))) => Err(error.context(format!("{name} failed"))),
                Err(panic) => Err(anyhow::Error::new(panic).context("a task panicked")),
            },
        };
        self.cancel.cancel();
        let drained = tokio::time::timeout(deadline, async {
            while let Some(ended) = self.tasks.join_next().await {
                let failed = match ended {
                    Ok((_, Ok(()))) => continue,
                    Ok((name, Err(error))) => error.context(format!("{name} failed while stopping")),
                    Err(panic) => anyhow::Error::new(panic).context("a task panicked while stopping"),
                };
                if result.is_ok() {
                    result = Err(failed);
                } else {
                    tracing::error!(error = format!("{failed:#}"), "another task failed while stopping");
                }
            }
        });
        if drained.await.is_err() {
            let left = self.tasks.len();
            tracing::warn!(tasks = left, "some tasks did not stop within {} s and are left behind", deadline.as_secs());
            self.tasks.abort_all();
        }
        result
    }
}

/// Tells whether the tasks of a role still run, for the health check.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    ended: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    /// The same task; its end, however it comes, is remembered under the name.
    pub fn over<E: Display + Send, F: Future<Output = Result<(), E>> + Send>(
        &self,
        name: &str,
        task: F,
    ) -> impl Future<Output = Result<(), E>> + Send + use<E, F> {
        let (ended, name) = (Arc::clone(&self.ended), name.to_owned());
        async move {
            let result = task.await;
            let reason = match &result {
                Ok(()) => format!("{name} has ended"),
                Err(error) => format!("{name} has ended: {error}"),
            };
            ended.lock().unwrap_or_else(PoisonError::into_inner).push(reason);
            result
        }
    }

    /// Remembers that something has ended.
    pub fn note(&self, reason: String) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(reason);
    }

    /// Whether every task runs.
    ///
    /// # Errors
    /// Which have ended.
    pub fn check(&self) -> Result<(), String> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_empty() { Ok(()) } else { Err(ended.join(", ")) }
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_names_what_has_ended() {
        let watch = Watch::default();
        let running = watch.over("the first", std::future::pending::<Result<(), String>>());
        assert_eq!(watch.check(), Ok(()), "what has not begun has not ended");
        watch.over("the second", async { Ok::<(), String>(()) }).await.unwrap();
        assert!(watch.over("the third", async { Err("broken") }).await.is_err());
        drop(running);
        assert_eq!(watch.check(), Err("the second has ended, the third has ended: broken".to_owned()));
    }
}

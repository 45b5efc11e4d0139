//! Tasks that live and die together.
//!
//! The first task that fails, or a signal from outside, begins the end: everybody is asked to stop, and what has not stopped by
//! the deadline is left behind, named, and makes the end a failure. Nothing acknowledged is lost by that; it is in the log.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long threads may go on that are at work when everything else has ended.
const THREADS_DEADLINE: Duration = Duration::from_secs(2);
/// Steps down, in nice(2)'s measure: more than there are.
const LEAST_URGENT: i32 = 19;

/// Runs a future, and with its end everything that it has started: what does not end by itself is left behind.
///
/// # Errors
/// The future's, or the runtime's.
pub fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = Runtime::new().context("the async runtime can't be started")?;
    let ended = runtime.block_on(future);
    runtime.shutdown_timeout(THREADS_DEADLINE);
    ended
}

/// Gives everybody else on this machine the way: threads that are started from now on have the lowest priority.
///
/// # Errors
/// The system's.
pub fn step_back() -> anyhow::Result<()> {
    rustix::process::nice(LEAST_URGENT).context("the priority of this process can't be lowered")?;
    Ok(())
}

/// Tasks were asked to stop, and did not.
#[derive(Debug, Error)]
#[error("not stopped within {} s and left behind: {}", deadline.as_secs(), tasks.join(", "))]
pub struct Unwilling {
    /// How long they had.
    pub deadline: Duration,
    /// Their names, in the order in which they were started.
    pub tasks: Vec<&'static str>,
}

/// Runs the tasks of one process.
pub struct Lifecycle {
    cancel: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
    /// Cancelled when all tasks have ended.
    closing: CancellationToken,
    /// What ends after them.
    last: JoinSet<()>,
    /// Of the tasks that have not ended.
    names: BTreeMap<Id, &'static str>,
}

impl Lifecycle {
    /// No task yet.
    pub fn new() -> Self {
        Self {
            cancel: CancellationToken::new(),
            tasks: JoinSet::new(),
            closing: CancellationToken::new(),
            last: JoinSet::new(),
            names: BTreeMap::new(),
        }
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
        let handle = self.tasks.spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Adds a task that serves the others and is asked to end after them, within the same deadline. Nothing depends on it: its end ends nothing.
    pub fn spawn_last<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &'static str,
        task: impl FnOnce(CancellationToken) -> F,
    ) {
        let handle = self.last.spawn(task(self.closing.clone()));
        self.names.insert(handle.id(), name);
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
    /// The error of the task that ended first, or of one that failed while stopping, or [`Unwilling`].
    pub async fn run(mut self, deadline: Duration) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM can't be watched")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT can't be watched")?;
        let mut result = tokio::select! {
            _ = terminate.recv() => { tracing::info!("SIGTERM received; stopping"); Ok(()) }
            _ = interrupt.recv() => { tracing::info!("interrupted; stopping"); Ok(()) }
            () = self.cancel.cancelled() => Ok(()),
            Some(ended) = self.tasks.join_next_with_id() => {
                let (name, ended) = self.named(ended);
                if ended.is_ok() {
                    tracing::info!(task = name, "a task has ended; stopping");
                }
                ended.with_context(|| format!("{name} failed"))
            },
        };
        self.cancel.cancel();
        let drained = tokio::time::timeout(deadline, async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                let (name, ended) = self.named(ended);
                settle(&mut result, ended.with_context(|| format!("{name} failed while stopping")));
            }
            self.closing.cancel();
            while let Some(ended) = self.last.join_next_with_id().await {
                let (name, ended) = self.named(ended.map(|(id, ())| (id, Ok(()))));
                settle(&mut result, ended.with_context(|| format!("{name} failed")));
            }
        });
        if drained.await.is_err() {
            self.tasks.abort_all();
            self.last.abort_all();
            let tasks = std::mem::take(&mut self.names).into_values().collect();
            settle(&mut result, Err(Unwilling { deadline, tasks }.into()));
        }
        result
    }

    /// Takes the name of a task that has ended off the list.
    fn named(&mut self, ended: Result<(Id, anyhow::Result<()>), JoinError>) -> (&'static str, anyhow::Result<()>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(panic) => (panic.id(), Err(anyhow::Error::new(panic))),
        };
        (self.names.remove(&id).expect("invariant: every task has a name"), result)
    }
}

/// The first error is how the process ends; later ones are only logged.
fn settle(result: &mut anyhow::Result<()>, ended: anyhow::Result<()>) {
    match ended {
        Ok(()) => {}
        Err(error) if result.is_ok() => *result = Err(error),
        Err(error) => tracing::error!(error = format!("{error:#}"), "and that was not all"),
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

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn who_does_not_stop_in_time_is_named_and_a_failure() {
        let mut lifecycle = Lifecycle::new();
        let token = lifecycle.token();
        lifecycle.spawn("the willing", async move {
            token.cancelled().await;
            anyhow::Ok(())
        });
        lifecycle.spawn("the deaf", std::future::pending::<anyhow::Result<()>>());
        lifecycle.spawn("the stubborn", std::future::pending::<anyhow::Result<()>>());
        lifecycle.token().cancel();
        let error = lifecycle.run(SHORT).await.unwrap_err();
        let Unwilling { deadline, tasks } = error.downcast_ref().unwrap();
        assert_eq!((*deadline, &tasks[..]), (SHORT, &["the deaf", "the stubborn"][..]));
    }

    #[tokio::test]
    async fn what_is_last_ends_after_the_rest() {
        let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
        let mut lifecycle = Lifecycle::new();
        let (token, closed) = (lifecycle.token(), told.clone());
        lifecycle.spawn_last("the last", |closing| async move {
            closing.cancelled().await;
            closed.send("last").unwrap();
        });
        lifecycle.spawn("the first", async move {
            token.cancelled().await;
            tokio::task::yield_now().await;
            told.send("first").unwrap();
            anyhow::Ok(())
        });
        lifecycle.token().cancel();
        lifecycle.run(Duration::from_mins(1)).await.unwrap();
        assert_eq!((order.recv().await, order.recv().await), (Some("first"), Some("last")));
    }

    #[tokio::test]
    async fn the_first_failure_is_how_it_ends() {
        let mut lifecycle = Lifecycle::new();
        lifecycle.spawn("the deaf", std::future::pending::<anyhow::Result<()>>());
        lifecycle.spawn("the broken", async { anyhow::bail!("out of paper") });
        let error = lifecycle.run(SHORT).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "the broken failed: out of paper");

        let mut lifecycle = Lifecycle::new();
        lifecycle.spawn("the clumsy", async {
            assert!(std::thread::panicking(), "it always panics");
            anyhow::Ok(())
        });
        let error = format!("{:#}", lifecycle.run(SHORT).await.unwrap_err());
        assert!(error.starts_with("the clumsy failed: ") && error.contains("panicked"), "{error}");
    }

    #[test]
    fn a_thread_that_never_ends_does_not_keep_the_process() {
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let result = block_on(async {
                tokio::task::spawn_blocking(|| {
                    loop {
                        std::thread::park();
                    }
                });
                Ok(())
            });
            ended.send(result).expect("the test waits for it");
        });
        end.recv_timeout(Duration::from_mins(1)).expect("it ends").unwrap();
    }
}

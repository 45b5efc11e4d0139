//! One device: its connection, its timebase and its polls, in one task.
//!
//! The connection has two states. Up: a poll at every deadline. Down: attempts to connect with growing, jittered waits; each failed
//! one says `Bad_NoCommunication` of every signal, of which [`super::report`] sends the first and then heartbeats. After a timeout
//! the connection is dropped (see [`crate::field::modbus::tcp`]); if other units behind the same gateway are still to be read, the
//! poll goes on over a new one, so that a dead unit does not silence its neighbours. A connection that turns out to be closed when a
//! poll begins is replaced once before anything is said to be lost.

use std::sync::Arc;
use std::time::Duration;

use lotline_domain::port::Clock;
use lotline_domain::signal::SignalDeclared;
use metrics::{Counter, Gauge, Histogram};
use tokio::time::{Instant, sleep_until};

use super::buffer::Buffer;
use super::config::DeviceConfig;
use super::report::{Origin, Reporter};
use super::schedule::{Backoff, Timebase};
use crate::field::Reading;
use crate::field::modbus::engine::Engine;
use crate::field::modbus::tcp::{Connection, ConnectionError};
use crate::field::modbus::{Answer, Request};

/// Most samples of one batch, so that a batch stays far below the size limit of a log's record.
const MAX_BATCH: usize = 10_000;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// What a device needs of its collector.
#[derive(Clone)]
pub struct Surroundings {
    /// Whose samples they are.
    pub origin: Origin,
    /// Where batches go.
    pub buffer: Buffer,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// A device being polled.
pub struct Device {
    surroundings: Surroundings,
    engine: Engine,
    link: Link,
    reporter: Reporter,
    timebase: Timebase,
    backoff: Backoff,
    /// When to connect again; only while there is no connection.
    retry_at: Instant,
    retry_refused: Duration,
    /// When the addresses that it refused are tried again.
    forget_at: Instant,
    /// Whether the last thing said about it was that it can't be reached.
    is_lost: bool,
}

/// The connection, when there is one, and what it counts.
struct Link {
    config: DeviceConfig,
    connection: Option<Connection>,
    metrics: Metrics,
}

struct Metrics {
    requests: Counter,
    latency: Histogram,
    timeouts: Counter,
    errors: Counter,
    exceptions: Counter,
    overruns: Counter,
    samples: Counter,
    connected: Gauge,
}

impl Device {
    /// A device that begins to connect as soon as it runs.
    pub fn new(
        config: DeviceConfig,
        signals: &[SignalDeclared],
        timebase: Timebase,
        surroundings: Surroundings,
    ) -> Self {
        let now = Instant::now();
        let longest = Duration::from_millis(config.max_backoff_ms);
        let retry_refused = Duration::from_millis(config.retry_refused_ms);
        Self {
            engine: Engine::new(signals, config.limits()),
            reporter: Reporter::new(surroundings.origin.clone(), Duration::from_millis(config.bad_heartbeat_ms)),
            timebase,
            backoff: Backoff::new(FIRST_BACKOFF, longest),
            retry_at: now,
            retry_refused,
            forget_at: now + retry_refused,
            is_lost: false,
            link: Link { metrics: Metrics::of(&config), config, connection: None },
            surroundings,
        }
    }

    /// Polls for ever. The future may be dropped at any point.
    pub async fn run(mut self) {
        self.timebase.advance(Instant::now());
        loop {
            if self.link.connection.is_some() {
                sleep_until(self.timebase.next()).await;
            } else {
                sleep_until(self.retry_at).await;
                if let Err(error) = self.link.connect().await {
                    self.lost(&error);
                    continue;
                }
                // Deadlines that passed without a connection are no overruns, and the first poll does not wait for one.
                self.timebase.advance(Instant::now());
            }
            self.poll().await;
            self.link.metrics.overruns.increment(self.timebase.advance(Instant::now()));
        }
    }

    async fn poll(&mut self) {
        if self.forget_at <= Instant::now() {
            self.forget_at = Instant::now() + self.retry_refused;
            self.engine.forget();
        }
        let clock = &self.surroundings.clock;
        let mut poll = self.engine.poll(clock.now());
        let mut answers = 0;
        let mut failure = None;
        // Many devices close a connection that was idle between two polls, which is no loss.
        let mut may_be_stale = true;
        while let Some(request) = poll.request() {
            if self.link.connection.is_none()
                && let Err(error) = self.link.connect().await
            {
                failure = Some(error);
                break;
            }
            match self.link.read(request).await {
                Ok(answer) if poll.answer(&answer, clock.now()).is_ok() => answers += 1,
                Ok(_) => {
                    self.link.drop_connection();
                    poll.lose_unit(request.unit, clock.now());
                }
                Err(ConnectionError::Io(_)) if may_be_stale => {}
                Err(error) => {
                    poll.lose_unit(request.unit, clock.now());
                    failure = Some(error);
                }
            }
            may_be_stale = false;
        }
        let readings = poll.finish(clock.now());
        if self.link.connection.is_some() {
            self.backoff.succeeded();
            self.found();
        } else if answers > 0 {
            // Part of it answered: it is there. The rest is tried again in the next poll.
            self.backoff.succeeded();
            self.found();
            self.retry_at = self.timebase.next().max(Instant::now() + FIRST_BACKOFF);
        } else {
            let error = failure.unwrap_or(ConnectionError::OutOfStep);
            return self.lost(&error);
        }
        self.send(&readings);
    }

    /// Nothing can be read of the device at the moment.
    fn lost(&mut self, error: &ConnectionError) {
        let wait = self.backoff.failed();
        self.retry_at = Instant::now() + wait;
        let device = &self.link.config.id;
        if self.is_lost {
            tracing::debug!(device.id = %device, error = error as &dyn std::error::Error, "still no communication");
        } else {
            tracing::warn!(device.id = %device, error = error as &dyn std::error::Error, "the device can't be reached");
        }
        self.is_lost = true;
        // It may come back as another device: with other addresses.
        self.engine.forget();
        let now = self.surroundings.clock.now();
        let readings = self.engine.poll(now).finish(now);
        self.send(&readings);
    }

    fn found(&mut self) {
        if std::mem::take(&mut self.is_lost) {
            tracing::info!(device.id = %self.link.config.id, "the device answers again");
        }
    }

    fn send(&mut self, readings: &[Reading]) {
        let (now, collected_at) = (Instant::now(), self.surroundings.clock.now());
        for part in readings.chunks(MAX_BATCH) {
            if let Some(batch) = self.reporter.report(part, now, collected_at) {
                let samples = batch.len() as u64;
                if self.surroundings.buffer.offer(batch) {
                    self.link.metrics.samples.increment(samples);
                }
            }
        }
    }
}

impl Link {
    async fn connect(&mut self) -> Result<(), ConnectionError> {
        let patience = Duration::from_millis(self.config.timeout_ms);
        match Connection::open(&self.config.host, self.config.port, patience).await {
            Ok(connection) => {
                self.metrics.connected.set(1.0);
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    async fn read(&mut self, request: Request) -> Result<Answer, ConnectionError> {
        let Some(connection) = &mut self.connection else { return Err(ConnectionError::OutOfStep) };
        self.metrics.requests.increment(1);
        let began = Instant::now();
        let answer = connection.read(request).await;
        match &answer {
            Ok(answer) => {
                self.metrics.latency.record(began.elapsed().as_secs_f64());
                if matches!(answer, Answer::Exception(_)) {
                    self.metrics.exceptions.increment(1);
                }
            }
            Err(error) => self.failed(error),
        }
        answer
    }

    fn failed(&mut self, error: &ConnectionError) {
        match error {
            ConnectionError::Timeout(_) => self.metrics.timeouts.increment(1),
            ConnectionError::Io(_) | ConnectionError::Protocol(_) | ConnectionError::OutOfStep => {
                self.metrics.errors.increment(1);
            }
        }
        self.drop_connection();
    }

    fn drop_connection(&mut self) {
        self.connection = None;
        self.metrics.connected.set(0.0);
    }
}

impl Metrics {
    fn of(config: &DeviceConfig) -> Self {
        let device = config.id.to_string();
        let counter = |name: &'static str| metrics::counter!(name, "device" => device.clone());
        Self {
            requests: counter("lotline_collector_requests_total"),
            latency: metrics::histogram!("lotline_collector_request_seconds", "device" => device.clone()),
            timeouts: counter("lotline_collector_timeouts_total"),
            errors: counter("lotline_collector_errors_total"),
            exceptions: counter("lotline_collector_exceptions_total"),
            overruns: counter("lotline_collector_overruns_total"),
            samples: counter("lotline_collector_samples_total"),
            connected: metrics::gauge!("lotline_collector_connected", "device" => device.clone()),
        }
    }
}

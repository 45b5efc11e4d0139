//! Logs, metrics and traces of the process.

mod descriptions;
pub(crate) mod sampler;
pub(crate) mod traces;

use std::sync::OnceLock;

use anyhow::Context;
use lotline_adapters::clock::SystemClock;
use lotline_domain::port::Clock;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, TelemetrySection};

/// Known once logging has been started.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Starts logging to standard error. Call once.
///
/// # Errors
/// A filter that can't be read, or a second call.
pub fn start_logs(section: &TelemetrySection) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&section.level).context("telemetry.level is no log filter")?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    let started = match section.format {
        LogFormat::Pretty => lines.compact().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging can't be started: {error}"))?;
    FORMAT.get_or_init(|| section.format);
    Ok(())
}

/// Says why the process ends: in one line for people, or in one more line of JSON where a machine reads.
pub fn complain(error: &anyhow::Error) {
    match FORMAT.get() {
        Some(LogFormat::Json) => tracing::error!(error = format!("{error:#}"), "lotline has failed"),
        Some(LogFormat::Pretty) | None => eprintln!("lotline: {error:#}"),
    }
}

/// Upper bounds of what is measured in seconds: from a command on the embedded log to a query that is too slow.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// A replay takes from nothing to many minutes.
const RECOVERY_SECONDS: [f64; 12] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];
/// Events of one transaction: a single command's to more than the default `log.max_batch` decides at once.
const BATCH_EVENTS: [f64; 13] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 8192.0];

/// Starts collecting metrics; the handle renders them for Prometheus. Call once, and run the handle's upkeep now and then: observations
/// of histograms are kept one by one until somebody scrapes or that is done.
///
/// # Errors
/// A second call.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = builder()?.install_recorder().context("metrics can't be started")?;
    descriptions::describe();
    metrics::gauge!("lotline_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    metrics::gauge!("process_start_time_seconds").set(SystemClock.now().micros() as f64 / 1e6);
    begin_at_zero();
    Ok(handle)
}

/// Counters that alerts look at are there from the start: one that appears with its first count has, for Prometheus, not increased.
fn begin_at_zero() {
    metrics::counter!("lotline_commands_total", "outcome" => "busy").increment(0);
    metrics::counter!("lotline_writer_unknown_outcomes_total").increment(0);
    metrics::counter!("lotline_collector_buffer_write_errors_total").increment(0);
    for reason in ["queue", "cap", "too_large", "unreadable"] {
        metrics::counter!("lotline_collector_dropped_batches_total", "reason" => reason).increment(0);
    }
}

fn builder() -> anyhow::Result<PrometheusBuilder> {
    let named = |name: &str| Matcher::Full(name.to_owned());
    let builder = PrometheusBuilder::new().set_buckets(&SECONDS);
    builder
        .and_then(|builder| builder.set_buckets_for_metric(named("lotline_writer_batch_events"), &BATCH_EVENTS))
        .and_then(|builder| builder.set_buckets_for_metric(named("lotline_writer_recovery_seconds"), &RECOVERY_SECONDS))
        .context("the histogram buckets are not usable")
}

/// Every metric that `/metrics` may show: its name, its labels, and whether it is a histogram.
pub fn described() -> impl Iterator<Item = (&'static str, &'static [&'static str], bool)> {
    descriptions::all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_in_buckets_of_their_own() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("lotline_writer_batch_events").record(300.0);
            metrics::histogram!("lotline_writer_recovery_seconds").record(45.0);
            metrics::histogram!("lotline_writer_append_seconds").record(0.003);
        });
        let shown = recorder.handle().render();
        for line in [
            "lotline_writer_batch_events_bucket{le=\"256\"} 0",
            "lotline_writer_batch_events_bucket{le=\"512\"} 1",
            "lotline_writer_recovery_seconds_bucket{le=\"30\"} 0",
            "lotline_writer_recovery_seconds_bucket{le=\"60\"} 1",
            "lotline_writer_append_seconds_bucket{le=\"0.0025\"} 0",
            "lotline_writer_append_seconds_bucket{le=\"0.005\"} 1",
        ] {
            assert!(shown.contains(line), "{line} is missing in:\n{shown}");
        }
    }
}

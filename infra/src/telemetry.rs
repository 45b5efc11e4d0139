//! Logs and metrics of the process.

mod descriptions;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, TelemetrySection};

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
    started.map_err(|error| anyhow::anyhow!("logging can't be started: {error}"))
}

/// Starts collecting metrics; the handle renders them for Prometheus. Call once.
///
/// # Errors
/// A second call.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0])
        .context("the histogram buckets are not usable")?
        .install_recorder()
        .context("metrics can't be started")?;
    descriptions::describe();
    Ok(handle)
}

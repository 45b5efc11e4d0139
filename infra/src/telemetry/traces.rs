//! Spans for an OpenTelemetry collector: off unless `telemetry.otlp.endpoint` says where it is.

use std::net::SocketAddr;

use anyhow::Context;
use lotline_domain::trace::Traces;

use crate::cluster;
use crate::config::{Config, LogKind};
use crate::lifecycle::Lifecycle;

/// Opens the way to the collector. It is closed last of all, when what else the process does has ended and made its last spans.
///
/// # Errors
/// Settings that can't be used. That nobody listens is none.
pub(crate) fn start(config: &Config, bound: SocketAddr, lifecycle: &mut Lifecycle) -> anyhow::Result<Traces> {
    let log = match config.log.kind {
        LogKind::Kafka => "kafka",
        LogKind::Postgres => "postgresql",
    };
    let section = &config.telemetry.otlp;
    let Some(options) = section.options(&cluster::name(config, bound), log) else { return Ok(Traces::default()) };
    let (traces, exporter) = lotline_adapters::traces::open(&options).context("traces can't be sent")?;
    tracing::info!(endpoint = options.endpoint, sample_ratio = options.sample_ratio, "spans go to a collector");
    lifecycle.spawn_last("the export of spans", |closing| exporter.run(closing));
    Ok(traces)
}

//! Spans for OpenTelemetry: made by its SDK, sent by OTLP over HTTP in Protobuf (OTLP 1.x, `POST <endpoint>/v1/traces`).
//!
//! ```text
//! Traces ─▶ tracer: the SDK's spans, ids and sampling ─▶ queue, bounded ─▶ exporter: one task, batches ─▶ collector
//! ```
//! Whoever ends a span never waits: what finds the queue full is counted and gone. The SDK's own batching and its OTLP crate are not used: the
//! one has a thread of its own and tells nobody what it drops, the other reads settings from the environment behind the configuration's back.

mod exporter;
mod tracer;

pub use self::exporter::Exporter;

use std::collections::BTreeMap;
use std::time::Duration;

use lotline_domain::trace::Traces;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;
use tokio::sync::mpsc;

/// Where spans go, and which.
#[derive(Clone)]
pub struct OtlpOptions {
    /// `http://host:4318`; `/v1/traces` is added.
    pub endpoint: String,
    /// Sent with each batch. May hold credentials.
    pub headers: BTreeMap<String, String>,
    /// Which part of the traces that begin here is recorded, 0 to 1. Whoever brings a trace has decided already.
    pub sample_ratio: f64,
    /// How long the collector may take for a batch.
    pub timeout: Duration,
    /// Spans that may wait.
    pub queue: usize,
    /// `service.name`.
    pub service_name: String,
    /// `service.instance.id`.
    pub service_instance: String,
    /// `service.version`.
    pub version: &'static str,
    /// What the event log is called in `messaging.system`.
    pub log: &'static str,
}

/// Settings that can't be used. Values of headers are not repeated.
#[derive(Debug, Error)]
pub enum OtlpError {
    /// No address of a collector.
    #[error("'{0}' is no http or https address without user, query and fragment")]
    Endpoint(String),
    /// No header.
    #[error("the header '{0}' has a name or a value that HTTP does not take")]
    Header(String),
    /// Not between 0 and 1.
    #[error("{0} is no ratio between 0 and 1")]
    Ratio(f64),
    /// No HTTP client can be made.
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
}

impl OtlpOptions {
    /// Whether all of it can be used.
    ///
    /// # Errors
    /// [`OtlpError`].
    pub fn check(&self) -> Result<(), OtlpError> {
        self.address()?;
        self.header_map()?;
        if (0.0..=1.0).contains(&self.sample_ratio) { Ok(()) } else { Err(OtlpError::Ratio(self.sample_ratio)) }
    }

    /// Where batches are sent.
    fn address(&self) -> Result<Url, OtlpError> {
        // What can't be read may have a password in it, and so may what has a user.
        let mut url =
            Url::parse(&self.endpoint).map_err(|_| OtlpError::Endpoint("telemetry.otlp.endpoint".to_owned()))?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !matches!(url.scheme(), "http" | "https") || !plain || url.fragment().is_some() {
            return Err(OtlpError::Endpoint(url.host_str().unwrap_or_default().to_owned()));
        }
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(url)
    }

    fn header_map(&self) -> Result<HeaderMap, OtlpError> {
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let refused = || OtlpError::Header(name.clone());
            let mut value = HeaderValue::from_str(value).map_err(|_| refused())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?, value);
        }
        Ok(headers)
    }

    fn resource(&self) -> Resource {
        let detectors = [Box::new(TelemetryResourceDetector) as _, Box::new(EnvResourceDetector::new()) as _];
        let own = [
            ("service.name", self.service_name.clone()),
            ("service.instance.id", self.service_instance.clone()),
            ("service.version", self.version.to_owned()),
        ];
        let own = own.map(|(name, value)| KeyValue::new(name, value));
        Resource::builder_empty().with_detectors(&detectors).with_attributes(own).build()
    }
}

/// Makes the way to a collector. The exporter has to be run; nothing is sent before.
///
/// # Errors
/// [`OtlpError`].
pub fn open(options: &OtlpOptions) -> Result<(Traces, Exporter), OtlpError> {
    options.check()?;
    let (queue, spans) = mpsc::channel(options.queue.max(1));
    let resource = options.resource();
    let exporter = Exporter::new(options, &resource, spans)?;
    Ok((Traces::new(tracer::new(options.sample_ratio, resource, queue), options.log), exporter))
}

//! Section `[telemetry.otlp]`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Context;
use figment::Figment;
use figment::providers::{Env, Serialized};
use lotline_adapters::traces::OtlpOptions;
use serde::{Deserialize, Serialize};

/// What other programs with OpenTelemetry read, weaker than `lotline.toml`.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// Below it stand names of headers.
const OWN_HEADERS: &str = "LOTLINE_TELEMETRY__OTLP__HEADERS__";

/// Where spans go, by OTLP over HTTP in Protobuf. Without an endpoint none is made.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpSection {
    /// Such as `http://127.0.0.1:4318`; `/v1/traces` is added. Also `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: Option<String>,
    /// Sent with each batch of spans; may hold credentials, and is never shown. In the environment a name has underscores for its hyphens:
    /// `LOTLINE_TELEMETRY__OTLP__HEADERS__X_API_KEY`. Also `OTEL_EXPORTER_OTLP_HEADERS`.
    pub headers: BTreeMap<String, String>,
    /// Which part of the requests that come without a `traceparent` is recorded: 0 none, 1 all. Whoever brings one has decided.
    pub sample_ratio: f64,
    /// How long the collector may take for a batch.
    pub timeout_ms: u64,
    /// Spans that may wait for the collector; more are counted and dropped.
    pub queue: usize,
    /// `service.name`. Also `OTEL_SERVICE_NAME`.
    pub service_name: String,
    /// `service.instance.id`; by default the name of the node.
    pub service_instance: Option<String>,
}

impl OtlpSection {
    /// Nothing without an endpoint.
    pub fn options(&self, node: &str, log: &'static str) -> Option<OtlpOptions> {
        Some(OtlpOptions {
            endpoint: self.endpoint.clone().filter(|endpoint| !endpoint.is_empty())?,
            headers: self.headers.clone(),
            sample_ratio: self.sample_ratio,
            timeout: Duration::from_millis(self.timeout_ms),
            queue: self.queue,
            service_name: self.service_name.clone(),
            service_instance: self.service_instance.clone().unwrap_or_else(|| node.to_owned()),
            version: env!("CARGO_PKG_VERSION"),
            log,
        })
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.timeout_ms > 0, "telemetry.otlp.timeout_ms is 0: no collector is that fast");
        anyhow::ensure!((1..=1 << 20).contains(&self.queue), "telemetry.otlp.queue must be between 1 and 1048576");
        let ratio = self.sample_ratio;
        anyhow::ensure!((0.0..=1.0).contains(&ratio), "telemetry.otlp.sample_ratio must be between 0 and 1");
        let options = self.options("", "");
        options.map_or(Ok(()), |options| options.check()).context("telemetry.otlp can't be used")
    }

    /// For people to look at: which headers there are, not what they say.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let headers = self.headers.keys().map(|name| (name.clone(), "***".to_owned())).collect();
        Self { headers, ..self.clone() }
    }
}

/// What OpenTelemetry's own variables say, in the shape of the section.
pub(super) fn standard() -> Figment {
    let given: BTreeMap<String, String> = Env::raw()
        .only(&[ENDPOINT, HEADERS, SERVICE_NAME])
        .iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect();
    let of = |name: &str| given.get(&name.to_lowercase()).filter(|value| !value.is_empty());
    let mut figment = Figment::new();
    if let Some(endpoint) = of(ENDPOINT) {
        figment = figment.merge(Serialized::default("telemetry.otlp.endpoint", endpoint));
    }
    if let Some(name) = of(SERVICE_NAME) {
        figment = figment.merge(Serialized::default("telemetry.otlp.service_name", name));
    }
    if let Some(headers) = of(HEADERS) {
        figment = figment.merge(Serialized::default("telemetry.otlp.headers", listed(headers)));
    }
    figment
}

/// Headers under names of their own. Values are taken letter by letter.
pub(super) fn own_headers() -> Figment {
    let headers: BTreeMap<String, String> = Env::prefixed(OWN_HEADERS)
        .iter()
        .map(|(name, value)| (name.to_string().to_lowercase().replace('_', "-"), value))
        .collect();
    Figment::from(Serialized::default("telemetry.otlp.headers", headers))
}

/// `name=value,name=value` with values percent-encoded, as OpenTelemetry writes them (W3C Baggage).
fn listed(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_lowercase(), decoded(value.trim()))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let pair = tail.get(..2).and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let encoded = pair.filter(|_| first == b'%');
        bytes.push(encoded.unwrap_or(first));
        rest = if encoded.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Debug for OtlpSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpSection")
            .field("endpoint", &self.endpoint)
            .field("headers", &self.redacted().headers)
            .finish_non_exhaustive()
    }
}

impl Default for OtlpSection {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: BTreeMap::new(),
            sample_ratio: 0.01,
            timeout_ms: 10_000,
            queue: 8_192,
            service_name: "lotline".into(),
            service_instance: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_opentelemetry_writes_them_and_never_shown() {
        let headers = listed("Authorization=Basic%20aGk6eW91, x-team = dairy%zz");
        assert_eq!(headers["authorization"], "Basic aGk6eW91");
        assert_eq!(headers["x-team"], "dairy%zz");
        let section = OtlpSection { headers, ..OtlpSection::default() };
        let shown = format!("{section:?}{}", toml::to_string_pretty(&section.redacted()).unwrap());
        assert!(shown.contains("authorization") && !shown.contains("aGk6eW91"), "{shown}");
    }

    #[test]
    fn what_can_not_be_used_is_refused_without_its_secrets() {
        let at = |endpoint: &str| OtlpSection { endpoint: Some(endpoint.to_owned()), ..OtlpSection::default() };
        at("http://127.0.0.1:4318").check().unwrap();
        at("https://otlp.example/tenant/").check().unwrap();
        at("").check().unwrap();
        for bad in ["ftp://host", "127.0.0.1:4318", "http://ann:hunter2@host", "http://host/?key=hunter2", "hunter2"] {
            let error = format!("{:#}", at(bad).check().unwrap_err());
            assert!(error.contains("telemetry.otlp") && !error.contains("hunter2"), "{error}");
        }
        for (name, value) in [("a b", "hunter2"), ("x-key", "hunter2\n")] {
            let headers = [(name.to_owned(), value.to_owned())].into();
            let error = format!("{:#}", OtlpSection { headers, ..at("http://host") }.check().unwrap_err());
            assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
        }
        for ratio in [-0.1, 1.5, f64::NAN] {
            assert!(OtlpSection { sample_ratio: ratio, ..OtlpSection::default() }.check().is_err(), "{ratio}");
        }
    }
}

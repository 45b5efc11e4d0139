//! A collector of spans: OTLP over HTTP as OpenTelemetry specifies it, which keeps what it is sent, decoded and letter by letter.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// Much longer than a batch waits for company.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Clone, Default)]
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    bodies: Vec<Bytes>,
    headers: Vec<HeaderMap>,
    spans: Vec<Told>,
    /// How the next requests are answered, before the rest are taken.
    refusals: VecDeque<StatusCode>,
}

/// A span, and who made it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) span: Span,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self { endpoint, kept: Arc::default() };
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        collector
    }

    pub(crate) fn refuse_next(&self, status: StatusCode) {
        self.kept.lock().unwrap().refusals.push_back(status);
    }

    pub(crate) fn spans(&self) -> Vec<Told> {
        self.kept.lock().unwrap().spans.clone()
    }

    pub(crate) fn headers(&self) -> Vec<HeaderMap> {
        self.kept.lock().unwrap().headers.clone()
    }

    /// Whether these letters stand anywhere in what was sent.
    pub(crate) fn has_heard(&self, text: &str) -> bool {
        let kept = self.kept.lock().unwrap();
        kept.bodies.iter().any(|body| body.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    /// Waits until `find` finds something among the spans.
    pub(crate) async fn until<T>(&self, what: &str, find: impl Fn(&[Told]) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let spans = self.spans();
            if let Some(found) = find(&spans) {
                return found;
            }
            let names: Vec<String> = spans.iter().map(Told::line).collect();
            assert!(Instant::now() < until, "no {what} among:\n{}", names.join("\n"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Told {
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        said(&self.span.attributes, name)
    }

    /// In hex.
    pub(crate) fn trace(&self) -> String {
        hex::encode(&self.span.trace_id)
    }

    pub(crate) fn links_to(&self, trace: &str, span: &[u8]) -> bool {
        self.span.links.iter().any(|link| hex::encode(&link.trace_id) == trace && link.span_id == span)
    }

    pub(crate) fn line(&self) -> String {
        let (span, parent) = (hex::encode(&self.span.span_id), hex::encode(&self.span.parent_span_id));
        let links: Vec<_> = self.span.links.iter().map(|link| hex::encode(&link.span_id)).collect();
        format!("{} {} {span} <- {parent} {} links {links:?}", self.instance, self.trace(), self.span.name)
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers.get("content-type").map(HeaderValue::as_bytes), Some(&b"application/x-protobuf"[..]));
    let mut kept = collector.kept.lock().unwrap();
    if let Some(status) = kept.refusals.pop_front() {
        return (status, [("retry-after", "1")]).into_response();
    }
    let request = ExportTraceServiceRequest::decode(body.clone()).expect("what is sent is OTLP");
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.expect("spans have a resource").attributes;
        let of = |name| said(&resource, name).unwrap_or_default();
        let (service, instance) = (of("service.name"), of("service.instance.id"));
        let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        let told = spans.map(|span| Told { service: service.clone(), instance: instance.clone(), span });
        kept.spans.extend(told);
    }
    kept.bodies.push(body);
    kept.headers.push(headers);
    (StatusCode::OK, [("content-type", "application/x-protobuf")], Vec::new()).into_response()
}

fn said(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(truth) => Some(truth.to_string()),
        other => panic!("{name} is of another type: {other:?}"),
    }
}

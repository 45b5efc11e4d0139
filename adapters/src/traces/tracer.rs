//! Spans by the SDK of OpenTelemetry, which end in a bounded queue.

use std::time::Duration;

use lotline_domain::trace::{MAX_LINKS, Opening, Recording, SpanKind, TraceContext, Tracer, Value};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, trace};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample, Span, SpanData,
    SpanProcessor,
};
use tokio::sync::mpsc;

/// Far above what any span here has.
const MAX_ATTRIBUTES: u32 = 32;

/// A tracer whose spans end in `queue`.
pub(super) fn new(ratio: f64, resource: Resource, queue: mpsc::Sender<SpanData>) -> impl Tracer {
    let provider = SdkTracerProvider::builder()
        .with_sampler(Rule { root: Sampler::TraceIdRatioBased(ratio) })
        .with_resource(resource)
        .with_span_processor(Queue(queue))
        .with_max_attributes_per_span(MAX_ATTRIBUTES)
        .with_max_links_per_span(MAX_LINKS as u32)
        .build();
    let scope = InstrumentationScope::builder("lotline").with_version(env!("CARGO_PKG_VERSION")).build();
    OtlpTracer(provider.tracer_with_scope(scope))
}

struct OtlpTracer(SdkTracer);

impl Tracer for OtlpTracer {
    fn start(&self, opening: Opening) -> Option<Box<dyn Recording>> {
        // What a server is asked comes from elsewhere; all else goes on from a span of this program.
        let is_remote = opening.kind == SpanKind::Server;
        let context = match opening.parent {
            Some(parent) => Context::new().with_remote_span_context(span_context(parent, is_remote)),
            None => Context::new(),
        };
        let links = opening.links.into_iter().map(|link| Link::with_context(span_context(link, true))).collect();
        let builder = SpanBuilder::from_name(opening.name).with_kind(kind(opening.kind)).with_links(links);
        let span = self.0.build_with_context(builder, &context);
        span.is_recording().then(|| Box::new(SdkRecording(span)) as _)
    }
}

/// Ends, and so is queued, when dropped: that is what the SDK's span does.
struct SdkRecording(Span);

impl Recording for SdkRecording {
    fn context(&self) -> TraceContext {
        let context = self.0.span_context();
        TraceContext {
            trace_id: context.trace_id().to_bytes(),
            span_id: context.span_id().to_bytes(),
            flags: context.trace_flags().to_u8(),
        }
    }

    fn set(&mut self, name: &'static str, value: Value) {
        let value = match value {
            Value::Text(text) => opentelemetry::Value::String(text.into()),
            Value::Number(number) => number.into(),
            Value::Truth(truth) => truth.into(),
        };
        self.0.set_attribute(KeyValue::new(name, value));
    }

    fn fail(&mut self, kind: &'static str) {
        self.0.set_status(Status::error(""));
        self.0.set_attribute(KeyValue::new("error.type", kind));
    }
}

fn span_context(context: TraceContext, is_remote: bool) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id),
        SpanId::from_bytes(context.span_id),
        TraceFlags::new(context.flags),
        is_remote,
        TraceState::NONE,
    )
}

fn kind(kind: SpanKind) -> trace::SpanKind {
    match kind {
        SpanKind::Server => trace::SpanKind::Server,
        SpanKind::Client => trace::SpanKind::Client,
        SpanKind::Producer => trace::SpanKind::Producer,
        SpanKind::Consumer => trace::SpanKind::Consumer,
        SpanKind::Internal => trace::SpanKind::Internal,
    }
}

/// Whether a span is recorded: as its parent is; without one, as anything is that caused it; without that, by the ratio.
#[derive(Debug, Clone)]
struct Rule {
    root: Sampler,
}

impl ShouldSample for Rule {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &trace::SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let parent = parent.map(|parent| parent.span().span_context().clone()).filter(SpanContext::is_valid);
        let sampled = match parent {
            Some(parent) => parent.is_sampled(),
            None if links.is_empty() => {
                return self.root.should_sample(None, trace_id, name, kind, attributes, links);
            }
            None => links.iter().any(|link| link.span_context.is_sampled()),
        };
        let decision = if sampled { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop };
        SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::NONE }
    }
}

/// Takes spans that have ended, and never waits.
#[derive(Debug)]
struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            metrics::counter!("lotline_trace_spans_total", "outcome" => "queue_full").increment(1);
        }
    }

    /// What is in the queue is the exporter's.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

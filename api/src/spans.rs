//! Spans of requests and operations, in the words of OpenTelemetry's semantic conventions for HTTP and GraphQL.
//!
//! What a client may have put into a path, a query string, a document or its variables is not in them; the one text of a client's that is,
//! the name of an operation, is a GraphQL name and cut.

use async_graphql::parser::types::OperationType;
use axum::http::{Extensions, HeaderValue, Method, StatusCode};
use axum::response::Response;
use lotline_domain::trace::{Span, SpanKind, TraceContext, Traces};
use tracing::field::{Empty, display};

use crate::router::OTHER;
use crate::server::Server;
use crate::transport::caller::{Caller, TRACE, Trace};

/// With a request whose span is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestSpan(pub(crate) TraceContext);

/// Asked every few seconds by machines.
const NOT_TRACED: [&str; 3] = ["/health/live", "/health/ready", "/metrics"];
/// Longest name of an operation that is shown.
const NAME_CHARS: usize = 64;

/// The span of a request, from which the request goes on. That of a socket ends with the handshake, so nothing goes on from it.
pub(crate) fn request(traces: &Traces, method: &Method, route: &'static str, trace: &mut Trace) -> Span {
    if !traces.is_on() || NOT_TRACED.contains(&route) {
        return Span::default();
    }
    let method = known(method);
    let name = if route == OTHER { method.to_owned() } else { format!("{method} {route}") };
    let mut span = traces.begin(name, SpanKind::Server, trace.traceparent.as_deref());
    span.set("http.request.method", method);
    if route != OTHER {
        span.set("http.route", route);
    }
    if span.is_recording() {
        span.set("lotline.correlation_id", trace.correlation_id.to_string());
    }
    if !trace.is_socket {
        span.pass_on(&mut trace.traceparent);
    }
    span
}

/// What a request brings along for who answers it.
pub(crate) fn extension(span: &Span) -> Extensions {
    let mut extensions = Extensions::new();
    if let Some(context) = span.context() {
        extensions.insert(RequestSpan(context));
    }
    extensions
}

/// What log lines about a request have: also where nothing is recorded, the trace that it came with.
pub(crate) fn line(method: &Method, route: &'static str, trace: &Trace) -> tracing::Span {
    let id = &trace.correlation_id;
    let span = tracing::info_span!(
        "request", http.method = %method, http.route = route, correlation_id = %id, trace_id = Empty, span_id = Empty
    );
    if let Some(Ok(context)) = trace.traceparent.as_ref().map(|text| text.parse::<TraceContext>()) {
        span.record("trace_id", display(format_args!("{:032x}", u128::from_be_bytes(context.trace_id))));
        span.record("span_id", display(format_args!("{:016x}", u64::from_be_bytes(context.span_id))));
    }
    span
}

/// Says in the span how the request ended, and in the answer which span that was.
pub(crate) fn answer(span: &mut Span, response: &mut Response) {
    let Some(context) = span.context() else { return };
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(if status == StatusCode::SERVICE_UNAVAILABLE { "503" } else { "500" });
    }
    let context = HeaderValue::from_str(&context.to_string()).expect("invariant: hex and hyphens are visible ASCII");
    response.headers_mut().insert(TRACE, context);
}

/// The span of a GraphQL operation, from which what it does goes on.
pub(crate) fn operation(server: &Server, caller: &mut Caller, kind: OperationType, name: Option<&str>) -> Span {
    let (traces, trace) = (&server.state.traces, &mut caller.trace);
    if !traces.is_on() {
        return Span::default();
    }
    let kind = match kind {
        OperationType::Query => "query",
        OperationType::Mutation => "mutation",
        OperationType::Subscription => "subscription",
    };
    let parent = trace.traceparent.as_deref();
    let mut span = if trace.is_socket {
        traces.begin(kind, SpanKind::Server, parent)
    } else {
        traces.child(kind, SpanKind::Internal, parent)
    };
    span.set("graphql.operation.type", kind);
    if let Some(name) = name.filter(|_| span.is_recording()) {
        self::name(&mut span, name);
    }
    span.pass_on(&mut trace.traceparent);
    span
}

/// Says which operation it is.
pub(crate) fn name(span: &mut Span, name: &str) {
    span.set("graphql.operation.name", name.chars().take(NAME_CHARS).collect::<String>());
}

/// Methods are words of the client's; the conventions have one for those that nobody knows.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "_OTHER",
    }
}

//! One operation from admission to answer, the same for every transport.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{ErrorExtensionValues, PathSegment, Request, Response, ServerError};
use axum::http::StatusCode;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, once, unfold};
use lotline_domain::access::actor::Actor;
use lotline_domain::trace::Span;
use lotline_domain::trail::{AttemptKind, Suspect};
use serde::Serialize;

use super::caller::Caller;
use super::params::PROOF;
use super::problem::Problem;
use crate::auth::Door;
use crate::auth::proof::{self, Asked};
use crate::guard;
use crate::rate::Exceeded;
use crate::schema::authority::{self, Demand};
use crate::schema::live::{Begun, Told};
use crate::schema::scope::Scope;
use crate::server::Server;
use crate::spans;
use crate::trail::attempts::Attempt;

/// How often it is asked whether somebody may go on with a subscription.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// An admitted operation.
pub struct Operation {
    request: Request,
    /// What it is.
    pub kind: OperationType,
    /// As the document calls it.
    name: Option<String>,
    /// What its fields take.
    demands: Vec<Demand>,
    /// A proof that came with it, and the mutations that it may be for.
    proof: Option<(String, Vec<Asked>)>,
}

/// A response as it is written: without `data` when the request was refused before execution began.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "<[ServerError]>::is_empty")]
    errors: &'a [ServerError],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a async_graphql::Value>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    extensions: &'a std::collections::BTreeMap<String, async_graphql::Value>,
}

/// Parses a request and checks it against the limits.
///
/// # Errors
/// The answer that says what is wrong.
pub fn admit(server: &Server, mut request: Request) -> Result<Operation, Box<Response>> {
    let refuse = |error: ServerError| Box::new(Response::from_errors(vec![error]));
    guard::admit(&mut request, &server.state.limits).map_err(refuse)?;
    let name = request.operation_name.clone();
    let variables = std::mem::take(&mut request.variables);
    let document = request.parsed_query().map_err(refuse)?;
    let chosen = document.operations.iter().find(|(candidate, _)| {
        name.as_deref().is_none_or(|name| candidate.is_some_and(|candidate| candidate.as_str() == name))
    });
    // A name that no operation has is reported by the schema, whatever its kind.
    let kind = chosen.map_or(OperationType::Query, |(_, operation)| operation.node.ty);
    let called = chosen.filter(|_| server.state.traces.is_on()).and_then(|(name, _)| name.map(ToString::to_string));
    let demands =
        chosen.map(|(_, operation)| authority::demands(document, &operation.node, &variables)).unwrap_or_default();
    let asked =
        chosen.map(|(_, operation)| authority::asked(document, &operation.node, &variables)).unwrap_or_default();
    request.variables = variables;
    let proof = match request.extensions.remove(PROOF) {
        Some(async_graphql::Value::String(text)) => Some((text, asked)),
        _ => None,
    };
    Ok(Operation { request, kind, name: called, demands, proof })
}

/// Whether the caller may still be here, and have what the operation takes.
fn permit(server: &Server, caller: &Caller, demands: &[Demand]) -> Result<(), Box<Response>> {
    let Door::Guarded(guard) = &server.state.door else { return Ok(()) };
    let (actor, now) = (Actor::of(&caller.actor), server.state.clock.now());
    let problem = |problem: Problem| Box::new(error(problem.code, problem.message));
    server.state.door.recheck(caller, now).map_err(problem)?;
    let access = guard.access().map_err(problem)?;
    let mut missing = demands.iter().filter_map(|demand| demand.check(&access, actor, now).err());
    missing.next().map_or(Ok(()), |message| Err(Box::new(error("FORBIDDEN", message))))
}

/// [`permit`] for an operation that begins: what it lacks is counted for the audit trail.
fn begin(server: &Server, caller: &Caller, demands: &[Demand]) -> Result<(), Box<Response>> {
    let verdict = permit(server, caller, demands);
    if let (Err(refusal), Door::Guarded(guard)) = (&verdict, &server.state.door)
        && has_code(refusal, "FORBIDDEN")
    {
        let (actor, now) = (Actor::of(&caller.actor), server.state.clock.now());
        let access = guard.access().ok();
        let lacks = |demand: &&Demand| access.as_ref().is_some_and(|access| demand.check(access, actor, now).is_err());
        let field = demands.iter().find(lacks).and_then(Demand::listed);
        let by = Suspect::of(&caller.actor);
        let kind = if matches!(by, Suspect::Key(_)) { AttemptKind::OutsideScope } else { AttemptKind::NotAllowed };
        guard.trail.refused(Attempt { by, kind, field }, &caller.trace);
    }
    verdict
}

/// Runs a query or mutation within the time limit.
pub async fn run(server: &Arc<Server>, operation: Operation, mut caller: Caller) -> Response {
    let mut span = spans::operation(server, &mut caller, operation.kind, operation.name.as_deref());
    let response = perform(server, operation, caller).await;
    if span.is_recording()
        && let Some(code) = response.errors.first().and_then(first_code)
    {
        span.fail(if code == "TIMEOUT" { "timeout" } else { "graphql" });
        span.set("lotline.error.code", code);
    }
    response
}

async fn perform(server: &Arc<Server>, operation: Operation, caller: Caller) -> Response {
    if let Err(refusal) = begin(server, &caller, &operation.demands) {
        return *refusal;
    }
    if let Some((text, asked)) = &operation.proof
        && let Err(problem) = proof::redeem(&server.state.door, &caller, text, asked).await
    {
        // The answer is not the problem's own, so the frame has nothing to count.
        if let (Door::Guarded(guard), Some(attempt)) = (&server.state.door, &problem.attempt) {
            guard.trail.refused(**attempt, &caller.trace);
        }
        return error(problem.code, problem.message);
    }
    let limit = server.state.limits.request_timeout();
    let request = operation.request.data(Scope::new(Arc::clone(server), caller));
    match tokio::time::timeout(limit, server.schema.execute(request)).await {
        Ok(response) => coded(response),
        Err(_) => timed_out(limit),
    }
}

/// Runs any operation; a query or mutation gives one response. A subscription fires `begun` once it knows where it starts.
pub fn stream(
    server: &Arc<Server>,
    operation: Operation,
    mut caller: Caller,
    begun: Begun,
) -> BoxStream<'static, Response> {
    if operation.kind == OperationType::Subscription {
        let span = spans::operation(server, &mut caller, operation.kind, operation.name.as_deref());
        if let Err(refusal) = begin(server, &caller, &operation.demands) {
            return once(async { *refusal }).boxed();
        }
        let told = Told::new(&caller, operation.name);
        begun.during(span);
        let scope = Scope::new(Arc::clone(server), caller.clone());
        let request = operation.request.data(scope).data(begun).data(told.clone());
        let results = server.schema.execute_stream(request).map(coded).boxed();
        let results = permitted(Arc::clone(server), caller, operation.demands, results);
        return if server.state.traces.is_on() { delivered(Arc::clone(server), told, results) } else { results };
    }
    let server = Arc::clone(server);
    once(async move { run(&server, operation, caller).await }).boxed()
}

/// The same results, each with a span if what it tells of is traced, from the result until the transport has taken it.
fn delivered(server: Arc<Server>, told: Told, results: BoxStream<'static, Response>) -> BoxStream<'static, Response> {
    let stream = unfold((results, Span::default()), move |(mut results, last)| {
        let (server, told) = (Arc::clone(&server), told.clone());
        async move {
            drop(last);
            let result = results.next().await?;
            Some((result, (results, told.span(&server.state.traces))))
        }
    });
    stream.boxed()
}

/// The same results for as long as the caller may have them, which is asked before each and once a second; then one error, and the end.
fn permitted(
    server: Arc<Server>,
    caller: Caller,
    demands: Vec<Demand>,
    results: BoxStream<'static, Response>,
) -> BoxStream<'static, Response> {
    let stream = unfold(Some((server, caller, demands, results)), |state| async move {
        let (server, caller, demands, mut results) = state?;
        loop {
            let result = tokio::select! {
                result = results.next() => Some(result?),
                () = tokio::time::sleep(ASK_EVERY) => None,
            };
            if let Err(refusal) = permit(&server, &caller, &demands) {
                return Some((*refusal, None));
            }
            if let Some(result) = result {
                return Some((result, Some((server, caller, demands, results))));
            }
        }
    });
    stream.boxed()
}

/// Whether nothing was executed: no error has a path into the data.
pub fn is_request_error(response: &Response) -> bool {
    let at_a_field = |error: &ServerError| error.path.iter().any(|part| matches!(part, PathSegment::Field(_)));
    !response.errors.is_empty()
        && response.data == async_graphql::Value::Null
        && !response.errors.iter().any(at_a_field)
}

/// The status under `application/graphql-response+json`.
pub fn status(response: &Response) -> StatusCode {
    if has_code(response, "TIMEOUT") {
        StatusCode::SERVICE_UNAVAILABLE
    } else if is_request_error(response) && (has_code(response, "FORBIDDEN") || has_code(response, "PROOF_REFUSED")) {
        StatusCode::FORBIDDEN
    } else if is_request_error(response) {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    }
}

/// The response as JSON.
pub fn write(response: &Response) -> Vec<u8> {
    let data = (!is_request_error(response)).then_some(&response.data);
    let written = Written { errors: &response.errors, data, extensions: &response.extensions };
    serde_json::to_vec(&written).expect("invariant: a response has string keys and finite numbers")
}

/// A request error with a code.
pub fn error(code: &'static str, message: impl Into<String>) -> Response {
    refusal(code, message, ErrorExtensionValues::default())
}

/// Too many requests. There is no header on a socket: the seconds stand in the error.
pub fn limited(exceeded: &Exceeded) -> Response {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("retryAfter", exceeded.retry_after.as_secs());
    refusal("RATE_LIMITED", exceeded.message(), extensions)
}

fn refusal(code: &'static str, message: impl Into<String>, mut extensions: ErrorExtensionValues) -> Response {
    extensions.set("code", code);
    let mut error = ServerError::new(message, None);
    error.extensions = Some(extensions);
    Response::from_errors(vec![error])
}

/// Gives errors a code that have none. Resolvers give theirs; what is left is what the library says about the request itself, such as a value
/// that a scalar does not take, or an operation name that the document does not have.
fn coded(mut response: Response) -> Response {
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            // Only an error of this program's own has a source.
            extensions.set("code", if error.source.is_some() { "INTERNAL" } else { "BAD_USER_INPUT" });
        }
    }
    response
}

fn timed_out(limit: Duration) -> Response {
    let message = format!(
        "the operation took longer than {} ms; a mutation may still be decided: send it again with the same idempotencyKey",
        limit.as_millis()
    );
    error("TIMEOUT", message)
}

fn first_code(error: &ServerError) -> Option<String> {
    match error.extensions.as_ref()?.get("code")? {
        async_graphql::Value::String(code) => Some(code.clone()),
        _ => None,
    }
}

fn has_code(response: &Response, code: &str) -> bool {
    response.errors.iter().any(|error| {
        let given = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
        matches!(given, Some(async_graphql::Value::String(given)) if given == code)
    })
}

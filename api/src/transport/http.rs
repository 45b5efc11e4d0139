//! GraphQL over HTTP: POST with JSON, GET for queries, and the hand-over to WebSocket and event streams.

use std::sync::Arc;

use async_graphql::Request;
use async_graphql::parser::types::OperationType;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, State, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::accept::{Answer, json_content_type};
use super::caller::Trace;
use super::execute::{self, Operation};
use super::problem::Problem;
use super::{params, sse, websocket};
use crate::auth::door::Intent;
use crate::serve::GRACE;
use crate::server::Server;

/// `/graphql`, every method.
pub async fn graphql(State(server): State<Arc<Server>>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    dispatch(&server, parts, body).await.unwrap_or_else(IntoResponse::into_response)
}

async fn dispatch(server: &Arc<Server>, mut parts: Parts, body: Body) -> Result<Response, Problem> {
    let (door, now) = (&server.state.door, server.state.clock.now());
    let trace = Trace::of(&parts.extensions).clone();
    if trace.is_socket {
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
            .await
            .map_err(|rejection| Problem::new(rejection.status(), "INVALID_UPGRADE", rejection.body_text()))?;
        // A browser can't set headers on a socket: whoever brings nothing introduces themselves on it.
        let caller = door.identify(&parts.headers, Intent::Socket, &trace, now).await?;
        return websocket::accept(server, upgrade, caller, trace);
    }
    if parts.method != Method::GET && parts.method != Method::POST {
        return Err(Problem::method(format!("{} is not accepted; use POST or GET", parts.method), "GET, POST"));
    }
    let caller = door.require(&parts.headers, Intent::of(&parts.method), &trace, now).await?;
    server.count(&caller, &parts.extensions)?;
    let answer = Answer::negotiate(&parts.headers)?;
    let request = read(server, &parts, body).await?;
    let operation = match execute::admit(server, request) {
        Ok(operation) => operation,
        Err(refusal) if answer == Answer::EventStream => return Ok(sse::refusal(server, *refusal)),
        Err(refusal) => return Ok(written(answer, &refusal)),
    };
    check_method(&parts.method, &operation)?;
    if answer == Answer::EventStream {
        return sse::respond(server, operation, caller).await;
    }
    if operation.kind == OperationType::Subscription {
        let message = "subscriptions need a WebSocket (graphql-transport-ws) or Accept: text/event-stream";
        return Ok(written(answer, &execute::error("SUBSCRIPTION_NEEDS_STREAM", message)));
    }
    Ok(written(answer, &execute::run(server, operation, caller).await))
}

async fn read(server: &Server, parts: &Parts, body: Body) -> Result<Request, Problem> {
    if parts.method == Method::GET {
        return params::from_uri(&parts.uri);
    }
    json_content_type(&parts.headers)?;
    params::from_body(&collect(server, parts, body, server.state.limits.body_bytes).await?)
}

/// Reads a body of `most` bytes, within its time, and not much longer than the server goes on. A declared length beyond that is refused unread.
pub(crate) async fn collect(server: &Server, parts: &Parts, body: Body, most: usize) -> Result<Bytes, Problem> {
    let limits = &server.state.limits;
    let too_large = || {
        let message = format!("the body is larger than {most} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)
    };
    let declared = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if declared.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let reading = axum::body::to_bytes(body, most);
    let stopping = async {
        server.state.shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let read = tokio::select! {
        read = tokio::time::timeout(limits.body_timeout(), reading) => read,
        () = stopping => {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "STOPPING", "the server is stopping"));
        }
    };
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::bad_request("BROKEN_BODY", "the body ended before it was complete")),
        Err(_) => {
            let message = format!("the body did not arrive within {} ms", limits.body_timeout_ms);
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT", message))
        }
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if cause.to_string().contains("length limit exceeded") {
            return true;
        }
        source = cause.source();
    }
    false
}

/// GET is for reading: a link or an image tag must not change anything.
fn check_method(method: &Method, operation: &Operation) -> Result<(), Problem> {
    if *method == Method::GET && operation.kind == OperationType::Mutation {
        return Err(Problem::method("mutations are not accepted over GET; use POST", "POST"));
    }
    Ok(())
}

fn written(answer: Answer, response: &async_graphql::Response) -> Response {
    let status = execute::status(response);
    let status = match answer {
        Answer::Json if status.is_client_error() => StatusCode::OK,
        Answer::Json | Answer::GraphqlResponse | Answer::EventStream => status,
    };
    (status, [(header::CONTENT_TYPE, answer.content_type())], execute::write(response)).into_response()
}

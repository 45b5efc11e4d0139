//! GraphQL over server-sent events, "distinct connections" mode of graphql-sse: one operation a request, `next` for each result,
//! `complete` at the end.
//!
//! A subscriber that reads slowly holds up only itself: the next result is read from the tables when the last one has been taken.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Response as Outcome;
use axum::http::header;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};

use super::caller::Caller;
use super::execute::{self, Operation};
use super::problem::Problem;
use crate::server::Server;

/// Streams the results of an operation.
///
/// # Errors
/// 503 when too many connections are open.
pub fn respond(server: &Arc<Server>, operation: Operation, caller: Caller) -> Result<Response, Problem> {
    let connection = server.connect()?;
    let stopping = server.state.shutdown.clone().cancelled_owned();
    let results = execute::stream(server, operation, caller).take_until(stopping);
    let events = results.map(|outcome| next(&outcome)).chain(stream::iter([complete()])).map(move |event| {
        // The connection is counted until the stream is dropped.
        let _ = &connection;
        event
    });
    Ok(sse(events, server.state.limits.ping_interval()))
}

/// Streams the one answer of an operation that was refused.
pub fn refusal(server: &Server, outcome: &Outcome) -> Response {
    sse(stream::iter([next(outcome), complete()]), server.state.limits.ping_interval())
}

fn sse(events: impl Stream<Item = Event> + Send + 'static, interval: Duration) -> Response {
    let body = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(interval));
    ([(header::CACHE_CONTROL, "no-cache"), (header::HeaderName::from_static("x-accel-buffering"), "no")], body)
        .into_response()
}

fn next(outcome: &Outcome) -> Event {
    let text = String::from_utf8(execute::write(outcome)).expect("invariant: JSON is UTF-8");
    Event::default().event("next").data(text)
}

fn complete() -> Event {
    Event::default().event("complete").data("")
}

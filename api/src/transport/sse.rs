//! GraphQL over server-sent events, "distinct connections" mode of graphql-sse: one operation a request, `next` for each result,
//! `complete` at the end.
//!
//! ```text
//! event: next            event: complete            :            a comment, so that proxies keep the connection
//! data: {"data":…}       data:
//! ```
//! `complete` has an empty data line, without which a browser's EventSource drops the event; axum's own writer leaves it out.
//!
//! A subscriber that reads slowly holds up only itself: the next result is read from the tables when the last one has been taken.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Response as Outcome;
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use tokio::time::{Instant, Interval, interval_at};
use tracing::Span;

use super::accept::Answer;
use super::caller::Caller;
use super::execute::{self, Operation};
use super::problem::Problem;
use crate::schema::live::Begun;
use crate::server::{Connection, Seat, Server};

struct Events {
    outcomes: BoxStream<'static, Outcome>,
    ping: Interval,
    ended: bool,
    /// Counted until the client has gone.
    _connection: Option<(Connection, Seat)>,
}

/// Streams the results of an operation. The head of the answer says that a subscription has begun: what happens after it will be told.
///
/// # Errors
/// 503 when too many connections are open, 429 when the caller has too many.
pub async fn respond(server: &Arc<Server>, operation: Operation, caller: Caller) -> Result<Response, Problem> {
    let connection = (server.connect()?, server.seat(&caller.actor)?);
    let stopping = server.state.shutdown.clone().cancelled_owned();
    let begun = Begun::default();
    // The connection asks for what comes later, outside of the request's span.
    let (span, mut results) = (Span::current(), execute::stream(server, operation, caller, begun.clone()));
    let results = stream::poll_fn(move |context| span.in_scope(|| results.poll_next_unpin(context)));
    let mut outcomes = results.take_until(stopping).boxed();
    let outcomes = tokio::select! {
        () = begun.wait() => outcomes,
        // A query, or a subscription that could not begin.
        first = outcomes.next() => stream::iter(first).chain(outcomes).boxed(),
    };
    Ok(written(events(outcomes, server.state.limits.ping_interval(), Some(connection))))
}

/// Streams the one answer of an operation that was refused.
pub fn refusal(server: &Server, outcome: Outcome) -> Response {
    written(events(stream::iter([outcome]).boxed(), server.state.limits.ping_interval(), None))
}

fn events(
    outcomes: BoxStream<'static, Outcome>,
    period: Duration,
    connection: Option<(Connection, Seat)>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let ping = interval_at(Instant::now() + period, period);
    let events = Events { outcomes, ping, ended: false, _connection: connection };
    stream::unfold(events, |mut events| async move {
        if events.ended {
            return None;
        }
        let chunk = tokio::select! {
            outcome = events.outcomes.next() => {
                events.ended = outcome.is_none();
                outcome.as_ref().map_or_else(|| Bytes::from_static(b"event: complete\ndata:\n\n"), next)
            }
            _ = events.ping.tick() => Bytes::from_static(b":\n\n"),
        };
        Some((Ok(chunk), events))
    })
}

fn written(events: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let headers = [
        (CONTENT_TYPE, Answer::EventStream.content_type()),
        (CACHE_CONTROL, "no-cache"),
        // Tells nginx not to collect the stream.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// JSON on one line, as serde writes it: no line feed can end the field early.
fn next(outcome: &Outcome) -> Bytes {
    let json = execute::write(outcome);
    let mut chunk = Vec::with_capacity(json.len() + 24);
    chunk.extend_from_slice(b"event: next\ndata: ");
    chunk.extend_from_slice(&json);
    chunk.extend_from_slice(b"\n\n");
    chunk.into()
}

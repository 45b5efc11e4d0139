//! One socket: the protocol, its running operations, pings, and an orderly end.
//!
//! All operations of a socket are polled by the task that owns it and write in turn, so a client that reads slowly holds up its own
//! operations and nobody else's; one that does not take a message in time is dropped.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use async_graphql::Response;
use async_graphql::parser::types::OperationType;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use axum::http::StatusCode;
use futures_util::stream::{self, AbortHandle, BoxStream, SelectAll, StreamExt, abortable};
use lotline_domain::trail::AttemptKind;
use serde_json::{Map, Value};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Visitor;
use super::protocol::{Action, Close, Protocol};
use crate::auth::{Door, Mode};
use crate::rate::Meter;
use crate::schema::live::Begun;
use crate::server::{Connection, Newcomer, Seat, Server};
use crate::trail::attempts::Attempt;
use crate::transport::caller::{ACTOR, Caller, parse_actor};
use crate::transport::problem::Problem;
use crate::transport::{execute, params};

/// How often it is looked whether who came in may stay.
const RECHECK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// What an operation gave.
enum Outcome {
    /// The first result; `true` for a subscription.
    First(Response, bool),
    Later(Response),
    End,
}

type Outcomes = BoxStream<'static, (String, Outcome)>;

struct Session {
    server: Arc<Server>,
    socket: WebSocket,
    visitor: Visitor,
    protocol: Protocol,
    running: SelectAll<Outcomes>,
    stops: HashMap<String, AbortHandle>,
    /// Whether anything came since the last ping.
    heard: bool,
    /// The place of one who has not introduced themselves.
    newcomer: Option<Newcomer>,
    /// The place among all, and among the sockets of the actor, from then on.
    place: Option<(Connection, Seat)>,
}

/// Serves a socket to its end. `spoken`: whether the client offered the subprotocol.
pub(super) async fn run(
    server: Arc<Server>,
    socket: WebSocket,
    (visitor, newcomer): (Visitor, Newcomer),
    spoken: bool,
) {
    let protocol = Protocol::new(server.state.limits.operations_per_socket);
    let (running, stops) = (SelectAll::new(), HashMap::new());
    let (newcomer, place) = (Some(newcomer), None);
    let mut session = Session { server, socket, visitor, protocol, running, stops, heard: true, newcomer, place };
    if !spoken {
        return session.close(Close::new(4406, "Subprotocol not acceptable")).await;
    }
    if let ControlFlow::Break(Some(close)) = session.serve().await {
        session.close(close).await;
    }
}

/// Go on, or end: with a close frame, or without when the socket is of no use any more.
type Step = ControlFlow<Option<Close>>;

impl Session {
    async fn serve(&mut self) -> Step {
        let limits = &self.server.state.limits;
        let init_deadline = Instant::now() + limits.connection_init_timeout();
        let mut ping = interval(limits.ping_interval());
        let mut look = interval(RECHECK_EVERY);
        let shutdown = self.server.state.shutdown.clone();
        let turned_out = self.newcomer.as_ref().map(|newcomer| newcomer.waiting.turned_out()).unwrap_or_default();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Step::Break(Some(Close::new(1001, "The server is stopping"))),
                () = tokio::time::sleep_until(init_deadline), if !self.protocol.is_introduced() => {
                    return Step::Break(Some(Protocol::late()));
                }
                () = turned_out.cancelled(), if self.newcomer.is_some() => {
                    return Step::Break(Some(Close::new(1013, "Too many sockets wait to say whose they are; try again later")));
                }
                _ = ping.tick() => self.ping().await?,
                _ = look.tick() => self.stay()?,
                message = self.socket.recv() => match message {
                    Some(Ok(message)) => self.receive(message).await?,
                    // The error's type belongs to a crate behind axum; its text is what can be told apart from here.
                    Some(Err(error)) if error.to_string().contains("too long") => {
                        return Step::Break(Some(Close::new(1009, "The message is too long")));
                    }
                    Some(Err(_)) | None => return Step::Break(None),
                },
                Some((id, outcome)) = self.running.next(), if !self.running.is_empty() => self.report(&id, outcome).await?,
            }
        }
    }

    async fn ping(&mut self) -> Step {
        if !std::mem::replace(&mut self.heard, false) {
            return Step::Break(Some(Close::new(1001, "No answer to ping")));
        }
        self.send(Message::Ping(axum::body::Bytes::new())).await
    }

    async fn receive(&mut self, message: Message) -> Step {
        self.heard = true;
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Step::Break(Some(Close::new(4400, "Invalid message: binary"))),
            Message::Ping(_) | Message::Pong(_) => return Step::Continue(()),
            Message::Close(_) => return Step::Break(None),
        };
        match self.protocol.receive(text.as_str()) {
            Action::Ignore => Step::Continue(()),
            Action::Send(text) => self.send(Message::text(text)).await,
            Action::Introduce(payload) => self.introduce(&payload).await,
            Action::Start { id, payload } => self.start(id, payload).await,
            Action::Stop(id) => {
                if let Some(stop) = self.stops.remove(&id) {
                    stop.abort();
                }
                Step::Continue(())
            }
            Action::Close(close) => Step::Break(Some(close)),
        }
    }

    /// Browsers can't set headers on a socket, so the payload may hold what would stand in `authorization`, and in development mode the
    /// actor under its header's name.
    async fn introduce(&mut self, payload: &Map<String, Value>) -> Step {
        let door = self.server.state.door.clone();
        let text = |name: &str| payload.get(name).map(|value| value.as_str().unwrap_or_default());
        let introduced = match (door.mode(), text("authorization"), text(ACTOR.as_str())) {
            (Mode::Development, _, Some(actor)) => parse_actor(actor).map(|actor| {
                let caller = self.visitor.caller.take();
                caller.map(|caller| Caller { actor, ..caller })
            }),
            (Mode::Enforced, Some(authorization), _) => {
                let now = self.server.state.clock.now();
                door.introduce(authorization, &self.visitor.trace, now).await.map(Some)
            }
            (Mode::Development | Mode::Enforced, _, _) => Ok(self.visitor.caller.take()),
        };
        // No answer passes the frame here, so what is refused is counted here.
        if let Door::Guarded(guard) = &door {
            let refused = introduced.as_ref().map_or_else(
                |problem| problem.attempt.as_deref().copied(),
                |caller| caller.is_none().then_some(Attempt::unknown(AttemptKind::Anonymous)),
            );
            if let Some(attempt) = refused {
                guard.trail.refused(attempt, &self.visitor.trace);
            }
        }
        match introduced {
            Ok(Some(caller)) => self.visitor.caller = Some(caller),
            Ok(None) => return Step::Break(Some(Close::new(4401, "Unauthorized"))),
            Err(problem) if problem.status == StatusCode::UNAUTHORIZED => {
                return Step::Break(Some(Close::new(4401, format!("Unauthorized: {}", problem.message))));
            }
            Err(problem) => return Step::Break(Some(refusal(&problem))),
        }
        if let Some(caller) = &self.visitor.caller {
            let seated = self.server.seat(&caller.actor);
            match seated.and_then(|seat| Ok((self.server.connect()?, seat))) {
                Ok(place) => self.place = Some(place),
                Err(problem) => return Step::Break(Some(refusal(&problem))),
            }
            self.newcomer = None;
        }
        let acknowledgement = self.protocol.acknowledge();
        self.send(Message::text(acknowledgement)).await
    }

    /// Whether who came in may stay.
    fn stay(&self) -> Step {
        let Some(caller) = &self.visitor.caller else { return Step::Continue(()) };
        match self.server.state.door.recheck(caller, self.server.state.clock.now()) {
            Ok(()) => Step::Continue(()),
            Err(problem) => Step::Break(Some(Close::new(4401, format!("Unauthorized: {}", problem.message)))),
        }
    }

    async fn start(&mut self, id: String, payload: Value) -> Step {
        self.stay()?;
        let Some(caller) = self.visitor.caller.clone() else {
            return Step::Break(Some(Close::new(4401, "Unauthorized")));
        };
        if let Err(exceeded) = self.server.rates.take(&caller.actor, &Meter::default()) {
            return self.refuse(&id, &execute::limited(&exceeded)).await;
        }
        let request = match params::from_value(payload) {
            Ok(request) => request,
            Err(problem) => return self.refuse(&id, &execute::error(problem.code, problem.message)).await,
        };
        let operation = match execute::admit(&self.server, request) {
            Ok(operation) => operation,
            Err(refusal) => return self.refuse(&id, &refusal).await,
        };
        let subscription = operation.kind == OperationType::Subscription;
        let mut first = true;
        let results = execute::stream(&self.server, operation, caller, Begun::default()).map(move |response| {
            if std::mem::take(&mut first) { Outcome::First(response, subscription) } else { Outcome::Later(response) }
        });
        let (results, stop) = abortable(results.chain(stream::iter([Outcome::End])));
        self.stops.insert(id.clone(), stop);
        self.running.push(results.map(move |outcome| (id.clone(), outcome)).boxed());
        Step::Continue(())
    }

    async fn report(&mut self, id: &str, outcome: Outcome) -> Step {
        self.stay()?;
        match outcome {
            Outcome::First(response, subscription) => {
                // A subscription that could not begin is a request error too, though its error has a path.
                let failed = response.is_err() && response.data == async_graphql::Value::Null;
                if execute::is_request_error(&response) || (failed && subscription) {
                    return self.refuse(id, &response).await;
                }
                self.send(Message::text(Protocol::next(id, &execute::write(&response)))).await
            }
            Outcome::Later(response) => self.send(Message::text(Protocol::next(id, &execute::write(&response)))).await,
            Outcome::End => {
                self.stops.remove(id);
                let message = self.protocol.complete(id);
                self.send(Message::text(message)).await
            }
        }
    }

    /// Ends an operation with an `error` message.
    async fn refuse(&mut self, id: &str, response: &Response) -> Step {
        if let Some(stop) = self.stops.remove(id) {
            stop.abort();
        }
        let errors = serde_json::to_value(&response.errors).expect("invariant: errors are JSON");
        let message = self.protocol.error(id, &errors);
        self.send(Message::text(message)).await
    }

    async fn send(&mut self, message: Message) -> Step {
        let limit = self.server.state.limits.send_timeout();
        match tokio::time::timeout(limit, self.socket.send(message)).await {
            Ok(Ok(())) => Step::Continue(()),
            Ok(Err(_)) | Err(_) => Step::Break(None),
        }
    }

    /// Sends a close frame and waits a moment for the client's, so that the frame is not lost with the connection.
    async fn close(&mut self, close: Close) {
        self.running.clear();
        let frame = CloseFrame { code: close.code, reason: close.reason.into() };
        if self.send(Message::Close(Some(frame))).await.is_break() {
            return;
        }
        let limit = self.server.state.limits.connection_init_timeout();
        let drained = tokio::time::timeout(limit, async { while let Some(Ok(_)) = self.socket.recv().await {} });
        // Either the client has closed or it is not going to.
        drained.await.ok();
    }
}

/// Why somebody who may be known does not come in.
fn refusal(problem: &Problem) -> Close {
    if problem.status == StatusCode::SERVICE_UNAVAILABLE {
        // Registered for WebSockets: try again later.
        return Close::new(1013, format!("Unavailable: {}", problem.message));
    }
    Close::new(4403, format!("Forbidden: {}", problem.message))
}

fn interval(period: std::time::Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

//! What is traced of a group commit: one transaction of the log for many commands.
//!
//! ```text
//! trace of a request       … ─ command ─┬─ decide
//!                                       └─ append ──links to──┐
//! a trace of its own                                        send <topic>  ──links to──▶ each command (at most MAX_LINKS)
//! ```
//! So each request's trace is whole by itself, and what a command shared its transaction with is one step away.

use lotline_domain::port::AppendError;
use lotline_domain::trace::{Span, SpanKind, TraceContext};

use crate::bus::Ports;

/// The spans of one append; empty unless one of its commands is traced.
#[derive(Default)]
pub(super) struct AppendSpans {
    send: Span,
    appends: Vec<Span>,
}

impl AppendSpans {
    /// `parents` are the commands' contexts.
    pub(super) fn begin<'a>(
        ports: &Ports,
        partition: u32,
        parents: impl Iterator<Item = Option<&'a str>>,
        records: usize,
    ) -> Self {
        let traces = &ports.traces;
        if !traces.is_on() {
            return Self::default();
        }
        let commands: Vec<TraceContext> = parents.filter_map(TraceContext::sampled).collect();
        if commands.is_empty() {
            return Self::default();
        }
        let topic = ports.log.topic();
        let mut send = traces.linked(format!("send {topic}"), SpanKind::Producer, None, commands.clone());
        traces.about_log(&mut send, topic, partition, records);
        send.set("messaging.operation.name", "commit");
        send.set("messaging.operation.type", "send");
        let transaction: Vec<TraceContext> = send.context().into_iter().collect();
        let append = |command| traces.linked("append", SpanKind::Internal, Some(command), transaction.clone());
        Self { appends: commands.into_iter().map(append).collect(), send }
    }

    /// Ends them, now that the log has answered.
    pub(super) fn end(&mut self, error: Option<&AppendError>) {
        let kind = match error {
            None => None,
            Some(AppendError::Fenced) => Some("fenced"),
            Some(AppendError::TooLarge { .. }) => Some("too_large"),
            Some(AppendError::Unknown(_)) => Some("unknown_outcome"),
        };
        for mut span in self.appends.drain(..).chain([std::mem::take(&mut self.send)]) {
            if let Some(kind) = kind {
                span.fail(kind);
            }
        }
    }
}

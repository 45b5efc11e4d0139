//! Spans: what one request caused, from its arrival to what subscribers were told of it.
//!
//! A context travels as text in the W3C form (`traceparent`): in HTTP headers, in [`crate::command::CommandRequest`], in the header of each
//! event. So a span needs no task-local state to find its parent, be it in another task, another node, or a year later in the log.
//!
//! Spans go to a [`Tracer`]. Without one, which is the default, [`Traces`] costs a look at an `Option`; with one, whoever has no sampled
//! context to go on from costs no more than that and a look at the flag.
//!
//! Invariant: names and attributes come from code, from ids and from counts. No text that a person wrote goes into a span.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Most links of one span. What is left out is said by a count.
pub const MAX_LINKS: usize = 64;

/// W3C Trace Context, level 1: which span of which trace caused something, and whether that trace is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Not zero.
    pub trace_id: [u8; 16],
    /// Not zero.
    pub span_id: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent")]
pub struct InvalidTraceContext;

impl TraceContext {
    /// The context that a text says, if it says one that is sampled. Cheap for texts that are not.
    pub fn sampled(text: Option<&str>) -> Option<Self> {
        let context: Self = text?.parse().ok()?;
        context.is_sampled().then_some(context)
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceContext;

    /// Section 3.2.2: `version-traceid-parentid-flags` in lower-case hex.
    fn from_str(text: &str) -> Result<Self, InvalidTraceContext> {
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or(InvalidTraceContext);
        let [version] = bytes::<1>(part()?)?;
        let context =
            Self { trace_id: bytes(part()?)?, span_id: bytes(part()?)?, flags: u8::from_be_bytes(bytes(part()?)?) };
        let valid = version != 0xff && context.trace_id != [0; 16] && context.span_id != [0; 8];
        if valid && parts.next().is_none() { Ok(context) } else { Err(InvalidTraceContext) }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.span_id));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", self.flags)
    }
}

fn bytes<const N: usize>(hex: &str) -> Result<[u8; N], InvalidTraceContext> {
    let digits = hex.as_bytes();
    if digits.len() != 2 * N {
        return Err(InvalidTraceContext);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Ok(bytes)
}

fn digit(ascii: u8) -> Result<u8, InvalidTraceContext> {
    match ascii {
        b'0'..=b'9' => Ok(ascii - b'0'),
        b'a'..=b'f' => Ok(ascii - b'a' + 10),
        _ => Err(InvalidTraceContext),
    }
}

/// What a span is to the one before it, as OpenTelemetry tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Answers somebody outside of the process.
    Server,
    /// Asks somebody outside, and waits.
    Client,
    /// Hands something on, and does not wait for whoever takes it.
    Producer,
    /// Takes what was handed on.
    Consumer,
    /// A step of its own.
    Internal,
}

/// A span that begins now.
#[derive(Debug, Clone)]
pub struct Opening {
    /// From few: it is what people group by.
    pub name: Cow<'static, str>,
    /// What it is to its parent.
    pub kind: SpanKind,
    /// In whose trace it is; without one it begins a trace.
    pub parent: Option<TraceContext>,
    /// What else caused it.
    pub links: Vec<TraceContext>,
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A name or an id.
    Text(Cow<'static, str>),
    /// A count.
    Number(i64),
    /// Whether.
    Truth(bool),
}

/// Where spans go.
pub trait Tracer: Send + Sync + 'static {
    /// Begins a span. Nothing when it is not to be recorded, which is the parent's choice, or that of the links, or, where there are neither, the tracer's.
    fn start(&self, opening: Opening) -> Option<Box<dyn Recording>>;
}

/// A span that is being recorded, until dropped.
pub trait Recording: Send {
    /// What goes on from it.
    fn context(&self) -> TraceContext;
    /// Adds an attribute.
    fn set(&mut self, name: &'static str, value: Value);
    /// Marks it as failed; `kind` is one of few.
    fn fail(&mut self, kind: &'static str);
}

/// The way to the tracer, if there is one. Cheap to clone.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Shared>>);

struct Shared {
    tracer: Box<dyn Tracer>,
    log: &'static str,
}

/// A span, or nothing where none is recorded. Ends when dropped.
#[derive(Default)]
#[must_use]
pub struct Span(Option<Box<dyn Recording>>);

impl Traces {
    /// To a tracer. `log` is what the event log is called in `messaging.system`.
    pub fn new(tracer: impl Tracer, log: &'static str) -> Self {
        Self(Some(Arc::new(Shared { tracer: Box::new(tracer), log })))
    }

    /// Whether there is a tracer.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A span in the trace of `parent` if that is recorded; in a trace of its own, if the tracer wants it, only when there is no parent at all.
    pub fn begin(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind, parent: Option<&str>) -> Span {
        let Some(parent) = parent else { return self.start(name, kind, None, Vec::new()) };
        self.child(name, kind, Some(parent))
    }

    /// A span in the trace of `parent`, if there is one and it is recorded.
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind, parent: Option<&str>) -> Span {
        if self.0.is_none() {
            return Span::default();
        }
        match TraceContext::sampled(parent) {
            Some(parent) => self.start(name, kind, Some(parent), Vec::new()),
            None => Span::default(),
        }
    }

    /// A span in the trace of `parent`, or in one of its own, that others caused too. Without any of them there is none.
    pub fn linked(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: Option<TraceContext>,
        mut links: Vec<TraceContext>,
    ) -> Span {
        if links.is_empty() {
            return Span::default();
        }
        let count = links.len();
        links.truncate(MAX_LINKS);
        let mut span = self.start(name, kind, parent, links);
        if count > MAX_LINKS {
            span.set("lotline.links.dropped", count - MAX_LINKS);
        }
        span
    }

    /// Says of a span that it is about a partition of the log, in the words of the conventions for messaging.
    pub fn about_log(&self, span: &mut Span, topic: &str, partition: u32, messages: usize) {
        let Some(shared) = self.0.as_ref().filter(|_| span.is_recording()) else { return };
        span.set("messaging.system", shared.log);
        span.set("messaging.destination.name", topic.to_owned());
        span.set("messaging.destination.partition.id", partition.to_string());
        span.set("messaging.batch.message_count", messages);
    }

    fn start(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: Option<TraceContext>,
        links: Vec<TraceContext>,
    ) -> Span {
        let Some(shared) = &self.0 else { return Span::default() };
        Span(shared.tracer.start(Opening { name: name.into(), kind, parent, links }))
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Traces(on)" } else { "Traces(off)" })
    }
}

impl Span {
    /// Whether anything is recorded.
    pub fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// What goes on from it.
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|recording| recording.context())
    }

    /// Makes whatever has this `traceparent` go on from this span. Where nothing is recorded it stays as it is.
    pub fn pass_on(&self, traceparent: &mut Option<String>) {
        if let Some(context) = self.context() {
            *traceparent = Some(context.to_string());
        }
    }

    /// Adds an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(recording) = &mut self.0 {
            recording.set(name, value.into());
        }
    }

    /// Marks it as failed; `kind` is one of few.
    pub fn fail(&mut self, kind: &'static str) {
        if let Some(recording) = &mut self.0 {
            recording.fail(kind);
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.context()).finish()
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Number(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    /// Records everything that it may choose, and what its spans were opened with.
    struct Eager;

    struct Recorded(TraceContext);

    impl Tracer for Eager {
        fn start(&self, opening: Opening) -> Option<Box<dyn Recording>> {
            let trace_id = opening.parent.map_or([7; 16], |parent| parent.trace_id);
            Some(Box::new(Recorded(TraceContext { trace_id, span_id: [9; 8], flags: 1 })))
        }
    }

    impl Recording for Recorded {
        fn context(&self) -> TraceContext {
            self.0
        }

        fn set(&mut self, _: &'static str, _: Value) {}

        fn fail(&mut self, _: &'static str) {}
    }

    #[test]
    fn contexts_read_back_and_anything_else_is_refused() {
        for text in [SAMPLED, UNSAMPLED] {
            assert_eq!(text.parse::<TraceContext>().unwrap().to_string(), text);
        }
        assert_eq!(TraceContext::sampled(Some(UNSAMPLED)), None);
        let none = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for bad in ["", "00-0-0-00", none, &SAMPLED.to_uppercase(), &SAMPLED.replacen("00", "ff", 1), &SAMPLED[1..]] {
            assert_eq!(bad.parse::<TraceContext>(), Err(InvalidTraceContext), "{bad}");
        }
        assert!(format!("{SAMPLED}-00").parse::<TraceContext>().is_err());
    }

    #[test]
    fn only_what_is_recorded_already_is_gone_on_with() {
        let (on, off) = (Traces::new(Eager, "memory"), Traces::default());
        let kind = SpanKind::Internal;
        assert!(!off.begin("a", kind, None).is_recording() && !off.child("a", kind, Some(SAMPLED)).is_recording());
        assert!(on.begin("a", kind, None).is_recording(), "nobody has decided before");
        for parent in [None, Some(UNSAMPLED), Some("nonsense")] {
            assert!(!on.child("a", kind, parent).is_recording(), "{parent:?}");
        }
        assert!(!on.begin("a", kind, Some(UNSAMPLED)).is_recording(), "somebody has decided against it");
        assert!(!on.linked("a", kind, None, Vec::new()).is_recording());

        let span = on.child("a", kind, Some(SAMPLED));
        let mut traceparent = Some(SAMPLED.to_owned());
        span.pass_on(&mut traceparent);
        assert_eq!(traceparent.as_deref(), Some("00-4bf92f3577b34da6a3ce929d0e0e4736-0909090909090909-01"));
        Span::default().pass_on(&mut traceparent);
        assert!(traceparent.is_some(), "what is not recorded changes nothing");
    }
}

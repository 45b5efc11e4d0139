//! Spans of commands that share a transaction: each is whole in its own trace, and the transaction knows them all.

use std::sync::{Arc, Mutex};

use lotline_adapters::log::memory::Fault;
use lotline_commands::bus::SubmitError;
use lotline_domain::qc::QcOutcome;
use lotline_domain::trace::{MAX_LINKS, Opening, Recording, SpanKind, TraceContext, Tracer, Traces, Value};

use crate::stand::{Stand, answer, judge, register};

/// A span as it was when it ended.
#[derive(Debug, Clone)]
struct Noted {
    opening: Opening,
    context: TraceContext,
    attributes: Vec<(&'static str, Value)>,
    failed: Option<&'static str>,
}

/// Records whatever it is told, in the order in which it ends.
#[derive(Clone, Default)]
struct Notebook {
    ended: Arc<Mutex<Vec<Noted>>>,
    begun: Arc<Mutex<u64>>,
}

struct Page(Notebook, Option<Noted>);

impl Tracer for Notebook {
    fn start(&self, opening: Opening) -> Option<Box<dyn Recording>> {
        let mut begun = self.begun.lock().expect("nothing panics under this lock");
        *begun += 1;
        let trace_id = opening.parent.map_or([0xee; 16], |parent| parent.trace_id);
        let context = TraceContext { trace_id, span_id: begun.to_be_bytes(), flags: 1 };
        Some(Box::new(Page(self.clone(), Some(Noted { opening, context, attributes: Vec::new(), failed: None }))))
    }
}

impl Page {
    fn noted(&mut self) -> &mut Noted {
        self.1.as_mut().expect("it has not ended")
    }
}

impl Recording for Page {
    fn context(&self) -> TraceContext {
        self.1.as_ref().expect("it has not ended").context
    }

    fn set(&mut self, name: &'static str, value: Value) {
        self.noted().attributes.push((name, value));
    }

    fn fail(&mut self, kind: &'static str) {
        self.noted().failed = Some(kind);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let noted = self.1.take().expect("it ends once");
        self.0.ended.lock().expect("nothing panics under this lock").push(noted);
    }
}

impl Notebook {
    fn named(&self, name: &str) -> Vec<Noted> {
        let ended = self.ended.lock().expect("nothing panics under this lock");
        ended.iter().filter(|noted| noted.opening.name == name).cloned().collect()
    }
}

fn stand() -> (Stand, Notebook) {
    let notebook = Notebook::default();
    let mut stand = Stand::new();
    stand.traces = Traces::new(notebook.clone(), "memory");
    (stand, notebook)
}

fn context(trace: u8, flags: u8) -> TraceContext {
    TraceContext { trace_id: [trace; 16], span_id: [trace; 8], flags }
}

const SEND: &str = "send lotline.dairy.ledger.v1";

#[tokio::test]
async fn a_transaction_links_to_its_commands_and_each_of_them_to_it() {
    let (stand, notebook) = stand();
    let process = stand.serve().await;
    let gate = stand.hold();
    let first = process.begin(stand.request(register("M0"))).await;
    gate.reached().await;
    let mut waiting = Vec::new();
    for (trace, flags) in [(1, 1), (2, 0), (3, 1)] {
        let mut request = stand.request(register(&format!("M{trace}")));
        request.traceparent = Some(context(trace, flags).to_string());
        waiting.push(process.begin(request).await);
    }
    let mut refused = stand.request(judge("nowhere", QcOutcome::Pass));
    refused.traceparent = Some(context(4, 1).to_string());
    let refused = process.begin(refused).await;
    gate.open();
    answer(first).await.expect("it is accepted");
    for waiting in waiting {
        answer(waiting).await.expect("it is accepted");
    }
    assert!(matches!(answer(refused).await, Err(SubmitError::Refused { .. })));
    process.stop().await;

    let commands = notebook.named("command");
    let parents: Vec<_> = commands.iter().filter_map(|noted| noted.opening.parent).collect();
    assert_eq!(parents, [context(1, 1), context(3, 1), context(4, 1)], "what is not sampled has no span");
    let ids: Vec<TraceContext> = commands.iter().map(|noted| noted.context).collect();
    for name in ["decide", "append"] {
        let of: Vec<_> = notebook.named(name).iter().filter_map(|noted| noted.opening.parent).collect();
        assert_eq!(of, ids, "one {name} in each command");
    }
    let sent = notebook.named(SEND);
    let [send] = &sent[..] else { panic!("one transaction: {sent:?}") };
    assert_eq!((send.opening.kind, send.opening.parent, &send.opening.links), (SpanKind::Producer, None, &ids));
    assert!(notebook.named("append").iter().all(|append| append.opening.links == [send.context]));
    for expected in [
        ("messaging.system", Value::from("memory")),
        ("messaging.batch.message_count", Value::from(4_usize)),
        ("messaging.destination.partition.id", Value::from("0")),
    ] {
        assert!(send.attributes.contains(&expected), "{send:?}");
    }
    let outcomes = ["accepted", "accepted", "refused"].map(|outcome| ("lotline.outcome", Value::from(outcome)));
    for (command, outcome) in commands.iter().zip(outcomes) {
        assert!(command.attributes.contains(&outcome) && command.failed.is_none(), "{command:?}");
    }
    let headers: Vec<_> = stand.events(0).await.into_iter().map(|(event, _)| event.attributes.traceparent).collect();
    let unsampled = Some(context(2, 0).to_string());
    assert_eq!(
        headers,
        [None, Some(ids[0].to_string()), unsampled, Some(ids[1].to_string()), Some(ids[2].to_string())]
    );
}

#[tokio::test]
async fn an_append_without_a_certain_outcome_has_failed_and_the_next_one_has_not() {
    let (stand, notebook) = stand();
    let process = stand.serve().await;
    stand.log.faults().push(Fault::Lost);
    let mut request = stand.request(register("M1"));
    request.traceparent = Some(context(1, 1).to_string());
    process.accepted(request).await;
    process.stop().await;
    for name in ["append", SEND] {
        let failed: Vec<_> = notebook.named(name).iter().map(|noted| noted.failed).collect();
        assert_eq!(failed, [Some("unknown_outcome"), None], "{name}");
    }
    assert_eq!(notebook.named("command").len(), 1);
}

#[tokio::test]
async fn a_transaction_has_links_to_the_first_of_many_commands_only() {
    let (stand, notebook) = stand();
    let process = stand.serve().await;
    let gate = stand.hold();
    let mut waiting = vec![process.begin(stand.request(register("M"))).await];
    gate.reached().await;
    for number in 0..MAX_LINKS + 3 {
        let mut request = stand.request(register(&format!("M{number}")));
        request.traceparent = Some(context(1, 1).to_string());
        waiting.push(process.begin(request).await);
    }
    gate.open();
    for waiting in waiting {
        answer(waiting).await.expect("it is accepted");
    }
    process.stop().await;
    let sent = notebook.named(SEND);
    let [send] = &sent[..] else { panic!("one transaction: {sent:?}") };
    assert_eq!(send.opening.links.len(), MAX_LINKS);
    assert!(send.attributes.contains(&("lotline.links.dropped", Value::from(3_usize))), "{send:?}");
    assert_eq!(notebook.named("append").len(), MAX_LINKS + 3, "each command has its own nevertheless");
}

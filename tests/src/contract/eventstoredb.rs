//! EventStoreDB as a subject, when `EVENTSTORE_URL` names a server. Without one nothing is proved about it, and that is said aloud.

use std::io::Write;
use std::sync::Once;

use eventstore::{AppendToStreamOptions, Client, EventData};
use lotline_adapters::log::eventstoredb::{EventStoreLog, Options};
use lotline_domain::port::{BoxFuture, EventLog, LogError, SignalLog};
use lotline_domain::record::Record;

use super::Subject;
use crate::stack;

/// A server, with topics of its own.
pub struct EventStore {
    options: Options,
    ledger: String,
    signals: String,
}

impl EventStore {
    /// Names of topics that are not there yet, on the server of this run; nothing when there is none.
    pub fn new() -> Option<Self> {
        let Ok(url) = std::env::var("EVENTSTORE_URL") else {
            tell();
            return None;
        };
        let tenant = stack::unique("contract");
        let (ledger, signals) = (format!("lotline.{tenant}.ledger.v1"), format!("lotline.{tenant}.signals.v1"));
        // What a server takes when nobody has told it otherwise.
        let options = Options { max_append_bytes: 1024 * 1024, max_record_bytes: 512 * 1024, ..Options::new(url) };
        Some(Self { options, ledger, signals })
    }
}

/// Past the capture of the test harness, which would swallow it: a suite that passes without a server must not look like a proof.
fn tell() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let said = writeln!(std::io::stderr(), "NOT PROVED: EventStoreDB as a log (EVENTSTORE_URL names no server)");
        said.expect("standard error can be written");
    });
}

impl Subject for EventStore {
    fn ledger(&self, partitions: u32) -> BoxFuture<'_, Result<Box<dyn EventLog>, LogError>> {
        Box::pin(async move {
            let log = EventStoreLog::open(self.options.clone(), &self.ledger, partitions).await?;
            Ok(Box::new(log) as Box<dyn EventLog>)
        })
    }

    fn signals(&self, partitions: u32) -> BoxFuture<'_, Result<Box<dyn SignalLog>, LogError>> {
        Box::pin(async move {
            let log = EventStoreLog::open(self.options.clone(), &self.signals, partitions).await?;
            Ok(Box::new(log) as Box<dyn SignalLog>)
        })
    }

    fn append_foreign(&self, partition: u32, record: Record) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let client = Client::new(self.options.url.parse().expect("EVENTSTORE_URL is a connection string"));
            let client = client.expect("a client is made without a connection");
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let headers: Vec<_> = record.headers.iter().map(|header| (&*header.name, text(&header.value))).collect();
            let metadata = serde_json::json!({ "key": record.key, "headers": headers });
            let event = EventData::binary("stranger", record.value).metadata_as_json(&metadata).expect("this is JSON");
            let stream = format!("{}-{partition}", self.ledger);
            let written = client.append_to_stream(stream, &AppendToStreamOptions::default(), event).await;
            written.expect("the stranger may append");
        })
    }
}

//! A server whose database and ledger are not there: what the transports do does not depend on them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use lotline_commands::bus::{CommandBus, Ports};
use lotline_commands::writer::WriterOptions;
use lotline_domain::id::{ActorId, SiteId, TenantId};
use lotline_domain::personal::PersonalKey;
use lotline_domain::port::{
    BoxFuture, Clock, EventLog, Ids, LogError, LogRead, LogReader, LogWriter, PersonalKeys, Snapshot, SnapshotStore,
};
use lotline_domain::record::Offset;
use lotline_domain::timestamp::Timestamp;
use lotline_domain::trace::Traces;
use lotline_projections::graph::LiveGraph;
use lotline_projections::progress::Progress;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use tower::Service;
use uuid::Uuid;

use crate::auth::Door;
use crate::config::Limits;
use crate::server::{ApiState, Edge, Partitions};

/// Fails at everything.
struct Absent;

fn absent<T: Send + 'static>() -> BoxFuture<'static, Result<T, LogError>> {
    Box::pin(async { Err(LogError::broken("reach what is absent", "absent")) })
}

impl LogRead for Absent {
    fn topic(&self) -> &'static str {
        "lotline.test.ledger.v1"
    }
    fn partitions(&self) -> u32 {
        1
    }
    fn end(&self, _partition: u32) -> BoxFuture<'_, Result<Offset, LogError>> {
        absent()
    }
    fn reader(&self, _partition: u32, _from: Offset) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        absent()
    }
}

impl EventLog for Absent {
    fn max_record_bytes(&self) -> usize {
        1 << 20
    }
    fn writer(&self, _partition: u32) -> BoxFuture<'_, Result<Box<dyn LogWriter>, LogError>> {
        absent()
    }
}

impl SnapshotStore for Absent {
    fn save<'a>(&'a self, _: &'a str, _: u32, _: Snapshot) -> BoxFuture<'a, Result<(), LogError>> {
        absent()
    }
    fn load<'a>(&'a self, _: &'a str, _: u32, _: u32) -> BoxFuture<'a, Result<Option<Snapshot>, LogError>> {
        absent()
    }
}

impl PersonalKeys for Absent {
    fn key_of<'a>(&'a self, _: &'a TenantId, _: &'a ActorId) -> BoxFuture<'a, Result<PersonalKey, LogError>> {
        absent()
    }
    fn key<'a>(&'a self, _: &'a TenantId, _: Uuid) -> BoxFuture<'a, Result<Option<PersonalKey>, LogError>> {
        absent()
    }
}

impl Clock for Absent {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000)
    }
}

impl Ids for Absent {
    fn uuid_v7(&self, _now: Timestamp) -> Uuid {
        Uuid::from_u128(7)
    }
}

/// The state of such a server.
pub(crate) fn state(limits: Limits) -> ApiState {
    let tenant = TenantId::new("test").unwrap();
    let sites = vec![SiteId::new("north").unwrap()];
    let ports = Ports {
        log: Arc::new(Absent),
        snapshots: Arc::new(Absent),
        clock: Arc::new(Absent),
        ids: Arc::new(Absent),
        traces: Traces::default(),
    };
    // The writers are dropped, so the bus finds nobody to take its commands.
    let (bus, _writers) = CommandBus::new(&tenant, &sites, &ports, WriterOptions::default());
    let options = PgPoolOptions::new().acquire_timeout(Duration::from_millis(50));
    let pool = options.connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap();
    ApiState {
        progress: Progress::new(pool.clone(), tenant.clone()),
        graph: LiveGraph::off(),
        partitions: Partitions { ledger: 1, signals: 1 },
        keys: Arc::new(Absent),
        clock: Arc::new(Absent),
        ids: Arc::new(Absent),
        door: Door::Open,
        readiness: Vec::new(),
        traces: Traces::default(),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        shutdown: tokio_util::sync::CancellationToken::new(),
        connections: tokio_util::task::TaskTracker::new(),
        tenant,
        sites,
        bus,
        pool,
        peers: None,
        edge: Edge::default(),
        limits,
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Code of the first error.
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["extensions"]["code"].as_str().unwrap_or("none").to_owned()
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let (parts, body) = router.clone().call(request).await.unwrap().into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

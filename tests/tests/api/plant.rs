//! A running API of one test: its own database, log, clock and keys, and clients that speak HTTP, WebSocket and SSE.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lotline_adapters::log::memory::MemoryLog;
use lotline_api::Limits;
use lotline_api::server::{ApiState, Partitions};
use lotline_api::{Door, Edge, Mode};
use lotline_commands::bus::{CommandBus, Ports};
use lotline_commands::writer::WriterOptions;
use lotline_domain::access::need::Authorisation;
use lotline_domain::id::{ActorId, SiteId, TenantId};
use lotline_domain::personal::PersonalKey;
use lotline_domain::port::{BoxFuture, Clock, Ids, LogError, LogRead, PersonalKeys, Snapshot, SnapshotStore};
use lotline_domain::timestamp::Timestamp;
use lotline_domain::trace::Traces;
use lotline_projections::graph::{GraphOptions, LiveGraph};
use lotline_projections::progress::Progress;
use lotline_projections::worker::{LedgerWorker, SignalsWorker, WorkerContext};
use lotline_tests::stack;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// Nothing here takes this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// 2026-11-21T00:00:00Z; the clock of the tests stands still.
pub(crate) const NOW_MS: i64 = 1_795_219_200_000;

/// `l0.0_l1.0_l2.0`: the start of every partition of the ledger, so that nothing depends on when a subscription begins.
pub(crate) const START: &str = "bDAuMF9sMS4wX2wyLjA";

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW_MS)
    }
}

impl Ids for Fixed {
    fn uuid_v7(&self, now: Timestamp) -> Uuid {
        let mut random = [0_u8; 10];
        random[..8].copy_from_slice(&next().to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(now.millis() as u64, &random).into_uuid()
    }
}

impl SnapshotStore for Fixed {
    fn save<'a>(&'a self, _: &'a str, _: u32, _: Snapshot) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async { Ok(()) })
    }
    fn load<'a>(&'a self, _: &'a str, _: u32, _: u32) -> BoxFuture<'a, Result<Option<Snapshot>, LogError>> {
        Box::pin(async { Ok(None) })
    }
}

fn next() -> u64 {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// A fresh idempotency key.
pub(crate) fn key() -> Uuid {
    key_at(NOW_MS)
}

/// A fresh idempotency key of a millisecond.
pub(crate) fn key_at(millis: i64) -> Uuid {
    Fixed.uuid_v7(Timestamp::from_millis(millis))
}

/// Personal keys that a test can destroy.
#[derive(Default)]
pub(crate) struct Keys(Mutex<HashMap<ActorId, PersonalKey>>);

impl Keys {
    /// Erases a person.
    pub(crate) fn destroy(&self, actor: &str) {
        self.0
            .lock()
            .expect("no test panics while it holds the keys")
            .remove(&ActorId::new(actor).expect("a valid actor"));
    }
}

impl PersonalKeys for Keys {
    fn key_of<'a>(&'a self, _: &'a TenantId, actor: &'a ActorId) -> BoxFuture<'a, Result<PersonalKey, LogError>> {
        let fresh = || PersonalKey { id: key(), secret: [next() as u8; 32] };
        let key =
            *self.0.lock().expect("no test panics while it holds the keys").entry(actor.clone()).or_insert_with(fresh);
        Box::pin(async move { Ok(key) })
    }
    fn key<'a>(&'a self, _: &'a TenantId, id: Uuid) -> BoxFuture<'a, Result<Option<PersonalKey>, LogError>> {
        let key =
            self.0.lock().expect("no test panics while it holds the keys").values().find(|key| key.id == id).copied();
        Box::pin(async move { Ok(key) })
    }
}

/// A running API.
pub(crate) struct Plant {
    pub(crate) address: SocketAddr,
    pub(crate) tenant: TenantId,
    pub(crate) signals: MemoryLog,
    pub(crate) keys: Arc<Keys>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) connections: TaskTracker,
    client: reqwest::Client,
}

impl Plant {
    /// Starts one with the sites north and south.
    pub(crate) async fn start(name: &str, limits: Limits) -> Self {
        Self::at_the_edge(name, limits, Edge::default()).await
    }

    /// The same, as the network sees it.
    pub(crate) async fn at_the_edge(name: &str, limits: Limits, edge: Edge) -> Self {
        let database = stack::database(name).await;
        lotline_projections::migrate(&database.pool).await.expect("the read models are prepared");
        lotline_adapters::log::postgres::migrate(&database.pool).await.expect("the tenants' roles are prepared");
        let tenant = TenantId::new("test").expect("a valid tenant");
        let queries = stack::bound(&database, &tenant, 8).await;
        let sites: Vec<SiteId> = ["north", "south"].map(|site| SiteId::new(site).expect("a valid site")).to_vec();
        let (ledger, signals) =
            (MemoryLog::new("lotline.test.ledger.v1", 3), MemoryLog::new("lotline.test.signals.v1", 1));
        let ports = Ports {
            log: Arc::new(ledger.clone()),
            snapshots: Arc::new(Fixed),
            clock: Arc::new(Fixed),
            ids: Arc::new(Fixed),
            traces: Traces::default(),
        };
        let (bus, writers) = CommandBus::new(
            &tenant,
            &sites,
            &ports,
            WriterOptions { authorisation: Authorisation::Development, ..WriterOptions::default() },
        );
        let shutdown = CancellationToken::new();
        for writer in writers {
            tokio::spawn(writer.run(shutdown.clone()));
        }
        let context = |log: Arc<dyn LogRead>| WorkerContext {
            pool: database.pool.clone(),
            clock: Arc::new(Fixed),
            tenant: tenant.clone(),
            traces: Traces::default(),
            log,
        };
        for partition in 0..3 {
            tokio::spawn(LedgerWorker::new(context(Arc::new(ledger.clone())), partition).run(shutdown.clone()));
        }
        tokio::spawn(SignalsWorker::new(context(Arc::new(signals.clone())), 0).run(shutdown.clone()));
        let progress = Progress::new(queries.clone(), tenant.clone());
        tokio::spawn(progress.clone().run(shutdown.clone()));
        let graph = LiveGraph::new(GraphOptions::default());
        tokio::spawn(graph.clone().run(queries.clone(), tenant.clone(), progress.clone(), shutdown.clone()));
        let (keys, connections) = (Arc::new(Keys::default()), TaskTracker::new());
        let state = ApiState {
            tenant: tenant.clone(),
            sites,
            partitions: Partitions { ledger: 3, signals: 1 },
            bus,
            pool: queries,
            traces: Traces::default(),
            progress,
            graph,
            keys: keys.clone(),
            clock: Arc::new(Fixed),
            ids: Arc::new(Fixed),
            door: Door::Open,
            peers: None,
            edge,
            limits,
            readiness: Vec::new(),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            shutdown: shutdown.clone(),
            connections: connections.clone(),
        };
        let listener = lotline_api::bind("127.0.0.1:0".parse().expect("an address"), Mode::Development)
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        tokio::spawn(lotline_api::serve(listener, state));
        Self { address, tenant, signals, keys, shutdown, connections, client: reqwest::Client::new() }
    }

    /// Sends an operation as the actor ann and gives the whole answer.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Value {
        let answer = self.post(query, variables, "application/json").await;
        let text = answer.text().await.expect("the answer is complete");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Sends an operation that must succeed and gives its data.
    pub(crate) async fn data(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.ask(query, variables).await;
        assert!(answer.get("errors").is_none(), "{query}: {answer:#}");
        answer["data"].take()
    }

    pub(crate) async fn post(&self, query: &str, variables: Value, accept: &str) -> reqwest::Response {
        let url = format!("http://{}/graphql", self.address);
        let request = self.client.post(url).header("accept", accept).header("x-lotline-actor", "ann");
        let body = json!({ "query": query, "variables": variables });
        request.json(&body).timeout(DEADLINE).send().await.expect("the API answers")
    }

    /// An operation of an actor, ready to be sent.
    pub(crate) fn request(&self, actor: &str, query: &str) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("http://{}/graphql", self.address)).header("x-lotline-actor", actor);
        request.json(&json!({ "query": query })).timeout(DEADLINE)
    }

    /// Registers a lot of one litre and gives the payload.
    pub(crate) async fn register(&self, site: &str, code: &str) -> Value {
        self.register_with(json!({ "site": site, "code": code, "quantity": { "value": "1", "unit": "LTR" } })).await
    }

    /// Registers a lot; `own` overrides the defaults.
    pub(crate) async fn register_with(&self, own: Value) -> Value {
        let mut input = json!({
            "idempotencyKey": key(), "site": "north", "code": "A", "lotType": "RAW", "product": "milk",
            "quantity": { "value": "100", "unit": "LTR" },
        });
        input.as_object_mut().expect("an object").extend(own.as_object().expect("an object").clone());
        let query = "mutation($input: RegisterLotInput!) { registerLot(input: $input) { \
                     lotId version position replayed userErrors { field code message } } }";
        self.data(query, json!({ "input": input })).await["registerLot"].take()
    }

    /// Opens a WebSocket without introducing itself.
    pub(crate) async fn socket(&self, protocol: Option<&'static str>) -> Socket {
        let mut request = format!("ws://{}/graphql", self.address).into_client_request().expect("a WebSocket address");
        if let Some(protocol) = protocol {
            request.headers_mut().insert("sec-websocket-protocol", protocol.parse().expect("a header value"));
        }
        Socket(tokio_tungstenite::connect_async(request).await.expect("the upgrade succeeds").0)
    }

    /// Opens a WebSocket that is ready for operations.
    pub(crate) async fn ready_socket(&self) -> Socket {
        let mut socket = self.socket(Some("graphql-transport-ws")).await;
        socket.send(&json!({ "type": "connection_init" })).await;
        assert_eq!(socket.receive().await["type"], "connection_ack");
        socket
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// The client's end of a WebSocket.
pub(crate) struct Socket(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.expect("the socket takes a message");
    }

    /// Begins an operation.
    pub(crate) async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.send(&json!({ "type": "subscribe", "id": id, "payload": payload })).await;
    }

    /// The next text message.
    pub(crate) async fn receive(&mut self) -> Value {
        loop {
            match self.frame().await {
                Message::Text(text) => return serde_json::from_str(&text).expect("messages are JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} is no text"),
            }
        }
    }

    /// The data of the next result.
    pub(crate) async fn next(&mut self) -> Value {
        let mut message = self.receive().await;
        assert_eq!(message["type"], "next", "{message:#}");
        assert!(message["payload"].get("errors").is_none(), "{message:#}");
        message["payload"]["data"].take()
    }

    /// The next frame of any kind.
    pub(crate) async fn frame(&mut self) -> Message {
        let frame = timeout(DEADLINE, self.0.next()).await.expect("a frame comes in time");
        frame.expect("the socket is open").expect("the frame is well-formed")
    }

    /// The code with which the server closes.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.frame().await {
                return frame.expect("the close has a code").code.into();
            }
        }
    }
}

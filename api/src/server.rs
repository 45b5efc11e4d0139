//! What the composition root hands in, and what every request shares.

use std::sync::Arc;

use axum::http::{Extensions, StatusCode};
use lotline_commands::bus::CommandBus;
use lotline_domain::id::{ActorId, SiteId, TenantId};
use lotline_domain::port::{BoxFuture, Clock, Ids, PersonalKeys};
use lotline_domain::position::TopicKind;
use lotline_domain::trace::Traces;
use lotline_projections::graph::LiveGraph;
use lotline_projections::progress::Progress;
use metrics::counter;
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::auth::Door;
use crate::config::Limits;
use crate::lobby::{Lobby, Waiting, Whose};
use crate::peer::PeerState;
use crate::rate::Rates;
use crate::schema::{self, LotlineSchema};
use crate::serve::tls::Tls;
use crate::tally::{Entered, Tally};
use crate::transport::caller::Caller;
use crate::transport::problem::Problem;

/// Whether a part of the process that the API does not see can do its work: the writers, the projections' workers.
pub trait Readiness: Send + Sync + 'static {
    /// Nothing when ready, else a sentence that says what is missing.
    fn check(&self) -> BoxFuture<'_, Result<(), String>>;
}

impl<F: Fn() -> Result<(), String> + Send + Sync + 'static> Readiness for F {
    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        let result = self();
        Box::pin(async move { result })
    }
}

/// Numbers of partitions of a tenant's topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions {
    /// Of the ledger.
    pub ledger: u32,
    /// Of the signals topic.
    pub signals: u32,
}

impl Partitions {
    /// Of a topic.
    pub fn of(self, topic: TopicKind) -> u32 {
        match topic {
            TopicKind::Ledger => self.ledger,
            TopicKind::Signals => self.signals,
        }
    }
}

/// How the server meets the network.
#[derive(Clone, Default)]
pub struct Edge {
    /// The certificate; without one it speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Origins of other sites whose pages may use the API, with credentials, such as `https://console.plant.example`.
    pub origins: Vec<String>,
    /// Whether people come by https, be it by something in front.
    pub https: bool,
}

/// Everything that the API needs from outside.
#[derive(Clone)]
pub struct ApiState {
    /// Whose data is served.
    pub tenant: TenantId,
    /// Its plants.
    pub sites: Vec<SiteId>,
    /// Partitions of its topics, fixed at their creation.
    pub partitions: Partitions,
    /// The way to the writers.
    pub bus: CommandBus,
    /// Where the read models are.
    pub pool: PgPool,
    /// How far the read models are.
    pub progress: Progress,
    /// The genealogy in memory, or none.
    pub graph: LiveGraph,
    /// Keys of personal data.
    pub keys: Arc<dyn PersonalKeys>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Fresh ids.
    pub ids: Arc<dyn Ids>,
    /// Tells who asks.
    pub door: Door,
    /// Knows other nodes that forward commands; nothing when there are none.
    pub peers: Option<PeerState>,
    /// How the server meets the network.
    pub edge: Edge,
    /// What clients may ask.
    pub limits: Limits,
    /// Parts that `/health/ready` asks, by name, such as `writer`.
    pub readiness: Vec<(&'static str, Arc<dyn Readiness>)>,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// Where spans go.
    pub traces: Traces,
    /// Ends open sockets and streams.
    pub shutdown: CancellationToken,
    /// Waits for open sockets and streams. A client that does not read can hold it up: wait with a deadline.
    pub connections: TaskTracker,
}

/// The running API.
pub struct Server {
    /// From outside.
    pub state: ApiState,
    /// The GraphQL schema.
    pub schema: LotlineSchema,
    /// What has been asked in the last hour.
    pub rates: Rates,
    open: Arc<Semaphore>,
    seats: Tally<ActorId>,
    lobby: Lobby,
}

/// The place of one WebSocket or event stream among those of its actor, until dropped.
pub type Seat = Option<Entered<ActorId>>;

/// A WebSocket on which nobody has said yet who they are; it has its place until dropped.
pub struct Newcomer {
    /// Among the others.
    pub waiting: Waiting,
    _tracked: TaskTrackerToken,
}

/// An open WebSocket or event stream; counted until dropped.
pub struct Connection {
    _permit: OwnedSemaphorePermit,
    _tracked: TaskTrackerToken,
}

impl Edge {
    /// `https` or `http`.
    pub fn scheme(tls: Option<&Tls>) -> &'static str {
        if tls.is_some() { "https" } else { "http" }
    }
}

impl Server {
    /// Builds the schema for the limits in the state.
    pub fn new(state: ApiState) -> Arc<Self> {
        let schema = schema::build(&state.limits);
        let open = Arc::new(Semaphore::new(state.limits.connections.min(Semaphore::MAX_PERMITS)));
        let rates = Rates::new(&state.limits);
        let lobby = Lobby::new(state.limits.newcomers, state.limits.newcomers_per_address);
        Arc::new(Self { state, schema, rates, open, seats: Tally::default(), lobby })
    }

    /// Counts a request of somebody, and notes for its answer how the limits stand.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub fn count(&self, caller: &Caller, extensions: &Extensions) -> Result<(), Problem> {
        let meter = extensions.get().expect("invariant: every request passes the router's frame");
        Ok(self.rates.take(&caller.actor, meter)?)
    }

    /// Counts a long-lived connection among those of its actor.
    ///
    /// # Errors
    /// 429 when the actor has too many.
    pub fn seat(&self, actor: &ActorId) -> Result<Seat, Problem> {
        let most = self.state.limits.connections_per_actor;
        if most == 0 {
            return Ok(None);
        }
        self.seats.enter(actor.clone(), most).map(Some).ok_or_else(|| {
            counter!("lotline_streams_refused_total", "reason" => "actor").increment(1);
            let message = format!("this user or key has {most} WebSockets and event streams open already");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_STREAMS", message)
        })
    }

    /// Takes in a WebSocket on which nobody has said yet who they are, perhaps in place of another one.
    ///
    /// # Errors
    /// 503 when the server is stopping.
    pub fn welcome(&self, whose: Whose) -> Result<Newcomer, Problem> {
        self.goes_on()?;
        Ok(Newcomer { waiting: self.lobby.enter(whose), _tracked: self.state.connections.token() })
    }

    fn goes_on(&self) -> Result<(), Problem> {
        if self.state.shutdown.is_cancelled() {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "STOPPING", "the server is stopping"));
        }
        Ok(())
    }

    /// Counts a long-lived connection.
    ///
    /// # Errors
    /// 503 when too many are open, or the server is stopping.
    pub fn connect(&self) -> Result<Connection, Problem> {
        self.goes_on()?;
        let permit = Arc::clone(&self.open).try_acquire_owned().map_err(|_| {
            counter!("lotline_streams_refused_total", "reason" => "total").increment(1);
            let message = format!("{} connections are open already; try again later", self.state.limits.connections);
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_CONNECTIONS", message)
        })?;
        Ok(Connection { _permit: permit, _tracked: self.state.connections.token() })
    }
}

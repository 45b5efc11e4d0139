//! This node among others: what it is called, how it finds them, and which part of the work is its own.
//!
//! | work | shared by |
//! |---|---|
//! | partitions of the ledger, in Kafka | a consumer group, see `lotline_adapters::log::kafka::KafkaGroup` |
//! | partitions of the embedded ledger | leases in PostgreSQL |
//! | projections, per partition of a topic | leases in PostgreSQL |
//! | devices of a collector | nobody: give the role `collector` to one node, because it collects on while PostgreSQL is away |

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use lotline_adapters::clock::SystemClock;
use lotline_adapters::cluster::{self, LeaseOptions, PostgresDirectory, PostgresHeard, PostgresLeases};
use lotline_api::{PeerClient, PeerKey, PeerState};
use lotline_commands::bus::CommandBus;
use lotline_domain::ownership::{Directory, Membership};
use sqlx::PgPool;

use crate::config::Config;
use crate::stores::{Databases, Logs};

/// Where Linux says what the host is called.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// This node.
pub(crate) struct Node {
    name: String,
    database: PgPool,
    topic: String,
    key: PeerKey,
    directory: Arc<dyn Directory>,
}

impl Node {
    /// The node that listens on `bound`.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn open(config: &Config, databases: &Databases, bound: SocketAddr) -> anyhow::Result<Self> {
        let name = name(config, bound);
        let address = config.cluster.address.clone().unwrap_or_else(|| format!("{}://{bound}", config.api.scheme()));
        tracing::info!(node = name, address, "this node");
        let database = databases.app.clone();
        let key = PeerKey::new(&cluster::secret(&database, &config.tenant.id).await?);
        let directory = PostgresDirectory::new(
            database.clone(),
            config.ledger_topic(),
            config.log.kind.name(),
            name.as_str(),
            address,
        );
        let topic = config.ledger_topic();
        Ok(Self { name, database, topic, key, directory: Arc::new(directory) })
    }

    /// Where the writers of partitions are.
    pub(crate) fn directory(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.directory)
    }

    /// A bus that also reaches the writers of other nodes.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn connect(&self, bus: CommandBus) -> anyhow::Result<CommandBus> {
        let client = PeerClient::new(self.key.clone(), self.directory(), Arc::new(SystemClock));
        Ok(bus.with_others(Arc::new(client.context("no HTTP client can be made for other nodes")?)))
    }

    /// What takes commands from other nodes.
    pub(crate) fn peers(&self, bus: CommandBus) -> PeerState {
        PeerState { key: self.key.clone(), bus, clock: Arc::new(SystemClock) }
    }

    /// This node's part of the ledger's writers.
    ///
    /// # Errors
    /// When the group of writers can't be joined.
    pub(crate) fn writers(&self, logs: &Logs) -> anyhow::Result<Box<dyn Membership>> {
        Ok(match &logs.kafka {
            Some(log) => Box::new(log.join().context("the group of writers can't be joined")?),
            None => Box::new(self.leases("writers", logs.ledger.topic(), logs.ledger.partitions())),
        })
    }

    /// This node's part of the work on a topic's partitions.
    pub(crate) fn leases(&self, work: &str, topic: &str, partitions: u32) -> PostgresLeases {
        let options = LeaseOptions::new(format!("{work}/{topic}"), self.name.as_str(), partitions);
        PostgresLeases::new(self.database.clone(), options)
    }

    /// What the ledger's nodes tell each other of how far they have heard.
    pub(crate) fn heard(&self) -> PostgresHeard {
        PostgresHeard::new(self.database.clone(), self.topic.as_str())
    }
}

/// What this node is called.
pub(crate) fn name(config: &Config, bound: SocketAddr) -> String {
    config.cluster.node.clone().unwrap_or_else(|| format!("{}:{}", host_name(), bound.port()))
}

/// Names need only be unique within an installation; one without a name of its own is told apart by its port.
fn host_name() -> String {
    std::fs::read_to_string(HOST_NAME).map_or_else(|_| "node".to_owned(), |name| name.trim().to_owned())
}

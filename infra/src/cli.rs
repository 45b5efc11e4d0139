//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lotline_projections::model::Model;

/// System of record for plants: every fact appended once, projected, served, provable.
///
/// Settings come from defaults, a TOML file and `LOTLINE_<SECTION>__<KEY>` variables, later ones winning; `lotline config` prints them.
#[derive(Debug, Parser)]
#[command(name = "lotline", version)]
pub struct Cli {
    /// Configuration file; `lotline.toml` in the working directory when not given.
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    ///
    /// Example: LOTLINE_POSTGRES__URL=postgres://lotline@127.0.0.1/lotline lotline serve
    Serve(ServeArgs),
    /// Run the server with a small dairy: a pasteuriser that speaks Modbus TCP, and operators who use the API.
    Demo(DemoArgs),
    /// Create or update the tables, then end. `serve` does the same when it starts.
    Migrate,
    /// Check configuration, database, log and clock, and say in plain words what holds. Changes nothing.
    Doctor,
    /// Ask a running node whether it is ready: exit code 0 or 1, and a line for each check. For probes and scripts.
    ///
    /// Example: lotline health --url http://127.0.0.1:8080
    Health(crate::health::HealthArgs),
    /// Appoint administrators, as whoever has the machine. The server must run.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Look at the event log.
    #[command(subcommand)]
    Log(LogCommand),
    /// Write, check or register the formats of both topics: JSON Schemas, AsyncAPI, Protobuf.
    ///
    /// Example: lotline formats --out formats
    Formats(crate::formats::FormatsArgs),
    /// Look after the read models.
    #[command(subcommand)]
    Projections(ProjectionsCommand),
    /// Print the configuration that results from all layers.
    Config,
}

/// Options of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Parts of the server to run in this process. Health and metrics are served at `api.bind` in any case.
    #[arg(long, value_delimiter = ',', default_values_t = Role::ALL.to_vec(), value_enum)]
    pub roles: Vec<Role>,
    /// Believe everybody and let them do everything: for development, on loopback only. Nothing else takes the door away.
    #[arg(long)]
    pub development: bool,
}

/// What can be done about administrators.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Make a person ADMIN of the tenant, and print a link by which they set a password.
    ///
    /// Example: lotline admin create --email ann@plant.example --name "Ann Li"
    Create {
        /// The login name. Somebody who has it already is made ADMIN, and may set a new password.
        #[arg(long)]
        email: String,
        /// For people to read.
        #[arg(long)]
        name: String,
        /// Also when the tenant has an ADMIN already. The ledger records it as a recovery.
        #[arg(long, requires = "reason")]
        recover: bool,
        /// Why; it stays in the ledger for ever.
        #[arg(long)]
        reason: Option<String>,
    },
}

/// A part of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// GraphQL and subscriptions. Commands go to whichever node writes their site.
    Api,
    /// Decides commands and appends events.
    Writer,
    /// Builds the read models.
    Projector,
    /// Reads machines.
    Collector,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Api, Self::Writer, Self::Projector, Self::Collector];
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Api => "api",
            Self::Writer => "writer",
            Self::Projector => "projector",
            Self::Collector => "collector",
        })
    }
}

/// Options of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Believe everybody and let them do everything, on loopback only. The demo's operators have no accounts, so it is needed.
    #[arg(long, required = true)]
    pub development: bool,
    /// Makes the same story again.
    #[arg(long, default_value_t = 20_260_101)]
    pub seed: u64,
    /// Write a history of so many lots before the operators begin: five levels of mixing, with a few deliveries that are in everything.
    #[arg(long, value_name = "N")]
    pub lots: Option<u64>,
    /// Production batches to play before the operators go home; endless when not given.
    #[arg(long, value_name = "N")]
    pub batches: Option<u64>,
    /// End the server too once the batches are played.
    #[arg(long, requires = "batches")]
    pub exit: bool,
    /// Milliseconds between two steps of the operators.
    #[arg(long, default_value_t = 400, value_name = "MS")]
    pub pace_ms: u64,
}

/// What can be done with a log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Print events, one line each, checking the hash chain on the way.
    Tail {
        /// Only this stream: a site id or `_tenant`.
        #[arg(long)]
        stream: Option<String>,
        /// Only the last N events of each partition; with --stream, of that stream. Their chain is checked among themselves.
        #[arg(long = "lines", short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        last: Option<u32>,
        /// Go on as new events arrive.
        #[arg(long, short)]
        follow: bool,
        /// Print whole values.
        #[arg(long)]
        json: bool,
    },
    /// Count events, verify every chain from the beginning, and show the head of each stream.
    Stats,
    /// Copy the configured log into another, byte for byte, so that all hashes stay the same.
    Copy {
        /// Where to: `kafka` or `postgres`, as configured in their sections. The target must be empty or hold a prefix of the source.
        #[arg(long, value_enum)]
        to: CopyTarget,
        /// Give up a copy that was interrupted, and go on with the log that there was. The target keeps what it has.
        #[arg(long)]
        cancel: bool,
    },
}

/// What can be done with read models.
#[derive(Debug, Subcommand)]
pub enum ProjectionsCommand {
    /// Print the read models and what they are made from.
    List,
    /// Print how far each read model is in each partition, what it could not follow, and rebuilds.
    Status,
    /// Build read models anew beside those in use, then put them in their place. The server may run and goes on serving.
    ///
    /// Strict: an event that can't be applied ends it, and the read model in use stays. Interrupted, it goes on where it stopped. It runs at the
    /// lowest priority of the machine, so that a server on it comes first; what PostgreSQL does for it is not held back.
    Rebuild {
        /// Such as `lots`; `lotline projections list` names them.
        #[arg(required_unless_present = "all", value_parser = model)]
        models: Vec<Model>,
        /// Every read model.
        #[arg(long, conflicts_with = "models")]
        all: bool,
        /// Begin from nothing even if an interrupted rebuild could be gone on with.
        #[arg(long)]
        restart: bool,
        /// How many read models are written at the same time: more is faster and leaves less for the server.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
        lanes: u32,
    },
    /// Have a read model follow a halted stream again, from the event at which it stopped. The decision is recorded in the ledger.
    Retry {
        /// Such as `lots`.
        #[arg(value_parser = model)]
        model: Model,
        /// Where, why and who.
        #[command(flatten)]
        decision: DecisionArgs,
    },
    /// Have a read model leave out exactly one event and follow the rest of its stream. The decision is recorded in the ledger.
    Skip {
        /// Such as `lots`.
        #[arg(value_parser = model)]
        model: Model,
        /// Number of the event in its stream, as `status` shows it.
        #[arg(long)]
        sequence: u64,
        /// Where, why and who.
        #[command(flatten)]
        decision: DecisionArgs,
    },
    /// Delete what interrupted rebuilds have left, without going on with them.
    Discard {
        /// Such as `lots`.
        #[arg(required = true, value_parser = model)]
        models: Vec<Model>,
    },
}

/// What every decision about a read model needs.
#[derive(Debug, Clone, Args)]
pub struct DecisionArgs {
    /// The halted stream: a site id or `_tenant`.
    #[arg(long)]
    pub stream: String,
    /// Why; it stays in the ledger for ever.
    #[arg(long)]
    pub reason: String,
    /// Who decides, where the server runs in development mode.
    #[arg(long, env = "LOTLINE_ACTOR", required_unless_present = "token")]
    pub actor: Option<String>,
    /// An access token or API key of who decides.
    #[arg(long, env = "LOTLINE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The running server, such as `http://127.0.0.1:8080`; the address in the configuration when not given.
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
}

fn model(name: &str) -> Result<Model, String> {
    Model::parse(name).ok_or_else(|| {
        let names = Model::ALL.map(Model::name).join(", ");
        format!("the read models are {names}")
    })
}

/// A log to copy into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CopyTarget {
    /// Apache Kafka.
    Kafka,
    /// The embedded log.
    Postgres,
}

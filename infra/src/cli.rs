//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Look at the event log.
    #[command(subcommand)]
    Log(LogCommand),
    /// Write, check or register the formats of both topics: JSON Schemas, AsyncAPI, Protobuf.
    ///
    /// Example: lotline formats --out formats
    Formats(crate::formats::FormatsArgs),
    /// Print the configuration that results from all layers.
    Config,
}

/// Options of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Parts of the server to run in this process. Health and metrics are served at `api.bind` in any case.
    #[arg(long, value_delimiter = ',', default_values_t = Role::ALL.to_vec(), value_enum)]
    pub roles: Vec<Role>,
}

/// A part of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// GraphQL and subscriptions. Needs `writer` in the same process until commands can be forwarded.
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
    /// Makes the same story again.
    #[arg(long, default_value_t = 20_260_101)]
    pub seed: u64,
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
    },
}

/// A log to copy into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CopyTarget {
    /// Apache Kafka.
    Kafka,
    /// The embedded log.
    Postgres,
}

//! `lotline formats`: what stands in the two topics, in the languages of others: a JSON Schema per event, an AsyncAPI document, Protobuf.
//!
//! All of it is made from the types that write the log. `domain/schema/` holds it in git, with what was released beside it; tests fail when
//! the first is stale or breaks the second.

pub mod asyncapi;
pub mod compatibility;
pub mod headers;
pub mod protobuf;
pub mod registry;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use lotline_domain::event::Event;
use lotline_domain::sample::codec;
use serde_json::Value;

use crate::config::Config;
use compatibility::Formats;
use registry::{Outcome, Registry};

/// Options of `formats`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct FormatsArgs {
    /// Write all files into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What else to do with the formats.
    #[command(subcommand)]
    pub command: Option<FormatsCommand>,
}

/// What can be done with the formats besides writing them.
#[derive(Debug, Subcommand)]
pub enum FormatsCommand {
    /// Compare with released formats and fail on every change that a reader of these could not live with.
    Check {
        /// Folder of the released formats, as `release` or `--out` wrote it.
        #[arg(long, value_name = "DIR")]
        against: PathBuf,
    },
    /// Check, then write the formats as released into the folder. From then on they bind.
    Release {
        /// Folder of the released formats.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Register the formats in a Confluent-compatible schema registry, one subject per type.
    ///
    /// Example: `LOTLINE_SCHEMA_REGISTRY__PASSWORD=… lotline formats register --registry https://registry.plant.example --user lotline`
    Register {
        /// Base of the registry's REST API; `schema_registry.url` when not given.
        #[arg(long, value_name = "URL")]
        registry: Option<String>,
        /// User; `schema_registry.user` when not given. The password comes from the configuration only.
        #[arg(long)]
        user: Option<String>,
    },
}

/// File of the Protobuf schema.
pub const PROTO_FILE: &str = "signal_batch.proto";
/// File of the AsyncAPI document.
pub const ASYNCAPI_FILE: &str = "asyncapi.json";
/// Folder of the JSON Schemas.
pub const EVENTS_FOLDER: &str = "events";

/// Every file by its path below the folder, parts joined by `/`.
pub fn files() -> BTreeMap<String, String> {
    let mut files = contracts();
    files.insert(ASYNCAPI_FILE.to_owned(), pretty(&asyncapi::document()));
    files
}

/// The files that bind once they are released: the schemas, without the AsyncAPI document around them.
pub fn contracts() -> BTreeMap<String, String> {
    let schemas = Event::value_schemas().into_iter();
    let mut files: BTreeMap<String, String> =
        schemas.map(|(name, schema)| (format!("{EVENTS_FOLDER}/{name}.json"), pretty(&schema))).collect();
    files.insert(PROTO_FILE.to_owned(), codec::PROTO.to_owned());
    files
}

/// The formats that this version writes.
pub fn current() -> Formats {
    Formats {
        events: Event::value_schemas().into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect(),
        proto: codec::PROTO.to_owned(),
    }
}

/// Reads formats from a folder.
///
/// # Errors
/// A folder or file that can't be read, or a schema that is no JSON.
pub fn read(folder: &Path) -> anyhow::Result<Formats> {
    let events_folder = folder.join(EVENTS_FOLDER);
    let unreadable = |path: &Path| format!("{} can't be read", path.display());
    let mut events = BTreeMap::new();
    for entry in std::fs::read_dir(&events_folder).with_context(|| unreadable(&events_folder))? {
        let path = entry.with_context(|| unreadable(&events_folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"))
        else {
            continue;
        };
        let text = std::fs::read(&path).with_context(|| unreadable(&path))?;
        let schema: Value = serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))?;
        events.insert(name.to_owned(), schema);
    }
    let proto_file = folder.join(PROTO_FILE);
    let proto = std::fs::read_to_string(&proto_file).with_context(|| unreadable(&proto_file))?;
    Ok(Formats { events, proto })
}

/// Does what the command line says.
///
/// # Errors
/// Files that can't be read or written, a breaking change, or a registry that does not answer or refuses.
pub async fn run(config: &Config, arguments: &FormatsArgs) -> anyhow::Result<()> {
    match (&arguments.out, &arguments.command) {
        (Some(folder), _) => {
            let files = files();
            write(folder, &files)?;
            say(&format!("{} files written to {}", files.len(), folder.display()))
        }
        (None, Some(FormatsCommand::Check { against })) => check(against),
        (None, Some(FormatsCommand::Release { to })) => {
            if to.join(PROTO_FILE).exists() {
                check(to)?;
            }
            write(to, &contracts())?;
            say(&format!("released into {}", to.display()))
        }
        (None, Some(FormatsCommand::Register { registry, user })) => {
            let mut section = config.schema_registry.clone();
            section.url = registry.clone().unwrap_or(section.url);
            section.user = user.clone().unwrap_or(section.user);
            anyhow::ensure!(!section.url.is_empty(), "no registry: give --registry URL or set schema_registry.url");
            register(&Registry::new(&section.url, credentials(&section), Duration::from_secs(section.timeout_s))?).await
        }
        (None, None) => bail!("give --out DIR, or one of check, release, register"),
    }
}

fn credentials(section: &crate::config::SchemaRegistrySection) -> Option<(String, String)> {
    (!section.user.is_empty()).then(|| (section.user.clone(), section.password.clone()))
}

fn check(against: &Path) -> anyhow::Result<()> {
    let released = read(against)?;
    let breaks = compatibility::compare(&released, &current())?;
    if breaks.is_empty() {
        return say(&format!("compatible with {}: {} released events", against.display(), released.events.len()));
    }
    let mut text = format!("{} changes break what was released in {}:", breaks.len(), against.display());
    for change in &breaks {
        write!(text, "\n  {change}").context("the report can't be written")?;
    }
    bail!("{text}\nAdd the field as optional, or a new version of the type beside the old one.")
}

async fn register(registry: &Registry) -> anyhow::Result<()> {
    for (subject, outcome) in registry.register(&registry::subjects()).await? {
        say(&match outcome {
            Outcome::Unchanged { id } => format!("{subject}: already there with id {id}"),
            Outcome::Registered { id } => format!("{subject}: registered with id {id}"),
        })?;
    }
    Ok(())
}

fn write(folder: &Path, files: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).with_context(|| format!("{} can't be created", parent.display()))?;
        std::fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))?;
    }
    Ok(())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output is closed")
}

//! `lotline demo`: the server with a small dairy. Its pasteuriser speaks real Modbus TCP, its operators use the API over HTTP.
//!
//! Nothing here knows the inside of the server: the plant is a device like any other, the operators are clients like any other.

pub mod history;
mod mutation;
pub mod operators;
pub mod plant;
pub mod story;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lotline_adapters::clock::{RandomIds, SystemClock};
use lotline_adapters::collector::config::DeviceConfig;
use lotline_api::Mode;
use lotline_commands::bus::CommandBus;
use lotline_domain::id::DeviceId;
use lotline_domain::port::Clock;
use tokio_util::sync::CancellationToken;

use self::history::{Plan, Writing};
use self::operators::Operators;
use self::plant::{Plant, registers};
use self::story::Story;
use crate::cli::{DemoArgs, Role};
use crate::config::Config;
use crate::{output, serve};

const POLL_INTERVAL_MS: u64 = 200;

/// Runs until a signal or a failure, or, when asked to, until the last batch is played.
///
/// # Errors
/// What kept it from starting, or the failure that ended it.
pub async fn run(mut config: Config, arguments: &DemoArgs) -> anyhow::Result<()> {
    let plant = Plant::bind(arguments.seed).await.context("the demo's plant can't listen on 127.0.0.1")?;
    let device = DeviceId::new(registers::DEVICE).context("the demo's device has a bad id")?;
    config.collector.devices.retain(|configured| configured.id != device);
    let address = plant.address();
    let device = DeviceConfig::new(device, address.ip().to_string(), address.port());
    config.collector.devices.push(DeviceConfig { poll_interval_ms: POLL_INTERVAL_MS, ..device });

    // Nobody comes here without having said so.
    config.access.mode = Mode::Development;
    let mut running = serve::start(&config, &Role::ALL).await?;
    let url = running.url.clone().context("the server has no API for the demo's operators")?;
    welcome(&url, &address.to_string())?;
    let token = running.lifecycle.token();
    running.lifecycle.spawn("the demo's plant", plant.run(token.clone()));
    let operators = Operators {
        url,
        site: config.collector.site.clone().unwrap_or_else(|| config.tenant.sites[0].clone()),
        pace: Duration::from_millis(arguments.pace_ms),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds::default()),
    };
    let bus = running.bus.clone();
    running.lifecycle.spawn("the demo's operators", work(operators, bus, arguments.clone(), token));
    running.lifecycle.run(serve::SHUTDOWN_DEADLINE).await
}

/// What to open and what to try, apart from the log lines.
fn welcome(url: &str, plant: &str) -> anyhow::Result<()> {
    let text = format!(
        "
  Lotline runs with a small dairy, in development mode: everybody who reaches this port is believed.

    playground   {url}/graphiql
    GraphQL      {url}/graphql
    health       {url}/health/ready    metrics  {url}/metrics
    pasteuriser  Modbus TCP at {plant}

  The operators are at work; Ctrl-C sends them home and stops Lotline.
  To look at this plant from another shell: eval \"$(make use)\"; lotline log tail --follow

"
    );
    Ok(output::print(&text)?)
}

async fn work(
    operators: Operators,
    bus: CommandBus,
    arguments: DemoArgs,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let now = SystemClock.now().to_utc();
    let label = now.format("%m%d-%H%M%S").to_string();
    if let Some(lots) = arguments.lots {
        let (site, clock, ids) = (operators.site.clone(), Arc::clone(&operators.clock), Arc::clone(&operators.ids));
        let plan = Plan::new(arguments.seed, &label, lots);
        Writing { bus, site, clock, ids }.write(plan, &stop).await?;
    }
    let story = Story::new(arguments.seed, label, now.date_naive());
    match stop.run_until_cancelled(operators.declare(&registers::signals())).await {
        Some(declared) => declared?,
        None => return Ok(()),
    }
    let batches = arguments.batches.unwrap_or(u64::MAX);
    let tally = operators.play(story.batches(batches), &stop).await?;
    tracing::info!(
        accepted = tally.accepted,
        refused = tally.refused,
        surprises = tally.surprises,
        "the operators have gone home"
    );
    if !arguments.exit {
        stop.cancelled().await;
    }
    Ok(())
}

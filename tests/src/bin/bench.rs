//! `make bench`: prints one line `RESULT <name> <value> <unit> <ratio>` per figure and keeps them in `results/`.

use clap::Parser;
use lotline_adapters::clock::SystemClock;
use lotline_domain::port::Clock;
use lotline_tests::bench::report::Report;
use lotline_tests::bench::{access, api, cluster, hold, ledger, projection, trace};

/// Measures Lotline against raw probes in the same run.
#[derive(Parser)]
struct Arguments {
    /// Only figures whose names begin with this.
    #[arg(long, default_value = "")]
    only: String,
    /// Lots of the plant that is traced.
    #[arg(long, env = "BENCH_TRACE_LOTS", default_value_t = 10_000_000)]
    trace_lots: u32,
    /// Lots of the site on which holds are placed.
    #[arg(long, env = "BENCH_HOLD_LOTS", default_value_t = 1_000_000)]
    hold_lots: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut report = Report::new(&arguments.only, SystemClock.now());
    access::run(&mut report).await?;
    hold::run(&mut report, arguments.hold_lots)?;
    ledger::run(&mut report).await?;
    api::run(&mut report).await?;
    cluster::run(&mut report).await?;
    projection::run(&mut report).await?;
    trace::run(&mut report, arguments.trace_lots).await?;
    let file = report.save()?;
    report.note(&format!("kept in {}", file.display()));
    Ok(())
}

//! The `lotline` binary.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lotline_adapters::log::kafka::wait_until_closed;
use lotline_infra::cli::Cli;
use lotline_infra::{output, telemetry};

/// How long Kafka's clients may take to close their connections.
const CLOSING: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let ended = lotline_infra::run(Cli::parse());
    if !wait_until_closed(CLOSING) {
        telemetry::complain(&anyhow::anyhow!("some connections to Kafka were not closed in time"));
    }
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::complain(&error);
            ExitCode::FAILURE
        }
    }
}

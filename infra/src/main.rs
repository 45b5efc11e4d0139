//! The `lotline` binary.

use std::process::ExitCode;

use clap::Parser;
use lotline_infra::cli::Cli;
use lotline_infra::output;

fn main() -> ExitCode {
    match lotline_infra::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lotline: {error:#}");
            ExitCode::FAILURE
        }
    }
}

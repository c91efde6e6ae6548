//! Builds a node and owns the order of its start and its end.

use crate::config::Config;
use std::process::ExitCode;

/// Runs one node until it is told to stop.
pub fn serve(config: Config) -> ExitCode {
    missing(&[config])
}

/// Runs several nodes in this process until they are told to stop.
pub fn demo(configs: Vec<Config>) -> ExitCode {
    missing(&configs)
}

/// Reads a data directory offline and reports on every object.
pub fn verify(config: Config, _json: bool) -> ExitCode {
    missing(&[config])
}

fn missing(configs: &[Config]) -> ExitCode {
    eprintln!("boveda: this build cannot run the {} node(s) asked for", configs.len());
    ExitCode::FAILURE
}

//! Boveda: the command line. Everything is in the library, so that tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    boveda::cli::run(std::env::args_os(), std::env::vars_os())
}

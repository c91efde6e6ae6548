//! `boveda config check`: what `serve` would do with the same flags, without doing it.

use super::settings::{Env, NodeArgs};
use super::{Exit, print, refuse};
use crate::config::{check, show};
use std::io::Write;
use std::process::ExitCode;

/// Print the configuration that `serve` would run with
///
/// Takes the flags of `serve`. The output is TOML; what is not a default says who set it. Warnings
/// go to stderr. Certificate and key are read, too. Exits 2 when `serve` would refuse it.
#[derive(Debug, clap::Args)]
pub struct Check {
    #[command(flatten)]
    node: NodeArgs,
}

impl Check {
    /// Prints the effective configuration, or why there is none.
    pub fn run(&self, env: &Env) -> ExitCode {
        match self.node.load(env) {
            Ok(loaded) => {
                if let Some(Err(error)) = crate::node::certificate_files(&loaded.config).map(|files| files.check()) {
                    return refuse(&error, Exit::Usage);
                }
                for remark in check::remarks(&loaded.config) {
                    let _ = writeln!(std::io::stderr(), "warning: {remark}");
                }
                print(&show::effective(&loaded))
            }
            Err(error) => refuse(&error, Exit::Usage),
        }
    }
}

//! `boveda status`: asks a running node how it is.
//!
//! Whatever answers, what is printed cannot steer a terminal.

use super::settings::Env;
use super::whom::NodeArg;
use super::{Exit, print, refuse, status_text};
use std::process::ExitCode;

/// Ask a running node how it and its peers are
///
/// Shows what /v1/cluster of that node says: disk, scrubbing, healing, keys, and for each peer the link, what
/// it lacks, whether it holds the same, and what it tells of itself. What wants attention stands behind a `!`.
/// Exits 3 then, and 1 when the node does not answer.
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    node: NodeArg,
    /// Print the node's answer as it is
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Asks the node and prints its status.
    pub fn run(&self, env: &Env) -> ExitCode {
        match self.node.node(env).and_then(|node| node.ask("GET", "/v1/cluster", "node")) {
            Ok(answered) => {
                let page = match self.json {
                    true => format!("{}\n", answered.raw.trim_end()),
                    false => status_text::page(&answered.json),
                };
                let printed = print(&page);
                if status_text::is_unwell(&answered.json) { Exit::Partly.into() } else { printed }
            }
            Err(error) => refuse(&error, Exit::Failed),
        }
    }
}

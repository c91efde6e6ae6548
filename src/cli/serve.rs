//! `boveda serve`: one node, until SIGTERM.

use super::settings::{Env, NodeArgs};
use super::{Exit, refuse};
use std::process::ExitCode;

/// Run a node
///
/// Without a configuration: HTTP on 127.0.0.1:5000, S3 on 127.0.0.1:5001, data in ./boveda-data, and a key made in
/// ./boveda-keys at the first start. SIGTERM or Ctrl-C drains and ends it.
#[derive(Debug, clap::Args)]
pub struct Serve {
    #[command(flatten)]
    node: NodeArgs,
}

impl Serve {
    /// Starts the node that the settings describe.
    pub fn run(&self, env: &Env) -> ExitCode {
        match self.node.load(env) {
            Ok(loaded) => crate::node::serve(loaded.config),
            Err(error) => refuse(&error, Exit::Usage),
        }
    }
}

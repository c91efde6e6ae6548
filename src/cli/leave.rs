//! `boveda leave`: a node goes on without its cluster, for good.

use super::settings::{DataArg, Env, FileArg, KeyDirArg};
use super::{Exit, refuse};
use std::process::ExitCode;

/// Let a node go on alone when its cluster is lost for good
///
/// The node must not be running. Its data directory keeps what it holds, and begins a cluster of its own, which new
/// nodes with empty directories may join. Answered writes that reached only the other nodes are lost. The others never
/// take it back, nor it them: run this on one node alone, when no majority of the cluster can come back.
#[derive(Debug, clap::Args)]
pub struct Leave {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    data: DataArg,
    #[command(flatten)]
    keys: KeyDirArg,
    /// Do it; without this it only says what would be done
    #[arg(long)]
    yes: bool,
}

impl Leave {
    /// Leaves the cluster that the directory is a member of.
    pub fn run(&self, env: &Env) -> ExitCode {
        let mut flags = self.data.flags();
        flags.extend(self.keys.flags());
        match self.file.load(env, &flags) {
            Ok(loaded) => crate::node::leave(loaded.config, self.yes).into(),
            Err(error) => refuse(&error, Exit::Usage),
        }
    }
}

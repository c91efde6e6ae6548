//! `boveda verify`: reads a data directory that no node is using.

use super::settings::{DataArg, Env, FileArg, KeyDirArg};
use super::{Exit, refuse};
use std::process::ExitCode;

/// Check a data directory offline
///
/// Opens every object, compares digests, and reports what does not open and what no record names. The
/// node must not be running. Nothing is changed.
#[derive(Debug, clap::Args)]
pub struct Verify {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    data: DataArg,
    #[command(flatten)]
    keys: KeyDirArg,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Checks the directory that the settings name.
    pub fn run(&self, env: &Env) -> ExitCode {
        let mut flags = self.data.flags();
        flags.extend(self.keys.flags());
        match self.file.load(env, &flags) {
            Ok(loaded) => crate::node::verify(loaded.config, self.json).into(),
            Err(error) => refuse(&error, Exit::Usage),
        }
    }
}

//! `boveda scrub status`, `pause`, `resume`: the scrubber of a running node.

use super::settings::Env;
use super::whom::Asked;
use super::{Exit, print, refuse, status_text};
use std::process::ExitCode;

const PATH: &str = "/v1/cluster/scrub";

/// Look at the scrubber of a running node, pause it, let it go on
///
/// The scrubber reads everything that lies on the disk once in scrub.period, and has a peer's copy put in place
/// of what does not open.
#[derive(Debug, clap::Subcommand)]
pub enum Scrub {
    /// Show how far it has come and what it found
    Status(Asked),
    /// Let it stand still, over restarts too, until it is resumed
    Pause(Asked),
    /// Let it go on where it was
    Resume(Asked),
}

impl Scrub {
    /// Asks and prints how the scrubber is then. Exits 1 when the node does not answer, or refuses.
    pub fn run(&self, env: &Env) -> ExitCode {
        let (asked, method, query) = match self {
            Scrub::Status(asked) => (asked, "GET", ""),
            Scrub::Pause(asked) => (asked, "PUT", "?state=paused"),
            Scrub::Resume(asked) => (asked, "PUT", "?state=running"),
        };
        match asked.node.node(env).and_then(|node| node.ask(method, &format!("{PATH}{query}"), "state")) {
            Ok(answered) if asked.json => print(&format!("{}\n", answered.raw.trim_end())),
            Ok(answered) => print(&status_text::scrub_page(&answered.json)),
            Err(error) => refuse(&error, Exit::Failed),
        }
    }
}

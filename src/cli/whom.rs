//! Which node a command asks, and by whose word it knows that node.

use super::client::{Answered, ClientError, Url};
use std::path::PathBuf;
use std::time::Duration;

/// Which node.
#[derive(Debug, clap::Args)]
pub struct Whom {
    /// The node's HTTP port; https:// where it has a certificate
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5000")]
    url: Url,
    /// Authorities, as PEM, of which one has to have signed the node's certificate [default: those of the system]
    #[arg(long, value_name = "FILE", env = "BOVEDA_CACERT")]
    cacert: Option<PathBuf>,
}

impl Whom {
    /// Sends one request without a body. The answer has to be JSON with `member` in it, by which a node is known.
    pub fn ask(&self, method: &str, target: &str, member: &str) -> Result<Answered, ClientError> {
        self.url.ask(self.cacert.as_deref(), (method, target, member), None)
    }

    /// Sends one request that may take as long as `silence` to be answered.
    pub fn ask_patiently(
        &self,
        method: &str,
        target: &str,
        member: &str,
        silence: Duration,
    ) -> Result<Answered, ClientError> {
        self.url.ask(self.cacert.as_deref(), (method, target, member), Some(silence))
    }
}

//! Which node a command asks, by whose word it knows that node, and who it says it is.
//!
//! Invariants
//! - The secret of a key goes to the node and nowhere else, into no error and no warning.
//! - A key that can be read on its way to another machine is sent, and is warned of.

use super::client::{ClientError, Node};
use super::settings::Env;
use super::url::Url;
use crate::base::Credential;
use crate::config::layers::{CACERT_VARIABLE, CREDENTIAL_VARIABLES};
use crate::disk::secret_file;
use crate::tls::Trust;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Which node, and who asks: the environment says so by BOVEDA_ACCESS_KEY and BOVEDA_SECRET_KEY, unless a profile does.
#[derive(Debug, clap::Args)]
pub struct NodeArg {
    /// The node's HTTP port; https:// where it has a certificate
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5000")]
    url: Url,
    /// Authorities, as PEM, of which one has to have signed the node's certificate [default: those of the system]
    #[arg(long, value_name = "FILE", env = CACERT_VARIABLE)]
    cacert: Option<PathBuf>,
    /// Read the access key from this file, as `boveda access create --json` prints it
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

/// Which node, and how its answer is printed.
#[derive(Debug, clap::Args)]
pub struct Asked {
    #[command(flatten)]
    pub(super) node: NodeArg,
    /// Print the node's answer as it is
    #[arg(long)]
    pub(super) json: bool,
}

impl NodeArg {
    /// The node, as whoever runs this command is known there. Warns, on stderr, of a key that can be read on its way.
    pub fn node(&self, env: &Env) -> Result<Node, ClientError> {
        let trust = if self.url.tls { Some(Trust::of(self.cacert.as_deref())?) } else { None };
        let key = credential(self.profile.as_deref(), env)?;
        if key.is_some() && self.url.is_in_the_clear() {
            let url = &self.url;
            let _ = writeln!(io::stderr(), "warning: the access key can be read on its way to {url}: use https://");
        }
        Ok(Node { url: self.url.clone(), trust, key })
    }
}

/// The key of whoever runs a command, if one is named: by a profile, or by the environment.
pub(super) fn credential(profile: Option<&Path>, env: &Env) -> Result<Option<Credential>, ClientError> {
    Ok(match profile {
        Some(file) => {
            let json = secret_file::read(file)?;
            Some(Credential::parse(json.expose()).ok_or_else(|| ClientError::NoProfile(file.to_owned()))?)
        }
        None => match CREDENTIAL_VARIABLES.map(|name| env.get(name)) {
            [None, None] => None,
            [id, secret] => Some(
                id.zip(secret).and_then(|(id, secret)| Credential::of(id, secret)).ok_or(ClientError::NoCredential)?,
            ),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;

    #[test]
    fn who_asks_is_said_by_a_profile_or_by_the_environment() {
        let (id, secret) = ("A".repeat(20), "B".repeat(40));
        let arg = |profile: Option<PathBuf>| NodeArg {
            url: "http://localhost".parse().expect("an address"),
            cacert: None,
            profile,
        };
        let env = |vars: &[(&str, &str)]| vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Env>();
        let asks = |arg: &NodeArg, vars: &[(&str, &str)]| arg.node(&env(vars)).map(|node| node.key.map(|key| key.id));
        let both = [("BOVEDA_ACCESS_KEY", id.as_str()), ("BOVEDA_SECRET_KEY", secret.as_str())];
        assert!(asks(&arg(None), &[]).is_ok_and(|key| key.is_none()));
        assert!(asks(&arg(None), &both).is_ok_and(|key| key.is_some()));
        for half in [&both[..1], &both[1..], &[both[0], ("BOVEDA_SECRET_KEY", "B")]] {
            assert!(matches!(asks(&arg(None), half), Err(ClientError::NoCredential)));
        }
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("profile");
        assert!(matches!(asks(&arg(Some(file.clone())), &both), Err(ClientError::Profile(_))));
        let other = Credential::of(&"C".repeat(20), &secret).expect("a key");
        secret_file::create(&file, &other.to_json()).expect("a file");
        assert!(asks(&arg(Some(file.clone())), &both).is_ok_and(|key| key == Some(other.id)), "the profile counts");
        secret_file::remove(&file).expect("ours");
        secret_file::create(&file, &Secret::new(b"{}".to_vec())).expect("a file");
        assert!(matches!(asks(&arg(Some(file)), &both), Err(ClientError::NoProfile(_))));
    }
}

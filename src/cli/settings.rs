//! Flags that set keys of the configuration, and how file, environment and flags come together.

use crate::config::layers::ENV_PREFIX;
use crate::config::{ConfigError, Flag, Loaded, Origin, load};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// The environment as the configuration takes it.
pub type Env = BTreeMap<String, String>;

/// Which file to read.
#[derive(Debug, clap::Args)]
pub struct FileArg {
    /// Read settings from this file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where the sealed bytes are.
#[derive(Debug, clap::Args)]
pub struct DataArg {
    /// Directory of sealed bytes [node.data, default ./boveda-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
}

/// Where the keys are, and what opens their files.
#[derive(Debug, clap::Args)]
pub struct KeyDirArg {
    /// Directory of the key ring [node.key_dir, default ./boveda-keys]
    #[arg(long, value_name = "DIR")]
    key_dir: Option<String>,
    /// File with the passphrase of a ring whose key files are wrapped; /dev/fd/N reads one that is open
    /// [node.key_passphrase_file]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<String>,
}

/// All flags of a node.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    data: DataArg,
    /// Refuse to start unless the data directory holds data: its volume may not be mounted
    /// [node.data_must_exist]
    #[arg(long)]
    require_data: bool,
    /// This node's name among the peers [node.name, default boveda]
    #[arg(long, value_name = "NODE")]
    name: Option<String>,
    /// Address of the HTTP port [http.listen, default 127.0.0.1:5000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address of the S3 port; empty for none [s3.listen, default 127.0.0.1:5001]
    #[arg(long, value_name = "ADDR")]
    s3_listen: Option<String>,
    /// Certificate of the HTTP port and the S3 port, as PEM; they speak https then [tls.cert]
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key of that certificate, as PEM [tls.key]
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Address of the peer port [peer.listen, default 127.0.0.1:5002]
    #[arg(long, value_name = "ADDR")]
    peer_listen: Option<String>,
    /// A node of the cluster; once for each [cluster.peers, replaces the list of the file]
    #[arg(long, value_name = "NAME=URL")]
    peer: Vec<String>,
    #[command(flatten)]
    keys: KeyDirArg,
    /// What a write has survived when it is answered: majority or local [cluster.durability]
    #[arg(long, value_name = "majority|local")]
    durability: Option<String>,
    /// Accept that whoever reaches the HTTP port may read, write and delete, until there is an access key; without
    /// it a node that other machines reach makes a first one [http.insecure_open]
    #[arg(long)]
    insecure_open: bool,
}

impl NodeArgs {
    /// The settings that these flags, the environment and the file add up to.
    pub fn load(&self, env: &Env) -> Result<Loaded, ConfigError> {
        let mut flags = self.data.flags();
        flags.extend(self.keys.flags());
        flags.extend(flag("--name", "node.name", &self.name));
        flags.extend(flag("--listen", "http.listen", &self.listen));
        flags.extend(flag("--s3-listen", "s3.listen", &self.s3_listen));
        flags.extend(flag("--tls-cert", "tls.cert", &self.tls_cert));
        flags.extend(flag("--tls-key", "tls.key", &self.tls_key));
        flags.extend(flag("--peer-listen", "peer.listen", &self.peer_listen));
        flags.extend(flag("--durability", "cluster.durability", &self.durability));
        flags.extend(flag("--peer", "cluster.peers", &(!self.peer.is_empty()).then(|| self.peer.join(","))));
        flags.extend(flag("--require-data", "node.data_must_exist", &self.require_data.then(|| "true".to_owned())));
        flags.extend(flag("--insecure-open", "http.insecure_open", &self.insecure_open.then(|| "true".to_owned())));
        self.file.load(env, &flags)
    }
}

impl FileArg {
    /// Reads the file, if one was named, and puts the layers together.
    pub fn load(&self, env: &Env, flags: &[Flag]) -> Result<Loaded, ConfigError> {
        let Some(path) = &self.config else { return load(None, env, flags) };
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        load(Some((path, &text)), env, flags)
    }
}

impl DataArg {
    /// `--data`, if it was given.
    pub fn flags(&self) -> Vec<Flag> {
        flag("--data", "node.data", &self.data).into_iter().collect()
    }
}

impl KeyDirArg {
    /// `--key-dir` and `--passphrase-file`, as far as they were given.
    pub fn flags(&self) -> Vec<Flag> {
        let dir = flag("--key-dir", "node.key_dir", &self.key_dir);
        let passphrase = flag("--passphrase-file", "node.key_passphrase_file", &self.passphrase_file);
        dir.into_iter().chain(passphrase).collect()
    }
}

fn flag(name: &'static str, key: &'static str, text: &Option<String>) -> Option<Flag> {
    text.clone().map(|text| Flag { name, key, text })
}

/// The variables that are ours. One that is not text is refused: a path guessed from it would be another path.
pub fn environment(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Env, ConfigError> {
    let ours = vars.into_iter().filter(|(name, _)| name.as_encoded_bytes().starts_with(ENV_PREFIX.as_bytes()));
    ours.map(|(name, value)| {
        let shown = name.to_string_lossy().into_owned();
        let text = name.into_string().and_then(|name| value.into_string().map(|value| (name, value)));
        text.map_err(|_| ConfigError::Value {
            origin: Origin::Environment(shown.clone()),
            key: shown,
            why: "is not UTF-8; set it to plain text or unset it".to_owned(),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn only_our_variables_count_and_they_are_text() {
        let vars = |value: &[u8]| [("PATH", b"\xff".to_vec()), ("BOVEDA_NODE_DATA", value.to_vec())];
        let take = |value: &[u8]| {
            environment(vars(value).map(|(name, value)| (OsString::from(name), OsString::from_vec(value))))
        };
        let env = take(b"/data").expect("plain text");
        assert_eq!(env.into_iter().collect::<Vec<_>>(), [("BOVEDA_NODE_DATA".to_owned(), "/data".to_owned())]);
        let error = take(b"/d\xff").expect_err("not text").to_string();
        assert!(error.starts_with("environment BOVEDA_NODE_DATA") && error.contains("UTF-8"), "{error}");
    }
}

//! `boveda key new`, `boveda key list`: the key ring, without ever showing a key; `boveda key rotate` asks a node.

use super::key_rotate::Rotate;
use super::settings::{Env, FileArg, KeyDirArg};
use super::{Exit, print, refuse};
use crate::base::Secret;
use crate::config::ConfigError;
use crate::disk::keydir::{self, KeyDirError};
use crate::seal::{Keyring, SealError, random};
use std::path::PathBuf;
use std::process::ExitCode;

/// Make, list and rotate encryption keys
#[derive(Debug, clap::Subcommand)]
pub enum Key {
    /// Add a generation to the key ring
    ///
    /// A running node takes the new file in within seconds, or at once on SIGHUP. Copy the file to every node; then
    /// `boveda key rotate` has all of them seal under it. Without its keys a data directory is noise, so keep a copy
    /// elsewhere.
    New(KeyArgs),
    /// List the generations of the key ring with their ids
    List(KeyArgs),
    /// Have all nodes seal under the newest generation, and seal anew what lies under older ones
    ///
    /// Refused until all members hold it. What lies under older generations is sealed anew by each node, beside the
    /// traffic; `boveda status` shows how far that is, and says when no member needs a generation any more.
    Rotate(Rotate),
}

/// Which ring.
#[derive(Debug, clap::Args)]
pub struct KeyArgs {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    keys: KeyDirArg,
}

#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Dir(#[from] KeyDirError),
    #[error("key ring in {}: {source}", .dir.display())]
    Ring {
        dir: PathBuf,
        #[source]
        source: SealError,
    },
}

impl KeyError {
    fn exit(&self) -> Exit {
        match self {
            KeyError::Dir(KeyDirError::NoKeys { .. }) => Exit::NotFound,
            KeyError::Dir(KeyDirError::Io { .. } | KeyDirError::Exists { .. }) => Exit::Failed,
            KeyError::Config(_) | KeyError::Dir(_) | KeyError::Ring { .. } => Exit::Usage,
        }
    }
}

impl Key {
    /// Does what was asked and prints a line for each generation concerned.
    pub fn run(&self, env: &Env) -> ExitCode {
        let done = match self {
            Key::New(args) => args.dir(env).and_then(add),
            Key::List(args) => args.dir(env).and_then(list),
            Key::Rotate(rotate) => return rotate.run(env),
        };
        match done {
            Ok(text) => print(&text),
            Err(error) => refuse(&error, error.exit()),
        }
    }
}

impl KeyArgs {
    fn dir(&self, env: &Env) -> Result<PathBuf, KeyError> {
        Ok(self.file.load(env, &self.keys.flags())?.config.node.key_dir)
    }
}

fn add(dir: PathBuf) -> Result<String, KeyError> {
    let generation = keydir::next_generation(&dir)?;
    if generation > 1 {
        // A ring that does not open is not made better by one more key.
        ring(&dir)?;
    }
    let file = keydir::create(&dir, generation, &Secret::new(random()))?;
    let ring = ring(&dir)?;
    Ok(format!("generation {generation}  id {}  {}\n", ring.active(), file.display()))
}

fn list(dir: PathBuf) -> Result<String, KeyError> {
    let ring = ring(&dir)?;
    let line = |(generation, id)| {
        // Which one seals by now, `boveda status` says.
        format!("generation {generation}  id {id}\n")
    };
    Ok(ring.generations().into_iter().map(line).collect())
}

fn ring(dir: &std::path::Path) -> Result<Keyring, KeyError> {
    Keyring::new(keydir::load(dir)?).map_err(|source| KeyError::Ring { dir: dir.to_owned(), source })
}

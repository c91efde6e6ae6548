//! `boveda key new`, `boveda key list`: the key ring, without ever showing a key; `boveda key rotate` asks a node.

use super::key_rotate::Rotate;
use super::settings::{Env, FileArg, KeyDirArg};
use super::{Exit, print, refuse};
use crate::config::ConfigError;
use crate::disk::keydir::KeyDirError;
use crate::node::{KeySource, KeySourceError};
use std::process::ExitCode;

/// Make, list and rotate encryption keys
#[derive(Debug, clap::Subcommand)]
pub enum Key {
    /// Add a generation to the key ring
    ///
    /// A running node takes the new file in within seconds, or at once on SIGHUP. Copy the file to every node; then
    /// `boveda key rotate` has all of them seal under it. Without its keys a data directory is noise, so keep a copy
    /// elsewhere.
    ///
    /// With a passphrase (--passphrase-file, node.key_passphrase_file or BOVEDA_KEY_PASSPHRASE) the file holds the key
    /// wrapped under it, and every node needs the passphrase at its start.
    New(KeyArgs),
    /// List the generations of the key ring with their ids, and which of their files are wrapped
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
    Source(#[from] KeySourceError),
}

impl KeyError {
    fn exit(&self) -> Exit {
        match self {
            KeyError::Source(KeySourceError::Dir(KeyDirError::NoKeys { .. })) => Exit::NotFound,
            KeyError::Source(KeySourceError::Dir(KeyDirError::Io { .. } | KeyDirError::Exists { .. })) => Exit::Failed,
            KeyError::Source(KeySourceError::Command(_)) => Exit::Failed,
            KeyError::Source(KeySourceError::Dir(KeyDirError::Wrapped { .. })) => Exit::WrongKey,
            KeyError::Config(_) | KeyError::Source(_) => Exit::Usage,
        }
    }
}

impl Key {
    /// Does what was asked and prints a line for each generation concerned.
    pub fn run(&self, env: &Env) -> ExitCode {
        let done = match self {
            Key::New(args) => args.source(env).and_then(|source| add(&source)),
            Key::List(args) => args.source(env).and_then(|source| list(&source)),
            Key::Rotate(rotate) => return rotate.run(env),
        };
        match done {
            Ok(text) => print(&text),
            Err(error) => refuse(&error, error.exit()),
        }
    }
}

impl KeyArgs {
    fn source(&self, env: &Env) -> Result<KeySource, KeyError> {
        Ok(KeySource::of(&self.file.load(env, &self.keys.flags())?.config)?)
    }
}

fn add(source: &KeySource) -> Result<String, KeyError> {
    if source.is_printed() || source.next_generation()? > 1 {
        // A ring that does not open is not made better by one more key.
        source.ring()?;
    }
    let (generation, file) = source.create()?;
    let wrapped = if source.wrapped()?.contains(&generation) { ", wrapped" } else { "" };
    Ok(format!("generation {generation}  id {}  {}{wrapped}\n", source.ring()?.active(), file.display()))
}

fn list(source: &KeySource) -> Result<String, KeyError> {
    let (ring, wrapped) = (source.ring()?, source.wrapped()?);
    let line = |(generation, id)| {
        // Which one seals by now, `boveda status` says.
        let wrapped = if wrapped.contains(&generation) { ", wrapped" } else { "" };
        format!("generation {generation}  id {id}{wrapped}\n")
    };
    Ok(ring.generations().into_iter().map(line).collect())
}

//! Where the key ring comes from: a directory of files, which may be wrapped under a passphrase, or a command.
//!
//! Invariants
//! - A ring has one source. Where a command is set, the key directory is not looked into.
//! - What was read or printed is wiped, once the ring is made of it.

use crate::config::Config;
use crate::disk::key_command::{self, KeyCommandError};
use crate::disk::keydir::{self, KeyDirError, Keys, Look, WrappedAs};
use crate::disk::passphrase::{self, Passphrase, PassphraseError};
use crate::seal::passphrase as wrapping;
use crate::seal::{Keyring, SealError, random};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const WRAPPED: WrappedAs = WrappedAs { magic: wrapping::MAGIC, len: wrapping::WRAPPED_BYTES };

/// Why there is no ring: one line with the cause and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeySourceError {
    /// The key directory.
    #[error(transparent)]
    Dir(#[from] KeyDirError),
    /// The passphrase of its files.
    #[error("{0}; it is what node.key_passphrase_file (--passphrase-file) or {VARIABLE} names", VARIABLE = passphrase::VARIABLE)]
    Passphrase(#[from] PassphraseError),
    /// The command that prints the ring.
    #[error(transparent)]
    Command(#[from] KeyCommandError),
    /// The keys do not make a ring.
    #[error("key ring in {from}: {source}")]
    Ring {
        /// Where the keys are from.
        from: String,
        /// What is wrong with them.
        #[source]
        source: SealError,
    },
    /// Keys are not made where a command prints them.
    #[error("the ring is what node.key_command prints: add a generation there, kek-{next:04} with 32 random bytes")]
    Printed {
        /// The number that a new generation would have.
        next: u32,
    },
}

/// Where a ring comes from.
#[derive(Debug)]
pub struct KeySource {
    dir: PathBuf,
    /// Empty where the ring is in the directory.
    command: Vec<String>,
    within: Duration,
    passphrase: Passphrase,
}

impl KeySource {
    /// The source that the settings name. Reads the passphrase, where it can be read only once.
    pub fn of(config: &Config) -> Result<Self, KeySourceError> {
        let node = &config.node;
        let file = Some(node.key_passphrase_file.as_path()).filter(|path| !path.as_os_str().is_empty());
        let variable = std::env::var(passphrase::VARIABLE).ok();
        let command = node.key_command.clone();
        let passphrase = match command.is_empty() {
            true => Passphrase::of(file, variable.as_deref())?,
            false => Passphrase::None,
        };
        Ok(KeySource { dir: node.key_dir.clone(), command, within: node.key_command_timeout, passphrase })
    }

    /// The ring as it is now.
    pub fn ring(&self) -> Result<Keyring, KeySourceError> {
        Keyring::new(self.load()?).map_err(|source| KeySourceError::Ring { from: self.to_string(), source })
    }

    /// All generations as they are now, in rising order. A command is waited for.
    pub fn load(&self) -> Result<Keys, KeySourceError> {
        if self.is_printed() {
            return Ok(key_command::run(&self.command, self.within)?);
        }
        let passphrase = self.passphrase.get()?;
        let open = |wrapped: &[u8]| match &passphrase {
            Some(passphrase) => wrapping::unwrap(passphrase.expose(), wrapped).map_err(|error| error.to_string()),
            None => Err(format!(
                "a key that is wrapped under a passphrase: name that by node.key_passphrase_file (--passphrase-file) or {}",
                passphrase::VARIABLE
            )),
        };
        Ok(keydir::load(&self.dir, WRAPPED, &open)?)
    }

    /// Makes the next generation, wrapped where there is a passphrase. Its number and its file.
    pub fn create(&self) -> Result<(u32, PathBuf), KeySourceError> {
        if self.is_printed() {
            let next = self.load()?.last().map_or(1, |(number, _)| number + 1);
            return Err(KeySourceError::Printed { next });
        }
        let generation = self.next_generation()?;
        let key = crate::base::Secret::new(random());
        let file = match self.passphrase.get()? {
            None => keydir::create(&self.dir, generation, key.expose())?,
            Some(passphrase) => keydir::create(&self.dir, generation, &wrapping::wrap(passphrase.expose(), &key))?,
        };
        Ok((generation, file))
    }

    /// The number that the next generation of the directory gets: 1 where there is none yet.
    pub fn next_generation(&self) -> Result<u32, KeySourceError> {
        Ok(keydir::next_generation(&self.dir)?)
    }

    /// The generations whose files are wrapped.
    pub fn wrapped(&self) -> Result<BTreeSet<u32>, KeySourceError> {
        if self.is_printed() {
            return Ok(BTreeSet::new());
        }
        Ok(keydir::wrapped(&self.dir, WRAPPED)?)
    }

    /// How the directory looks. A command looks the same always: it is run when somebody says so.
    pub fn look(&self) -> Look {
        if self.is_printed() { Look::default() } else { keydir::look(&self.dir) }
    }

    /// Whether a command prints the ring.
    pub fn is_printed(&self) -> bool {
        !self.command.is_empty()
    }

    /// The key directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.command.first() {
            Some(program) => write!(f, "what {program} prints (node.key_command)"),
            None => write!(f, "{}", self.dir.display()),
        }
    }
}

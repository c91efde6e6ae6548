//! Why a configuration was refused: one line that names the place, the key and the remedy.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from. A later one beats an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it: the value that `config/boveda.toml` documents.
    Default,
    /// The configuration file of that path.
    File(PathBuf),
    /// The environment; the variable's name.
    Environment(String),
    /// The command line; the flag's name with its dashes.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A configuration that no node may start with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("file {} cannot be read ({source}); name a readable file with --config, or leave it out for the defaults", .path.display())]
    Unreadable {
        /// The file that was named.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("file {} line {line}: {}; config/boveda.toml shows every key", .path.display(), one_line(.source.message()))]
    Syntax {
        /// The file that was read.
        path: PathBuf,
        /// Where in it, counted from 1.
        line: usize,
        /// What the parser said.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A section, key or variable that does not exist.
    #[error("{origin}: {name} is no setting; {remedy}")]
    Unknown {
        /// The layer, and its file where it is one.
        origin: Origin,
        /// The section, key or variable.
        name: String,
        /// What to do about it.
        remedy: String,
    },
    /// A value that the key cannot take, by itself or beside the others.
    #[error("{origin}: {key}: {why}")]
    Value {
        /// Where the value stands.
        origin: Origin,
        /// The key, as `section.key`.
        key: String,
        /// What is wrong and what would be right.
        why: String,
    },
}

/// Messages of parsers can span lines; an operator's log line must not.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

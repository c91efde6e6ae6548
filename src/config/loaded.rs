//! A configuration with the place that each of its values came from, and the list of all keys.
//!
//! Invariant: the keys are those of the defaults; a test holds `table` and `config/boveda.toml` to them.

use super::error::Origin;
use super::sections::Config;
use std::collections::BTreeMap;
use toml::Value;

/// A checked configuration, and where its values came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration that is in force.
    pub config: Config,
    /// `section.key` of every value that somebody set.
    pub(super) origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where the value of `section.key` came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// Every `section.key` in the order of the documentation.
pub fn keys() -> Vec<String> {
    let text = toml::to_string(&Config::default()).expect("the defaults are plain TOML");
    let mut section = "";
    let mut keys = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.push(format!("{section}.{key}"));
        }
    }
    keys
}

/// One value as it stands in a file; lists take a line for each entry.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Array(entries) if !entries.is_empty() => {
            let lines: String = entries.iter().map(|entry| format!("    {entry},\n")).collect();
            format!("[\n{lines}]")
        }
        other => other.to_string(),
    }
}

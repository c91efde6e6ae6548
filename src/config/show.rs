//! The effective configuration as a file that would have the same effect.
//!
//! What is printed reads back as the same `Config`, and each value that is not a default says where
//! it came from. No value is a secret: keys stay in the files that the paths name.

use super::error::Origin;
use super::loaded::{Loaded, keys, value};
use std::fmt::Write;
use toml::Table;

/// The whole configuration as TOML.
pub fn effective(loaded: &Loaded) -> String {
    let values = Table::try_from(&loaded.config).expect("a configuration is plain TOML");
    let mut out = String::new();
    let mut open = String::new();
    for key in keys() {
        let Some((section, name)) = key.split_once('.') else { continue };
        if section != open {
            let gap = if open.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}[{section}]");
            section.clone_into(&mut open);
        }
        let Some(shown) = values.get(section).and_then(|s| s.get(name)).map(value) else { continue };
        let _ = match loaded.origin(&key) {
            Origin::Default => writeln!(out, "{name} = {shown}"),
            origin => writeln!(out, "{name} = {shown}  # {origin}"),
        };
    }
    out
}

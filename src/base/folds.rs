//! Folds: which registers a list is of, and which of them it shows as one common prefix.
//!
//! Invariants
//! - The registers of one common prefix are neighbours: behind the first of them a reader may jump to its edge.
//! - What a register is shown as follows from its key alone, so that all nodes say the same of it.

use super::ids::BucketId;
use super::names::{ObjectKey, RegisterKey};

/// What a list is of: keys that begin with a prefix, those folded into one that hold a delimiter behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    prefix: RegisterKey,
    delimiter: Option<String>,
}

impl Folds {
    /// Objects whose keys begin with `prefix`.
    pub fn objects(bucket: BucketId, prefix: &str, delimiter: Option<&str>) -> Self {
        Folds::new(RegisterKey::object_prefix(bucket, prefix), delimiter)
    }

    /// All that begins so. A delimiter that is empty, or longer than a key, folds nothing.
    pub fn new(prefix: RegisterKey, delimiter: Option<&str>) -> Self {
        let delimiter = delimiter.filter(|d| (1..=ObjectKey::BYTES_MAX).contains(&d.len())).map(str::to_owned);
        Folds { prefix, delimiter }
    }

    /// What all keys of the list begin with.
    pub fn prefix(&self) -> &RegisterKey {
        &self.prefix
    }

    /// What folds, if anything does.
    pub fn delimiter(&self) -> Option<&str> {
        self.delimiter.as_deref()
    }

    /// Whether the list is of this register.
    pub fn covers(&self, key: &RegisterKey) -> bool {
        key.as_bytes().starts_with(self.prefix.as_bytes())
    }

    /// The common prefix that a register is shown as, its delimiter at the end; none where it is shown itself.
    pub fn common(&self, key: &RegisterKey) -> Option<RegisterKey> {
        let (delimiter, rest) = (self.delimiter.as_ref()?.as_bytes(), self.rest(key)?);
        let at = rest.windows(delimiter.len()).position(|part| part == delimiter)?;
        RegisterKey::bound(&key.as_bytes()[..self.prefix.as_bytes().len() + at + delimiter.len()])
    }

    /// The last place of what a register is shown as: itself, or the edge of its common prefix.
    pub fn edge(&self, key: &RegisterKey) -> RegisterKey {
        self.common(key).map_or_else(|| key.clone(), |common| common.edge())
    }

    fn rest<'a>(&self, key: &'a RegisterKey) -> Option<&'a [u8]> {
        key.as_bytes().strip_prefix(self.prefix.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_the_delimiter_behind_the_prefix_is_folded_up_to_it() {
        let bucket = BucketId(7);
        let key = |text: &str| RegisterKey::object_prefix(bucket, text);
        let common = |prefix: &str, delimiter: &str, text: &str| {
            Folds::objects(bucket, prefix, Some(delimiter)).common(&key(text))
        };
        for (prefix, delimiter, text, folded) in [
            ("", "/", "a/b/c", Some("a/")),
            ("a/", "/", "a/b/c", Some("a/b/")),
            ("a/", "/", "a/", None),
            ("", "/", "a/", Some("a/")),
            ("", "/", "/", Some("/")),
            ("a", "--", "ab--c--", Some("ab--")),
            ("a", "é", "aèé", Some("aèé")),
            ("b", "/", "a/b", None),
            ("", "", "a/b", None),
        ] {
            assert_eq!(common(prefix, delimiter, text), folded.map(key), "{prefix} {delimiter} {text}");
        }
        let folds = Folds::objects(bucket, "a", Some("/"));
        assert_eq!((folds.edge(&key("ab/c")), folds.edge(&key("ab"))), (key("ab/").edge(), key("ab")));
        assert!(folds.covers(&key("ab")) && !folds.covers(&key("b")));
        assert_eq!(Folds::objects(bucket, "", Some(&"/".repeat(1025))).delimiter(), None);
    }
}

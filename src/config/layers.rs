//! The three layers and how they become one `Config` that knows where each value came from.
//!
//! Invariants
//! - Each value is tried by itself against the defaults, so an error names exactly its place.
//! - Which keys there are is read off the defaults; a test holds `table` and `config/boveda.toml` to them.
//! - A list (`cluster.peers`, `http.hosts`, `s3.domains`) is replaced as a whole by a later layer, never merged.

use super::check;
use super::error::{ConfigError, Origin, one_line};
use super::loaded;
pub use super::loaded::{Loaded, keys};
use super::sections::Config;
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

/// What the names of our environment variables begin with.
pub const ENV_PREFIX: &str = "BOVEDA_";

/// Variables of ours that set nothing of a node: by these a client says who it is (`cli::whom`).
pub const CREDENTIAL_VARIABLES: [&str; 2] = ["BOVEDA_ACCESS_KEY", "BOVEDA_SECRET_KEY"];

/// Another that a process reads for itself: the passphrase of the key ring (`disk::passphrase`), which no setting holds.
pub const PASSPHRASE_VARIABLE: &str = "BOVEDA_KEY_PASSPHRASE";

/// One more: by this a client says whose word it takes for who the node is. They may all stand in a node's environment.
pub const CACERT_VARIABLE: &str = "BOVEDA_CACERT";

/// One flag of the command line that sets a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// With its dashes, for messages.
    pub name: &'static str,
    /// The key that it sets, as `section.key`.
    pub key: &'static str,
    /// The value as typed; peers as `NAME=URL`, separated by commas.
    pub text: String,
}

/// The environment variable that sets `section.key`.
pub fn env_name(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Puts the layers over the defaults: the file's text, then the environment (all of it; names of
/// others are passed over), then the flags. Checks everything.
pub fn load(
    file: Option<(&Path, &str)>,
    env: &BTreeMap<String, String>,
    flags: &[Flag],
) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::new();
    if let Some((path, text)) = file {
        layers.file(path, text)?;
    }
    layers.environment(env)?;
    for flag in flags {
        layers.text(flag.key, &flag.text, Origin::Flag(flag.name))?;
    }
    layers.finish()
}

struct Layers {
    defaults: Table,
    values: Table,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    fn new() -> Self {
        let defaults = Table::try_from(Config::default()).expect("the defaults are plain TOML");
        Layers { values: defaults.clone(), defaults, origins: BTreeMap::new() }
    }

    fn file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table: Table = text.parse().map_err(|source: toml::de::Error| {
            let upto = source.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes()[..upto].iter().filter(|&&b| b == b'\n').count();
            ConfigError::Syntax { path: path.to_owned(), line, source: Box::new(source) }
        })?;
        for (section, body) in table {
            let origin = Origin::File(path.to_owned());
            let Value::Table(body) = body else {
                let remedy = match self.defaults.contains_key(&section) {
                    true => format!("it is a section: write [{section}] on a line of its own"),
                    false => self.advice(&section),
                };
                return Err(ConfigError::Unknown { origin, name: section, remedy });
            };
            if !self.defaults.contains_key(&section) {
                let name = format!("[{section}]");
                let remedy = format!("the sections are {}", self.sections().join(", "));
                return Err(ConfigError::Unknown { origin, name, remedy });
            }
            for (key, value) in body {
                self.set(&format!("{section}.{key}"), value, origin.clone())?;
            }
        }
        Ok(())
    }

    fn environment(&mut self, env: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        let names: BTreeMap<String, String> = keys().into_iter().map(|key| (env_name(&key), key)).collect();
        let others = [CACERT_VARIABLE, PASSPHRASE_VARIABLE];
        let is_no_setting = |name: &str| others.contains(&name) || CREDENTIAL_VARIABLES.contains(&name);
        let ours = |name: &str| name.starts_with(ENV_PREFIX) && !is_no_setting(name);
        for (name, text) in env.iter().filter(|(name, _)| ours(name)) {
            let origin = Origin::Environment(name.clone());
            let Some(key) = names.get(name) else {
                if is_service_link(name, text) {
                    continue;
                }
                return Err(ConfigError::Unknown { origin, name: name.clone(), remedy: env_remedy(name, &names) });
            };
            self.text(key, text, origin)?;
        }
        Ok(())
    }

    /// A value written as plain text: what kind it should be is read off the default.
    fn text(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let wrong = |why: &str| ConfigError::Value {
            origin: origin.clone(),
            key: key.to_owned(),
            why: format!("{text:?} is {why}"),
        };
        let value = match get(&self.defaults, key) {
            Some(Value::Integer(_)) => {
                Value::Integer(text.trim().parse().map_err(|_| wrong("not a whole number; write digits only"))?)
            }
            Some(Value::Boolean(_)) => {
                Value::Boolean(text.trim().parse().map_err(|_| wrong("not a switch; write true or false"))?)
            }
            Some(Value::Array(_)) if ["http.hosts", "s3.domains"].contains(&key) => names(text),
            Some(Value::Array(_)) if key == "node.key_command" => {
                words(text).ok_or_else(|| wrong("no list of words; write [\"program\", \"argument\"]"))?
            }
            Some(Value::Array(_)) => peers(text).ok_or_else(|| wrong("no list of peers; write NAME=URL,NAME=URL"))?,
            _ => Value::String(text.to_owned()),
        };
        self.set(key, value, origin)
    }

    fn set(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        let Some(default) = get(&self.defaults, key) else {
            return Err(ConfigError::Unknown { origin, name: key.to_owned(), remedy: self.advice(key) });
        };
        let default = loaded::value(default);
        let mut alone = self.defaults.clone();
        put(&mut alone, key, value.clone());
        if let Err(error) = alone.try_into::<Config>() {
            // As it was read, between quotes: a blank or the end of a line is what is wrong, often.
            let shown = match &value {
                Value::String(text) => format!("{text:?}"),
                other => one_line(&loaded::value(other)),
            };
            let why = format!("{shown}: {}; the default is {default}", one_line(error.message()));
            return Err(ConfigError::Value { origin, key: key.to_owned(), why });
        }
        put(&mut self.values, key, value);
        self.origins.insert(key.to_owned(), origin);
        Ok(())
    }

    fn finish(self) -> Result<Loaded, ConfigError> {
        let config: Config = self.values.try_into().expect("every value was accepted by itself");
        let loaded = Loaded { config, origins: self.origins };
        check::values(&loaded)?;
        Ok(loaded)
    }

    fn sections(&self) -> Vec<String> {
        self.defaults.keys().map(|name| format!("[{name}]")).collect()
    }

    /// What to do about a key that does not exist.
    fn advice(&self, key: &str) -> String {
        let known = keys();
        let last = key.rsplit('.').next().unwrap_or(key);
        let elsewhere = known.iter().find(|k| k.rsplit('.').next() == Some(last));
        if let Some((section, key)) = elsewhere.and_then(|k| k.split_once('.')) {
            return format!("{key} belongs under [{section}]");
        }
        match nearest(key, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => match self.defaults.get(key.split('.').next().unwrap_or(key)).and_then(Value::as_table) {
                Some(section) => {
                    format!("the keys there are {}", section.keys().cloned().collect::<Vec<_>>().join(", "))
                }
                None => "remove it, or look it up in config/boveda.toml".to_owned(),
            },
        }
    }
}

/// Whether Kubernetes puts a variable of this name into pods that start after a Service named boveda, or
/// boveda-and-more: it is none of ours, and says nothing about this node. `…_PORT` is one only with the URL that
/// Kubernetes writes there: with a number it is somebody's guess at a setting, and is refused as such.
fn is_service_link(name: &str, text: &str) -> bool {
    let Some(rest) = name.strip_prefix("BOVEDA") else { return false };
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    if rest.ends_with("_SERVICE_HOST") || rest.ends_with("_SERVICE_PORT") {
        return true;
    }
    // A named port of the Service.
    if rest.contains("_SERVICE_PORT_") {
        return true;
    }
    let Some((_, port)) = rest.rsplit_once("_PORT_").map(|(before, port)| match port {
        // `…_PORT_5000_TCP_PORT` ends in a second one.
        "ADDR" | "PORT" | "PROTO" => (before, before.rsplit_once("_PORT_").map_or("", |(_, port)| port)),
        port => (before, port),
    }) else {
        return is_url && rest.ends_with("_PORT");
    };
    let mut words = port.split('_');
    let number = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
    number
        && matches!(words.next(), Some("TCP" | "UDP" | "SCTP"))
        && matches!(words.next(), None | Some("ADDR" | "PORT" | "PROTO"))
        && words.next().is_none()
}

fn env_remedy(name: &str, names: &BTreeMap<String, String>) -> String {
    match nearest(name, names.keys().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("unset it; variables are named {ENV_PREFIX}SECTION_KEY after the keys of config/boveda.toml"),
    }
}

fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let (section, key) = key.split_once('.')?;
    table.get(section)?.as_table()?.get(key)
}

fn put(table: &mut Table, key: &str, value: Value) {
    if let Some((section, key)) = key.split_once('.')
        && let Some(Value::Table(section)) = table.get_mut(section)
    {
        section.insert(key.to_owned(), value);
    }
}

/// `NAME,NAME` as the array that a file would hold.
fn names(text: &str) -> Value {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    Value::Array(names.map(|name| Value::String(name.to_owned())).collect())
}

/// `["program", "argument"]` as it would stand in a file; a text that is no list is a program without arguments.
fn words(text: &str) -> Option<Value> {
    let text = text.trim();
    if !text.starts_with('[') {
        let one = (!text.is_empty()).then(|| Value::String(text.to_owned()));
        return Some(Value::Array(one.into_iter().collect()));
    }
    let table: Table = format!("words = {text}").parse().ok()?;
    // Whatever else stands behind the list would be another line.
    (table.len() == 1).then(|| table.get("words").cloned()).flatten().filter(Value::is_array)
}

/// `NAME=URL,NAME=URL` as the array that a file would hold.
fn peers(text: &str) -> Option<Value> {
    let entry = |pair: &str| {
        let (name, url) = pair.trim().split_once('=')?;
        let field = |text: &str| Value::String(text.trim().to_owned());
        Some(Value::Table(Table::from_iter([("name".to_owned(), field(name)), ("url".to_owned(), field(url))])))
    };
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    pairs.map(entry).collect::<Option<Vec<_>>>().map(Value::Array)
}

/// The one of `known` that a typing error away, if any.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.map(|k| (distance(word, k), k)).min().filter(|(d, _)| *d <= 3).map(|(_, k)| k)
}

/// How many letters must be added, removed or changed to get from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(&b) {
            let changed = diagonal + usize::from(ca != *cb);
            diagonal = *cell;
            left = changed.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("listen", "lisetn", 2)]
        {
            assert_eq!(distance(a, b), d, "{a} {b}");
            assert_eq!(distance(b, a), d, "{b} {a}");
        }
    }

    #[test]
    fn service_links_are_told_from_settings() {
        for link in [
            "BOVEDA_SERVICE_HOST",
            "BOVEDA_SERVICE_PORT",
            "BOVEDA_SERVICE_PORT_HTTP",
            "BOVEDA_PORT",
            "BOVEDA_PORT_5000_TCP",
            "BOVEDA_PORT_5000_TCP_ADDR",
            "BOVEDA_PORT_5000_TCP_PORT",
            "BOVEDA_PORT_5000_UDP_PROTO",
            "BOVEDA_HEADLESS_SERVICE_HOST",
            "BOVEDA_HTTP_PORT",
            "BOVEDA_METRICS_PORT_9100_TCP_ADDR",
        ] {
            assert!(is_service_link(link, "tcp://10.0.0.1:5000"), "{link}");
        }
        for ours in
            ["BOVEDA_HTTP_LISTEN", "BOVEDA_PORT_5000", "BOVEDA_PORT_TCP", "BOVEDA_PORT_X_TCP", "BOVEDA_BACKUP_BUCKET"]
        {
            assert!(!is_service_link(ours, "tcp://10.0.0.1:5000"), "{ours}");
        }
        assert!(!is_service_link("BOVEDA_HTTP_PORT", "8080"), "somebody's guess at a setting");
        assert!(keys().iter().all(|key| !is_service_link(&env_name(key), "x")), "no setting has such a name");
    }

    #[test]
    fn every_key_has_one_variable() {
        let keys = keys();
        let names: std::collections::BTreeSet<String> = keys.iter().map(|k| env_name(k)).collect();
        assert_eq!(names.len(), keys.len());
        assert!(names.contains("BOVEDA_PEER_REPLICAS_PER_PEER"));
        let defaults = Table::try_from(Config::default()).unwrap();
        let leaves: usize = defaults.values().map(|section| section.as_table().unwrap().len()).sum();
        assert_eq!(keys.len(), leaves);
    }
}

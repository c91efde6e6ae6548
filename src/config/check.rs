//! Values that parse but cannot work: out of range, or in contradiction to each other.
//!
//! Invariants
//! - A refusal names the value's origin; of two that contradict, the one that was set last.

use super::error::{ConfigError, Origin};
use super::loaded::Loaded;
use super::sections::{Config, TOMBSTONE_AGE};
use super::table::SETTINGS;
use super::units::show_period;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// Everything that holds for every command.
pub(super) fn values(loaded: &Loaded) -> Result<(), ConfigError> {
    ranges(loaded)?;
    paths(loaded)?;
    log_filter(loaded)?;
    listeners(loaded)?;
    hosts(loaded)?;
    domains(loaded)?;
    region(loaded)?;
    certificate(loaded)?;
    pairs(loaded)?;
    peers(loaded)
}

/// What works but deserves a warning at every start, each as one line.
pub fn remarks(config: &Config) -> Vec<String> {
    let mut remarks = Vec::new();
    for (key, at) in reached_from_elsewhere(config).filter(|_| config.http.insecure_open) {
        remarks.push(format!(
            "{key} {at} is open, as http.insecure_open says: until there is an access key, whoever reaches it may \
             read, write and delete"
        ));
    }
    remarks.extend(unsealed(config));
    let peers = &config.cluster.peers;
    if !peers.is_empty() && config.others().count() == peers.len() {
        remarks.push(format!(
            "cluster.peers has no entry named {}: this node replicates to all {} of them; is node.name right?",
            config.node.name,
            peers.len()
        ));
    }
    if config.cluster.tombstone_age < TOMBSTONE_AGE {
        remarks.push(format!(
            "cluster.tombstone_age {} is for tests: set {} or more",
            show_period(config.cluster.tombstone_age),
            show_period(TOMBSTONE_AGE)
        ));
    }
    if config.s3.stale_upload_age < STALE_UPLOAD_AGE_MIN {
        remarks.push(format!(
            "s3.stale_upload_age {} is for tests: what is uploaded for longer than that is thrown away",
            show_period(config.s3.stale_upload_age)
        ));
    }
    let far = |host: &str| host != "localhost" && !host.starts_with("127.") && host != "[::1]";
    if reaches_only_this_machine(&config.peer.listen) && config.others().any(|peer| far(peer.url.host())) {
        remarks.push(format!(
            "peer.listen {} is reached from this machine only, but peers are on others: nothing will arrive from them",
            config.peer.listen
        ));
    }
    remarks
}

/// An upload in parts may well take that long.
const STALE_UPLOAD_AGE_MIN: Duration = Duration::from_secs(3600);

/// What is to be said at every start of ports that other machines reach without TLS, one line for each.
pub fn unsealed(config: &Config) -> impl Iterator<Item = String> {
    reached_from_elsewhere(config).filter(|_| !config.tls.is_on()).map(|(key, at)| {
        format!(
            "{key} {at} is reached without TLS: what passes there, access keys too, can be read and changed on its way; \
             set tls.cert and tls.key (--tls-cert, --tls-key), or put what speaks TLS in front of it"
        )
    })
}

/// The ports for clients that other machines reach: setting and address.
fn reached_from_elsewhere(config: &Config) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let ports = [("http.listen", Some(config.http.listen)), ("s3.listen", config.s3.listen)];
    let set = ports.into_iter().filter_map(|(key, at)| Some((key, at?)));
    set.filter(|(_, at)| !reaches_only_this_machine(at))
}

fn reaches_only_this_machine(at: &SocketAddr) -> bool {
    at.ip().to_canonical().is_loopback()
}

/// A refusal at the place of the last one set among `keys`.
fn refuse(loaded: &Loaded, keys: &[&str], why: String) -> ConfigError {
    let (origin, key) = keys
        .iter()
        .rev() // of equals the last is taken, which is to be the first named
        .map(|key| (loaded.origin(key), (*key).to_owned()))
        .max_by(|a, b| a.0.cmp(&b.0))
        .unwrap_or((Origin::Default, String::new()));
    ConfigError::Value { origin, key, why }
}

/// What each setting takes by itself: see `table`.
fn ranges(loaded: &Loaded) -> Result<(), ConfigError> {
    for setting in SETTINGS {
        if let Some(why) = setting.takes.refusal(&loaded.config) {
            return Err(refuse(loaded, &[setting.key], why));
        }
    }
    Ok(())
}

fn paths(loaded: &Loaded) -> Result<(), ConfigError> {
    let node = &loaded.config.node;
    for (key, path) in [("node.data", &node.data), ("node.key_dir", &node.key_dir)] {
        if path.as_os_str().is_empty() {
            return Err(refuse(loaded, &[key], "the path is empty; name a directory".to_owned()));
        }
    }
    if node.key_command.first().is_some_and(String::is_empty) {
        let why = "the program of key_command is empty; write [\"program\", \"argument\"]".to_owned();
        return Err(refuse(loaded, &["node.key_command"], why));
    }
    if !node.key_command.is_empty() && !node.key_passphrase_file.as_os_str().is_empty() {
        let why =
            "key_command prints the ring, and no file of it is wrapped under key_passphrase_file; set one of the two";
        return Err(refuse(loaded, &["node.key_passphrase_file", "node.key_command"], why.to_owned()));
    }
    if plain(&node.key_dir).starts_with(plain(&node.data)) {
        let why = format!(
            "key_dir {} lies in data {}, so every copy of the data would bring its keys along; name a directory outside",
            node.key_dir.display(),
            node.data.display()
        );
        return Err(refuse(loaded, &["node.key_dir", "node.data"], why));
    }
    Ok(())
}

/// The path without `.` and `..`, from the root. Links are not followed: the rule is a help, not a wall.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// `level` or `target=level`, separated by commas. The logger itself would pass over what it cannot read.
fn log_filter(loaded: &Loaded) -> Result<(), ConfigError> {
    let filter = &loaded.config.node.log;
    let good = |directive: &str| match directive.split_once('=') {
        Some((target, level)) => !target.trim().is_empty() && level.trim().parse::<log::LevelFilter>().is_ok(),
        None => directive.trim().parse::<log::LevelFilter>().is_ok(),
    };
    match filter.split(',').find(|directive| !good(directive)) {
        None => Ok(()),
        Some(bad) => {
            let why = format!(
                "{bad:?} is no log filter; write off, error, warn, info, debug or trace, for one target as boveda::http=debug"
            );
            Err(refuse(loaded, &["node.log"], why))
        }
    }
}

fn listeners(loaded: &Loaded) -> Result<(), ConfigError> {
    let config = &loaded.config;
    let (http, s3) = (Some(("http.listen", config.http.listen)), config.s3.listen.map(|at| ("s3.listen", at)));
    let peer = Some(("peer.listen", config.peer.listen));
    for (one, other) in [(http, peer), (http, s3), (s3, peer)] {
        let (Some((key, at)), Some((other_key, other))) = (one, other) else { continue };
        let same_host = at.ip() == other.ip() || at.ip().is_unspecified() || other.ip().is_unspecified();
        if at.port() != 0 && at.port() == other.port() && same_host {
            let why = format!("{key} {at} and {other_key} {other} take the same port; give each its own");
            return Err(refuse(loaded, &[key, other_key], why));
        }
    }
    Ok(())
}

/// Names alone: a port would never match, and a URL is no name.
fn hosts(loaded: &Loaded) -> Result<(), ConfigError> {
    let good = |name: &str| is_host_name(name.strip_prefix("*.").unwrap_or(name));
    match loaded.config.http.hosts.iter().find(|name| !good(name)) {
        None => Ok(()),
        Some(bad) => {
            let why = format!(
                "{bad:?} is no host name; write it without scheme and port, or as *.example.org for all names below one"
            );
            Err(refuse(loaded, &["http.hosts"], why))
        }
    }
}

/// The names that buckets stand before.
fn domains(loaded: &Loaded) -> Result<(), ConfigError> {
    match loaded.config.s3.domains.iter().find(|name| !is_host_name(name)) {
        None => Ok(()),
        Some(bad) => {
            let why = format!(
                "{bad:?} is no host name; write it without scheme, port and stars: s3.example.org for BUCKET.s3.example.org"
            );
            Err(refuse(loaded, &["s3.domains"], why))
        }
    }
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.strip_suffix('.').unwrap_or(name).split('.').all(label)
}

/// A word as clients write it into what they sign.
fn region(loaded: &Loaded) -> Result<(), ConfigError> {
    let region = &loaded.config.s3.region;
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if region.len() <= 64 && region.bytes().all(good) {
        return Ok(());
    }
    let why =
        format!("{region:?} is no region; write a word of a-z, 0-9 and '-', such as eu-west-1, or nothing for any");
    Err(refuse(loaded, &["s3.region"], why))
}

/// A certificate and its key, or neither. What the files hold is looked at by who uses them.
fn certificate(loaded: &Loaded) -> Result<(), ConfigError> {
    let tls = &loaded.config.tls;
    let (cert, key) = (tls.is_on(), !tls.key.as_os_str().is_empty());
    if cert == key {
        return Ok(());
    }
    let (named, lacks) = if cert { ("tls.cert", "tls.key") } else { ("tls.key", "tls.cert") };
    let why = format!("there is no {lacks} beside it: TLS needs the certificate and its key; set both, or neither");
    Err(refuse(loaded, &[named], why))
}

fn pairs(loaded: &Loaded) -> Result<(), ConfigError> {
    let peer = &loaded.config.peer;
    if peer.backoff_base > peer.backoff_cap {
        let (base, cap) = (show_period(peer.backoff_base), show_period(peer.backoff_cap));
        let why = format!(
            "backoff_base {base} is longer than backoff_cap {cap}; the cap is the longest wait after a failure"
        );
        return Err(refuse(loaded, &["peer.backoff_base", "peer.backoff_cap"], why));
    }
    Ok(())
}

fn peers(loaded: &Loaded) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    let mut urls = BTreeSet::new();
    for peer in &loaded.config.cluster.peers {
        if !names.insert(&peer.name) {
            let why = format!("two peers are named {}; a name belongs to one node", peer.name);
            return Err(refuse(loaded, &["cluster.peers"], why));
        }
        if !urls.insert(&peer.url) {
            let why = format!("two peers have the URL {}; each node has its own", peer.url);
            return Err(refuse(loaded, &["cluster.peers"], why));
        }
    }
    Ok(())
}

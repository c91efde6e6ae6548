//! Values that parse but cannot work: out of range, or in contradiction to each other.
//!
//! Invariants
//! - A refusal names the value's origin; of two that contradict, the one that was set last.
//! - Whoever serves beyond loopback has said in words that everybody may come in.

use super::error::{ConfigError, Origin};
use super::layers::Loaded;
use super::sections::{Config, TOMBSTONE_AGE};
use super::units::{show_period, show_size};
use crate::base::record::{INLINE_BYTES_MAX, LOG_BYTES_MIN};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const SEC: u64 = 1_000;
const HOUR: u64 = 3_600 * SEC;

/// A number with the unit it is shown in.
#[derive(Clone, Copy)]
enum Amount {
    Count(u64),
    Bytes(u64),
    Millis(u64),
}

impl Amount {
    fn number(self) -> u64 {
        match self {
            Amount::Count(n) | Amount::Bytes(n) | Amount::Millis(n) => n,
        }
    }

    fn show(self, n: u64) -> String {
        match self {
            Amount::Count(_) => n.to_string(),
            Amount::Bytes(_) => show_size(n),
            Amount::Millis(_) => show_period(Duration::from_millis(n)),
        }
    }
}

/// Everything that holds for every command.
pub(super) fn values(loaded: &Loaded) -> Result<(), ConfigError> {
    ranges(loaded)?;
    paths(loaded)?;
    log_filter(loaded)?;
    listeners(loaded)?;
    hosts(loaded)?;
    pairs(loaded)?;
    peers(loaded)
}

/// For those who serve: a port that other machines reach needs the operator's word, since nothing
/// else guards it yet.
pub fn open_access(loaded: &Loaded) -> Result<(), ConfigError> {
    let http = &loaded.config.http;
    if reaches_only_this_machine(&http.listen) || http.insecure_open {
        return Ok(());
    }
    let why = format!(
        "other machines reach {}, and whoever does may read, write and delete (access keys come with a later \
         release); listen on 127.0.0.1, or accept it with --insecure-open (http.insecure_open = true)",
        http.listen
    );
    Err(refuse(loaded, &["http.listen"], why))
}

/// What works but deserves a warning at every start, each as one line.
pub fn remarks(config: &Config) -> Vec<String> {
    let mut remarks = Vec::new();
    if !reaches_only_this_machine(&config.http.listen) {
        remarks
            .push(format!("http.listen {} is open: whoever reaches it may read, write and delete", config.http.listen));
    }
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
    let far = |host: &str| host != "localhost" && !host.starts_with("127.") && host != "[::1]";
    if reaches_only_this_machine(&config.peer.listen) && config.others().any(|peer| far(peer.url.host())) {
        remarks.push(format!(
            "peer.listen {} is reached from this machine only, but peers are on others: nothing will arrive from them",
            config.peer.listen
        ));
    }
    remarks
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

fn ranges(loaded: &Loaded) -> Result<(), ConfigError> {
    let Config { node, http, peer, cluster, store, scrub, memory } = &loaded.config;
    let count = |n: usize| Amount::Count(u64::try_from(n).unwrap_or(u64::MAX));
    let bytes = Amount::Bytes;
    let millis = |d: Duration| Amount::Millis(u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
    let rules = [
        ("node.threads", count(node.threads), 0, 1024),
        ("http.body_max", bytes(http.body_max), 1, 5 * TIB),
        ("http.idle_timeout", millis(http.idle_timeout), 100, 24 * HOUR),
        ("http.header_timeout", millis(http.header_timeout), 100, HOUR),
        ("http.requests_max", Amount::Count(http.requests_max), 1, 1_000_000),
        ("http.in_flight_bytes_max", bytes(http.in_flight_bytes_max), 4 * MIB, TIB),
        ("http.connections_max", count(http.connections_max), 1, 1_000_000),
        ("http.connections_per_address_max", Amount::Count(u64::from(http.connections_per_address_max)), 0, 1_000_000),
        ("http.turn_timeout", millis(http.turn_timeout), 0, HOUR),
        ("http.linger", millis(http.linger), 100, HOUR),
        ("http.keep_alive", millis(http.keep_alive), 0, HOUR),
        ("http.drain_timeout", millis(http.drain_timeout), 0, HOUR),
        ("http.ready_grace", millis(http.ready_grace), 0, HOUR),
        ("peer.replicas_per_peer", count(peer.replicas_per_peer), 1, 64),
        ("peer.heartbeat", millis(peer.heartbeat), 10, HOUR),
        ("peer.compare_every", millis(peer.compare_every), 10, 24 * HOUR),
        ("peer.backoff_base", millis(peer.backoff_base), 1, HOUR),
        ("peer.backoff_cap", millis(peer.backoff_cap), 1, HOUR),
        ("cluster.tombstone_age", millis(cluster.tombstone_age), SEC, 366 * 24 * HOUR),
        ("store.inline_max", bytes(store.inline_max), KIB, INLINE_BYTES_MAX as u64),
        ("store.log_bytes", bytes(store.log_bytes), LOG_BYTES_MIN, 4 * GIB),
        ("store.cache_bytes", bytes(store.cache_bytes), 0, TIB),
        ("store.index_cache_bytes", bytes(store.index_cache_bytes), 64 * KIB, TIB),
        ("store.reserve_bytes", bytes(store.reserve_bytes), 0, 64 * TIB),
        ("store.orphan_grace", millis(store.orphan_grace), 0, 30 * 24 * HOUR),
        ("store.checkpoint_interval", millis(store.checkpoint_interval), 10, HOUR),
        ("store.checkpoint_bytes", bytes(store.checkpoint_bytes), 4 * KIB, 4 * GIB),
        ("scrub.period", millis(scrub.period), 10, 366 * 24 * HOUR),
        ("scrub.bytes_per_second", bytes(scrub.bytes_per_second), 4 * KIB, TIB),
        ("memory.ceiling", bytes(memory.ceiling.unwrap_or(GIB)), 32 * MIB, 64 * TIB),
    ];
    for (key, amount, min, max) in rules {
        if !(min..=max).contains(&amount.number()) {
            let show = |n| amount.show(n);
            let why = format!("{} is out of range; it takes {} to {}", show(amount.number()), show(min), show(max));
            return Err(refuse(loaded, &[key], why));
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
    let (http, peer) = (loaded.config.http.listen, loaded.config.peer.listen);
    let same_host = http.ip() == peer.ip() || http.ip().is_unspecified() || peer.ip().is_unspecified();
    if http.port() != 0 && http.port() == peer.port() && same_host {
        let why = format!("http.listen {http} and peer.listen {peer} take the same port; give each its own");
        return Err(refuse(loaded, &["http.listen", "peer.listen"], why));
    }
    Ok(())
}

/// Names alone: a port would never match, and a URL is no name.
fn hosts(loaded: &Loaded) -> Result<(), ConfigError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let good = |name: &str| {
        let name = name.strip_prefix("*.").unwrap_or(name);
        name.strip_suffix('.').unwrap_or(name).split('.').all(label)
    };
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

fn pairs(loaded: &Loaded) -> Result<(), ConfigError> {
    let peer = &loaded.config.peer;
    if peer.backoff_base > peer.backoff_cap {
        let (base, cap) = (show_period(peer.backoff_base), show_period(peer.backoff_cap));
        let why = format!("backoff_base {base} is longer than backoff_cap {cap}; the cap is the longest wait of all");
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

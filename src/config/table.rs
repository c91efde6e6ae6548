//! The table of settings: every key, and what it takes by itself. What several say together is `check`'s.
//!
//! Invariant: the table has the keys of `config/boveda.toml`, in its order, and no others: a test compares all three.

use super::sections::Config;
use super::units::{show_period, show_size};
use crate::base::record::{LOG_BYTES_MIN, SMALL_BYTES_MAX};
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const SEC: u64 = 1_000;
const HOUR: u64 = 3_600 * SEC;

/// One setting of the table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key, as `section.key`.
    pub key: &'static str,
    /// Which values it takes.
    pub takes: Takes,
}

/// What a setting takes by itself.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A number from the first to the second, both included.
    Count(fn(&Config) -> u64, u64, u64),
    /// A size in bytes, likewise.
    Bytes(fn(&Config) -> u64, u64, u64),
    /// A period, likewise, in milliseconds.
    Period(fn(&Config) -> Duration, u64, u64),
    /// Whatever its type can be read from: yes or no, a word of several, a name or an address that was parsed.
    Parsed,
    /// A text that `check` looks at by a rule of its own.
    Checked,
}

impl Takes {
    /// Why the value in force is out of range, if it is.
    pub(super) fn refusal(&self, config: &Config) -> Option<String> {
        let millis = |n| show_period(Duration::from_millis(n));
        let (number, min, max, show): (u64, u64, u64, &dyn Fn(u64) -> String) = match *self {
            Takes::Count(read, min, max) => (read(config), min, max, &|n| n.to_string()),
            Takes::Bytes(read, min, max) => (read(config), min, max, &show_size),
            Takes::Period(read, min, max) => {
                (u64::try_from(read(config).as_millis()).unwrap_or(u64::MAX), min, max, &millis)
            }
            Takes::Parsed | Takes::Checked => return None,
        };
        let fits = (min..=max).contains(&number);
        (!fits).then(|| format!("{} is out of range; it takes {} to {}", show(number), show(min), show(max)))
    }
}

const fn setting(key: &'static str, takes: Takes) -> Setting {
    Setting { key, takes }
}

/// `usize` has 64 bits, or fewer, wherever this runs.
fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// All settings, in the order of `config/boveda.toml`.
pub const SETTINGS: &[Setting] = {
    use Takes::{Bytes, Checked, Count, Parsed, Period};
    &[
        setting("node.name", Parsed),
        setting("node.data", Checked),
        setting("node.data_must_exist", Parsed),
        setting("node.key_dir", Checked),
        setting("node.key_command", Checked),
        setting("node.key_command_timeout", Period(|c| c.node.key_command_timeout, 100, HOUR)),
        setting("node.key_passphrase_file", Checked),
        setting("node.threads", Count(|c| wide(c.node.threads), 0, 1024)),
        setting("node.log", Checked),
        setting("http.listen", Checked),
        setting("http.insecure_open", Parsed),
        setting("http.hosts", Checked),
        setting("http.body_max", Bytes(|c| c.http.body_max, 1, 5 * TIB)),
        setting("http.idle_timeout", Period(|c| c.http.idle_timeout, 100, 24 * HOUR)),
        setting("http.header_timeout", Period(|c| c.http.header_timeout, 100, HOUR)),
        setting("http.requests_max", Count(|c| c.http.requests_max, 1, 1_000_000)),
        setting("http.in_flight_bytes_max", Bytes(|c| c.http.in_flight_bytes_max, 4 * MIB, TIB)),
        setting("http.turn_timeout", Period(|c| c.http.turn_timeout, 0, HOUR)),
        setting("http.connections_max", Count(|c| wide(c.http.connections_max), 1, 1_000_000)),
        setting(
            "http.connections_per_address_max",
            Count(|c| u64::from(c.http.connections_per_address_max), 0, 1_000_000),
        ),
        setting("http.keep_alive", Period(|c| c.http.keep_alive, 0, HOUR)),
        setting("http.linger", Period(|c| c.http.linger, 100, HOUR)),
        setting("http.drain_timeout", Period(|c| c.http.drain_timeout, 0, HOUR)),
        setting("http.ready_grace", Period(|c| c.http.ready_grace, 0, HOUR)),
        setting("s3.listen", Checked),
        setting("s3.domains", Checked),
        setting("s3.region", Checked),
        setting("s3.stale_upload_age", Period(|c| c.s3.stale_upload_age, SEC, 366 * 24 * HOUR)),
        setting("tls.cert", Checked),
        setting("tls.key", Checked),
        setting("tls.handshake_timeout", Period(|c| c.tls.handshake_timeout, 100, HOUR)),
        setting("access.root_key_file", Checked),
        setting("peer.listen", Checked),
        setting("peer.replicas_per_peer", Count(|c| wide(c.peer.replicas_per_peer), 1, 64)),
        setting("peer.heartbeat", Period(|c| c.peer.heartbeat, 10, HOUR)),
        setting("peer.compare_every", Period(|c| c.peer.compare_every, 10, 24 * HOUR)),
        setting("peer.backoff_base", Period(|c| c.peer.backoff_base, 1, HOUR)),
        setting("peer.backoff_cap", Period(|c| c.peer.backoff_cap, 1, HOUR)),
        setting("cluster.id", Parsed),
        setting("cluster.durability", Parsed),
        // Shorter than a round trip with two durable writes in it, every write would be answered 503.
        setting("cluster.decide_timeout", Period(|c| c.cluster.decide_timeout, 100, HOUR)),
        setting("cluster.tombstone_age", Period(|c| c.cluster.tombstone_age, SEC, 366 * 24 * HOUR)),
        setting("cluster.peers", Checked),
        setting("store.inline_max", Bytes(|c| c.store.inline_max, KIB, SMALL_BYTES_MAX as u64)),
        setting("store.segment_max", Bytes(|c| c.store.segment_max, 0, MIB)),
        setting("store.log_bytes", Bytes(|c| c.store.log_bytes, LOG_BYTES_MIN, 4 * GIB)),
        setting("store.cache_bytes", Bytes(|c| c.store.cache_bytes.unwrap_or(MIB), 0, TIB)),
        setting("store.index_cache_bytes", Bytes(|c| c.store.index_cache_bytes.unwrap_or(MIB), 64 * KIB, TIB)),
        setting("store.reserve_bytes", Bytes(|c| c.store.reserve_bytes, 0, 64 * TIB)),
        setting("store.orphan_grace", Period(|c| c.store.orphan_grace, 0, 30 * 24 * HOUR)),
        setting("store.checkpoint_interval", Period(|c| c.store.checkpoint_interval, 10, HOUR)),
        setting("store.checkpoint_bytes", Bytes(|c| c.store.checkpoint_bytes, 4 * KIB, 4 * GIB)),
        setting("scrub.enabled", Parsed),
        setting("scrub.period", Period(|c| c.scrub.period, 10, 366 * 24 * HOUR)),
        setting("scrub.bytes_per_second", Bytes(|c| c.scrub.bytes_per_second, 4 * KIB, TIB)),
        setting("audit.objects", Parsed),
        setting("audit.keep", Period(|c| c.audit.keep, SEC, 100 * 366 * 24 * HOUR)),
        setting("memory.ceiling", Bytes(|c| c.memory.ceiling.unwrap_or(GIB), 32 * MIB, 64 * TIB)),
    ]
};

//! The sections and keys of the configuration, with their defaults.
//!
//! Invariants
//! - The defaults make a node that only this machine can reach.
//! - Every key is explained in `config/boveda.toml`, with the default written here; a test compares.
//! - Names say the meaning once: what is a size holds bytes, what is a period is a `Duration`.

use super::peers::{Durability, PeerEntry, cluster_id_or_auto, node_name};
use super::units::{listen, listen_or_off, period, size, size_or_auto};
use crate::base::{Backoff, ClusterId, NodeName};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Tombstones younger than this are kept, unless somebody asks for trouble.
pub(super) const TOMBSTONE_AGE: Duration = Duration::from_secs(24 * 3600);

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// This process: its name, directories, threads and log.
    pub node: NodeConfig,
    /// The port for clients.
    pub http: HttpConfig,
    /// The port for clients of S3.
    pub s3: S3Config,
    /// What the ports for clients show of themselves.
    pub tls: TlsConfig,
    /// Who gets in.
    pub access: AccessConfig,
    /// The peer port and the ReplicaActors.
    pub peer: PeerConfig,
    /// Which nodes belong together, and what they promise.
    pub cluster: ClusterConfig,
    /// The store on disk.
    pub store: StoreConfig,
    /// Reading all of it again and again.
    pub scrub: ScrubConfig,
    /// What the audit log has, and how long it is kept.
    pub audit: AuditConfig,
    /// How much memory it may take.
    pub memory: MemoryConfig,
}

/// `[node]`: this process, its name, its data and its keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Its name among the peers.
    #[serde(with = "node_name")]
    pub name: NodeName,
    /// Directory of sealed bytes.
    pub data: PathBuf,
    /// Whether a start without data in `data` is refused.
    pub data_must_exist: bool,
    /// Directory of the key ring; never inside `data`.
    pub key_dir: PathBuf,
    /// A command that prints the key ring, word by word; empty: the ring is in `key_dir`.
    pub key_command: Vec<String>,
    /// How long that command may take.
    #[serde(with = "period")]
    pub key_command_timeout: Duration,
    /// File with the passphrase of key files that are wrapped; empty: there is none.
    pub key_passphrase_file: PathBuf,
    /// HTTP workers; 0 means one per core. See `Config::threads`. The store's threads follow from it (`node::parts`).
    pub threads: usize,
    /// Log filter, as `info` or `info,boveda::http=debug`.
    pub log: String,
}

impl Default for NodeConfig {
    fn default() -> Self {
        NodeConfig {
            name: NodeName::parse("boveda").expect("the default name follows the rule"),
            data: "./boveda-data".into(),
            data_must_exist: false,
            key_dir: "./boveda-keys".into(),
            key_command: Vec::new(),
            key_command_timeout: Duration::from_secs(30),
            key_passphrase_file: PathBuf::new(),
            threads: 0,
            log: "info".to_owned(),
        }
    }
}

/// `[http]`: the port for people and programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port for clients.
    #[serde(with = "listen")]
    pub listen: SocketAddr,
    /// Accepts that anyone who reaches `listen` may read, write and delete, until there is an access key.
    pub insecure_open: bool,
    /// Names under which clients reach `listen`, besides those of this machine and its network.
    pub hosts: Vec<String>,
    /// Largest body of one object.
    #[serde(with = "size")]
    pub body_max: u64,
    /// Longest silence of a client in mid-request.
    #[serde(with = "period")]
    pub idle_timeout: Duration,
    /// Longest time for a request line and its headers.
    #[serde(with = "period")]
    pub header_timeout: Duration,
    /// Requests at work at once; more are answered 503.
    pub requests_max: u64,
    /// Body bytes held in memory at once, all requests together.
    #[serde(with = "size")]
    pub in_flight_bytes_max: u64,
    /// How long a body waits for its turn when `in_flight_bytes_max` is used up.
    #[serde(with = "period")]
    pub turn_timeout: Duration,
    /// Open connections at once on each of the ports for clients, all workers together.
    pub connections_max: usize,
    /// Open connections at once from one address; 0: as many as all together.
    pub connections_per_address_max: u32,
    /// How long an idle connection stays open.
    #[serde(with = "period")]
    pub keep_alive: Duration,
    /// How long a connection that is being closed waits for the client to close its side.
    #[serde(with = "period")]
    pub linger: Duration,
    /// How long open requests may go on after SIGTERM.
    #[serde(with = "period")]
    pub drain_timeout: Duration,
    /// How long new requests are still served after SIGTERM, while `/readyz` already says no.
    #[serde(with = "period")]
    pub ready_grace: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            listen: loopback(5000),
            insecure_open: false,
            hosts: Vec::new(),
            body_max: 5 << 40,
            idle_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            requests_max: 1024,
            in_flight_bytes_max: 128 << 20,
            turn_timeout: Duration::from_secs(10),
            connections_max: 4096,
            connections_per_address_max: 0,
            keep_alive: Duration::from_secs(75),
            linger: Duration::from_secs(3),
            drain_timeout: Duration::from_secs(25),
            ready_grace: Duration::ZERO,
        }
    }
}

/// `[s3]`: the port for clients of S3. Limits and times are those of `[http]`, the certificate that of `[tls]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    /// Address and port for clients of S3; `None`: there is no such port.
    #[serde(with = "listen_or_off")]
    pub listen: Option<SocketAddr>,
    /// Names below which buckets are hosts of their own.
    pub domains: Vec<String>,
    /// The region that requests must be signed for; empty: any.
    pub region: String,
    /// How long an upload in parts may be open before it is aborted.
    #[serde(with = "period")]
    pub stale_upload_age: Duration,
}

impl Default for S3Config {
    fn default() -> Self {
        S3Config {
            listen: Some(loopback(5001)),
            domains: Vec::new(),
            region: String::new(),
            stale_upload_age: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// `[tls]`: the certificate of the ports for clients. Peers have no part in it: their frames are sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificates as PEM, the node's own first; empty for none, and no TLS.
    pub cert: PathBuf,
    /// The private key of the first of them, as PEM; empty for none.
    pub key: PathBuf,
    /// Longest time for a client to begin a handshake, and to finish it.
    #[serde(with = "period")]
    pub handshake_timeout: Duration,
}

impl TlsConfig {
    /// Whether the ports for clients speak TLS.
    pub fn is_on(&self) -> bool {
        !self.cert.as_os_str().is_empty()
    }
}

impl Default for TlsConfig {
    fn default() -> Self {
        TlsConfig { cert: PathBuf::new(), key: PathBuf::new(), handshake_timeout: Duration::from_secs(5) }
    }
}

/// `[access]`: who gets in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// A file with the first access key, for all rights on everything; empty: none. See docs/operations.md.
    pub root_key_file: PathBuf,
}

/// `[peer]`: what goes between nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeerConfig {
    /// Address and port; every frame there is authenticated.
    #[serde(with = "listen")]
    pub listen: SocketAddr,
    /// ReplicaActors in the pool of each peer.
    pub replicas_per_peer: usize,
    /// Pause between signs of life on a link that carries nothing else.
    #[serde(with = "period")]
    pub heartbeat: Duration,
    /// Pause between two comparisons of everything with a peer.
    #[serde(with = "period")]
    pub compare_every: Duration,
    /// Longest wait after the first failure.
    #[serde(with = "period")]
    pub backoff_base: Duration,
    /// Longest wait after any failure; what a client waits for has a peer tried sooner.
    #[serde(with = "period")]
    pub backoff_cap: Duration,
}

impl PeerConfig {
    /// The two backoff keys as one value.
    pub fn backoff(&self) -> Backoff {
        Backoff { base: self.backoff_base, cap: self.backoff_cap }
    }
}

impl Default for PeerConfig {
    fn default() -> Self {
        PeerConfig {
            listen: loopback(super::peers::PEER_PORT),
            replicas_per_peer: 5,
            heartbeat: Duration::from_secs(5),
            compare_every: Duration::from_secs(60),
            backoff_base: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(10),
        }
    }
}

/// `[cluster]`: which nodes belong together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// The cluster's id; `None` derives it from the first generation of the key ring.
    #[serde(with = "cluster_id_or_auto")]
    pub id: Option<ClusterId>,
    /// What an answered write has survived.
    pub durability: Durability,
    /// Longest time for a write or a read to be decided by a majority.
    #[serde(with = "period")]
    pub decide_timeout: Duration,
    /// How old a tombstone must be before it is dropped.
    #[serde(with = "period")]
    pub tombstone_age: Duration,
    /// All nodes, this one included or not. See `Config::others`.
    pub peers: Vec<PeerEntry>,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        ClusterConfig {
            id: None,
            durability: Durability::Majority,
            decide_timeout: Duration::from_secs(10),
            tombstone_age: TOMBSTONE_AGE,
            peers: Vec::new(),
        }
    }
}

/// `[store]`: the store on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Largest body that is logged with its record.
    #[serde(with = "size")]
    pub inline_max: u64,
    /// Largest body beside its record that lies in a segment with others; 0: each is a file.
    #[serde(with = "size")]
    pub segment_max: u64,
    /// Bytes of the commit log, a ring: what it holds is in the index before it goes round.
    #[serde(with = "size")]
    pub log_bytes: u64,
    /// Cache of records as they were read, with the small bodies in them, which stay sealed; `None`: what the ceiling
    /// allows.
    #[serde(with = "size_or_auto")]
    pub cache_bytes: Option<u64>,
    /// Cache of index pages; `None`: what the ceiling allows.
    #[serde(with = "size_or_auto")]
    pub index_cache_bytes: Option<u64>,
    /// Room on the disk that new bytes never take.
    #[serde(with = "size")]
    pub reserve_bytes: u64,
    /// How old a file without a record must be before it is swept.
    #[serde(with = "period")]
    pub orphan_grace: Duration,
    /// Longest time between two checkpoints of the index, while there is something to write.
    #[serde(with = "period")]
    pub checkpoint_interval: Duration,
    /// Most log bytes that the index may lag behind before a checkpoint.
    #[serde(with = "size")]
    pub checkpoint_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            inline_max: 16 << 10,
            segment_max: 512 << 10,
            log_bytes: 64 << 20,
            cache_bytes: None,
            index_cache_bytes: None,
            reserve_bytes: 256 << 20,
            orphan_grace: Duration::from_secs(3600),
            checkpoint_interval: Duration::from_secs(30),
            checkpoint_bytes: 32 << 20,
        }
    }
}

/// `[scrub]`: reading everything that lies on the disk, to find damage before a reader does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrubConfig {
    /// Whether it is done at all.
    pub enabled: bool,
    /// Time from the beginning of one run to that of the next.
    #[serde(with = "period")]
    pub period: Duration,
    /// Most bytes read in a second.
    #[serde(with = "size")]
    pub bytes_per_second: u64,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        ScrubConfig { enabled: true, period: Duration::from_secs(7 * 24 * 3600), bytes_per_second: 32 << 20 }
    }
}

/// `[audit]`: who changed what, and who was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Whether object reads and writes have lines too.
    pub objects: bool,
    /// How long a line is kept.
    #[serde(with = "period")]
    pub keep: Duration,
}

impl Default for AuditConfig {
    fn default() -> Self {
        AuditConfig { objects: false, keep: Duration::from_secs(365 * 24 * 3600) }
    }
}

/// `[memory]`: how much the process may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// The ceiling; `None` takes the cgroup's limit, or a quarter of the machine's memory.
    #[serde(with = "size_or_auto")]
    pub ceiling: Option<u64>,
}

impl Config {
    /// The nodes to replicate to: the peers without this node itself.
    pub fn others(&self) -> impl Iterator<Item = &PeerEntry> {
        self.cluster.peers.iter().filter(|peer| peer.name != self.node.name)
    }

    /// Whether nodes decide together: a node alone is its own majority.
    pub fn decides_with_others(&self) -> bool {
        self.cluster.durability == Durability::Majority && self.others().next().is_some()
    }

    /// Whether only this machine reaches any port of the node.
    pub fn listens_on_loopback_alone(&self) -> bool {
        let all = [Some(&self.http.listen), self.s3.listen.as_ref(), Some(&self.peer.listen)];
        all.into_iter().flatten().all(|at| at.ip().to_canonical().is_loopback())
    }

    /// Whether everybody who reaches the node may come in while there has never been an access key.
    pub fn may_be_open(&self) -> bool {
        self.http.insecure_open || self.listens_on_loopback_alone()
    }

    /// How many ports for clients it opens.
    pub fn client_ports(&self) -> usize {
        1 + usize::from(self.s3.listen.is_some())
    }

    /// How many threads to run: the setting, or one per core.
    pub fn threads(&self) -> usize {
        match self.node.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

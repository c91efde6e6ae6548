//! One running node: what it is made of, and in which order that starts and ends.

use super::conditions;
use super::error::NodeError;
use super::health::{self, Counted, Pulses};
use super::keys::{self, Keeper};
use super::listener::{Listener, Whom, reserve};
use super::place as node_place;
use super::queues;
use super::status::{Fixed, NodeStatus};
use crate::actors::background::healer::{HealTally, Healer};
use crate::actors::background::scrub::Pace;
use crate::actors::background::scrubber::{ScrubTally, Scrubber, StopScrub};
use crate::actors::background::settler;
use crate::actors::background::tombstones::{self, BurialTally};
use crate::actors::coordinator::actor::CoordinatorActor;
use crate::actors::coordinator::store::StoreBeside;
use crate::actors::coordinator::turns::Turns;
use crate::actors::coordinator::{Common, Coordinator, Patience};
use crate::actors::messages::DrainStore;
use crate::actors::peer::arrivals::Arrivals;
use crate::actors::peer::key_watch::KeyWatch;
use crate::actors::peer::list_watch::ListWatch;
use crate::actors::peer::plan::PeerAddress;
use crate::actors::peer::plan::Timing;
use crate::actors::peer::reach::Reach;
use crate::actors::peer::sessions::{PeerBytes, PeerGate};
use crate::actors::peer::store::StoreRecipients;
use crate::actors::peer::vitals::{Ballots, Identity, Vitals};
use crate::actors::replication::{Replication, ReplicationConfig, seen_lately};
use crate::actors::store_actor::threads::Threads;
use crate::actors::store_actor::{StoreActor, abort};
use crate::base::{Budget, Lender, NodeName};
use crate::config::{CEILING_MIN, Config, Durability, MemoryPlan};
use crate::disk::real::LockGuard;
use crate::disk::{Disk, RealDisk, handles, place};
use crate::http::{Backend, Hosts, HttpSettings, Readiness, Shared, StoreLinks, rest};
use crate::peer_port;
use crate::seal::{self, keyring::Keyring};
use crate::store::{self, Options, Store, StoreError};
use actix::{Actor, Addr};
use actix_rt::Arbiter;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The file in the data directory that names the bound addresses, for scripts and tests.
const ADDRESSES: &str = "addresses.json";
/// How long memory for large bodies is kept that nobody needs, and at most twice that.
const TRIM_EVERY: Duration = Duration::from_secs(5);
/// How often a node tries to begin whose disk did not let it.
const BEGIN_EVERY: Duration = Duration::from_secs(1);
/// The part of `http.in_flight_bytes_max` that is for bodies on their way to the peers.
const STREAMS_PART: u64 = 3;
/// Most threads for the store's disk work; more only queue at the disk.
const STORE_THREADS_MAX: usize = 32;

/// How a node ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Open requests are served first.
    InOrder,
    /// Nobody is waited for.
    AtOnce,
}

/// A node that serves.
pub struct Running {
    config: Config,
    readiness: Readiness,
    listeners: Vec<Listener>,
    replication: Replication,
    scrubber: Addr<Scrubber>,
    arbiter: Arbiter,
    store_actor: Addr<StoreActor>,
    store: Arc<Store>,
    keeper: Keeper,
    _lock: LockGuard,
}

impl Running {
    /// Starts a node; it serves when this returns.
    pub async fn start(config: Config) -> Result<Self, NodeError> {
        let ring = keys::ring(&config)?;
        // Addresses first: one that is taken is told before the data directory is touched.
        let http_port = reserve(config.http.listen, "http.listen (--listen)")?;
        let peer_port = reserve(config.peer.listen, "peer.listen (--peer-listen)")?;
        // Shared out before anything is made: caches and budgets are parts of one ceiling.
        let plan = config.memory_plan(config.ceiling(), queues::fixed_bytes(config.others().count()));
        if plan.ceiling.bytes < CEILING_MIN {
            return Err(NodeError::Memory(plan.ceiling.bytes));
        }
        if plan.reduced {
            log::info!(ceiling = plan.ceiling.bytes; "budgets and caches are reduced to fit the memory ceiling");
        }
        let (lock, store) = take_place(&config, &ring, &plan).await?;
        // Connections are taken from here on, and wait until the servers run: a refused start never accepts one.
        let (http_listener, http_addr) = http_port.open()?;
        let (peer_listener, peer_addr) = peer_port.open()?;
        let cores = config.threads();
        let threads = Threads::start((cores * 4).min(STORE_THREADS_MAX), abort)
            .map_err(|source| NodeError::Start { what: "the store's threads", source })?;

        // Replication, healer and scrubber share a thread, with a StoreActor on it: no HTTP worker waits for them.
        let arbiter = Arbiter::new();
        let (on_arbiter, workers) = (Arc::clone(&store), threads.clone());
        let store_actor =
            StoreActor::start_in_arbiter(&arbiter.handle(), move |_| StoreActor::new(on_arbiter, workers));
        // Derived for sessions alone, it opens nothing that is stored; so it may leave the StoreActor's hands.
        let peer_key = Arc::new(ring.peer_key());
        let (healing, scrubbing) = (Arc::new(HealTally::default()), Arc::new(ScrubTally::default()));
        let readiness = Readiness::default();
        // Not before the first look.
        readiness.missing(conditions::BEGINS, "it begins");
        let pulses = Arc::new(Pulses {
            store: Arc::clone(&store),
            readiness: readiness.clone(),
            healing: Arc::clone(&healing),
            scrubbing: Arc::clone(&scrubbing),
            counted: Counted::default(),
        });
        let vitals = vitals(&config, &store, &ring, &pulses);
        let keeper = keys::keep(&config, &ring, &store, &vitals, threads.clone());
        let replicate = replication_config(&config, vitals.clone(), &plan);
        let recipients = StoreRecipients::of(&store_actor);
        let arrivals = Arc::new(Arrivals::default());
        let healer = {
            let (me, key, peers) = (Arc::clone(&vitals.me), Arc::clone(&peer_key), replicate.peers.clone());
            let (store, tally, arrivals) = (recipients.clone(), Arc::clone(&healing), Arc::clone(&arrivals));
            Healer::start_in_arbiter(&arbiter.handle(), move |_| Healer::new(&me, &key, &peers, store, tally, arrivals))
        };
        // A coordinator whose record's body is missing here has it fetched by the same healer as readers do.
        let bodies = healer.clone().recipient();
        let scrubber = {
            let scrub = &config.scrub;
            let pace = Pace { enabled: scrub.enabled, period: scrub.period, bytes_per_second: scrub.bytes_per_second };
            let (store, healer, tally) = (store_actor.clone(), healer.clone().recipient(), Arc::clone(&scrubbing));
            Scrubber::start_in_arbiter(&arbiter.handle(), move |_| Scrubber::new(pace, &store, healer, tally))
        };
        let replication = Replication::start(replicate, Arc::clone(&peer_key), recipients, &arbiter.handle());
        let names = config.cluster.peers.iter().map(|peer| peer.name.clone());
        let burying = Arc::new(BurialTally::default());
        let each = plan.peer;
        let bytes = PeerBytes { calls: each.calls_bytes, blobs: each.blobs_bytes, streams: each.streams_bytes };
        let gate = Arc::new(PeerGate::new(vitals.clone(), peer_key, names, bytes).sharing(Arc::clone(&arrivals)));
        let fixed = Arc::new(Fixed {
            node: config.node.name.clone(),
            cluster: store.cluster(),
            incarnation: store.incarnation(),
            former: store.former(),
            durability: config.cluster.durability.as_str(),
            replication: replication.clone(),
            healing,
            burying: Arc::clone(&burying),
            scrubbing,
            gate: Arc::clone(&gate),
            readiness: readiness.clone(),
        });

        let (shared_store, shared_threads) = (Arc::clone(&store), threads.clone());
        let readers = healer.recipient();
        let new_actor = move || {
            StoreActor::new(Arc::clone(&shared_store), shared_threads.clone()).healed_by(readers.clone()).start()
        };
        let peer_actor = new_actor.clone();
        let peers = peer_port::serve(peer_listener, gate, move || StoreRecipients::of(&peer_actor()), 1)
            .map_err(|source| NodeError::Start { what: "the peer listener", source })?;
        let voter = votes(&config).then(|| vitals.clone());
        conditions::watch(&store, &readiness, Arc::clone(&vitals.keys), voter, replication.peers());
        // Where nodes vote, large bodies go on to the others while they arrive: part of the memory is theirs.
        let shipping = if votes(&config) { plan.in_flight_bytes / STREAMS_PART } else { 0 };
        let streams = Budget::new(u64::MAX, shipping);
        let budget = Budget::new(config.http.requests_max, plan.in_flight_bytes - shipping);
        let shared = Shared::new(http_settings(&config, &plan, cores), budget, readiness.clone());
        let coordinated = replication.seats().map(|seats| {
            let common = Common {
                me: store.incarnation(),
                ballots: Arc::clone(&store) as Arc<dyn Ballots>,
                peers: replication.peers(),
                patience: Patience::within(config.cluster.decide_timeout),
                fetch: bodies.clone(),
                arrivals: Arc::clone(&arrivals),
                streams: streams.clone(),
                turns: Turns::default(),
                far: Arc::default(),
            };
            (common, seats)
        });
        if let Some((common, seats)) = &coordinated {
            let coordinator = Coordinator::new(common.clone(), StoreBeside::of(&store_actor));
            let age = config.cluster.tombstone_age;
            actix_rt::spawn(tombstones::run(coordinator.clone(), Arc::clone(seats), age, burying));
            actix_rt::spawn(settler::run(coordinator, Arc::clone(seats)));
        }
        // What follows is built once on each worker's own thread: a message to a StoreActor there costs no hop.
        let pause_scrub = scrubber.clone().recipient();
        let http = rest::serve(http_listener, &shared, move || {
            let store = new_actor();
            let downloads = store.clone().recipient();
            let links = match &coordinated {
                None => StoreLinks::new(&store, downloads),
                Some((common, seats)) => {
                    let coordinator = Coordinator::new(common.clone(), StoreBeside::of(&store));
                    let actor = CoordinatorActor::new(coordinator, Arc::clone(seats)).start();
                    StoreLinks::new(&actor, downloads).with_members(actor.clone().recipient(), actor.recipient())
                }
            };
            let status = Rc::new(NodeStatus { fixed: Arc::clone(&fixed), store });
            Backend { links: links.with_scrubber(pause_scrub.clone()), status }
        })
        .map_err(|source| NodeError::Start { what: "the HTTP server", source })?;
        let listeners = vec![
            Listener::run("http", Whom::Clients, http_addr, http),
            Listener::run("peer", Whom::Peers, peer_addr, peers),
        ];
        // For scripts. A disk without room for it can still be read, and be made room on.
        if let Err(error) = write_addresses(&config.node.data, &listeners) {
            log::warn!(error:% = error; "{ADDRESSES} is not of this start");
        }
        health::keep_counting(&pulses, threads.clone());
        sweep(Arc::clone(&store), threads);
        trim(&store, shared.large_memory());
        log::info!(
            node:% = config.node.name, http:% = http_addr, peer:% = peer_addr, data:% = config.node.data.display(),
            cluster:% = store.cluster(), incarnation:% = store.incarnation(); "serving"
        );
        if config.http.listen.ip().is_loopback() {
            log::warn!("open to everybody on this machine: access keys come with a later release");
        } else {
            log::warn!("open to everybody who reaches this address, as --insecure-open says");
        }
        Ok(Running {
            config,
            readiness,
            listeners,
            replication,
            scrubber,
            arbiter,
            store_actor,
            store,
            keeper,
            _lock: lock,
        })
    }

    /// Reads the key directory again when it is notified.
    pub fn nudge(&self) -> Arc<Notify> {
        self.keeper.nudge()
    }

    /// The bound address of a port: `http`, or `peer`.
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|listener| listener.name == name).map(|listener| listener.address)
    }

    /// The node's replication, for tests that kill its actors.
    pub fn replication(&self) -> &Replication {
        &self.replication
    }

    /// Returns when this node, which decides with others, has reason to doubt its memory.
    pub async fn doubted(&self) {
        if votes(&self.config) {
            let mut doubted = self.store.doubted();
            if doubted.wait_for(Option::is_some).await.is_ok() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Ends the node at once, and gives up its incarnation: what it votes now would count for nothing.
    pub async fn give_up(mut self) -> Result<(), NodeError> {
        self.config.http.ready_grace = Duration::ZERO;
        let config = self.config.clone();
        if let Err(error) = self.end(Ending::AtOnce).await {
            log::warn!(error:% = error; "not ended in order");
        }
        let _lock = lock(&config.node.data)?;
        renounce(&config)
    }

    /// Ends the node in order; everything answered is durable when this returns.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.end(Ending::InOrder).await
    }

    async fn end(self, ending: Ending) -> Result<(), NodeError> {
        self.readiness.missing("draining", "the node is stopping");
        self.keeper.end();
        // It ends first: what it reads from now on, open requests would wait for.
        self.scrubber.send(StopScrub).await.map_err(|_| NodeError::NoActor)?;
        actix_rt::time::sleep(self.config.http.ready_grace).await;
        self.close(Whom::Clients, ending).await;
        self.replication.drain().await;
        self.close(Whom::Peers, ending).await;
        let drained = self.store_actor.send(DrainStore).await.map_err(|_| NodeError::NoActor)?;
        self.arbiter.stop();
        let dir = self.config.node.data;
        drained.map_err(|source| NodeError::Store { dir, source })?;
        drop(self.store);
        Ok(())
    }

    /// Closes the ports that these reach.
    async fn close(&self, whom: Whom, ending: Ending) {
        let theirs = self.listeners.iter().filter(|listener| listener.whom == whom);
        join_all(theirs.map(|listener| listener.stop(ending == Ending::InOrder))).await;
    }
}

/// Opens the data directory and looks that it fits the configuration. One that may have forgotten what its node had
/// promised to others becomes that of another life first.
async fn take_place(
    config: &Config,
    ring: &Arc<Keyring>,
    plan: &MemoryPlan,
) -> Result<(LockGuard, Arc<Store>), NodeError> {
    let dir = &config.node.data;
    RealDisk.create_dir_all(dir).map_err(|source| NodeError::Data { op: "create", path: dir.clone(), source })?;
    let lock = lock(dir)?;
    let mut store = open_store(config, ring, plan)?;
    if store.doubts() && votes(config) {
        // Its threads end with it.
        drop(store);
        renounce(config)?;
        store = open_store(config, ring, plan)?;
    }
    node_place::check(config, &store)?;
    let name = config.others().next().map(|_| config.node.name.clone());
    if let Err(error) = begin(&store, name.clone()).await {
        log::warn!(error:% = error; "the number of this start could not be written: the node does not vote until it is");
        let later = Arc::downgrade(&store);
        actix_rt::spawn(async move {
            loop {
                actix_rt::time::sleep(BEGIN_EVERY).await;
                let Some(store) = later.upgrade() else { return };
                if begin(&store, name.clone()).await.is_ok() {
                    return log::info!("this start has its number now");
                }
            }
        });
    }
    Ok((lock, store))
}

async fn begin(store: &Store, name: Option<NodeName>) -> Result<(), StoreError> {
    store::store::wait(store.begin(u64::from_le_bytes(seal::random()), name)).await.map(drop)
}

/// The lock of a data directory.
pub(super) fn lock(dir: &Path) -> Result<LockGuard, NodeError> {
    RealDisk::lock(dir).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => NodeError::Locked(dir.to_owned()),
        _ => NodeError::Data { op: "lock", path: dir.to_owned(), source },
    })
}

/// Gives up the incarnation of a data directory that nobody uses: the others give its place to the next one.
fn renounce(config: &Config) -> Result<(), NodeError> {
    let dir = &config.node.data;
    let ring = keys::ring(config)?;
    let renounced = store::open::renounce(&RealDisk, dir, &ring);
    let (was, is) = renounced.map_err(|source| NodeError::Store { dir: dir.clone(), source })?;
    log::warn!(was:%, is:%; "this node gives up its incarnation, and votes again when the others have given it its place anew");
    Ok(())
}

fn open_store(config: &Config, ring: &Arc<Keyring>, plan: &MemoryPlan) -> Result<Arc<Store>, NodeError> {
    let dir = &config.node.data;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let options = Options {
        inline_max: size(config.store.inline_max),
        log_bytes: config.store.log_bytes,
        cache_bytes: plan.cache_bytes,
        index_cache_bytes: size(plan.index_cache_bytes),
        large_write_bytes: plan.large_write_bytes,
        checkpoint_bytes: config.store.checkpoint_bytes,
        checkpoint_interval: config.store.checkpoint_interval,
        orphan_grace: config.store.orphan_grace,
        reserve_bytes: config.store.reserve_bytes,
        first_bucket: !votes(config),
        ..Options::default()
    };
    let fail = |source| NodeError::Store { dir: dir.clone(), source };
    let opened = store::open(Arc::new(RealDisk), dir, Arc::clone(ring), config.cluster.id, options);
    let (store, clockwork) = opened.map_err(fail)?;
    store.start(clockwork, abort).map_err(fail)
}

fn vitals(config: &Config, store: &Arc<Store>, ring: &Arc<Keyring>, pulses: &Arc<Pulses>) -> Vitals {
    let (measured, counted, pulses) = (Arc::clone(store), Arc::clone(store), Arc::clone(pulses));
    Vitals {
        me: Arc::new(Identity {
            name: config.node.name.clone(),
            cluster: store.cluster(),
            incarnation: store.incarnation(),
        }),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ballots: Arc::clone(store) as Arc<dyn Ballots>,
        lists: Arc::new(ListWatch::new(
            config.others().map(|peer| peer.name.clone()),
            seen_lately(config.peer.heartbeat),
        )),
        keys: Arc::new(KeyWatch::new(
            Arc::clone(ring),
            config.others().map(|peer| peer.name.clone()),
            seen_lately(config.peer.heartbeat),
        )),
        reach: Arc::new(Reach::new(config.others().map(|peer| peer.name.clone()))),
        head: store.head(),
        free: Arc::new(move || measured.room()),
        root: Arc::new(move || counted.tree().root()),
        health: Arc::new(move || pulses.health()),
    }
}

fn replication_config(config: &Config, vitals: Vitals, plan: &MemoryPlan) -> ReplicationConfig {
    let standard = Timing::default();
    let timing = Timing {
        heartbeat: config.peer.heartbeat,
        backoff: config.peer.backoff(),
        compare: config.peer.compare_every,
        settle: standard.settle.min(config.peer.compare_every),
        ..standard
    };
    let address = |peer: &crate::config::PeerEntry| PeerAddress { name: peer.name.clone(), url: peer.url.to_string() };
    ReplicationConfig {
        vitals,
        peers: config.cluster.peers.iter().map(address).collect(),
        pool: config.peer.replicas_per_peer,
        timing,
        votes_bytes: plan.peer.votes_bytes,
        sending_bytes: plan.peer.sending_bytes,
        votes: votes(config),
    }
}

/// Whether the nodes decide together: a node alone is its own majority.
fn votes(config: &Config) -> bool {
    config.cluster.durability == Durability::Majority && config.others().next().is_some()
}

fn http_settings(config: &Config, plan: &MemoryPlan, workers: usize) -> HttpSettings {
    let http = &config.http;
    HttpSettings {
        workers,
        body_max: http.body_max,
        hosts: Hosts::new(&http.hosts, http.listen.ip().to_canonical().is_loopback()),
        inline_max: usize::try_from(config.store.inline_max).unwrap_or(usize::MAX),
        idle_timeout: http.idle_timeout,
        turn_max: http.turn_timeout,
        head_timeout: http.header_timeout,
        keep_alive: http.keep_alive,
        connections_max: handles::connections_for(http.connections_max),
        connections_per_address_max: http.connections_per_address_max,
        linger: http.linger,
        drain_timeout: http.drain_timeout,
        durability: config.cluster.durability.as_str(),
        conditional_writes: votes(config) || config.others().next().is_none(),
        large_buffers: !plan.reduced,
        cluster_size: config.others().count() + 1,
    }
}

fn write_addresses(data: &Path, listeners: &[Listener]) -> Result<(), NodeError> {
    let path = data.join(ADDRESSES);
    let all: BTreeMap<_, _> = listeners.iter().map(|listener| (listener.name, listener.address.to_string())).collect();
    let text = serde_json::json!(all).to_string();
    place::replace(&RealDisk, &path, text.as_bytes()).map_err(|source| NodeError::Data { op: "write", path, source })
}

/// Gives memory that nobody needs any more back to the system, for as long as the store is there.
fn trim(store: &Arc<Store>, arriving: Lender) {
    let store = Arc::downgrade(store);
    actix_rt::spawn(async move {
        loop {
            actix_rt::time::sleep(TRIM_EVERY).await;
            let Some(store) = store.upgrade() else { return };
            store.trim_memory();
            arriving.trim();
        }
    });
}

/// Removes what crashes left behind, beside the traffic.
fn sweep(store: Arc<Store>, threads: Threads) {
    actix_rt::spawn(async move {
        match threads.run(move || store.sweep_orphans()).await {
            Some(Ok(0)) | None => {}
            Some(Ok(swept)) => log::info!(swept; "removed bodies that no record refers to"),
            Some(Err(error)) => log::warn!(error:% = error; "bodies that no record refers to stay"),
        }
    });
}

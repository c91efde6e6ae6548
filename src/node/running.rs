//! One running node: what it is made of, and in which order that starts and ends.

use super::access::{self, First, Maker};
use super::audit;
use super::certificate::Certificate;
use super::conditions;
use super::error::NodeError;
use super::health;
use super::joining;
use super::key_source::KeySource;
use super::keys::{self, Keeper};
use super::listener::{Listener, Reserved, Whom, reserve, tell_addresses};
use super::lock::lock;
use super::parts::{Backends, Peers, Storage};
use super::place as node_place;
use super::queues;
use crate::actors::access::Known;
use crate::actors::background::scrubber::{Scrubber, StopScrub};
use crate::actors::messages::DrainStore;
use crate::actors::peer::store::StoreRecipients;
use crate::actors::replication::Replication;
use crate::actors::store_actor::threads::Threads;
use crate::actors::store_actor::{StoreActor, abort};
use crate::audit::Audit;
use crate::base::{BufferPool, Class, NodeName};
use crate::config::check::unsealed;
use crate::config::{CEILING_MIN, Config, MemoryPlan};
use crate::disk::real::LockGuard;
use crate::disk::{Disk, RealDisk, handles};
use crate::http::{Entrance, Hosts, HttpSettings, Readiness, S3Settings, Shared, rest, s3};
use crate::peer_port;
use crate::seal::{self, Origin, keyring::Keyring};
use crate::store::{self, Options, Store, StoreError};
use crate::tls;
use actix::Addr;
use actix_rt::Arbiter;
use actix_web::dev::Server;
use futures::future::join_all;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::sync::Notify;

/// How long memory for large bodies is kept that nobody needs, and at most twice that.
const TRIM_EVERY: Duration = Duration::from_secs(5);
/// How often a node tries to begin whose disk did not let it.
const BEGIN_EVERY: Duration = Duration::from_secs(1);

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
    ring: Arc<Keyring>,
    readiness: Readiness,
    listeners: Vec<Listener>,
    replication: Replication,
    scrubber: Addr<Scrubber>,
    arbiter: Arbiter,
    store_actor: Addr<StoreActor>,
    store: Arc<Store>,
    audit: Audit,
    keeper: Keeper,
    /// What its ports show; none where they have no TLS.
    certificate: Option<Certificate>,
    _lock: LockGuard,
}

impl Running {
    /// Starts a node; it serves when this returns.
    pub async fn start(config: Config) -> Result<Self, NodeError> {
        let source = KeySource::of(&config)?;
        Running::start_with(config, source).await
    }

    /// The same, with a source of keys that somebody has: what it has read can be read only once, perhaps.
    pub(super) async fn start_with(config: Config, source: KeySource) -> Result<Self, NodeError> {
        let ring = keys::ring(&source)?;
        let certificate = Certificate::load(&config)?;
        let first = First::of(&config)?;
        // Addresses first: one that is taken is told before the data directory is touched.
        let http_port = reserve(config.http.listen, "http.listen (--listen)")?;
        let s3_port = config.s3.listen.map(|at| reserve(at, "s3.listen (--s3-listen)")).transpose()?;
        let peer_port = reserve(config.peer.listen, "peer.listen (--peer-listen)")?;
        let plan = share_out(&config)?;
        let told = joining::told(&config, &ring).await?;
        let (lock, store) = take_place(&config, &ring, told.as_ref(), &plan).await?;
        // Connections are taken from here on, and wait until the servers run: a refused start never accepts one.
        let (http_listener, http_addr) = http_port.open()?;
        let s3_listener = s3_port.map(Reserved::open).transpose()?;
        let (peer_listener, peer_addr) = peer_port.open()?;

        let storage = Storage::start(&config, &ring, store)?;
        let keeper =
            keys::keep(source, &ring, &storage.store, (&storage.node_view, &storage.audit), storage.threads.clone());
        let peers = Peers::start(&config, &plan, &ring, &storage);
        let voter = config.decides_with_others().then(|| storage.node_view.clone());
        let known = Arc::clone(&storage.node_view.keys);
        let cluster_size = Arc::new(AtomicUsize::new(config.others().count() + 1));
        let of_cluster = (peers.replication.peers(), Arc::clone(&cluster_size));
        let shown = certificate.as_ref().map(Certificate::shown);
        let (backends, budget) = Backends::new(&config, &plan, &storage, &peers, shown);
        conditions::watch(&storage.store, &storage.readiness, (known, backends.access().clone()), voter, of_cluster);
        certificate.iter().for_each(|shown| shown.watch(&storage.readiness, storage.threads.clone()));
        let settings = http_settings(&config, &plan, config.threads(), cluster_size);
        let entrance = Entrance::new(backends.access().clone(), config.may_be_open());
        let shared = Shared::new(settings, budget, storage.readiness.clone(), entrance, storage.audit.clone());
        let keys_known = backends.access().clone();
        let key_maker = backends.key_maker();

        audit::begin(&storage.audit, &config, &ring, &storage.store, &storage.readiness).await;
        let peer_server = serve_peers(peer_listener, &peers, &backends)?;
        let tls = certificate.as_ref().map(Certificate::server);
        let mut listeners = serve_clients(&config, (http_listener, http_addr), s3_listener, tls, &shared, &backends)?;
        listeners.push(Listener::run("peer", Whom::Peers, peer_addr, peer_server));
        tell_addresses(&config.node.data, &listeners);
        let Storage { store, threads, arbiter, store_actor, readiness, pulses, audit, .. } = storage;
        health::keep_counting(&pulses, threads.clone());
        sweep(Arc::clone(&store), threads);
        trim(&store, shared.large_memory());
        say_serving(&config, &store, &listeners, &keys_known.known());
        let maker = Maker::new(key_maker, audit.clone());
        actix_rt::spawn(access::see_to(first, store.cluster(), keys_known, maker));
        Ok(Running {
            config,
            ring,
            readiness,
            listeners,
            replication: peers.replication,
            scrubber: peers.scrubber,
            arbiter,
            store_actor,
            store,
            audit,
            keeper,
            certificate,
            _lock: lock,
        })
    }

    /// Reads the key directory, and the certificate, again when they are notified.
    pub fn nudges(&self) -> impl Iterator<Item = Arc<Notify>> {
        self.certificate.iter().map(Certificate::nudge).chain([self.keeper.nudge()])
    }

    /// The bound address of a port: `http`, `s3` or `peer`.
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|listener| listener.name == name).map(|listener| listener.address)
    }

    /// The node's replication, for tests that kill its actors.
    pub fn replication(&self) -> &Replication {
        &self.replication
    }

    /// Returns when this node, which decides with others, has reason to doubt its memory.
    pub async fn doubted(&self) {
        if self.config.decides_with_others() {
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
        let (config, ring) = (self.config.clone(), Arc::clone(&self.ring));
        if let Err(error) = self.end(Ending::AtOnce).await {
            log::warn!(error:% = error; "not ended in order");
        }
        let _lock = lock(&config.node.data)?;
        renounce(&config, &ring)
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
        audit::end(&self.audit);
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

/// The memory plan: everything is shared out before anything is made, since caches and budgets are parts of one
/// ceiling.
fn share_out(config: &Config) -> Result<MemoryPlan, NodeError> {
    let plan = config.memory_plan(config.ceiling(), queues::fixed_bytes(config.others().count()));
    if plan.ceiling.bytes < CEILING_MIN {
        return Err(NodeError::Memory(plan.ceiling.bytes));
    }
    if plan.reduced {
        log::info!(ceiling = plan.ceiling.bytes; "budgets and caches are reduced to fit the memory ceiling");
    }
    Ok(plan)
}

/// The servers of the ports for clients. Backends are built once on each worker's own thread: a message to a StoreActor
/// there costs no hop.
fn serve_clients(
    config: &Config,
    (http, http_addr): (TcpListener, SocketAddr),
    s3: Option<(TcpListener, SocketAddr)>,
    tls: Option<tls::Server>,
    shared: &Shared,
    backends: &Backends,
) -> Result<Vec<Listener>, NodeError> {
    let backend = || {
        let backends = backends.clone();
        move || backends.backend()
    };
    let served = rest::serve(http, tls.clone(), shared, backend());
    let served = served.map_err(|source| NodeError::Start { what: "the HTTP server", source })?;
    let mut listeners = vec![Listener::run("http", Whom::Clients, http_addr, served)];
    if let Some((listener, at)) = s3 {
        let served = s3::serve(listener, tls, shared, s3_settings(config, at), backend());
        let served = served.map_err(|source| NodeError::Start { what: "the S3 server", source })?;
        listeners.push(Listener::run("s3", Whom::Clients, at, served));
    }
    Ok(listeners)
}

fn s3_settings(config: &Config, at: SocketAddr) -> S3Settings {
    let (domains, region) = (config.s3.domains.clone(), config.s3.region.clone());
    let hosts = Hosts::new(&config.http.hosts, at.ip().to_canonical().is_loopback()).with_domains(&domains);
    S3Settings { hosts, domains, region }
}

/// The server of the peer port, with StoreActors of its own.
fn serve_peers(listener: TcpListener, peers: &Peers, backends: &Backends) -> Result<Server, NodeError> {
    let backends = backends.clone();
    let recipients = move || StoreRecipients::of(&backends.store_actor());
    let served = peer_port::serve(listener, Arc::clone(&peers.gate), recipients, 1);
    served.map_err(|source| NodeError::Start { what: "the peer listener", source })
}

fn say_serving(config: &Config, store: &Store, listeners: &[Listener], known: &Known) {
    let at = |name: &str| {
        listeners
            .iter()
            .find(|listener| listener.name == name)
            .map_or("off".to_owned(), |found| found.address.to_string())
    };
    log::info!(
        node:% = config.node.name, http:% = at("http"), s3:% = at("s3"), tls = config.tls.is_on(), peer:% = at("peer"),
        data:% = config.node.data.display(), cluster:% = store.cluster(), incarnation:% = store.incarnation(); "serving"
    );
    unsealed(config).for_each(|why| log::warn!("{why}"));
    access::say_who_gets_in(config, known);
}

/// Opens the data directory and looks that it fits the configuration. One that may have forgotten what its node had
/// promised to others becomes that of another life first.
async fn take_place(
    config: &Config,
    ring: &Arc<Keyring>,
    told: Option<&Origin>,
    plan: &MemoryPlan,
) -> Result<(LockGuard, Arc<Store>), NodeError> {
    let dir = &config.node.data;
    RealDisk.create_dir_all(dir).map_err(|source| NodeError::Data { op: "create", path: dir.clone(), source })?;
    let lock = lock(dir)?;
    let mut store = open_store(config, ring, told, plan)?;
    if store.doubts() && config.decides_with_others() {
        // Its threads end with it.
        drop(store);
        renounce(config, ring)?;
        store = open_store(config, ring, told, plan)?;
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
    store::wait(store.begin(u64::from_le_bytes(seal::random()), name)).await.map(drop)
}

/// Gives up the incarnation of a data directory that nobody uses: the others give its place to the next one.
fn renounce(config: &Config, ring: &Keyring) -> Result<(), NodeError> {
    let dir = &config.node.data;
    let renounced = store::open::renounce(&RealDisk, dir, ring);
    let (was, is) = renounced.map_err(|source| NodeError::Store { dir: dir.clone(), source })?;
    log::warn!(was:%, is:%; "this node gives up its incarnation, and votes again when the others have given it its place anew");
    Ok(())
}

fn open_store(
    config: &Config,
    ring: &Arc<Keyring>,
    told: Option<&Origin>,
    plan: &MemoryPlan,
) -> Result<Arc<Store>, NodeError> {
    let dir = &config.node.data;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let options = Options {
        inline_max: size(config.store.inline_max),
        segment_max: size(config.store.segment_max),
        log_bytes: config.store.log_bytes,
        cache_bytes: plan.cache_bytes,
        index_cache_bytes: size(plan.index_cache_bytes),
        large_write_bytes: plan.large_write_bytes,
        checkpoint_bytes: config.store.checkpoint_bytes,
        checkpoint_interval: config.store.checkpoint_interval,
        orphan_grace: config.store.orphan_grace,
        reserve_bytes: config.store.reserve_bytes,
        first_bucket: !config.decides_with_others(),
        index_failed,
        ..Options::default()
    };
    let fail = |source| NodeError::Store { dir: dir.clone(), source };
    let opened = store::open_as(Arc::new(RealDisk), dir, Arc::clone(ring), config.cluster.id, told, options);
    let (store, clockwork) = opened.map_err(fail)?;
    store.start(clockwork, abort).map_err(fail)
}

/// What a running node says of its index when that fails: once for damage, once for anything else.
fn index_failed(error: &StoreError) {
    match error.class() {
        Class::Corrupt => log::error!(
            error:%; "the index is damaged, and no restart mends it. A node of a cluster: start it with an empty data directory, as one whose disk was lost; until then its peers are asked for what it does not read, for lists too, and it has no vote on that. A node alone: copy what can still be read before anything else (docs/operations.md)"
        ),
        _ => log::warn!(
            error:%; "the index could not be read or written, and may not be until the node is restarted: look at the disk; until then the node asks its peers, if it has any, for what it does not read, for lists too"
        ),
    }
}

fn http_settings(config: &Config, plan: &MemoryPlan, workers: usize, cluster_size: Arc<AtomicUsize>) -> HttpSettings {
    let http = &config.http;
    HttpSettings {
        workers,
        body_max: http.body_max,
        hosts: Hosts::new(&http.hosts, http.listen.ip().to_canonical().is_loopback()),
        inline_max: usize::try_from(config.store.inline_max).unwrap_or(usize::MAX),
        segment_max: usize::try_from(config.store.segment_max).unwrap_or(usize::MAX),
        idle_timeout: http.idle_timeout,
        turn_max: http.turn_timeout,
        head_timeout: http.header_timeout,
        keep_alive: http.keep_alive,
        connections_max: handles::connections_for(http.connections_max, config.client_ports()),
        connections_per_address_max: http.connections_per_address_max,
        linger: http.linger,
        drain_timeout: http.drain_timeout,
        durability: config.cluster.durability.as_str(),
        conditional_writes: config.decides_with_others() || config.others().next().is_none(),
        large_buffers: !plan.reduced,
        cluster_size,
    }
}

/// Gives memory that nobody needs any more back to the system, for as long as the store is there.
fn trim(store: &Arc<Store>, arriving: BufferPool) {
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
            // What the machine runs short of is told once, by who met it first.
            Some(Err(error)) if error.is_shortage() => log::debug!(error:% = error; "bodies without a record stay"),
            Some(Err(error)) => log::warn!(error:% = error; "bodies that no record refers to stay"),
        }
    });
}

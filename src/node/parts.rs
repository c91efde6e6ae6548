//! The parts of a running node, in the order in which they are made: what stores, what talks to peers, what serves
//! clients.
//!
//! ```text
//!   clients -> HTTP workers -> Backends: a coordinator and a StoreActor on each worker's thread
//!                                   |                |
//!   peers <--> Peers: ReplicaActors, healer, scrubber, sessions
//!                                   |                |
//!                              Storage: the store, its threads, a StoreActor for what no request waits for
//! ```
//!
//! Invariant: a part is made from those below it in this picture, and never asks for one above.

use super::access;
use super::audit;
use super::conditions;
use super::error::NodeError;
use super::health::{Counted, Pulses};
use super::status::{Fixed, NodeStatus};
use crate::actors::access::Access;
use crate::actors::background::healer::{HealTally, Healer};
use crate::actors::background::scrub::Pace;
use crate::actors::background::scrubber::{ScrubTally, Scrubber};
use crate::actors::background::tombstones::{self, BurialTally};
use crate::actors::background::{access_watch, janitor, settler, stale_uploads};
use crate::actors::coordinator::actor::CoordinatorActor;
use crate::actors::coordinator::members_actor::MembersActor;
use crate::actors::coordinator::store::StoreBeside;
use crate::actors::coordinator::turns::Turns;
use crate::actors::coordinator::{Common, Coordinator, Patience};
use crate::actors::messages::CreateAccess;
use crate::actors::peer::arrivals::Arrivals;
use crate::actors::peer::forming::Seats;
use crate::actors::peer::key_watch::KeyWatch;
use crate::actors::peer::list_watch::ListWatch;
use crate::actors::peer::node_view::{Ballots, Identity, NodeView};
use crate::actors::peer::plan::{PeerAddress, Timing};
use crate::actors::peer::reach::Reach;
use crate::actors::peer::sessions::{PeerBytes, PeerGate};
use crate::actors::peer::store::StoreRecipients;
use crate::actors::replication::{Replication, ReplicationConfig, seen_lately};
use crate::actors::store_actor::threads::Threads;
use crate::actors::store_actor::{StoreActor, abort};
use crate::actors::underway::Underway;
use crate::audit::Audit;
use crate::base::Budget;
use crate::config::{Config, MemoryPlan};
use crate::http::{Backend, MemberLinks, ReadLinks, Readiness, StoreLinks, WriteLinks};
use crate::seal::keyring::Keyring;
use crate::store::Store;
use crate::tls::Kept;
use actix::{Actor, Addr, Recipient};
use actix_rt::Arbiter;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// Most threads for the store's disk work; more only queue at the disk.
const STORE_THREADS_MAX: usize = 32;

/// The store, its threads, and a StoreActor for what no request waits for.
pub(super) struct Storage {
    pub store: Arc<Store>,
    pub threads: Threads,
    /// The thread that replication, healer and scrubber share: no HTTP worker waits for them.
    pub arbiter: Arbiter,
    pub store_actor: Addr<StoreActor>,
    pub readiness: Readiness,
    pub healing: Arc<HealTally>,
    pub scrubbing: Arc<ScrubTally>,
    pub pulses: Arc<Pulses>,
    pub node_view: NodeView,
    pub audit: Audit,
}

impl Storage {
    /// Starts what stands on an open store.
    pub fn start(config: &Config, ring: &Arc<Keyring>, store: Arc<Store>) -> Result<Self, NodeError> {
        let threads = Threads::start((config.threads() * 4).min(STORE_THREADS_MAX), abort)
            .map_err(|source| NodeError::Start { what: "the store's threads", source })?;
        let arbiter = Arbiter::new();
        let (on_arbiter, workers) = (Arc::clone(&store), threads.clone());
        let store_actor =
            StoreActor::start_in_arbiter(&arbiter.handle(), move |_| StoreActor::new(on_arbiter, workers));
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
        let audit = audit::start(config, ring, &store)?;
        let node_view = node_view(config, &store, ring, &pulses, &audit);
        Ok(Storage { store, threads, arbiter, store_actor, readiness, healing, scrubbing, pulses, node_view, audit })
    }
}

/// What talks to the peers, and what works in the background with their help.
pub(super) struct Peers {
    pub replication: Replication,
    pub healer: Addr<Healer>,
    pub scrubber: Addr<Scrubber>,
    /// The sessions of those who come to this node.
    pub gate: Arc<PeerGate>,
    /// Bodies that are on their way here.
    pub arrivals: Arc<Arrivals>,
}

impl Peers {
    /// Starts it, beside the storage's own StoreActor.
    pub fn start(config: &Config, plan: &MemoryPlan, ring: &Keyring, storage: &Storage) -> Self {
        // Derived for sessions alone, it opens nothing that is stored; so it may leave the StoreActor's hands.
        let peer_keys = ring.peer_keys();
        let (node_view, arbiter) = (&storage.node_view, storage.arbiter.handle());
        let replicate = replication_config(config, node_view.clone(), plan);
        let recipients = StoreRecipients::of(&storage.store_actor);
        let arrivals = Arc::new(Arrivals::default());
        let healer = {
            let (view, key, peers) = (node_view.clone(), Arc::clone(&peer_keys), replicate.peers.clone());
            let (store, tally, arrivals) = (recipients.clone(), Arc::clone(&storage.healing), Arc::clone(&arrivals));
            Healer::start_in_arbiter(&arbiter, move |_| Healer::new(&view, &key, &peers, store, tally, arrivals))
        };
        let scrubber = {
            let scrub = &config.scrub;
            let pace = Pace { enabled: scrub.enabled, period: scrub.period, bytes_per_second: scrub.bytes_per_second };
            let (store, tally) = (storage.store_actor.clone(), Arc::clone(&storage.scrubbing));
            let healer = healer.clone().recipient();
            Scrubber::start_in_arbiter(&arbiter, move |_| Scrubber::new(pace, &store, healer, tally))
        };
        let replication = Replication::start(replicate, Arc::clone(&peer_keys), recipients, &arbiter);
        let names = config.cluster.peers.iter().map(|peer| peer.name.clone());
        let each = plan.peer;
        let bytes = PeerBytes { calls: each.calls_bytes, blobs: each.blobs_bytes, streams: each.streams_bytes };
        let gate = PeerGate::new(node_view.clone(), peer_keys, names, bytes).telling(storage.store.origin());
        let gate = Arc::new(gate.sharing(Arc::clone(&arrivals)));
        Peers { replication, healer, scrubber, gate, arrivals }
    }
}

/// Makes what stands behind the HTTP port and the peer port, on whichever thread asks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Backends {
    store: Arc<Store>,
    threads: Threads,
    healer: Addr<Healer>,
    scrubber: Addr<Scrubber>,
    common: Common,
    /// None where this node decides alone.
    seats: Option<Arc<Mutex<Seats>>>,
    fixed: Arc<Fixed>,
    access: Access,
    key_maker: Recipient<CreateAccess>,
}

impl Backends {
    /// What every worker gets, and the budget of all requests together. Starts what finds out which access keys are in
    /// force, and, where nodes decide together, what ends
    /// undecided writes, member changes and deletions that were left behind, and what drops tombstones.
    /// `shown`: the certificate of the ports.
    pub fn new(
        config: &Config,
        plan: &MemoryPlan,
        storage: &Storage,
        peers: &Peers,
        shown: Option<Arc<Kept>>,
    ) -> (Self, Budget) {
        let budget = Budget::new(config.http.requests_max, plan.requests_bytes);
        let store = &storage.store;
        let burying = Arc::new(BurialTally::default());
        let seats = peers.replication.seats();
        let common = Common {
            me: store.incarnation(),
            votes: seats.is_some(),
            ballots: Arc::clone(store) as Arc<dyn Ballots>,
            peers: peers.replication.peers(),
            patience: Patience::within(config.cluster.decide_timeout),
            // A record whose body is missing here has it fetched by the same healer as readers do.
            fetch: peers.healer.clone().recipient(),
            arrivals: Arc::clone(&peers.arrivals),
            streams: Budget::new(u64::MAX, plan.shipping_bytes),
            turns: Turns::default(),
            keys: Arc::clone(&storage.node_view.keys),
            underway: Underway::default(),
            far: Arc::default(),
        };
        let coordinator = Coordinator::new(common.clone(), StoreBeside::of(&storage.store_actor));
        let access = access_watch::begin(store, common.votes, access::clock);
        actix_rt::spawn(access_watch::run(coordinator.clone(), access.clone(), store.access_changes()));
        let key_maker = CoordinatorActor::new(coordinator.clone()).start().recipient();
        let stale = config.s3.stale_upload_age;
        actix_rt::spawn(stale_uploads::run(coordinator.clone(), seats.clone(), stale));
        if let Some(seats) = &seats {
            let (age, burying) = (config.cluster.tombstone_age, Arc::clone(&burying));
            actix_rt::spawn(tombstones::run(coordinator.clone(), Arc::clone(seats), age, burying));
            actix_rt::spawn(janitor::run(coordinator.clone(), Arc::clone(seats)));
            actix_rt::spawn(settler::run(coordinator, Arc::clone(seats)));
        }
        let fixed = Arc::new(Fixed {
            node: config.node.name.clone(),
            cluster: store.cluster(),
            incarnation: store.incarnation(),
            former: store.former(),
            durability: config.cluster.durability.as_str(),
            replication: peers.replication.clone(),
            healing: Arc::clone(&storage.healing),
            burying,
            scrubbing: Arc::clone(&storage.scrubbing),
            gate: Arc::clone(&peers.gate),
            readiness: storage.readiness.clone(),
            access: access.clone(),
            shown,
            audit: storage.audit.clone(),
        });
        let (store, threads) = (Arc::clone(store), storage.threads.clone());
        let (healer, scrubber) = (peers.healer.clone(), peers.scrubber.clone());
        (Backends { store, threads, healer, scrubber, common, seats, fixed, access, key_maker }, budget)
    }

    /// What is known of access keys.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Who makes the first access key.
    pub fn key_maker(&self) -> Recipient<CreateAccess> {
        self.key_maker.clone()
    }

    /// A StoreActor on this thread.
    pub fn store_actor(&self) -> Addr<StoreActor> {
        let healer = self.healer.clone().recipient();
        StoreActor::new(Arc::clone(&self.store), self.threads.clone()).healed_by(healer).start()
    }

    /// What an HTTP worker asks, on its thread.
    pub fn backend(&self) -> Backend {
        let store = self.store_actor();
        let downloads = store.clone().recipient();
        let coordinator = Coordinator::new(self.common.clone(), StoreBeside::of(&store));
        let actor = CoordinatorActor::new(coordinator.clone()).start();
        let writes = WriteLinks::of(&actor);
        let links = match &self.seats {
            // What a node alone holds is all there is: nobody has to be asked.
            None => StoreLinks::new(writes, ReadLinks::of(&store), downloads),
            Some(seats) => {
                let members = MembersActor::new(coordinator, Arc::clone(seats)).start();
                StoreLinks::new(writes, ReadLinks::of(&actor), downloads).with_members(MemberLinks::of(&members))
            }
        };
        let status = Rc::new(NodeStatus { fixed: Arc::clone(&self.fixed), store });
        Backend { links: links.with_scrubber(self.scrubber.clone().recipient()), status }
    }
}

fn node_view(
    config: &Config,
    store: &Arc<Store>,
    ring: &Arc<Keyring>,
    pulses: &Arc<Pulses>,
    audit: &Audit,
) -> NodeView {
    let (measured, counted, pulses) = (Arc::clone(store), Arc::clone(store), Arc::clone(pulses));
    NodeView {
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
        keys: Arc::new(key_watch(config, store, ring)),
        reach: Arc::new(Reach::new(config.others().map(|peer| peer.name.clone()))),
        head: store.head(),
        free: Arc::new(move || measured.room()),
        root: Arc::new(move || counted.tree().root()),
        health: Arc::new(move || pulses.health()),
        audit: Arc::new(audit::ForPeers(audit.clone())),
    }
}

fn key_watch(config: &Config, store: &Arc<Store>, ring: &Arc<Keyring>) -> KeyWatch {
    let names = config.others().map(|peer| peer.name.clone());
    let store = Arc::clone(store);
    // What a coordinator has sealed is decided within that, or it is not.
    let settles = config.cluster.decide_timeout * 2;
    KeyWatch::new(Arc::clone(ring), names, seen_lately(config.peer.heartbeat))
        .with_uses(move || store.key_uses(), settles)
}

fn replication_config(config: &Config, node_view: NodeView, plan: &MemoryPlan) -> ReplicationConfig {
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
        node_view,
        peers: config.cluster.peers.iter().map(address).collect(),
        pool: config.peer.replicas_per_peer,
        timing,
        votes_bytes: plan.peer.votes_bytes,
        sending_bytes: plan.peer.sending_bytes,
        votes: config.decides_with_others(),
    }
}

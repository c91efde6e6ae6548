//! Replication of one node: a keeper per peer, all on one arbiter beside a StoreActor of its own.
//!
//! Invariants
//! - Asking how it is never waits for a busy or dead actor: the last snapshot is shown, with its age.
//! - `drain` ends only when what was sent is answered and the cursors are saved; its caller holds the
//!   clock.
//!
//! | file | | what |
//! |---|---|---|
//! | `keeper` | does | one per peer: builds its lanes, and builds them anew |
//! | `actor` | does | the ReplicaActor, whatever its lane carries |
//! | `records` | does | the lane for records, heartbeats and the cursor; its own table says more |
//! | `votes_lane` | does | the lane for what coordinators ask of the peer |
//! | `blob_lane` `lease` | does | the lanes for bodies that records refer to; one of them on its way |
//! | `carry` | does | a body over a session that stands |
//! | `parcel` | does | short bodies, many to a request |

pub mod actor;
pub mod blob_lane;
mod carry;
pub mod keeper;
pub mod lease;
mod parcel;
pub mod records;
pub mod votes_lane;

use crate::actors::peer::forming::Seats;
use crate::actors::peer::node_view::{Identity, NodeView};
use crate::actors::peer::plan::{LaneHandle, PeerAddress, Plan, Tally, Timing};
use crate::actors::peer::store::StoreRecipients;
use crate::actors::peer::transfers::Transfers;
use crate::actors::replication::actor::{How, Kill};
use crate::actors::replication::keeper::{DrainPeer, Keeper, KillLane, ObservePeer};
use crate::actors::status::ReplicaStatus;
use crate::base::NodeName;
use crate::register::Seat;
use crate::seal::session::PeerKeys;
use actix::{Actor, Addr, Context};
use actix_rt::ArbiterHandle;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a keeper may take to say how its lanes are.
const OBSERVE_MAX: Duration = Duration::from_millis(300);

/// A node that was heard less than this ago counts as there when a cluster forms.
const SEEN_LATELY_MIN: Duration = Duration::from_secs(5);

/// How long what a peer said counts, at this pause between heartbeats.
pub fn seen_lately(heartbeat: Duration) -> Duration {
    (heartbeat * 3).max(SEEN_LATELY_MIN)
}

/// What replication needs to know.
#[derive(Clone)]
pub struct ReplicationConfig {
    /// How this node is; `head` in it is what wakes the records lanes.
    pub node_view: NodeView,
    /// The configured peers; this node's own name among them is passed over.
    pub peers: Vec<PeerAddress>,
    /// Actors for each peer, three at least.
    pub pool: usize,
    /// How often peers are tried, asked and compared with.
    pub timing: Timing,
    /// Most bytes of votes that wait for one peer.
    pub votes_bytes: u64,
    /// Most bytes of bodies that are read to be sent to one peer.
    pub sending_bytes: u64,
    /// Whether the nodes vote, and so need a member list.
    pub votes: bool,
}

/// The running replication of a node. Cheap to clone.
#[derive(Clone)]
pub struct Replication(Arc<[Peer]>, Option<Arc<Mutex<Seats>>>);

struct Peer {
    name: NodeName,
    plan: Arc<Plan>,
    keeper: Addr<Keeper>,
    last: Mutex<(Instant, ReplicaStatus)>,
}

impl Replication {
    /// Starts the keepers of all peers on `arbiter`. `store` leads to a StoreActor, best one on the same
    /// arbiter: a message to it costs a microsecond then.
    pub fn start(
        config: ReplicationConfig,
        key: Arc<PeerKeys>,
        store: StoreRecipients,
        arbiter: &ArbiterHandle,
    ) -> Replication {
        let me: &Identity = &config.node_view.me;
        let seat = Seat { name: me.name.clone(), incarnation: me.incarnation };
        let names = config.peers.iter().map(|peer| peer.name.clone());
        let lately = seen_lately(config.timing.heartbeat);
        let seats = Seats::new(seat, names, lately);
        let seats = config.votes.then(|| Arc::new(Mutex::new(seats)));
        let others = config.peers.iter().filter(|peer| peer.name != me.name);
        let shared_seats = seats.clone();
        let peers = others.map(|PeerAddress { name, url }| {
            let plan = Arc::new(Plan {
                peer: name.clone(),
                url: url.clone(),
                node_view: config.node_view.clone(),
                key: Arc::clone(&key),
                store: store.clone(),
                timing: config.timing,
                lane: LaneHandle::default(),
                seats: shared_seats.clone(),
                transfers: Arc::new(Transfers::new(config.sending_bytes)),
                votes_bytes: config.votes_bytes,
                tally: Tally::default(),
            });
            let (shared, pool) = (Arc::clone(&plan), config.pool);
            let keeper = Keeper::start_in_arbiter(arbiter, move |_: &mut Context<Keeper>| Keeper::new(shared, pool));
            let first = ReplicaStatus { peer: name.to_string(), url: url.clone(), ..ReplicaStatus::default() };
            Peer { name: name.clone(), plan, keeper, last: Mutex::new((Instant::now(), first)) }
        });
        Replication(peers.collect(), seats)
    }

    /// How the cluster comes to its member list; none where nobody votes.
    pub fn seats(&self) -> Option<Arc<Mutex<Seats>>> {
        self.1.clone()
    }

    /// What is known of the peers, the ways to their votes lanes with it.
    pub fn peers(&self) -> Vec<Arc<Plan>> {
        self.0.iter().map(|peer| Arc::clone(&peer.plan)).collect()
    }

    /// How replication to each peer is.
    pub async fn status(&self) -> Vec<ReplicaStatus> {
        futures::future::join_all(self.0.iter().map(Peer::status)).await
    }

    /// Sends nothing new, waits for what was sent, saves the cursors, and ends the ReplicaActors.
    pub async fn drain(&self) {
        futures::future::join_all(self.0.iter().map(|peer| async {
            // A keeper that is gone has nothing in flight.
            let _ = peer.keeper.send(DrainPeer).await;
        }))
        .await;
    }

    /// Kills one actor, to see it come back. Reachable only from inside the process.
    pub fn kill(&self, peer: &NodeName, lane: usize, how: How) {
        for peer in self.0.iter().filter(|found| found.name == *peer) {
            peer.keeper.do_send(KillLane { lane, kill: Kill(how) });
        }
    }
}

impl Peer {
    async fn status(&self) -> ReplicaStatus {
        let asked = self.keeper.send(ObservePeer).timeout(OBSERVE_MAX).await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(Some(status)) = asked {
            *last = (Instant::now(), status);
        }
        let (seen, mut status) = last.clone();
        status.observed_age_s = seen.elapsed().as_secs();
        // Counters outlive the actors and are always fresh.
        self.plan.tally.show(&mut status);
        status.forgot = self.plan.node_view.lists.has_forgotten(&self.name);
        status.list = self.plan.node_view.lists.of(&self.name, self.plan.node_view.ballots.voting().list);
        status
    }
}

#[cfg(test)]
mod tests;

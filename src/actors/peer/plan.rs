//! What is known of one peer, shared by all who talk to it: where it is, how it is tried, what it said, what was sent.
//!
//! Invariants
//! - Counters outlive the actors that count.
//! - Whoever finds no votes lane loses nothing: it is being built anew, and what is sent meanwhile is asked again.

use super::forming::Seats;
use super::node_view::{Counts, NodeView};
use super::peer_request::PeerRequest;
use super::transfers::Transfers;
use crate::actors::peer::store::StoreRecipients;
use crate::actors::status::{CompareStatus, ReplicaStatus, Restarts};
use crate::base::{Backoff, NodeName};
use crate::seal::session::PeerKeys;
use actix::{Recipient, WeakRecipient};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A peer as `cluster.peers` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its `node.name`: what it calls itself in the handshake must be this.
    pub name: NodeName,
    /// The address of its peer listener, `http://host:port`.
    pub url: String,
}

/// Pauses and periods of replication.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two heartbeats to one peer, while nothing asks for one earlier.
    pub heartbeat: Duration,
    /// After a failed try.
    pub backoff: Backoff,
    /// Between tries at a peer that refuses, or is refused.
    pub refused_retry: Duration,
    /// At least between two saved cursors.
    pub save_cursor: Duration,
    /// How often the clock is looked at.
    pub tick: Duration,
    /// Between comparisons of everything.
    pub compare: Duration,
    /// How long a difference must last to be one.
    pub settle: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            heartbeat: Duration::from_secs(5),
            backoff: Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(10) },
            refused_retry: Duration::from_secs(30),
            save_cursor: Duration::from_secs(1),
            tick: Duration::from_millis(200),
            compare: Duration::from_secs(60),
            settle: Duration::from_secs(5),
        }
    }
}

/// What all lanes of one peer share.
pub struct Plan {
    /// The peer's configured name.
    pub peer: NodeName,
    /// The address of the peer's listener, as configured here.
    pub url: String,
    /// How this node is.
    pub node_view: NodeView,
    /// The key of handshakes; it opens nothing that is stored.
    pub key: Arc<PeerKeys>,
    /// What the peer's lanes may ask of this node's store.
    pub store: StoreRecipients,
    /// How often the peer is tried, asked and compared with.
    pub timing: Timing,
    /// Where coordinators find the votes lane.
    pub lane: LaneHandle,
    /// How the cluster comes to its member list; none where nobody votes.
    pub seats: Option<Arc<Mutex<Seats>>>,
    /// Which bodies are on their way, by whichever lane.
    pub transfers: Arc<Transfers>,
    /// Most bytes of votes that wait for the peer and are under way.
    pub votes_bytes: u64,
    /// Counters that outlive the actors.
    pub tally: Tally,
}

/// The way to the votes lane of a peer, whichever actor it is at the moment.
#[derive(Default)]
pub struct LaneHandle {
    lane: Mutex<Option<WeakRecipient<PeerRequest>>>,
    /// Whether it said, with its last heartbeat, that its disk is full down to the reserve.
    pub full: AtomicBool,
    /// Bytes that it has above its reserve, as it said then; more than anything before it said so.
    pub room: RoomSaid,
    /// Whether it said that it takes no writes.
    pub read_only: AtomicBool,
}

/// Bytes that a peer said it has room for; the largest number before it said anything.
pub struct RoomSaid(AtomicU64);

impl Default for RoomSaid {
    fn default() -> Self {
        RoomSaid(AtomicU64::new(u64::MAX))
    }
}

impl RoomSaid {
    /// What it said last.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes note of what the peer says with a heartbeat.
    pub fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

impl LaneHandle {
    /// The lane; none while it is being built anew.
    pub fn address(&self) -> Option<Recipient<PeerRequest>> {
        let lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        // A lane that has died keeps its address until the keeper has built another.
        lane.as_ref().and_then(WeakRecipient::upgrade).filter(Recipient::connected)
    }

    /// There is a new one.
    pub fn open(&self, lane: &Recipient<PeerRequest>) {
        *self.lane.lock().unwrap_or_else(PoisonError::into_inner) = Some(lane.downgrade());
    }
}

/// Counters of one peer's lanes.
#[derive(Default)]
pub struct Tally {
    /// Actors built anew after a panic.
    pub panics: AtomicU64,
    /// Actors restarted after an error.
    pub errors: AtomicU64,
    /// Of both, those that were asked for.
    pub kills: AtomicU64,
    /// Replies for an earlier life, or for what the peer was offered before it began anew.
    pub late_replies: AtomicU64,
    /// Bytes of blobs on their way.
    pub in_flight_bytes: AtomicU64,
    /// Bytes of blobs that arrived.
    pub shipped_bytes: AtomicU64,
    /// Records that were acknowledged.
    pub shipped_records: AtomicU64,
    /// Comparisons of everything that came to an end.
    pub compared: AtomicU64,
    /// Leaves that differed for good.
    pub differing_leaves: AtomicU64,
    /// Changes offered again because of that.
    pub doubted: AtomicU64,
    /// Of these, what the peer lacked and has now.
    pub repaired: AtomicU64,
    /// When the last comparison came to its end, and how many leaves differed then.
    pub last_round: Mutex<Option<(Instant, u64)>>,
    /// Calls to the peer, by kind.
    pub sent: Counts,
    lives: AtomicU64,
}

impl Tally {
    /// A number for a new life, or for a window of one.
    pub fn new_life(&self) -> u64 {
        self.lives.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds the counters to a snapshot.
    pub fn show(&self, status: &mut ReplicaStatus) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        status.restarts = Restarts { panics: read(&self.panics), errors: read(&self.errors), kills: read(&self.kills) };
        status.late_replies = read(&self.late_replies);
        status.in_flight_bytes = read(&self.in_flight_bytes);
        status.shipped_bytes = read(&self.shipped_bytes);
        status.shipped_records = read(&self.shipped_records);
        let last = *self.last_round.lock().unwrap_or_else(PoisonError::into_inner);
        status.compare = CompareStatus {
            rounds: read(&self.compared),
            differing_leaves: read(&self.differing_leaves),
            offered: read(&self.doubted),
            repaired: read(&self.repaired),
            equal: last.is_some_and(|(_, leaves)| leaves == 0),
            last_leaves: last.map(|(_, leaves)| leaves),
            last_age_s: last.map(|(at, _)| at.elapsed().as_secs()),
        };
        status.sent = self.sent.read();
    }
}

//! How a node is: one snapshot for `/v1/cluster`, `boveda status`, the metrics and tests. What it says of the store is
//! `StoreStatus`; `node::status` puts it together.
//!
//! A new field needs nothing else to be shown as JSON and as a metric: the metrics make a gauge of each number and
//! flag.

use crate::actors::messages::{PublicBuckets, StoreStatus};
use crate::base::budget::BudgetLevel;
use crate::base::{ClusterId, Epoch, Incarnation, NodeName, Stamp};
use crate::register::{ListMark, Roster};
use crate::store::scrub_place::Run;
use crate::store::voting::Voting;
use crate::wire::{Health, Refusal};
use serde::Serialize;
use std::collections::BTreeMap;

pub use crate::wire::ScrubState;

/// The state of the link to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Not reached; tried again after a growing pause.
    #[default]
    Down,
    /// A handshake is under way.
    Dialing,
    /// A session is open.
    Up,
    /// The two will not agree until somebody changes a setting; tried again slowly.
    Refused,
}

/// What went between two nodes, by kind, since this process began: as it is shown, and as it is counted
/// (`peer::node_view`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallCounts<N = u64> {
    /// Calls with a heartbeat; the answer to one is a heartbeat too.
    pub heartbeats: N,
    /// Offers of changes from the feed, many changes to one.
    pub offers: N,
    /// Frames of votes, each with as many as were waiting.
    pub votes: N,
    /// Pages of registers, for listings and member changes.
    pub scans: N,
    /// Batches of records that the feed or a comparison brought.
    pub learns: N,
    /// Bodies, whole or while they were made.
    pub blobs: N,
    /// Looks at sums below the root.
    pub trees: N,
    /// Good copies of what is damaged, asked for: records, and pieces of blobs.
    pub fetches: N,
    /// Questions what is held of the access keys.
    pub configs: N,
    /// Handshakes, each of which opens a session.
    pub hellos: N,
}

/// How often the actors of a peer began anew, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restarts {
    /// Built anew by the keeper after a panic.
    pub panics: u64,
    /// Restarted by their supervisor after an error.
    pub errors: u64,
    /// Of both, those that somebody asked for.
    pub kills: u64,
}

/// What comparing everything with a peer has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CompareStatus {
    /// Comparisons that came to an end.
    pub rounds: u64,
    /// Groups of registers that differed for longer than replication takes.
    pub differing_leaves: u64,
    /// Registers that this node offered again because of that.
    pub offered: u64,
    /// Of these, what the peer lacked and has now.
    pub repaired: u64,
    /// Whether the last comparison found both the same.
    pub equal: bool,
    /// Groups of registers that it found to differ.
    pub last_leaves: Option<u64>,
    /// How long ago it ended.
    pub last_age_s: Option<u64>,
}

/// How the member list of a peer stands to this node's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListIs {
    /// It was not heard yet.
    #[default]
    Unknown,
    /// It is the same; also where neither has one.
    Same,
    /// It is of an earlier epoch.
    Behind,
    /// It is of a later epoch.
    Ahead,
    /// It is of the same epoch, and another: the two do not belong to one cluster.
    Other,
}

/// The member list of a peer, as it was heard last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PeerList {
    /// The list's epoch and digest.
    #[serde(flatten)]
    pub mark: ListMark,
    /// How it stands to this node's.
    pub is: ListIs,
    /// Whether that will not go away by itself: it is of the same epoch, or it has lasted.
    pub differs: bool,
    /// Frames of its votes, and scans, that this node refused because they came with another list.
    pub refused_here: u64,
    /// Frames of this node's votes, and scans, that it refused because of that.
    pub refused_there: u64,
}

/// How replication to one peer is. The records lane fills it in (`replication::records::messages`). Its counters are
/// those of the peer's `Tally` (`peer::plan`): `replication` adds them, and what is known of the peer's list, also when
/// the lane does not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplicaStatus {
    /// The peer's configured name.
    pub peer: String,
    /// The address of its peer listener, as configured here.
    pub url: String,
    /// The link of the records lane.
    pub link: LinkState,
    /// Failed tries since the link last carried an acknowledgement.
    pub tries: u32,
    /// The life of the peer's data directory that was last seen.
    pub incarnation: Option<Incarnation>,
    /// Own change numbers that the peer has not acknowledged; 0 when it has all.
    pub changes_behind: u64,
    /// Changes read from the feed and not yet acknowledged.
    pub in_flight: usize,
    /// Age of the oldest of them by its writer's clock; 0 when there is none.
    pub oldest_change_age_s: u64,
    /// Everything up to this own change number is acknowledged.
    pub acked_seq: u64,
    /// Bytes of blobs on their way.
    pub in_flight_bytes: u64,
    /// Bytes of blobs that arrived.
    pub shipped_bytes: u64,
    /// Records that the peer acknowledged.
    pub shipped_records: u64,
    /// Which member list it has, beside this node's.
    pub list: PeerList,
    /// Whether it has forgotten what it had said of itself: an older copy of its data directory.
    pub forgot: bool,
    /// Calls to it since this process began.
    pub sent: CallCounts,
    /// What comparing everything has found.
    pub compare: CompareStatus,
    /// New beginnings of this peer's actors.
    pub restarts: Restarts,
    /// Replies for an earlier life of an actor: counted and dropped.
    pub late_replies: u64,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// Seconds since the peer last answered a heartbeat.
    pub last_heartbeat_age_s: Option<u64>,
    /// Bytes that the peer can still write, as it said then.
    pub peer_free: Option<u64>,
    /// Its release, as it said then.
    pub peer_version: Option<String>,
    /// Its own highest change number, as it said then.
    pub peer_head: Option<u64>,
    /// How often it had started on its data directory then.
    pub peer_starts: Option<u64>,
    /// What it told of itself then.
    pub health: Option<Health>,
    /// Age of this snapshot: more than 0 when the actor did not answer in time.
    pub observed_age_s: u64,
}

/// A kind of caller that the peer listener turned away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedCaller {
    /// The address it came from, without the port.
    pub from: String,
    /// Why it was turned away.
    pub reason: Refusal,
    /// How often, as far as is remembered.
    pub count: u64,
    /// When last, in milliseconds since 1970.
    pub last_ms: u64,
}

/// How the peer listener is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GateStatus {
    /// Whom it turned away.
    pub refused: Vec<RefusedCaller>,
    /// Calls that came in since this process began, from all peers.
    pub received: CallCounts,
    /// Sessions that it knows.
    pub sessions: usize,
    /// What is in flight from each peer.
    pub budgets: BTreeMap<NodeName, BudgetLevel>,
}

/// What became of copies that were damaged here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HealingStatus {
    /// Copies that are being mended.
    pub open: u64,
    /// Blobs that were fetched from a peer and stand in their place again.
    pub mended_blobs: u64,
    /// Records that were taken from a peer again.
    pub mended_records: u64,
    /// Bytes of blobs that were fetched.
    pub fetched_bytes: u64,
    /// Copies from peers that were no good: they did not check here.
    pub refused: u64,
    /// Tries that found no good copy at any peer.
    pub unmended: u64,
    /// Why the last of them did not.
    pub last_error: Option<String>,
}

/// A run of the scrubber that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LastScrub {
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended, in milliseconds since 1970.
    pub ended_ms: u64,
    /// How long ago that was.
    pub age_s: u64,
    /// Objects that were read.
    pub objects: u64,
    /// Bytes of sealed bodies.
    pub bytes: u64,
    /// Objects that could not be looked at.
    pub unread: u64,
    /// Objects that did not open.
    pub damaged: u64,
    /// Those of them that do now.
    pub repaired: u64,
}

impl LastScrub {
    /// What is shown of a run. Its age is put in when it is shown.
    pub fn of(run: Run) -> Self {
        LastScrub {
            started_ms: run.begun_ms,
            ended_ms: run.ended_ms.unwrap_or(0),
            age_s: 0,
            objects: run.objects,
            bytes: run.bytes,
            unread: run.unread,
            damaged: run.damaged,
            repaired: run.repaired,
        }
    }
}

/// How the scrubber is. The numbers are of the present run; between two, of the last one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScrubStatus {
    /// What it is doing.
    pub state: ScrubState,
    /// When the run began, in milliseconds since 1970.
    pub started_ms: Option<u64>,
    /// Which share of the registers it has done, 0 to 1.
    pub position: f64,
    /// Registers done with, tombstones and buckets included.
    pub registers: u64,
    /// Objects that were read.
    pub objects: u64,
    /// Bytes of sealed bodies.
    pub bytes: u64,
    /// Objects that could not be looked at.
    pub unread: u64,
    /// Objects that did not open.
    pub damaged: u64,
    /// Those of them that do now.
    pub repaired: u64,
    /// The last run that came to its end.
    pub last: Option<LastScrub>,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
}

/// The store, and how its scrubber is.
#[derive(Clone, Debug, Serialize)]
pub struct StoreSection {
    /// Everything that the store tells of itself.
    #[serde(flatten)]
    pub store: StoreStatus,
    /// How its scrubber goes.
    pub scrub: ScrubStatus,
}

/// The buckets of which something is open to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PublicStatus {
    /// How many there are.
    pub count: usize,
    /// The names of the first ones, `PUBLIC_NAMES_MAX` at most.
    pub names: Vec<String>,
}

/// Most names of public buckets in a status.
const PUBLIC_NAMES_MAX: usize = 32;

impl PublicStatus {
    /// What is told of these.
    pub fn of(public: &PublicBuckets) -> Self {
        let all = public.iter();
        PublicStatus { count: all.len(), names: all.take(PUBLIC_NAMES_MAX).map(|(name, _)| name.to_string()).collect() }
    }
}

/// The certificate that a node's ports show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateStatus {
    /// Until when it holds, as RFC 3339 writes it.
    pub not_after: String,
    /// The same in seconds from now; below zero when it has expired.
    pub expires_in_s: i64,
}

/// Everything that `/v1/cluster` shows. (The parameter is there for tests of the page without a store.)
#[derive(Clone, Debug, Serialize)]
pub struct ClusterSnapshot<S = StoreSection> {
    /// The name of the node that is asked.
    pub node: NodeName,
    /// The id of its cluster, the same on all members.
    pub cluster: ClusterId,
    /// The life of its data directory.
    pub incarnation: Incarnation,
    /// The release that it runs.
    pub version: String,
    /// What an answered write has survived.
    pub durability: String,
    /// Whether it should get traffic, and what is wrong.
    pub readiness: ReadinessStatus,
    /// Its part in the decisions of the cluster.
    pub voting: VotingStatus,
    /// The key generations it holds, oldest first, and which of them seals.
    pub key_generations: Vec<KeyGeneration>,
    /// Its store: objects, bytes, the log, what was refused and why.
    pub store: S,
    /// What became of damage here.
    pub healing: HealingStatus,
    /// What became of old tombstones, on the node that sees to them.
    pub burials: BurialStatus,
    /// Each configured peer, as this node's lanes know it.
    pub peers: Vec<ReplicaStatus>,
    /// Its peer listener: sessions, and who was turned away.
    pub gate: GateStatus,
    /// The certificate of its ports for clients; null where they have no TLS.
    pub certificate: Option<CertificateStatus>,
    /// What is open to everybody without a key, as this node knows it.
    pub public_buckets: PublicStatus,
    /// How often this process took a rare path, by its name (`base::Mark`).
    pub rare: BTreeMap<String, u64>,
}

/// The member list as people look at it. (`/v1/cluster/members`)
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MembersStatus {
    /// The node that was asked.
    pub node: NodeName,
    /// The list's number; 0 where there is none.
    pub epoch: Epoch,
    /// When it was made, by the clock of its maker, in milliseconds since 1970.
    pub made_ms: u64,
    /// Who votes; while the list changes, who is to vote.
    pub seats: Vec<MemberStatus>,
    /// The list that gives way to `seats` while the members change; empty otherwise.
    pub before: Vec<MemberStatus>,
    /// Configured nodes without a place.
    pub others: Vec<MemberStatus>,
    /// Nodes of either list whose disks are full down to the reserve.
    pub full: Vec<NodeName>,
}

/// A node in the member list, or one without a place in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Its `node.name`, as the member list or the configuration has it.
    pub name: NodeName,
    /// The life of its data directory: the one that has the place, or the one that was heard.
    pub incarnation: Option<Incarnation>,
    /// Whether that life was heard lately.
    pub there: bool,
    /// Whether it said lately that it is ready; nothing where this node asks itself.
    pub ready: Option<bool>,
}

/// What became of old tombstones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BurialStatus {
    /// Rounds in which some were dropped.
    pub rounds: u64,
    /// How many members are away while there is something to drop.
    pub away: usize,
    /// Their names: until they are back, or have lost their places, tombstones are kept.
    pub waits_for: Vec<NodeName>,
}

/// Whether a node should get traffic, and what is wrong with it: what `/readyz` says, with the reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReadinessStatus {
    /// Whether nothing is missing.
    pub ready: bool,
    /// Without these it should get no traffic.
    pub missing: BTreeMap<&'static str, String>,
    /// These are no reason to take it out of a Service.
    pub degraded: BTreeMap<&'static str, String>,
}

/// A node's part in the decisions of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VotingStatus {
    /// Whether it votes: it has a place. Without a member list nobody does.
    pub votes: bool,
    /// Whether a majority can be had, as far as this node knows. A node that decides alone is one.
    pub majority: bool,
    /// Names the member list, for comparing: two nodes with different ones exchange no votes.
    pub list: ListMark,
    /// The member list; none before the cluster has formed, or where nodes decide alone.
    pub members: Option<Roster>,
    /// Stamps up to this one may have been promised.
    pub reserved: Stamp,
    /// How often the node has started on its data directory.
    pub starts: u64,
    /// The life of the data directory that was given up last, since it may have forgotten what it had promised.
    pub former: Option<Incarnation>,
}

impl VotingStatus {
    /// The part that the node of that life has, by what it keeps.
    pub fn of(voting: &Voting, me: Incarnation, former: Option<Incarnation>, majority: bool) -> Self {
        VotingStatus {
            votes: voting.node.roster.as_ref().is_some_and(|roster| roster.seats_node(me)),
            majority,
            list: voting.list,
            members: voting.node.roster.as_deref().cloned(),
            reserved: voting.node.state.reserved,
            starts: voting.node.start.number,
            former,
        }
    }
}

/// One generation of the key ring, without anything of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyGeneration {
    /// The number in its file's name, `kek-0001` onwards.
    pub number: u32,
    /// Its name, which tells nothing of the key.
    pub id: String,
    /// Whether new data keys are sealed with it.
    pub active: bool,
    /// How many members have not said lately that they open it: until they do, it cannot be made the one that seals.
    pub waits: usize,
    /// Members that have not said lately that they open it.
    pub waits_for: Vec<NodeName>,
    /// Keys in this node's records that are sealed under it, as of the last checkpoint.
    pub references: u64,
    /// Whether nothing that lies here needs it any more.
    pub free: bool,
    /// How many members may still need it, where it is older than the one that seals.
    pub needed: usize,
    /// Those members.
    pub needed_by: Vec<NodeName>,
    /// Whether it is needed by no member: its file may go, from every key directory.
    pub removable: bool,
    /// Peers that said to open another key of the same number: each was made apart.
    pub clashes_with: Vec<NodeName>,
}

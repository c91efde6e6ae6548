//! The gate: sessions of peers that came to this node, and whom it turned away.
//!
//! Invariants
//! - Nothing is acted upon before a frame opened under its session's key; a hello alone, which may
//!   be a recorded one, gets an answer and an unproven session, of which there are few and short ones.
//! - Counters of a session rise strictly: a frame is taken once.
//! - Tables and queues are bounded: unproven sessions in all, proven ones per peer, refusals shown,
//!   requests and bytes in flight per peer.

use super::arrivals::Arrivals;
use super::error::LinkError;
use super::key_watch::KeyWatch;
use super::list_watch::ListWatch;
use super::reach::Reach;
use super::status::{CallCounts, GateStatus, RefusedCaller};
use crate::base::budget::BudgetLevel;
use crate::base::{Ballot, Budget, ClusterId, Incarnation, NodeName, Permit, Stamp, Sum};
use crate::register::{Heard, Remembered, Standing, Start};
use crate::seal;
use crate::seal::session::{HelloError, Me, PeerInfo, PeerKey, SessionKeys};
use crate::store::core::Core;
use crate::store::store::{Answer as CommitAnswer, wait};
use crate::store::votes::Voting;
use crate::store::{Store, StoreError};
use crate::wire::frame::{place, welcome};
use crate::wire::{Answer, Frame, Health, Pulse, Refusal, SessionId, Way};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use tokio::time::timeout;

/// Most sessions that have not carried a frame yet.
const UNPROVEN_MAX: usize = 64;
/// How long one may stay so.
const UNPROVEN_AGE_MAX: Duration = Duration::from_secs(15);
/// Most proven sessions of one peer; the longest idle one makes room.
const PROVEN_PER_PEER_MAX: usize = 64;
/// Sessions idle for longer are forgotten; the peer makes a new one.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// Most kinds of refused callers that are kept for the status page.
const REFUSED_MAX: usize = 32;
/// Most requests of one peer at once, of each kind, those that wait among them.
const PEER_REQUESTS_MAX: u64 = 64;
/// How long a request waits for its turn. Less than the time in which its sender takes silence for a fault.
const TURN_MAX: Duration = Duration::from_secs(20);

/// Bytes that one peer may make this node hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerBytes {
    /// Calls, and the answers to them.
    pub calls: u64,
    /// Bodies that come as fast as they can: whole, or small.
    pub blobs: u64,
    /// Bodies that come as they are made, at the pace of some client.
    pub streams: u64,
}

impl Default for PeerBytes {
    fn default() -> Self {
        PeerBytes { calls: 8 << 20, blobs: 8 << 20, streams: 10 << 20 }
    }
}

/// What one peer may hold, by kind: votes do not wait behind bodies, nor bodies behind slow clients.
#[derive(Debug)]
struct Budgets {
    calls: Budget,
    blobs: Budget,
    streams: Budget,
}

/// The kind of a body that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coming {
    /// As fast as it can.
    Blob,
    /// As it is made.
    Stream,
}

/// Who this node is to its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its configured name.
    pub name: NodeName,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Which life of its data directory.
    pub incarnation: Incarnation,
}

/// What coordinators and listeners need to know of the node's votes, at once.
pub trait Ballots: Send + Sync {
    /// The member list and what goes with it, as far as durable.
    fn voting(&self) -> Arc<Voting>;
    /// A ballot above all that was seen.
    fn fresh(&self) -> Ballot;
    /// Takes note of a stamp that came in.
    fn observe(&self, stamp: Stamp);
    /// How this node stands.
    fn standing(&self) -> Standing;
    /// What it remembers of the others.
    fn remembered(&self) -> Remembered;
    /// Another node says how it stands, and what it remembers of everybody.
    fn hear(&self, from: Incarnation, now: Standing, told: &[(Incarnation, Standing)]) -> Heard;
    /// What is remembered becomes durable; answered then.
    fn remember(&self) -> CommitAnswer;
    /// Whether votes may pass to and from this start of a node.
    fn is_met(&self, node: Incarnation, start: Start) -> bool;
    /// Whether this node doubts its memory: what it holds is told to nobody then.
    fn doubts(&self) -> bool {
        false
    }
    /// Whether this node takes no new bytes: its disk is full down to the reserve.
    fn is_full(&self) -> bool {
        false
    }
    /// Bytes that it has above its reserve.
    fn room(&self) -> u64 {
        u64::MAX
    }
    /// Refuses what this node has no room for: a body of so many bytes.
    fn check_fits(&self, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
    /// The same for what goes into its log.
    fn check_left(&self, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
    /// Whether it takes no writes at all.
    fn is_read_only(&self) -> bool {
        false
    }
}

impl Ballots for Store {
    fn voting(&self) -> Arc<Voting> {
        Core::voting(self)
    }
    fn fresh(&self) -> Ballot {
        self.fresh_ballot()
    }
    fn observe(&self, stamp: Stamp) {
        Core::observe(self, stamp);
    }
    fn standing(&self) -> Standing {
        Core::standing(self)
    }
    fn remembered(&self) -> Remembered {
        Core::remembered(self)
    }
    fn hear(&self, from: Incarnation, now: Standing, told: &[(Incarnation, Standing)]) -> Heard {
        Core::hear(self, from, now, told)
    }
    fn remember(&self) -> CommitAnswer {
        Store::remember(self)
    }
    fn is_met(&self, node: Incarnation, start: Start) -> bool {
        Core::is_met(self, node, start)
    }
    fn doubts(&self) -> bool {
        Core::doubts(self)
    }
    fn is_full(&self) -> bool {
        self.is_low()
    }
    fn room(&self) -> u64 {
        Core::room(self)
    }
    fn check_fits(&self, bytes: u64) -> Result<(), StoreError> {
        Core::check_fits(self, bytes)
    }
    fn check_left(&self, bytes: u64) -> Result<(), StoreError> {
        Core::check_left(self, bytes)
    }
    fn is_read_only(&self) -> bool {
        self.is_poisoned()
    }
}

/// What this node tells of itself with a heartbeat, and what it notes of those of others.
#[derive(Clone)]
pub struct Vitals {
    /// Who it is.
    pub me: Arc<Identity>,
    /// Its release.
    pub version: String,
    /// Its votes.
    pub ballots: Arc<dyn Ballots>,
    /// Whose member list is another one.
    pub lists: Arc<ListWatch>,
    /// Which key generations the nodes open.
    pub keys: Arc<KeyWatch>,
    /// Which peers answer.
    pub reach: Arc<Reach>,
    /// Its highest durable change number.
    pub head: watch::Receiver<u64>,
    /// Bytes that it can still write.
    pub free: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The sum over its registers, once they are counted.
    pub root: Arc<dyn Fn() -> Option<Sum> + Send + Sync>,
    /// How it is besides, at once.
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
}

impl Vitals {
    /// A peer says how it stands: by a heartbeat, or in the answer to one. Once this has returned, `Ballots::is_met`
    /// says whether votes may pass.
    pub async fn meet(&self, from: &PeerInfo, pulse: &Pulse) -> Result<(), LinkError> {
        let voting = self.ballots.voting();
        let life = life_of(&voting);
        if life != 0 && pulse.life != 0 && life != pulse.life {
            return Err(LinkError::OtherLife);
        }
        // Lists of one epoch that differ were founded apart: what one of the two remembers is not of the other's nodes.
        if voting.list.epoch == pulse.list.epoch && voting.list.digest != pulse.list.digest {
            return Ok(());
        }
        match self.ballots.hear(from.incarnation, pulse.standing, &pulse.remembers) {
            Heard::Known => self.lists.met(&from.name),
            // A store that takes no writes meets nobody, and is talked to all the same.
            Heard::New => {
                self.lists.met(&from.name);
                if let Err(error) = wait(self.ballots.remember()).await {
                    log::debug!(peer:% = from.name, error:% = error; "a start could not be remembered");
                }
            }
            // Without a member list nobody votes, and what was forgotten is found by comparing.
            Heard::Forgot(_) if voting.node.roster.is_none() => {}
            Heard::Forgot(remembered) => self.lists.forgot(&from.name, from.incarnation, remembered, pulse.standing),
        }
        Ok(())
    }

    /// The present state.
    pub fn pulse(&self) -> Pulse {
        let voting = self.ballots.voting();
        Pulse {
            name: self.me.name.clone(),
            incarnation: self.me.incarnation,
            standing: self.ballots.standing(),
            life: life_of(&voting),
            remembers: self.ballots.remembered(),
            free: (self.free)(),
            root: (self.root)(),
            list: voting.list,
            version: self.version.clone(),
            keys: self.keys.news(),
            health: (self.health)(),
        }
    }
}

/// The life of the cluster that a node belongs to; 0 before it has a list.
fn life_of(voting: &Voting) -> u64 {
    voting.node.roster.as_ref().map_or(0, |list| list.life)
}

/// The listener's side of all sessions. Shared by its workers.
pub struct PeerGate {
    vitals: Vitals,
    key: Arc<PeerKey>,
    budgets: BTreeMap<NodeName, Budgets>,
    sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
    refused: Mutex<BTreeMap<(IpAddr, Refusal), Turned>>,
    counts: Counts,
    arrivals: Arc<Arrivals>,
}

struct Session {
    id: SessionId,
    peer: PeerInfo,
    keys: SessionKeys,
    state: Mutex<SessionState>,
    /// The start of the caller, as it said with a heartbeat.
    start: Mutex<Option<Start>>,
}

#[derive(Clone, Copy)]
struct SessionState {
    counter: u64,
    used: Instant,
}

struct Turned {
    count: u64,
    last: Instant,
    last_ms: u64,
}

/// Counters of what came in.
#[derive(Default)]
pub struct Counts {
    /// Heartbeats.
    pub heartbeats: AtomicU64,
    /// Offers.
    pub offers: AtomicU64,
    /// Frames of votes.
    pub votes: AtomicU64,
    /// Scans for listings.
    pub scans: AtomicU64,
    /// Batches of records.
    pub learns: AtomicU64,
    /// Blobs.
    pub blobs: AtomicU64,
    /// Looks at sums below the root.
    pub trees: AtomicU64,
    /// Good copies of what is damaged, asked for: records, and pieces of blobs.
    pub fetches: AtomicU64,
    /// Handshakes.
    pub hellos: AtomicU64,
}

impl Counts {
    /// Their present values.
    pub fn read(&self) -> CallCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CallCounts {
            heartbeats: read(&self.heartbeats),
            offers: read(&self.offers),
            votes: read(&self.votes),
            scans: read(&self.scans),
            learns: read(&self.learns),
            blobs: read(&self.blobs),
            trees: read(&self.trees),
            fetches: read(&self.fetches),
            hellos: read(&self.hellos),
        }
    }

    /// One more.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request that may be read: its session is known, and there is room for its bytes.
pub struct Admitted {
    session: Arc<Session>,
    _permit: Permit,
}

impl Admitted {
    /// Who sends it.
    pub fn from(&self) -> &PeerInfo {
        &self.session.peer
    }

    /// The caller said by a heartbeat which start of its node this is.
    pub fn says(&self, start: Start) {
        *lock(&self.session.start) = Some(start);
    }

    /// Which start of its node the caller is, if it said so in this session.
    pub fn start(&self) -> Option<Start> {
        *lock(&self.session.start)
    }

    /// Seals the answer to the request of that counter.
    pub fn answer(&self, path: &str, counter: u64, answer: &Answer) -> Vec<u8> {
        let bound = place(Way::Answer, path, self.session.id);
        let sealed = self.session.keys.send.seal(counter, &bound, answer.encode());
        Frame { session: self.session.id, counter, sealed: &sealed }.encode()
    }
}

impl PeerGate {
    /// A gate for the peers of those names.
    pub fn new(vitals: Vitals, key: Arc<PeerKey>, peers: impl IntoIterator<Item = NodeName>, bytes: PeerBytes) -> Self {
        let own = vitals.me.name.clone();
        let budget = || {
            let [calls, blobs, streams] =
                [bytes.calls, bytes.blobs, bytes.streams].map(|bytes| Budget::new(PEER_REQUESTS_MAX, bytes));
            Budgets { calls, blobs, streams }
        };
        PeerGate {
            vitals,
            key,
            budgets: peers.into_iter().filter(|name| *name != own).map(|name| (name, budget())).collect(),
            sessions: Mutex::default(),
            refused: Mutex::default(),
            counts: Counts::default(),
            arrivals: Arc::default(),
        }
    }

    /// Shares what it knows of bodies on their way here with whoever fetches some.
    pub fn sharing(self, arrivals: Arc<Arrivals>) -> Self {
        PeerGate { arrivals, ..self }
    }

    /// The bodies on their way here.
    pub fn arrivals(&self) -> &Arc<Arrivals> {
        &self.arrivals
    }

    /// What this node tells of itself.
    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// Counters of what came in.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Answers a handshake message.
    pub fn hello(&self, hello: &[u8]) -> Result<Vec<u8>, Refusal> {
        let me = &self.vitals.me;
        let me = Me { name: me.name.as_str(), cluster: me.cluster, incarnation: me.incarnation.0 };
        let (proof, peer, keys) = self.key.answer(me, hello).map_err(refusal_of)?;
        if !self.budgets.contains_key(&peer.name) {
            return Err(Refusal::NotAMember);
        }
        if peer.incarnation == self.vitals.me.incarnation {
            return Err(Refusal::Itself);
        }
        Counts::add(&self.counts.hellos);
        let id = SessionId(u64::from_le_bytes(seal::random()));
        let state = Mutex::new(SessionState { counter: 0, used: Instant::now() });
        let session = Arc::new(Session { id, peer, keys, state, start: Mutex::default() });
        let mut sessions = lock(&self.sessions);
        make_room(&mut sessions, Instant::now());
        sessions.insert(id, session);
        Ok(welcome(id, &proof))
    }

    /// Looks at a frame's clear part before its body is read: is there such a session, is the
    /// counter fresh, and is there room for `bytes` more of that peer? Waits for room.
    pub async fn admit(&self, session: SessionId, counter: u64, bytes: u64) -> Result<Admitted, Refusal> {
        let session = lock(&self.sessions).get(&session).map(Arc::clone).ok_or(Refusal::UnknownSession)?;
        if counter <= lock(&session.state).counter {
            return Err(Refusal::BadFrame);
        }
        let budget = self.budgets.get(&session.peer.name).ok_or(Refusal::NotAMember)?;
        let permit = turn(&budget.calls, bytes).await?;
        Ok(Admitted { session, _permit: permit })
    }

    /// Room for a body behind a frame that was opened. Waits for it, while the body waits in its socket.
    pub async fn hold(&self, admitted: &Admitted, coming: Coming, bytes: u64) -> Result<Permit, Refusal> {
        let budget = self.budgets.get(&admitted.from().name).ok_or(Refusal::NotAMember)?;
        match coming {
            Coming::Blob => turn(&budget.blobs, bytes).await,
            Coming::Stream => turn(&budget.streams, bytes).await,
        }
    }

    /// Opens a request's frame; from then on its counter is used.
    pub fn open(&self, admitted: &Admitted, path: &str, frame: &Frame<'_>) -> Result<Vec<u8>, Refusal> {
        let session = &admitted.session;
        if frame.session != session.id {
            return Err(Refusal::BadFrame);
        }
        let bound = place(Way::Request, path, session.id);
        // Opened outside the lock: it costs time, and a wrong frame changes nothing.
        let plain = session.keys.receive.open(frame.counter, &bound, frame.sealed.to_vec());
        let plain = plain.map_err(|_| Refusal::BadFrame)?;
        let mut state = lock(&session.state);
        if frame.counter <= state.counter {
            return Err(Refusal::BadFrame);
        }
        *state = SessionState { counter: frame.counter, used: Instant::now() };
        Ok(plain)
    }

    /// Takes note of a caller that was turned away. Each kind is logged when it is new.
    pub fn turned_away(&self, from: Option<IpAddr>, refusal: Refusal) {
        // A forgotten session or a full budget is everyday life, no stranger at the gate.
        if matches!(refusal, Refusal::UnknownSession | Refusal::Busy | Refusal::Slow) {
            return;
        }
        let Some(from) = from else { return };
        let mut refused = lock(&self.refused);
        let now = Instant::now();
        if let Some(turned) = refused.get_mut(&(from, refusal)) {
            *turned = Turned { count: turned.count.saturating_add(1), last: now, last_ms: now_ms() };
            return;
        }
        if refused.len() >= REFUSED_MAX {
            let oldest = refused.iter().min_by_key(|(_, turned)| turned.last).map(|(key, _)| *key);
            oldest.and_then(|key| refused.remove(&key));
        }
        refused.insert((from, refusal), Turned { count: 1, last: now, last_ms: now_ms() });
        log::warn!(from:% = from, reason:% = refusal; "turned a peer away");
    }

    /// For status and metrics.
    pub fn status(&self) -> GateStatus {
        let refused = lock(&self.refused);
        let refused = refused.iter().map(|((from, reason), turned)| RefusedCaller {
            from: from.to_string(),
            reason: *reason,
            count: turned.count,
            last_ms: turned.last_ms,
        });
        GateStatus {
            refused: refused.collect(),
            received: self.counts.read(),
            sessions: lock(&self.sessions).len(),
            budgets: self.budgets.iter().map(|(name, budgets)| (name.clone(), budgets.level())).collect(),
        }
    }
}

/// What is larger than all of it takes all of it.
async fn turn(budget: &Budget, bytes: u64) -> Result<Permit, Refusal> {
    let bytes = bytes.min(budget.level().bytes_max);
    match timeout(TURN_MAX, budget.claim(bytes)).await {
        Ok(Some(permit)) => Ok(permit),
        Ok(None) => Err(Refusal::Busy),
        Err(_) => {
            budget.refuse();
            Err(Refusal::Busy)
        }
    }
}

impl Budgets {
    fn level(&self) -> BudgetLevel {
        let levels = [&self.calls, &self.blobs, &self.streams].map(Budget::level);
        let sum = |of: fn(&BudgetLevel) -> u64| levels.iter().map(of).sum();
        BudgetLevel {
            requests: sum(|level| level.requests),
            requests_max: sum(|level| level.requests_max),
            bytes: sum(|level| level.bytes),
            bytes_max: sum(|level| level.bytes_max),
            refused: sum(|level| level.refused),
        }
    }
}

/// Forgets what is idle, and makes room for one unproven session and one more of each peer.
fn make_room(sessions: &mut HashMap<SessionId, Arc<Session>>, now: Instant) {
    let mut unproven = Vec::new();
    let mut proven: HashMap<NodeName, Vec<(Instant, SessionId)>> = HashMap::new();
    sessions.retain(|id, session| {
        let SessionState { counter, used } = *lock(&session.state);
        let age = now.saturating_duration_since(used);
        let keep = age < if counter == 0 { UNPROVEN_AGE_MAX } else { IDLE_MAX };
        if keep && counter == 0 {
            unproven.push((used, *id));
        } else if keep {
            proven.entry(session.peer.name.clone()).or_default().push((used, *id));
        }
        keep
    });
    let mut shrink = |mut group: Vec<(Instant, SessionId)>, max: usize| {
        group.sort();
        let over = (group.len() + 1).saturating_sub(max);
        for (_, id) in group.into_iter().take(over) {
            sessions.remove(&id);
        }
    };
    shrink(unproven, UNPROVEN_MAX);
    for group in proven.into_values() {
        shrink(group, PROVEN_PER_PEER_MAX);
    }
}

fn refusal_of(error: HelloError) -> Refusal {
    match error {
        HelloError::ForeignRing => Refusal::ForeignKey,
        HelloError::ForeignProtocol { .. } => Refusal::Protocol,
        HelloError::ForeignCluster { .. } => Refusal::ForeignCluster,
        HelloError::NotForMe => Refusal::WrongReceiver,
        HelloError::Garbled => Refusal::Malformed,
    }
}

/// A panic while one of these locks is held leaves no half-made state: each holds plain values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

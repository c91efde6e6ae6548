//! Sessions that peers have opened with this node, and whom it turned away. Together they are the peer gate
//! (`PeerGate`).
//!
//! Invariants
//! - Nothing is acted upon before a frame opened under its session's key; a hello alone, which may
//!   be a recorded one, gets an answer and an unproven session, of which there are few and short ones.
//! - Counters of a session rise strictly: a frame is taken once.
//! - Tables and queues are bounded: unproven sessions in all, proven ones per peer, refusals shown,
//!   requests and bytes in flight per peer.

use crate::actors::peer::arrivals::Arrivals;
use crate::actors::peer::node_view::{Counts, NodeView};
use crate::actors::peer::patience::TURN_MAX;
use crate::actors::status::{GateStatus, RefusedCaller};
use crate::base::budget::BudgetLevel;
use crate::base::{Budget, KekId, NodeName, Permit};
use crate::register::Start;
use crate::seal;
use crate::seal::Origin;
use crate::seal::session::{HelloError, Me, PeerInfo, PeerKeys, SessionKeys, generation_of};
use crate::wire::frame::{place, welcome};
use crate::wire::{Answer, Frame, Refusal, SessionId, Way};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
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

const _: () = assert!(crate::wire::SEAL_TAG_BYTES == seal::TAG_BYTES);

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

/// The listener's side of all sessions. Shared by its workers.
pub struct PeerGate {
    node_view: NodeView,
    keys: Arc<PeerKeys>,
    /// What a node is told that does not know its cluster yet.
    origin: Option<Origin>,
    budgets: BTreeMap<NodeName, Budgets>,
    sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
    refused: Mutex<BTreeMap<(IpAddr, Refusal), Turned>>,
    counts: Counts,
    arrivals: Arc<Arrivals>,
}

struct Session {
    id: SessionId,
    peer: PeerInfo,
    /// Under which its handshake was made.
    generation: KekId,
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

/// A request that may be read: its session is known, and there is room for its bytes.
pub struct Admitted {
    session: Arc<Session>,
    _permit: Permit,
}

impl Admitted {
    /// The peer that sends the request.
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
    pub fn new(
        node_view: NodeView,
        keys: Arc<PeerKeys>,
        peers: impl IntoIterator<Item = NodeName>,
        bytes: PeerBytes,
    ) -> Self {
        let own = node_view.me.name.clone();
        let budget = || {
            let [calls, blobs, streams] =
                [bytes.calls, bytes.blobs, bytes.streams].map(|bytes| Budget::new(PEER_REQUESTS_MAX, bytes));
            Budgets { calls, blobs, streams }
        };
        PeerGate {
            node_view,
            keys,
            origin: None,
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

    /// Tells its cluster to peers that do not know it yet.
    pub fn telling(self, origin: Origin) -> Self {
        PeerGate { origin: Some(origin), ..self }
    }

    /// The bodies on their way here.
    pub fn arrivals(&self) -> &Arc<Arrivals> {
        &self.arrivals
    }

    /// What this node tells of itself.
    pub fn node_view(&self) -> &NodeView {
        &self.node_view
    }

    /// Counters of what came in.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Answers a handshake message.
    pub fn hello(&self, hello: &[u8]) -> Result<Vec<u8>, Refusal> {
        let me = &self.node_view.me;
        let me = Me { name: me.name.as_str(), cluster: me.cluster, incarnation: me.incarnation.0 };
        let generation = generation_of(hello).map_err(refusal_of)?;
        let (proof, peer, keys) = self.keys.answer(me, hello).map_err(refusal_of)?;
        // The key ring alone makes no peer: it has to be configured here too, and gets a budget by that.
        if !self.budgets.contains_key(&peer.name) {
            return Err(Refusal::NotAPeer);
        }
        if peer.incarnation == self.node_view.me.incarnation {
            return Err(Refusal::Itself);
        }
        Counts::add(&self.counts.hellos);
        let id = SessionId(u64::from_le_bytes(seal::random()));
        let state = Mutex::new(SessionState { counter: 0, used: Instant::now() });
        let session = Arc::new(Session { id, peer, generation, keys, state, start: Mutex::default() });
        let mut sessions = lock(&self.sessions);
        make_room(&mut sessions, Instant::now());
        sessions.insert(id, session);
        Ok(welcome(id, &proof))
    }

    /// Answers a peer that asks which cluster this is.
    pub fn tell(&self, question: &[u8]) -> Result<Vec<u8>, Refusal> {
        let origin = self.origin.as_ref().ok_or(Refusal::Busy)?;
        let (from, answer) = self.keys.tell(&self.node_view.me.name, origin, question).map_err(refusal_of)?;
        match self.budgets.contains_key(&from) {
            true => Ok(answer),
            false => Err(Refusal::NotAPeer),
        }
    }

    /// Looks at a frame's clear part before its body is read: is there such a session, is the
    /// counter fresh, and is there room for `bytes` more of that peer? Waits for room.
    pub async fn admit(&self, session: SessionId, counter: u64, bytes: u64) -> Result<Admitted, Refusal> {
        let session = lock(&self.sessions).get(&session).map(Arc::clone).ok_or(Refusal::UnknownSession)?;
        // Its generation has gone: another handshake finds one that both have.
        if !self.keys.holds(session.generation) {
            lock(&self.sessions).remove(&session.id);
            return Err(Refusal::UnknownSession);
        }
        // Before the body is read: a frame that is sent again costs nothing but this look.
        if counter <= lock(&session.state).counter {
            return Err(Refusal::BadFrame);
        }
        let budget = self.budgets.get(&session.peer.name).ok_or(Refusal::NotAPeer)?;
        let permit = turn(&budget.calls, bytes).await?;
        Ok(Admitted { session, _permit: permit })
    }

    /// Room for a body behind a frame that was opened. Waits for it, while the body waits in its socket.
    pub async fn hold(&self, admitted: &Admitted, coming: Coming, bytes: u64) -> Result<Permit, Refusal> {
        let budget = self.budgets.get(&admitted.from().name).ok_or(Refusal::NotAPeer)?;
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
        // Two frames of one counter may be opened side by side: one of them counts.
        if frame.counter <= state.counter {
            return Err(Refusal::BadFrame);
        }
        *state = SessionState { counter: frame.counter, used: Instant::now() };
        Ok(plain)
    }

    /// Takes note of a caller that was turned away. Each kind is logged when it is new; the audit log has each.
    pub fn turned_away(&self, from: Option<IpAddr>, refusal: Refusal) {
        // A forgotten session or a full budget is everyday life, no stranger at the gate.
        if matches!(refusal, Refusal::UnknownSession | Refusal::Busy | Refusal::Slow) {
            return;
        }
        let Some(from) = from else { return };
        self.node_view.audit.turned_away(from, refusal);
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

    /// The gate as status and metrics show it.
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
        // A hello may be a recorded one: a session is worth little until a frame has opened in it.
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

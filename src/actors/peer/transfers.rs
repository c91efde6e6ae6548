//! Transfers: which bodies are on their way to one peer, and which wait for their turn.
//!
//! Invariants
//! - A body goes to a life of the peer once at a time, whoever asks for it: later askers wait for what becomes of it.
//! - So many go at once, and no more; the others wait. Small bodies go many to a request and do not wait behind large
//!   ones, and what a client sends at its own pace stands in nobody's way but that of its like.
//! - A body is over for a peer (`over`) once nothing of it is on its way there any more, neither whole nor as a stream.
//! - Waiting is no failure: it ends with a turn, when the asker has gone, or when the peer was lost meanwhile.
//! - Turns come in the order in which they were asked for. So what is sent of bodies of one queue while one of them
//!   waits is of those before it, and comes to an end: `Far::Waits` rises only as its turn comes nearer.

use crate::actors::peer::error::LinkError;
use crate::base::{BodyId, Budget, Class, Incarnation, Mark, PIECE_BYTES, Permit};
use crate::wire::{BODIES_BYTES_MAX, SMALL_BODY_BYTES_MAX};
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// Bodies up to this length are small: they are there in an instant.
pub const SMALL_BYTES_MAX: u64 = SMALL_BODY_BYTES_MAX;
/// Most calls at once, beside frames of votes.
pub const CALLS_AT_ONCE: usize = 2;
/// Most streams at once.
pub const STREAMS_AT_ONCE: usize = 5;
/// Most requests at once that carry small bodies, many to each.
pub const PARCELS_AT_ONCE: usize = 3;
/// Most bodies at once that are not small, sent whole.
pub const LARGE_AT_ONCE: usize = 4;

/// The transfers to one peer. All its lanes share them.
#[derive(Debug)]
pub struct Transfers {
    calls: Semaphore,
    streams: Semaphore,
    parcels: Semaphore,
    large: Semaphore,
    /// Bytes that were sent of small bodies, and of large ones: each of the two is a queue.
    sent: [AtomicU64; 2],
    /// How often the peer was lost: who waited before that asks again.
    losses: AtomicU64,
    /// Memory for what is read from the disk to be sent.
    room: Budget,
    open: Mutex<Open>,
    /// What is being streamed. Each ends when its guard goes.
    streaming: Mutex<HashMap<(Incarnation, BodyId), watch::Receiver<()>>>,
    joined: AtomicU64,
}

type Open = HashMap<(Incarnation, BodyId), Going>;

/// A body on its way.
#[derive(Debug)]
struct Going {
    ending: watch::Receiver<Option<Carried>>,
    sealed_len: u64,
    progress: Arc<Progress>,
}

/// How far a body is, for whoever looks.
#[derive(Debug, Default)]
struct Progress {
    has_turn: AtomicBool,
    sent: AtomicU64,
}

/// How far a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Far {
    /// It waits for its turn; so many bytes have been sent of its queue.
    Waits(u64),
    /// So many bytes of it have gone.
    Sent(u64),
}

/// What became of a body that was to go to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// The peer has it, durable and checked.
    There,
    /// The peer has no room for it, as it says.
    NoRoom,
    /// It did not get there.
    Not,
}

impl Carried {
    /// What became of it, by how its way ended.
    pub fn by(end: &Result<(), LinkError>) -> Self {
        match end {
            Ok(()) => Carried::There,
            Err(LinkError::Remote { class: Class::Full, .. }) => Carried::NoRoom,
            Err(_) => Carried::Not,
        }
    }
}

/// What is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call, as for a listing.
    Call,
    /// A body that is being made.
    Stream,
    /// A large body of that sealed length.
    Whole(u64),
    /// Small bodies in one request, of which so many bytes are read from the disk for it.
    Parcel(u64),
}

/// The right to send one.
#[derive(Debug)]
pub struct Turn<'a> {
    _place: SemaphorePermit<'a>,
    _room: Permit,
}

/// Who carries a body.
pub enum Part {
    /// Whoever asked carries it.
    Lead(Lead),
    /// Somebody does: see `ended`.
    Follow(watch::Receiver<Option<Carried>>),
}

/// The duty to carry a body. Dropping it leaves it to those who wait.
pub struct Lead {
    transfers: Arc<Transfers>,
    of: (Incarnation, BodyId),
    tell: watch::Sender<Option<Carried>>,
    sent: Sent,
}

/// A body is on its way as a stream while this is held.
#[derive(Debug)]
pub struct Streaming {
    transfers: Arc<Transfers>,
    of: (Incarnation, BodyId),
    _guard: watch::Sender<()>,
}

impl Drop for Streaming {
    fn drop(&mut self) {
        // Out of the table before its end is told, which the guard does as it goes.
        self.transfers.streaming().remove(&self.of);
    }
}

/// Counts what of a body has been sent.
#[derive(Clone)]
pub struct Sent {
    transfers: Arc<Transfers>,
    sealed_len: u64,
    progress: Arc<Progress>,
}

impl Transfers {
    /// Transfers that may hold so many bytes.
    pub fn new(bytes: u64) -> Self {
        Transfers {
            calls: Semaphore::new(CALLS_AT_ONCE),
            streams: Semaphore::new(STREAMS_AT_ONCE),
            parcels: Semaphore::new(PARCELS_AT_ONCE),
            large: Semaphore::new(LARGE_AT_ONCE),
            sent: Default::default(),
            losses: AtomicU64::new(0),
            room: Budget::new(u64::MAX, bytes),
            open: Mutex::default(),
            streaming: Mutex::default(),
            joined: AtomicU64::new(0),
        }
    }

    /// Carries a body of that sealed length, or takes part in what somebody else does about it.
    pub fn join(self: &Arc<Self>, to: Incarnation, body: BodyId, sealed_len: u64) -> Part {
        let of = (to, body);
        let mut open = self.open();
        if let Some(going) = open.get(&of) {
            self.joined.fetch_add(1, Ordering::Relaxed);
            Mark::TransferJoined.hit();
            return Part::Follow(going.ending.clone());
        }
        let (tell, ending) = watch::channel(None);
        let progress = Arc::new(Progress::default());
        open.insert(of, Going { ending, sealed_len, progress: Arc::clone(&progress) });
        let sent = Sent { transfers: Arc::clone(self), sealed_len, progress };
        Part::Lead(Lead { transfers: Arc::clone(self), of, tell, sent })
    }

    /// A body is streamed to a life of the peer for as long as what comes back is held. A body has one stream to a peer.
    pub fn streams(self: &Arc<Self>, to: Incarnation, body: BodyId) -> Streaming {
        let (guard, ending) = watch::channel(());
        self.streaming().insert((to, body), ending);
        Streaming { transfers: Arc::clone(self), of: (to, body), _guard: guard }
    }

    /// Waits until nothing of a body is on its way to that life of the peer.
    pub async fn over(&self, to: Incarnation, body: BodyId) {
        loop {
            // The locks are given back before anything is waited for.
            let streamed = self.streaming().get(&(to, body)).cloned();
            let carried = self.open().get(&(to, body)).map(|going| going.ending.clone());
            match (streamed, carried) {
                (Some(mut stream), _) => while stream.changed().await.is_ok() {},
                (None, Some(whole)) => drop(ended(whole).await),
                (None, None) => return,
            }
        }
    }

    /// How far a body is; none when nobody carries it.
    pub fn far(&self, to: Incarnation, body: BodyId) -> Option<Far> {
        let open = self.open();
        let going = open.get(&(to, body))?;
        Some(match going.progress.has_turn.load(Ordering::Relaxed) {
            true => Far::Sent(going.progress.sent.load(Ordering::Relaxed)),
            false => Far::Waits(self.sent_of(going.sealed_len).load(Ordering::Relaxed)),
        })
    }

    /// The right to send the body that is led. None when the peer was lost while it was waited for.
    pub async fn turn_of(&self, lead: &Lead) -> Option<Turn<'_>> {
        let len = lead.sent.sealed_len;
        let turn = self.turn(if len <= SMALL_BYTES_MAX { Kind::Parcel(len) } else { Kind::Whole(len) }).await?;
        lead.has_turn();
        Some(turn)
    }

    /// Most bytes of one parcel: what this node reads for some of them at once has to fit as well.
    pub fn parcel_bytes(&self) -> u64 {
        BODIES_BYTES_MAX.min(self.room.level().bytes_max / 2)
    }

    /// Bytes that were sent of the queue of bodies of that length.
    fn sent_of(&self, sealed_len: u64) -> &AtomicU64 {
        let [small, large] = &self.sent;
        if sealed_len <= SMALL_BYTES_MAX { small } else { large }
    }

    /// The right to send. None when the peer was lost while it was waited for.
    pub async fn turn(&self, kind: Kind) -> Option<Turn<'_>> {
        let of_kind = match kind {
            Kind::Call => &self.calls,
            Kind::Stream => &self.streams,
            Kind::Whole(_) => &self.large,
            Kind::Parcel(_) => &self.parcels,
        };
        let losses = self.losses.load(Ordering::Relaxed);
        let place = of_kind.acquire().await.ok()?;
        // What a stream holds is counted by whoever makes it.
        let holds = match kind {
            Kind::Call | Kind::Stream => 0,
            Kind::Whole(len) => 2 * len.min(PIECE_BYTES as u64),
            Kind::Parcel(read) => read,
        };
        let room = self.room.claim(holds.min(self.room.level().bytes_max)).await?;
        let turn = Turn { _place: place, _room: room };
        (self.losses.load(Ordering::Relaxed) == losses).then_some(turn)
    }

    /// The peer is lost: nobody who waits for a turn need try.
    pub fn lost(&self) {
        self.losses.fetch_add(1, Ordering::Relaxed);
    }

    /// How often somebody joined.
    pub fn joined(&self) -> u64 {
        self.joined.load(Ordering::Relaxed)
    }

    /// A panic while it is held leaves no half-made state.
    fn streaming(&self) -> MutexGuard<'_, HashMap<(Incarnation, BodyId), watch::Receiver<()>>> {
        self.streaming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic while it is held leaves no half-made state.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a transfer that was joined; none when whoever carried it gave it up: it is to be joined again.
pub async fn ended(mut ending: watch::Receiver<Option<Carried>>) -> Option<Carried> {
    ending.wait_for(Option::is_some).await.ok().and_then(|end| *end)
}

impl Sent {
    /// So much of the body has been sent, by whoever sends it.
    pub fn up_to(&self, bytes: u64) {
        let before = self.progress.sent.fetch_max(bytes, Ordering::Relaxed);
        self.transfers.sent_of(self.sealed_len).fetch_add(bytes.saturating_sub(before), Ordering::Relaxed);
    }
}

impl Lead {
    /// It travels with others, whose turn it is.
    pub fn has_turn(&self) {
        self.sent.progress.has_turn.store(true, Ordering::Relaxed);
    }

    /// Where to count what is sent.
    pub fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Tells those who wait what became of it.
    pub fn end(self, carried: Carried) {
        // Out of the table first: who comes now begins anew.
        self.transfers.open().remove(&self.of);
        self.tell.send_replace(Some(carried));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if self.tell.borrow().is_none() {
            self.transfers.open().remove(&self.of);
        }
    }
}

/// Waits for `work`, or for the end of everybody's interest in it.
pub async fn unless_left<T>(work: impl Future<Output = T>, left: impl Future<Output = ()>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = left => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: Incarnation = Incarnation(2);
    const BODY: BodyId = BodyId([1; 16]);
    const LEN: u64 = 1000;

    fn lead(part: Part) -> Lead {
        match part {
            Part::Lead(lead) => lead,
            Part::Follow(_) => panic!("somebody carries it"),
        }
    }

    fn follow(part: Part) -> watch::Receiver<Option<Carried>> {
        match part {
            Part::Follow(ending) => ending,
            Part::Lead(_) => panic!("nobody carries it"),
        }
    }

    #[tokio::test]
    async fn a_body_goes_once_and_later_askers_hear_what_became_of_it() {
        let transfers = Arc::new(Transfers::new(64 << 20));
        let first = lead(transfers.join(TO, BODY, LEN));
        let (a, b) = (follow(transfers.join(TO, BODY, LEN)), follow(transfers.join(TO, BODY, LEN)));
        drop(lead(transfers.join(Incarnation(3), BODY, LEN)));
        drop(lead(transfers.join(TO, BodyId([2; 16]), LEN)));
        first.end(Carried::There);
        assert_eq!((ended(a).await, ended(b).await), (Some(Carried::There), Some(Carried::There)));
        let again = lead(transfers.join(TO, BODY, LEN));
        let c = follow(transfers.join(TO, BODY, LEN));
        again.end(Carried::NoRoom);
        assert_eq!((ended(c).await, transfers.joined()), (Some(Carried::NoRoom), 3));
    }

    #[tokio::test]
    async fn a_body_is_over_when_nothing_of_it_is_on_its_way() {
        let transfers = Arc::new(Transfers::new(64 << 20));
        transfers.over(TO, BODY).await;
        let (stream, whole) = (transfers.streams(TO, BODY), lead(transfers.join(TO, BODY, LEN)));
        let (others, elsewhere) = (transfers.streams(TO, BodyId([2; 16])), transfers.streams(Incarnation(3), BODY));
        let mut over = Box::pin(transfers.over(TO, BODY));
        assert!(futures::poll!(&mut over).is_pending());
        drop(stream);
        assert!(futures::poll!(&mut over).is_pending(), "it is carried whole");
        whole.end(Carried::Not);
        assert!(futures::poll!(&mut over).is_ready(), "the others are others");
        drop((others, elsewhere));
        assert!(transfers.streaming().is_empty());
    }

    #[tokio::test]
    async fn it_is_known_how_far_a_body_is() {
        let transfers = Arc::new(Transfers::new(64 << 20));
        assert_eq!(transfers.far(TO, BODY), None);
        let (first, second) =
            (lead(transfers.join(TO, BODY, LEN)), lead(transfers.join(TO, BodyId([2; 16]), SMALL_BYTES_MAX)));
        assert_eq!(transfers.far(TO, BODY), Some(Far::Waits(0)));
        second.sent().up_to(70);
        second.sent().up_to(60);
        assert_eq!(transfers.far(TO, BODY), Some(Far::Waits(70)), "those before it move");
        lead(transfers.join(TO, BodyId([3; 16]), SMALL_BYTES_MAX + 1)).sent().up_to(7);
        assert_eq!(transfers.far(TO, BODY), Some(Far::Waits(70)), "its turn does not depend on large ones");
        let turn = transfers.turn_of(&first).await.expect("a turn");
        second.sent().up_to(80);
        assert_eq!(transfers.far(TO, BODY), Some(Far::Sent(0)), "it has its turn, and stands");
        first.sent().up_to(7);
        assert_eq!(transfers.far(TO, BODY), Some(Far::Sent(7)));
        drop(turn);
        drop(first);
        assert_eq!(transfers.far(TO, BODY), None);
        assert!(Far::Waits(u64::MAX) < Far::Sent(0));
    }

    #[tokio::test]
    async fn what_is_given_up_is_carried_by_the_next() {
        let transfers = Arc::new(Transfers::new(64 << 20));
        let first = lead(transfers.join(TO, BODY, LEN));
        let waiting = follow(transfers.join(TO, BODY, LEN));
        drop(first);
        assert_eq!(ended(waiting).await, None);
        let next = lead(transfers.join(TO, BODY, LEN));
        follow(transfers.join(TO, BODY, LEN));
        drop(next);
    }

    #[tokio::test]
    async fn so_many_go_at_once_and_small_ones_do_not_wait_behind_large_ones() {
        let transfers = Transfers::new(64 << 20);
        let mut large = Vec::new();
        for _ in 0..LARGE_AT_ONCE {
            large.push(transfers.turn(Kind::Whole(SMALL_BYTES_MAX + 1)).await.expect("a turn"));
        }
        let mut next = Box::pin(transfers.turn(Kind::Whole(u64::MAX)));
        assert!(futures::poll!(&mut next).is_pending());
        assert!(transfers.turn(Kind::Parcel(SMALL_BYTES_MAX)).await.is_some());
        assert!(transfers.turn(Kind::Stream).await.is_some());
        large.pop();
        assert!(next.await.is_some());
    }

    #[tokio::test]
    async fn who_waits_for_a_peer_that_is_lost_does_not_wait_for_the_next_one_to_fail() {
        let transfers = Transfers::new(64 << 20);
        let held = transfers.parcels.acquire_many(PARCELS_AT_ONCE as u32).await.expect("all");
        let mut waiting = Box::pin(transfers.turn(Kind::Parcel(1)));
        assert!(futures::poll!(&mut waiting).is_pending());
        transfers.lost();
        drop(held);
        assert!(waiting.await.is_none());
        assert!(transfers.turn(Kind::Parcel(1)).await.is_some());
    }

    #[tokio::test]
    async fn a_parcel_is_no_longer_than_what_may_be_read_for_two() {
        assert_eq!(Transfers::new(64 << 20).parcel_bytes(), BODIES_BYTES_MAX);
        let short = Transfers::new(1 << 20);
        assert_eq!(short.parcel_bytes(), 1 << 19);
        // One body is always sent, however long it is.
        assert!(short.turn(Kind::Parcel(SMALL_BYTES_MAX)).await.is_some());
    }
}

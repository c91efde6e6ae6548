//! The healer: fetches good copies of what is damaged here from the peers.
//!
//! Invariants
//! - Those are asked that hold what is damaged, by where it lies.
//! - Nothing a peer sends is believed: a blob is checked against the digest in the own record, a record
//!   by opening its body, before either takes the place of the damaged copy.
//! - A register is mended once at a time, however many readers wait for it; at most `OPEN_MAX` at once.
//! - Whoever asks hears whether it is worth reading again. A reader asks once, so a wrong "yes" costs one more read.
//!
//! Bodies come in pieces over a session of the healer's own, so that replication does not wait for them.

use crate::actors::guard::PanicGuard;
use crate::actors::messages::{
    Ailment, AppendIncoming, BeginIncoming, Diagnose, FetchBody, FinishIncoming, Heal, Healed, OpenOutgoing, Purpose,
    Restore, StoreError,
};
use crate::actors::peer::arrivals::Arrivals;
use crate::actors::peer::conn::{Conn, Dialer, patience};
use crate::actors::peer::error::LinkError;
use crate::actors::peer::node_view::{Ballots, NodeView};
use crate::actors::peer::plan::PeerAddress;
use crate::actors::peer::store::{StoreRecipients, ask};
use crate::base::{Ballot, BlobRef, BodyId, Class, Incarnation, NodeName, RegisterKey};
use crate::seal::session::PeerKeys;
use crate::store::voting::Voting;
use crate::wire::{Answer, Call, PULL_BYTES_MAX, Pull};
use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, ResponseFuture};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot};

mod peer;
mod tally;

use peer::{Peer, record_at};
pub use tally::HealTally;

/// Most registers that are mended at once.
const OPEN_MAX: usize = 2;
/// Bytes that all of that holds, at most: a piece as it came, opened, and on its way to the disk.
pub const HOLDS_BYTES_MAX: usize = 2 * OPEN_MAX * 3 * PULL_BYTES_MAX;

/// Between two looks whether what somebody else sends has arrived.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What the work beside the mailbox needs.
struct Own {
    store: StoreRecipients,
    peers: Vec<Peer>,
    tally: Arc<HealTally>,
    me: Incarnation,
    ballots: Arc<dyn Ballots>,
    arrivals: Arc<Arrivals>,
}

/// A register, and the body that its reader wants: what is stored there meanwhile has another one.
type Patient = (RegisterKey, Option<BodyId>);

/// Mends copies, some at a time.
pub struct Healer {
    own: Rc<Own>,
    /// Who waits for a copy, by what is to be mended.
    patients: HashMap<Patient, Vec<oneshot::Sender<Healed>>>,
    /// Who waits for bodies that are being fetched.
    wanted: HashMap<BodyId, Vec<oneshot::Sender<bool>>>,
    fetches: Rc<Semaphore>,
    queue: VecDeque<(Patient, Option<Ailment>)>,
    open: usize,
    _guard: PanicGuard,
}

impl Healer {
    /// A healer that asks these peers, in this order. Runs on the arbiter that it will live on.
    pub fn new(
        node_view: &NodeView,
        key: &Arc<PeerKeys>,
        peers: &[PeerAddress],
        store: StoreRecipients,
        tally: Arc<HealTally>,
        arrivals: Arc<Arrivals>,
    ) -> Self {
        let me = &node_view.me;
        let others = peers.iter().filter(|peer| peer.name != me.name);
        let peers = others.map(|peer| {
            let dialer = Dialer::new(&peer.url, peer.name.clone(), Arc::clone(me), Arc::clone(key));
            Peer::new(peer.name.clone(), dialer)
        });
        Healer {
            own: Rc::new(Own {
                store,
                peers: peers.collect(),
                tally,
                me: me.incarnation,
                ballots: Arc::clone(&node_view.ballots),
                arrivals,
            }),
            patients: HashMap::new(),
            wanted: HashMap::new(),
            fetches: Rc::new(Semaphore::new(OPEN_MAX)),
            queue: VecDeque::new(),
            open: 0,
            // Nobody would build another, and readers would wait in vain.
            _guard: PanicGuard::abort(),
        }
    }

    fn next(&mut self, ctx: &mut Context<Self>) {
        while self.open < OPEN_MAX {
            let Some((patient, wanted)) = self.queue.pop_front() else { return };
            self.open += 1;
            let (own, key) = (Rc::clone(&self.own), patient.0.clone());
            let work = async move {
                let _guard = PanicGuard::abort();
                own.tally.open.fetch_add(1, Ordering::Relaxed);
                let mended = own.mend(&key, wanted).await;
                own.tally.open.fetch_sub(1, Ordering::Relaxed);
                mended
            };
            ctx.spawn(wrap_future::<_, Self>(work).map(move |mended, healer, ctx| {
                healer.open -= 1;
                for waiting in healer.patients.remove(&patient).unwrap_or_default() {
                    // Whoever waited may have gone.
                    let _ = waiting.send(mended);
                }
                healer.next(ctx);
            }));
        }
    }
}

impl Actor for Healer {
    type Context = Context<Self>;
}

impl Handler<Heal> for Healer {
    type Result = ResponseFuture<Healed>;
    fn handle(&mut self, Heal { key, wanted }: Heal, ctx: &mut Context<Self>) -> Self::Result {
        let (tell, told) = oneshot::channel();
        // Many readers may meet the same damage: one copy is fetched for all of them.
        let patient = (key, wanted.and_then(|wanted| wanted.body()));
        let waiting = self.patients.entry(patient.clone()).or_default();
        if waiting.is_empty() {
            self.queue.push_back((patient, wanted));
        }
        waiting.push(tell);
        self.next(ctx);
        Box::pin(async move { told.await.unwrap_or(Healed::NoCopy) })
    }
}

impl Handler<FetchBody> for Healer {
    type Result = ResponseFuture<bool>;
    fn handle(&mut self, FetchBody(wanted): FetchBody, ctx: &mut Context<Self>) -> Self::Result {
        let (tell, told) = oneshot::channel();
        let waiting = self.wanted.entry(wanted.body).or_default();
        waiting.push(tell);
        if waiting.len() == 1 {
            let (own, fetches) = (Rc::clone(&self.own), Rc::clone(&self.fetches));
            let work = async move {
                let _guard = PanicGuard::abort();
                let _turn = fetches.acquire().await;
                own.fetch(wanted).await
            };
            ctx.spawn(wrap_future::<_, Self>(work).map(move |fetched, healer, _| {
                for waiting in healer.wanted.remove(&wanted.body).unwrap_or_default() {
                    // Whoever waited may have gone.
                    let _ = waiting.send(fetched);
                }
            }));
        }
        Box::pin(async move { told.await.unwrap_or(false) })
    }
}

impl Own {
    /// Sees to it that a body is here, unless somebody sends it already: then that is waited for, as long as it moves.
    async fn fetch(&self, blob: BlobRef) -> bool {
        let (body, patience) = (blob.body, patience(blob.sealed_len));
        let mut seen = (0, Instant::now());
        while let Some(bytes) = self.arrivals.offered(body, self.me, Instant::now()) {
            if bytes > seen.0 {
                seen = (bytes, Instant::now());
            }
            if seen.1.elapsed() > patience {
                return false;
            }
            actix_rt::time::sleep(LOOK_AGAIN).await;
        }
        let here = ask(&self.store.open_outgoing, OpenOutgoing { body }).await;
        if here.is_ok_and(|here| here.sealed_len() == blob.sealed_len) {
            return true;
        }
        let voting = self.ballots.voting();
        for peer in self.peers.iter().filter(|peer| voting.is_asked(&peer.name, |node| voting.keeps(node, body))) {
            // A record follows, and names it.
            match peer.on_session(async |conn| self.blob_from(conn, None, blob).await).await {
                Ok(()) => return true,
                Err(error) => self.tally.failed(format!("{}: {error}", peer.name)),
            }
        }
        false
    }

    /// Mends what is wrong with a register. Whoever reads wants one body; where nobody says what is wanted, all are seen to
    /// that an object in parts lacks, one after the other.
    async fn mend(&self, key: &RegisterKey, wanted: Option<Ailment>) -> Healed {
        let mut before = None;
        loop {
            let (healed, mended) = self.mend_one(key, wanted).await;
            // The same once more is not mended by fetching it once more.
            if wanted.is_some() || healed != Healed::Good || mended.is_none() || mended == before {
                return healed;
            }
            before = mended;
        }
    }

    /// Mends the first thing that is wrong; and what that was, if anything.
    async fn mend_one(&self, key: &RegisterKey, wanted: Option<Ailment>) -> (Healed, Option<Ailment>) {
        let ailment = match (ask(&self.store.diagnose, Diagnose { key: key.clone() }).await, wanted) {
            // The record here is not the one that is read: what it lacks may have been replaced everywhere.
            (Ok(Some(ailment)), Some(wanted)) if ailment.is_of_another_body(&wanted) => wanted,
            (Ok(Some(ailment)), _) => ailment,
            // The record is not known here, or cannot be looked up: a page of the index does not open.
            (_, Some(wanted)) => wanted,
            // Mended meanwhile, or replaced.
            (Ok(_), None) => return (Healed::Good, None),
            (Err(error), None) => {
                self.tally.failed(error.to_string());
                return (Healed::NoCopy, None);
            }
        };
        (self.mend_by_peers(key, wanted, ailment).await, Some(ailment))
    }

    /// Asks those for a good copy that are to have one.
    async fn mend_by_peers(&self, key: &RegisterKey, wanted: Option<Ailment>, ailment: Ailment) -> Healed {
        let mut all_asked = true;
        for peer in self.holders(key, ailment) {
            let mended = peer.on_session(async |conn| match ailment {
                Ailment::Blob { blob, .. } => self.blob_from(conn, Some(key), blob).await,
                Ailment::Record { ballot } => self.record_from(conn, key, ballot).await,
            });
            match mended.await {
                Ok(()) => {
                    self.tell_mended(&peer.name, ailment);
                    return Healed::Good;
                }
                // No other peer's copy would fit either.
                Err(LinkError::Store(error)) if error.class() == Class::Full => {
                    // That the disk is full is told once, not for each reader.
                    log::debug!("no room for a good copy of what is damaged or missing here");
                    self.tally.failed(StoreError::Full.to_string());
                    return Healed::NoRoom;
                }
                Err(error) => {
                    all_asked &= error.class() == Class::Missing;
                    self.tell_no_copy(&peer.name, ailment, &error);
                }
            }
        }
        self.without_copy(key, wanted, ailment, all_asked).await
    }

    /// The peers that are to have a good copy.
    fn holders(&self, key: &RegisterKey, ailment: Ailment) -> impl Iterator<Item = &Peer> {
        let voting = self.ballots.voting();
        let key = key.clone();
        self.peers.iter().filter(move |peer| is_holder(&voting, &peer.name, &key, ailment))
    }

    /// No peer had a good copy. Whether that is a loss is another matter. `all_asked`: each peer said that it has none.
    async fn without_copy(
        &self,
        key: &RegisterKey,
        wanted: Option<Ailment>,
        ailment: Ailment,
        all_asked: bool,
    ) -> Healed {
        if ailment.is_fault() {
            self.tally.unmended.fetch_add(1, Ordering::Relaxed);
            log::error!("a damaged copy could not be mended: no peer has a good one");
            return Healed::NoCopy;
        }
        // It may have come, or have been replaced, while it was asked for.
        let now = ask(&self.store.diagnose, Diagnose { key: key.clone() }).await;
        if wanted.is_none() && matches!(now, Ok(None)) {
            return Healed::Good;
        }
        // As long as a peer is away that may have it, nothing is lost. And what no record here refers to, or none but the
        // one here, may be gone everywhere because it was replaced: whoever reads it looks again.
        let is_lacked = all_asked && matches!(now, Ok(Some(still)) if still == ailment);
        if let Ailment::Blob { blob, .. } = ailment
            && is_lacked
            && !self.is_replaced(key, blob.body).await
        {
            self.tally.unmended.fetch_add(1, Ordering::Relaxed);
            log::error!("a body that is missing here is at no peer");
        }
        Healed::NoCopy
    }

    fn tell_mended(&self, peer: &NodeName, ailment: Ailment) {
        let counter = match ailment {
            Ailment::Blob { .. } => &self.tally.mended_blobs,
            Ailment::Record { .. } => &self.tally.mended_records,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        match ailment.is_fault() {
            true => log::warn!(peer:% = peer; "a copy that was damaged here was fetched from the peer"),
            false => log::info!(peer:% = peer; "a body that was not here yet was fetched from the peer"),
        }
    }

    fn tell_no_copy(&self, peer: &NodeName, ailment: Ailment, error: &LinkError) {
        if error.class() == Class::Invalid {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
        }
        match ailment.is_fault() {
            true => log::warn!(peer:% = peer, error:% = error; "no good copy from this peer"),
            false => log::debug!(peer:% = peer, error:% = error; "a body is not to be had there"),
        }
        self.tally.failed(format!("{peer}: {error}"));
    }

    async fn blob_from(&self, conn: &mut Conn, key: Option<&RegisterKey>, announced: BlobRef) -> Result<(), LinkError> {
        let BlobRef { body, sealed_len, .. } = announced;
        let begin = BeginIncoming { body, bytes_max: Some(sealed_len), purpose: Purpose::Reader };
        let arriving = self.arrivals.begin(body);
        let (mut from, mut incoming) = (0, None);
        while from < sealed_len {
            let len = (sealed_len - from).min(PULL_BYTES_MAX as u64);
            let pull = Pull { body, from, len: u32::try_from(len).unwrap_or(0) };
            let Answer::Bytes(bytes) = conn.call(&Call::Pull(pull)).await? else { return Err(LinkError::Unfitting) };
            if bytes.len() as u64 != len {
                return Err(LinkError::Undecodable(crate::base::codec::CodecError::Value("length of the peer's blob")));
            }
            // Staged only now: a peer that has nothing costs no file.
            let open = match incoming.take() {
                Some(open) => open,
                None => ask(&self.store.begin_incoming, begin).await?,
            };
            incoming =
                Some(ask(&self.store.append_incoming, AppendIncoming { incoming: open, data: vec![bytes] }).await?);
            from += len;
            arriving.moved(usize::try_from(len).unwrap_or(0));
            self.tally.fetched_bytes.fetch_add(len, Ordering::Relaxed);
        }
        let incoming = incoming.ok_or(LinkError::Unfitting)?;
        ask(&self.store.finish_incoming, FinishIncoming { incoming, announced, mends: key.cloned() }).await
    }

    async fn record_from(&self, conn: &mut Conn, key: &RegisterKey, ballot: Ballot) -> Result<(), LinkError> {
        let record = record_at(conn, key).await?.filter(|record| record.ballot == ballot);
        let record = record.ok_or(LinkError::NotThere)?;
        let record = Arc::try_unwrap(record).unwrap_or_else(|shared| (*shared).clone());
        let restore = Restore { key: key.clone(), record, from: conn.info.incarnation };
        ask(&self.store.restore, restore).await
    }

    /// Whether a peer holds another state of a register, which does not refer to that body.
    async fn is_replaced(&self, key: &RegisterKey, body: BodyId) -> bool {
        let voting = self.ballots.voting();
        for peer in self.peers.iter().filter(|peer| voting.is_asked(&peer.name, |node| voting.holds(node, key))) {
            let there = peer.on_session(async |conn| record_at(conn, key).await).await;
            if matches!(there, Ok(Some(record)) if !record.refers_to(body)) {
                return true;
            }
        }
        false
    }
}

/// Whether that peer is to have what is damaged: the body, or the record.
fn is_holder(voting: &Voting, peer: &NodeName, key: &RegisterKey, ailment: Ailment) -> bool {
    voting.is_asked(peer, |node| match ailment {
        Ailment::Blob { blob, .. } => voting.keeps(node, blob.body),
        Ailment::Record { .. } => voting.holds(node, key),
    })
}

#[cfg(test)]
mod tests;

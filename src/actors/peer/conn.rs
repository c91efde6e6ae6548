//! A session with a peer, seen from the node that opened it.
//!
//! Invariants
//! - One request is in flight per session: a `Conn` is borrowed for a request and comes back with
//!   its answer. Whoever drops it in between ends the session; the next one begins with a handshake.
//! - Counters rise with every request, and an answer opens under its request's counter alone.
//! - Whatever a peer sends is bounded before it is kept.
//!
//! Calls, and bodies that go alone, are here; short bodies that go together in `conn/parcel.rs`.
//!
//! The `PeerKeys` are handed in by whoever builds the node. They are derived from the key ring for this
//! purpose alone and open nothing that is stored, so that the rule "only StoreActors hold the KEK
//! ring" keeps its sense while sessions need not pass through the store's mailbox.

use crate::actors::messages::{Outgoing, ReadOutgoing};
use crate::actors::peer::error::LinkError;
use crate::actors::peer::patience::CALL_MAX;
use crate::actors::peer::patience::STALL_MAX;
use crate::actors::peer::peer_request::{Piece, Pieces};
use crate::actors::peer::sockets;
use crate::actors::peer::store::{StoreRecipients, ask};
use crate::actors::peer::transfers::Sent;
use crate::base::{BlobRef, Class, NodeName};
use crate::register::Start;
use crate::seal;
use crate::seal::session::{Hello, PeerInfo, PeerKey, PeerKeys, SessionKeys};
use crate::store::StoreError;
use crate::wire::frame::{blob_prefix, place, read_welcome};
use crate::wire::{Answer, BLOB_PATH, CALL_PATH, Call, FRAME_BYTES_MAX, Frame, HELLO_BYTES_MAX, HELLO_PATH};
use crate::wire::{Refusal, STREAM_PATH, SessionId, StreamHead, Way};
use actix_rt::time::{Instant, sleep_until, timeout};
use awc::Client;
use awc::body::{BodyStream, BoxBody, MessageBody, SizedStream};
use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

mod parcel;

pub use crate::actors::peer::node_view::Identity;

/// The slowest disk that is waited for while a peer makes a received blob durable.
const DURABLE_BYTES_PER_SEC: u64 = 20_000_000;

/// What is needed to open sessions with one peer.
#[derive(Clone)]
pub struct Dialer {
    client: Client,
    base: String,
    peer: NodeName,
    me: Arc<Identity>,
    keys: Arc<PeerKeys>,
}

/// An open session, as the node that dialled holds it.
pub struct Conn {
    client: Client,
    base: String,
    session: SessionId,
    keys: Rc<SessionKeys>,
    counter: u64,
    /// Who is at the other end, proven by the handshake.
    pub info: PeerInfo,
    /// Which start of its node that is, as it said in this session.
    pub start: Option<Start>,
}

impl Dialer {
    /// A dialer with a client of its own, for the peer of that name at `url`.
    pub fn new(url: &str, peer: NodeName, me: Arc<Identity>, keys: Arc<PeerKeys>) -> Self {
        let base = url.trim_end_matches('/').to_owned();
        Dialer { client: sockets::client(), base, peer, me, keys }
    }

    /// Opens a session: two messages, after which both sides know each other. Under the first
    /// generation on offer that the peer has too.
    pub async fn dial(&self) -> Result<Conn, LinkError> {
        for key in self.keys.offers() {
            match self.dial_under(&key).await {
                Err(LinkError::Refused(Refusal::ForeignKey)) => {}
                dialled => return dialled,
            }
        }
        Err(LinkError::Refused(Refusal::ForeignKey))
    }

    async fn dial_under(&self, key: &PeerKey) -> Result<Conn, LinkError> {
        let hello = Hello {
            from: self.me.name.as_str(),
            to: self.peer.as_str(),
            cluster: self.me.cluster,
            incarnation: self.me.incarnation.0,
            nonce: seal::random(),
        };
        let pending = hello.pending();
        let url = format!("{}{HELLO_PATH}", self.base);
        let answer = post(&self.client, &url, Bytes::from(key.hello(hello)), HELLO_BYTES_MAX);
        let answer = timeout(CALL_MAX, answer).await.map_err(|_| LinkError::Silent)??;
        let (session, proof) = read_welcome(&answer).map_err(LinkError::Undecodable)?;
        let (info, keys) = key.complete(pending, proof).map_err(LinkError::Handshake)?;
        // An address that leads back here would make this node a peer of itself.
        if info.incarnation == self.me.incarnation {
            return Err(LinkError::Refused(Refusal::Itself));
        }
        Ok(Conn {
            client: self.client.clone(),
            base: self.base.clone(),
            session,
            keys: Rc::new(keys),
            counter: 0,
            info,
            start: None,
        })
    }
}

impl Conn {
    /// Sends a call and waits for its answer. A failure of the peer's store comes as `Remote`.
    pub async fn call(&mut self, call: &Call) -> Result<Answer, LinkError> {
        let frame = self.seal(CALL_PATH, call.encode());
        let url = format!("{}{CALL_PATH}", self.base);
        let answer = post(&self.client, &url, Bytes::from(frame), FRAME_BYTES_MAX);
        let answer = timeout(CALL_MAX, answer).await.map_err(|_| LinkError::Silent)??;
        self.open(CALL_PATH, &answer)
    }

    /// Streams a blob. Answered when the peer has it, durable and checked against its digest.
    pub async fn ship(
        &mut self,
        head: BlobRef,
        blob: Outgoing,
        store: &StoreRecipients,
        sent: &Sent,
    ) -> Result<(), LinkError> {
        let prefix = blob_prefix(&self.seal(BLOB_PATH, head.encode()));
        let len = head.sealed_len.checked_add(u64::try_from(prefix.len()).unwrap_or(u64::MAX));
        let len = len.ok_or(LinkError::Store(StoreError::Corrupt { what: "blob length" }))?;
        let moved = Rc::new(Cell::new(Instant::now()));
        let cause = Rc::new(RefCell::new(None));
        let body = Shipment {
            prefix: Some(Bytes::from(prefix)),
            blob: Some(blob),
            sealed_len: head.sealed_len,
            left: head.sealed_len,
            sent: sent.clone(),
            store: store.clone(),
            moved: Rc::clone(&moved),
            cause: Rc::clone(&cause),
        };
        let body = SizedStream::new(len, body.into_stream());
        let url = format!("{}{BLOB_PATH}", self.base);
        let posted = post(&self.client, &url, body, FRAME_BYTES_MAX);
        let answer = unless_stalled(posted, &moved, patience(head.sealed_len)).await;
        // What stopped the body says more than "the body stopped".
        if let Some(error) = cause.borrow_mut().take() {
            return Err(error);
        }
        self.open(BLOB_PATH, &answer?).map(|_| ())
    }

    /// Streams a blob while it is made. Answered when the peer has it, durable and checked against what is said of
    /// it at its end. As long as nothing new is made, nothing is late.
    /// `sent` counts what has gone.
    pub async fn stream(&mut self, head: StreamHead, pieces: Pieces, sent: &Arc<AtomicU64>) -> Result<(), LinkError> {
        let prefix = blob_prefix(&self.seal(STREAM_PATH, head.encode()));
        // The frame behind the blob has the next counter, and so has the answer.
        self.counter += 1;
        let pace = Rc::new(Cell::new(Pace::Idle));
        let made = Making {
            prefix: Some(Bytes::from(prefix)),
            pieces: Some(pieces),
            keys: Rc::clone(&self.keys),
            session: self.session,
            counter: self.counter,
            pace: Rc::clone(&pace),
            sent: Arc::clone(sent),
        };
        let url = format!("{}{STREAM_PATH}", self.base);
        let posted = post(&self.client, &url, BodyStream::new(made.into_stream()), FRAME_BYTES_MAX);
        let answer = unless_late(posted, &pace).await?;
        self.open(STREAM_PATH, &answer).map(|_| ())
    }

    fn seal(&mut self, path: &str, plain: Vec<u8>) -> Vec<u8> {
        self.counter += 1;
        let sealed = self.keys.send.seal(self.counter, &place(Way::Request, path, self.session), plain);
        Frame { session: self.session, counter: self.counter, sealed: &sealed }.encode()
    }

    fn open(&self, path: &str, answer: &[u8]) -> Result<Answer, LinkError> {
        let frame = Frame::decode(answer).map_err(LinkError::Undecodable)?;
        // An answer to an earlier request, kept by somebody and sent again, must not pass for this one's.
        if frame.session != self.session || frame.counter != self.counter {
            return Err(LinkError::Forged);
        }
        let bound = place(Way::Answer, path, self.session);
        let plain = self.keys.receive.open(self.counter, &bound, frame.sealed.to_vec());
        let plain = plain.map_err(|_| LinkError::Forged)?;
        match Answer::decode(&plain).map_err(LinkError::Undecodable)? {
            Answer::Failed { class, text } => Err(LinkError::Remote { class, text }),
            answer => Ok(answer),
        }
    }
}

/// How long a transfer of so many bytes may seem to stand still: when all is sent, the peer's disk works on.
pub fn patience(sealed_len: u64) -> Duration {
    STALL_MAX + until_durable(sealed_len)
}

/// How long a disk may work on so many bytes when it has them all.
pub fn until_durable(sealed_len: u64) -> Duration {
    Duration::from_secs(sealed_len / DURABLE_BYTES_PER_SEC)
}

pub(super) async fn post(
    client: &Client,
    url: &str,
    body: impl MessageBody + 'static,
    bytes_max: usize,
) -> Result<Bytes, LinkError> {
    let request = client.post(url).content_type("application/octet-stream");
    let sent = request.send_body(BoxBody::new(body)).await;
    let mut response = sent.map_err(|error| LinkError::Unreachable(Box::new(error)))?;
    let status = response.status();
    let body = response.body().limit(bytes_max).await;
    if status.is_success() {
        return body.map_err(LinkError::BrokenAnswer);
    }
    // A refusal is not sealed: whoever refuses may know no session to seal it in.
    let refusal = body.ok().and_then(|body| Refusal::decode(&body));
    Err(refusal.map_or(LinkError::NotAPeer(status.as_u16()), LinkError::Refused))
}

/// Waits for `work` as long as `moved` keeps moving.
async fn unless_stalled<T>(
    work: impl Future<Output = Result<T, LinkError>>,
    moved: &Cell<Instant>,
    patience: Duration,
) -> Result<T, LinkError> {
    let mut work = pin!(work);
    loop {
        let deadline = moved.get() + patience;
        match select(work.as_mut(), pin!(sleep_until(deadline))).await {
            Either::Left((done, _)) => return done,
            Either::Right(_) if moved.get() + patience <= Instant::now() => return Err(LinkError::Silent),
            // It moved meanwhile, and the deadline with it.
            Either::Right(_) => {}
        }
    }
}

/// What a stream waits for.
#[derive(Clone, Copy)]
enum Pace {
    /// For what is made next: as long as that takes.
    Idle,
    /// For the peer, since then and for so long.
    Peer(Instant, Duration),
}

/// Waits for `work` for as long as `pace` allows.
async fn unless_late<T>(work: impl Future<Output = Result<T, LinkError>>, pace: &Cell<Pace>) -> Result<T, LinkError> {
    let mut work = pin!(work);
    loop {
        let deadline = match pace.get() {
            Pace::Idle => Instant::now() + STALL_MAX,
            Pace::Peer(since, patience) => since + patience,
        };
        match select(work.as_mut(), pin!(sleep_until(deadline))).await {
            Either::Left((done, _)) => return done,
            Either::Right(_) => match pace.get() {
                Pace::Peer(since, patience) if since + patience <= Instant::now() => return Err(LinkError::Silent),
                Pace::Peer(..) | Pace::Idle => {}
            },
        }
    }
}

/// A blob that is being made, on its way out: the prefix, the bytes as they come, the frame that says what they were.
struct Making {
    prefix: Option<Bytes>,
    pieces: Option<Pieces>,
    keys: Rc<SessionKeys>,
    session: SessionId,
    counter: u64,
    pace: Rc<Cell<Pace>>,
    sent: Arc<AtomicU64>,
}

impl Making {
    fn into_stream(self) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + 'static {
        stream::unfold(self, |mut making| async move {
            let item = making.next().await?;
            Some((item, making))
        })
    }

    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        if let Some(prefix) = self.prefix.take() {
            self.pace.set(Pace::Peer(Instant::now(), STALL_MAX));
            return Some(Ok(prefix));
        }
        let mut pieces = self.pieces.take()?;
        // A client that uploads slowly is no fault of the peer.
        self.pace.set(Pace::Idle);
        let next = pieces.recv().await;
        match next {
            Some(Piece::Bytes(bytes)) => {
                self.pace.set(Pace::Peer(Instant::now(), STALL_MAX));
                self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                self.pieces = Some(pieces);
                Some(Ok(bytes))
            }
            Some(Piece::End(head)) => {
                self.pace.set(Pace::Peer(Instant::now(), patience(head.sealed_len)));
                self.sent.store(head.sealed_len, Ordering::Relaxed);
                let bound = place(Way::Request, STREAM_PATH, self.session);
                let sealed = self.keys.send.seal(self.counter, &bound, head.encode());
                let frame = Frame { session: self.session, counter: self.counter, sealed: &sealed };
                Some(Ok(Bytes::from(frame.encode())))
            }
            // Its upload has ended in the middle.
            None => Some(Err(std::io::Error::other("the blob was not made to its end"))),
        }
    }
}

/// A blob on its way out: the prefix, then exactly the announced bytes.
struct Shipment {
    prefix: Option<Bytes>,
    blob: Option<Outgoing>,
    sealed_len: u64,
    left: u64,
    sent: Sent,
    store: StoreRecipients,
    moved: Rc<Cell<Instant>>,
    cause: Rc<RefCell<Option<LinkError>>>,
}

impl Shipment {
    fn into_stream(self) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + 'static {
        stream::unfold(self, |mut shipment| async move {
            shipment.moved.set(Instant::now());
            let next = shipment.next().await;
            let item = match next {
                Ok(None) => return None,
                Ok(Some(bytes)) => Ok(bytes),
                Err(error) => {
                    *shipment.cause.borrow_mut() = Some(error);
                    shipment.left = 0;
                    shipment.blob = None;
                    Err(std::io::Error::other("the blob could not be read to its end"))
                }
            };
            Some((item, shipment))
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        if let Some(prefix) = self.prefix.take() {
            return Ok(Some(prefix));
        }
        let wrong = LinkError::Store(StoreError::Corrupt { what: "blob length" });
        let Some(blob) = self.blob.take().filter(|_| self.left > 0) else { return Ok(None) };
        let (blob, bytes) = ask(&self.store.read_outgoing, ReadOutgoing { outgoing: blob }).await?;
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // The length was announced: a file that has another one by now is damaged.
        if len == 0 || len > self.left {
            return Err(wrong);
        }
        self.left -= len;
        self.sent.up_to(self.sealed_len - self.left);
        self.blob = Some(blob);
        Ok(Some(bytes))
    }
}

/// Whether a session that had worked before may simply have been forgotten by a listener that
/// restarted: worth one fresh handshake at once.
pub fn may_be_forgotten(error: &LinkError) -> bool {
    error.breaks_link() && error.class() == Class::Busy && !matches!(error, LinkError::Silent)
}

#[cfg(test)]
mod tests;

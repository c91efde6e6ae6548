//! What coordinators and listings ask of a peer by way of its votes lane.

use super::transfers::Carried;
use crate::actors::messages::Reply;
use crate::base::{BlobRef, BodyId, Incarnation, Page, Permit};
use crate::register::{ListMark, Slot};
use crate::wire::votes::{Vote, slot_weight};
use crate::wire::{Answer, Call, Scan, Scanned, Show, Shown, StreamHead};
use actix::Message;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use tokio::sync::{mpsc, oneshot};

/// What travels in a stream.
#[derive(Clone, Debug)]
pub enum Piece {
    /// The next bytes of the blob.
    Bytes(Bytes),
    /// The end, and what it was.
    End(BlobRef),
}

/// A stream as its lane sees it. One that ends without an `End` was given up.
pub type Pieces = mpsc::Receiver<Piece>;

/// A stream for the lane to a peer.
#[derive(Debug)]
pub struct NewStream {
    /// To which life of the peer.
    pub to: Incarnation,
    /// The blob's name, and how long it may become.
    pub head: StreamHead,
    /// The bytes as they are made, and at the end what they were.
    pub pieces: Pieces,
    /// Where to count the bytes that have gone.
    pub sent: Arc<AtomicU64>,
    /// Whether all of it was given: one that ends otherwise was given up.
    pub whole: Arc<AtomicBool>,
    /// Answered when the peer has the blob, durable and checked; dropped otherwise.
    pub done: oneshot::Sender<Carried>,
}

/// What coordinators and listings ask of a peer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum PeerRequest {
    /// A vote: it travels with what else waits, in one frame.
    Cast(Box<Cast>),
    /// Registers of a range, as that life of the peer holds them.
    Scan(Incarnation, Scan, oneshot::Sender<Page<Scanned>>),
    /// What a list shows of a range, as that life of the peer holds it.
    Show(Incarnation, Show, oneshot::Sender<Shown>),
    /// Any other call to that life of the peer.
    Ask(Incarnation, Box<Call>, oneshot::Sender<Answer>),
    /// Takes the blob of a record to that life of the peer; answered when it is there, or will not be.
    Ship(Incarnation, BlobRef, Option<Given>, oneshot::Sender<Carried>),
    /// Whether that life of the peer has room for a body of so many bytes.
    Room(Incarnation, u64, oneshot::Sender<bool>),
    /// Takes a blob there while it is made.
    Stream(NewStream),
    /// A blob that was taken there was taken in vain.
    Discard(Incarnation, BodyId),
    /// Looks whether the peer answers, also while it is not asked for anything since it did not; the answer comes
    /// when that is known, or is dropped.
    Probe(oneshot::Sender<()>),
}

/// The bytes of a short body, for which a permit stands: nobody has to read them.
#[derive(Clone, Debug)]
pub struct Given {
    /// All of the sealed body.
    pub sealed: Bytes,
    /// Whoever holds the bytes holds this.
    pub permit: Arc<Permit>,
}

/// A message of a coordinator to the replica at the peer.
#[derive(Debug)]
pub struct Cast {
    /// To which life of the peer.
    pub to: Incarnation,
    /// The list under which it was made: a peer with another one refuses it.
    pub mark: ListMark,
    /// The register, and what is asked of it.
    pub vote: Vote,
    /// The slot that `vote.have` names.
    pub have: Option<Slot<Arc<crate::base::Record>>>,
    /// Where the answer goes; none for what needs none.
    pub reply: Option<oneshot::Sender<Reply>>,
}

impl Cast {
    /// Bytes that it holds while it waits and while it is under way, at most.
    pub fn weight(&self) -> u64 {
        let have = self.have.as_ref().map_or(0, slot_weight);
        (size_of::<Cast>() + self.vote.weight() + have) as u64
    }
}

//! Streams: a body on its way to the voters: a large one while it arrives, a short one from memory once it is whole.
//!
//! Invariants
//! - A peer gets every byte of the body in order, and at the end what it has to be; or nothing that counts.
//! - A peer that cannot follow for `LAG_MAX` is left behind: it gets the body afterwards, from this node's copy.
//! - At most `AHEAD` pieces wait for a peer, and a permit stands for them: without one a body is sent afterwards.

use crate::actors::peer::peer_request::{Given, NewStream, PeerRequest, Piece};
use crate::actors::peer::transfers::Carried;
use crate::base::{BlobRef, Incarnation, Permit};
use crate::wire::StreamHead;
use actix::Recipient;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Pieces that may wait for a peer.
const AHEAD: usize = 2;
/// How long a client waits for a peer that does not follow.
pub(in crate::actors) const LAG_MAX: Duration = Duration::from_secs(1);

/// The streams of one body.
#[derive(Debug)]
pub struct BodyStreams {
    head: StreamHead,
    peers: Vec<PeerStream>,
    /// Where a short body goes once it is whole; none of one that goes while it arrives.
    later: Option<Vec<(Incarnation, Recipient<PeerRequest>)>>,
    permit: Arc<Permit>,
}

#[derive(Debug)]
struct PeerStream {
    to: Incarnation,
    whole: Arc<AtomicBool>,
    /// None once the peer was left behind, or all was sent.
    pieces: Option<mpsc::Sender<Piece>>,
    streamed: Streamed,
}

/// What becomes of a stream to one peer.
#[derive(Debug)]
pub struct Streamed {
    /// Answered when the peer has the blob, or has no room for it; dropped when this node's copy is to be sent.
    pub done: oneshot::Receiver<Carried>,
    /// Bytes of it that have gone; none of a short body, of which its transfer tells.
    pub sent: Option<Arc<AtomicU64>>,
}

impl BodyStreams {
    /// Most bytes that the streams of one body hold: what waits, and what is being sent.
    pub const HOLDS_BYTES: u64 = (AHEAD as u64 + 1) * crate::base::PIECE_BYTES as u64;

    /// No streams yet, of a body.
    pub fn new(head: StreamHead, permit: Permit) -> Self {
        BodyStreams { head, peers: Vec::new(), later: None, permit: Arc::new(permit) }
    }

    /// Ways of a body that is to go to these lanes once it is whole.
    pub fn later(head: StreamHead, permit: Permit, to: Vec<(Incarnation, Recipient<PeerRequest>)>) -> Self {
        BodyStreams { later: Some(to), ..Self::new(head, permit) }
    }

    /// Whether nothing of the body goes before it is whole.
    pub fn goes_later(&self) -> bool {
        self.later.is_some()
    }

    /// The whole body, if it is one that goes so.
    pub fn hand_over(&mut self, blob: BlobRef, sealed: Bytes) {
        for (to, lane) in self.later.iter_mut().flat_map(std::mem::take) {
            let (done, shipped) = oneshot::channel();
            let given = Given { sealed: sealed.clone(), permit: Arc::clone(&self.permit) };
            lane.do_send(PeerRequest::Ship(to, blob, Some(given), done));
            let streamed = Streamed { done: shipped, sent: None };
            self.peers.push(PeerStream { to, whole: Arc::default(), pieces: None, streamed });
        }
    }

    /// One more, for the lane to that peer.
    pub fn to(&mut self, to: Incarnation) -> NewStream {
        let (pieces, come) = mpsc::channel(AHEAD);
        let (done, shipped) = oneshot::channel();
        let (whole, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let streamed = Streamed { done: shipped, sent: Some(Arc::clone(&sent)) };
        self.peers.push(PeerStream { to, whole: Arc::clone(&whole), pieces: Some(pieces), streamed });
        NewStream { to, head: self.head, pieces: come, sent, whole, done }
    }

    /// The next bytes of the body. Waits for peers that are slow, and leaves those behind that are too slow.
    pub async fn send(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.pass_on(Piece::Bytes(bytes)).await;
        }
    }

    /// The last bytes, and what the body is.
    pub async fn end(&mut self, last: Bytes, head: BlobRef) {
        self.send(last).await;
        self.pass_on(Piece::End(head)).await;
        for peer in &mut self.peers {
            peer.whole.store(peer.pieces.is_some(), Ordering::Release);
            peer.pieces = None;
        }
    }

    async fn pass_on(&mut self, piece: Piece) {
        let sent = self.peers.iter_mut().map(|peer| {
            let piece = piece.clone();
            async move {
                let Some(pieces) = &peer.pieces else { return };
                // The client waits as well: one slow peer costs it this much, and then the body follows afterwards.
                let taken = actix_rt::time::timeout(LAG_MAX, pieces.send(piece)).await;
                if !matches!(taken, Ok(Ok(()))) {
                    peer.pieces = None;
                }
            }
        });
        futures::future::join_all(sent).await;
    }

    /// What becomes of the stream to that peer, if it was sent to. Once.
    pub fn take(&mut self, node: Incarnation) -> Option<Streamed> {
        let at = self.peers.iter().position(|peer| peer.to == node)?;
        Some(self.peers.swap_remove(at).streamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BodyId, Budget};

    fn streams() -> BodyStreams {
        let permit = Budget::new(1, BodyStreams::HOLDS_BYTES).try_claim(BodyStreams::HOLDS_BYTES).expect("room");
        BodyStreams::new(StreamHead { body: BodyId([1; 16]), bytes_max: u64::MAX }, permit)
    }

    fn head() -> BlobRef {
        BlobRef { body: BodyId([1; 16]), sealed_len: 5, digest: [2; 32] }
    }

    #[actix_rt::test]
    async fn everything_arrives_in_order_with_its_end() {
        let mut streams = streams();
        let mut stream = streams.to(Incarnation(2));
        let taking = actix_rt::spawn(async move {
            let (mut bytes, mut ended) = (Vec::new(), None);
            while let Some(piece) = stream.pieces.recv().await {
                match piece {
                    Piece::Bytes(more) => bytes.extend_from_slice(&more),
                    Piece::End(head) => ended = Some(head),
                }
            }
            let _ = stream.done.send(Carried::There);
            (bytes, ended)
        });
        for piece in [b"a".as_slice(), b"", b"bc"] {
            streams.send(Bytes::from_static(piece)).await;
        }
        streams.end(Bytes::from_static(b"de"), head()).await;
        assert_eq!(streams.take(Incarnation(2)).expect("it was sent").done.await, Ok(Carried::There));
        assert_eq!(taking.await.expect("ends"), (b"abcde".to_vec(), Some(head())));
        assert!(streams.take(Incarnation(2)).is_none(), "once");
    }

    #[actix_rt::test]
    async fn who_does_not_follow_is_left_behind_and_nobody_else_is() {
        let mut streams = streams();
        let mut stuck = streams.to(Incarnation(2));
        let gone = streams.to(Incarnation(3));
        drop(gone);
        let mut quick = streams.to(Incarnation(4));
        let taking = actix_rt::spawn(async move {
            let mut pieces = 0;
            while quick.pieces.recv().await.is_some() {
                pieces += 1;
            }
            pieces
        });
        for _ in 0..10 {
            streams.send(Bytes::from_static(b"x")).await;
        }
        streams.end(Bytes::new(), head()).await;
        assert_eq!(taking.await.expect("ends"), 11);
        let mut seen = 0;
        while let Some(piece) = stuck.pieces.recv().await {
            assert!(matches!(piece, Piece::Bytes(_)), "no end for a body that is not whole");
            seen += 1;
        }
        assert_eq!(seen, AHEAD);
    }
}

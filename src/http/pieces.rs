//! What of a body is gathered before it goes to the store.
//!
//! Invariants
//! - The same bytes in the same order, however they arrived.
//! - A piece of a large body is full, or the last; it is larger than that by no more than arrived at once.

use super::body_in::Source;
use super::errors::HttpError;
use crate::actors::messages::PIECE_BYTES;
use crate::base::Spare;
use bytes::{Bytes, BytesMut};

/// Chunks smaller than this are copied together, so that a small body has few parts.
const SMALL_CHUNK_BYTES: usize = 4096;
/// So many small chunks are kept as they are: the body of a small object is not copied.
const SMALL_CHUNKS_KEPT: usize = 16;
/// Most bytes that the server gives at once: it stops reading there (`MAX_BUFFER_SIZE` in actix-http).
const ARRIVES_BYTES: usize = 128 * 1024;
/// Pieces whose memory is used again: the one that is gathered, and the one that the store has.
const SPARES_MAX: usize = 2;

/// A body that may be small, as it arrived.
#[derive(Default)]
pub(super) struct Small {
    done: Vec<Bytes>,
    tiny: BytesMut,
    len: usize,
}

impl Small {
    /// Bytes of it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if chunk.len() < SMALL_CHUNK_BYTES && self.done.len() >= SMALL_CHUNKS_KEPT {
            self.tiny.extend_from_slice(&chunk);
            return;
        }
        self.close_tiny();
        self.done.push(chunk);
    }

    fn close_tiny(&mut self) {
        if !self.tiny.is_empty() {
            self.done.push(self.tiny.split().freeze());
        }
    }

    /// All of it.
    pub(super) fn take(mut self) -> Vec<Bytes> {
        self.close_tiny();
        self.done
    }
}

/// Pieces of a large body, each in one stretch of memory.
///
/// What arrives is copied there at once and let go of: only then does the connection read into the same memory again,
/// as much as has come, instead of into new memory bit by bit. The store seals whole chunks from there to where they
/// are written from, so that this is the one copy of a body.
pub(super) struct Gathering {
    piece: BytesMut,
    spare: Spare,
    /// Bytes of the body that are not in a piece yet, as far as is known.
    left: u64,
}

impl Gathering {
    /// Goes on from what was taken before it was clear that the body is large. `len`: of the whole body, if it is known.
    pub(super) fn after(begun: Small, len: Option<u64>) -> Self {
        let left = len.unwrap_or(u64::MAX);
        let mut gathering = Gathering { piece: BytesMut::new(), spare: Spare::new(SPARES_MAX), left };
        begun.take().iter().for_each(|chunk| gathering.push(chunk));
        gathering
    }

    fn push(&mut self, chunk: &[u8]) {
        if self.piece.capacity() == 0 {
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
            self.piece = self.spare.room(wanted.min(PIECE_BYTES + ARRIVES_BYTES));
            self.piece.clear();
        }
        self.piece.extend_from_slice(chunk);
        self.left = self.left.saturating_sub(chunk.len() as u64);
    }

    /// Gathers a whole piece; true when the sender has no more.
    pub(super) async fn fill<S: Source>(&mut self, source: &mut S) -> Result<bool, HttpError> {
        while self.piece.len() < PIECE_BYTES {
            match source.next().await? {
                Some(chunk) => self.push(&chunk),
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// The piece as it is: nothing when nothing has come since the last one.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        if self.piece.is_empty() {
            return Vec::new();
        }
        let piece = std::mem::take(&mut self.piece).freeze();
        self.spare.keep(piece.clone());
        vec![piece]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Chunks one after the other.
    struct Chunks(VecDeque<Bytes>);

    impl Source for Chunks {
        async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
            Ok(self.0.pop_front())
        }
    }

    #[test]
    fn a_small_body_of_tiny_chunks_has_few_parts_and_the_same_bytes() {
        let mut small = Small::default();
        let mut expected = Vec::new();
        for n in 0..100_000usize {
            let size = if n % 1000 == 999 { SMALL_CHUNK_BYTES } else { 1 + n % 3 };
            let chunk = vec![n.to_le_bytes()[0]; size];
            expected.extend_from_slice(&chunk);
            small.push(chunk.into());
        }
        assert_eq!(small.len(), expected.len());
        let parts = small.take();
        assert!(parts.len() < 250, "{}", parts.len());
        assert_eq!(parts.concat(), expected);
    }

    #[actix_rt::test]
    async fn pieces_are_full_hold_the_same_bytes_and_use_their_memory_again() {
        let body: Vec<u8> = (0..5 * PIECE_BYTES / 2 + 7).map(|i| (i % 251).to_le_bytes()[0]).collect();
        for (begun, step) in [(0, 70_001), (300_000, ARRIVES_BYTES), (PIECE_BYTES - 1, 1000)] {
            let (early, late) = body.split_at(begun);
            let mut small = Small::default();
            early.chunks(step).for_each(|chunk| small.push(Bytes::copy_from_slice(chunk)));
            let mut source = Chunks(late.chunks(step).map(Bytes::copy_from_slice).collect());
            let mut gathering = Gathering::after(small, Some(body.len() as u64));
            let (mut lens, mut places, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
            let mut others = Vec::new();
            loop {
                let ended = gathering.fill(&mut source).await.expect("the source never fails");
                for piece in gathering.take() {
                    lens.push(piece.len());
                    places.push(piece.as_ptr());
                    bytes.extend_from_slice(&piece);
                }
                if ended {
                    break;
                }
                // Takes the memory of the piece, had it been given back.
                others.push(Vec::<u8>::with_capacity(PIECE_BYTES + ARRIVES_BYTES));
            }
            assert!(bytes == body, "begun {begun}, step {step}: other bytes");
            let whole = PIECE_BYTES..PIECE_BYTES + ARRIVES_BYTES;
            assert!(whole.contains(&lens[0]) && whole.contains(&lens[1]) && lens.len() == 3, "{lens:?}");
            assert_eq!(places[0], places[1], "a piece that was let go of lends its memory to the next one");
            assert!(gathering.take().is_empty());
        }
    }
}

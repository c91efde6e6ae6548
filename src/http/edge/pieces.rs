//! Pieces: what is gathered of a body before it goes to the store.
//!
//! Invariants
//! - The same bytes in the same order, however they arrived.
//! - A piece of a large body is full, or the last; it is larger than that by no more than arrived at once.

use super::errors::HttpError;
use super::source::Source;
use crate::actors::messages::PIECE_BYTES;
use crate::base::{Buffer, BufferPool, LARGE_PAGE_BYTES};
use bytes::{Bytes, BytesMut};

/// Chunks smaller than this are copied together, so that a small body has few parts.
const SMALL_CHUNK_BYTES: usize = 4096;
/// So many small chunks are kept as they are: the body of a small object is not copied.
const SMALL_CHUNKS_KEPT: usize = 16;
/// Most bytes that the server gives at once: it stops reading there (`MAX_BUFFER_SIZE` in actix-http).
const ARRIVES_BYTES: usize = 128 * 1024;
/// Bytes of memory for a piece of a body that is known to be large: one page, in which a piece stays wherever it ends.
pub(super) const LARGE_BUFFER_BYTES: usize = LARGE_PAGE_BYTES;
/// Bytes of such a piece.
const LARGE_PIECE_BYTES: usize = LARGE_BUFFER_BYTES - ARRIVES_BYTES;

/// A body that may be small, as it arrived.
#[derive(Default)]
pub(super) struct Small {
    done: Vec<Bytes>,
    tiny: BytesMut,
    len: usize,
}

impl Small {
    /// How many bytes have come.
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

    /// The whole body, in pieces.
    pub(super) fn take(mut self) -> Vec<Bytes> {
        self.close_tiny();
        self.done
    }
}

/// Pieces of a large body, each in one buffer.
///
/// What arrives is copied there at once and let go of: only then does the connection read into the same memory again,
/// as much as has come, instead of into new memory bit by bit. The store seals whole chunks from there to where they
/// are written from, so that this is the one copy of a body.
pub(super) struct Gathering {
    /// Bytes of a whole piece.
    whole: usize,
    pool: BufferPool,
    /// The piece that is being made, and its bytes so far.
    piece: Option<(Buffer, usize)>,
    /// Pieces that are made.
    made: Vec<Bytes>,
}

impl Gathering {
    /// Goes on from what was taken before it was clear that the body is not small. `len`: of all of it, if that is
    /// known; `large`: who lends `LARGE_BUFFER_BYTES` for large pieces, if there is to be any.
    pub(super) fn after(begun: Small, len: Option<u64>, large: Option<BufferPool>) -> Self {
        let whole = if large.is_some() { LARGE_PIECE_BYTES } else { PIECE_BYTES };
        let most = len.and_then(|len| usize::try_from(len).ok()).unwrap_or(usize::MAX);
        let pool = large.unwrap_or_else(|| BufferPool::new(most.clamp(1, PIECE_BYTES + ARRIVES_BYTES)));
        let mut gathering = Gathering { whole, pool, piece: None, made: Vec::new() };
        begun.take().iter().for_each(|chunk| gathering.push(chunk));
        gathering
    }

    fn push(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let (memory, len) = self.piece.get_or_insert_with(|| (self.pool.lend(), 0));
            let room = &mut memory[*len..];
            let (now, later) = rest.split_at(rest.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            *len += now.len();
            rest = later;
            // More has arrived at once than a piece has room for: none is lost, the server is only slower with it.
            if !rest.is_empty() {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        if let Some((memory, len)) = self.piece.take() {
            self.made.push(Bytes::from_owner(memory).slice(..len));
        }
    }

    /// Gathers a whole piece; true when the sender has no more.
    pub(super) async fn fill<S: Source>(&mut self, source: &mut S) -> Result<bool, HttpError> {
        while self.made.is_empty() && self.piece.as_ref().is_none_or(|(_, len)| *len < self.whole) {
            match source.next().await? {
                Some(chunk) => self.push(&chunk),
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// What was gathered: nothing when nothing has come since the last time.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.close();
        std::mem::take(&mut self.made)
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
        for (large, whole) in [(false, PIECE_BYTES), (true, LARGE_PIECE_BYTES)] {
            let body: Vec<u8> = (0..5 * whole / 2 + 7).map(|i| (i % 251).to_le_bytes()[0]).collect();
            for (begun, step) in [(0, 70_001), (300_000, ARRIVES_BYTES), (PIECE_BYTES - 1, 1000)] {
                let (early, late) = body.split_at(begun);
                let mut small = Small::default();
                early.chunks(step).for_each(|chunk| small.push(Bytes::copy_from_slice(chunk)));
                let mut source = Chunks(late.chunks(step).map(Bytes::copy_from_slice).collect());
                let mut gathering = Gathering::after(
                    small,
                    Some(body.len() as u64),
                    large.then(|| BufferPool::new(LARGE_BUFFER_BYTES)),
                );
                let (mut lens, mut places, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
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
                }
                assert!(bytes == body, "begun {begun}, step {step}: other bytes");
                let full = whole..whole + ARRIVES_BYTES;
                assert!(full.contains(&lens[0]) && full.contains(&lens[1]) && lens.len() == 3, "{lens:?}");
                assert_eq!(places, [places[0]; 3], "a piece that was let go of lends its memory to the next one");
                assert!(gathering.take().is_empty());
            }
        }
    }

    #[actix_rt::test]
    async fn whatever_arrives_at_once_and_however_short_the_body_was_said_to_be_nothing_is_lost() {
        let body: Vec<u8> = (0..3 * PIECE_BYTES + 5).map(|i| (i % 251).to_le_bytes()[0]).collect();
        for (said, step) in [(None, 2 * PIECE_BYTES), (Some(0), 1000), (Some(70_000), 80_000)] {
            let mut source = Chunks(body.chunks(step).map(Bytes::copy_from_slice).collect());
            let mut gathering = Gathering::after(Small::default(), said, None);
            let mut pieces = Vec::new();
            while !gathering.fill(&mut source).await.expect("the source never fails") {
                pieces.extend(gathering.take());
            }
            pieces.extend(gathering.take());
            assert!(pieces.concat() == body, "{said:?}, {step} at once");
        }
    }
}

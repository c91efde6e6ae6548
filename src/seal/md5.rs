//! MD5 (RFC 1321) of bytes that arrive in pieces: what clients of object stores know a body by, and send to find one that
//! was garbled on its way. It says nothing against anybody who means to.
//!
//! | file | job |
//! |---|---|
//! | this one | an MD5 so far, and one with bytes that it is to take in |
//! | `lanes` | several of them, block by block |
//! | `lockstep` | where bodies meet whose bytes wait |
//!
//! Invariants
//! - How bytes are cut makes no difference, and neither does who stands beside.
//! - Of one body each block waits for the one before: one alone leaves most of a core idle, two take as long as one.

pub mod lanes;
pub mod lockstep;

use bytes::{Buf as _, Bytes};
use md5::block_api::compress;
use std::collections::VecDeque;

/// Bytes of an MD5.
pub const MD5_BYTES: usize = 16;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 64;
/// Where a message stands before its first byte: RFC 1321, section 3.3.
const BEGIN: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// Bytes at the end of the last block that say how long the message is.
const LENGTH_BYTES: usize = 8;

/// The MD5 of a message so far.
#[derive(Clone)]
pub struct Md5 {
    state: [u32; 4],
    /// Bytes taken in.
    len: u64,
    /// The block that is not full yet.
    open: [u8; BLOCK_BYTES],
}

impl Default for Md5 {
    fn default() -> Self {
        Md5 { state: BEGIN, len: 0, open: [0; BLOCK_BYTES] }
    }
}

impl std::fmt::Debug for Md5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Md5(..)")
    }
}

impl Md5 {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(self.missing().min(bytes.len()));
        self.fill(first);
        let (blocks, last) = rest.as_chunks();
        compress(&mut self.state, blocks);
        self.len += (rest.len() - last.len()) as u64;
        self.fill(last);
    }

    /// The MD5 of everything appended.
    pub fn finalize(mut self) -> [u8; MD5_BYTES] {
        let bits = self.len.wrapping_mul(8);
        self.fill(&[0x80]);
        // There is room for the length in this block, or else in the next one.
        if BLOCK_BYTES - self.filled() < LENGTH_BYTES {
            self.fill(&[0; LENGTH_BYTES][..self.missing()]);
        }
        let zeros = (2 * BLOCK_BYTES - LENGTH_BYTES - self.filled()) % BLOCK_BYTES;
        self.fill(&[0; BLOCK_BYTES][..zeros]);
        self.fill(&bits.to_le_bytes());
        let mut out = [0; MD5_BYTES];
        for (bytes, word) in out.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_le_bytes();
        }
        out
    }

    /// Bytes of the block that is not full yet.
    fn filled(&self) -> usize {
        usize::try_from(self.len % BLOCK_BYTES as u64).unwrap_or_default()
    }

    /// Bytes that it lacks; none where no block is begun.
    fn missing(&self) -> usize {
        (BLOCK_BYTES - self.filled()) % BLOCK_BYTES
    }

    /// Takes in bytes of one block, up to its end at most.
    fn fill(&mut self, bytes: &[u8]) {
        let from = self.filled();
        self.open[from..from + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u64;
        if from > 0 && self.filled() == 0 || bytes.len() == BLOCK_BYTES {
            compress(&mut self.state, &[self.open]);
        }
    }
}

/// An MD5 with bytes that it is to take in.
#[derive(Debug)]
pub struct Work {
    md5: Md5,
    /// None of them is let go of before it was taken in, and each is at once then.
    pieces: VecDeque<Bytes>,
}

impl Work {
    /// All of these, in their order.
    pub fn new(md5: Md5, pieces: &[Bytes]) -> Self {
        Work { md5, pieces: pieces.iter().cloned().collect() }
    }

    /// Whole blocks that come next, one after the other. What comes before and between those is taken in; so where there
    /// is none, everything is.
    pub fn ready(&mut self) -> usize {
        while let Some(piece) = self.pieces.front_mut() {
            let first = self.md5.missing().min(piece.len());
            self.md5.fill(&piece[..first]);
            piece.advance(first);
            let blocks = piece.len() / BLOCK_BYTES;
            if blocks > 0 {
                return blocks;
            }
            self.md5.fill(piece);
            self.pieces.pop_front();
        }
        0
    }

    /// The MD5, once everything is taken in.
    pub fn finish(mut self) -> Md5 {
        while let blocks @ 1.. = self.ready() {
            self.take(blocks);
        }
        self.md5
    }

    /// Takes in so many of the blocks that are ready.
    fn take(&mut self, blocks: usize) {
        let Work { md5, pieces } = self;
        if let Some(piece) = pieces.front() {
            compress(&mut md5.state, &piece.as_chunks().0[..blocks]);
        }
        self.took(blocks);
    }

    /// So many of the blocks that are ready.
    fn blocks(&self, blocks: usize) -> &[[u8; BLOCK_BYTES]] {
        self.pieces.front().map_or(&[], |piece| &piece.as_chunks().0[..blocks])
    }

    /// So many of them are in the state.
    fn took(&mut self, blocks: usize) {
        if let Some(piece) = self.pieces.front_mut() {
            piece.advance(blocks * BLOCK_BYTES);
        }
        self.md5.len += (blocks * BLOCK_BYTES) as u64;
    }
}

#[cfg(test)]
mod tests;

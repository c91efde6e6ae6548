//! The head of the log: how long its ring is, and up to where its frames are known to be durable.
//!
//! Invariants
//! - Two slots are written in turn: one torn by a crash leaves the one before it.
//! - `durable` never says more than what was durable when it was written. So frames below it that are not there any
//!   more were answered for, and lost.
//!
//! Layout: docs/format.md, "Commit log".

use super::frame::ALIGN;
use crate::base::codec::{CodecError, Reader, Writer};
use crate::disk::DiskFile;
use crate::seal::{NONCE_BYTES, SealingKey, TAG_BYTES, random};
use std::io;

/// Bytes before the ring.
pub const HEAD_BYTES: u64 = SLOTS * SLOT_BYTES as u64;
const SLOTS: u64 = 2;
const SLOT_BYTES: usize = ALIGN as usize;
const CLEAR_BYTES: usize = 8 + NONCE_BYTES + TAG_BYTES;
const MAGIC: [u8; 8] = *b"BVLH\x02\0\0\0";

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Counts the writes of the head: of its two slots the higher one counts.
    pub sequence: u64,
    /// Bytes of the ring.
    pub capacity: u64,
    /// Every frame below this position was durable.
    pub durable: u64,
    /// The life of the data directory in which frames that were answered for were lost; zero if none were, or if the
    /// node has been given its place anew since. A later life has answered for nothing of that.
    pub cut: u64,
}

impl Head {
    /// Writes it to its slot. Not durable yet.
    pub fn write(&self, file: &dyn DiskFile, key: &SealingKey) -> io::Result<()> {
        let slot = self.sequence % SLOTS;
        let mut w = Writer::default();
        w.u64(self.sequence).u64(self.capacity).u64(self.durable).u64(self.cut);
        let mut text = w.0;
        text.resize(SLOT_BYTES - CLEAR_BYTES, 0);
        let nonce: [u8; NONCE_BYTES] = random();
        let tag = key.seal(&nonce, &place(slot), &mut text);
        let block = [&MAGIC[..], &nonce, &tag, &text].concat();
        file.write_at(slot * SLOT_BYTES as u64, &block)
    }

    /// The newest that opens, and whether both did; `None` if none does.
    pub fn read(file: &dyn DiskFile, key: &SealingKey) -> io::Result<Option<(Self, bool)>> {
        let (mut newest, mut both): (Option<Head>, bool) = (None, true);
        for slot in 0..SLOTS {
            let mut found = read_slot(file, key, slot);
            if !matches!(found, Ok(Some(_))) {
                // One read that went wrong must not set it back.
                file.forget(slot * SLOT_BYTES as u64, SLOT_BYTES as u64);
                found = read_slot(file, key, slot);
            }
            let found = found?;
            both &= found.is_some();
            newest = newest.into_iter().chain(found).max_by_key(|head| head.sequence);
        }
        Ok(newest.map(|newest| (newest, both)))
    }
}

fn read_slot(file: &dyn DiskFile, key: &SealingKey, slot: u64) -> io::Result<Option<Head>> {
    let mut block = [0; SLOT_BYTES];
    match file.read_at(slot * SLOT_BYTES as u64, &mut block) {
        Ok(()) => Ok(decode(key, slot, &mut block).ok()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn place(slot: u64) -> [u8; 16] {
    let mut place = *b"boveda/log-head\0";
    place[15] = u8::try_from(slot).unwrap_or(u8::MAX);
    place
}

fn decode(key: &SealingKey, slot: u64, block: &mut [u8]) -> Result<Head, CodecError> {
    const BAD: CodecError = CodecError::Value("head of the log");
    let (clear, text) = block.split_at_mut_checked(CLEAR_BYTES).ok_or(BAD)?;
    let mut r = Reader(clear);
    if r.array::<8>()? != MAGIC {
        return Err(BAD);
    }
    let (nonce, tag) = (r.array::<NONCE_BYTES>()?, r.array::<TAG_BYTES>()?);
    key.open(&nonce, &place(slot), text, &tag).map_err(|_| BAD)?;
    let mut r = Reader(text);
    let (sequence, capacity, durable, cut) = (r.u64()?, r.u64()?, r.u64()?, r.u64()?);
    if sequence % SLOTS != slot {
        return Err(BAD);
    }
    Ok(Head { sequence, capacity, durable, cut })
}

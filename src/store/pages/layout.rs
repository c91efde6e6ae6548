//! Where things lie in a file of sealed pages, and what a header says.
//!
//! Invariants
//! - All of a header but its nonce and tag is either sealed or associated data.
//! - Decoding takes no memory for what it reads and panics on nothing.

use crate::base::codec::Reader;
use crate::seal::{NONCE_BYTES, OpenError, SealingKey, TAG_BYTES, digest};

/// Bytes of a page, in the engine's file and in ours.
pub(super) const PAGE_BYTES: usize = 4096;
/// The part of the engine's file that it rewrites in place: its header and two commit slots. Lives in our header.
pub(super) const ENGINE_HEAD_BYTES: usize = 320;
/// Bytes of a file id.
pub const FILE_ID_BYTES: usize = 16;
/// Names one file of pages; associated data of all that is sealed in it.
pub type FileId = [u8; FILE_ID_BYTES];

const MAGIC: [u8; 4] = *b"BVDP";
const VERSION: u8 = 1;
/// Magic, version, three zeros, file id: in the clear, authenticated.
const PREFIX_BYTES: usize = 8 + FILE_ID_BYTES;
const SEALED_AT: usize = PREFIX_BYTES + NONCE_BYTES + TAG_BYTES;

/// Header slots, written in turn.
pub(super) const SLOTS: usize = 2;
/// Copies of a header in its slot, so that one bad sector does not look like a torn write.
pub(super) const COPIES: usize = 2;
/// Bytes before the first group.
pub(super) const HEADERS_BYTES: usize = SLOTS * COPIES * PAGE_BYTES;

/// A page's nonce and tag; zeros for a page that was never written.
pub(super) type Entry = [u8; ENTRY_BYTES];
pub(super) const ENTRY_BYTES: usize = NONCE_BYTES + TAG_BYTES;
/// The entry of a page that reads as zeros.
pub(super) const HOLE: Entry = [0; ENTRY_BYTES];
/// A tag block begins with the number of the sync that wrote it.
pub(super) const SEQUENCE_BYTES: usize = 8;
/// Pages of a group: as many as have their entries in one tag block.
pub(super) const GROUP_PAGES: usize = (PAGE_BYTES - SEQUENCE_BYTES) / ENTRY_BYTES;
/// Blocks of a group: two tag blocks, written in turn, and its pages.
const GROUP_BLOCKS: usize = 2 + GROUP_PAGES;
const _: () = assert!(SEQUENCE_BYTES + GROUP_PAGES * ENTRY_BYTES == PAGE_BYTES);

/// Where group `group` begins.
pub(super) fn group_at(group: usize) -> u64 {
    (HEADERS_BYTES + group * GROUP_BLOCKS * PAGE_BYTES) as u64
}

/// Where tag block `slot` of a group lies.
pub(super) fn tags_at(group: usize, slot: usize) -> u64 {
    group_at(group) + (slot * PAGE_BYTES) as u64
}

/// Where page `index` of a group lies.
pub(super) fn page_at(group: usize, index: usize) -> u64 {
    group_at(group) + ((2 + index) * PAGE_BYTES) as u64
}

/// Groups that a file of `len` bytes reaches into.
pub(super) fn groups_in_file(len: u64) -> Option<usize> {
    let body = len.checked_sub(HEADERS_BYTES as u64)?;
    usize::try_from(body.div_ceil((GROUP_BLOCKS * PAGE_BYTES) as u64)).ok()
}

/// Groups that `len` bytes of the engine's file need.
pub(super) fn groups_for(len: u64) -> Option<usize> {
    usize::try_from(len.div_ceil((GROUP_PAGES * PAGE_BYTES) as u64)).ok()
}

/// Associated data of a page: the file, and which page of it.
pub(super) fn page_place(id: &FileId, page: u64) -> [u8; 28] {
    let mut place = [0; 28];
    place[..4].copy_from_slice(b"page");
    place[4..20].copy_from_slice(id);
    place[20..].copy_from_slice(&page.to_le_bytes());
    place
}

/// What a sync makes true of the whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The number of the sync.
    pub sequence: u64,
    /// Bytes of the engine's file.
    pub len: u64,
    /// Digest of all tag blocks' digests, in order.
    pub sum: [u8; digest::DIGEST_BYTES],
    /// The engine's own header.
    pub engine: [u8; ENGINE_HEAD_BYTES],
    /// Whether it was written by a close, when all before it had been made durable without a failure: then what the
    /// system remembers of the file is what the disk has.
    pub closed: bool,
}

/// Why a header block does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// Another magic: never one of ours, or damaged.
    Magic,
    /// A later version, or damaged.
    Version,
    /// The prefix is ours, but it does not open: damaged, torn, another file's or under another key.
    Sealed,
}

impl Header {
    /// One copy of the header as it lies on the disk.
    pub fn encode(&self, key: &SealingKey, id: &FileId, nonce: [u8; NONCE_BYTES]) -> [u8; PAGE_BYTES] {
        let mut block = [0; PAGE_BYTES];
        let (prefix, rest) = block.split_at_mut(PREFIX_BYTES);
        prefix.copy_from_slice(&prefix_of(id));
        let (fields, sealed) = rest.split_at_mut(NONCE_BYTES + TAG_BYTES);
        let mut at = 0;
        let closed = [u8::from(self.closed)];
        for field in [&self.sequence.to_le_bytes()[..], &self.len.to_le_bytes(), &self.sum, &self.engine, &closed] {
            sealed[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        let tag = key.seal(&nonce, prefix, sealed);
        fields[..NONCE_BYTES].copy_from_slice(&nonce);
        fields[NONCE_BYTES..].copy_from_slice(&tag);
        block
    }

    /// Opens one copy. `block` is used up.
    pub fn decode(key: &SealingKey, id: &FileId, block: &mut [u8; PAGE_BYTES]) -> Result<Self, BadHeader> {
        let (clear, sealed) = block.split_at_mut(SEALED_AT);
        if !clear.starts_with(&MAGIC) {
            return Err(BadHeader::Magic);
        }
        if clear.get(4) != Some(&VERSION) {
            return Err(BadHeader::Version);
        }
        let prefix = prefix_of(id);
        let mut fields = Reader(&clear[PREFIX_BYTES..]);
        let opened = match (clear.starts_with(&prefix), fields.array(), fields.array()) {
            (true, Ok(nonce), Ok(tag)) => key.open(&nonce, &prefix, sealed, &tag),
            _ => Err(OpenError),
        };
        opened.map_err(|OpenError| BadHeader::Sealed)?;
        let mut fields = Reader(sealed);
        let mut take = || {
            Ok(Header {
                sequence: fields.u64()?,
                len: fields.u64()?,
                sum: fields.array()?,
                engine: fields.array()?,
                closed: fields.array()? == [1],
            })
        };
        take().map_err(|_: crate::base::codec::CodecError| BadHeader::Sealed)
    }
}

fn prefix_of(id: &FileId) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..4].copy_from_slice(&MAGIC);
    prefix[4] = VERSION;
    prefix[8..].copy_from_slice(id);
    prefix
}

//! What a list shows of a range, as one node tells another: item by item where it folds, in blocks where it does not.
//!
//! Invariants
//! - How many items or blocks there are says nothing about where the range ends: `complete` does.
//! - A tombstone that is known to be chosen is no item; every other register of the range is one, or stands in a block.

use super::parts::{count, list, read_ballot, read_bound, read_complete, read_key, write_ballot, write_complete};
use super::{ENTRIES_MAX, FRAME_BYTES_MAX, SLACK_BYTES};
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::{Ballot, BucketId, Complete, Epoch, Folds, ObjectKey, Page, RegisterKey};
use crate::register::ListMark;

/// Items of a block; the last one of a page may have fewer.
pub const BLOCK_ITEMS: usize = 64;
/// Bytes of a block's digest.
pub const BLOCK_DIGEST_BYTES: usize = 16;

const _: () = assert!(
    (ENTRIES_MAX + ENTRIES_MAX.div_ceil(BLOCK_ITEMS)) * (RegisterKey::BOUND_BYTES_MAX + SLACK_BYTES) < FRAME_BYTES_MAX
);

/// Asks what a list shows of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Show {
    /// The member list of the asker.
    pub mark: ListMark,
    /// What the list is of, and what it folds.
    pub folds: Folds,
    /// Where the range begins.
    pub from: RegisterKey,
    /// Whether `from` itself is asked for.
    pub inclusive: bool,
    /// Where to end, itself not asked for.
    pub to: RegisterKey,
    /// Most items of the page; the answerer has a limit of its own, `ENTRIES_MAX`.
    pub limit: u32,
    /// Asked by a deletion that closed the bucket so: only who holds it so shows anything, and that item by item.
    pub closed: Option<Closed>,
}

/// A bucket as a deletion closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The life of the bucket.
    pub id: BucketId,
    /// The generation under which it was closed.
    pub generation: u64,
}

/// A register that a list shows, or a tombstone that is not known to be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The register; of a common prefix its first that is present, the witness.
    pub key: RegisterKey,
    /// Under which ballot it holds its record.
    pub ballot: Ballot,
    /// Whether that is known to be chosen.
    pub chosen: bool,
    /// Whether it is there: not a tombstone.
    pub present: bool,
}

/// Some items that are present, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The register of the last of them: they lie behind the block before, up to here.
    pub last: RegisterKey,
    /// Over their registers and ballots.
    pub digest: [u8; BLOCK_DIGEST_BYTES],
}

/// What is shown of a range, in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Of all items that are present, in order.
    pub blocks: Vec<Block>,
    /// Items that are not known to be chosen, those that are present too.
    pub unsettled: Vec<Item>,
    /// What both are complete to.
    pub complete: Complete,
}

/// The answer to a `Show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Of a list that folds, or one of a bucket that is closed.
    Items(Page<Item>),
    /// Of one that does not.
    Blocks(Blocks),
    /// The bucket is not closed here as it was asked for: nothing that is here counts.
    Open,
}

impl Shown {
    /// What the answer is complete to; none where nothing is shown.
    pub fn complete(&self) -> Option<&Complete> {
        match self {
            Shown::Items(page) => Some(&page.complete),
            Shown::Blocks(blocks) => Some(&blocks.complete),
            Shown::Open => None,
        }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        match self {
            Shown::Items(page) => {
                write_complete(w.u8(0), &page.complete);
                write_items(w, &page.entries);
            }
            Shown::Blocks(Blocks { blocks, unsettled, complete }) => {
                write_complete(w.u8(1), complete).u32(count(blocks.len()));
                for Block { last, digest } in blocks {
                    w.bytes(last.as_bytes()).raw(digest);
                }
                write_items(w, unsettled);
            }
            Shown::Open => {
                w.u8(2);
            }
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        match r.u8()? {
            0 => {
                let complete = read_complete(r)?;
                Ok(Shown::Items(Page { entries: list(r, read_item)?, complete }))
            }
            1 => {
                let complete = read_complete(r)?;
                let blocks = list(r, |r| Ok(Block { last: read_key(r)?, digest: r.array()? }))?;
                Ok(Shown::Blocks(Blocks { blocks, unsettled: list(r, read_item)?, complete }))
            }
            2 => Ok(Shown::Open),
            _ => Err(CodecError::Value("kind of what is shown")),
        }
    }
}

impl Show {
    pub(super) fn write(&self, w: &mut Writer) {
        let Show { mark, folds, from, inclusive, to, limit, closed } = self;
        w.u64(mark.epoch.0).u64(mark.digest).bytes(folds.prefix().as_bytes()).text(folds.delimiter().unwrap_or(""));
        w.bytes(from.as_bytes()).u8(u8::from(*inclusive)).bytes(to.as_bytes()).u32(*limit);
        match closed {
            None => w.u8(0),
            Some(Closed { id, generation }) => w.u8(1).u64(id.0).u64(*generation),
        };
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let mark = ListMark { epoch: Epoch(r.u64()?), digest: r.u64()? };
        let prefix = read_bound(r)?;
        let folds = Folds::new(prefix, Some(r.text(ObjectKey::BYTES_MAX, "delimiter")?));
        let (from, inclusive, to) = (read_bound(r)?, r.flag("inclusive")?, read_bound(r)?);
        let (limit, is_closed) = (r.u32()?, r.flag("closed mark")?);
        let closed = if is_closed { Some(Closed { id: BucketId(r.u64()?), generation: r.u64()? }) } else { None };
        Ok(Show { mark, folds, from, inclusive, to, limit, closed })
    }
}

fn write_items(w: &mut Writer, items: &[Item]) {
    w.u32(count(items.len()));
    for Item { key, ballot, chosen, present } in items {
        write_ballot(w.bytes(key.as_bytes()), *ballot).u8(u8::from(*chosen)).u8(u8::from(*present));
    }
}

fn read_item(r: &mut Reader<'_>) -> Result<Item, CodecError> {
    let (key, ballot) = (read_key(r)?, read_ballot(r)?);
    Ok(Item { key, ballot, chosen: r.flag("chosen mark")?, present: r.flag("present mark")? })
}

//! The tags of all pages, in memory, and how they come from and go to the disk.
//!
//! Invariants
//! - Of a group's two tag blocks, the one that the last durable header counts is never overwritten.
//! - A group is clean only if its newest tag block holds its entries, and no tag block of a sync that never
//!   became durable would be taken for it later.
//! - Sequence numbers are never used twice for different states.

use super::error::PagesError;
use super::layout::{
    ENGINE_HEAD_BYTES, ENTRY_BYTES, Entry, GROUP_PAGES, HOLE, Header, PAGE_BYTES, SEQUENCE_BYTES, groups_for,
    groups_in_file, tags_at,
};
use crate::disk::DiskFile;
use crate::seal::digest::{DIGEST_BYTES, digest_of};
use std::io;

/// A sequence number further ahead than this was not written by us: damage, not a sync.
const SEQUENCE_LEAP_MAX: u64 = 1 << 32;
const _: () = assert!(std::mem::size_of::<Entry>() == ENTRY_BYTES);

/// One group's part of the state.
#[derive(Debug)]
pub(super) struct Group {
    /// `None` while no page of it was ever written.
    entries: Option<Box<[Entry; GROUP_PAGES]>>,
    /// Digest of its tag block; zeros while it has none.
    digest: [u8; DIGEST_BYTES],
    /// Which of its tag blocks is the newest.
    slot: usize,
    /// Whether that tag block is behind `entries`.
    dirty: bool,
}

impl Group {
    const NEW: Group = Group { entries: None, digest: [0; DIGEST_BYTES], slot: 1, dirty: false };
}

/// All that changes: the engine's header, the length, the tags.
#[derive(Debug)]
pub(super) struct State {
    pub len: u64,
    pub engine: [u8; ENGINE_HEAD_BYTES],
    /// At least the groups that `len` needs; those behind it remember their slots.
    groups: Vec<Group>,
    /// Groups that the file on the disk has ever reached into: there may be old tag blocks.
    reached: usize,
    /// The header of the last sync: where it went, what it said.
    pub synced: Header,
    pub header_slot: usize,
    next_sequence: u64,
    /// The file on the disk may be longer than needed.
    pub shrunk: bool,
    /// Something was written since the last sync.
    pub touched: bool,
}

impl State {
    /// The state of a file that holds nothing yet.
    pub fn empty() -> Self {
        let synced = Header { sequence: 0, len: 0, sum: digest_of(&[]), engine: [0; ENGINE_HEAD_BYTES], closed: false };
        State {
            len: 0,
            engine: synced.engine,
            groups: Vec::new(),
            reached: 0,
            synced,
            header_slot: 1,
            next_sequence: 1,
            shrunk: false,
            touched: true,
        }
    }

    /// The state that `header` names, if the tag blocks on the disk add up to it.
    pub fn load(file: &dyn DiskFile, header: Header, header_slot: usize) -> io::Result<Result<Self, PagesError>> {
        let file_len = file.len()?;
        let (Some(reached), Some(needed)) = (groups_in_file(file_len), groups_for(header.len)) else {
            return Ok(Err(PagesError::Damaged("lengths are out of range")));
        };
        let mut groups = Vec::new();
        let mut highest = header.sequence;
        let mut stale = false;
        for at in 0..reached.max(needed) {
            let (mut group, newest) = load_group(file, file_len, at, header.sequence)?;
            highest = highest.max(newest);
            if at < needed {
                stale |= group.dirty;
            } else {
                group.entries = None;
            }
            groups.push(group);
        }
        let state = State {
            len: header.len,
            engine: header.engine,
            groups,
            reached,
            synced: header,
            header_slot,
            next_sequence: highest.saturating_add(1),
            shrunk: reached > needed,
            touched: stale,
        };
        if state.sum(needed) == state.synced.sum {
            Ok(Ok(state))
        } else {
            Ok(Err(PagesError::Damaged("tags do not add up")))
        }
    }

    /// Numbers used by other headers on the disk are not used again.
    pub fn skip_past(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence.saturating_add(1));
    }

    fn sum(&self, needed: usize) -> [u8; DIGEST_BYTES] {
        let mut all = Vec::with_capacity(needed * DIGEST_BYTES);
        self.groups.iter().take(needed).for_each(|group| all.extend_from_slice(&group.digest));
        digest_of(&all)
    }

    /// The entry of a page; pages behind the end read as never written.
    pub fn entry(&self, group: usize, index: usize) -> Entry {
        let entries = self.groups.get(group).and_then(|g| g.entries.as_deref());
        entries.and_then(|entries| entries.get(index)).copied().unwrap_or(HOLE)
    }

    /// Takes over the entries of pages just written, from `index` of `group` on.
    pub fn set_entries(&mut self, group: usize, index: usize, new: &[Entry]) {
        self.touched = true;
        self.reached = self.reached.max(group + 1);
        if let Some(group) = self.groups.get_mut(group) {
            let entries = group.entries.get_or_insert_with(|| Box::new([HOLE; GROUP_PAGES]));
            entries.iter_mut().skip(index).zip(new).for_each(|(entry, new)| *entry = *new);
            group.dirty = true;
        }
    }

    /// Changes the length. What is cut off reads as zeros when the file grows again.
    pub fn set_len(&mut self, len: u64) -> io::Result<()> {
        let pages = usize::try_from(len.div_ceil(PAGE_BYTES as u64)).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let (whole, rest) = (pages / GROUP_PAGES, pages % GROUP_PAGES);
        let needed = pages.div_ceil(GROUP_PAGES);
        let before = groups_for(self.len).unwrap_or(0);
        for (at, group) in self.groups.iter_mut().enumerate().skip(whole) {
            let keep = if at == whole { rest } else { 0 };
            if let Some(entries) = group.entries.as_deref_mut() {
                entries.iter_mut().skip(keep).for_each(|entry| *entry = HOLE);
                group.dirty = true;
            }
            if keep == 0 {
                group.entries = None;
            }
        }
        if self.groups.len() < needed {
            self.groups.resize_with(needed, || Group::NEW);
        }
        // A group that comes back may have tag blocks of its earlier life on the disk: outdo them.
        let reached = self.reached;
        for group in self.groups.iter_mut().take(needed.min(reached)).skip(before) {
            group.dirty = true;
        }
        self.shrunk |= len < self.len;
        self.touched |= len != self.len;
        self.len = len;
        Ok(())
    }

    /// Writes the tag blocks that changed, each over its older copy, and names the header that makes them count.
    pub fn write_tags(&mut self, file: &dyn DiskFile) -> io::Result<Header> {
        let sequence = self.next_sequence;
        let needed = groups_for(self.len).ok_or(io::ErrorKind::FileTooLarge)?;
        for (at, group) in self.groups.iter_mut().enumerate().take(needed).filter(|(_, group)| group.dirty) {
            let mut block = [0; PAGE_BYTES];
            let (head, body) = block.split_at_mut(SEQUENCE_BYTES);
            head.copy_from_slice(&sequence.to_le_bytes());
            if let Some(entries) = &group.entries {
                body.copy_from_slice(entries.as_flattened());
            }
            let slot = 1 - group.slot;
            file.write_at(tags_at(at, slot), &block)?;
            self.reached = self.reached.max(at + 1);
            *group = Group { entries: group.entries.take(), digest: digest_of(&block), slot, dirty: false };
        }
        self.touched = false;
        self.next_sequence = sequence.saturating_add(1);
        Ok(Header { sequence, len: self.len, sum: self.sum(needed), engine: self.engine, closed: false })
    }
}

/// Reads both tag blocks of a group and keeps the newest that `sequence` counts. Also tells the highest number
/// seen, which a later sync must exceed.
fn load_group(file: &dyn DiskFile, file_len: u64, at: usize, sequence: u64) -> io::Result<(Group, u64)> {
    let mut blocks = [0; 2 * PAGE_BYTES];
    let from = tags_at(at, 0);
    let there = usize::try_from(file_len.saturating_sub(from)).unwrap_or(usize::MAX).min(blocks.len());
    if there > 0 {
        file.read_at(from, &mut blocks[..there])?;
    }
    let mut group = Group::NEW;
    let (mut best, mut newest) = (0, 0);
    for (slot, block) in blocks.chunks_exact(PAGE_BYTES).enumerate() {
        let Some((head, body)) = block.split_first_chunk::<SEQUENCE_BYTES>() else { continue };
        let number = u64::from_le_bytes(*head);
        if number > sequence {
            // Of a sync that never became durable. Left alone, a later header would count it.
            group.dirty = true;
            newest = if number - sequence < SEQUENCE_LEAP_MAX { newest.max(number) } else { newest };
        } else if number > best {
            best = number;
            group.slot = slot;
            group.digest = digest_of(block);
            let mut entries = Box::new([HOLE; GROUP_PAGES]);
            entries.as_flattened_mut().copy_from_slice(body);
            group.entries = entries.iter().any(|entry| *entry != HOLE).then_some(entries);
        }
    }
    Ok((group, newest))
}

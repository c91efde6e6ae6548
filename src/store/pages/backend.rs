//! The engine's storage: its file, as it believes, above sealed pages on a disk.
//!
//! Invariants
//! - A page's bytes and its entry change under one lock: a reader sees both old or both new.
//! - After a failed write or sync nothing is written any more: what the disk holds is the last durable state.
//! - Zeros stand in for a damaged page only until `become_strict`; each is counted.
//! - Who must not wait (`unless_it_waits`) reads what the system has in memory, or leaves: no page is judged then.
//! - A nonce is random at open and counts from there. Should two openings ever draw overlapping ranges, a
//!   repeated nonce shows, under GCM-SIV, that one page was written twice with the same bytes, and nothing else.

use super::error::{PageDamaged, PagesError, PagesPoisoned};
use super::guard::{is_hurried, leave};
use super::layout::{
    COPIES, ENGINE_HEAD_BYTES, Entry, FileId, GROUP_PAGES, HEADERS_BYTES, HOLE, Header, PAGE_BYTES, SLOTS, group_at,
    groups_for, page_at, page_place,
};
use super::state::State;
use crate::disk::ballast::{Ballast, Ballasted};
use crate::disk::{Disk, DiskFile, place};
use crate::seal::{self, NONCE_BYTES, SealingKey};
use crate::store::error::DiskOp;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

/// Most pages that are sealed into one write.
const RUN_PAGES_MAX: usize = 64;

/// The engine's storage backend. Clones are handles on the same file.
#[derive(Clone)]
pub struct SealedPages(Arc<Shared>);

/// What the owner of a database may see of the pages below it.
pub struct PagesProbe(Arc<Shared>);

pub(super) struct Shared {
    file: Ballasted,
    key: SealingKey,
    id: FileId,
    state: RwLock<State>,
    /// Held for a whole sync: the next one must not reuse what this one has not made durable.
    syncing: Mutex<()>,
    strict: AtomicBool,
    poisoned: AtomicBool,
    /// Pages that were read as zeros before `become_strict`.
    zeroed: AtomicU64,
    damaged: Mutex<BTreeSet<u64>>,
    /// Whether the file tells what of it the system has in memory.
    tells: bool,
    sequence: AtomicU64,
    opened_sequence: u64,
    /// Whether it was found closed.
    was_closed: bool,
    nonce_base: [u8; NONCE_BYTES],
    nonces: AtomicU64,
}

impl SealedPages {
    /// Makes a file that holds nothing yet, durable under its name when this returns. The name must be free.
    pub fn create(disk: &dyn Disk, path: &Path, key: SealingKey, id: FileId) -> Result<Self, PagesError> {
        let staged = place::staged(path);
        let pages = Self::create_staged(disk, path, key, id)?;
        publish(disk, &staged, path)?;
        Ok(pages)
    }

    /// Makes a file that holds nothing yet, still under its staged name. What an earlier crash left there is removed:
    /// the caller owns the directory.
    pub(super) fn create_staged(disk: &dyn Disk, path: &Path, key: SealingKey, id: FileId) -> Result<Self, PagesError> {
        let staged = place::staged(path);
        let failed = |op| move |source| PagesError::Disk { op, path: path.to_owned(), source };
        if disk.exists(path).map_err(failed(DiskOp::LookFor))? {
            return Err(failed(DiskOp::Create)(io::ErrorKind::AlreadyExists.into()));
        }
        if disk.exists(&staged).map_err(failed(DiskOp::LookFor))? {
            disk.remove(&staged).map_err(failed(DiskOp::Remove))?;
        }
        let file = disk.create_new(&staged).map_err(failed(DiskOp::Create))?;
        file.set_len(HEADERS_BYTES as u64).map_err(failed(DiskOp::Write))?;
        let pages = SealedPages(Arc::new(Shared::new(file, key, id, State::empty())));
        pages.0.sync().map_err(failed(DiskOp::Write))?;
        pages.become_strict();
        Ok(pages)
    }

    /// Opens a file at the newest state that is whole: the last durable one, or its successor when power went
    /// while that was written and all of it arrived. `at_least` is the sequence that the caller knows to have
    /// been durable (0 when it knows none): an older state is refused, not used.
    pub fn open(disk: &dyn Disk, path: &Path, key: SealingKey, id: FileId, at_least: u64) -> Result<Self, PagesError> {
        let failed = |op| move |source| PagesError::Disk { op, path: path.to_owned(), source };
        let file = disk.open(path).map_err(failed(DiskOp::Open))?;
        let is_whole = file.write_out().map_err(failed(DiskOp::Sync))?;
        let file_len = file.len().map_err(failed(DiskOp::Measure))?;
        if file_len < HEADERS_BYTES as u64 {
            return Err(PagesError::Damaged("cut short"));
        }
        file.forget(0, HEADERS_BYTES as u64);
        let headers = read_headers(file.as_ref(), &key, &id).map_err(failed(DiskOp::Read))??;
        // What the disk says of a close holds for all that lies there. Otherwise a sync may have failed since, and what
        // the system remembers is dropped: seconds, where the index has gigabytes.
        if !(is_whole && headers.first().is_some_and(|(header, _)| header.closed)) {
            file.forget(0, file_len);
        }
        let newest = headers.first().map_or(0, |(header, _)| header.sequence);
        // The fault of the newest header says more than the age of the one before it.
        let mut refusal = None;
        for (header, slot) in headers {
            let found = header.sequence;
            if found < at_least {
                refusal.get_or_insert(PagesError::RolledBack { found, expected: at_least });
                continue;
            }
            match State::load(file.as_ref(), header, slot).map_err(failed(DiskOp::Read))? {
                Ok(mut state) => {
                    state.skip_past(newest);
                    return Ok(SealedPages(Arc::new(Shared::new(file, key, id, state))));
                }
                Err(why) => {
                    refusal.get_or_insert(why);
                }
            }
        }
        Err(refusal.unwrap_or(PagesError::Damaged("no header")))
    }

    /// From now on a damaged page is an error. The engine has finished its recovery.
    pub fn become_strict(&self) {
        self.0.strict.store(true, Ordering::Release);
    }

    /// How many reads were answered with zeros before `become_strict`.
    pub fn zeroed_reads(&self) -> u64 {
        self.0.zeroed.load(Ordering::Acquire)
    }

    /// Writes nothing any more, whatever the engine tries.
    pub(super) fn poison(&self) {
        self.0.poisoned.store(true, Ordering::Release);
    }

    /// What the store may look at while the engine owns the file.
    pub fn probe(&self) -> PagesProbe {
        PagesProbe(Arc::clone(&self.0))
    }
}

impl PagesProbe {
    /// The last durable sync. It grows with every sync that changed something; keep it where the file's disk
    /// cannot take it back, and give it to the next `open`.
    pub fn sequence(&self) -> u64 {
        self.0.sequence.load(Ordering::Acquire)
    }

    /// The sync at which the file was opened.
    pub fn opened_sequence(&self) -> u64 {
        self.0.opened_sequence
    }

    /// Whether its last user closed it, after no failure: then nothing of what the system remembers of it was dropped.
    pub fn was_closed(&self) -> bool {
        self.0.was_closed
    }

    /// From now on writes that meet the end of the disk have this room.
    pub fn stand_by(&self, ballast: Arc<Ballast>) {
        self.0.file.stand_by(ballast);
    }

    /// Whether there is a point in looking without waiting: not every file system tells what it has in memory.
    pub fn tells(&self) -> bool {
        self.0.tells
    }

    /// Different pages that did not open when they were read, since the engine finished its recovery.
    pub fn damaged_pages(&self) -> u64 {
        self.0.damaged().len() as u64
    }

    /// Whether an earlier failure stopped all writes.
    pub fn is_poisoned(&self) -> bool {
        self.0.poisoned.load(Ordering::Acquire)
    }

    /// Bytes of the file on the disk, as `ls` shows them.
    pub fn file_bytes(&self) -> io::Result<u64> {
        self.0.file.len()
    }
}

/// Gives a finished file its name.
pub(super) fn publish(disk: &dyn Disk, staged: &Path, path: &Path) -> Result<(), PagesError> {
    let failed = |op| move |source| PagesError::Disk { op, path: path.to_owned(), source };
    disk.rename(staged, path).map_err(failed(DiskOp::Rename))?;
    disk.sync_dir(place::parent(path)).map_err(failed(DiskOp::SyncFolder))
}

/// The best header of each slot, newest first; at least one.
fn read_headers(
    file: &dyn DiskFile,
    key: &SealingKey,
    id: &FileId,
) -> io::Result<Result<Vec<(Header, usize)>, PagesError>> {
    use super::layout::BadHeader;
    let mut bytes = vec![0; HEADERS_BYTES];
    file.read_at(0, &mut bytes)?;
    let mut found: Vec<(Header, usize)> = Vec::with_capacity(SLOTS);
    let mut reasons = Vec::new();
    for (slot, copies) in bytes.chunks_exact_mut(COPIES * PAGE_BYTES).enumerate() {
        let mut best: Option<Header> = None;
        for block in copies.as_chunks_mut::<PAGE_BYTES>().0 {
            match Header::decode(key, id, block) {
                Ok(header) if best.as_ref().is_none_or(|b| b.sequence < header.sequence) => best = Some(header),
                Ok(_) => {}
                Err(why) => reasons.push(why),
            }
        }
        found.extend(best.map(|header| (header, slot)));
    }
    found.sort_by_key(|(header, _)| std::cmp::Reverse(header.sequence));
    if !found.is_empty() {
        return Ok(Ok(found));
    }
    let all = |kind| reasons.iter().all(|reason| *reason == kind);
    Ok(Err(if all(BadHeader::Magic) {
        PagesError::Format("another magic")
    } else if all(BadHeader::Version) {
        PagesError::Format("a version not known here")
    } else {
        PagesError::Damaged("no header opens; damaged, or another key or node")
    }))
}

impl Shared {
    fn new(file: Box<dyn DiskFile>, key: SealingKey, id: FileId, state: State) -> Self {
        let (sequence, is_closed) = (state.synced.sequence, state.synced.closed);
        // What was read a moment ago is in memory, or the file cannot tell.
        let mut page = [0; PAGE_BYTES];
        let tells = file.read_at(0, &mut page).is_ok() && file.read_cached_at(0, &mut page);
        Shared {
            tells,
            file: Ballasted::new(file),
            key,
            id,
            state: RwLock::new(state),
            syncing: Mutex::new(()),
            strict: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            zeroed: AtomicU64::new(0),
            damaged: Mutex::new(BTreeSet::new()),
            sequence: AtomicU64::new(sequence),
            opened_sequence: sequence,
            was_closed: is_closed,
            nonce_base: seal::random(),
            nonces: AtomicU64::new(0),
        }
    }

    // A panic under one of these locks leaves nothing half done that a reader would trust: entries are set
    // after their page was written, and a page whose entry is behind does not open.
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Four random bytes, then a counter that begins at a random place.
    fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = self.nonce_base;
        let count = self.nonces.fetch_add(1, Ordering::Relaxed);
        if let Some(counter) = nonce.last_chunk_mut::<8>() {
            *counter = u64::from_le_bytes(*counter).wrapping_add(count).to_le_bytes();
        }
        nonce
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.poisoned.load(Ordering::Acquire) { Err(io::Error::other(PagesPoisoned)) } else { Ok(()) }
    }

    /// Passes a result of the disk on; the first failure stops all writes.
    fn watch<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.poisoned.store(true, Ordering::Release);
        }
        result
    }

    /// Opens one page in place; whether it did.
    fn opens(&self, page: u64, entry: &Entry, text: &mut [u8]) -> bool {
        let opened = entry.split_first_chunk::<NONCE_BYTES>().and_then(|(nonce, tag)| {
            let tag = tag.first_chunk()?;
            self.key.open(nonce, &page_place(&self.id, page), text, tag).ok()
        });
        opened.is_some()
    }

    /// Reads and opens one page that did not come or did not open. The engine takes no error for less than the end of
    /// all its work until it is opened again, so one read that went wrong is not told to it.
    fn read_again(&self, group: usize, index: usize, entry: &Entry, text: &mut [u8]) -> io::Result<()> {
        let (page, at) = ((group * GROUP_PAGES + index) as u64, page_at(group, index));
        self.file.forget(at, PAGE_BYTES as u64);
        match self.file.read_at(at, text) {
            Ok(()) if self.opens(page, entry, text) => Ok(()),
            Ok(()) => self.refuse_page(page, text),
            // Cut short.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.refuse_page(page, text),
            Err(error) => Err(error.kind().into()),
        }
    }

    fn refuse_page(&self, page: u64, text: &mut [u8]) -> io::Result<()> {
        if self.strict.load(Ordering::Acquire) {
            self.damaged().insert(page);
            return Err(io::Error::new(io::ErrorKind::InvalidData, PageDamaged(page)));
        }
        self.zeroed.fetch_add(1, Ordering::AcqRel);
        text.fill(0);
        Ok(())
    }

    /// Reads whole pages of one group, as many as `out` holds.
    fn read_run(&self, state: &State, group: usize, index: usize, out: &mut [u8]) -> io::Result<()> {
        let entry = |at: usize| state.entry(group, index + at);
        let pages = out.len() / PAGE_BYTES;
        let mut at = 0;
        while at < pages {
            let hole = entry(at) == HOLE;
            let end = (at + 1..pages).find(|&next| (entry(next) == HOLE) != hole).unwrap_or(pages);
            let run = &mut out[at * PAGE_BYTES..end * PAGE_BYTES];
            if hole {
                run.fill(0);
            } else {
                let from = page_at(group, index + at);
                let whole = match is_hurried() {
                    true => self.file.read_cached_at(from, run),
                    false => self.file.read_at(from, run).is_ok(),
                };
                for (i, text) in run.chunks_exact_mut(PAGE_BYTES).enumerate() {
                    let index = index + at + i;
                    let page = (group * GROUP_PAGES + index) as u64;
                    if whole && self.opens(page, &entry(at + i), text) {
                        continue;
                    }
                    if is_hurried() {
                        leave();
                    }
                    self.read_again(group, index, &entry(at + i), text)?;
                }
            }
            at = end;
        }
        Ok(())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // Held by a sync or a write that may wait for the disk itself.
        let state = match self.state.try_read() {
            Err(TryLockError::WouldBlock) if is_hurried() => leave(),
            Err(TryLockError::WouldBlock) => self.state(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Ok(state) => state,
        };
        check_range(offset, out.len(), state.len)?;
        let in_head = head_part(offset, out.len());
        let (head, mut rest) = out.split_at_mut(in_head.len());
        head.copy_from_slice(&state.engine[in_head.clone()]);
        let mut at = offset + head.len() as u64;
        while !rest.is_empty() {
            let (group, index, within) = locate(at)?;
            let whole = (rest.len() / PAGE_BYTES).min(GROUP_PAGES - index);
            let step = if within == 0 && whole > 0 {
                self.read_run(&state, group, index, &mut rest[..whole * PAGE_BYTES])?;
                whole * PAGE_BYTES
            } else {
                let mut page = [0; PAGE_BYTES];
                self.read_run(&state, group, index, &mut page)?;
                let step = (PAGE_BYTES - within).min(rest.len());
                rest[..step].copy_from_slice(&page[within..within + step]);
                step
            };
            at += step as u64;
            rest = &mut rest[step..];
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check_writable()?;
        let in_head = head_part(offset, data.len());
        let (head, mut rest) = data.split_at(in_head.len());
        if !head.is_empty() {
            let mut state = self.state_mut();
            check_range(offset, data.len(), state.len)?;
            state.touched |= state.engine[in_head.clone()] != *head;
            state.engine[in_head].copy_from_slice(head);
        }
        let mut at = offset + head.len() as u64;
        while !rest.is_empty() {
            let (group, index, within) = locate(at)?;
            let whole = (rest.len() / PAGE_BYTES).min(GROUP_PAGES - index).min(RUN_PAGES_MAX);
            let step = if within == 0 && whole > 0 {
                let (run, _) = rest.split_at(whole * PAGE_BYTES);
                let (sealed, entries) = self.seal_run(group, index, run.to_vec());
                let mut state = self.state_mut();
                check_range(at, run.len(), state.len)?;
                self.put_run(&mut state, group, index, &sealed, &entries)?;
                run.len()
            } else {
                let step = (PAGE_BYTES - within).min(rest.len());
                let mut state = self.state_mut();
                check_range(at, step, state.len)?;
                self.patch(&mut state, at, &rest[..step])?;
                step
            };
            at += step as u64;
            rest = &rest[step..];
        }
        Ok(())
    }

    fn seal_run(&self, group: usize, index: usize, mut text: Vec<u8>) -> (Vec<u8>, Vec<Entry>) {
        let first = group * GROUP_PAGES + index;
        let seal = |(i, page): (usize, &mut [u8])| {
            let nonce = self.nonce();
            let tag = self.key.seal(&nonce, &page_place(&self.id, (first + i) as u64), page);
            let mut entry = HOLE;
            entry[..NONCE_BYTES].copy_from_slice(&nonce);
            entry[NONCE_BYTES..].copy_from_slice(&tag);
            entry
        };
        let entries = text.chunks_exact_mut(PAGE_BYTES).enumerate().map(seal).collect();
        (text, entries)
    }

    fn put_run(
        &self,
        state: &mut State,
        group: usize,
        index: usize,
        sealed: &[u8],
        entries: &[Entry],
    ) -> io::Result<()> {
        self.watch(self.file.write_at(page_at(group, index), sealed))?;
        state.set_entries(group, index, entries);
        Ok(())
    }

    /// Rewrites a part of one page. Never on top of zeros that stand in for a damaged one.
    fn patch(&self, state: &mut State, offset: u64, data: &[u8]) -> io::Result<()> {
        let (group, index, within) = locate(offset)?;
        let mut page = vec![0; PAGE_BYTES];
        // The first page holds zeros below the engine's header: whoever writes its rest writes all that it has.
        let rest_of_first = group + index == 0 && within == ENGINE_HEAD_BYTES && within + data.len() == PAGE_BYTES;
        if !rest_of_first {
            let zeroed = self.zeroed.load(Ordering::Acquire);
            self.read_run(state, group, index, &mut page)?;
            if self.zeroed.load(Ordering::Acquire) != zeroed {
                let page = (group * GROUP_PAGES + index) as u64;
                return Err(io::Error::new(io::ErrorKind::InvalidData, PageDamaged(page)));
            }
        }
        page[within..within + data.len()].copy_from_slice(data);
        let (sealed, entries) = self.seal_run(group, index, page);
        self.put_run(state, group, index, &sealed, &entries)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.state_mut();
        if len < state.len {
            // What is cut off inside of a page must read as zeros when the file grows again.
            let head = head_part(len, ENGINE_HEAD_BYTES);
            state.engine[head].fill(0);
            let tail = usize::try_from(len.next_multiple_of(PAGE_BYTES as u64).min(state.len) - len).unwrap_or(0);
            if tail > 0 {
                self.patch(&mut state, len, &vec![0; tail])?;
            }
        }
        state.set_len(len)
    }

    /// Makes everything written so far durable: pages, then what vouches for them, then one sync for both.
    fn sync(&self) -> io::Result<()> {
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_writable()?;
        self.sync_as(false)
    }

    /// Says on the disk that all of it is there, if that is so. A header and what it speaks of may reach the disk in
    /// any order, so this one speaks of what was durable before.
    fn close(&self) -> io::Result<()> {
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_writable()?;
        self.sync_as(false)?;
        let closed = self.sync_as(true);
        if closed.is_err() {
            // It may be remembered and not be there: whoever reads it from memory must not believe it.
            let slot = 1 - self.state().header_slot;
            let _ = self.file.write_at((slot * COPIES * PAGE_BYTES) as u64, &[0; COPIES * PAGE_BYTES]);
        }
        closed
    }

    /// One sync; nothing to do where nothing has changed since the last.
    fn sync_as(&self, closed: bool) -> io::Result<()> {
        let (header, slot) = {
            let mut state = self.state_mut();
            if !state.touched && state.synced.closed >= closed {
                return Ok(());
            }
            let header = self.watch(state.write_tags(&self.file))?;
            // The other slot: if this header is torn, the one before it still stands.
            (Header { closed, ..header }, 1 - state.header_slot)
        };
        let block = header.encode(&self.key, &self.id, self.nonce());
        let at = slot * COPIES * PAGE_BYTES;
        self.watch(self.file.write_at(at as u64, &block.repeat(COPIES)))?;
        self.watch(self.file.sync_data())?;
        self.sequence.store(header.sequence, Ordering::Release);
        let mut state = self.state_mut();
        state.header_slot = slot;
        state.synced = header;
        if std::mem::take(&mut state.shrunk) {
            // Only now does no durable header need the end of the file. It costs room alone if this is lost.
            let needed = groups_for(state.len.max(state.synced.len)).map(group_at);
            if needed.is_some_and(|needed| self.file.len().is_ok_and(|len| len > needed)) {
                self.watch(self.file.set_len(needed.unwrap_or(u64::MAX)))?;
            }
        }
        Ok(())
    }
}

/// The part of a range that lies in the engine's header.
fn head_part(offset: u64, len: usize) -> std::ops::Range<usize> {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(ENGINE_HEAD_BYTES);
    from..from.saturating_add(len).min(ENGINE_HEAD_BYTES)
}

/// Group, page in the group, byte in the page.
fn locate(offset: u64) -> io::Result<(usize, usize, usize)> {
    let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let page = offset / PAGE_BYTES;
    Ok((page / GROUP_PAGES, page % GROUP_PAGES, offset % PAGE_BYTES))
}

fn check_range(offset: u64, len: usize, end: u64) -> io::Result<()> {
    match offset.checked_add(len as u64) {
        Some(to) if to <= end => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl redb::StorageBackend for SealedPages {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.state().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        // Before that, pages may have been read as zeros.
        if self.0.strict.load(Ordering::Acquire) { self.0.close() } else { Ok(()) }
    }
}

impl fmt::Debug for SealedPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedPages(..)")
    }
}

impl fmt::Debug for PagesProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagesProbe").field("sequence", &self.sequence()).finish_non_exhaustive()
    }
}

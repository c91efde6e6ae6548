//! A disk in memory that loses power on request. Deterministic by seed.
//!
//! Invariants
//! - A write is seen at once by every handle, and survives power loss only after `sync_data` of its file;
//!   a name that was created, renamed or removed, only after `sync_dir` of its directory.
//! - What was not synced survives as chance has it: any subset, in any order, torn at sectors; a rename
//!   happens whole or not at all.
//! - Without power every operation fails, on all handles, for good: `after_power_loss` is the way on.
//! - A sync that fails leaves what was written to be seen, and it never becomes durable; each handle that was open
//!   hears of it once. So with the names of a directory whose sync fails.
//! - Chance hangs on the seed and on the order of what was asked, never on names or bytes: a store draws both
//!   from the system's random source, and a seed must replay all the same.
//!
//! | file | job |
//! |---|---|
//! | `file` `bytes` | an open file; what of its bytes is seen, and what is durable |
//! | `chance` `course` | numbers by seed; one number over all that was changed, in its order |
//! | `weather` | what disks do besides losing power: failing once, and bringing something else |

use super::place::parent;
use super::sparse::Sparse;
use super::{Disk, DiskFile, Space};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod bytes;
mod chance;
mod course;
mod file;
mod weather;

pub use chance::Rng;
pub use weather::Misread;

use bytes::Bytes;
use chance::Keep;
use course::{Course, Step};
use file::CrashFile;
use weather::{AtSync, Weather};

/// A simulated disk. Clones are handles on the same disk.
#[derive(Clone, Debug)]
pub struct CrashDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rng: Rng,
    syncs: u64,
    /// Syncs left before the power goes.
    budget: Option<u64>,
    dead: bool,
    /// Writes left before they fail, and how.
    failing: Option<(u64, io::ErrorKind)>,
    space: Space,
    /// Bytes that all files may have together, if that counts.
    capacity: Option<u64>,
    course: Course,
    weather: Weather,
    /// With the order of their making, as names have.
    dirs: BTreeMap<PathBuf, usize>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    name_changes: Vec<NameChange>,
    files: Vec<Bytes>,
}

/// A change of names that no `sync_dir` has covered yet.
#[derive(Clone, Debug)]
enum NameChange {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

impl NameChange {
    fn dir(&self) -> &Path {
        match self {
            NameChange::Create(path, _) | NameChange::Rename(_, path, _) | NameChange::Remove(path) => parent(path),
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            NameChange::Create(path, file) => {
                names.insert(path, file);
            }
            NameChange::Rename(from, to, file) => {
                names.remove(&from);
                names.insert(to, file);
            }
            NameChange::Remove(path) => {
                names.remove(&path);
            }
        }
    }
}

impl CrashDisk {
    /// An empty disk with power. `seed` decides what survives.
    pub fn new(seed: u64) -> Self {
        let space = Space { total: 1 << 40, free: 1 << 40, files_free: u64::MAX };
        CrashDisk(Arc::new(Mutex::new(State {
            rng: Rng::new(seed),
            syncs: 0,
            budget: None,
            dead: false,
            failing: None,
            space,
            capacity: None,
            course: Course::default(),
            weather: Weather::default(),
            dirs: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            files: Vec::new(),
        })))
    }

    /// Decides anew what survives.
    pub fn set_seed(&self, seed: u64) {
        self.state().rng = Rng::new(seed);
    }

    /// A number that names all that was changed on this disk, where, and in which order; files count by the order
    /// of their making. Runs of one seed that went different ways have different numbers.
    pub fn course(&self) -> u64 {
        self.state().course.0
    }

    /// This disk, with power for `syncs` more syncs: the next one after them finds none.
    pub fn stopping_at(self, syncs: u64) -> Self {
        self.set_power_budget(Some(syncs));
        self
    }

    /// How many more syncs succeed before the power goes; `None` for ever.
    pub fn set_power_budget(&self, syncs: Option<u64>) {
        self.state().budget = syncs;
    }

    /// How many syncs (of files and directories) have succeeded.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Whether the power is gone.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// After `writes` more writes or length changes, they fail with `kind` (a full disk, a broken one) until
    /// `heal`. A failing write leaves half of its bytes behind.
    pub fn fail_writes_after(&self, writes: u64, kind: io::ErrorKind) {
        self.state().failing = Some((writes, kind));
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        let mut state = self.state();
        state.failing = None;
        state.weather.calm();
    }

    /// After `operations` more of any kind, one fails with `kind`. A write leaves half of its bytes behind, a sync
    /// leaves all that it was to make durable for the system to take for written.
    pub fn fail_once_after(&self, operations: u64, kind: io::ErrorKind) {
        self.state().weather.fail_once_after(operations, kind);
    }

    /// After `reads` more, one brings something else than was asked for.
    pub fn misread_once_after(&self, reads: u64, how: Misread) {
        self.state().weather.misread_once_after(reads, how);
    }

    /// After `reads` more, `times` bring something else, one after the other: a cable, a controller, a path to a volume
    /// that fails for a while.
    pub fn misread_after(&self, reads: u64, times: u64, how: Misread) {
        self.state().weather.misread_after(reads, times, how);
    }

    /// After `syncs` more syncs of files, one says that all is well and leaves it to chance what it made durable.
    /// Nothing can be built on such a disk: it is for the tests of tests.
    pub fn lie_once_after(&self, syncs: u64) {
        self.state().weather.lie_once_after(syncs);
    }

    /// After `syncs` more syncs of files, `what` happens before the next one.
    pub fn at_sync(&self, syncs: u64, what: impl FnOnce() + Send + 'static) {
        self.state().weather.at_sync(syncs, AtSync(Box::new(what)));
    }

    /// How many operations of any kind there were.
    pub fn operations(&self) -> u64 {
        self.state().weather.operations
    }

    /// How many of them went wrong by `fail_once_after` and `misread_once_after`.
    pub fn struck(&self) -> u64 {
        self.state().weather.struck
    }

    /// How many changes of names were lost with syncs of directories that failed.
    pub fn names_lost(&self) -> u64 {
        self.state().weather.names_lost
    }

    /// The system tries to write what was changed in a file, by itself, and fails.
    pub fn fail_writeback(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let file = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let State { files, rng, .. } = &mut *state;
        files[file].fail(rng);
        Ok(())
    }

    /// What `space` answers from now on.
    pub fn set_space(&self, space: Space) {
        self.state().space = space;
    }

    /// From now on what is free is what all files leave of so many bytes, and writes beyond that fail.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = Some(bytes);
    }

    /// The disk after the power has come back. Each call draws another outcome; this disk is left as it is.
    pub fn after_power_loss(&self) -> CrashDisk {
        let mut state = self.state();
        let mut rng = Rng::new(state.rng.next());
        let mut names = state.durable_names.clone();
        let keep = Keep::draw(&mut rng);
        for change in &state.name_changes {
            if keep.has(&mut rng) {
                change.clone().apply(&mut names);
            }
        }
        let files = state.files.iter().map(|file| file.survive(&mut rng)).collect();
        state.course.note(Step::PowerLoss { names: names.len() });
        CrashDisk(Arc::new(Mutex::new(state.with(rng, names, files))))
    }

    /// A copy of this disk as it would be after a clean stop: everything durable, nothing shared.
    pub fn copy(&self) -> CrashDisk {
        let state = self.state();
        let files = state.files.iter().map(|file| Bytes::of(file.seen.clone())).collect();
        CrashDisk(Arc::new(Mutex::new(state.with(state.rng.clone(), state.names.clone(), files))))
    }

    /// Names of the files that are durable.
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().durable_names.keys().cloned().collect()
    }

    /// Durable files with their durable bytes.
    pub fn dump(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.files().into_iter().filter_map(|path| self.read_raw(&path).ok().map(|bytes| (path, bytes))).collect()
    }

    /// The durable bytes of a file.
    pub fn read_raw(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        let file = *state.durable_names.get(path).ok_or(io::ErrorKind::NotFound)?;
        state.files[file].durable.to_vec()
    }

    /// Damages a file: flips the bits of `mask` in the byte at `offset`, behind everybody's back.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        self.damage(path, |bytes| {
            let mut byte = [0];
            bytes.read(offset, &mut byte)?;
            bytes.write(offset, &[byte[0] ^ mask])
        })
    }

    /// Damages a file: overwrites a part of it, behind everybody's back.
    pub fn write_raw(&self, path: &Path, offset: u64, data: &[u8]) -> io::Result<()> {
        self.damage(path, |bytes| bytes.write(offset, data))
    }

    /// Damages a file: cuts or extends it, behind everybody's back.
    pub fn set_len_raw(&self, path: &Path, len: u64) -> io::Result<()> {
        self.damage(path, |bytes| bytes.set_len(len))
    }

    fn damage(&self, path: &Path, change: impl Fn(&mut Sparse) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state();
        let file = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        change(&mut state.files[file].seen)?;
        change(&mut state.files[file].durable)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if there is power and the weather lets this operation be.
    fn powered(&self) -> io::Result<MutexGuard<'_, State>> {
        let (state, struck) = self.begun()?;
        struck.map_or(Ok(state), Err)
    }

    /// The state, if there is power, and whether this operation fails.
    fn begun(&self) -> io::Result<(MutexGuard<'_, State>, Option<io::Error>)> {
        let mut state = self.state();
        if state.dead {
            return Err(no_power());
        }
        let struck = state.weather.strikes();
        Ok((state, struck))
    }

    fn handle(&self, state: &State, file: usize) -> Box<dyn DiskFile> {
        let bytes = &state.files[file];
        // Whoever opens it hears of a failure that nobody has heard of.
        let heard = AtomicU64::new(bytes.failures - u64::from(bytes.untold));
        Box::new(CrashFile { disk: self.clone(), file, heard })
    }
}

fn no_power() -> io::Error {
    io::Error::other("the simulated power is gone")
}

impl State {
    /// A disk with these names and files, all durable, and this one's directories and space.
    fn with(&self, rng: Rng, names: BTreeMap<PathBuf, usize>, files: Vec<Bytes>) -> State {
        State {
            rng,
            syncs: 0,
            budget: None,
            dead: false,
            failing: None,
            space: self.space,
            capacity: self.capacity,
            course: self.course,
            weather: Weather::default(),
            dirs: self.dirs.clone(),
            durable_names: names.clone(),
            names,
            name_changes: Vec::new(),
            files,
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match &mut self.budget {
            Some(0) => {
                self.dead = true;
                return Err(no_power());
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.syncs += 1;
        Ok(())
    }

    /// Bytes that files may still grow by, if that counts. What has no name any more is gone.
    fn left(&self) -> Option<u64> {
        let used = || self.names.values().map(|file| self.files[*file].seen.len()).sum();
        self.capacity.map(|capacity| capacity.saturating_sub(used()))
    }

    fn may_write(&mut self) -> io::Result<()> {
        match &mut self.failing {
            Some((0, kind)) => Err((*kind).into()),
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn is_dir(&self, dir: &Path) -> bool {
        self.dirs.contains_key(dir) || dir == Path::new("/") || dir == Path::new(".")
    }
}

impl Disk for CrashDisk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.powered()?;
        if state.names.contains_key(path) || state.is_dir(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.is_dir(parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = state.files.len();
        state.files.push(Bytes::default());
        state.names.insert(path.to_owned(), file);
        state.course.note(Step::Create { file });
        state.name_changes.push(NameChange::Create(path.to_owned(), file));
        Ok(self.handle(&state, file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.powered()?;
        let file = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&state, file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.powered()?;
        if !state.is_dir(parent(to)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        let over = state.names.insert(to.to_owned(), file);
        state.course.note(Step::Rename { file, over });
        state.name_changes.push(NameChange::Rename(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.powered()?;
        let file = state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.course.note(Step::Remove { file });
        state.name_changes.push(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut state, struck) = self.begun()?;
        if let Some(error) = struck {
            // The names stay to be seen, and no later sync makes them durable.
            let of_others = |change: &NameChange| change.dir() != dir;
            let all = state.name_changes.len();
            state.name_changes.retain(of_others);
            state.weather.names_lost += (all - state.name_changes.len()) as u64;
            return Err(error);
        }
        if !state.is_dir(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.sync()?;
        let step = Step::SyncDir { dir: state.dirs.get(dir).copied() };
        state.course.note(step);
        let (synced, left) = std::mem::take(&mut state.name_changes).into_iter().partition(|c| c.dir() == dir);
        state.name_changes = left;
        let synced: Vec<NameChange> = synced;
        synced.into_iter().for_each(|change| change.apply(&mut state.durable_names));
        Ok(())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.powered()?;
        let new = dir.ancestors().filter(|d| !d.as_os_str().is_empty() && !state.is_dir(d));
        let new: Vec<PathBuf> = new.map(Path::to_owned).collect();
        if new.iter().any(|d| state.names.contains_key(d)) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if !new.is_empty() {
            state.sync()?;
            for path in new.into_iter().rev() {
                let dir = state.dirs.len();
                state.dirs.insert(path, dir);
                state.course.note(Step::CreateDir { dir });
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.powered()?;
        if !state.is_dir(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        // In the order of their making, as names are random.
        let ordered = |names: &BTreeMap<PathBuf, usize>| {
            let within = names.iter().filter(|(path, _)| parent(path) == dir && *path != dir);
            let mut within: Vec<_> = within.map(|(path, order)| (*order, path.clone())).collect();
            within.sort_unstable();
            within.into_iter().map(|(_, path)| path)
        };
        Ok(ordered(&state.names).chain(ordered(&state.dirs)).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.powered()?;
        Ok(state.names.contains_key(path) || state.is_dir(path))
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let state = self.powered()?;
        Ok(match state.capacity {
            Some(total) => Space { total, free: state.left().unwrap_or(0), ..state.space },
            None => state.space,
        })
    }
}

#[cfg(test)]
mod tests;

//! A view of a real directory tree that changes in memory only: for checks that replay and repair.
//!
//! Invariants
//! - No real file or directory is created, written, renamed or removed; files are opened for reading only.
//! - What was changed through this disk is seen through it, by all handles on the same file.
//! - Memory grows with the pages changed, not with the files opened.

use super::place::parent;
use super::{Disk, DiskFile, RealDisk, Space};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Unit of the changes kept in memory.
const PAGE_BYTES: u64 = 4096;

/// The real file system below a layer of changes that end with this value. Clones share the layer.
#[derive(Clone, Debug, Default)]
pub struct ShadowDisk(Arc<Mutex<Layer>>);

#[derive(Debug, Default)]
struct Layer {
    /// Files opened or made here, and names that are gone (`None`).
    names: BTreeMap<PathBuf, Option<Arc<Overlay>>>,
    dirs: BTreeSet<PathBuf>,
}

impl ShadowDisk {
    /// A view without changes.
    pub fn new() -> Self {
        Self::default()
    }

    fn layer(&self) -> MutexGuard<'_, Layer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layer {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.names.get(path) {
            Some(here) => Ok(here.is_some()),
            None => Ok(self.dirs.contains(path) || path.try_exists()?),
        }
    }

    fn is_dir(&self, dir: &Path) -> bool {
        self.dirs.contains(dir) || dir.is_dir()
    }

    fn open(&mut self, path: &Path) -> io::Result<Arc<Overlay>> {
        match self.names.get(path) {
            Some(Some(file)) => Ok(Arc::clone(file)),
            Some(None) => Err(io::ErrorKind::NotFound.into()),
            None => {
                let file = Arc::new(Overlay::over(File::open(path)?)?);
                self.names.insert(path.to_owned(), Some(Arc::clone(&file)));
                Ok(file)
            }
        }
    }
}

impl Disk for ShadowDisk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut layer = self.layer();
        if layer.exists(path)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !layer.is_dir(parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = Arc::new(Overlay::default());
        layer.names.insert(path.to_owned(), Some(Arc::clone(&file)));
        Ok(Box::new(ShadowFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(ShadowFile(self.layer().open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut layer = self.layer();
        if !layer.is_dir(parent(to)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = layer.open(from)?;
        layer.names.insert(from.to_owned(), None);
        layer.names.insert(to.to_owned(), Some(file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut layer = self.layer();
        if !layer.exists(path)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        layer.names.insert(path.to_owned(), None);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.layer().is_dir(dir) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut layer = self.layer();
        for new in dir.ancestors().filter(|d| !d.as_os_str().is_empty()) {
            if layer.is_dir(new) {
                break;
            }
            if layer.exists(new)? {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            layer.dirs.insert(new.to_owned());
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let layer = self.layer();
        let mut found: BTreeSet<PathBuf> = match RealDisk.list(dir) {
            Ok(real) => real.into_iter().collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && layer.dirs.contains(dir) => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        for (path, here) in layer.names.iter().filter(|(path, _)| parent(path) == dir) {
            if here.is_some() {
                found.insert(path.clone());
            } else {
                found.remove(path);
            }
        }
        found.extend(layer.dirs.iter().filter(|d| parent(d) == dir && *d != dir).cloned());
        Ok(found.into_iter().collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.layer().exists(path)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        RealDisk.space(dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("/")))
    }
}

/// A file: the real bytes, where there are any, below the pages that were changed.
#[derive(Debug, Default)]
struct Overlay {
    base: Option<File>,
    changed: RwLock<Changed>,
}

#[derive(Debug, Default)]
struct Changed {
    len: u64,
    /// Up to where the real bytes still count: a cut ends them for good.
    base_len: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    fn over(base: File) -> io::Result<Self> {
        let len = base.metadata()?.len();
        let changed = RwLock::new(Changed { len, base_len: len, pages: BTreeMap::new() });
        Ok(Overlay { base: Some(base), changed })
    }

    /// Reads real bytes, zeros behind them.
    fn read_base(&self, base_len: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let real = usize::try_from(base_len.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (head, tail) = out.split_at_mut(real);
        tail.fill(0);
        match &self.base {
            Some(base) if !head.is_empty() => base.read_exact_at(head, offset),
            _ => {
                head.fill(0);
                Ok(())
            }
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changed = self.changed.read().unwrap_or_else(PoisonError::into_inner);
        let end = offset.checked_add(out.len() as u64).filter(|&end| end <= changed.len);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.read_base(changed.base_len, offset, out)?;
        for (&page, bytes) in changed.pages.range(offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES)) {
            let (from, to) = (offset.max(page * PAGE_BYTES), end.min((page + 1) * PAGE_BYTES));
            out[span(from - offset, to - offset)?]
                .copy_from_slice(&bytes[span(from % PAGE_BYTES, to - page * PAGE_BYTES)?]);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changed = self.changed.write().unwrap_or_else(PoisonError::into_inner);
        let end = offset.checked_add(data.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        for page in offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            let (from, to) = (offset.max(page * PAGE_BYTES), end.min((page + 1) * PAGE_BYTES));
            let base_len = changed.base_len;
            let bytes = match changed.pages.entry(page) {
                std::collections::btree_map::Entry::Occupied(here) => here.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    let mut bytes = vec![0; span(0, PAGE_BYTES)?.end];
                    self.read_base(base_len, page * PAGE_BYTES, &mut bytes)?;
                    free.insert(bytes)
                }
            };
            bytes[span(from % PAGE_BYTES, to - page * PAGE_BYTES)?]
                .copy_from_slice(&data[span(from - offset, to - offset)?]);
        }
        changed.len = changed.len.max(end);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changed = self.changed.write().unwrap_or_else(PoisonError::into_inner);
        changed.pages.split_off(&len.div_ceil(PAGE_BYTES));
        let keep = span(len % PAGE_BYTES, PAGE_BYTES)?;
        if let Some(last) = changed.pages.get_mut(&(len / PAGE_BYTES)).filter(|_| !len.is_multiple_of(PAGE_BYTES)) {
            last[keep].fill(0);
        }
        changed.base_len = changed.base_len.min(len);
        changed.len = len;
        Ok(())
    }
}

fn span(from: u64, to: u64) -> io::Result<std::ops::Range<usize>> {
    let narrow = |n| usize::try_from(n).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
    Ok(narrow(from)?..narrow(to)?)
}

/// A handle on a file of the view.
#[derive(Debug)]
struct ShadowFile(Arc<Overlay>);

impl DiskFile for ShadowFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.changed.read().unwrap_or_else(PoisonError::into_inner).len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::crash::Rng;

    #[test]
    fn changes_are_seen_here_and_nowhere_else() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a"), vec![1; 10_000]).expect("writes");
        std::fs::write(at("b"), b"b").expect("writes");
        let disk = ShadowDisk::new();
        let (file, twin) = (disk.open(&at("a")).expect("opens"), disk.open(&at("a")).expect("opens"));
        file.write_at(9_990, &[2; 20]).expect("writes");
        let mut out = [0; 30];
        twin.read_at(9_980, &mut out).expect("reads");
        assert_eq!((&out[..10], &out[10..]), (&[1; 10][..], &[2; 20][..]));
        disk.create_new(&at("c")).expect("creates");
        assert!(disk.create_new(&at("b")).is_err() && disk.create_new(&at("x/y")).is_err());
        disk.rename(&at("b"), &at("d")).expect("renames");
        disk.remove(&at("a")).expect("removes");
        assert_eq!(disk.open(&at("a")).expect_err("gone").kind(), io::ErrorKind::NotFound);
        disk.create_dir_all(&at("x/y")).expect("creates");
        disk.create_new(&at("x/y/z")).expect("creates");
        assert_eq!(disk.list(&at("x")).expect("lists"), [at("x/y")]);
        assert_eq!(disk.list(dir.path()).expect("lists"), [at("c"), at("d"), at("x")]);
        let mut real = RealDisk.list(dir.path()).expect("lists");
        real.sort();
        assert_eq!(real, [at("a"), at("b")]);
        assert_eq!(std::fs::read(at("a")).expect("reads"), vec![1; 10_000]);
        assert!(disk.space(&at("x/y")).is_ok());
    }

    #[test]
    fn a_file_behaves_like_a_vector() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("f");
        let mut rng = Rng::new(3);
        let mut model: Vec<u8> = (0..20_000).map(|_| rng.next() as u8).collect();
        std::fs::write(&path, &model).expect("writes");
        let disk = ShadowDisk::new();
        let file = disk.open(&path).expect("opens");
        for _ in 0..3_000 {
            let (offset, len) = (rng.below(30_000) as usize, rng.below(9_000) as usize);
            match rng.below(6) {
                0 => {
                    file.set_len(offset as u64).expect("sets");
                    model.resize(offset, 0);
                }
                1..3 => {
                    let data = vec![rng.next() as u8; len];
                    file.write_at(offset as u64, &data).expect("writes");
                    model.resize(model.len().max(offset + len), 0);
                    model[offset..offset + len].copy_from_slice(&data);
                }
                _ => {
                    let mut out = vec![9; len];
                    let read = file.read_at(offset as u64, &mut out);
                    assert_eq!(read.is_ok(), offset + len <= model.len());
                    if read.is_ok() {
                        assert_eq!(out, &model[offset..offset + len]);
                    }
                }
            }
            assert_eq!(file.len().expect("has a length"), model.len() as u64);
        }
    }
}

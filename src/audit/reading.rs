//! Reading: the files of a log, and the lines of one, front to back.
//!
//! Invariants
//! - Nothing is changed: what does not fit is said, and reading goes on with what can still be opened.
//! - A line that begins and does not end before its file does is no damage: it was never answered. So are zeros.

use super::error::AuditError;
use super::layout::{self, HEADER_BYTES, Header, LINE_BYTES_MAX, NoLine, RECORD_HEAD_BYTES, Raw};
use crate::base::AuditHead;
use crate::disk::{Disk, DiskFile};
use crate::seal::keyring::Keyring;
use crate::seal::{SealingKey, TAG_BYTES};
use std::path::{Path, PathBuf};

/// The directory of the log, in the data directory.
pub const DIR: &str = "audit";
/// What is read at once.
const READ_BYTES: usize = 1 << 20;
/// Most bytes of a line as it lies in its file.
const RECORD_BYTES_MAX: usize = RECORD_HEAD_BYTES + LINE_BYTES_MAX + TAG_BYTES;

/// The name of a file of that number.
pub fn file_name(number: u64) -> String {
    format!("{number:06}.log")
}

/// The number that a file name says; none for other names.
fn number_of(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".log")?;
    let number = digits.parse().ok()?;
    (file_name(number) == format!("{digits}.log")).then_some(number)
}

/// The files of the log in `dir`, in their order; none where there is no such directory.
pub fn files(disk: &dyn Disk, dir: &Path) -> Result<Vec<(u64, PathBuf)>, AuditError> {
    if !disk.exists(dir).map_err(AuditError::disk("look for", dir))? {
        return Ok(Vec::new());
    }
    let all = disk.list(dir).map_err(AuditError::disk("list", dir))?;
    let mut files: Vec<_> = all.into_iter().filter_map(|path| Some((number_of(&path)?, path))).collect();
    files.sort();
    Ok(files)
}

/// Reads a header as it lies in its file; one that is cut short is as long as the file.
pub fn read_header(file: &dyn DiskFile, path: &Path) -> Result<Vec<u8>, AuditError> {
    let len = file.len().map_err(AuditError::disk("measure", path))?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(HEADER_BYTES)];
    file.read_at(0, &mut bytes).map_err(AuditError::disk("read", path))?;
    Ok(bytes)
}

/// What the header of a file says, and the file's key.
pub fn open_header(ring: &Keyring, path: &Path, bytes: &[u8]) -> Result<(Header, SealingKey), AuditError> {
    let broken = |why: &str| AuditError::Header { path: path.to_owned(), why: why.to_owned(), foreign: false };
    if bytes.len() < HEADER_BYTES {
        return Err(broken("cut short"));
    }
    if !layout::is_padded(bytes) {
        return Err(broken("bytes where there are none"));
    }
    let header = Header::decode(bytes).map_err(|error| broken(&error.to_string()))?;
    let key = header.open(ring, bytes).map_err(|error| AuditError::header(path, &error))?;
    Ok((header, key))
}

/// What is next in a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A line.
    Line {
        /// Where the log ends with it.
        head: AuditHead,
        /// Its text.
        text: Vec<u8>,
        /// Whether it follows the line before. If not, at least one is missing, or this one stands where it did not.
        follows: bool,
    },
    /// A line that does not open; reading goes on behind it.
    Damaged {
        /// Where in the file.
        at: u64,
    },
    /// From here on nothing can be read as lines.
    Unreadable {
        /// Where in the file.
        at: u64,
    },
    /// The last line was begun and never ended: so many bytes of it.
    Torn {
        /// How many.
        bytes: u64,
    },
    /// The end of the file.
    End,
}

/// A file that is read from its first line on.
#[derive(Debug)]
pub struct Walk {
    /// What its header says.
    pub header: Header,
    /// Where the log ends, as far as it was read.
    pub head: AuditHead,
    key: SealingKey,
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// Where the next line begins.
    at: u64,
    len: u64,
    /// Bytes that were read, from `at` on.
    ahead: Vec<u8>,
    used: usize,
}

impl Walk {
    /// Opens a file, and what its header says.
    pub fn open(disk: &dyn Disk, ring: &Keyring, path: &Path) -> Result<Self, AuditError> {
        let file = disk.open(path).map_err(AuditError::disk("open", path))?;
        let bytes = read_header(file.as_ref(), path)?;
        let (header, key) = open_header(ring, path, &bytes)?;
        let len = file.len().map_err(AuditError::disk("measure", path))?;
        let head = header.before;
        let at = HEADER_BYTES as u64;
        Ok(Walk { header, head, key, file, path: path.to_owned(), at, len, ahead: Vec::new(), used: 0 })
    }

    /// Where the next line would be.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The file and its key, for who writes on.
    pub fn into_parts(self) -> (Box<dyn DiskFile>, SealingKey) {
        (self.file, self.key)
    }

    /// The next line.
    pub fn step(&mut self) -> Result<Step, AuditError> {
        if self.at >= self.len {
            return Ok(Step::End);
        }
        self.fill(RECORD_HEAD_BYTES + 4096)?;
        if matches!(Raw::read(&self.ahead[self.used..]), Err(NoLine::Cut)) {
            self.fill(RECORD_BYTES_MAX)?;
        }
        let rest = &self.ahead[self.used..];
        let raw = match Raw::read(rest) {
            Ok(raw) => raw,
            Err(NoLine::Cut) => return Ok(Step::Torn { bytes: self.len - self.at }),
            Err(NoLine::Length) => return self.without_length(),
        };
        let (at, len) = (self.at, raw.size());
        let opened = raw.open(&self.key, &self.header.id);
        let (head, follows) = (raw.head(), raw.sequence == self.head.sequence + 1 && raw.before == self.head.hash);
        self.used += len;
        self.at += len as u64;
        match opened {
            Ok(text) => {
                self.head = head;
                Ok(Step::Line { head, text, follows })
            }
            Err(_) => Ok(Step::Damaged { at }),
        }
    }

    /// No line begins so. Zeros up to the end are what a lost write leaves.
    fn without_length(&mut self) -> Result<Step, AuditError> {
        let (at, bytes) = (self.at, self.len - self.at);
        let zeros = loop {
            if self.ahead[self.used..].iter().any(|byte| *byte != 0) {
                break false;
            }
            (self.at, self.used) = (self.at + (self.ahead.len() - self.used) as u64, self.ahead.len());
            if self.at >= self.len {
                break true;
            }
            self.fill(READ_BYTES)?;
        };
        self.at = self.len;
        Ok(if zeros { Step::Torn { bytes } } else { Step::Unreadable { at } })
    }

    /// Sees to it that so many bytes from `at` on are in memory, if the file has them.
    fn fill(&mut self, want: usize) -> Result<(), AuditError> {
        let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX);
        if self.ahead.len() - self.used >= want.min(left) {
            return Ok(());
        }
        let bytes = want.max(READ_BYTES).min(left);
        self.ahead.clear();
        self.ahead.resize(bytes, 0);
        self.used = 0;
        self.file.read_at(self.at, &mut self.ahead).map_err(AuditError::disk("read", &self.path))
    }
}

//! Writing: lines go behind one another into the newest file, durable when `append` returns.
//!
//! Invariants
//! - A line is answered for only when it and all before it are durable.
//! - What was found damaged is left as it is: a new file begins behind it, whose header says how far the log could be read.
//! - A line that was begun and not answered is cut off only by who began it. What an earlier process left of one stays, and
//!   a new file begins behind it too.
//! - A file goes only when it is older than is kept, and a line says so before.

use super::check::DROPPED;
use super::error::AuditError;
use super::layout::{self, HEADER_BYTES, Header, LINE_BYTES_MAX};
use super::line::{Change, Line, NODE, Outcome};
use super::reading::{Step, Walk, file_name, files};
use crate::base::AuditHead;
use crate::base::dates::rfc3339;
use crate::disk::{Disk, DiskFile, place};
use crate::seal::SealingKey;
use crate::seal::keyring::Keyring;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A file that is longer than this gets no line any more.
const FILE_BYTES_MAX: u64 = 64 << 20;
const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// How many of the last lines are known by their hashes.
pub const ENDS_MAX: usize = 4_096;

/// What a log is opened with.
#[derive(Clone)]
pub struct Place {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// The directory of the log, in the data directory.
    pub dir: PathBuf,
    /// What its files are sealed under.
    pub ring: Arc<Keyring>,
    /// The name of the node, in each line.
    pub node: String,
    /// How long a file is kept.
    pub keep: Duration,
    /// Held while a file begins, from the sealing of its key until it can be listed.
    pub begins: Arc<Mutex<()>>,
}

/// The one who writes a log.
pub struct Writer {
    place: Place,
    /// None before the log was opened, and after a failure that left it in doubt.
    open: Option<Open>,
    /// Where the log ended when it was opened first.
    opened: Option<AuditHead>,
    /// What was found when it was opened.
    findings: Vec<String>,
    /// The ends behind the last lines, as far as nobody has taken them yet.
    ends: VecDeque<AuditHead>,
    /// Where the log ends, as far as it could be read.
    last: AuditHead,
    /// Files that are written no more, and bytes of them.
    past: (u64, u64),
}

/// The newest file.
struct Open {
    header: Header,
    key: SealingKey,
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// Where the next line goes.
    at: u64,
    head: AuditHead,
}

/// How the newest file was left.
enum Left {
    Whole(Box<Open>),
    /// A new file is to begin, with this number, behind this end.
    Next(u64, AuditHead),
}

impl Writer {
    /// A writer that has looked at nothing yet.
    pub fn new(place: Place) -> Self {
        Writer {
            place,
            open: None,
            opened: None,
            findings: Vec::new(),
            ends: VecDeque::new(),
            last: AuditHead::NONE,
            past: (0, 0),
        }
    }

    /// Opens the log, if it is not open: the files are left as they are, but for a new one where the last is not whole.
    pub fn open(&mut self, now_ms: u64) -> Result<(), AuditError> {
        if self.open.is_some() {
            return Ok(());
        }
        let (disk, dir) = (Arc::clone(&self.place.disk), self.place.dir.clone());
        disk.create_dir_all(&dir).map_err(AuditError::disk("create", &dir))?;
        place::sweep(disk.as_ref(), &dir).map_err(AuditError::disk("sweep", &dir))?;
        let all = files(disk.as_ref(), &dir)?;
        let left = match all.last() {
            None => Left::Next(1, AuditHead::NONE),
            Some((number, path)) => self.look_at(*number, path)?,
        };
        let open = match left {
            Left::Whole(open) => *open,
            Left::Next(number, before) => self.begin(number, now_ms, before)?,
        };
        if self.opened.is_none() {
            self.opened = Some(open.head);
        }
        self.note(open.head);
        self.open = Some(open);
        self.count()
    }

    /// Reads the last file through.
    fn look_at(&mut self, number: u64, path: &Path) -> Result<Left, AuditError> {
        let disk = Arc::clone(&self.place.disk);
        // What an earlier process could not make durable is not to be read out of memory.
        disk.open(path).and_then(|file| file.settle()).map_err(AuditError::disk("settle", path))?;
        let mut walk = match Walk::open(disk.as_ref(), &self.place.ring, path) {
            Ok(walk) => walk,
            // It can be read once its generation is back: until then nothing is written.
            Err(error @ AuditError::Header { foreign: true, .. }) => return Err(error),
            Err(error @ AuditError::Header { .. }) => {
                self.found(format!("{error}; a new file begins behind it"));
                return Ok(Left::Next(number + 1, self.last));
            }
            Err(error) => return Err(error),
        };
        let mut broken = false;
        loop {
            match walk.step()? {
                Step::Line { head, follows, .. } => {
                    if !follows {
                        broken = true;
                        self.found(format!(
                            "{}: line {} does not follow the one before",
                            file_name(number),
                            head.sequence
                        ));
                    }
                    self.note(head);
                }
                Step::Damaged { at } | Step::Unreadable { at } => {
                    broken = true;
                    self.found(format!("{}: what stands at byte {at} does not open", file_name(number)));
                }
                Step::Torn { bytes } => {
                    log::warn!(file = file_name(number), bytes; "the last line of the audit log was never ended, nor answered: a new file begins behind it");
                    return Ok(Left::Next(number + 1, walk.head));
                }
                Step::End => break,
            }
        }
        if broken {
            return Ok(Left::Next(number + 1, walk.head));
        }
        let (header, head, at) = (walk.header.clone(), walk.head, walk.at());
        let (file, key) = walk.into_parts();
        Ok(Left::Whole(Box::new(Open { header, key, file, path: path.to_owned(), at, head })))
    }

    fn begin(&self, number: u64, now_ms: u64, before: AuditHead) -> Result<Open, AuditError> {
        let Place { disk, dir, ring, .. } = &self.place;
        let header = Header::begin(number, now_ms, before);
        let _begins = self.place.begins.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, key) = header.seal(ring);
        let path = dir.join(file_name(number));
        place::replace(disk.as_ref(), &path, &bytes).map_err(AuditError::disk("begin", &path))?;
        let file = disk.open(&path).map_err(AuditError::disk("open", &path))?;
        Ok(Open { header, key, file, path, at: HEADER_BYTES as u64, head: before })
    }

    /// Writes lines, in their order; durable when this returns. After an error none of them is answered for, and the
    /// next ones are tried anew.
    pub fn append(&mut self, lines: &[Line], now_ms: u64) -> Result<AuditHead, AuditError> {
        self.open(now_ms)?;
        if self.is_over(now_ms) {
            self.next_file(now_ms)?;
        }
        self.write(lines)
    }

    /// Whether another file is due.
    fn is_over(&self, now_ms: u64) -> bool {
        self.open.as_ref().is_some_and(|open| {
            open.at >= FILE_BYTES_MAX
                || (open.header.began_ms / DAY_MS != now_ms / DAY_MS && open.at > HEADER_BYTES as u64)
        })
    }

    fn next_file(&mut self, now_ms: u64) -> Result<(), AuditError> {
        let (number, head) = match &self.open {
            Some(open) => (open.header.number + 1, open.head),
            None => return Ok(()),
        };
        self.open = Some(self.begin(number, now_ms, head)?);
        if let Err(error) = self.drop_old(now_ms).and_then(|()| self.count()) {
            log::warn!(error:%; "files of the audit log that are older than audit.keep stay for now");
        }
        Ok(())
    }

    /// Drops the files of which every line is older than is kept.
    fn drop_old(&mut self, now_ms: u64) -> Result<(), AuditError> {
        let Place { disk, dir, ring, keep, .. } = self.place.clone();
        let oldest = now_ms.saturating_sub(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
        let all = files(disk.as_ref(), &dir)?;
        let mut old = Vec::new();
        // A file ended when the next one began, which says where.
        for pair in all.windows(2) {
            let [(number, path), (_, next)] = pair else { break };
            let next = Walk::open(disk.as_ref(), &ring, next)?.header;
            if next.began_ms >= oldest {
                break;
            }
            old.push((*number, path.clone(), next.before));
        }
        let Some((number, _, end)) = old.last() else { return Ok(()) };
        let mut line = Line::of(NODE, DROPPED, Outcome::Done).at(file_name(*number));
        line.change = Some(Change {
            new: serde_json::json!({ "file": number, "line": end.sequence, "hash": end.hash_text() }),
            ..Change::default()
        });
        self.stamp(&mut line, now_ms);
        self.write(&[line])?;
        for (_, path, _) in &old {
            disk.remove(path).map_err(AuditError::disk("remove", path))?;
        }
        disk.sync_dir(&dir).map_err(AuditError::disk("sync", &dir))
    }

    fn write(&mut self, lines: &[Line]) -> Result<AuditHead, AuditError> {
        let open = self.open.as_mut().ok_or(AuditError::Closed)?;
        let (mut bytes, mut head) = (Vec::new(), open.head);
        let mut heads = Vec::with_capacity(lines.len());
        for line in lines {
            head = layout::seal(&open.key, &open.header.id, head, &text_of(line), &mut bytes);
            heads.push(head);
        }
        let written = open.file.write_at(open.at, &bytes).and_then(|()| open.file.sync_data());
        if let Err(error) = written {
            let path = open.path.clone();
            // Nobody was answered for what there is of it. Where it cannot be cut off, the file is read anew.
            let cut = open.file.set_len(open.at).and_then(|()| open.file.sync_data());
            if cut.is_err() {
                self.open = None;
            }
            return Err(AuditError::disk("write", path)(error));
        }
        (open.at, open.head) = (open.at + bytes.len() as u64, head);
        heads.into_iter().for_each(|head| self.note(head));
        Ok(head)
    }

    /// What a line has of who writes it.
    pub fn stamp(&self, line: &mut Line, now_ms: u64) {
        line.time = rfc3339(now_ms);
        line.node.clone_from(&self.place.node);
    }

    /// Where the log ends.
    pub fn head(&self) -> Option<AuditHead> {
        self.open.as_ref().map(|open| open.head)
    }

    /// Where it ended when it was opened first.
    pub fn opened(&self) -> Option<AuditHead> {
        self.opened
    }

    /// Takes what was found since this was asked last.
    pub fn take_findings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.findings)
    }

    /// Takes the ends behind the lines that were read or written since this was asked last; the last of them at least.
    pub fn take_ends(&mut self) -> VecDeque<AuditHead> {
        std::mem::take(&mut self.ends)
    }

    /// Files of the log, and bytes of them.
    pub fn extent(&self) -> (u64, u64) {
        let (files, bytes) = self.past;
        self.open.as_ref().map_or(self.past, |open| (files + 1, bytes + open.at))
    }

    fn note(&mut self, head: AuditHead) {
        self.last = head;
        self.ends.push_back(head);
        if self.ends.len() > ENDS_MAX {
            self.ends.pop_front();
        }
    }

    /// Counts the files before the newest one.
    fn count(&mut self) -> Result<(), AuditError> {
        let mut past = (0, 0);
        for (number, path) in files(self.place.disk.as_ref(), &self.place.dir)? {
            if self.open.as_ref().is_none_or(|open| open.header.number != number) {
                let len = self.place.disk.open(&path).and_then(|file| file.len());
                past = (past.0 + 1, past.1 + len.map_err(AuditError::disk("measure", &path))?);
            }
        }
        self.past = past;
        Ok(())
    }

    fn found(&mut self, what: String) {
        log::error!(what; "the audit log is damaged: see docs/operations.md, 'Audit log'");
        self.findings.push(what);
    }
}

/// The bytes of a line; of one that is too long, without what became what.
fn text_of(line: &Line) -> Vec<u8> {
    let text = line.encode();
    if text.len() <= LINE_BYTES_MAX {
        return text;
    }
    let short = Line { change: Some(Change { old: "too long".into(), new: "too long".into() }), ..line.clone() };
    short.encode()
}

//! Checking: whether a log is whole, from the first file that is kept to the last line.
//!
//! Invariants
//! - Each damaged or missing line is found, but for those at the very end: those are found by who remembers the end.
//! - A file that is gone is found, unless a line behind it says that it was dropped for its age.

use super::error::AuditError;
use super::line::Line;
use super::memory_file::read_memory;
use super::reading::{Step, Walk, file_name, files};
use crate::base::AuditHead;
use crate::base::audit::HASH_BYTES;
use crate::disk::Disk;
use crate::seal::keyring::Keyring;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The action of a line that says which files were dropped for their age.
pub const DROPPED: &str = "audit:drop";
/// Most findings that are told one by one.
const FINDINGS_MAX: usize = 1_000;

/// What is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// In which file.
    pub file: String,
    /// Behind which line.
    pub after: u64,
    /// What it is.
    pub what: String,
}

/// What a check came to.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Files of the log.
    pub files: u64,
    /// Lines that open.
    pub lines: u64,
    /// The number of the first line.
    pub first: u64,
    /// The number of the last line.
    pub last: u64,
    /// Bytes of lines that were begun and never ended, nor answered.
    pub torn_bytes: u64,
    /// How many findings there are; more may be counted than told.
    pub damaged: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The number of the last file.
    #[serde(skip)]
    pub last_file: u64,
    /// Where the log ends.
    #[serde(skip)]
    pub head: AuditHead,
    /// The hashes of the lines that were asked for.
    #[serde(skip)]
    pub hashes: BTreeMap<u64, [u8; HASH_BYTES]>,
}

impl Report {
    fn found(&mut self, file: u64, what: impl Into<String>) {
        self.damaged += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { file: file_name(file), after: self.head.sequence, what: what.into() });
        }
    }

    /// Whether the log has that line, with that hash. Its number has to have been among those that were asked for.
    pub fn has(&self, head: AuditHead) -> bool {
        head == AuditHead::NONE || self.hashes.get(&head.sequence) == Some(&head.hash)
    }
}

/// Checks the log in `dir` that no node uses, against itself and against what the node remembered of it.
pub fn verify(disk: &dyn Disk, dir: &Path, ring: &Keyring) -> Result<Report, AuditError> {
    let own = read_memory(disk, dir, ring).map(|memory| memory.and_then(|memory| memory.own));
    let wanted = own.iter().flatten().map(|own| own.sequence).collect();
    let mut report = check(disk, dir, ring, &wanted)?;
    match own {
        Ok(Some(own)) if own.sequence >= report.first && !report.has(own) => report.found(
            report.last_file,
            format!(
                "the node remembers line {}, and the log ends with line {}: lines are gone",
                own.sequence, report.last
            ),
        ),
        Ok(_) => {}
        Err(error) => report.found(report.last_file, format!("what was remembered cannot be read: {error}")),
    }
    if report.files == 0 {
        report.found(1, "there is no audit log");
    }
    Ok(report)
}

/// Checks the log in `dir`, and keeps the hashes of the lines in `wanted`.
pub fn check(disk: &dyn Disk, dir: &Path, ring: &Keyring, wanted: &BTreeSet<u64>) -> Result<Report, AuditError> {
    let files = files(disk, dir)?;
    let mut report = Report { files: files.len() as u64, ..Report::default() };
    report.last_file = files.last().map_or(1, |(number, _)| *number);
    let mut course = Course::default();
    for (at, (number, path)) in files.iter().enumerate() {
        let mut walk = match Walk::open(disk, ring, path) {
            Ok(walk) => walk,
            Err(error @ AuditError::Header { .. }) => {
                report.found(*number, error.to_string());
                course.broken = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        course.begins(&walk, *number, at == 0, &mut report);
        walk_through(&mut walk, *number, wanted, &mut course, &mut report)?;
    }
    if let Some((number, before)) = course.first.filter(|(_, before)| *before != AuditHead::NONE)
        && !course.dropped.contains(&(number - 1, before.sequence, before.hash_text()))
    {
        report.found(number, "the files before it are gone, and no line says that they were dropped for their age");
    }
    report.last = report.head.sequence;
    Ok(report)
}

/// What is known of the files before.
#[derive(Default)]
struct Course {
    /// The first file, and where the one before it ended.
    first: Option<(u64, AuditHead)>,
    /// The number of the file before.
    number: u64,
    /// Whether something was found at its end: what follows cannot fit, then.
    broken: bool,
    /// Files that lines say were dropped, with the ends of them.
    dropped: BTreeSet<(u64, u64, String)>,
}

impl Course {
    fn begins(&mut self, walk: &Walk, number: u64, is_first: bool, report: &mut Report) {
        let before = walk.header.before;
        if walk.header.number != number {
            report.found(number, format!("it is file {} under another name", walk.header.number));
        }
        if is_first {
            self.first = Some((number.max(1), before));
            report.first = before.sequence + 1;
        } else if number != self.number + 1 {
            report.found(number, format!("files {} to {} are gone", file_name(self.number + 1), file_name(number - 1)));
        } else if before != report.head && !self.broken {
            report.found(
                number,
                format!(
                    "the file before it ended with line {}, and now ends with {}",
                    before.sequence, report.head.sequence
                ),
            );
        }
        (self.number, self.broken) = (number, false);
        report.head = before;
    }

    /// A line may say that files were dropped.
    fn reads(&mut self, text: &[u8]) -> bool {
        let Some(line) = Line::decode(text) else { return false };
        if line.action == DROPPED
            && let Some(new) = line.change.map(|change| change.new)
        {
            let number = |name: &str| new.get(name).and_then(serde_json::Value::as_u64);
            let hash = new.get("hash").and_then(serde_json::Value::as_str);
            if let (Some(file), Some(sequence), Some(hash)) = (number("file"), number("line"), hash) {
                self.dropped.insert((file, sequence, hash.to_owned()));
            }
        }
        true
    }
}

fn walk_through(
    walk: &mut Walk,
    number: u64,
    wanted: &BTreeSet<u64>,
    course: &mut Course,
    report: &mut Report,
) -> Result<(), AuditError> {
    let mut damaged = 0;
    loop {
        match walk.step()? {
            Step::Line { head, text, follows } => {
                // Behind damaged lines the number says whether one is missing besides.
                if !follows && (damaged == 0 || head.sequence != report.head.sequence + 1 + damaged) {
                    report.found(number, format!("line {} does not follow: lines are missing or moved", head.sequence));
                }
                if !course.reads(&text) {
                    report.found(number, format!("line {} is none that this release can read", head.sequence));
                }
                damaged = 0;
                report.lines += 1;
                report.head = head;
                if wanted.contains(&head.sequence) {
                    report.hashes.insert(head.sequence, head.hash);
                }
            }
            Step::Damaged { at } => {
                damaged += 1;
                report.found(number, format!("a line at byte {at} does not open"));
            }
            Step::Unreadable { at } => {
                report.found(number, format!("from byte {at} on nothing can be read"));
                course.broken = true;
                return Ok(());
            }
            Step::Torn { bytes } => {
                report.torn_bytes += bytes;
                course.broken |= damaged > 0;
                return Ok(());
            }
            Step::End => {
                course.broken |= damaged > 0;
                return Ok(());
            }
        }
    }
}

//! Looking at lines: those of a time, of an actor, of an action, page by page.

use super::error::AuditError;
use super::line::Line;
use super::reading::{Step, Walk, files};
use crate::disk::Disk;
use crate::seal::keyring::Keyring;
use serde::Serialize;
use std::path::Path;

/// Most lines of a page.
pub const PAGE_LINES_MAX: usize = 1_000;
/// Most bytes of lines that are looked at for a page: then it ends, however few of them were wanted.
const LOOKED_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of the lines of a page.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// How far a clock may have been set back for all lines to be found by their time.
const CLOCK_STEP_MS: u64 = 3_600_000;

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Behind which line to begin.
    pub after: u64,
    /// How far the log goes, for the asker: what is written meanwhile may be half there.
    pub up_to: Option<u64>,
    /// From this time on, in milliseconds since 1970.
    pub since_ms: u64,
    /// Before this time.
    pub until_ms: Option<u64>,
    /// Of this actor: the id of a key, or `anonymous`.
    pub actor: Option<String>,
    /// Of this action, or of all that begin so: `access` takes `access:create` too.
    pub action: Option<String>,
    /// Most lines; at most `PAGE_LINES_MAX`.
    pub limit: usize,
}

impl Query {
    fn wants(&self, line: &Line) -> bool {
        let time = crate::base::dates::parse(&line.time).unwrap_or_default();
        let in_time = time >= self.since_ms && self.until_ms.is_none_or(|until| time < until);
        let of = |wanted: &Option<String>, is: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(is);
        in_time
            && of(&self.actor, &|actor| line.actor == actor || line.claims.as_deref() == Some(actor))
            && of(&self.action, &|action| {
                line.action.strip_prefix(action).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            })
    }
}

/// A line with its number.
#[derive(Clone, Debug, Serialize)]
pub struct Numbered {
    /// Its number in the log of its node.
    pub sequence: u64,
    /// What it says.
    #[serde(flatten)]
    pub line: Line,
}

/// Lines, and where to go on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Page {
    /// The lines, oldest first.
    pub lines: Vec<Numbered>,
    /// The line behind which the next page begins; none at the end.
    pub next: Option<u64>,
}

/// Reads a page of the log in `dir`. Damage is passed over: `check` tells of it.
pub fn read(disk: &dyn Disk, dir: &Path, ring: &Keyring, query: &Query) -> Result<Page, AuditError> {
    let mut page = Page::default();
    let mut found = Vec::new();
    for (_, path) in files(disk, dir)? {
        match Walk::open(disk, ring, &path) {
            Ok(walk) => found.push((path, walk.header.before.sequence, walk.header.began_ms)),
            Err(AuditError::Header { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let (mut looked, mut bytes) = (0, 0);
    for (at, (path, ..)) in found.iter().enumerate() {
        // What lies before the next file's beginning is over; a clock may have been set back a little.
        let is_over = |sequence: u64, ms: u64| sequence <= query.after || ms + CLOCK_STEP_MS < query.since_ms;
        if found.get(at + 1).is_some_and(|(_, sequence, ms)| is_over(*sequence, *ms)) {
            continue;
        }
        let mut walk = Walk::open(disk, ring, path)?;
        loop {
            let (head, text) = match walk.step()? {
                Step::Line { head, text, .. } => (head, text),
                Step::Damaged { .. } => continue,
                Step::Unreadable { .. } | Step::Torn { .. } | Step::End => break,
            };
            if query.up_to.is_some_and(|last| head.sequence > last) {
                return Ok(page);
            }
            if head.sequence <= query.after {
                continue;
            }
            looked += text.len() as u64;
            if let Some(line) = Line::decode(&text).filter(|line| query.wants(line)) {
                bytes += text.len();
                page.lines.push(Numbered { sequence: head.sequence, line });
            }
            if page.lines.len() >= query.limit.clamp(1, PAGE_LINES_MAX)
                || bytes >= PAGE_BYTES_MAX
                || looked >= LOOKED_BYTES_MAX
            {
                page.next = Some(head.sequence);
                return Ok(page);
            }
        }
    }
    Ok(page)
}

//! The thread of a running log: it gathers what waits, writes it, and tells who awaits it.
//!
//! Invariants
//! - It is the only one who writes lines.
//! - Nobody is told of an end of the log that is not durable.

use super::error::AuditError;
use super::flood::Suppressed;
use super::line::{ANONYMOUS, Line, NODE, Outcome};
use super::memory::lost;
use super::memory_file::MEMORY;
use super::running::{Audit, Waiting, lock, now_ms};
use super::writer::Writer;
use crate::base::dates::rfc3339;
use crate::disk::place;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How long a line that nobody awaits is kept in memory at most.
const BUFFERED: Duration = Duration::from_secs(1);
/// Most lines that are written at once.
const BATCH_MAX: usize = 1_024;
/// How often what is remembered of others is written, while it changes.
const REMEMBER_EVERY: Duration = Duration::from_secs(5);
/// The action of a line that says how many refusals were left out.
const LEFT_OUT: &str = "audit:left_out";
/// The action of a line that says that lines can be written again.
const RESUMED: &str = "audit:resume";

impl Audit {
    /// Opens the log, if it can be opened now.
    pub(super) fn opens(&self, writer: &mut Writer) {
        let opened = writer.open(now_ms());
        self.shown(writer);
        if let Err(error) = opened {
            self.failed(&error);
        }
    }

    /// Writes until the log is stopped.
    pub(super) fn run(&self, writer: &mut Writer) {
        let mut remembered = Instant::now();
        loop {
            let (mut batch, ends) = self.next_batch();
            // Whether lines can be written again is found out without anybody's having to ask.
            if batch.is_empty() && !ends && lock(&self.0.state).status.last_error.is_some() {
                batch.push((self.own(Line::of(NODE, RESUMED, Outcome::Done)), None));
            }
            if !batch.is_empty() {
                self.write(writer, batch);
            }
            let due = remembered.elapsed() >= REMEMBER_EVERY || ends;
            if due && lock(&self.0.state).remember {
                remembered = Instant::now();
                self.remember();
            }
            if ends && lock(&self.0.queue).lines.is_empty() {
                return;
            }
        }
    }

    /// What is to be written now; waits for it, and now and then for nothing.
    fn next_batch(&self) -> (Vec<Waiting>, bool) {
        let mut queue = lock(&self.0.queue);
        loop {
            let now = Instant::now();
            let buffered = queue.since.is_some_and(|since| now.duration_since(since) >= BUFFERED);
            if queue.awaited > 0 || buffered || queue.ends {
                break;
            }
            let wait = queue.since.map_or(REMEMBER_EVERY, |since| BUFFERED.saturating_sub(now.duration_since(since)));
            let (woken, timeout) = self.0.wake.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            if timeout.timed_out() && queue.since.is_none() {
                break;
            }
        }
        let ends = queue.ends;
        let counted = queue.flood.ended(Instant::now(), ends);
        let left_out = if (self.0.low)() { 0 } else { std::mem::take(&mut queue.left_out) };
        let many = queue.lines.len().min(BATCH_MAX);
        let mut batch: Vec<_> = queue.lines.drain(..many).collect();
        queue.awaited -= batch.iter().filter(|(_, tell)| tell.is_some()).count();
        // What did not fit is due at once; what is counted, when its second is over.
        queue.since = match (queue.lines.is_empty(), queue.flood.is_counting()) {
            (false, _) => Instant::now().checked_sub(BUFFERED),
            (true, true) => Some(Instant::now()),
            (true, false) => None,
        };
        drop(queue);
        batch.extend(counted.into_iter().map(|one| (self.counted(one), None)));
        if left_out > 0 {
            batch.push((self.own(Line { count: Some(left_out), ..Line::of(NODE, LEFT_OUT, Outcome::Done) }), None));
        }
        (batch, ends)
    }

    /// The line of refusals that have none of their own.
    fn counted(&self, Suppressed { address, count }: Suppressed) -> Line {
        lock(&self.0.state).status.suppressed += count;
        let mut line = self.own(Line::of(ANONYMOUS, "requests", Outcome::Refused));
        line.address = address.map(|address| address.to_string());
        line.count = Some(count);
        line
    }

    /// A line of this moment.
    fn own(&self, mut line: Line) -> Line {
        (line.time, line.node) = (rfc3339(now_ms()), self.0.place.node.clone());
        line
    }

    fn write(&self, writer: &mut Writer, batch: Vec<Waiting>) {
        let (lines, tell): (Vec<Line>, Vec<_>) = batch.into_iter().unzip();
        let written = writer.append(&lines, now_ms());
        self.shown(writer);
        let awaited = tell.iter().flatten().count() as u64;
        let unawaited = lines.iter().zip(&tell).filter(|(_, tell)| tell.is_none()).map(|(line, _)| line);
        // A number of what was left out is left out once more, and was counted before.
        let is_own = |line: &&Line| [LEFT_OUT, RESUMED].contains(&line.action.as_str());
        let stands_for = |line: &Line| if line.action == RESUMED { 0 } else { line.count.unwrap_or(1) };
        let again: u64 = unawaited.clone().map(stands_for).sum();
        let lost_now: u64 = unawaited.filter(|line| !is_own(line)).map(stands_for).sum();
        {
            let mut state = lock(&self.0.state);
            match &written {
                Ok(_) => {
                    state.status.lines += lines.len() as u64;
                    state.status.last_error = None;
                    state.remember = true;
                }
                Err(_) => {
                    state.status.failed += awaited;
                    state.status.unwritten += lost_now;
                }
            }
        }
        if let Err(error) = &written {
            self.failed(error);
            lock(&self.0.queue).left_out += again;
        }
        for tell in tell.into_iter().flatten() {
            let _ = tell.send(match &written {
                Ok(_) => Ok(()),
                Err(AuditError::Full) => Err(AuditError::Full),
                Err(error) => Err(AuditError::Unwritten(error.to_string())),
            });
        }
    }

    /// Shows where the log ends, and what was found.
    fn shown(&self, writer: &mut Writer) {
        for what in writer.take_findings() {
            self.found(what);
        }
        // Before anybody is told of an end it is known here.
        lock(&self.0.witnesses).ends(writer.take_ends());
        let (files, bytes) = writer.extent();
        let mut state = lock(&self.0.state);
        // The first time it is known where the log ended when it was opened: what the node remembers has to be in it.
        let gone = match (state.opened, writer.opened(), state.memory.own) {
            (None, Some(opened), Some(was)) => lost(was, opened),
            _ => None,
        };
        state.opened = writer.opened();
        if let Some(head) = writer.head() {
            state.head = Some(head);
            state.status.sequence = head.sequence;
        }
        (state.status.files, state.status.bytes) = (files, bytes);
        state.status.objects = self.0.objects;
        drop(state);
        if let Some(why) = gone {
            self.found(format!("this node: {why}"));
        }
    }

    fn failed(&self, error: &AuditError) {
        let text = error.to_string();
        let mut state = lock(&self.0.state);
        if state.status.last_error.as_deref() != Some(&text) {
            log::error!(error:%; "the audit log takes no lines: changes are refused until it does");
        }
        state.status.last_error = Some(text);
    }

    /// Writes what is remembered, of others and of this log, under the generation that seals; whether it could.
    pub(super) fn remember(&self) -> bool {
        let _one = lock(&self.0.remembering);
        let sealed = {
            let mut state = lock(&self.0.state);
            state.remember = false;
            state.memory.own = state.head.or(state.memory.own);
            state.memory.seal(&self.0.place.ring)
        };
        let path = self.0.place.dir.join(MEMORY);
        let written = place::replace(self.0.place.disk.as_ref(), &path, &sealed);
        if let Err(error) = &written {
            log::debug!(error:%; "what is remembered of audit logs could not be written, tried again");
            lock(&self.0.state).remember = true;
        }
        written.is_ok()
    }
}

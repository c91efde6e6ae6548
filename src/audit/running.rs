//! The log of a running node: a thread that writes, and those who give it lines.
//!
//! Invariants
//! - Whoever awaits a line is answered when it is durable, or told why it is not. Lines that arrive together share one sync.
//! - Nobody waits for the line of a refusal. It is on the disk within `BUFFERED`, while the disk has room above its
//!   reserve; what had to be left out is counted, and said in a line once there is room again.
//! - What waits is bounded: `WAITING_MAX` lines that nobody awaits; who awaits one is a request, and those are few.

use super::error::AuditError;
use super::flood::{Flood, Suppressed};
use super::line::{ANONYMOUS, Line, NODE, Outcome};
use super::memory::{Memory, Said, lost};
use super::rewrap::rewrap;
use super::witness::{MEMORY, Witnesses, read_memory};
use super::writer::{Place, Writer};
use crate::base::dates::rfc3339;
use crate::base::{AuditHead, NodeName};
use crate::disk::place;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// How long a line that nobody awaits is kept in memory at most.
const BUFFERED: Duration = Duration::from_secs(1);
/// Most lines in memory that nobody awaits.
const WAITING_MAX: usize = 4_096;
/// Most lines that are written at once.
const BATCH_MAX: usize = 1_024;
/// How often what is remembered of others is written, while it changes.
const REMEMBER_EVERY: Duration = Duration::from_secs(5);

/// What a log is started with, besides its place.
pub struct Setup {
    /// Where it is, and what it is sealed under.
    pub place: Place,
    /// Whether object reads and writes have lines.
    pub objects: bool,
    /// Whether the disk is full down to its reserve.
    pub low: Box<dyn Fn() -> bool + Send + Sync>,
}

/// How a log is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuditStatus {
    /// The number of the last line.
    pub sequence: u64,
    /// Lines that were written since the start.
    pub lines: u64,
    /// Refusals among them that stand for others, since the start: so many had no line of their own.
    pub suppressed: u64,
    /// Refusals that were left out for want of room, since the start.
    pub unwritten: u64,
    /// Lines that somebody awaited and that could not be written, since the start.
    pub failed: u64,
    /// Files of the log.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Whether object reads and writes have lines.
    pub objects: bool,
    /// Why the last line could not be written; none once one was.
    pub last_error: Option<String>,
    /// How many findings there are.
    pub findings: u64,
    /// What was found first.
    pub finding: Option<String>,
}

/// The log of a running node. Cheap to clone.
#[derive(Clone)]
pub struct Audit(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) place: Place,
    objects: bool,
    low: Box<dyn Fn() -> bool + Send + Sync>,
    queue: Mutex<Queue>,
    wake: Condvar,
    pub(super) state: Mutex<State>,
    pub(super) witnesses: Mutex<Witnesses>,
    /// Held by whoever writes what is remembered.
    remembering: Mutex<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A line, and who awaits it.
type Waiting = (Line, Option<oneshot::Sender<Result<(), AuditError>>>);

#[derive(Default)]
struct Queue {
    lines: Vec<Waiting>,
    /// When the oldest line came that nobody awaits.
    since: Option<Instant>,
    awaited: usize,
    flood: Flood,
    /// Refusals that were left out since the last line.
    left_out: u64,
    ends: bool,
}

/// What is known of the log while somebody writes.
#[derive(Default)]
pub(super) struct State {
    pub status: AuditStatus,
    pub opened: Option<AuditHead>,
    pub head: Option<AuditHead>,
    pub memory: Memory,
    pub remember: bool,
}

impl Audit {
    /// Opens the log and starts its thread. A log that cannot be opened is opened with the first line for which it can:
    /// a node without room can still be read.
    pub fn start(setup: Setup) -> std::io::Result<Self> {
        let mut writer = Writer::new(setup.place.clone());
        let Place { disk, dir, ring, .. } = &setup.place;
        let (memory, unread) = match read_memory(disk.as_ref(), dir, ring) {
            Ok(memory) => (memory.unwrap_or_default(), None),
            Err(error) => {
                (Memory::default(), Some(format!("what was remembered of other logs cannot be read: {error}")))
            }
        };
        let inner = Arc::new(Inner {
            place: setup.place,
            objects: setup.objects,
            low: setup.low,
            queue: Mutex::default(),
            wake: Condvar::new(),
            state: Mutex::new(State { memory, ..State::default() }),
            witnesses: Mutex::default(),
            remembering: Mutex::default(),
            thread: Mutex::default(),
        });
        let audit = Audit(Arc::clone(&inner));
        unread.into_iter().for_each(|why| audit.found(why));
        audit.opens(&mut writer);
        let of_thread = audit.clone();
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || of_thread.run(&mut writer))?;
        *lock(&inner.thread) = Some(thread);
        Ok(audit)
    }

    /// Writes a line; answered when it is durable. No change is made, or answered, without.
    pub async fn change(&self, line: Line) -> Result<(), AuditError> {
        let (tell, told) = oneshot::channel();
        self.push(line, Some(tell));
        told.await.unwrap_or(Err(AuditError::Closed))
    }

    /// The same for who is on no runtime.
    pub fn change_blocking(&self, line: Line) -> Result<(), AuditError> {
        let (tell, told) = oneshot::channel();
        self.push(line, Some(tell));
        told.blocking_recv().unwrap_or(Err(AuditError::Closed))
    }

    /// Writes the line of a refusal, or counts it; never waits.
    pub fn refused(&self, line: impl FnOnce() -> Line, address: Option<IpAddr>) {
        let low = (self.0.low)();
        {
            let mut queue = lock(&self.0.queue);
            let room = !low && queue.lines.len() < WAITING_MAX;
            if room && !queue.flood.admits(address, Instant::now()) {
                // The thread looks when the second is over.
                queue.since.get_or_insert_with(Instant::now);
                self.0.wake.notify_one();
                return;
            }
            if !room {
                queue.left_out += 1;
                queue.since.get_or_insert_with(Instant::now);
                drop(queue);
                lock(&self.0.state).status.unwritten += 1;
                return;
            }
        }
        self.push(line(), None);
    }

    /// Whether object reads and writes have lines.
    pub fn wants_objects(&self) -> bool {
        self.0.objects
    }

    /// Writes the line of an object that was read or written. Waits when more lines come than the disk takes.
    pub async fn object(&self, line: Line) -> Result<(), AuditError> {
        if lock(&self.0.queue).lines.len() < WAITING_MAX {
            self.push(line, None);
            return Ok(());
        }
        self.change(line).await
    }

    fn push(&self, mut line: Line, tell: Option<oneshot::Sender<Result<(), AuditError>>>) {
        line.time = rfc3339(now_ms());
        line.node.clone_from(&self.0.place.node);
        let mut queue = lock(&self.0.queue);
        if queue.ends {
            return;
        }
        match tell {
            Some(_) => queue.awaited += 1,
            None => drop(queue.since.get_or_insert_with(Instant::now)),
        }
        queue.lines.push((line, tell));
        self.0.wake.notify_one();
    }

    /// How the log is.
    pub fn status(&self) -> AuditStatus {
        lock(&self.0.state).status.clone()
    }

    /// Where it ends; none before it could be opened.
    pub fn head(&self) -> Option<AuditHead> {
        lock(&self.0.state).head
    }

    /// Where it ended when it was opened, and where it ends now.
    pub fn ends(&self) -> Option<(AuditHead, AuditHead)> {
        let state = lock(&self.0.state);
        state.opened.zip(state.head)
    }

    /// Another node says where its log ends.
    pub fn heard(&self, name: &NodeName, said: Said) {
        let (moved, finding) = lock(&self.0.state).memory.heard(name, said);
        if let Some(why) = finding {
            self.found(format!("{name}: {why}"));
        }
        if moved {
            lock(&self.0.state).remember = true;
        }
    }

    /// What is remembered of another node: where its log ended before its present start, and where it does now.
    pub fn remembered(&self, name: &NodeName) -> Option<(Option<AuditHead>, AuditHead)> {
        lock(&self.0.state).memory.of(name).map(|known| (known.before, known.last))
    }

    /// Seals what is sealed under another generation than the one that seals under that one; how many files there were.
    /// It may be called at any time, and again: see `rewrap`.
    pub fn rewrap(&self) -> Result<u64, AuditError> {
        let Place { disk, dir, ring, .. } = &self.0.place;
        let done = rewrap(disk.as_ref(), dir, ring)?;
        self.remember();
        match lock(&self.0.state).remember {
            true => Err(AuditError::Unwritten("what is remembered of other logs could not be sealed anew".to_owned())),
            false => Ok(done),
        }
    }

    /// Something is wrong with a log.
    pub(super) fn found(&self, why: String) {
        log::error!(why; "the audit log: see docs/operations.md, 'Audit log'");
        let status = &mut lock(&self.0.state).status;
        status.findings += 1;
        status.finding.get_or_insert(why);
    }

    /// Writes what waits, and this line, and ends.
    pub fn stop(&self, last: Line) {
        self.push(last, None);
        lock(&self.0.queue).ends = true;
        self.0.wake.notify_all();
        if let Some(thread) = lock(&self.0.thread).take() {
            // It has said itself why it did not write.
            let _ = thread.join();
        }
    }
}

/// The thread.
impl Audit {
    fn opens(&self, writer: &mut Writer) {
        let opened = writer.open(now_ms());
        self.shown(writer);
        let own = lock(&self.0.state).memory.own;
        match (opened, own, writer.opened()) {
            (Err(error), ..) => self.failed(&error),
            (Ok(()), Some(was), Some(opened)) => {
                if let Some(why) = lost(was, opened) {
                    self.found(format!("this node: {why}"));
                }
            }
            _ => {}
        }
    }

    fn run(&self, writer: &mut Writer) {
        let mut remembered = Instant::now();
        loop {
            let (batch, ends) = self.next_batch();
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
            let mut line = Line { count: Some(left_out), ..Line::of(NODE, "audit:left_out", Outcome::Done) };
            (line.time, line.node) = (rfc3339(now_ms()), self.0.place.node.clone());
            batch.push((line, None));
        }
        (batch, ends)
    }

    /// The line of refusals that have none of their own.
    fn counted(&self, Suppressed { address, count }: Suppressed) -> Line {
        lock(&self.0.state).status.suppressed += count;
        let mut line = Line::of(ANONYMOUS, "requests", Outcome::Refused);
        (line.time, line.node) = (rfc3339(now_ms()), self.0.place.node.clone());
        line.address = address.map(|address| address.to_string());
        line.count = Some(count);
        line
    }

    fn write(&self, writer: &mut Writer, batch: Vec<Waiting>) {
        let (lines, tell): (Vec<Line>, Vec<_>) = batch.into_iter().unzip();
        let written = writer.append(&lines, now_ms());
        self.shown(writer);
        let awaited = tell.iter().flatten().count() as u64;
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
                    state.status.unwritten += lines.len() as u64 - awaited;
                }
            }
        }
        if let Err(error) = &written {
            self.failed(error);
            lock(&self.0.queue).left_out += lines.len() as u64 - awaited;
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
        state.opened = writer.opened();
        if let Some(head) = writer.head() {
            state.head = Some(head);
            state.status.sequence = head.sequence;
        }
        (state.status.files, state.status.bytes) = (files, bytes);
        state.status.objects = self.0.objects;
    }

    fn failed(&self, error: &AuditError) {
        let text = error.to_string();
        let mut state = lock(&self.0.state);
        if state.status.last_error.as_deref() != Some(&text) {
            log::error!(error:%; "the audit log takes no lines: changes are refused until it does");
        }
        state.status.last_error = Some(text);
    }

    /// Writes what is remembered, of others and of this log.
    fn remember(&self) {
        let _one = lock(&self.0.remembering);
        let sealed = {
            let mut state = lock(&self.0.state);
            state.remember = false;
            state.memory.own = state.head.or(state.memory.own);
            state.memory.seal(&self.0.place.ring)
        };
        let path = self.0.place.dir.join(MEMORY);
        if let Err(error) = place::replace(self.0.place.disk.as_ref(), &path, &sealed) {
            log::debug!(error:%; "what is remembered of audit logs could not be written, tried again");
            lock(&self.0.state).remember = true;
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while one is held leaves no half-made state.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
